"""One workflow or activity, as somebody needs it who wants to call it: queue, types, options, signals and queries.

The types are shown as JSON schemas, made by the same pydantic adapters that convert the payloads; what pydantic has no
schema for is shown by its Python name.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

from app.core.config import Settings
from app.core.config.resolve import activity_settings
from app.worker import sdk_definitions as sdk
from app.worker.problems import Problem, RegistrationError, did_you_mean
from app.worker.registry import WORKFLOW, Handler, Registry


def describe(registry: Registry, settings: Settings, name: str) -> list[dict[str, Any]]:
    """Every handler called `name`: the same name may stand on several queues.

    Raises RegistrationError when there is none.
    """
    handlers = [handler for found in registry.queues().values() for handler in found]
    found = [handler for handler in handlers if handler.name == name]
    if not found:
        names = sorted({handler.name for handler in handlers})
        remedy = f"Names here: {', '.join(names) or 'none'}.{did_you_mean(name, names)}"
        raise RegistrationError([Problem("describe", f'no workflow or activity is named "{name}"', remedy)])
    return [
        _workflow(handler, settings) if handler.kind == WORKFLOW else _activity(handler, settings) for handler in found
    ]


def as_text(described: Mapping[str, Any]) -> str:
    """A description for a person to read: one line a fact, schemas as indented JSON."""
    return "\n".join(_lines(described))


def _workflow(handler: Handler, settings: Settings) -> dict[str, Any]:
    definition = sdk.workflow_definition(handler.target)
    assert definition is not None, "the registry holds only what has one"
    options = settings.temporal.workflows.model_dump()
    return {
        **_head(handler),
        "input": [_schema(each) for each in definition.arg_types or ()],
        "output": _schema(definition.ret_type),
        "signals": _handlers(definition.signals),
        "queries": _handlers(definition.queries),
        "updates": _handlers(definition.updates),
        "options": options,
    }


def _activity(handler: Handler, settings: Settings) -> dict[str, Any]:
    definition = sdk.activity_definition(handler.target)
    assert definition is not None, "the registry holds only what has one"
    return {
        **_head(handler),
        "async": handler.is_async,
        "on_drain": handler.promise.on_drain,
        "declared": sorted(handler.promise.declared()),
        "input": [_schema(each) for each in definition.arg_types or ()],
        "output": _schema(definition.ret_type),
        "options": handler.promise.over(activity_settings(settings, handler.name, handler.queue)).model_dump(),
    }


def _head(handler: Handler) -> dict[str, Any]:
    own = _doc(handler.target)
    return {
        "kind": handler.kind,
        "name": handler.name,
        "queue": handler.queue,
        "where": handler.where,
        "doc": inspect.cleandoc(own) if own else "",
    }


def _doc(target: Any) -> str | None:
    """The docstring that stands there: none of a base class, of an object's class where it is one, no library's."""
    if isinstance(target, functools.partial):
        return _doc(target.func)
    if not isinstance(target, type) and not inspect.isroutine(target):
        target = type(target)
    return vars(target).get("__doc__") if isinstance(target, type) else target.__doc__


def _handlers(found: Mapping[str | None, Any]) -> dict[str, Any]:
    """Signals, queries or updates by name, each with its parameters and, where it has one, its result."""
    said: dict[str, Any] = {}
    for name, each in sorted(found.items(), key=lambda item: item[0] or ""):
        signature = inspect.signature(each.fn)
        parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "self"]
        types = each.arg_types or [parameter.annotation for parameter in parameters]
        entry: dict[str, Any] = {
            "parameters": {
                parameter.name: {
                    "type": _type_name(kind),
                    "required": parameter.default is inspect.Parameter.empty,
                }
                for parameter, kind in zip(parameters, types, strict=False)
            }
        }
        if hasattr(each, "ret_type"):
            entry["result"] = _type_name(each.ret_type)
        said[name or "(any)"] = entry
    return said


def _schema(kind: Any) -> dict[str, Any]:
    if kind is None or kind is type(None):
        return {"type": "null"}
    try:
        return TypeAdapter(kind).json_schema()
    except (PydanticSchemaGenerationError, PydanticUserError):
        return {"python": _type_name(kind)}


def _type_name(kind: Any) -> str:
    if kind is None or kind is inspect.Parameter.empty:
        return "Any" if kind is inspect.Parameter.empty else "None"
    return kind.__name__ if isinstance(kind, type) and not getattr(kind, "__args__", ()) else str(kind)


def _lines(described: Mapping[str, Any]) -> Iterator[str]:
    yield f"{described['kind']} {described['name']} on queue {described['queue']} ({described['where']})"
    if described["doc"]:
        yield f"  {described['doc'].replace(chr(10), chr(10) + '  ').rstrip()}"
    for schema in described["input"] or [{"type": "null"}]:
        yield f"input: {json.dumps(schema, indent=2)}"
    yield f"output: {json.dumps(described['output'], indent=2)}"
    for kind in ("signals", "queries", "updates"):
        for name, each in described.get(kind, {}).items():
            shown = (
                f"{parameter}: {said['type']}{'' if said['required'] else ' (optional)'}"
                for parameter, said in each["parameters"].items()
            )
            result = f" -> {each['result']}" if "result" in each else ""
            yield f"{_ONE[kind]} {name}({', '.join(shown)}){result}"
    if "on_drain" in described:
        yield f"on a drain: {_ON_DRAIN[described['on_drain']]}"
    yield "options where a call says nothing:"
    for key, value in _flat(described["options"]):
        declared = " (declared)" if key.partition(".")[0] in described.get("declared", ()) else ""
        yield f"  {key}: {'none' if value is None else value}{declared}"


_ON_DRAIN = {
    "finish": "finish (it ends in the worker that has it)",
    "hand_over": "hand_over (another worker goes on with it)",
    None: "nothing declared (cut when the drain is over, and run again elsewhere from the beginning)",
}
_ONE = {"signals": "signal", "queries": "query", "updates": "update"}


def _flat(options: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", list(value) if isinstance(value, tuple) else value
