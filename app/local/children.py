"""The processes of one supervisor: started, watched and stopped so that none can outlive it.

Each child leads a session of its own, so a Ctrl-C in the terminal reaches the supervisor only. At no instant could a
child be orphaned: it begins as a shell that waits for a line on a pipe; the supervisor tells the guardian about it,
then writes the line, and `exec` keeps the pid. A supervisor that dies before that leaves a pipe that ends, and with it
the shell. From then on the guardian (`guardian.py`) answers for the child, and a guardian that dies is replaced.

Rejected: asyncio's subprocesses, because from Python 3.12 on a loop that ends in an exception SIGKILLs them: workers
would lose their work, and the guardian its life, just when it is needed. Popen has no such habit; a thread per process
waits for it. Also rejected: one process group for the whole fleet, since all of it would be signalled at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from app.local import guardian

_log = logging.getLogger(__name__)

# `read` fails at the end of the file: without the line there is no exec.
_GATE = 'read -r _ && exec "$@" </dev/null'
# A guardian that lived shorter than this is replaced only after as long again: a broken one must not spin.
_GUARDIAN_RETRY_S = 1.0


def _spawn(
    argv: Sequence[str], stdin: int, log: Path, cwd: Path, env: Mapping[str, str] | None, keep: Sequence[int] = ()
) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as out:
        return subprocess.Popen(
            argv, stdin=stdin, stdout=out, stderr=out, cwd=cwd, env=env, pass_fds=keep, start_new_session=True
        )


def _ending(process: subprocess.Popen[bytes]) -> asyncio.Future[int]:
    """Resolves to the exit code, -N after signal N."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def wait() -> None:
        code = process.wait()
        # A closed loop has nobody left who asks.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(ended.set_result, code)

    threading.Thread(target=wait, name=f"wait-{process.pid}", daemon=True).start()
    return ended


class Child:
    """One process that `Children` started, and its process group."""

    def __init__(
        self, name: str, stage: int, log: Path, process: subprocess.Popen[bytes], left: Callable[[Child], None]
    ) -> None:
        self.name = name
        self.stage = stage
        self.log = log
        self.pid = process.pid
        self._ended = _ending(process)
        self._ended.add_done_callback(lambda _: left(self))

    @property
    def returncode(self) -> int | None:
        """The exit code, -N after signal N; None while it runs."""
        return self._ended.result() if self._ended.done() else None

    async def wait(self) -> int:
        """The exit code, -N after signal N, once it has ended. Cancelling the wait leaves the process alone."""
        return await asyncio.shield(self._ended)

    def signal(self, sig: int) -> None:
        """Signals the process, not its group; does nothing when it has ended."""
        if not self._ended.done():
            with suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    async def stop(self, grace_s: float) -> int:
        """SIGTERM to the process; after grace_s SIGKILL to its whole group. Returns the exit code."""
        self.signal(signal.SIGTERM)
        await asyncio.wait({self._ended}, timeout=grace_s)
        if not self._ended.done():
            _log.warning("%s (pid %d) did not end within %g s of SIGTERM: killing it", self.name, self.pid, grace_s)
            guardian.signal_group(self.pid, signal.SIGKILL)
        return await self.wait()


class _Guard:
    """The guardian process and whoever replaces it; `wards` are the children that a new one has to know."""

    def __init__(
        self, wards: Callable[[], Iterable[Child]], graces: Mapping[int, float], log: Path, lock_fd: int | None
    ) -> None:
        self.pid: int | None = None
        self._wards = wards
        self._args = [arg for stage, grace_s in graces.items() for arg in ("--grace", f"{stage}={grace_s}")]
        self._log_path = log
        self._keep = () if lock_fd is None else (lock_fd,)
        self._pipe: int | None = None
        self._ended: asyncio.Future[int] | None = None
        self._dismissed = False

    def add(self, child: Child) -> None:
        """Returns when the kernel holds the line: from now on the child cannot be orphaned. Raises OSError."""
        if not self._tell(f"+ {child.stage} {child.pid}\n"):
            self._start()

    def remove(self, child: Child) -> None:
        # A guardian that is dead needs no word: its successor gets the list as it is then.
        self._tell(f"- {child.pid}\n")

    async def dismiss(self) -> None:
        self._dismissed = True
        self._hang_up()
        if self._ended is not None:
            await asyncio.shield(self._ended)

    def _tell(self, line: str) -> bool:
        if self._pipe is None:
            return False
        try:
            os.write(self._pipe, line.encode())
        except BrokenPipeError:
            return False
        return True

    def _hang_up(self) -> None:
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _start(self) -> None:
        self._hang_up()
        # Isolated and without site: nothing in the environment or the working folder can break or slow it.
        argv = [sys.executable, "-IS", str(Path(guardian.__file__).resolve()), *self._args]
        heard, pipe = os.pipe()
        # It ignores these from its first line on; until Python has got there, it inherits that they are blocked.
        unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, guardian.IGNORED)
        try:
            process = _spawn(argv, heard, self._log_path, Path("/"), None, self._keep)
        except BaseException:
            os.close(pipe)
            raise
        finally:
            os.close(heard)
            signal.pthread_sigmask(signal.SIG_SETMASK, unblocked)
        self.pid, self._pipe, self._ended = process.pid, pipe, _ending(process)
        born_s = time.monotonic()
        self._ended.add_done_callback(lambda ended: self._lost(process.pid, ended.result(), time.monotonic() - born_s))
        for child in self._wards():
            self._tell(f"+ {child.stage} {child.pid}\n")

    def _lost(self, pid: int, code: int, lived_s: float) -> None:
        if self._dismissed:
            return
        _log.error("the guardian (pid %d) ended, exit code %d: starting another; see %s", pid, code, self._log_path)
        if pid == self.pid:
            self._hang_up()
            pause_s = 0.0 if lived_s > _GUARDIAN_RETRY_S else _GUARDIAN_RETRY_S
            asyncio.get_running_loop().call_later(pause_s, self._replace)

    def _replace(self) -> None:
        if self._dismissed or self._pipe is not None:
            return
        try:
            self._start()
        except OSError as error:
            _log.error("no guardian could be started: %s; trying again in %g s", error, _GUARDIAN_RETRY_S)
            asyncio.get_running_loop().call_later(_GUARDIAN_RETRY_S, self._replace)


class Children:
    """All children of this supervisor, and their guardian. Use it as `async with`: leaving stops what is left.

    `graces` are the seconds after SIGTERM by stage, for the guardian and for leaving. The guardian logs to
    `guardian_log` and holds `lock_fd` open, so that the lock on the data folder lasts until it has ended.
    """

    def __init__(
        self, *, cwd: Path, graces: Mapping[int, float], guardian_log: Path, lock_fd: int | None = None
    ) -> None:
        self._cwd = cwd
        self._graces = dict(graces)
        self._children: dict[int, Child] = {}
        self._guard = _Guard(self.alive, self._graces, guardian_log, lock_fd)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    @property
    def guardian_pid(self) -> int | None:
        """The pid of the guardian; None before the first child."""
        return self._guard.pid

    def alive(self) -> list[Child]:
        """The children that run, in the order of their start."""
        return list(self._children.values())

    async def start(self, name: str, argv: Sequence[str], *, stage: int, env: Mapping[str, str], log: Path) -> Child:
        """Runs `argv` with `env` as its whole environment; its output is appended to `log`. Raises OSError.

        A program that cannot be run is a child that ends with exit code 126 or 127 and has the reason in its log.
        """
        gate, go = os.pipe()
        try:
            try:
                process = _spawn(["/bin/sh", "-c", _GATE, "sh", *argv], gate, log, self._cwd, env)
            finally:
                os.close(gate)
            child = Child(name, stage, log, process, self._left)
            self._children[child.pid] = child
            self._guard.add(child)
            # A shell that was killed meanwhile reads no more.
            with suppress(BrokenPipeError):
                os.write(go, b"go\n")
        finally:
            os.close(go)
        return child

    async def stop_stage(self, stage: int, grace_s: float) -> None:
        """Stops the children of one stage side by side; returns when all have ended."""
        await asyncio.gather(*(child.stop(grace_s) for child in self.alive() if child.stage == stage))

    async def close(self) -> None:
        """Stops what is left, by ascending stage with its grace, then lets the guardian go; returns when it went."""
        for stage in sorted({child.stage for child in self.alive()}):
            await self.stop_stage(stage, self._graces.get(stage, guardian.DEFAULT_GRACE_S))
        await self._guard.dismiss()

    def _left(self, child: Child) -> None:
        # What it leaves behind in its group has nobody else who would end it.
        guardian.signal_group(child.pid, signal.SIGKILL)
        self._children.pop(child.pid, None)
        self._guard.remove(child)
