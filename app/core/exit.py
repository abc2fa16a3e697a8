"""The one place that ends a process, and the exit codes that charts, supervisors and scripts read.

A normal interpreter exit races the SDK's native threads against finalisation and crashes now and then (2 to 10 % of
clean stops measured, sdk-python issue 300). So every process flushes what it has to tell, within a bound, and leaves
with `os._exit`.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from enum import IntEnum
from typing import NoReturn

from app.core.telemetry import logs, tracing

WRITE_S = 0.2
"""For the line that says what was not sent."""


class ExitCode(IntEnum):
    """What the end of a process means."""

    DRAINED = 0
    ORDER_FAILED = 1
    """`fleet dev`: the first order did not complete."""
    USAGE = 2
    """Usage, configuration or registration; every problem was listed."""
    HANDED_OVER = 3
    """Drained, but some work was cut and runs again elsewhere."""
    CANNOT_CONNECT = 4
    """Temporal cannot be reached in the given time, or does not permit it."""
    POOL_DIED = 5
    """A worker stopped by itself."""
    INTERRUPTED = 130
    """A second Ctrl-C."""


def leave_by(seconds: float, code: int) -> None:
    """Leave with `code` once `seconds` have passed, even if no other thread gets anywhere."""
    timer = threading.Timer(seconds + WRITE_S, os._exit, [int(code)])
    timer.daemon = True
    timer.start()


def finish(code: int, *, flush_s: float = 2.0) -> NoReturn:
    """Send what spans, log lines and streams hold, all within `flush_s` seconds, then leave with `code`.

    A pipe that nobody reads, or a collector that never answers, cannot hold the process. Metrics are fetched by those
    who want them: there is nothing to send.
    """
    leave_by(flush_s, code)
    writing = threading.Thread(target=_write_out, name="flush-streams", daemon=True)
    writing.start()
    sent = tracing.flush(flush_s)
    writing.join(flush_s)
    if not sent:
        sys.stderr.write(f"some spans were not sent within {flush_s:g} s\n")
        sys.stderr.flush()
    os._exit(code)


def _write_out() -> None:
    logs.flush()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def fail(error: BaseException, code: ExitCode = ExitCode.USAGE) -> NoReturn:
    """Say what is wrong, without a traceback, and leave with `code`."""
    sys.stderr.write(f"{error}\n")
    finish(code)
