"""How a process begins, whatever it is: log lines, settings, traces."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.config import ConfigError, Settings, use
from app.core.config.load import load_settings
from app.core.exit import fail
from app.core.telemetry import logs, tracing


def begin(role: str, overrides: Mapping[str, Any] | None = None) -> Settings:
    """The settings, from now on those of this process, which traces call `role`. Leaves with 2 when they are wrong.

    `overrides`: values of the command line, by section.
    """
    logs.configure()
    try:
        settings = use(load_settings(overrides))
    except ConfigError as error:
        fail(error)
    tracing.configure(role)
    return settings
