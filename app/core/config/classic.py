"""The names of the classic example's config.yaml: read as ours where they mean the same, refused with a reason else.

One table, for files only. Keys are matched by their last two steps, so that a retry policy is known wherever it stands.
"""

from __future__ import annotations

from app.core.config.resolve import Loc

WRAPPER = "config"
"""A classic file holds everything below this one key."""

RENAMED: dict[tuple[str, str], str] = {
    ("temporal", "url"): "address",
    ("retry", "initial_interval_seconds"): "initial_interval_s",
    ("retry", "maximum_interval_seconds"): "maximum_interval_s",
    ("worker", "worker_build_id"): "build_id",
    ("worker", "drain_timeout"): "drain_timeout_s",
}

SWITCHES: dict[tuple[str, str], str] = {("temporal", "tls"): "enabled"}
"""A section that was once true or false, and the key of it that this is now."""

REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    ("temporal", "task_queue"): (
        "there is no default task queue: each workflow and activity declares its own",
        'Take the line out; the queue stands in @workflow_defn(queue="...").',
    ),
    ("worker", "enabled"): (
        "a worker runs where `serve` is started, and nowhere else",
        "Take the line out; temporal.enabled: false runs the API without Temporal.",
    ),
    ("worker", "poll_interval_ms"): (
        "workers do not poll at intervals: an open poll waits at the server for work",
        "Take the line out; max_concurrent_activity_task_polls is the number of open polls.",
    ),
    ("worker", "max_workflow_tasks_per_second"): (
        "Temporal has no rate limit for workflow tasks",
        "Take the line out; max_concurrent_workflow_tasks limits how many run at once.",
    ),
    ("worker", "max_concurrent_workflows"): (
        "Temporal does not limit how many workflows are open at a worker",
        "Say max_concurrent_workflow_tasks (workflow tasks at once) or workflow_cache_size (runs kept in memory).",
    ),
}


def today(path: Loc, name: str) -> str:
    """Today's name of the key `name` in the section at `path`."""
    return RENAMED.get((str(path[-1]), name), name) if path else name


def switch(path: Loc) -> str | None:
    """The key that true or false means, where the section at `path` was once a switch."""
    return SWITCHES.get((str(path[-2]), str(path[-1]))) if len(path) > 1 else None


def refusal(path: Loc, name: str) -> tuple[str, str] | None:
    """(fact, remedy) where a classic key has no meaning here."""
    return REFUSED.get((str(path[-1]), name)) if path else None
