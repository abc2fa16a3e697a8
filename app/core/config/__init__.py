"""The settings of this process: loaded once at its start (`use`), frozen, and read by everything else.

Workflow code sees this very module through the sandbox, so it must not read files or the environment itself: that is
`load.load_settings`, which only entry points call.
"""

from __future__ import annotations

from functools import lru_cache

from app.core.config import resolve
from app.core.config.errors import (
    ConfigError,
    ConfigProblem,
    SettingsInWorkflow,
    SettingsNotLoaded,
    named,
    refuse_in_workflow,
)
from app.core.config.model import ActivitySettings, Settings

__all__ = [
    "ConfigError",
    "ConfigProblem",
    "Settings",
    "SettingsInWorkflow",
    "SettingsNotLoaded",
    "activity_options",
    "get_settings",
    "named",
    "process_settings",
    "use",
]

_current: Settings | None = None


def use(settings: Settings) -> Settings:
    """Make `settings` those of this process."""
    global _current
    _current = settings
    activity_options.cache_clear()
    return settings


def get_settings() -> Settings:
    """The settings of this process. Raises SettingsNotLoaded before `use`, SettingsInWorkflow in workflow code."""
    refuse_in_workflow()
    return process_settings()


def process_settings() -> Settings:
    """The same for the fleet's own code, also in a workflow, where they may decide nothing that a replay must repeat.

    Raises SettingsNotLoaded before `use`.
    """
    if _current is None:
        raise SettingsNotLoaded
    return _current


@lru_cache(maxsize=4096)
def activity_options(name: str, queue: str) -> ActivitySettings:
    """The options of activity `name` on task queue `queue`. Raises SettingsNotLoaded before `use`."""
    return resolve.activity_settings(process_settings(), name, queue)
