"""The drain's clock and its signals: SIGTERM starts it, a watchdog thread ends it, whatever else happens.

    SIGTERM ......... drain ......... unwind .. | release . flush | gone
                      bodies finish   cancelled  ^ the watchdog, at drain + unwind

Signals reach a thread of their own through a wake-up pipe that C code writes, so a blocked event loop or a blocking
call in the main thread cannot delay the moment the budget starts. A second SIGTERM never shortens a drain (the kubelet
may repeat it); a second Ctrl-C ends at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from app.core.config.worker import RELEASE_S
from app.core.exit import ExitCode, finish, leave_by
from app.worker.in_flight import InFlight
from app.worker.release import Release

log = logging.getLogger("app.worker.drain")

LEAVE_S = 0.5
"""For spans and log lines after a release: the next attempts begin at release.RETRY_DELAY_S."""
LAST_S = 0.5


@dataclass(frozen=True)
class DrainBudget:
    """The parts of a drain, each in seconds, in the order in which they pass."""

    drain_s: float
    unwind_s: float
    flush_s: float
    release_s: float = RELEASE_S

    @property
    def watchdog_s(self) -> float:
        """After SIGTERM: when the watchdog stops waiting for the bodies."""
        return self.drain_s + self.unwind_s

    @property
    def total_s(self) -> float:
        """After SIGTERM: when the process is gone at the latest."""
        return self.watchdog_s + self.release_s + self.flush_s


class Watchdog:
    """Ends the process when the budget is spent."""

    def __init__(self, budget: DrainBudget, in_flight: InFlight, release: Release) -> None:
        """`in_flight` knows what is still in hand then, `release` how another worker gets it."""
        self._budget = budget
        self._in_flight = in_flight
        self._release = release
        self._armed = threading.Lock()

    def arm(self, code: ExitCode | None = None) -> None:
        """Start the budget now; a second call changes nothing. `code`: how it ends whatever becomes of the work."""
        if self._armed.acquire(blocking=False):
            self._in_flight.begin_drain()
            threading.Thread(target=self._wait, args=(code,), name="drain-watchdog", daemon=True).start()

    def _wait(self, code: ExitCode | None) -> None:
        # Releasing and logging may block (a full pipe, a lock that a stuck thread holds): this timer waits for nobody.
        last = threading.Timer(self._budget.total_s + LAST_S, os._exit, [int(code or ExitCode.HANDED_OVER)])
        last.daemon = True
        last.start()
        asyncio.run(self._release.at(time.monotonic() + self._budget.watchdog_s, self._budget.release_s))
        left = self._in_flight.in_hand()
        report = self._in_flight.drained(code)
        # What was released begins elsewhere in a moment: this process must not outlast it for the sake of a span.
        flush_s = min(LEAVE_S, self._budget.flush_s) if report.released else self._budget.flush_s
        leave_by(flush_s, report.code)
        log.error(
            "drain: the budget of %g s is spent; leaving with %d activities in hand, which run again elsewhere: %s",
            self._budget.watchdog_s,
            len(left),
            "; ".join(map(str, left.values())) or "none",
        )
        log.error("drain: done in %s", report)
        finish(report.code, flush_s=flush_s)


def on_signals(request_stop: Callable[[str], None]) -> None:
    """From now on SIGTERM and the first Ctrl-C call `request_stop(name)`, on a thread of their own, once each.

    Must be called from the main thread.
    """
    read, write = socket.socketpair()
    write.setblocking(False)
    signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT):
        # The wake-up pipe is only written for signals with a Python handler.
        signal.signal(number, _nothing)
    threading.Thread(target=_listen, args=(read, write, request_stop), name="drain-signals", daemon=True).start()


def _listen(read: socket.socket, write: socket.socket, request_stop: Callable[[str], None]) -> None:
    interrupts = 0
    stopping = False
    while received := read.recv(16):
        for number in received:
            interrupts += number == signal.SIGINT
            if interrupts > 1:
                os.write(2, b"interrupted twice: leaving at once\n")
                os._exit(ExitCode.INTERRUPTED)
            if stopping:
                log.info("drain: %s again; the drain goes on", signal.Signals(number).name)
                continue
            stopping = True
            request_stop(signal.Signals(number).name)
    del write  # held open for as long as this thread lives: the wake-up descriptor is its only use


def _nothing(_number: int, _frame: object) -> None:
    pass
