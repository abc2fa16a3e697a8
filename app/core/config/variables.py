"""FLEET_* variables as a layer: the path of a setting in capitals, FLEET_TEMPORAL__WORKER__DRAIN_TIMEOUT_S=30.

pydantic-settings reads them; this module adds what it passes over in silence or tells without a name: sections that do
not exist, and values that should be JSON.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from typing import Any, get_origin

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict

from app.core.config.errors import ENV_PREFIX, ConfigProblem, variable
from app.core.config.layers import Layer, all_locs, section_at
from app.core.config.model import Settings
from app.core.config.resolve import Loc
from app.core.config.shape import not_sections

CONFIG_VARIABLE = "FLEET_CONFIG"
_OWN_NAMES = (("queues",), ("temporal", "activity"))
"""Tables whose keys are names that the user chose, in any case."""
_NOT_SETTINGS = (CONFIG_VARIABLE, "FLEET_TEST_", "FLEET_CACHE")


class _Variables(Settings, BaseSettings):
    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True)


def read() -> Layer:
    """What the FLEET_* variables say; an empty one says nothing."""
    problems = [*_unknown(), *_lost_case(), *_wrong_json()]
    if any(problem.path for problem in problems):
        return Layer({}, {}, problems)
    data = EnvSettingsSource(_Variables)()
    places: dict[Loc, str] = {}
    for name, loc in _names():
        places[loc] = name
        inside: Any = data
        for step in loc:
            inside = inside.get(str(step), {}) if isinstance(inside, dict) else {}
        places |= dict.fromkeys(all_locs(inside, loc), name)
    return Layer(data, places, problems)


def _names() -> Iterator[tuple[str, Loc]]:
    for name, value in os.environ.items():
        if value and name.startswith(ENV_PREFIX) and not name.startswith(_NOT_SETTINGS):
            yield name, tuple(name.removeprefix(ENV_PREFIX).lower().split("__"))


def _unknown() -> Iterator[ConfigProblem]:
    """Those that name no section."""
    sections = [variable([name]) for name in Settings.model_fields]
    for name, _ in _names():
        head, *rest = name.split("__")
        if head not in sections:
            near = difflib.get_close_matches(head, sections, n=1)
            hint = f". Did you mean {'__'.join([near[0], *rest])}?" if near else ""
            yield ConfigProblem(name, "", f"there is no such setting{hint}")


def _lost_case() -> Iterator[ConfigProblem]:
    """Those with a name of the user's own in mixed case: it would be read as another one, in small letters."""
    for name, loc in _names():
        for table in _OWN_NAMES:
            at = len(table)
            own = name.removeprefix(ENV_PREFIX).split("__")[at : at + 1]
            if loc[:at] == table and own and own[0] not in (own[0].lower(), own[0].upper()):
                value: Any = os.environ[name]
                for step in reversed(loc[at + 1 :]):
                    value = {step: value}
                fact = f"the name of a variable has no case, so it cannot say {own[0]}"
                remedy = f"Say it as JSON: {variable(table)}='{json.dumps({own[0]: value})}'"
                yield ConfigProblem(name, "", fact, remedy)


def of_queue(queue: str) -> str | None:
    """The variable that says something of a queue; names in variables are those in small letters."""
    return next((name for loc, name in read().places.items() if loc[:2] == ("queues", queue)), None)


def _wrong_json() -> Iterator[ConfigProblem]:
    """Those whose value should be a list or a section and is not: these are given as JSON.

    Here and not from what pydantic-settings makes of all variables: it throws a 7 away where another variable has keys.
    """
    for name, loc in _names():
        if _is_complex(loc):
            try:
                said = json.loads(os.environ[name])
            except ValueError as error:
                message = 'a list or a section is given as JSON, e.g. ["a", "b"]'
                yield ConfigProblem(name, ".".join(map(str, loc)), f"{message} ({error})")
            else:
                yield from (ConfigProblem(name, ".".join(map(str, at)), *told) for at, *told in not_sections(said, loc))


def _is_complex(loc: Loc) -> bool:
    section = section_at(loc[:-1])
    field = section.model_fields.get(str(loc[-1])) if section else None
    return field is not None and (section_at(loc) is not None or get_origin(field.annotation) in (dict, tuple))
