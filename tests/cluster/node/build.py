"""Builds the node's programs once from their Go module: the node itself, the pods' pause and the tests' probe."""

from __future__ import annotations

import hashlib
import subprocess
import time
from collections import deque
from pathlib import Path

from tests.parts.building import BuildFailed, Go, cache_home, locked, say

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


def programs() -> Path:
    """The folder with `kubenode`, `pause` and `probe`, built first (about 10 CPU minutes) if missing.

    Raises GoMissing, BuildFailed.
    """
    go = Go(_HERE)
    home = cache_home() / "kubenode" / _key(go.run("version"))
    # Each program appears whole, by a rename, and this one last.
    if (home / "kubenode").exists():
        return home
    with locked(home / "lock"):
        if not (home / "kubenode").exists():
            _build(go, home)
    return home


def _flags() -> list[str]:
    stamp = " ".join(f"-X {package}.{name}={value}" for package in _STAMPED for name, value in _STAMP.items())
    return ["-mod=readonly", "-trimpath", "-tags", "providerless", "-ldflags", f"-s -w {stamp}"]


def _key(go_version: str) -> str:
    pins = hashlib.sha256("\n".join([go_version, *_flags()]).encode())
    for path in sorted([*_HERE.glob("go.*"), *_HERE.rglob("*.go")]):
        pins.update(path.read_bytes())
    return pins.hexdigest()[:16]


def _build(go: Go, home: Path) -> None:
    say(f"building Kubernetes {VERSION} with Go, once, about 10 CPU minutes, cached in {home}")
    began = time.monotonic()
    packages = go.download("-tags", "providerless", "./...")
    say(f"  {time.monotonic() - began:.0f} s: its modules are here")
    for program, package in _PROGRAMS.items():
        temp = home / f"{program}.tmp"
        _compile(go, ["build", "-v", *_flags(), "-o", str(temp), package], packages)
        temp.replace(home / program)
        say(f"  {time.monotonic() - began:.0f} s: built {program}")


def _compile(go: Go, arguments: list[str], packages: int) -> None:
    """Runs a build that names each package as it comes to it, and says every 30 s how far it is."""
    command = ["nice", go.program, *arguments]
    began = said = time.monotonic()
    tail: deque[str] = deque(maxlen=100)
    with subprocess.Popen(
        command,
        cwd=_HERE,
        env=go.env,
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
