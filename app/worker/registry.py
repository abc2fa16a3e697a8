"""The registry: which task queue runs which workflows and activities. It is the only list of queues there is.

Two decorators fill it, alone or stacked over the SDK's own. `discovery.py` imports the configured packages and
finds what would otherwise hang at run time. Problems are collected, not raised at the decorator, so that a user sees
all of them in one go.

Inside the workflow sandbox user modules are executed again for each run; the decorators then only make the SDK's
definition and leave the registry alone, else every run would register its own copy of every class.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar

from temporalio import activity, workflow

from app.worker import sdk_definitions as sdk

C = TypeVar("C", bound=type)
F = TypeVar("F", bound=Callable[..., Any])

WORKFLOW: Literal["workflow"] = "workflow"
ACTIVITY: Literal["activity"] = "activity"


@dataclass(frozen=True)
class Handler:
    """One workflow class or activity function, with the task queue it belongs to."""

    kind: Literal["workflow", "activity"]
    name: str
    queue: str
    target: Any
    module: str
    qualname: str
    where: str
    is_async: bool = True

    def __str__(self) -> str:
        return f"{self.kind} {self.name} ({self.where})"


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and how to mend it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {self.remedy}"


class RegistrationError(Exception):
    """The handlers cannot be served as they are declared; `problems` holds everything that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass
class Registry:
    """Handlers by task queue."""

    _handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, handler: Handler) -> None:
        """Take one handler in; the same object again is no news, another one of its kind, name and queue a problem."""
        key = handler.module, handler.qualname
        known = self._handlers.get(key)
        if known and known.where == handler.where and known.queue == handler.queue:
            return
        twin = known or self._twin(handler)
        if twin is None:
            self._handlers[key] = handler
            return
        if twin.where != handler.where:
            remedy = "Rename one of them (name=...), or give it another queue."
        elif twin.module != handler.module:
            remedy = f"Import it under one name: it came as {twin.module} and as {handler.module}."
        else:
            remedy = "Decorate it once: a handler belongs to one queue."
        what = (
            f"{handler} has the name and queue of {twin}"
            if twin.queue == handler.queue
            else f"{twin} is declared twice"
        )
        self.problems.append(Problem(handler.where, what, remedy))

    def _twin(self, handler: Handler) -> Handler | None:
        name = handler.kind, handler.name, handler.queue
        return next((other for other in self._handlers.values() if (other.kind, other.name, other.queue) == name), None)

    def queues(self) -> Mapping[str, tuple[Handler, ...]]:
        """Queue -> its handlers, queues and handlers by name."""
        view: dict[str, list[Handler]] = {}
        for handler in sorted(self._handlers.values(), key=lambda h: (h.queue, h.kind, h.name)):
            view.setdefault(handler.queue, []).append(handler)
        return MappingProxyType({queue: tuple(handlers) for queue, handlers in view.items()})

    def find(self, target: Any) -> Handler | None:
        """The handler of a workflow class or activity function, also of the sandbox's copy of it."""
        return self._handlers.get((getattr(target, "__module__", ""), getattr(target, "__qualname__", "")))

    def shareable_modules(self, packages: Iterable[str]) -> tuple[str, ...]:
        """What workflow code may share with the process: modules with activities, and `packages` without workflows."""
        workflows = {h.module for h in self._handlers.values() if h.kind == WORKFLOW}
        activities = {h.module for h in self._handlers.values() if h.kind == ACTIVITY}
        pure = {p for p in packages if not any(f"{module}.".startswith(f"{p}.") for module in workflows)}
        return tuple(sorted((activities - workflows) | pure))

    def unknown_queues(self, names: Iterable[str], where: str) -> list[Problem]:
        """A problem for each of `names` that no handler declares; `where` says who named it."""
        known = list(self.queues())
        return [
            Problem(where, f'no workflow or activity is declared on queue "{name}"', _choose(name, known))
            for name in names
            if name not in known
        ]

    def doubtful_queues(self) -> list[str]:
        """Sentences on queues that look like a slip: they hold activities only, and their name is nearly another's."""
        queues = self.queues()
        return [
            f'queue "{queue}" holds only {", ".join(map(str, handlers))}. Did you mean "{near[0]}"?'
            for queue, handlers in queues.items()
            if all(handler.kind == ACTIVITY for handler in handlers)
            and (near := difflib.get_close_matches(queue, [q for q in queues if q != queue], n=1, cutoff=0.85))
        ]

    def unserved(self, off: Mapping[str, str]) -> list[Problem]:
        """A problem for each handler on a queue that is switched off (`off`: queue -> by what).

        Its work would wait for ever.
        """
        queues = self.queues()
        served = ", ".join(queue for queue in queues if queue not in off) or "none"
        return [
            Problem(
                handler.where,
                f'{handler.kind} {handler.name} is on queue "{queue}", which nobody serves: {off[queue]}',
                f"Let workers serve it, or declare it on another queue: {served}.",
            )
            for queue in queues
            if queue in off
            for handler in queues[queue]
        ]


_AS_FUNCTION = "Declare a function; it may use an object that its module makes."

registry = Registry()
"""The registry that the decorators fill."""


def workflow_defn(*, queue: str, **options: Any) -> Callable[[C], C]:
    """Declare a workflow class on task queue `queue`, alone or over `@workflow.defn(...)`.

    `options` are those of `temporalio.workflow.defn` and belong here only where the SDK's decorator is absent.
    """

    def declare(cls: C) -> C:
        made = sdk.workflow_definition(cls)
        target = cls if made else workflow.defn(**options)(cls)
        if not workflow.unsafe.in_sandbox():
            where = _class_place(cls)
            _check(queue, where, cls.__qualname__, bool(made and options))
            registry.add(
                Handler(WORKFLOW, sdk.workflow_name(target), queue, target, cls.__module__, cls.__qualname__, where)
            )
        return target

    return declare


def activity_defn(*, queue: str, **options: Any) -> Callable[[F], F]:
    """Declare an activity, async or not, on task queue `queue`, alone or over `@activity.defn(...)`.

    `options` are those of `temporalio.activity.defn` and belong here only where the SDK's decorator is absent.
    """

    def declare(fn: F) -> F:
        made = sdk.activity_definition(fn)
        target = fn if made else activity.defn(**options)(fn)
        if not workflow.unsafe.in_sandbox():
            where = place(fn.__code__.co_filename, fn.__code__.co_firstlineno)
            _check(queue, where, fn.__qualname__, bool(made and options))
            if next(iter(inspect.signature(fn).parameters), "") == "self":
                what = f"{fn.__qualname__} is a method, and there is no instance to call it on"
                registry.problems.append(Problem(where, what, _AS_FUNCTION))
            registry.add(
                Handler(
                    ACTIVITY,
                    sdk.activity_name(target),
                    queue,
                    target,
                    fn.__module__,
                    fn.__qualname__,
                    where,
                    inspect.iscoroutinefunction(fn),
                )
            )
        return target

    return declare


def _check(queue: str, where: str, name: str, options_lost: bool) -> None:
    if not queue or queue.strip() != queue or len(queue) > 200:
        registry.problems.append(
            Problem(where, f"{name} has the queue name {queue!r}", "Use 1 to 200 characters without outer blanks.")
        )
    if options_lost:
        registry.problems.append(
            Problem(
                where,
                f"{name} has options in both decorators, and those of the outer one would be lost",
                "Give them to the SDK's decorator, or take that one away.",
            )
        )


def _class_place(cls: type) -> str:
    try:
        return place(inspect.getsourcefile(cls) or cls.__module__, inspect.getsourcelines(cls)[1])
    except (OSError, TypeError):
        return cls.__module__


def place(file: str, line: int) -> str:
    """file:line, short where the file lies below the working directory."""
    path = Path(file)
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"


def _choose(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"Queues here: {', '.join(known) or 'none'}." + (f' Did you mean "{near[0]}"?' if near else "")
