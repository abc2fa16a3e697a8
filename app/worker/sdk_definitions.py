"""The only place that touches names the Temporal SDK does not promise: where it keeps a definition it was given.

A test fails when the SDK moves them. The public decorators cannot tell whether an object was decorated before, and
decorating twice raises; our decorators must work stacked over the SDK's.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

from temporalio import activity, workflow

_WORKFLOW = "__temporal_workflow_definition"
_ACTIVITY = "__temporal_activity_definition"
_RUN = "__temporal_workflow_run"
_SIGNAL = "__temporal_signal_definition"
_QUERY = "__temporal_query_definition"


def workflow_definition(cls: type) -> workflow._Definition | None:
    """The definition made for this very class; a parent's does not count."""
    found = cls.__dict__.get(_WORKFLOW)
    return found if isinstance(found, workflow._Definition) else None


def activity_definition(fn: Callable[..., Any]) -> activity._Definition | None:
    """The definition of an activity: a function, a method, an object that can be called, or the class of such."""
    # An object has that of its class; a class must not have that of its parent.
    found = vars(fn).get(_ACTIVITY) if isinstance(fn, type) else getattr(fn, _ACTIVITY, None)
    return found if isinstance(found, activity._Definition) else None


def has_call(cls: type) -> bool:
    """Whether the objects of a class can be called."""
    return any("__call__" in vars(base) for base in cls.__mro__)


def define_callable_class(cls: Any, **options: Any) -> None:
    """Make the objects of a class with `__call__` activities; the SDK's own decorator reads `__init__` instead."""
    call = cls.__call__
    activity.defn(**options)(call)
    setattr(cls, _ACTIVITY, activity_definition(call))
    delattr(call, _ACTIVITY)


def type_partial(target: functools.partial[Any]) -> None:
    """Give a partial function's definition the types of what it wraps: the SDK sees none, and would hand over dicts."""
    definition = activity_definition(target)
    hints = typing.get_type_hints(target.func)
    left: list[Any] = [hints.get(parameter.name) for parameter in inspect.signature(target).parameters.values()]
    if definition is not None and None not in left:
        typed = dataclasses.replace(definition, arg_types=left, ret_type=hints.get("return"))
        setattr(target, _ACTIVITY, typed)


def is_run_method(fn: object) -> bool:
    """Whether `@workflow.run` stands on it."""
    return bool(getattr(fn, _RUN, False))


def handler_kind(member: object) -> str:
    """Which of @workflow.signal, query and update stands on it: that word, or empty."""
    if isinstance(getattr(member, "_defn", None), workflow._UpdateDefinition):
        return "update"
    return "signal" if hasattr(member, _SIGNAL) else "query" if hasattr(member, _QUERY) else ""


def handler_name(member: object) -> str | None:
    """Temporal's name of what is a signal, query or update; None for a dynamic one."""
    definition = getattr(member, _SIGNAL, None) or getattr(member, _QUERY, None) or getattr(member, "_defn", None)
    return getattr(definition, "name", None)


def signal_name(fn: object) -> str:
    """Temporal's name of a signal method. Raises TypeError for a method that is none, or has no name (dynamic)."""
    name = getattr(getattr(fn, _SIGNAL, None), "name", None)
    if not isinstance(name, str):
        raise TypeError(f"{getattr(fn, '__qualname__', fn)!s} is not a signal with a name: put @workflow.signal on it")
    return name


def workflow_name(cls: type) -> str:
    """Temporal's type name of a workflow class. Raises TypeError for one without a definition (or a dynamic one)."""
    definition = workflow_definition(cls)
    if definition is None or definition.name is None:
        raise TypeError(f"{cls.__qualname__} is not a workflow with a name: decorate it with @workflow_defn(queue=...)")
    return definition.name


def activity_name(fn: Callable[..., Any]) -> str:
    """Temporal's type name of an activity. Raises TypeError for a function without a definition (or a dynamic one)."""
    definition = activity_definition(fn)
    if definition is None or definition.name is None:
        name = getattr(fn, "__qualname__", fn)
        raise TypeError(f"{name!s} is not an activity with a name: decorate it with @activity_defn(queue=...)")
    return definition.name
