"""A key, two values of it, and what is seen under each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from app.core.config.model import Settings
from app.core.config.resolve import lay_over

SIDES = (0, 1)
_SAME: Any = object()


@dataclass(frozen=True)
class Case:
    """`values`: the two values of `key`; `seen`: what they look like from outside, where not the value itself."""

    key: str
    values: tuple[Any, Any]
    seen: tuple[Any, Any] = (_SAME, _SAME)

    def expected(self, side: int) -> Any:
        return self.values[side] if self.seen[side] is _SAME else self.seen[side]


def case(key: str, first: Any, second: Any, *, seen: tuple[Any, Any] | None = None) -> Case:
    made = Case(key, (first, second), seen) if seen else Case(key, (first, second))
    assert made.expected(0) != made.expected(1), f"{key}: a difference is what is to be proven"
    return made


def data(cases: Iterable[Case], side: int, *also: Mapping[str, Any]) -> dict[str, Any]:
    """The settings, as nested dictionaries, that give every key its value of that side."""
    nested: dict[str, Any] = {}
    for each in cases:
        value: Any = each.values[side]
        for step in reversed(each.key.split(".")):
            value = {step: value}
        lay_over(nested, value)
    for more in also:
        lay_over(nested, more)
    return nested


def settings(cases: Iterable[Case], side: int, *also: Mapping[str, Any]) -> Settings:
    return Settings.model_validate(data(cases, side, *also))


def environment(cases: Iterable[Case], side: int) -> dict[str, str]:
    """The same as FLEET_* variables."""
    import json

    from app.core.config.errors import variable

    def text(value: Any) -> str:
        return value if isinstance(value, str) else json.dumps(value)

    return {variable(each.key.split(".")): text(each.values[side]) for each in cases}


def check(cases: Iterable[Case], side: int, seen: Mapping[str, Any]) -> None:
    """All that was seen is what the values of that side should look like; nothing is left out."""
    expected = {each.key: each.expected(side) for each in cases}
    assert seen.keys() == expected.keys()
    wrong = {key: f"seen {seen[key]!r}, not {value!r}" for key, value in expected.items() if seen[key] != value}
    assert not wrong, wrong
