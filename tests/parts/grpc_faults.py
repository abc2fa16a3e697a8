"""What may go wrong with the calls of one method, switched on and off while a proxy runs.

A fault also meets the calls that are open when it begins: a poll that was let through a minute ago would otherwise
hide it for another minute. The other way round, a call that met a fault keeps it: its end is not called back.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import grpc  # type: ignore[import-untyped]


@dataclass(eq=False)
class Fault:
    """Of the methods that match `methods` (`Poll*`); `times`: of so many calls, None is until it is lifted."""

    methods: str
    status: grpc.StatusCode | None = None
    text: str = ""
    times: int | None = None
    late: bool = False
    """The server does the work first; its answer is dropped."""
    peers: frozenset[str] | None = None
    """Only calls that come over these connections; None is all."""
    met: int = 0
    """Calls that met it."""
    lifted: threading.Event = field(default_factory=threading.Event)

    def end(self, context: grpc.ServicerContext) -> None:
        """Answer as the fault says; without a status there is no answer, until it is lifted or the caller leaves."""
        while self.status is None and context.is_active() and not self.lifted.wait(0.05):
            pass
        context.abort(self.status or grpc.StatusCode.UNAVAILABLE, self.text or f"{self.methods} fail on purpose")


class Faults:
    """The faults of one proxy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._open: dict[threading.Event, str] = {}

    @contextmanager
    def during(self, fault: Fault) -> Iterator[Fault]:
        """It lasts as long as the block."""
        with self._lock:
            self._faults.append(fault)
            for woken, method in self._open.items():
                if fnmatchcase(method, fault.methods):
                    woken.set()
        try:
            yield fault
        finally:
            with self._lock:
                self._faults.remove(fault)
            fault.lifted.set()

    def met(self, method: str, peer: str, *, late: bool) -> Fault | None:
        """The fault that a call meets now, if any; counts it."""
        with self._lock:
            for fault in self._faults:
                ours = fault.peers is None or peer in fault.peers
                if ours and fault.late is late and fnmatchcase(method, fault.methods) and fault.times != 0:
                    fault.met += 1
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None

    @contextmanager
    def open_call(self, method: str) -> Iterator[threading.Event]:
        """An event that is set when a fault begins that this call may meet."""
        woken = threading.Event()
        with self._lock:
            self._open[woken] = method
        try:
            yield woken
        finally:
            with self._lock:
                del self._open[woken]
