"""`serve --reload`, for development: the worker is a child process, replaced when a Python file or config.yaml changes.

A new process, because nothing less forgets the old code. What is watched is the whole top-level package of each of
temporal.worker.packages (an activity imports its neighbours), by looking at the files' times: a few milliseconds twice
a second for hundreds of files. Rejected: a library that is told by the kernel, a dependency for a convenience.

Work in hand is not waited for, unless --drain-timeout says otherwise: it runs again in the next process. A child that
ends by itself (an import error, which it has printed) is not started again before the next change. It leads a session
of its own, so that each signal reaches it once, through here; it drains when this process is gone, however it went.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from app.core.config import ConfigError
from app.core.config.load import load_settings, settings_files
from app.core.services.temporal import connection

log = logging.getLogger("app.worker.reload")

LOOK_S = 0.5
NO_DRAIN_S = 0.01
REPLACE_TIMEOUT_S = 20.0
"""More than unwinding and flushing take by default; a child that is stuck in C code is killed then."""

Snapshot = dict[Path, tuple[int, int]]


def roots(packages: Iterable[str]) -> list[Path]:
    """Folders (or single files) of the top-level packages; nothing is imported."""
    found: dict[Path, None] = {}
    for package in packages:
        try:
            spec = importlib.util.find_spec(package.partition(".")[0])
        except (ImportError, ValueError):
            continue  # the child says what is wrong with it
        if spec and spec.submodule_search_locations is not None:
            found.update((Path(folder), None) for folder in spec.submodule_search_locations)
        elif spec and spec.origin:
            found[Path(spec.origin)] = None
    return list(found)


def snapshot(places: Iterable[Path]) -> Snapshot:
    """Time and size of every Python file below `places`, and of those that are files."""
    seen: Snapshot = {}
    for file in (file for place in places for file in _files(place)):
        try:
            stat = file.stat()
        except OSError:
            continue  # it went away between the look and now: a change that the next look sees
        seen[file] = stat.st_mtime_ns, stat.st_size
    return seen


def _files(place: Path) -> Iterator[Path]:
    if not place.is_dir():
        yield place
        return
    for folder, below, names in os.walk(place):
        below[:] = [name for name in below if not name.startswith((".", "__pycache__"))]
        yield from (Path(folder, name) for name in names if name.endswith(".py"))


class Places:
    """What to watch: the settings' files, and the packages, certificates and keys that they name."""

    def __init__(self, config: Path | None) -> None:
        self._config = config
        self._read: Snapshot | None = None
        self._packages: Sequence[str] = ()
        self._credentials: Sequence[Path] = ()

    def __call__(self) -> list[Path]:
        files = settings_files(self._config)
        if (now := snapshot(files)) != self._read:
            self._read = now
            with suppress(ConfigError):  # the child says what is wrong
                temporal = load_settings(file=self._config, connects=False).temporal
                self._packages = temporal.worker.packages
                self._credentials = [Path(name) for name in connection.files(temporal)]
        return [*files, *self._credentials, *roots(self._packages)]


class Reloader:
    """Keeps one child at work on the newest code until it is signalled."""

    def __init__(self, command: Sequence[str], places: Callable[[], Iterable[Path]]) -> None:
        """`command` starts the worker; `places` are asked anew at each look, since settings may change them."""
        self._command = command
        self._places = places
        self._signalled = threading.Event()
        self._undelivered = 0
        self._child: subprocess.Popen[bytes] | None = None
        # The child holds the other end: it ends, however this process ends.
        self._alive_read, self._alive_write = os.pipe()

    def run(self) -> int:
        """The exit code of the last child, after a signal. Must be called from the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._forward)
        seen = self._look()
        self._start()
        running = True
        while not self._signalled.wait(LOOK_S):
            if running and self._child and (code := self._child.poll()) is not None:
                running = False
                log.warning("the worker ended with %d; it is started again after the next change", code)
            now = self._look()
            if now != seen:
                seen = self._settled(now, seen)
                self._replace()
                running = True
        return self._last_code()

    def _look(self) -> Snapshot:
        return snapshot(self._places())

    def _settled(self, now: Snapshot, before: Snapshot) -> Snapshot:
        """What the files are when nothing has changed for a moment: an editor writes several."""
        while not self._signalled.wait(0.1) and (later := self._look()) != now:
            now = later
        changed = sorted(str(file) for file in now.keys() | before.keys() if now.get(file) != before.get(file))
        if changed:
            log.info("%s changed; starting anew", ", ".join(changed[:3]) + (" ..." if changed[3:] else ""))
        return now

    def _start(self) -> None:
        self._child = subprocess.Popen(
            [*self._command, "--while-open", str(self._alive_read)],
            # A cached bytecode counts as fresh when second and size are the same: too coarse for an edit a second.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            pass_fds=[self._alive_read],
            start_new_session=True,
        )
        if self._undelivered:
            self._child.send_signal(self._undelivered)

    def _replace(self) -> None:
        child = self._child
        if child and child.poll() is None:
            child.terminate()
            try:
                child.wait(REPLACE_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                log.warning("the worker did not end within %g s: killing it", REPLACE_TIMEOUT_S)
                child.kill()
                child.wait()
        if not self._signalled.is_set():
            self._start()

    def _last_code(self) -> int:
        """Wait for the child, which has the signal; every further one reaches it too."""
        while self._child and self._child.poll() is None:
            time.sleep(0.05)
        code = self._child.returncode if self._child else 0
        return code if code >= 0 else 128 - code

    def _forward(self, number: int, _frame: object) -> None:
        self._signalled.set()
        if self._child and self._child.poll() is None:
            self._child.send_signal(number)
        else:
            self._undelivered = number


def end_with(descriptor: int) -> None:
    """In the child: drain as after SIGTERM when the process at the other end of `descriptor` is gone.

    Raises OSError when nothing is open there.
    """
    os.fstat(descriptor)

    def wait() -> None:
        with suppress(OSError):
            os.read(descriptor, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="reload-parent", daemon=True).start()
