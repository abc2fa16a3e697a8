"""What image tests need of the machine: leave to change it, root, and a few programs of Debian."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.parts import apt

LEAVE = "FLEET_TEST_CLUSTER"
"""Set to "build" it allows to install programs system-wide: the same word as for the test cluster."""

CLUSTER_GIVEN = "FLEET_TEST_CONTEXT"

# program: its Debian package.
_PROGRAMS = {
    "buildah": "buildah",
    "mmdebstrap": "mmdebstrap",
    "runc": "runc",
    "unshare": "util-linux",
    "umount": "mount",
}
# Where a plain user's PATH does not look.
PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


class Unavailable(RuntimeError):
    """Images can't be built on this machine, or not without leave; the message says why."""


class CommandFailed(RuntimeError):
    """A program failed; the message ends with the tail of its output."""


def require() -> None:
    """Installs the programs that are missing, if leave is given. Raises Unavailable, CommandFailed.

    A cluster of the user's needs the image as well: for it one is built where nothing is missing.
    """
    may_install = os.environ.get(LEAVE) == "build"
    if not may_install and not os.environ.get(CLUSTER_GIVEN):
        raise Unavailable(f"building an image may install programs system-wide: set {LEAVE}=build to allow it")
    if not may_install and _missing():
        raise Unavailable(f"not installed, and with {CLUSTER_GIVEN} nothing is: {' '.join(_missing())}")
    if os.geteuid() != 0:
        raise Unavailable("building an image with buildah and running it with runc needs root here")
    if shutil.which("apt-get") is None:
        raise Unavailable("the stand-in base image is a Debian: it is made from apt's sources, and there is no apt-get")
    _install(_missing())


def _missing() -> list[str]:
    return sorted({package for program, package in _PROGRAMS.items() if shutil.which(program, path=PATH) is None})


def _install(packages: list[str]) -> None:
    if not packages:
        return
    try:
        apt.install(packages)
    except apt.AptFailed as error:
        raise CommandFailed(str(error)) from error
    if missing := _missing():
        raise CommandFailed(f"still missing after apt-get: {' '.join(missing)}")


def run(command: Sequence[str], **env: str) -> str:
    """Its standard output. Runs at low priority, with `env` added to the environment. Raises CommandFailed."""
    done = subprocess.run(
        ["nice", *command],
        check=False,
        env=os.environ | {"PATH": PATH, "DEBIAN_FRONTEND": "noninteractive"} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CommandFailed(
            f"{' '.join(command)}: exit {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )
    return done.stdout


def unmount_below(folder: Path) -> None:
    """Unmounts all that is mounted at or below a folder, last first. Raises CommandFailed."""
    targets = [Path(line.split()[1]) for line in Path("/proc/self/mounts").read_text().splitlines()]
    for target in reversed([each for each in targets if each.is_relative_to(folder)]):
        run(["umount", str(target)])
