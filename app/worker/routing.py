"""Which task queue a call from workflow code goes to: that of the declaration, and never one that nobody serves.

Temporal itself accepts any queue name; work on a queue without workers waits for ever and the workflow stays "Running".
So a wrong call fails at once, as an application error that the workflow's own error handling sees.

Code may catch that and go on, so a replay must refuse the same calls, however registry and configuration have changed
since. Each refusal is therefore kept in the history, as a patch marker with the number of the call in its run: a replay
refuses the calls that have one, and no others. Rejected: refusing nothing in replay, which then makes a call that the
history does not hold.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, get_args

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.core.config import process_settings
from app.worker import places
from app.worker import sdk_definitions as sdk
from app.worker.options import LEFT_OUT
from app.worker.problems import did_you_mean
from app.worker.promises import Promise
from app.worker.registry import ACTIVITY, WORKFLOW, Handler, registry

Kind = Literal[
    "UnservedQueue", "UnknownActivity", "UnknownWorkflow", "UnknownOption", "NotLocal", "NoTimeout", "BadArgument"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Types of the errors. They stand in histories: a name may be added, none be changed."""


def activity_queue(target: Any, explicit: str | None = None) -> str:
    """The queue for a call of activity `target` (function or name) from the running workflow.

    Raises a non-retryable ApplicationError of type "UnservedQueue" or "UnknownActivity".
    """
    return _queue(ACTIVITY, target, explicit)


def promise_of(target: Any, queue: str) -> Promise:
    """What activity `target` (function, or the name of one on `queue`) declares of its time; nothing where unknown."""
    if isinstance(target, str):
        handlers = registry.queues().get(queue, ())
        return next((handler.promise for handler in handlers if _is(handler, ACTIVITY, target)), Promise())
    handler = registry.find(target)
    return handler.promise if handler else Promise()


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
            why = LEFT_OUT.get(name) or did_you_mean(name, known).strip() or f"Options: {', '.join(known)}."
            refuse("UnknownOption", f'{call} has no option "{name}"', why)


def require_timeout(target: Any, options: Mapping[str, Any]) -> None:
    """Refuse an activity that could run for ever: ApplicationError "NoTimeout"."""
    if options.get("start_to_close_timeout") is None and options.get("schedule_to_close_timeout") is None:
        refuse(
            "NoTimeout",
            f"{_name(target)} is called without any limit of its time",
            "Leave start_to_close_timeout to config.yaml, or give it a value.",
        )


@contextmanager
def checked_call() -> Iterator[None]:
    """The checks of one call of the running workflow; what `refuse` does in it belongs to that call's number.

    Raises what the call was refused with when it was first made, where today's checks would let it pass.
    """
    if workflow.unsafe.is_read_only():  # A query or a validator: not in the history, so it has no number.
        yield
        return
    run = workflow.instance()
    run._calls += 1
    yield
    if workflow.unsafe.is_replaying():
        for kind in KINDS:
            if workflow.patched(_marker(run._calls, kind)):
                raise ApplicationError("refused when it was first called", type=kind, non_retryable=True)


def refuse(kind: Kind, what: str, remedy: str) -> None:
    """Fail the call for good with one line of fact and one of remedy; in replay only if it failed so before."""
    if workflow.unsafe.is_read_only() or workflow.patched(_marker(workflow.instance()._calls, kind)):
        raise ApplicationError(f"{what}.\n  {remedy}", type=kind, non_retryable=True)


def _marker(call: int, kind: Kind) -> str:
    return f"worker-fleet: call {call} refused: {kind}"


def _queue(kind: Literal["workflow", "activity"], target: Any, explicit: str | None) -> str:
    own = workflow.info().task_queue
    queues = registry.queues()
    unknown: Kind = "UnknownActivity" if kind == ACTIVITY else "UnknownWorkflow"
    if explicit is not None:
        served = [*queues, *process_settings().temporal.worker.external_queues]
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
        refuse(unknown, f'no {kind} is named "{target}"', _near(target, names, f"{plural} here"))
        return own
    handler = registry.find(target)
    if handler is None or handler.kind != kind:
        what = f"{_name(target)} is on no queue ({places.place(target)})"
        refuse(unknown, what, f"Decorate it with @{kind}_defn(queue=...).")
        return own
    return handler.queue


def _is(handler: Handler, kind: str, name: str) -> bool:
    return handler.kind == kind and handler.name == name


def _near(name: str, known: Collection[str], these: str) -> str:
    return f"{did_you_mean(name, known)} {these}: {', '.join(known) or 'none'}.".strip()


def _name(target: Any) -> str:
    if isinstance(target, str):
        return target
    definition = None if isinstance(target, type) else sdk.activity_definition(target)
    return definition.name if definition and definition.name else str(getattr(target, "__qualname__", target))
