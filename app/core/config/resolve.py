"""Which options hold for one queue or one activity: pure functions of the frozen settings.

An activity's override wins over its queue's, that over the fleet-wide section. The result only ever feeds option
*values* (timeouts, retries, slots), never control flow of a workflow, so that changing the configuration between two
deploys does not break the replay of open workflows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.core.config.model import ActivitySettings, ScalingSettings, Settings, WorkerSettings

S = TypeVar("S", bound=BaseModel)
Loc = tuple[str | int, ...]

OF_A_QUEUE = (
    "drain_timeout_s",
    "workflow_cache_size",
    "max_concurrent_activities",
    "max_concurrent_workflow_tasks",
    "max_concurrent_local_activities",
    "max_concurrent_activity_task_polls",
    "max_concurrent_workflow_task_polls",
    "activities_per_second",
    "queue_activities_per_second",
    "sticky_queue_schedule_to_start_timeout_ms",
)
"""Worker settings that a queue may have for itself; the others are those of the process."""


def merged(base: S, *overrides: Mapping[str, Any]) -> S:
    """`base` with each of `overrides` laid over it, key by key, nested sections too. Raises ValidationError."""
    if not any(overrides):
        return base
    data = base.model_dump()
    for override in overrides:
        lay_over(data, override)
    return type(base).model_validate(data)


def worker_settings(settings: Settings, queue: str) -> WorkerSettings:
    override = settings.queues[queue].worker if queue in settings.queues else {}
    return merged(_of_any_process(settings.temporal.worker), override)


def _of_any_process(worker: WorkerSettings) -> WorkerSettings:
    """Without the grace of this process: the file may well hold queues that processes with a longer one serve."""
    return worker.model_copy(update={"termination_grace_s": None})


def scaling_settings(settings: Settings, queue: str) -> ScalingSettings:
    override = settings.queues[queue].scaling if queue in settings.queues else {}
    return merged(settings.scaling, override)


def activity_settings(settings: Settings, name: str, queue: str) -> ActivitySettings:
    by_queue = settings.queues[queue].activities if queue in settings.queues else {}
    return merged(settings.temporal.activities, by_queue, settings.temporal.activity.get(name, {}))


def without_override(settings: Settings, section: str, key: str) -> Settings:
    """`settings` without what queues say of `key`: for a value of the command line, which wins over all of them."""
    queues = {
        queue: said.model_copy(update={section: {k: v for k, v in getattr(said, section).items() if k != key}})
        for queue, said in settings.queues.items()
    }
    return settings.model_copy(update={"queues": queues})


def override_errors(settings: Settings) -> Iterator[tuple[Loc, str, str]]:
    """Where and why an override does not fit its section: (path in config.yaml, sentence, kind of error)."""
    for queue, section in settings.queues.items():
        for key in set(section.worker) & set(WorkerSettings.model_fields) - set(OF_A_QUEUE):
            why = f"belongs to the process, not to a queue (of a queue: {', '.join(OF_A_QUEUE)})"
            yield ("queues", queue, "worker", key), why, ""
        yield from _errors(_of_any_process(settings.temporal.worker), section.worker, ("queues", queue, "worker"))
        yield from _errors(settings.temporal.activities, section.activities, ("queues", queue, "activities"))
        yield from _errors(settings.scaling, section.scaling, ("queues", queue, "scaling"))
    for name, override in settings.temporal.activity.items():
        yield from _errors(settings.temporal.activities, override, ("temporal", "activity", name))


def _errors(base: BaseModel, override: Mapping[str, Any], path: Loc) -> Iterator[tuple[Loc, str, str]]:
    try:
        merged(base, override)
    except ValidationError as error:
        for line in error.errors():
            yield (*path, *line["loc"]), line["msg"], line["type"]


def lay_over(data: dict[str, Any], override: Mapping[str, Any]) -> None:
    """Write `override` into `data`, key by key; `override` and what it holds stay as they are."""
    for key, value in override.items():
        if isinstance(value, Mapping):
            inner = data.get(key)
            data[key] = inner if isinstance(inner, dict) else {}
            lay_over(data[key], value)
        else:
            data[key] = value
