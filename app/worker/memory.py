"""A ceiling for the memory of a worker: above it the worker drains as on SIGTERM, and its supervisor starts a new one.

A process that leaks is killed in the end (SIGKILL, exit code 137), and what it has in hand then runs again after its
timeout; replaced in time, it loses nothing. What is measured is the resident memory of this process. Off by default:
how much a worker needs is the application's to know, and a ceiling below that would replace workers without end. For
the same reason no worker ends before it is MIN_AGE_S old: one that is above its ceiling before is told so, once, and
serves until then.

Rejected: the limit of RLIMIT_AS, which fails single allocations somewhere in the middle of the work.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("app.worker.memory")

LOOK_S = 1.0
MIN_AGE_S = 60.0
"""Bounds the rate at which one worker is replaced by the next."""
_MIB = 1024 * 1024
_UNITS = {"Mi": _MIB, "Gi": 1024 * _MIB}


def resident_bytes() -> int:
    """The resident memory of this process. Raises OSError where there is no /proc."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def limit_bytes(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int | None:
    """The memory limit of this process's control group or of one above it (cgroup v1 or v2); None: there is none."""
    try:
        groups = [line.split(":", 2)[1:] for line in own.read_text().splitlines()]
    except OSError:
        return None
    found: list[int] = []
    for names, path in groups:
        if names and "memory" not in names.split(","):
            continue
        mount, file = (root / "memory", "memory.limit_in_bytes") if names else (root, "memory.max")
        here = mount / path.lstrip("/")
        # In a container of its own the mount shows the container's group as the root.
        for folder in {mount, here, *(parent for parent in here.parents if mount in parent.parents)}:
            found += _number(folder / file)
    return min(found, default=None)


def ceiling_bytes(text: str) -> int | None:
    """temporal.worker.max_memory in bytes; None: there is none. Raises LookupError for a share of a limit of nobody."""
    if not text:
        return None
    if text.endswith("%"):
        limit = limit_bytes()
        if limit is None:
            raise LookupError(f"{text} is a share of the container's memory limit, and there is none")
        return limit * int(text[:-1]) // 100
    return int(text[:-2]) * _UNITS[text[-2:]]


def watch(text: str) -> None:
    """Look at this process's memory from now on, on a thread of its own. `text`: temporal.worker.max_memory."""
    try:
        ceiling = ceiling_bytes(text)
        resident_bytes()
    except (LookupError, OSError) as error:
        log.warning("temporal.worker.max_memory is not in force: %s", error)
        return
    if ceiling is None:
        return
    log.info("memory: above %d MiB this worker drains, for a new process", ceiling // _MIB)
    threading.Thread(target=_look, args=(ceiling, lambda: os.kill(os.getpid(), signal.SIGTERM)), daemon=True).start()


def _look(ceiling: int, leave: Callable[[], None]) -> None:
    born = time.monotonic()
    told = False
    while True:
        try:
            now = resident_bytes()
        except OSError:  # out of descriptors for a moment: the next look sees more
            now = 0
        if now > ceiling and time.monotonic() - born >= MIN_AGE_S:
            log.warning(
                "memory: %d MiB are above %d MiB (temporal.worker.max_memory): draining, for a new process",
                now // _MIB,
                ceiling // _MIB,
            )
            leave()
            return
        if now > ceiling and not told:
            told = True
            log.warning(
                "memory: %d MiB are above %d MiB (temporal.worker.max_memory) already; draining when it is %g s old. "
                "If it needs that much, raise the ceiling.",
                now // _MIB,
                ceiling // _MIB,
                MIN_AGE_S,
            )
        time.sleep(LOOK_S)


def _number(file: Path) -> list[int]:
    try:
        text = file.read_text().strip()
    except OSError:
        return []
    # v2 says "max" where there is no limit, v1 a number near 2**63.
    return [int(text)] if text.isdigit() and int(text) < 2**60 else []
