"""A sign of life of a loop: beaten by the loop, read by a probe and by a watchdog, which are other threads."""

from __future__ import annotations

import logging
import threading
import time

from app.core.exit import finish
from app.core.probes import Answer, verdict

log = logging.getLogger("app.core.pulse")


class Pulse:
    """When the loop last turned. Without a beat for `limit_s` seconds the process is hung, and ends with 1."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._at = time.monotonic()

    def beat(self) -> None:
        self._at = time.monotonic()

    @property
    def age_s(self) -> float:
        return time.monotonic() - self._at

    @property
    def alive(self) -> bool:
        return self.age_s < self._limit_s

    def probe(self) -> Answer:
        """For /livez."""
        return verdict(self.alive, f"the loop last turned {self.age_s:.0f} s ago")

    def watch(self) -> None:
        """Start the watchdog; whoever supervises the process starts a new one."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while self.alive:
            time.sleep(1.0)
        log.error("the loop has not turned for %.0f s: leaving, for a new process", self.age_s)
        finish(1)
