"""How the tests build their real parts from Go modules: once, cached, one at a time, with progress shown."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DOWNLOAD_TRIES = 3


class GoMissing(RuntimeError):
    """There is no Go toolchain to build with."""


class BuildFailed(RuntimeError):
    """A program did not build; the message ends with the tail of Go's output."""


def cache_home() -> Path:
    """The folder of everything that is kept between runs: $FLEET_CACHE, else ~/.cache/worker-fleet."""
    return Path(os.environ.get("FLEET_CACHE", "~/.cache/worker-fleet")).expanduser().resolve()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on a file, made if missing; waits for whoever holds it, and says so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another run, which holds {path}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """One line of progress on standard error, at once."""
    print(text, file=sys.stderr, flush=True)


class Go:
    """The Go toolchain, working in the folder of one module. Raises GoMissing."""

    def __init__(self, module: Path) -> None:
        path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/local/go/bin"
        found = shutil.which("go", path=path)
        if found is None:
            raise GoMissing("no `go` on PATH or in Go's standard place: install Go 1.26 or newer")
        self.program = found
        self.module = module
        settings = {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
        self.env = os.environ | settings

    def run(self, *arguments: str) -> str:
        """What `go` printed, at low priority. Raises BuildFailed."""
        command = ["nice", self.program, *arguments]
        done = subprocess.run(
            command,
            check=False,
            cwd=self.module,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode:
            raise BuildFailed(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}")
        return done.stdout

    def download(self, *packages: str) -> int:
        """Fetch the modules that `packages` need, and no more; the number of packages. Raises BuildFailed."""
        for attempt in range(DOWNLOAD_TRIES):
            try:
                # `go mod download` would fetch every module of the graph.
                return len(self.run("list", "-mod=readonly", "-deps", *packages).splitlines())
            except BuildFailed:
                # The module proxy's name lookups time out on a loaded machine.
                if attempt == DOWNLOAD_TRIES - 1:
                    raise
                time.sleep(5)
        raise AssertionError("unreachable")


def program(module: Path, name: str, package: str, cost: str) -> Path:
    """The cached program `name`, which is built first, from `package` and in `cost`, if missing.

    `module` is the folder of the Go module that pins it. Raises GoMissing, BuildFailed.
    """
    go = Go(module)
    pins = b"".join(path.read_bytes() for path in sorted([*module.glob("go.*"), *module.glob("*.go")]))
    home = cache_home() / name / hashlib.sha256(pins + go.run("version").encode()).hexdigest()[:16]
    target = home / name
    if target.exists():
        return target
    with locked(home / "lock"):
        if not target.exists():
            say(f"building {name} with Go, once, {cost}, cached in {home}")
            began = time.monotonic()
            go.download(package)
            temp = target.with_suffix(".tmp")
            go.run("build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w", "-o", str(temp), package)
            temp.replace(target)
            say(f"built {name} in {time.monotonic() - began:.0f} s")
    return target
