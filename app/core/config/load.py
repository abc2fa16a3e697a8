"""Read the settings: command line > FLEET_* > TEMPORAL_* > config.yaml > temporal.toml > default of the model.

FLEET_CONFIG may name several files, separated as in PATH; each is laid over those before it, key by key, and an empty
name is ./config.yaml (as in MANPATH). With ":/etc/fleet.yaml" an image keeps what its code needs, and an environment
says only what is different there.

Every source becomes a layer (`layers.py`); whatever is wrong in any of them is told at once, each with its place. Only
entry points call this: it and the modules that it asks are the one place that reads files and the environment for
settings.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from app.core.config import layers as layered
from app.core.config import sdk, variables, yaml_file
from app.core.config.errors import ConfigError, ConfigProblem, refuse_in_workflow
from app.core.config.layers import Layer
from app.core.config.model import Settings
from app.core.config.resolve import override_errors
from app.core.config.review import twice_authorized, unreadable_files
from app.core.config.shape import shaped
from app.core.config.variables import CONFIG_VARIABLE

DEFAULT_FILE = Path("config.yaml")


def load_settings(
    overrides: Mapping[str, Any] | None = None, *, file: Path | None = None, connects: bool = True
) -> Settings:
    """The settings of this process; `overrides` (nested keys) are those of the command line.

    The file is `file`, else those of FLEET_CONFIG, else ./config.yaml where it exists. `connects`: this process talks
    to Temporal, so the files of certificates and keys must be there. Raises ConfigError with every problem found,
    SettingsInWorkflow.
    """
    refuse_in_workflow()
    said = [
        Layer.said_at(dict(overrides or {}), "command line"),
        variables.read(),
        sdk.variables(),
        *(yaml_file.read(path) for path in reversed(_paths(file)) if path.is_file()),
    ]
    layers = [shaped(layer) for layer in said]
    layers.append(shaped(_profile(layers)))
    problems = [problem for layer in layers for problem in layer.problems]
    try:
        settings = Settings.model_validate(layered.merged(layers))
    except ValidationError as error:
        raise ConfigError(problems + _told(layers, error, partly=bool(problems))) from None
    problems += [layered.problem(layers, loc, message, kind) for loc, message, kind in override_errors(settings)]
    if connects:
        problems += [
            layered.problem(layers, loc, fact, remedy=remedy)
            for loc, fact, remedy in (*unreadable_files(settings), *twice_authorized(settings))
        ]
    if problems:
        raise ConfigError(problems)
    return settings


def _told(layers: list[Layer], error: ValidationError, *, partly: bool) -> list[ConfigProblem]:
    """The problems of values. `partly`: some words are missing, so keys that clash may clash for want of them."""
    return [
        layered.problem(layers, line["loc"], line["msg"], line["type"])
        for line in error.errors()
        if not (partly and line["type"] == "value_error")
    ]


def settings_files(file: Path | None = None) -> list[Path]:
    """The files that `load_settings` reads; a missing ./config.yaml is among them, since it may come."""
    names = [str(file)] if file else os.environ.get(CONFIG_VARIABLE, "").split(os.pathsep)
    return [Path(name) if name else DEFAULT_FILE for name in names]


def _paths(file: Path | None) -> list[Path]:
    where = "--config" if file else CONFIG_VARIABLE
    paths = settings_files(file)
    if missing := [
        ConfigProblem(where, "", f"there is no file {path}")
        for path in paths
        if path != DEFAULT_FILE and not path.is_file()
    ]:
        raise ConfigError(missing)
    return paths


def _profile(layers: list[Layer]) -> Layer:
    """The layer of temporal.toml; which profile it is, the layers above it say."""
    loc = ("temporal", "profile")
    where = next((layer.places[loc] for layer in layers if loc in layer.places), sdk.PROFILE_VARIABLE)
    temporal = layered.merged(layers).get("temporal")
    name = temporal.get("profile", "") if isinstance(temporal, dict) else ""
    return sdk.profile(name if isinstance(name, str) else "", where)
