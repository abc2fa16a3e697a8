"""What a workflow class says in its annotations, checked when the class is made.

The data converter builds what the annotations of `run` name. Where they are absent it hands over plain dicts, and where
they differ from `BaseWorkflow[In, Out]` the type checker's word and the object at run time differ: both show only much
later, as a wrong type in the middle of a run. So all problems of a class are raised at once, with its line.

A class that inherits its `run` gets one of its own that calls it: the SDK wants `run` on the very class it registers.
"""

from __future__ import annotations

import inspect
import sys
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ForwardRef, TypeVar

from app.worker import sdk_definitions as sdk
from app.worker.places import file_line
from app.worker.problems import Problem, RegistrationError

_HANDLERS = ("signal", "query", "update")


def check(cls: type, root: type) -> None:
    """Raise RegistrationError with every problem of `cls`, a subclass of `root` (BaseWorkflow[TInput, TReturn])."""
    problems = list(_overrides(cls))
    owner = next(base for base in cls.__mro__ if "run" in base.__dict__)
    # What a base workflow says was checked when it was made; what stands beside it was made without us.
    run = owner.__dict__["run"]
    if owner is cls or not (issubclass(owner, root) or getattr(run, "__isabstractmethod__", False)):
        problems += _run_problems(cls, run, *declared(cls, root))
    if problems:
        raise RegistrationError(problems)


def declared(cls: type, root: type) -> tuple[Any, Any]:
    """Input and output type that `cls` gives for the generics of `root`; a TypeVar where it leaves one open."""
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin = typing.get_origin(base) or base
        if origin is root:
            given = tuple(_resolved(arg, cls) for arg in typing.get_args(base)) or (Any, Any)
            return given[0], given[1]
        if isinstance(origin, type) and issubclass(origin, root):
            names: tuple[Any, ...] = getattr(origin, "__parameters__", ())
            given = typing.get_args(base) or (Any,) * len(names)
            bound = dict(zip(names, (_resolved(arg, cls) for arg in given), strict=False))
            taken, given_back = declared(origin, root)
            return _bind(taken, bound), _bind(given_back, bound)
    return Any, Any


def own_run(cls: type, root: type) -> Callable[..., Any] | None:
    """The `run` of `cls`: its own, or a new one that calls the inherited; None where there is none to call."""
    if "run" in cls.__dict__:
        run: Callable[..., Any] = cls.__dict__["run"]
        return run
    inherited: Any = getattr(cls, "run", None)
    types_of_run = declared(cls, root)
    if inherited is root.__dict__["run"] or getattr(inherited, "__isabstractmethod__", False):
        return None
    if any(map(_open, types_of_run)):
        return None

    async def run_inherited(self: Any, input: Any) -> Any:
        return await inherited(self, input)

    run_inherited.__name__ = "run"
    run_inherited.__qualname__ = f"{cls.__qualname__}.run"
    run_inherited.__module__ = cls.__module__
    run_inherited.__annotations__ = dict(zip(("input", "return"), types_of_run, strict=True))
    return run_inherited


def _overrides(cls: type) -> Iterator[Problem]:
    """Methods that replace a signal, query or update of a base without being one: Temporal would not find them."""
    for name, member in cls.__dict__.items():
        for base in cls.__mro__[1:]:
            kind = sdk.handler_kind(base.__dict__.get(name))
            if kind and sdk.handler_kind(member) != kind:
                what = f"{cls.__qualname__}.{name} overrides the {kind} of {base.__qualname__} without being one"
                yield Problem(_where(member, cls), what, f"Put @workflow.{kind} on it, or give it another name.")
            elif kind and (named := sdk.handler_name(member)) != (theirs := sdk.handler_name(base.__dict__[name])):
                what = f"{cls.__qualname__}.{name} overrides the {kind} {theirs!r} of {base.__qualname__} as {named!r}"
                yield Problem(_where(member, cls), what, f"Take its name={named!r} away, or rename the method.")
            if kind:
                break


def _run_problems(cls: type, run: Callable[..., Any], taken: Any, given: Any) -> Iterator[Problem]:
    where, name = _where(run, cls), f"{cls.__qualname__}.run"
    if not inspect.iscoroutinefunction(run):
        yield Problem(where, f"{name} is no async function", "Write `async def run(self, input: ...)`.")
        return
    if "<locals>" in cls.__qualname__:
        yield Problem(where, f"{cls.__qualname__} is made inside a function", "Move it to the top level.")
        return
    parameters = list(inspect.signature(run).parameters.values())[1:]
    bare = [p.name for p in parameters if p.annotation is inspect.Parameter.empty]
    if inspect.signature(run).return_annotation is inspect.Signature.empty:
        bare.append("the return")
    if bare:
        remedy = f"Write `async def run(self, input: {_text(taken)}) -> {_text(given)}`."
        told = f"{name}: annotate {', '.join(bare)}; without a type the data converter hands over plain dicts"
        yield Problem(where, told, remedy)
        return
    if not parameters or any(p.default is inspect.Parameter.empty for p in parameters[1:]):
        yield Problem(where, f"{name} takes {len(parameters)} arguments, and a run gets one", _ONE_MODEL)
        return
    try:
        hints = typing.get_type_hints(run, include_extras=True)
    except NameError as error:
        yield Problem(
            where,
            f"{name}: its annotation {error.name!r} is not known when the class is made",
            "Define it above the class, or import it outside `if TYPE_CHECKING:`.",
        )
        return
    said, said_back = hints[parameters[0].name], hints["return"]
    inherited = "run" not in cls.__dict__  # whose type variables are its own class's
    if not _same(said, taken) and not (inherited and _open(said)):
        yield _against(where, cls, f"input: {_text(said)}", "input", taken)
    if not _same(said_back, given) and not _narrower(said_back, given) and not (inherited and _open(said_back)):
        yield _against(where, cls, f"-> {_text(said_back)}", "result", given)


_ONE_MODEL = (
    "Put what it needs into one model, `BaseWorkflow[Model, ...]` and `run(self, input: Model)`; None for nothing."
)


def _against(where: str, cls: type, said: str, role: str, declared: Any) -> Problem:
    what = f"{cls.__qualname__}.run says `{said}`, and BaseWorkflow[...] says {_text(declared)} for the {role}"
    return Problem(where, what, "Make both the same.")


def _same(said: Any, declared: Any) -> bool:
    said, declared = _plain(said), _plain(declared)
    if said == declared or Any in (said, declared) or isinstance(declared, ForwardRef):
        return True
    if _is_union(said) and _is_union(declared):
        return set(map(_text, typing.get_args(said))) == set(map(_text, typing.get_args(declared)))
    if _origin(said) is not _origin(declared):
        return False
    one, other = typing.get_args(said), typing.get_args(declared)
    if not (one and other):  # `list` is `list[Any]`
        return all(arg is Any for arg in one + other)
    return len(one) == len(other) and all(map(_same, one, other))


def _narrower(said: Any, declared: Any) -> bool:
    """A result may be of a subclass, one of several, or never come."""
    said, declared = _plain(said), _plain(declared)
    if said in (typing.NoReturn, typing.Never):
        return True
    if _is_union(said):
        return all(_same(each, declared) or _narrower(each, declared) for each in typing.get_args(said))
    if _is_union(declared):
        return any(_same(said, each) or _narrower(said, each) for each in typing.get_args(declared))
    one, other = _origin(said), _origin(declared)
    if not (isinstance(one, type) and isinstance(other, type) and issubclass(one, other)):
        return False
    given = tuple(arg for arg in typing.get_args(said) if arg is not Ellipsis or one is other)
    wanted = typing.get_args(declared)
    return not wanted or (len(given) == len(wanted) and all(map(_same, given, wanted)))


def _origin(hint: Any) -> Any:
    return typing.get_origin(hint) or hint


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _plain(hint: Any) -> Any:
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    return types.NoneType if hint is None else hint


def _resolved(arg: Any, cls: type) -> Any:
    """A type that stands in quotes in the list of bases."""
    if not isinstance(arg, ForwardRef):
        return arg
    holder = types.SimpleNamespace(__annotations__={"arg": arg.__forward_arg__})
    try:
        return typing.get_type_hints(holder, vars(sys.modules[cls.__module__]), include_extras=True)["arg"]
    except NameError:
        return arg


def _bind(hint: Any, bound: dict[Any, Any]) -> Any:
    if isinstance(hint, TypeVar):
        return bound.get(hint, hint)
    names = getattr(hint, "__parameters__", ())
    return hint[tuple(bound.get(name, name) for name in names)] if names else hint


def _open(hint: Any) -> bool:
    return isinstance(hint, TypeVar) or bool(getattr(hint, "__parameters__", ()))


def _text(hint: Any) -> str:
    hint = types.NoneType if hint is None else hint
    if hint is types.NoneType:
        return "None"
    return hint.__qualname__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("~", "")


def _where(member: Any, cls: type) -> str:
    code = getattr(inspect.unwrap(member) if callable(member) else member, "__code__", None)
    return file_line(code.co_filename, code.co_firstlineno) if code else cls.__module__
