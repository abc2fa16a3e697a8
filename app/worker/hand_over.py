"""Handing over: an activity that can go on elsewhere leaves with its worker at once, and no step is done twice.

    done = resumed(0)              # what the attempt before had reached, else 0
    while done < rows:
        done = await step(done)
        checkpoint(done)           # raises HandOver once this worker leaves

A checkpoint is a heartbeat. The SDK sends few of them (at most one in 0.8 heartbeat timeouts) but keeps the newest, and
sends that one with the failure that ends the attempt: so the next attempt knows the last checkpoint, however fast they
followed each other. Rejected: finishing the attempt as completed with a "continue" result, which every caller would
have to understand; and waiting for the cancel at the end of the drain, which spends the whole drain on what could have
moved in a tenth of a second.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any, TypeVar, overload

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from app.core.config import SettingsNotLoaded, process_settings
from app.core.config.model import WorkerSettings
from app.core.config.resolve import worker_settings
from app.worker import registry
from app.worker.promises import latest_task_s

T = TypeVar("T")

HAND_OVER = "HandOver"
AT_ONCE = timedelta(milliseconds=1)
"""The next attempt may come back here, while the last polls of this worker are open; then it does one step more."""
LATER_S = 1.0
"""Where attempts are counted, none is for a worker that leaves: so much after its last poll may have brought a task."""

log = logging.getLogger("app.worker.hand_over")

_told: set[str] = set()


class HandOver(ApplicationError):
    """Ends an attempt because its worker leaves; Temporal starts the next one after `delay`."""

    def __init__(self, delay: timedelta = AT_ONCE) -> None:
        super().__init__(
            "this worker leaves; another one goes on from the last checkpoint",
            type=HAND_OVER,
            next_retry_delay=delay,
            category=ApplicationErrorCategory.BENIGN,
        )


def checkpoint(*details: Any) -> None:
    """Heartbeat `details`, which `resumed` gives to the next attempt; raises HandOver when this worker is leaving.

    In an async body and in a sync one. On its last attempt, where handing over would be failing, a body is left to
    finish; so is one that is declared with on_drain="finish", and a local activity, which has no heartbeats. Raises
    RuntimeError outside an activity.
    """
    info = _info("checkpoint()")
    activity.heartbeat(*details)
    if info.heartbeat_timeout is None and not info.is_local and info.activity_type not in _told:
        _told.add(info.activity_type)
        log.warning(
            "activity %s has checkpoints and no heartbeat timeout: a killed worker is noticed after its start-to-close "
            "timeout only. Give it a heartbeat_timeout.",
            info.activity_type,
        )
    if activity.is_worker_shutdown() and can_hand_over(info):
        counted = info.retry_policy is not None and info.retry_policy.maximum_attempts
        raise HandOver(_elsewhere(info.task_queue) if counted else AT_ONCE)


@overload
def resumed(default: None, as_type: type[T]) -> T | None: ...
@overload
def resumed(default: T, as_type: type[T] | None = None) -> T: ...
def resumed(default: Any, as_type: type[Any] | None = None) -> Any:
    """What the attempt before gave to its last `checkpoint`, as `as_type` or as the type of `default`; else `default`.

    Several details come as one tuple. Raises ApplicationError (CheckpointMisfit) when they are not of that type, and
    RuntimeError outside an activity.
    """
    info = _info("resumed()")
    details = tuple(info.heartbeat_details)
    if not details:
        return default
    value = details[0] if len(details) == 1 else details
    wanted: Any = as_type or (None if default is None else type(default))
    converter = activity.payload_converter()
    try:
        return converter.from_payload(converter.to_payload(value), wanted)
    except Exception as error:
        name = getattr(wanted, "__name__", wanted)
        raise ApplicationError(
            f"activity {info.activity_type}: the last checkpoint is no {name}: {value!r:.200}. Read it as the code "
            "that wrote it did, or reset the activity's heartbeat.",
            type="CheckpointMisfit",
        ) from error


def _elsewhere(queue: str) -> timedelta:
    """When no poll of this worker is open any more."""
    try:
        worker = worker_settings(process_settings(), queue)
    except SettingsNotLoaded:  # a test of the body alone
        worker = WorkerSettings()
    return timedelta(seconds=latest_task_s(worker) + LATER_S)


def can_hand_over(info: activity.Info) -> bool:
    """Whether Temporal would start another attempt after a HandOver, and nobody promised that this one finishes."""
    handlers = registry.registry.queues().get(info.task_queue, ())
    finishes = any(one.name == info.activity_type and one.promise.on_drain == "finish" for one in handlers)
    policy = info.retry_policy
    if info.is_local or finishes or policy is None:
        return not (info.is_local or finishes)
    last = policy.maximum_attempts and info.attempt >= policy.maximum_attempts
    return not last and HAND_OVER not in (policy.non_retryable_error_types or ())


def _info(what: str) -> activity.Info:
    if not activity.in_activity():
        raise RuntimeError(f"{what} was called outside an activity. Call it in the body of one, or what that calls.")
    return activity.info()
