"""The sources of the settings as layers of one shape, laid over each other key by key, and who said what.

Each layer holds what its source says and, for every key in it, the place of that word: a file and line, or a variable.
So one rule finds the place of any problem, whatever the source. (pydantic-settings can merge sources too, but forgets
where a value came from.)
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from app.core.config.errors import ConfigProblem
from app.core.config.model import Settings
from app.core.config.resolve import Loc, lay_over

_ONE_OF = [
    (("temporal", "api_key"), ("temporal", "api_key_file")),
    *(
        (("temporal", "tls", f"{name}_file"), ("temporal", "tls", f"{name}_data"))
        for name in ("server_ca", "client_cert", "client_key")
    ),
]
"""Two ways to say one thing: a value that a layer has for one silences what lower layers say of the other."""


@dataclass(frozen=True)
class Layer:
    """What one source says; `problems` are those of its text, not of its values."""

    data: dict[str, Any]
    places: Mapping[Loc, str]
    problems: Sequence[ConfigProblem] = field(default=())

    @classmethod
    def said_at(cls, data: dict[str, Any], where: str) -> Layer:
        """A layer all of whose keys stand in one place."""
        return cls(data, dict.fromkeys(all_locs(data), where))


def all_locs(data: Any, path: Loc = ()) -> Iterable[Loc]:
    """The path of every key in `data`, at all depths."""
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield (*path, key)
            yield from all_locs(value, (*path, key))


def merged(layers: Sequence[Layer]) -> dict[str, Any]:
    """What all layers say together; the first one wins."""
    data: dict[str, Any] = {}
    for layer in reversed(layers):
        for one, other in _ONE_OF:
            for said, silenced in ((one, other), (other, one)):
                if _value(layer.data, said):
                    _drop(data, silenced)
        lay_over(data, layer.data)
    return data


def _value(data: Any, loc: Loc) -> Any:
    for step in loc:
        data = data.get(step) if isinstance(data, Mapping) else None
    return data


def _drop(data: dict[str, Any], loc: Loc) -> None:
    *sections, key = loc
    section = _value(data, tuple(sections))
    if isinstance(section, dict):
        section.pop(key, None)


def problem(layers: Sequence[Layer], loc: Loc, message: str, kind: str = "", remedy: str = "") -> ConfigProblem:
    """A problem of the merged settings, with the place or places that it comes from.

    A second line of `message` is its remedy.
    """
    if kind == "extra_forbidden":
        message = f"there is no such setting{_near(loc)}"
    message, _, told = message.removeprefix("Value error, ").partition("\n")
    remedy = remedy or told
    return ConfigProblem(_where(layers, loc, message), ".".join(map(str, loc)), message, remedy)


def _where(layers: Sequence[Layer], loc: Loc, message: str) -> str:
    section = section_at(loc)
    if section:
        # A clash between keys of a section: the message names them, so their places can be told.
        keys = [found for key in section.model_fields for found in re.findall(rf"\b{key}\b(?:\.\w+)*", message)]
        if places := [place for key in keys if (place := place_of(layers, (*loc, *key.split("."))))]:
            return " and ".join(dict.fromkeys(places))
    for length in range(len(loc), 0, -1):
        if place := place_of(layers, loc[:length]):
            return place
    return "configuration"


def place_of(layers: Sequence[Layer], loc: Loc) -> str | None:
    """Where the first layer that says something at a path says it."""
    return next((layer.places[loc] for layer in layers if loc in layer.places), None)


def section_at(loc: Loc, below: type[BaseModel] = Settings) -> type[BaseModel] | None:
    """The model of the section at a path, also within the overrides of a queue or an activity."""
    if len(loc) >= 3 and loc[0] == "queues":
        base: Loc = ("scaling",) if loc[2] == "scaling" else ("temporal", loc[2])
        return section_at((*base, *loc[3:]))
    if len(loc) >= 3 and loc[:2] == ("temporal", "activity"):
        return section_at(("temporal", "activities", *loc[3:]))
    section: type[BaseModel] | None = below
    for step in loc:
        field_ = section.model_fields.get(str(step)) if section else None
        kind = field_.annotation if field_ else None
        section = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None
    return section


def holds_keys(loc: Loc) -> bool:
    """Whether the setting at a path is a section or a table: YAML's null says nothing there."""
    above = section_at(loc[:-1])
    field_ = above.model_fields.get(str(loc[-1])) if above else None
    return (
        section_at(loc) is not None
        or (len(loc) == 2 and loc[0] == "queues")
        or "dict[" in str(field_ and field_.annotation)
    )


def _near(loc: Loc) -> str:
    section = section_at(loc[:-1])
    if section is None:
        return ""
    near = difflib.get_close_matches(str(loc[-1]), section.model_fields, n=1)
    return f". Did you mean {near[0]}?" if near else f" (here: {', '.join(section.model_fields)})"
