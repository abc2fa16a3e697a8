"""What the SDK logs about a worker's troubles, in one line each: which workflow, where in its code, and what helps.

The SDK's own records carry a page of its own frames, name a blocked workflow by its run only, and repeat an outage with
every heartbeat. They are rewritten where they are made, so that each trouble is told once; at DEBUG they stay whole.
"""

from __future__ import annotations

import logging
import sysconfig
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from temporalio.worker import WorkflowInstance
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

HEARTBEAT_SAID_S = 60.0

_NOT_THEIRS = (
    "<",
    *(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")),
    str(Path(__file__).parent / "workflows" / "base.py"),
)
_BLOCKED = "[TMPRL1101]"
_IN_AN_ACTIVITY = "Workflow code only decides: do that in an activity."


def install() -> None:
    """Rewrite from now on; a second call changes nothing."""
    for name, rewrite in (
        ("temporalio.worker._worker", _unsaid),
        ("temporalio.worker._workflow", _task_failed),
        ("temporalio.worker._workflow_instance", _task_failed),
        ("temporalio.worker.workflow_sandbox._restrictions", _unsaid),
        ("temporalio.core", _Seldom()),
    ):
        logger = logging.getLogger(name)
        if not any(isinstance(known, type(rewrite)) for known in logger.filters):
            logger.addFilter(rewrite)


def _unsaid(record: logging.LogRecord) -> bool:
    """`supervise` tells of a worker that failed, and the error of what is restricted says so itself."""
    return record.msg != "Worker failed, shutting down" and not str(record.msg).endswith(" restricted")


def _task_failed(record: logging.LogRecord) -> bool:
    """A failed workflow task: the run stays open, and the task is tried again until a worker can do it."""
    error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
    if error is None or not record.getMessage().startswith(("Failed handling activation", "Failed activation")):
        return True
    frames = list(traceback.walk_tb(error.__traceback__))
    blocked = str(error).startswith(_BLOCKED)
    if not blocked:
        frames.reverse()  # innermost first, as they are in the trace of a blocked thread
    record.msg = f"{_who(record, (frame for frame, _ in frames))}: {_what(error, place(frames), blocked)}"
    record.args = ()
    if not logging.getLogger().isEnabledFor(logging.DEBUG):
        record.exc_info = None
    return True


def place(frames: Iterable[tuple[FrameType, int]]) -> str:
    """`file:line in function` of the first of `frames` (with their line numbers) that is the user's code, or ""."""
    theirs = next((f for f in frames if not f[0].f_code.co_filename.startswith(_NOT_THEIRS)), None)
    return f"{_short(theirs[0].f_code.co_filename)}:{theirs[1]} in {theirs[0].f_code.co_qualname}" if theirs else ""


def _what(error: BaseException, where: str, blocked: bool) -> str:
    at = f" at {where}" if where else ""
    if blocked:
        return f"its task failed, and is tried again: it held its thread for more than 2 s{at}. {_IN_AN_ACTIVITY}"
    if isinstance(error, RestrictedWorkflowAccessError):
        name = error.qualified_name.removeprefix("__builtins__.").removesuffix(".__call__")
        return f"its task failed{at}, and is tried again: the sandbox refuses {name}. {_IN_AN_ACTIVITY}"
    text = " ".join(str(error).split())
    return (
        f"its task failed{at}, and is tried again: {type(error).__name__}: {text}. "
        "The run goes on when a worker with mended code takes it."
    )


def _who(record: logging.LogRecord, frames: Iterator[FrameType]) -> str:
    details = getattr(record, "temporal_workflow", None)
    if isinstance(details, dict):
        return f"workflow {details.get('workflow_type')} ({details.get('workflow_id')})"
    for frame in frames:
        instance = frame.f_locals.get("self")
        if isinstance(instance, WorkflowInstance):
            info = instance.get_info()
            return f"workflow {info.workflow_type} ({info.workflow_id})"
    return f"the workflow of run {record.args[0] if isinstance(record.args, tuple) and record.args else 'unknown'}"


def _short(file: str) -> str:
    path = Path(file)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


class _Seldom(logging.Filter):
    """Heartbeats fail together with everything else; one line in a minute is enough of them."""

    def __init__(self) -> None:
        super().__init__()
        self._said_at = -HEARTBEAT_SAID_S

    def filter(self, record: logging.LogRecord) -> bool:
        if "sending worker heartbeat" not in record.getMessage():
            return True
        if time.monotonic() - self._said_at < HEARTBEAT_SAID_S:
            return False
        self._said_at = time.monotonic()
        return True
