"""What is wrong with the configuration, as data: every problem at once, each with its place and its remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass

ENV_PREFIX = "FLEET_"


def variable(path: Iterable[str | int]) -> str:
    """The environment variable of a setting: ("api", "port") -> FLEET_API__PORT."""
    return ENV_PREFIX + "__".join(str(step).upper() for step in path)


def named(setting: str) -> str:
    """A setting as messages name it: "api.port" -> "api.port (FLEET_API__PORT)"."""
    return f"{setting} ({variable(setting.split('.'))})"


@dataclass(frozen=True)
class ConfigProblem:
    """One wrong setting: where it stands (file:line, or the variable), its path, what is wrong with it, what helps."""

    where: str
    path: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        fact = f"{self.where}: {self.path}: {self.message}" if self.path else f"{self.where}: {self.message}"
        return f"{fact}\n  {self.remedy}" if self.remedy else fact


class ConfigError(Exception):
    """The configuration cannot be used; `problems` holds everything that was found."""

    def __init__(self, problems: list[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class SettingsNotLoaded(RuntimeError):
    """A setting was asked for before the process loaded its configuration."""

    def __init__(self) -> None:
        super().__init__(
            "settings are not loaded in this process.\n"
            "Call app.core.config.use(load_settings()) before a worker or client is made; "
            "workflow code may not read files."
        )


class SettingsInWorkflow(RuntimeError):
    """Workflow code asked for the configuration."""

    def __init__(self) -> None:
        super().__init__(
            "settings cannot be read inside a workflow: they may be others when it is replayed.\n"
            "Read them where the workflow is started, and pass what it needs as input."
        )


def refuse_in_workflow() -> None:
    """Raise SettingsInWorkflow where workflow code called: the sandbox shares these modules, and refuses nothing."""
    if "temporalio" not in sys.modules:  # importing it takes longer than all the rest
        return
    from temporalio import workflow

    if workflow.in_workflow():
        raise SettingsInWorkflow
