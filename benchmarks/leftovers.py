"""What a command that has ended leaves behind: processes, listening ports, files.

Processes cannot hide: this one is made the reaper of all orphans below it (prctl), so whatever a command started and
did not end becomes a child of ours, in a session of its own or not, dead or alive. Linux only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    """From now on orphans become children of this process, not of PID 1. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def children() -> dict[int, str]:
    """pid -> state and command line of the children of this process; Z is one that ended and that nobody asked for."""
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            state, parent = (entry / "stat").read_text().rpartition(") ")[2].split()[:2]
            if int(parent) == os.getpid():
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                found[int(entry.name)] = f"{state} {command}"
    return found


def orphans(known: Iterable[int], patience_s: float) -> list[str]:
    """What is left of a command that has ended, beside the `known` children, after `patience_s` at the most; ended."""
    deadline = time.monotonic() + patience_s
    while left := {pid: text for pid, text in children().items() if pid not in known}:
        for pid in left:
            with suppress(ChildProcessError):
                if patience_s and os.waitpid(pid, os.WNOHANG)[0]:
                    left = {other: text for other, text in left.items() if other != pid}
        if time.monotonic() >= deadline:
            break
        time.sleep(0.05)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)
    return list(left.values())


def listening(ports: Iterable[int]) -> list[int]:
    """Those of `ports` on 127.0.0.1 that somebody holds."""
    held = []
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                held.append(port)
    return held


def files(*folders: Path) -> list[str]:
    """All paths below `folders`, sockets and pipes too."""
    return [str(path) for folder in folders for path in sorted(folder.rglob("*"))]


def counts(pid: int) -> tuple[int, int]:
    """Open descriptors and threads of a process."""
    process = Path("/proc") / str(pid)
    return len(list((process / "fd").iterdir())), len(list((process / "task").iterdir()))
