"""Read the settings: command line > FLEET_* > TEMPORAL_* > config.yaml > default of the model.

FLEET_CONFIG may name several files, separated as in PATH; each is laid over those before it, key by key, and an empty
name is ./config.yaml (as in MANPATH). With ":/etc/fleet.yaml" an image keeps what its code needs, and an environment
says only what is different there.

pydantic-settings merges the sources; this module adds what it lacks: the Temporal SDK's own variable names, and errors
that name the file and line (or the variable) of each wrong value, all of them at once. Only entry points call it: it is
the one place that reads YAML and the environment for settings.
"""

from __future__ import annotations

import difflib
import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from app.core.config.errors import ENV_PREFIX, ConfigError, ConfigProblem, SettingsInWorkflow, variable
from app.core.config.model import Settings
from app.core.config.resolve import Loc, override_errors

CONFIG_VARIABLE = "FLEET_CONFIG"
DEFAULT_FILE = Path("config.yaml")

_NOT_SETTINGS = (CONFIG_VARIABLE, "FLEET_TEST_", "FLEET_CACHE")

_SDK_VARIABLES: dict[str, Loc] = {
    "TEMPORAL_ADDRESS": ("temporal", "address"),
    "TEMPORAL_NAMESPACE": ("temporal", "namespace"),
    "TEMPORAL_DEPLOYMENT_NAME": ("temporal", "worker", "deployment_name"),
    "TEMPORAL_WORKER_BUILD_ID": ("temporal", "worker", "build_id"),
}
"""The SDK's and the Temporal worker controller's own names (temporalio.envconfig)."""


def load_settings(overrides: Mapping[str, Any] | None = None, *, file: Path | None = None) -> Settings:
    """The settings of this process; `overrides` (nested keys) are those of the command line.

    The file is `file`, else those of FLEET_CONFIG, else ./config.yaml where it exists.
    Raises ConfigError with every problem found, SettingsInWorkflow.
    """
    if _in_workflow():
        raise SettingsInWorkflow
    files = [_File.read(path) for path in _paths(file)]
    origin = _Origin(files)
    try:
        loaded = _loader([each.data for each in files], dict(overrides or {}))
    except SettingsError as error:
        raise ConfigError(list(_not_json()) or [ConfigProblem("FLEET_*", "", str(error))]) from None
    except ValidationError as error:
        raise ConfigError([origin.problem(line["loc"], line["msg"], line["type"]) for line in error.errors()]) from None
    if unknown := list(_unknown_variables()):
        raise ConfigError(unknown)
    settings = Settings.model_construct(**{name: getattr(loaded, name) for name in Settings.model_fields})
    if wrong := list(override_errors(settings)):
        raise ConfigError([origin.problem(loc, message, kind) for loc, message, kind in wrong])
    return settings


def _in_workflow() -> bool:
    """Whether workflow code called: the sandbox shares this module, so it does not refuse the files by itself."""
    if "temporalio" not in sys.modules:  # importing it takes longer than all the rest
        return False
    from temporalio import workflow

    return workflow.in_workflow()


def _paths(file: Path | None) -> list[Path]:
    where = "--config" if file else CONFIG_VARIABLE
    names = [str(file)] if file else os.environ.get(CONFIG_VARIABLE, "").split(os.pathsep)
    if missing := [
        ConfigProblem(where, "", f"there is no file {name}") for name in names if name and not Path(name).is_file()
    ]:
        raise ConfigError(missing)
    return [Path(name) if name else DEFAULT_FILE for name in names]


def _loader(files: list[dict[str, Any]], overrides: dict[str, Any]) -> Settings:
    class Loader(Settings, BaseSettings):
        model_config = SettingsConfigDict(
            frozen=True, extra="forbid", env_prefix=ENV_PREFIX, env_nested_delimiter="__", env_ignore_empty=True
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                env_settings,
                InitSettingsSource(settings_cls, _from_sdk_variables()),
                *(InitSettingsSource(settings_cls, from_yaml) for from_yaml in reversed(files)),
            )

    return Loader(**overrides)


def _from_sdk_variables() -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, loc in _SDK_VARIABLES.items():
        if value := os.environ.get(name):
            *sections, key = map(str, loc)
            target = values
            for section in sections:
                target = target.setdefault(section, {})
            target[key] = value
    return values


def _unknown_variables() -> Iterator[ConfigProblem]:
    """FLEET_* variables that name no section: pydantic-settings passes over them in silence."""
    sections = [variable([name]) for name in Settings.model_fields]
    for name in os.environ:
        head, *rest = name.split("__")
        if not name.startswith(ENV_PREFIX) or name.startswith(_NOT_SETTINGS) or head in sections:
            continue
        near = difflib.get_close_matches(head, sections, n=1)
        hint = f". Did you mean {'__'.join([near[0], *rest])}?" if near else ""
        yield ConfigProblem(name, "", f"there is no such setting{hint}")


def _not_json() -> Iterator[ConfigProblem]:
    """The variables whose value should be a list or a section and is not: those are given as JSON."""
    for name, value in os.environ.items():
        loc = name.removeprefix(ENV_PREFIX).lower().split("__")
        if name.startswith(ENV_PREFIX) and not name.startswith(_NOT_SETTINGS) and _is_complex(loc):
            try:
                json.loads(value)
            except ValueError as error:
                message = 'a list or a section is given as JSON, e.g. ["a", "b"]'
                yield ConfigProblem(name, ".".join(loc), f"{message} ({error})")


def _is_complex(loc: list[str]) -> bool:
    section: type[BaseModel] | None = Settings
    for step in loc[:-1]:
        section = _section(section, step) if section else None
    field = section.model_fields.get(loc[-1]) if section else None
    if section is None or field is None:
        return False
    return _section(section, loc[-1]) is not None or "[" in str(field.annotation)


@dataclass(frozen=True)
class _File:
    """A file of settings: what it says, and in which line."""

    path: Path
    data: dict[str, Any]
    lines: dict[Loc, int]

    @classmethod
    def read(cls, path: Path) -> _File:
        text, node = _read(path) if path.is_file() else ("", None)
        data = yaml.safe_load(text) or {}
        if not isinstance(data, dict) or not all(isinstance(key, str) for key in data):
            message = "the file must hold sections (`temporal:`, `queues:`, ...)"
            raise ConfigError([ConfigProblem(str(path), "", message)])
        return cls(path, _said(Settings, data), _lines(node))


def _read(path: Path) -> tuple[str, yaml.Node | None]:
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        # Values that have no type of theirs (a date of 2020-99-99) fail only now.
        yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([ConfigProblem(f"{path}:{line}", "", f"not YAML: {error.problem}")]) from None
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError([ConfigProblem(str(path), "", f"not YAML: {error}")]) from None
    return text, node


def _said(section: type[BaseModel], data: dict[str, Any]) -> dict[str, Any]:
    """`data` without empty sections: one whose keys are all commented out is YAML's null and says nothing."""
    said: dict[str, Any] = {}
    for key, value in data.items():
        inner = _section(section, key)
        if value is None and (inner or key == "queues"):
            continue
        said[key] = _said(inner, value) if inner and isinstance(value, dict) else value
    return said


def _section(section: type[BaseModel], key: object) -> type[BaseModel] | None:
    field = section.model_fields.get(str(key))
    kind = field.annotation if field else None
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _lines(node: yaml.Node | None, path: Loc = ()) -> dict[Loc, int]:
    lines: dict[Loc, int] = {}
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*path, str(key.value))
            lines[here] = key.start_mark.line + 1
            lines |= _lines(value, here)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            here = (*path, index)
            lines[here] = value.start_mark.line + 1
            lines |= _lines(value, here)
    return lines


class _Origin:
    """Where a value came from: its variable if that is set, else its line in the last file that has it."""

    def __init__(self, files: list[_File]) -> None:
        self._files = files[::-1]

    def problem(self, loc: Loc, message: str, kind: str = "") -> ConfigProblem:
        if kind == "extra_forbidden":
            message = f"there is no such setting{self._near(loc)}"
        message = message.removeprefix("Value error, ")
        return ConfigProblem(self._where(loc), ".".join(map(str, loc)), message)

    def _where(self, loc: Loc) -> str:
        for length in range(len(loc), 0, -1):
            part = loc[:length]
            if os.environ.get(name := variable(part)):
                return name
            sdk = next((name for name, target in _SDK_VARIABLES.items() if target == part), None)
            if sdk and os.environ.get(sdk):
                return sdk
            if found := next((file for file in self._files if part in file.lines), None):
                return f"{found.path}:{found.lines[part]}"
        return str(self._files[0].path)

    def _near(self, loc: Loc) -> str:
        section: type[BaseModel] | None = Settings
        for step in loc[:-1]:
            section = _section(section, step) if section else None
        if section is None:
            return ""
        near = difflib.get_close_matches(str(loc[-1]), section.model_fields, n=1)
        return f". Did you mean {near[0]}?" if near else f" (here: {', '.join(section.model_fields)})"
