"""How one task queue is to be scaled: the settings of `scaling`, whole and resolved, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.core.config.model import ScalingSettings


@dataclass(frozen=True)
class Policy:
    """What the user asks of one task queue; `_s` seconds, utilization and max_percent percent."""

    task_queue: str
    min_replicas: int
    max_replicas: int
    slots_per_replica: int
    max_wait_s: float
    utilization: int
    backlog_per_replica: int
    idle_s: float
    stabilization_window_s: float
    max_percent: int
    long_activities: bool

    @classmethod
    def of(cls, scaling: ScalingSettings, task_queue: str, slots_per_replica: int) -> Policy:
        """What `scaling` asks, of a queue whose workers run so many activities at once."""
        own: dict[str, Any] = {"task_queue": task_queue, "slots_per_replica": slots_per_replica}
        return cls(**own, **{each.name: getattr(scaling, each.name) for each in fields(cls) if each.name not in own})
