"""Builds the node's programs once from their Go module: the node itself, the pods' pause and the tests' probe."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_SAY_EACH_S = 30.0
VERSION = "v1.36.3"
# program: the package it is built from. kubenode comes last: it takes the minutes.
_PROGRAMS = {"pause": "./pause", "probe": "./probe", "kubenode": "."}
# Without its version the API server takes itself for 0.0 and refuses its own features.
_STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
_STAMP = {
    "gitVersion": VERSION,
    "gitMajor": "1",
    "gitMinor": "36",
    "gitTreeState": "clean",
    "gitCommit": "0" * 40,
    "buildDate": "2026-01-01T00:00:00Z",
}


class GoMissing(RuntimeError):
    """There is no Go toolchain to build the node with."""


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


def programs() -> Path:
    """The folder with `kubenode`, `pause` and `probe`, built first (about 10 CPU minutes) if missing.

    Raises GoMissing, BuildFailed.
    """
    go = _go()
    env = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false", "GOWORK": "off", "CGO_ENABLED": "0"}
    home = cache_home() / "kubenode" / _key(_run([go, "version"], env))
    # Each program appears whole, by a rename, and this one last.
    if (home / "kubenode").exists():
        return home
    with locked(home / "lock"):
        if not (home / "kubenode").exists():
            _build(go, env, home)
    return home


def _go() -> str:
    path = os.environ.get("PATH", os.defpath) + os.pathsep + "/usr/local/go/bin"
    go = shutil.which("go", path=path)
    if go is None:
        raise GoMissing("no `go` on PATH or in Go's standard place: install Go 1.26 or newer")
    return go


def _flags() -> list[str]:
    stamp = " ".join(f"-X {package}.{name}={value}" for package in _STAMPED for name, value in _STAMP.items())
    return ["-mod=readonly", "-trimpath", "-tags", "providerless", "-ldflags", f"-s -w {stamp}"]


def _key(go_version: str) -> str:
    pins = hashlib.sha256("\n".join([go_version, *_flags()]).encode())
    for path in sorted([*_HERE.glob("go.*"), *_HERE.rglob("*.go")]):
        pins.update(path.read_bytes())
    return pins.hexdigest()[:16]


def _run(command: list[str], env: dict[str, str]) -> str:
    done = subprocess.run(
        command,
        check=False,
        cwd=_HERE,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        raise BuildFailed(f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def _build(go: str, env: dict[str, str], home: Path) -> None:
    say(f"building Kubernetes {VERSION} with Go, once, about 10 CPU minutes, cached in {home}")
    began = time.monotonic()
    packages = _download(go, env)
    say(f"  {time.monotonic() - began:.0f} s: its modules are here")
    for program, package in _PROGRAMS.items():
        temp = home / f"{program}.tmp"
        _compile(["nice", go, "build", "-v", *_flags(), "-o", str(temp), package], env, packages)
        temp.replace(home / program)
        say(f"  {time.monotonic() - began:.0f} s: built {program}")


def _compile(command: list[str], env: dict[str, str], packages: int) -> None:
    """Runs a build that names each package as it comes to it, and says every 30 s how far it is."""
    began = said = time.monotonic()
    tail: deque[str] = deque(maxlen=100)
    with subprocess.Popen(
        command,
        cwd=_HERE,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as running:
        assert running.stdout
        for count, line in enumerate(running.stdout, 1):
            tail.append(line)
            if time.monotonic() - said >= _SAY_EACH_S:
                said = time.monotonic()
                say(f"  {said - began:.0f} s: compiled {count} packages of {packages}, less those of earlier builds")
    if running.returncode:
        raise BuildFailed(f"{' '.join(command)}: exit {running.returncode}\n{''.join(tail)[-4000:]}")


def _download(go: str, env: dict[str, str]) -> int:
    """The number of packages of all programs, whose modules it downloads."""
    # `go mod download` would fetch every module of the graph; this fetches those that the programs need.
    for attempt in range(3):
        try:
            listed = _run(["nice", go, "list", "-mod=readonly", "-deps", "-tags", "providerless", "./..."], env)
            return len(listed.splitlines())
        except BuildFailed:
            # The module proxy's name lookups time out on a loaded machine.
            if attempt == 2:
                raise
            time.sleep(5)
    raise AssertionError("unreachable")
