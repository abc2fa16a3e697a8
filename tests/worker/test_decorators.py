"""The decorators: every shape in which a team may declare a workflow or an activity, and the mistakes in each."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from temporalio import activity, workflow
from temporalio.common import RawValue, VersioningBehavior
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from app.worker import sdk_definitions as sdk
from app.worker.registry import (
    ActivityDefnOptions,
    Registry,
    WorkflowDefnOptions,
    activity_defn,
    register,
    workflow_defn,
)
from tests.worker import declared

WORKFLOWS = [
    (declared.Plain, {}, "Plain"),
    (declared.PlainWithOptions, {"name": "Other", "versioning_behavior": VersioningBehavior.AUTO_UPGRADE}, "Other"),
    (declared.Bare, {}, "Bare"),
    (declared.Stacked, {}, "Stacked"),
    (declared.StackedWithOptions, {}, "Named"),
]


@pytest.mark.parametrize(("cls", "options", "name"), WORKFLOWS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_workflow_is_declared_alone_or_over_the_sdks_decorator(
    registry: Registry, cls: type, options: WorkflowDefnOptions, name: str
) -> None:
    assert workflow_defn(queue="q", **options)(cls) is cls
    (handler,) = registry.queues()["q"]
    assert (handler.kind, handler.name, handler.target) == ("workflow", name, cls)
    assert handler.where.startswith("tests/worker/declared.py:")
    assert registry.problems == []
    definition = sdk.workflow_definition(cls)
    assert definition is not None
    assert definition.versioning_behavior == options.get("versioning_behavior", definition.versioning_behavior)


def test_the_options_of_the_sdks_decorator_stay_as_they_are(registry: Registry) -> None:
    workflow_defn(queue="q")(declared.StackedWithOptions)
    definition = sdk.workflow_definition(declared.StackedWithOptions)
    assert definition is not None
    assert definition.versioning_behavior is VersioningBehavior.PINNED
    assert definition.failure_exception_types == [ApplicationError]
    assert not definition.sandboxed


def test_options_in_both_decorators_are_told_with_both_places(registry: Registry) -> None:
    workflow_defn(queue="q", name="Lost", sandboxed=True)(declared.Stacked)

    @activity_defn(queue="q", name="lost")
    @activity.defn(name="kept")
    async def act() -> None: ...

    of_workflow, of_activity = map(str, registry.problems)
    first = inspect.getsourcelines(declared.Stacked)[1]
    assert of_workflow.startswith(f"tests/worker/declared.py:{first}: Stacked has options in both decorators")
    assert (
        f"name, sandboxed here would be lost, @workflow.defn (tests/worker/declared.py:{first}) counts" in of_workflow
    )
    line = inspect.getsourcelines(act)[1]
    assert of_activity.startswith(f"tests/worker/test_decorators.py:{line}: ")
    assert f"@activity.defn (tests/worker/test_decorators.py:{line + 1}) counts" in of_activity
    assert registry.queues()["q"][0].name == "kept"


def test_a_dynamic_handler_is_refused_with_its_place(registry: Registry) -> None:
    workflow_defn(queue="q")(declared.Dynamic)

    @activity_defn(queue="q")
    @activity.defn(dynamic=True)
    async def anything(args: Sequence[RawValue]) -> None: ...

    assert [("is dynamic" in str(problem), ".py:" in problem.where) for problem in registry.problems] == [
        (True, True)
    ] * 2
    assert registry.queues() == {}


def test_the_options_are_those_of_the_installed_sdk() -> None:
    for ours, theirs, own in (
        (WorkflowDefnOptions, workflow.defn, {"cls", "dynamic"}),
        (ActivityDefnOptions, activity.defn, {"fn", "dynamic"}),
    ):
        assert set(ours.__annotations__) == set(inspect.signature(theirs).parameters) - own


# Activities.


def _logged(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A decorator as many teams have it."""

    @functools.wraps(fn)
    def wrapper(*args: Any) -> Any:
        return fn(*args)

    return wrapper


def _timed(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(fn)
    async def wrapper(*args: Any) -> Any:
        return await fn(*args)

    return wrapper


def new_add() -> Callable[[int, int], Awaitable[int]]:
    """A new function each time: a definition stays on a function for good."""

    async def add(one: int, other: int) -> int:
        return one + other

    return add


def new_add_sync() -> Callable[[int, int], int]:
    def add_sync(one: int, other: int) -> int:
        return one + other

    return add_sync


class Adder:
    async def __call__(self, one: int, other: int) -> int:
        return one + other


@dataclass(eq=True)
class SyncAdder:
    by: int = 0

    def __call__(self, one: int, other: int) -> int:
        return one + other + self.by


SHAPES: list[tuple[str, Callable[[], Any], str, bool]] = [
    ("async function", new_add, "add", True),
    ("sync function", new_add_sync, "add_sync", False),
    ("async wrapper", lambda: _timed(new_add()), "add", True),
    ("sync wrapper of a sync function", lambda: _logged(new_add_sync()), "add_sync", False),
    ("async object", Adder, "Adder", True),
    ("sync object", SyncAdder, "SyncAdder", False),
    ("partial of an async function", lambda: functools.partial(new_add(), 0), "add", True),
    ("partial of a sync function", lambda: functools.partial(new_add_sync(), 0), "add_sync", False),
]


CASES = [
    pytest.param(make, inner, name, is_async, id=f"{shape} {inner}")
    for shape, make, name, is_async in SHAPES
    for inner in ("alone", "over the SDK's", "over the SDK's with options")
    # The SDK's decorator wants a name for what has none of its own.
    if inner != "over the SDK's" or ("object" not in shape and "partial" not in shape)
]


@pytest.mark.parametrize(("make", "inner", "name", "is_async"), CASES)
def test_an_activity_of_any_shape_is_declared_and_can_be_called(
    registry: Registry, make: Callable[[], Any], inner: str, name: str, is_async: bool
) -> None:
    target = make()
    if inner != "alone":
        options: ActivityDefnOptions = {} if inner == "over the SDK's" else {"name": "named"}
        target = activity.defn(**options)(target)
    assert activity_defn(queue="q")(target) is target
    assert registry.problems == []
    (handler,) = registry.queues()["q"]
    assert handler.name == ("named" if inner == "over the SDK's with options" else name)
    assert handler.is_async is is_async
    assert registry.find(target) is handler
    assert handler.where.startswith("tests/worker/test_decorators.py:")
    arguments = (3,) if isinstance(target, functools.partial) else (1, 2)
    result = ActivityEnvironment().run(target, *arguments)
    assert (_await(result) if is_async else result) == 3


def _await(result: Any) -> Any:
    async def waited() -> Any:
        return await result

    return asyncio.run(waited())


class Shop:
    def __init__(self, *, open_until: int = 0) -> None:
        self.open_until = open_until


def _declared_shop(inner: bool) -> type[Any]:
    """A class with declared methods; each call makes another."""

    class Declared(Shop):
        @activity_defn(queue="shop")
        async def pay(self, amount: int) -> int:
            return amount + self.open_until

        if inner:

            @activity_defn(queue="shop")
            @activity.defn(name="shut")
            def close(self) -> int:
                return self.open_until

        else:

            @activity_defn(queue="shop", name="shut")
            def close(self) -> int:
                return self.open_until

        @staticmethod
        @activity_defn(queue="shop")
        def rate(amount: int) -> int:
            return amount * 2

    return Declared


@pytest.mark.parametrize("inner", [False, True])
def test_methods_are_served_by_the_instance_that_was_registered(registry: Registry, inner: bool) -> None:
    cls = _declared_shop(inner)
    assert [handler.name for handler in registry.queues()["shop"]] == ["rate"], "which needs no instance"
    shop = cls(open_until=18)
    assert register(shop) is shop
    pay, rate, shut = registry.queues()["shop"]
    assert (pay.name, pay.is_async, pay.target) == ("pay", True, shop.pay)
    assert (shut.name, shut.is_async, shut.target()) == ("shut", False, 18)
    assert rate.target(2) == 4
    assert registry.find(shop.pay) is pay
    assert registry.find(cls.pay) is pay, "workflow code may name it by the class"
    assert registry.without_instance() == []
    assert registry.problems == []
    register(shop)
    assert registry.problems == [], "the same object twice is no news"


def test_a_class_that_nobody_registers_is_told_with_its_place_and_the_remedy(registry: Registry) -> None:
    cls = _declared_shop(False)
    (problem,) = registry.without_instance()
    line = inspect.getsourcelines(cls.pay)[1]
    assert problem.where == f"tests/worker/test_decorators.py:{line}"
    assert "Declared.pay" in problem.what
    assert "Declared.close" in problem.what, "one problem a class"
    assert "declared = register(Declared(...))" in problem.remedy


def test_two_instances_of_a_class_are_told_with_both_places(registry: Registry) -> None:
    cls = _declared_shop(False)
    register(cls())
    register(cls())
    here = inspect.getsourcelines(test_two_instances_of_a_class_are_told_with_both_places)[1]
    (pay, _) = registry.problems
    assert f"has two instances: tests/worker/test_decorators.py:{here + 2} and" in pay.what
    assert pay.what.endswith(f"tests/worker/test_decorators.py:{here + 3}")


def test_a_subclass_serves_what_it_inherits_and_overrides(registry: Registry) -> None:
    cls = _declared_shop(False)

    class Kiosk(cls):  # type: ignore[valid-type, misc]
        @activity_defn(queue="kiosk")
        async def pay(self, amount: int) -> int:
            return -amount

    kiosk = register(Kiosk(open_until=3))
    assert registry.find(cls.pay) is registry.find(kiosk.pay) is registry.queues()["kiosk"][0]
    assert {handler.name for handler in registry.queues()["shop"]} == {"rate", "shut"}
    assert registry.without_instance() == []
    assert registry.problems == []


def test_an_override_of_another_name_does_not_stand_for_what_it_overrides(registry: Registry) -> None:
    cls = _declared_shop(False)

    class Kiosk(cls):  # type: ignore[valid-type, misc]
        @activity_defn(queue="kiosk", name="pay_at_kiosk")
        async def pay(self, amount: int) -> int:
            return -amount

    register(Kiosk())
    assert registry.find(cls.pay) is None, "its name is on no queue"
    assert "Declared.pay cannot be served" in str(registry.without_instance()[0])


@pytest.mark.parametrize("way", ["undecorated override", "class", "nothing declared"])
def test_what_cannot_be_registered_is_told(registry: Registry, way: str) -> None:
    cls = _declared_shop(False)

    class Kiosk(cls):  # type: ignore[valid-type, misc]
        async def pay(self, amount: int) -> int:
            return -amount

    if way == "class":
        register(cls)
        assert "is a class, and its activities need an instance" in str(registry.problems[0])
        assert "register(Declared(...))" in str(registry.problems[0])
    elif way == "undecorated override":
        register(Kiosk())
        assert "Kiosk.pay overrides activity" in str(registry.problems[0])
        assert "without a decorator" in str(registry.problems[0])
    else:
        register(object())
        assert "object has no method with @activity_defn" in str(registry.problems[0])
    assert registry.problems[0].where.startswith("tests/worker/test_decorators.py:")


def test_a_callable_class_is_served_by_its_instance(registry: Registry) -> None:
    @activity_defn(queue="q")
    class Receipt:
        def __init__(self, *, shop: str) -> None:
            self._shop = shop

        async def __call__(self, amount: int) -> str:
            return f"{self._shop}: {amount}"

    assert "no instance of" in str(registry.without_instance()[0])
    receipt = register(Receipt(shop="Fleet"))
    (handler,) = registry.queues()["q"]
    assert (handler.name, handler.is_async, handler.target) == ("Receipt", True, receipt)
    assert registry.find(receipt) is handler
    assert registry.without_instance() == []
    assert _await(receipt(3)) == "Fleet: 3"


def _misfits() -> list[tuple[str, Callable[[], Any], str]]:
    async def plain(amount: int) -> int:
        return amount

    def class_method() -> Any:
        class Wrong:
            @classmethod
            @activity_defn(queue="q")
            async def pay(cls, amount: int) -> int:
                return amount

        return Wrong

    def static_above() -> Any:
        class Wrong:
            @activity_defn(queue="q")
            @staticmethod
            async def pay(amount: int) -> int:
                return amount

        return Wrong

    def call_method() -> Any:
        class Wrong:
            @activity_defn(queue="q")
            async def __call__(self, amount: int) -> int:
                return amount

        return Wrong

    return [
        ("a class method", class_method, "is a class method"),
        ("static above", static_above, "has @activity_defn above @staticmethod"),
        ("__call__", call_method, "Temporal looks at the class"),
        ("a sync wrapper of an async function", lambda: activity_defn(queue="q")(_logged(plain)), "hides it"),
    ]


@pytest.mark.parametrize(("make", "says"), [m[1:] for m in _misfits()], ids=[m[0] for m in _misfits()])
def test_what_the_sdk_would_take_and_run_wrongly_is_told(
    registry: Registry, make: Callable[[], Any], says: str
) -> None:
    make()
    (problem,) = registry.problems
    assert says in problem.what
    assert problem.where.startswith("tests/worker/test_decorators.py:")
    assert registry.queues() == {}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: workflow_defn(declared.Plain), "workflow_defn() takes 0 positional arguments"),  # type: ignore[call-arg, arg-type]
        (lambda: workflow_defn(), "missing 1 required keyword-only argument: 'queue'"),  # type: ignore[call-arg]
        (lambda: activity_defn(new_add()), "activity_defn() takes 0 positional arguments"),  # type: ignore[call-arg, arg-type]
        (lambda: workflow_defn(queue="q")(new_add()), "@workflow_defn stands over a class"),  # type: ignore[type-var]
        (lambda: activity_defn(queue="q")(Shop), "@activity_defn stands over what can be called"),
        (lambda: activity_defn(queue="q")(3), "@activity_defn stands over what can be called"),  # type: ignore[type-var]
        (lambda: activity_defn(queue="q", nmae="x")(new_add()), "unexpected keyword argument 'nmae'"),  # type: ignore[call-arg]
    ],
)
def test_misuse_is_a_type_error_that_says_what_is_missing(
    registry: Registry, wrong: Callable[[], Any], says: str
) -> None:
    with pytest.raises(TypeError, match=r".*") as caught:
        wrong()
    assert says in str(caught.value)


def test_in_the_sandbox_nothing_is_registered(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workflow.unsafe, "in_sandbox", lambda: True)
    cls = _declared_shop(False)
    register(cls())
    workflow_defn(queue="q")(declared.Stacked)
    assert registry.queues() == {}
    assert registry.without_instance() == registry.problems == []
    assert sdk.activity_name(cls.pay) == "pay", "the definition is made all the same"


def _made(name: str, queue: str = "q") -> Callable[[int], Awaitable[str]]:
    @activity_defn(queue=queue, name=name)
    async def act(number: int) -> str:
        return f"{name} {number}"

    return act


def test_activities_that_one_function_makes_are_all_served_each_under_its_own_name(registry: Registry) -> None:
    one, two = _made("shop.one"), _made("shop.two", "r")
    assert registry.problems == []
    found = [registry.find(one), registry.find(two)]
    assert [(h.name, h.queue, h.target) for h in found if h] == [("shop.one", "q", one), ("shop.two", "r", two)]
    assert [asyncio.run(ActivityEnvironment().run(h.target, 3)) for h in found if h] == ["shop.one 3", "shop.two 3"]


def test_two_activities_that_one_function_makes_under_one_name_are_told(registry: Registry) -> None:
    _made("one")
    _made("one")
    (problem,) = registry.problems
    assert str(problem).startswith("tests/worker/test_decorators.py:")
    assert "activity one" in str(problem)
    assert "is made twice, and only one of them would run" in str(problem)
