"""What one worker serves: a task queue, its handlers and the options that hold for it, as one frozen view.

The CLI prints it, the chart's manifest is made from it and the manager builds its workers from it, so that none of the
three can have an opinion of its own on what a queue is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from app.core.config import Settings
from app.core.config.model import ActivitySettings, ScalingSettings, WorkerSettings
from app.core.config.resolve import OF_A_QUEUE, activity_settings, scaling_settings, worker_settings
from app.worker.registry import ACTIVITY, WORKFLOW, Handler, Registry


@dataclass(frozen=True)
class TaskQueue:
    """One task queue as this code and these settings make it."""

    name: str
    workflows: tuple[Handler, ...]
    activities: tuple[Handler, ...]
    worker: WorkerSettings
    """Those of the process with the queue's own laid over them."""
    scaling: ScalingSettings
    options: Mapping[str, ActivitySettings]
    """By activity: what holds where a call says nothing. Absent is one whose options misfit, which nobody serves."""

    @property
    def task_types(self) -> list[str]:
        """Temporal's words for what is asked of it: workflow, activity or both."""
        return [kind for kind, handlers in ((WORKFLOW, self.workflows), (ACTIVITY, self.activities)) if handlers]

    @property
    def threads(self) -> int:
        """Threads that its sync activities need: one a slot, so that all slots run side by side; none without any."""
        if all(handler.is_async for handler in self.activities):
            return 0
        return self.worker.max_concurrent_activities + self.worker.max_concurrent_local_activities

    def as_json(self) -> dict[str, Any]:
        """The whole view as plain data."""
        return {
            "workflows": [{"name": h.name, **_origin(h)} for h in self.workflows],
            "activities": [
                {"name": h.name, "async": h.is_async, "on_drain": h.promise.on_drain, **_origin(h)}
                for h in self.activities
            ],
            "worker": {key: getattr(self.worker, key) for key in OF_A_QUEUE},
            "scaling": self.scaling.model_dump(),
        }


def task_queues(registry: Registry, settings: Settings) -> Mapping[str, TaskQueue]:
    """Every queue of the registry by its name, in order."""
    return MappingProxyType(
        {
            queue: TaskQueue(
                queue,
                tuple(handler for handler in handlers if handler.kind == WORKFLOW),
                tuple(handler for handler in handlers if handler.kind == ACTIVITY),
                worker_settings(settings, queue),
                scaling_settings(settings, queue),
                MappingProxyType(dict(_options(settings, handlers))),
            )
            for queue, handlers in registry.queues().items()
        }
    )


def listing(queues: Mapping[str, TaskQueue]) -> str:
    """The queues and their handlers for a person to read."""
    lines: list[str] = []
    for queue in queues.values():
        lines.append(queue.name)
        for handler in (*queue.activities, *queue.workflows):
            sync = "" if handler.is_async else " (sync)"
            promise = f"  {handler.promise}" if handler.promise.on_drain else ""
            lines.append(f"  {handler.kind:<9} {handler.name + sync:<24} {handler.where}{promise}")
    return "\n".join(lines)


def _options(settings: Settings, handlers: Iterable[Handler]) -> Iterator[tuple[str, ActivitySettings]]:
    for handler in handlers:
        if handler.kind == ACTIVITY:
            with suppress(ValidationError):
                configured = activity_settings(settings, handler.name, handler.queue)
                yield handler.name, handler.promise.over(configured)


def _origin(handler: Handler) -> dict[str, str]:
    return {"module": handler.module, "qualname": handler.qualname, "where": handler.where}
