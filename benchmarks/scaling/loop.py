"""Simulated time: what is due next, happens next."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any


class Loop:
    """Calls things at their moments, in seconds from 0; what falls on one moment keeps the order of its planning."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, int, Callable[..., object], tuple[Any, ...]]] = []
        self._planned = 0

    def at(self, time: float, call: Callable[..., object], *arguments: Any) -> None:
        """Call `call(*arguments)` at `time`, or at once where that is past."""
        self._planned += 1
        heapq.heappush(self._due, (time if time > self.now else self.now, self._planned, call, arguments))

    def every(self, period_s: float, call: Callable[[], object], first: float = 0.0) -> None:
        """Call `call` at `first` and then each `period_s`."""
        self.at(first, self._again, period_s, call)

    def _again(self, period_s: float, call: Callable[[], object]) -> None:
        call()
        self.at(self.now + period_s, self._again, period_s, call)

    def run(self, until: float = math.inf) -> None:
        """Let time go by up to `until`, which itself is left out."""
        due, pop = self._due, heapq.heappop
        while due and due[0][0] < until:
            self.now, _, call, arguments = pop(due)
            call(*arguments)
        self.now = until
