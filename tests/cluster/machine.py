"""How busy this machine was while something ran, from /proc/stat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class Cpu:
    """`percent` of all `cores`, once it is over."""

    cores: int
    percent: float = 0.0


@contextmanager
def busy() -> Iterator[Cpu]:
    """What the processors did within."""
    cpu = Cpu(os.cpu_count() or 1)
    idle, total = _ticks()
    try:
        yield cpu
    finally:
        idle_after, total_after = _ticks()
        cpu.percent = 100 * (1 - (idle_after - idle) / (total_after - total))


def _ticks() -> tuple[int, int]:
    ticks = [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
