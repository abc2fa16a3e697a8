"""The registry: which task queue runs which workflows and activities. It is the only list of queues there is.

Two decorators fill it, alone or stacked over the SDK's own, and `register` names the object whose methods are
activities. `discovery.py` imports the configured packages and finds what would otherwise hang at run time.

A decorator that made the instances itself was rejected: what they need (a connection, a client of a payment provider)
is the application's to choose, and a test wants another one.

Inside the workflow sandbox user modules are executed again for each run; the decorators then only make the SDK's
definition and leave the registry alone, else every run would register its own copy of every class.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypedDict, TypeVar

from temporalio import activity, workflow
from temporalio.common import RetryPolicy, VersioningBehavior
from typing_extensions import Unpack

from app.worker import places, promises
from app.worker import sdk_definitions as sdk
from app.worker.handlers import ACTIVITY, WORKFLOW, Handler, Registry, key_of
from app.worker.problems import Problem, RegistrationError
from app.worker.promises import OnDrain, Promise

__all__ = [
    "ACTIVITY",
    "WORKFLOW",
    "Handler",
    "Problem",
    "RegistrationError",
    "Registry",
    "activity_defn",
    "register",
    "registry",
    "workflow_defn",
]

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])
I = TypeVar("I")  # noqa: E741 - the instance


class WorkflowDefnOptions(TypedDict, total=False):
    """Keywords of `temporalio.workflow.defn`, without `dynamic`."""

    name: str | None
    sandboxed: bool
    failure_exception_types: Sequence[type[BaseException]]
    versioning_behavior: VersioningBehavior


class ActivityDefnOptions(TypedDict, total=False):
    """Keywords of `temporalio.activity.defn`, without `dynamic`."""

    name: str | None
    no_thread_cancel_exception: bool


registry = Registry()
"""The registry that the decorators fill."""


def workflow_defn(*, queue: str, **options: Unpack[WorkflowDefnOptions]) -> Callable[[C], C]:
    """Declare a workflow class on task queue `queue`, alone or over `@workflow.defn(...)`.

    `options` are those of `temporalio.workflow.defn` and belong here only where the SDK's decorator is absent.
    """

    def declare(cls: C) -> C:
        _refuse_unless(inspect.isclass(cls), cls, "@workflow_defn stands over a class")
        made = sdk.workflow_definition(cls)
        target = cls if made else workflow.defn(**options)(cls)
        if workflow.unsafe.in_sandbox():
            return target
        where = places.place(cls)
        name = _check(WORKFLOW, cls, where, queue, sdk.workflow_definition(target), options if made else {})
        if name:
            registry.add(Handler(WORKFLOW, name, queue, target, cls.__module__, cls.__qualname__, where))
        return target

    return declare


def activity_defn(
    *,
    queue: str,
    start_to_close_timeout: timedelta | None = None,
    heartbeat_timeout: timedelta | None = None,
    retry_policy: RetryPolicy | None = None,
    on_drain: OnDrain | None = None,
    **options: Unpack[ActivityDefnOptions],
) -> Callable[[F], F]:
    """Declare an activity on task queue `queue`, alone or over `@activity.defn(...)`.

    The timeouts and the retry policy hold for each call that says nothing of them, over the configuration. `on_drain`
    promises what a worker that leaves does with it: "finish" (it fits into the queue's drain) or "hand_over" (it
    heartbeats, and goes on elsewhere); `promises.py` says what is checked.

    An activity is a function, async or not; a method, or a class with `__call__`, once `register` was given an
    instance; a callable object. `options` are those of `temporalio.activity.defn` and belong here only where the SDK's
    decorator is absent.
    """

    def declare(target: F) -> F:
        _refuse_unless(_can_be_called(target), target, "@activity_defn stands over what can be called")
        made = sdk.activity_definition(target)
        _define(target, options, made is not None)
        if not workflow.unsafe.in_sandbox():
            promise, wrong = promises.read(start_to_close_timeout, heartbeat_timeout, retry_policy, on_drain)
            at = places.decorator_place(target, "activity_defn") if wrong else ""
            registry.problems += (Problem(at, f"{key_of(target)[1]}: {fact}", remedy) for fact, remedy in wrong)
            _declare_activity(target, queue, options if made else {}, promise)
        return target

    return declare


def register(instance: I) -> I:
    """Serve the activities that `instance` has as methods, or is; returns it.

    Call it in a module, once for each class: `charges = register(Charges(gateway))`. A workflow then calls
    `self.execute_activity(charges.charge, order)`, or `self.execute_activity_method(Charges.charge, order)`.
    """
    if not workflow.unsafe.in_sandbox():
        registry.add_instance(instance, places.caller())
    return instance


def _can_be_called(target: object) -> bool:
    return sdk.has_call(target) if inspect.isclass(target) else callable(target)


def _refuse_unless(fits: bool, target: object, rule: str) -> None:
    if not fits:
        raise TypeError(f"{rule}, and not over {target!r}")


def _define(target: Any, options: ActivityDefnOptions, made: bool) -> None:
    """Give `target` the SDK's definition; what has no name of its own gets one that says what it is."""
    if not made and isinstance(target, type):
        sdk.define_callable_class(target, **{"name": target.__name__, **options})
    elif not made and hasattr(target, "__name__"):
        activity.defn(**options)(target)
    elif not made:
        named = target.func if isinstance(target, functools.partial) else type(target)
        with_name: ActivityDefnOptions = {"name": named.__name__, **options}
        activity.defn(**with_name)(target)
    if isinstance(target, functools.partial):
        sdk.type_partial(target)


def _declare_activity(target: Any, queue: str, lost: ActivityDefnOptions, promise: Promise) -> None:
    where = places.place(target)
    definition = sdk.activity_definition(target)
    name = _check(ACTIVITY, target, where, queue, definition, lost)
    module, qualname = key_of(target)
    first = next(iter(inspect.signature(target).parameters), "")
    around = getattr(target, "__qualname__", "").rpartition(".")[0]
    in_class = bool(around) and not around.endswith("<locals>")
    if misfit := _misfit(target, qualname, first if in_class else ""):
        registry.problems.append(Problem(where, *misfit))
    elif name and definition:
        handler = Handler(ACTIVITY, name, queue, target, module, qualname, where, definition.is_async, promise=promise)
        of_instance = isinstance(target, type) or (in_class and first == "self")
        (registry.add_of_instance if of_instance else registry.add)(handler)


def _misfit(target: Any, qualname: str, first: str) -> tuple[str, str] | None:
    """What the SDK would take and then run wrongly, and the remedy; `first`: a method's first argument."""
    if isinstance(target, staticmethod | classmethod):
        return f"{qualname} has @activity_defn above @{type(target).__name__}", "Put @activity_defn below it."
    if first == "cls":
        return (
            f"{qualname} is a class method, of which Temporal cannot see the types",
            "Make it a static method, or a method.",
        )
    if first == "self" and target.__name__ == "__call__":
        cls = qualname.rpartition(".")[0]
        return f"{qualname} is declared, and Temporal looks at the class", f"Put @activity_defn above class {cls}."
    inner = inspect.unwrap(target)
    if inner is not target and inspect.iscoroutinefunction(inner) and not inspect.iscoroutinefunction(target):
        return (
            f"{qualname} is async, and a decorator below @activity_defn hides it",
            "Temporal would run it in a thread and get a coroutine: make the decorator's wrapper `async def`.",
        )
    return None


def _check(kind: str, target: Any, where: str, queue: str, definition: Any, lost: Mapping[str, Any]) -> str:
    """The type name of a handler, empty when it cannot be served; adds what is wrong to the registry's problems."""
    registry.declared.add(key_of(target))
    called = key_of(target)[1]
    if not queue or queue.strip() != queue or len(queue) > 200:
        registry.problems.append(
            Problem(where, f"{called} has the queue name {queue!r}", "Use 1 to 200 characters without outer blanks.")
        )
    if lost:
        said = ", ".join(lost)
        ours, theirs = (places.decorator_place(target, name) for name in (f"{kind}_defn", "defn"))
        registry.problems.append(
            Problem(
                ours,
                f"{called} has options in both decorators: {said} here would be lost, @{kind}.defn ({theirs}) counts",
                f"Give them to @{kind}.defn, or take that one away.",
            )
        )
    if definition.name is None:
        what = f"{called} is dynamic: it has no name, and would take the tasks of every misspelled one"
        remedy = "Give it a name; a worker made by hand with the SDK may serve dynamic handlers."
        registry.problems.append(Problem(where, what, remedy))
    return definition.name or ""
