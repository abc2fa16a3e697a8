"""apt-get, the one way in which tests install anything system-wide. Call it only with the user's leave."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from tests.parts.building import cache_home, locked, say


class AptFailed(RuntimeError):
    """apt-get failed; the message ends with the tail of its output."""


def install(packages: Sequence[str]) -> None:
    """Install Debian `packages`, one call at a time on this machine. Raises AptFailed."""
    # apt-get waits for dpkg's lock when it is asked to, and for that of its lists never.
    with locked(cache_home() / "apt.lock"):
        say(f"installing with apt-get, system-wide: {' '.join(packages)} and what they depend on")
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["nice", "apt-get", "--quiet", "--option", "DPkg::Lock::Timeout=300", *command],
                check=False,
                env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            if done.returncode:
                raise AptFailed(f"apt-get {' '.join(command)}: exit {done.returncode}\n{done.stdout[-2000:]}")
