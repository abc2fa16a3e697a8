"""Which task queue an activity call goes to: that of its declaration, and never one that nobody serves.

Temporal itself accepts any queue name; work on a queue without workers waits for ever and the workflow stays "Running".
So a wrong name fails the call at once, as an application error that the workflow's own error handling sees. Nothing is
refused during replay: what a history already holds stays as it was, however the registry has changed since.
"""

from __future__ import annotations

import difflib
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.core.config import get_settings
from app.worker.registry import ACTIVITY, registry


def activity_queue(target: Any, explicit: str | None = None) -> str:
    """The queue for a call of activity `target` (function or name) from the running workflow.

    Raises a non-retryable ApplicationError of type "UnservedQueue" or "UnknownActivity".
    """
    own = workflow.info().task_queue
    if explicit is not None:
        served = [*registry.queues(), *get_settings().temporal.worker.external_queues, own]
        if explicit not in served:
            _refuse("UnservedQueue", f'nobody serves task queue "{explicit}"', explicit, served)
        return explicit
    if isinstance(target, str):
        queues = [queue for queue, hs in registry.queues().items() if any(_is_activity(h, target) for h in hs)]
        if queues:
            return own if own in queues else queues[0]
        names = [h.name for hs in registry.queues().values() for h in hs if h.kind == ACTIVITY]
        _refuse("UnknownActivity", f'no activity is named "{target}"', target, names)
        return own
    handler = registry.find(target)
    if handler is None:
        name = getattr(target, "__qualname__", repr(target))
        _refuse("UnknownActivity", f"{name} is on no queue: decorate it with @activity_defn(queue=...)", name, [])
        return own
    return handler.queue


def _is_activity(handler: Any, name: str) -> bool:
    return bool(handler.kind == ACTIVITY and handler.name == name)


def _refuse(kind: str, what: str, name: str, known: list[str]) -> None:
    if workflow.unsafe.is_replaying():
        return
    near = difflib.get_close_matches(name, known, n=1)
    hint = f' Did you mean "{near[0]}"?' if near else ""
    raise ApplicationError(f"{what}.{hint}", type=kind, non_retryable=True)
