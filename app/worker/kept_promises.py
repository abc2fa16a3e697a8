"""Whether the drains of the queues keep what their activities promise: what contradicts is a problem, the rest a doubt.

A worker refuses a contradiction before it polls; nothing else would tell of it until a deploy cuts an activity that was
never to be cut. What no activity promises is only worth a sentence, and one for all queues with the same drain: with
the defaults (twenty minutes for an activity, one for a drain) it is what every new user reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import ValidationError

from app.core.config import Settings
from app.core.config.model import ActivitySettings
from app.core.config.resolve import activity_settings
from app.worker.problems import Problem
from app.worker.promises import broken, finishing_drain_s
from app.worker.queues import TaskQueue
from app.worker.registry import ACTIVITY, Handler, Registry

UNNOTICED_S = 3600.0
"""A worker that is killed may go unnoticed for so long before it is worth a warning."""
NAMED = 4
"""How many activities a sentence names; the others it counts."""


def misfits(registry: Registry, settings: Settings) -> Iterator[Problem]:
    """Options that are each right and clash: of all, of a queue, of an activity, declared. Calls would not see it."""
    for handler in (each for found in registry.queues().values() for each in found if each.kind == ACTIVITY):
        try:
            configured = activity_settings(settings, handler.name, handler.queue)
        except ValidationError as error:
            where = f"temporal.activity.{handler.name} and queues.{handler.queue}.activities"
            yield Problem(where, f"their options do not fit together: {_said(error)}", "Change one of them.")
            continue
        try:
            handler.promise.over(configured)
        except ValidationError as error:
            what = f"activity {handler.name} and the configuration do not fit together: {_said(error)}"
            yield Problem(handler.where, what, "Declare both, or change what is configured.")


def contradictions(queues: Iterable[TaskQueue]) -> Iterator[Problem]:
    """The promises that an activity's options, or the drain of its queue, cannot keep; one problem for one reason."""
    for queue in queues:
        by_reason: dict[tuple[str, str, str], list[Handler]] = {}
        for handler, options in _options(queue):
            for reason in broken(handler.promise.on_drain, options, queue.worker):
                by_reason.setdefault((str(handler.promise), *reason), []).append(handler)
        for (promise, fact, remedy), (first, *others) in by_reason.items():
            also = f" (so do {', '.join(f'{other.name}, {other.where}' for other in others)})" if others else ""
            what = f'activity {first.name} on queue "{queue.name}" promises {promise}{also}, but {fact}'
            yield Problem(first.where, what, remedy)


def doubts(settings: Settings, queues: Iterable[TaskQueue]) -> Iterator[str]:
    """Sentences on activities that promise nothing and that a drain may cut, and on workers whose loss goes unseen."""
    cut: dict[float, list[tuple[Handler, float]]] = {}
    unseen: list[tuple[Handler, float]] = []
    for queue in queues:
        drain_s = queue.worker.drain_timeout_s
        for handler, options in _options(queue):
            longest = options.start_to_close_timeout_s
            if handler.promise.on_drain is None and longest > drain_s:
                cut.setdefault(drain_s, []).append((handler, longest))
            if options.heartbeat_timeout_s is None and longest >= UNNOTICED_S:
                unseen.append((handler, longest))
            yield from _without_effect(settings, handler)
    for drain_s, found in sorted(cut.items()):
        yield (
            f"a drain gives {drain_s:g} s, and {_named(found)} may take longer (start_to_close_timeout "
            f"{_range(found)} s): cut then, and run again from the beginning. Lower the timeout, raise "
            'drain_timeout_s, or say what a drain does with it: on_drain="finish" or "hand_over" (docs/usage.md)'
        )
    if unseen:
        yield (
            f"{_named(unseen)} has no heartbeat_timeout: when its worker is killed, nobody notices for "
            f"{_range(unseen)} s (start_to_close_timeout). Heartbeat, or lower that"
        )


def shortened(queues: Iterable[TaskQueue]) -> Iterator[str]:
    """A sentence on the promises to finish that a drain chosen at the command line breaks.

    None on a drain below a second, which says that nothing is waited for; `serve --reload` has such a one.
    """
    for queue in queues:
        found = [
            (handler, options.start_to_close_timeout_s)
            for handler, options in _options(queue)
            if handler.promise.on_drain == "finish" and any(broken("finish", options, queue.worker))
        ]
        if found and queue.worker.drain_timeout_s >= 1:
            needed = finishing_drain_s(max(longest for _, longest in found), queue.worker)
            yield f"--drain-timeout: {_named(found)} promises to finish in a drain, and would need {needed} s of it"


def _options(queue: TaskQueue) -> Iterator[tuple[Handler, ActivitySettings]]:
    """The activities of a queue with what holds for them; those whose options misfit are a problem already."""
    return ((handler, queue.options[handler.name]) for handler in queue.activities if handler.name in queue.options)


def _without_effect(settings: Settings, handler: Handler) -> Iterator[str]:
    for key in sorted(handler.promise.declared().keys() & settings.temporal.activity.get(handler.name, {}).keys()):
        yield (
            f"temporal.activity.{handler.name}.{key} has no effect: the activity declares its own ({handler.where}), "
            "and a declaration wins over the configuration"
        )


def _named(found: list[tuple[Handler, float]]) -> str:
    names = [f"{handler.name} (queue {handler.queue})" for handler, _ in found[:NAMED]]
    return ", ".join(names) + (f" and {len(found) - NAMED} more" if len(found) > NAMED else "")


def _range(found: list[tuple[Handler, float]]) -> str:
    least, most = min(longest for _, longest in found), max(longest for _, longest in found)
    return f"{least:g}" if least == most else f"{least:g} to {most:g}"


def _said(error: ValidationError) -> str:
    return "; ".join(line["msg"].removeprefix("Value error, ") for line in error.errors())
