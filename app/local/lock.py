"""One fleet per data folder: a lock that lives as long as the last process that may write there.

It is flock on `<data_dir>/lock`, which the kernel gives back however its holder ends. Two processes hold it: the
supervisor, and through the inherited descriptor its guardian, so a fleet that was killed keeps its folder until its
children have ended too. The pid in the file tells the two cases apart. Rejected: a pid file alone, which outlives a
crash and says nothing about the children; fcntl locks, which are not inherited.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from app.core.config import named
from app.local.guardian import is_gone

_LOOK_S = 0.1


class AlreadyRunning(RuntimeError):
    """Another fleet has the data folder; `pid` is that of its supervisor, where known."""

    def __init__(self, fact: str, remedy: str, pid: int | None) -> None:
        super().__init__(f"{fact}\n{remedy}, or set {named('local.data_dir')} for a second one.")
        self.pid = pid


class DataDirLock:
    """The lock on one data folder; take it before anything is started there."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._fd: int | None = None

    def acquire(self, wait_s: float, say: Callable[[str], None]) -> None:
        """Takes the lock, making the folder if need be. Raises AlreadyRunning; OSError for a folder not writable.

        Waits, at most wait_s, only for a fleet whose supervisor is dead, and says so once. It blocks: call it before
        the event loop runs, where Ctrl-C still ends it.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        # Not inheritable, as everything Python opens: the guardian alone is handed it.
        fd = os.open(self._data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            self._wait(fd, wait_s, say)
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def fileno(self) -> int:
        """The descriptor to hand to the guardian. Raises RuntimeError when the lock is not held."""
        if self._fd is None:
            raise RuntimeError("the data folder is not locked: call acquire() first")
        return self._fd

    def release(self) -> None:
        """Lets go; the folder stays locked while a guardian lives. Does nothing when it is not held."""
        if self._fd is not None:
            # Closing, not LOCK_UN, which would take the lock from the guardian too.
            os.close(self._fd)
            self._fd = None

    def _wait(self, fd: int, wait_s: float, say: Callable[[str], None]) -> None:
        deadline, looks = time.monotonic() + wait_s, 0
        while not _locked(fd):
            pid = _pid_in(fd)
            if pid is not None and not is_gone(pid):
                raise AlreadyRunning(f"another fleet runs in {self._data_dir} (pid {pid}).", "stop it", pid)
            if time.monotonic() >= deadline:
                whose = f"the previous fleet in {self._data_dir} (pid {pid or 'unknown'}, ended)"
                raise AlreadyRunning(f"processes of {whose} still run after {wait_s:g} s.", "end them", pid)
            looks += 1
            # On the first look the holder may be just about to write its pid.
            if looks == 2:
                say("waiting for the previous fleet's processes to end")
            time.sleep(_LOOK_S)


def _locked(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _pid_in(fd: int) -> int | None:
    text = os.pread(fd, 32, 0).strip()
    return int(text) if text.isdigit() else None
