"""Which task queue a call from workflow code goes to: that of the declaration, and never one that nobody serves.

Temporal itself accepts any queue name; work on a queue without workers waits for ever and the workflow stays "Running".
So a wrong call fails at once, as an application error that the workflow's own error handling sees. Nothing is refused
during replay: what a history already holds stays as it was, however the registry has changed since.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any, Literal

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.core.config import process_settings as get_settings
from app.worker import places
from app.worker import sdk_definitions as sdk
from app.worker.options import LEFT_OUT
from app.worker.registry import ACTIVITY, WORKFLOW, Handler, registry

Kind = Literal["workflow", "activity"]


def activity_queue(target: Any, explicit: str | None = None) -> str:
    """The queue for a call of activity `target` (function or name) from the running workflow.

    Raises a non-retryable ApplicationError of type "UnservedQueue" or "UnknownActivity".
    """
    return _queue(ACTIVITY, target, explicit)


def child_queue(target: Any, explicit: str | None = None) -> str:
    """The queue for a child workflow, by class or name. Raises ApplicationError "UnservedQueue", "UnknownWorkflow"."""
    return _queue(WORKFLOW, target, explicit)


def require_local(target: Any) -> None:
    """Refuse a local activity that this workflow's workers do not have: ApplicationError "NotLocal"."""
    own = workflow.info().task_queue
    queue = activity_queue(target)
    if queue != own:
        refuse(
            "NotLocal",
            f'local activity {_name(target)} is declared on queue "{queue}", and this workflow runs on "{own}"',
            "Call execute_activity, or declare it on that queue.",
        )


def require_options(call: str, given: Mapping[str, Any], known: Collection[str]) -> None:
    """Refuse a keyword that is no option: ApplicationError "UnknownOption". Type checkers say it earlier."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            why = LEFT_OUT.get(name) or (f'Did you mean "{near[0]}"?' if near else f"Options: {', '.join(known)}.")
            refuse("UnknownOption", f'{call} has no option "{name}"', why)


def require_timeout(target: Any, options: Mapping[str, Any]) -> None:
    """Refuse an activity that could run for ever: ApplicationError "NoTimeout"."""
    if options.get("start_to_close_timeout") is None and options.get("schedule_to_close_timeout") is None:
        refuse(
            "NoTimeout",
            f"{_name(target)} is called without any limit of its time",
            "Leave start_to_close_timeout to config.yaml, or give it a value.",
        )


def refuse(kind: str, what: str, remedy: str) -> None:
    """Fail the call for good with one line of fact and one of remedy; never during replay."""
    if not workflow.unsafe.is_replaying():
        raise ApplicationError(f"{what}.\n  {remedy}", type=kind, non_retryable=True)


def _queue(kind: Kind, target: Any, explicit: str | None) -> str:
    own = workflow.info().task_queue
    queues = registry.queues()
    if explicit is not None:
        served = [*queues, *get_settings().temporal.worker.external_queues]
        if explicit not in {*served, own}:
            near = _near(explicit, served, "Queues here")
            other = "One that others serve belongs into temporal.worker.external_queues (config.yaml)."
            refuse(
                "UnservedQueue", f'nobody serves task queue "{explicit}" for {kind} {_name(target)}', f"{near} {other}"
            )
        return explicit
    if isinstance(target, str):
        found = [queue for queue, handlers in queues.items() if any(_is(h, kind, target) for h in handlers)]
        if found:
            return own if own in found else found[0]
        names = sorted({h.name for handlers in queues.values() for h in handlers if h.kind == kind})
        plural = "Workflows" if kind == WORKFLOW else "Activities"
        refuse(f"Unknown{kind.title()}", f'no {kind} is named "{target}"', _near(target, names, f"{plural} here"))
        return own
    handler = registry.find(target)
    if handler is None or handler.kind != kind:
        what = f"{_name(target)} is on no queue{_place(target)}"
        refuse(f"Unknown{kind.title()}", what, f"Decorate it with @{kind}_defn(queue=...).")
        return own
    return handler.queue


def _is(handler: Handler, kind: Kind, name: str) -> bool:
    return handler.kind == kind and handler.name == name


def _near(name: str, known: Collection[str], these: str) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return (f'Did you mean "{near[0]}"? ' if near else "") + f"{these}: {', '.join(known) or 'none'}."


def _name(target: Any) -> str:
    if isinstance(target, str):
        return target
    definition = None if isinstance(target, type) else sdk.activity_definition(target)
    return definition.name if definition and definition.name else str(getattr(target, "__qualname__", target))


def _place(target: Any) -> str:
    return f" ({places.place(target)})"
