"""Which task queues the workflows of a queue call, as their code names them.

A workflow that is started will soon ask for its activities, and their queue may be asleep: the two can wake together
if somebody knows of it. The code does: a function that it names, by itself or in a module or object, or an activity's
name in a string. What is called elsewhere is not followed, nor what is computed; `wakeWith` in the chart's values says
the rest. Rejected: the autoscaler learns it from what happened (a chance is no reason, and it forgets at each start).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

from app.worker import sdk_definitions as sdk
from app.worker.handlers import WORKFLOW, Handler, Registry


def callers(registry: Registry) -> Mapping[str, tuple[str, ...]]:
    """Task queue -> the other queues whose workflows call something on it."""
    queues = registry.queues()
    names = {handler.name: handler for handlers in queues.values() for handler in handlers}
    found: dict[str, set[str]] = {queue: set() for queue in queues}
    for handler in (h for handlers in queues.values() for h in handlers if h.kind == WORKFLOW):
        for called in _called(handler.target, registry, names):
            if called.queue != handler.queue:
                found[called.queue].add(handler.queue)
    return {queue: tuple(sorted(of)) for queue, of in found.items()}


def _called(cls: type, registry: Registry, names: Mapping[str, Handler]) -> Iterator[Handler]:
    for function in _functions(cls):
        for code in _nested(function.__code__):
            yield from (names[text] for text in code.co_consts if isinstance(text, str) and text in names)
            for value in _values(code, function.__globals__):
                if _is_defined(value) and (handler := registry.find(value)):
                    yield handler


def _is_defined(value: Any) -> bool:
    return bool(sdk.workflow_definition(value) if inspect.isclass(value) else sdk.activity_definition(value))


def _functions(cls: type) -> Iterator[FunctionType]:
    for base in cls.__mro__:
        for member in vars(base).values():
            plain = inspect.unwrap(getattr(member, "fget", None) or getattr(member, "__func__", None) or member)
            if isinstance(plain, FunctionType):
                yield plain


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _nested(constant)


def _values(code: CodeType, known: Mapping[str, Any]) -> Iterator[Any]:
    """What the code's names stand for: globals, and attributes of those that are modules, classes or objects."""
    for value in (known[name] for name in code.co_names if name in known):
        yield value
        # Static: nothing of the user's runs because somebody prints a manifest.
        yield from (inspect.getattr_static(value, name, None) for name in code.co_names)
