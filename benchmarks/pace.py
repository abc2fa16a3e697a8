"""How often workers tell of themselves, and how often the operator looks."""

from __future__ import annotations

from dataclasses import dataclass

from app.core.config.model import OperatorSettings, WorkerSettings


@dataclass(frozen=True)
class Pace:
    """In seconds: `temporal.worker.heartbeat_interval_s` and `operator.poll_s`."""

    heartbeat_s: float
    look_s: float


DEFAULT = Pace(WorkerSettings().heartbeat_interval_s, OperatorSettings().poll_s)
CALM = Pace(2.0, 3.0)
"""For a Temporal that does not allow so many calls; it was the default before, when some of the results were made."""
