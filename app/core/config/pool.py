"""What is asked of one pool, by the names that a WorkerPool has for it: `max_wait_s` is maxWaitSeconds there.

The API server validates such a spec, but by the CRD of that day; one that it let through must not be every pool's
trouble, so it is looked at again.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from app.core.config.model import ScalingSettings


class PoolSpec(ScalingSettings):
    """The spec of a WorkerPool; what an older CRD lacks has its default, what a newer one has is left alone."""

    model_config = ConfigDict(extra="ignore", alias_generator=lambda name: to_camel(re.sub("_s$", "_seconds", name)))

    task_queue: str = Field(default="", min_length=1)
    slots_per_replica: int = Field(default=10, ge=1)
    task_types: tuple[Literal["workflow", "activity"], ...] = Field(default=("workflow", "activity"), min_length=1)
    wake_with: tuple[str, ...] = ()
    replicas: int | None = Field(default=None, ge=0)
    """The pin."""
    hold_s: float = Field(default=900, ge=0)
    paused: bool = False

    @classmethod  # type: ignore[pydantic-alias]  # nothing is required by another name
    def read(cls, spec: Any) -> PoolSpec:
        """Of a mapping. Raises ValidationError, or AttributeError and TypeError where nothing has its shape."""
        return cls.model_validate({**spec, **spec.get("scaleDown", {})})
