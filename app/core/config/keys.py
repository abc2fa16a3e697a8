"""Every key of the model as data: what the reference prints, and what the tests walk so that none is forgotten."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, SecretStr

from app.core.config.errors import variable
from app.core.config.model import Settings
from app.core.config.section import TEN_YEARS_S

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "above {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "below {}",
    "minLength": "not empty",
    "minItems": "not empty",
    "pattern": "like `{}`",
}
_TYPES = {
    "boolean": "true or false",
    "integer": "integer",
    "number": "number",
    "string": "text",
    "array": "list of texts",
    "object": "table",
}


@dataclass(frozen=True)
class Key:
    """One setting: its path, and how a reader is told of it. `default` is as YAML writes it, empty for none."""

    path: tuple[str, ...]
    type: str
    default: str
    bounds: str
    sentence: str

    @property
    def name(self) -> str:
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        return variable(self.path)


@dataclass(frozen=True)
class Group:
    """The keys that stand directly in one section."""

    path: tuple[str, ...]
    sentence: str
    keys: tuple[Key, ...]


def groups() -> Iterator[Group]:
    """All sections that hold keys, in the order of config.yaml."""
    schema = Settings.model_json_schema()
    yield from _groups(Settings(), schema, schema["$defs"], ())


def _groups(
    section: BaseModel, schema: dict[str, Any], definitions: dict[str, Any], path: tuple[str, ...]
) -> Iterator[Group]:
    keys: list[Key] = []
    inner: list[Iterator[Group]] = []
    for name, field in type(section).model_fields.items():
        value, here = getattr(section, name), (*path, name)
        said = schema["properties"][name]
        if isinstance(value, BaseModel):
            inner.append(_groups(value, definitions[said["$ref"].rsplit("/", 1)[1]], definitions, here))
        else:
            keys.append(Key(here, _type(said), scalar(value), _bounds(said), field.description or ""))
    if keys:
        yield Group(path, (type(section).__doc__ or "").strip().replace("\n    ", "\n"), tuple(keys))
    for each in inner:
        yield from each


def _type(said: dict[str, Any]) -> str:
    if "anyOf" in said:
        return " or ".join("empty" if one.get("type") == "null" else _type(one) for one in said["anyOf"])
    if "enum" in said:
        return ", ".join(f"`{value}`" for value in said["enum"])
    return "secret text" if said.get("format") == "password" else _TYPES[said["type"]]


def _bounds(said: dict[str, Any]) -> str:
    parts = [part for one in said.get("anyOf", []) if (part := _bounds(one))]
    parts += [text.format(_number(said[word])) for word, text in _BOUNDS.items() if word in said]
    return ", ".join(parts)


def _number(value: Any) -> str:
    if value == TEN_YEARS_S:
        return "10 years"
    return f"{value:,}".replace(",", " ").removesuffix(".0") if isinstance(value, int | float) else str(value)


def scalar(value: Any) -> str:
    """A value as YAML writes it on one line; nothing for None and for what is secret."""
    if isinstance(value, BaseModel):
        value = value.model_dump(exclude_defaults=True)
    if isinstance(value, SecretStr):
        value = ""
    if isinstance(value, tuple):
        value = list(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else json.dumps(value, ensure_ascii=False)
