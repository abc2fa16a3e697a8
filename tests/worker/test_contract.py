"""What a class says of itself is checked when it is made: real modules, with their lines."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.config.model import Settings
from app.worker import discovery, sdk_definitions
from app.worker.registry import RegistrationError, registry
from app.worker.workflows import starts

HEAD = """
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Generic, List, NoReturn, Optional, TypeVar
from pydantic import BaseModel, Field
from temporalio import workflow
from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
if TYPE_CHECKING:
    from decimal import Decimal
T = TypeVar("T")
class Order(BaseModel):
    number: int
class Receipt(BaseModel):
    text: str
class Long(Receipt):
    more: str = ""
"""
Make = Callable[..., ModuleType]
numbers = itertools.count()


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Imports a module of this source; what it registers is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    before = dict(registry._handlers)

    def imported(source: str, first: str = "") -> ModuleType:
        name = f"made_{next(numbers)}"
        (tmp_path / f"{name}.py").write_text(first + HEAD + textwrap.dedent(source))
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield imported
    registry._handlers.clear()
    registry._handlers.update(before)
    registry.problems.clear()
    for name in [name for name in sys.modules if name.startswith("made_")]:
        del sys.modules[name]


@pytest.mark.parametrize("first", ["", "from __future__ import annotations\n"], ids=["objects", "strings"])
@pytest.mark.parametrize(
    ("bases", "run", "told"),
    [
        ("BaseWorkflow[Order, Receipt]", "async def run(self, input): ...", "annotate input, the return"),
        ("BaseWorkflow[Order, Receipt]", "async def run(self, input: Order): ...", "annotate the return"),
        (
            "BaseWorkflow[Order, Receipt]",
            "async def run(self, input: Receipt) -> Receipt: ...",
            "says `input: Receipt`, and BaseWorkflow[...] says Order for the input",
        ),
        (
            "BaseWorkflow[Order, Receipt]",
            "async def run(self, input: Order) -> str: ...",
            "says `-> str`, and BaseWorkflow[...] says Receipt for the result",
        ),
        ("BaseWorkflow[list[Order], int]", "async def run(self, input: list[Receipt]) -> int: ...", "list["),
        ("BaseWorkflow[Order, None]", "async def run(self, input: Order | None) -> None: ...", "says Order for the"),
        ("BaseWorkflow['Order', Receipt]", "async def run(self, input: str) -> Receipt: ...", "says Order for the"),
        ("BaseWorkflow[int, Receipt]", "async def run(self, input: int) -> Long | None: ...", "says Receipt for the"),
        ("BaseWorkflow[int, int | None]", "async def run(self, input: int) -> str: ...", "for the result"),
        ("BaseWorkflow[int, list[int]]", "async def run(self, input: int) -> Sequence[int]: ...", "for the result"),
        ("BaseWorkflow[int, Sequence[int]]", "async def run(self, input: int) -> list[str]: ...", "for the result"),
        ("BaseWorkflow[int, tuple[int]]", "async def run(self, input: int) -> tuple[int, ...]: ...", "for the result"),
        ("BaseWorkflow[int, list[int]]", "async def run(self, input: int) -> list: ...", "for the result"),
        ("BaseWorkflow[list[int], int]", "async def run(self, input: list) -> int: ...", "for the input"),
        ("BaseWorkflow[None, None]", "async def run(self) -> None: ...", "takes 0 arguments, and a run gets one"),
        ("BaseWorkflow[int, None]", "async def run(self, input: int, b: int) -> None: ...", "takes 2 arguments"),
        ("BaseWorkflow[int, int]", "def run(self, input: int) -> int: ...", "no async function"),
        ("BaseWorkflow[Any, Any]", "async def run(self, input: 'Decimal') -> int: ...", "'Decimal' is not known"),
    ],
)
def test_a_run_that_does_not_say_what_the_class_says_is_refused(
    make: Make, first: str, bases: str, run: str, told: str
) -> None:
    with pytest.raises(RegistrationError) as caught:
        make(f"class Wrong({bases}):\n    {run}\n", first)
    text = str(caught.value)
    assert told in text
    assert text.startswith("made_")
    line = (first + HEAD).count("\n") + 2
    assert f".py:{line}: Wrong.run" in text
    assert "\n  " in text, "a remedy"


@pytest.mark.parametrize(
    ("bases", "run"),
    [
        ("BaseWorkflow[None, None]", "async def run(self, input: None) -> None: ..."),
        ("BaseWorkflow[Optional[int], list[int]]", "async def run(self, input: int | None) -> List[int]: ..."),
        ("BaseWorkflow[Annotated[int, Field(gt=0)], int]", "async def run(self, input: int) -> int: ..."),
        ("BaseWorkflow['Order', 'list[Receipt]']", "async def run(self, input: Order) -> list[Receipt]: ..."),
        ("BaseWorkflow[Order, Receipt]", "async def run(self, input: Order) -> Long: ..."),
        ("BaseWorkflow[Order, Receipt]", "async def run(self, input: Order) -> NoReturn: ..."),
        ("BaseWorkflow[Order, Receipt | None]", "async def run(self, input: Order) -> Receipt: ..."),
        ("BaseWorkflow[Order, Receipt | None]", "async def run(self, input: Order) -> Long: ..."),
        ("BaseWorkflow[Order, Order | Receipt | None]", "async def run(self, input: Order) -> Long | None: ..."),
        ("BaseWorkflow[Order, Mapping[str, int]]", "async def run(self, input: Order) -> dict[str, int]: ..."),
        ("BaseWorkflow[Order, Sequence[Receipt]]", "async def run(self, input: Order) -> list[Receipt]: ..."),
        ("BaseWorkflow[Order, Sequence[int]]", "async def run(self, input: Order) -> tuple[int, ...]: ..."),
        ("BaseWorkflow[Order, Iterable[int] | None]", "async def run(self, input: Order) -> list[int]: ..."),
        ("BaseWorkflow[Order, list[Any]]", "async def run(self, input: Order) -> List: ..."),
        ("BaseWorkflow[list[Any], list]", "async def run(self, input: list) -> list[Any]: ..."),
        ("BaseWorkflow[Any, dict[str, Any]]", "async def run(self, input: Order) -> dict[str, Any]: ..."),
        ("BaseWorkflow", "async def run(self, input: Order) -> Receipt: ..."),
        ("BaseWorkflow[int, int]", "async def run(self, input: int, also: int = 3) -> int: ..."),
    ],
)
def test_a_run_that_says_the_same_in_other_words_is_taken(make: Make, bases: str, run: str) -> None:
    made = make(f"@workflow_defn(queue='made')\nclass Right({bases}):\n    {run}\n")
    assert sdk_definitions.workflow_name(made.Right) == "Right"


def hints(cls: Any) -> tuple[Any, Any]:
    definition = sdk_definitions.workflow_definition(cls)
    assert definition is not None
    assert definition.arg_types is not None
    return definition.arg_types[0], definition.ret_type


@pytest.mark.parametrize("first", ["", "from __future__ import annotations\n"], ids=["objects", "strings"])
def test_generic_and_abstract_bases_and_concrete_parents(make: Make, first: str) -> None:
    made = make(
        """
        class Mid(BaseWorkflow[T, str], Generic[T]):
            async def run(self, input: T) -> str:
                return f"mid {input}"

        class Pair(Mid[list[T]], Generic[T]):
            pass

        class Bound(ABC, BaseWorkflow[Order, T], Generic[T]):
            @abstractmethod
            async def run(self, input: Order) -> T: ...

        @workflow_defn(queue="made")
        class Own(Mid[Order]):
            async def run(self, input: Order) -> str:
                return "own"

        @workflow_defn(queue="made")
        class Inherits(Mid[Order]): ...

        @workflow_defn(queue="made")
        @workflow.defn(name="InheritsList")
        class Lists(Pair[int]): ...

        @workflow_defn(queue="made")
        class OfConcrete(Own): ...

        @workflow_defn(queue="made")
        class OfAbstract(Bound[Receipt]):
            async def run(self, input: Order) -> Receipt:
                return Receipt(text="")
        """,
        first,
    )
    assert hints(made.Own) == (made.Order, str)
    assert hints(made.Inherits) == (made.Order, str)
    assert hints(made.Lists) == (list[int], str)
    assert hints(made.OfConcrete) == (made.Order, str)
    assert hints(made.OfAbstract) == (made.Order, made.Receipt)
    with pytest.raises(RegistrationError, match=r"says `input: Receipt`, and BaseWorkflow\[...\] says Order"):
        exec("class Bad(Mid[Order]):\n    async def run(self, input: Receipt) -> str: ...\n", vars(made))


@pytest.mark.parametrize(
    ("method", "kind"),
    [
        ("def cancel(self) -> None: ...", "signal"),
        ("def state(self) -> dict[str, Any]: ...", "query"),
        ("@workflow.query\n    def cancel(self) -> str: ...", "signal"),
    ],
)
def test_an_override_without_decorator_is_told_what_to_add(make: Make, method: str, kind: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        make(
            "@workflow.defn\nclass Shop(BaseWorkflow[int, int]):\n"
            f"    async def run(self, input: int) -> int: ...\n    {method}\n"
        )
    text = str(caught.value)
    assert f"overrides the {kind} of BaseWorkflow without being one" in text
    assert f"Put @workflow.{kind} on it" in text
    assert "made_" in text.split(":")[0]


def test_an_override_under_another_name_is_told(make: Make) -> None:
    with pytest.raises(RegistrationError) as caught:
        make(
            """
            class Shop(BaseWorkflow[int, int]):
                async def run(self, input: int) -> int: ...
                @workflow.signal(name="halt")
                def cancel(self, reason: str = "", stop_new: bool = False) -> None: ...
            """
        )
    assert "Shop.cancel overrides the signal 'cancel' of BaseWorkflow as 'halt'" in str(caught.value)


def test_an_override_with_its_decorator_is_taken(make: Make) -> None:
    made = make(
        """
        @workflow_defn(queue="made")
        class Shop(BaseWorkflow[int, int]):
            async def run(self, input: int) -> int: ...
            @workflow.signal
            def cancel(self, reason: str = "", stop_new: bool = False) -> None:
                super().cancel(reason, stop_new)
            @workflow.query
            def state(self) -> dict[str, Any]:
                return {}
        """
    )
    definition = sdk_definitions.workflow_definition(made.Shop)
    assert definition is not None
    assert definition.signals["cancel"].fn is made.Shop.cancel


def test_an_input_is_looked_at_as_far_as_pydantic_knows_its_type(make: Make) -> None:
    made = make(
        """
        from dataclasses import dataclass
        class Odd: ...
        @dataclass
        class Holds:
            odd: Odd
        @workflow_defn(queue="made")
        class TakesOrder(BaseWorkflow[Order, None]):
            async def run(self, input: Order) -> None: ...
        @workflow_defn(queue="made")
        class TakesOdd(BaseWorkflow[Odd, None]):
            async def run(self, input: Odd) -> None: ...
        @workflow_defn(queue="made")
        class TakesHolds(BaseWorkflow[Holds, None]):
            async def run(self, input: Holds) -> None: ...
        """
    )
    order, odd = starts._input_type(made.TakesOrder), starts._input_type(made.TakesOdd)
    assert order is not None
    assert odd is not None
    given = made.Order(number=1)
    assert order.validate_python(given) is given
    order.validate_python({"number": 1})
    odd.validate_python(made.Odd())
    for adapter, wrong in ((order, {}), (order, made.Odd()), (odd, 3)):
        with pytest.raises(ValidationError):
            adapter.validate_python(wrong)
    assert starts._input_type(made.TakesHolds) is None, "left to the converter that the user brings"


def test_discovery_tells_all_problems_of_all_modules(make: Make, tmp_path: Path) -> None:
    package = tmp_path / "made_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "one.py").write_text(
        HEAD + "class One(BaseWorkflow[int, int]):\n    async def run(self, input): ...\n    def cancel(self): ...\n"
    )
    (package / "two.py").write_text(
        HEAD + "class Two(BaseWorkflow[int, int]):\n    async def run(self, input: str) -> int: ...\n"
    )
    importlib.invalidate_caches()
    settings = Settings.model_validate({"temporal": {"worker": {"packages": ["made_package"]}}})
    with pytest.raises(RegistrationError) as caught:
        discovery.discover(settings)
    assert [problem.where.rsplit(":", 1)[0] for problem in caught.value.problems] == [
        str(Path("made_package") / name) for name in ("one.py", "one.py", "two.py")
    ]


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ("def run(self, input: int) -> int: ...", "run is no async function"),
        ("async def run(self, input): ...", "annotate input, the return"),
        ("async def run(self, input: str) -> int: ...", "says `input: str`, and BaseWorkflow[...] says int"),
        ("async def run(self, input: int) -> str: ...", "says `-> str`, and BaseWorkflow[...] says int"),
        ("async def run(self) -> int: ...", "takes 0 arguments"),
    ],
)
def test_a_run_that_comes_from_beside_the_base_class_is_checked_too(make: Make, run: str, told: str) -> None:
    with pytest.raises(RegistrationError) as caught:
        make(f"class Runs:\n    {run}\nclass Shop(Runs, BaseWorkflow[int, int]): ...\n")
    text = str(caught.value)
    assert told in text
    assert f".py:{HEAD.count(chr(10)) + 2}: Shop.run" in text


def test_a_right_run_from_beside_the_base_class_is_taken(make: Make) -> None:
    made = make(
        """
        class Runs:
            async def run(self, input: Order) -> Receipt: ...
        class Generically(Generic[T]):
            async def run(self, input: T) -> list[T]: ...
        @workflow_defn(queue="made")
        class Shop(Runs, BaseWorkflow[Order, Receipt]): ...
        @workflow_defn(queue="made")
        class Of(Generically[int], BaseWorkflow[int, list[int]]): ...
        class Later(Generically[T], BaseWorkflow[T, list[T]]): ...
        @workflow_defn(queue="made")
        class OfLater(Later[int]): ...
        """
    )
    assert hints(made.Shop) == (made.Order, made.Receipt)
    assert hints(made.Of) == (int, list[int])
    assert hints(made.OfLater) == (int, list[int])


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="there pydantic takes it")
def test_a_typed_dict_that_pydantic_refuses_is_told_by_the_check_and_at_the_start(make: Make) -> None:
    made = make(
        """
        from typing import TypedDict
        import typing_extensions
        from app.worker.registry import activity_defn
        class Bad(TypedDict):
            a: int
        class Good(typing_extensions.TypedDict):
            a: int
        @workflow_defn(queue="made")
        class TakesBad(BaseWorkflow[list[Bad], None]):
            async def run(self, input: list[Bad]) -> None: ...
        @workflow_defn(queue="made")
        class TakesGood(BaseWorkflow[Good, Good]):
            async def run(self, input: Good) -> Good: ...
        @activity_defn(queue="made")
        async def gives_bad(number: int) -> Bad: ...
        """
    )
    settings = Settings.model_validate({"temporal": {"worker": {"packages": [made.__name__]}}})
    told = [str(p) for p in discovery.look(settings).problems if made.__name__ in p.where]
    assert [text.split(": ")[1].split(" (")[0] for text in told] == ["activity gives_bad", "workflow TakesBad"]
    assert all("Please use `typing_extensions.TypedDict`" in text for text in told)
    with pytest.raises(TypeError, match=r"TakesBad takes no input: Please use `typing_extensions.TypedDict`"):
        starts._input_type(made.TakesBad)
    assert starts._input_type(made.TakesGood) is not None
