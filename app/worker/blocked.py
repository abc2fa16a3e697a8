"""A line in the log that says where the event loop is blocked, while it is: liveness alone tells nobody why.

Whoever blocks the loop holds its thread, so the frames of that thread, seen from another one, name the place. A call of
C code that holds the interpreter as well cannot be seen, nor can anything else then.
"""

from __future__ import annotations

import logging
import sys
import threading
import time

from app.worker.health import LOOP_BLOCKED_S, WorkerState
from app.worker.sdk_logs import place

log = logging.getLogger("app.worker.blocked")

LOOK_S = 0.5
TOLD_BLOCKED_S = 2.0
"""Before liveness fails, so that the line is there when the process is replaced."""


def watch(state: WorkerState) -> None:
    """Tell each time that the loop of the main thread stays blocked, once, from a thread of its own."""
    threading.Thread(target=_watch, args=(state,), name="blocked", daemon=True).start()


def _watch(state: WorkerState) -> None:
    told = 0.0
    while True:
        turned = state.loop_turned_at
        if time.monotonic() - turned > TOLD_BLOCKED_S and turned != told and state.phase != "starting":
            told = turned
            log.error(
                "the event loop has been blocked for %g s%s. Nothing else runs meanwhile, and after %g s /livez fails: "
                "make it a plain `def` activity, which gets a thread, or await.",
                TOLD_BLOCKED_S,
                _where(),
                LOOP_BLOCKED_S,
            )
        time.sleep(LOOK_S)


def _where() -> str:
    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    frames = []
    while frame:
        frames.append((frame, frame.f_lineno))
        frame = frame.f_back
    return f" at {found}" if (found := place(frames)) else ""
