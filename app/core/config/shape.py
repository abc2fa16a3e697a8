"""A layer in the one shape that laying over relies on: a mapping wherever the model has a section or a table.

Laid over each other, a text in the place of a section would be thrown away in silence by any layer that has keys there.
So it is told before, by each layer for itself. Names of headers are lower-cased here, because `X-Tenant` of one layer
and `x-tenant` of another are the same header to Temporal, and one of them must win.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from app.core.config.errors import ConfigProblem
from app.core.config.layers import Layer, holds_keys, place_of, section_at
from app.core.config.resolve import Loc

_HEADERS = ("temporal", "grpc_metadata")


def shaped(layer: Layer) -> Layer:
    """`layer` without what has the wrong shape, which became problems."""
    problems = [
        ConfigProblem(place_of([layer], loc) or "configuration", ".".join(map(str, loc)), fact, remedy)
        for loc, fact, remedy in not_sections(layer.data)
    ]
    return _with_lower_headers(replace(layer, data=_sections(layer.data), problems=[*layer.problems, *problems]))


def not_sections(data: Any, path: Loc = ()) -> Iterator[tuple[Loc, str, str]]:
    """What stands where the model has a section or a table and is none: (path, sentence, remedy). Null says nothing."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from not_sections(value, (*path, key))
    elif path and data is not None and holds_keys(path):
        section = section_at(path)
        keys = ", ".join(list(section.model_fields)[:3]) if section else ""
        remedy = f"Say its keys ({keys}, ...)." if keys else "Say names, each with its value."
        yield path, f"must be a section, and is {_kind(data)}", remedy


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return {int: "a number", float: "a number", list: "a list", tuple: "a list"}.get(type(value), "a text")


def _sections(data: Mapping[str, Any], path: Loc = ()) -> dict[str, Any]:
    """`data` without what is no mapping and should be one."""
    return {
        key: _sections(value, (*path, key)) if isinstance(value, Mapping) else value
        for key, value in data.items()
        if isinstance(value, Mapping) or not holds_keys((*path, key))
    }


def _with_lower_headers(layer: Layer) -> Layer:
    temporal, name = _HEADERS
    headers = layer.data.get(temporal, {}).get(name)
    if not headers:
        return layer
    places = dict(layer.places)
    problems = list(layer.problems)
    lower: dict[str, Any] = {}
    said: dict[str, str] = {}
    for key, value in headers.items():
        header = key.lower()
        if header in said:
            fact = f"said twice: as {said[header]} and as {key}, which are one header"
            where = place_of([layer], (*_HEADERS, key)) or "configuration"
            problems.append(ConfigProblem(where, f"{temporal}.{name}.{header}", fact, "Leave one out."))
        elif place := places.pop((*_HEADERS, key), None):
            places[*_HEADERS, header] = place
        said[header], lower[header] = key, value
    section = {**layer.data[temporal], name: lower}
    return Layer({**layer.data, temporal: section}, places, problems)
