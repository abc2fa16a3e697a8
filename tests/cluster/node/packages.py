"""The system's programs that the node needs, and their installation."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from tests.parts import apt

# program: its Debian package.
_PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "iptables-save": "iptables",
    "ip": "iproute2",
    "openssl": "openssl",
    "unshare": "util-linux",
    "mount": "mount",
}
_CNI_PACKAGE = "containernetworking-plugins"
_CNI_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"))
# Where a plain user's PATH does not look.
PATH = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"


class PackagesMissing(RuntimeError):
    """Programs of the system are missing and can't be installed from here."""


def cni_folder() -> Path | None:
    """The folder of the network plugins, None when they are not installed."""
    return next((each for each in _CNI_FOLDERS if (each / "ptp").exists() and (each / "host-local").exists()), None)


def missing() -> list[str]:
    """The Debian packages of what is not installed, in alphabetical order."""
    packages = {package for program, package in _PROGRAMS.items() if shutil.which(program, path=PATH) is None}
    return sorted(packages if cni_folder() else packages | {_CNI_PACKAGE})


def install() -> None:
    """Installs what is missing with apt-get, and says what. Call it only when the user asked for a node.

    Raises PackagesMissing without apt-get or when it fails.
    """
    wanted = missing()
    if not wanted:
        return
    names = " ".join(wanted)
    if shutil.which("apt-get") is None:
        raise PackagesMissing(f"a node needs these programs of the system, named as Debian's packages: {names}")
    try:
        apt.install(wanted)
    except apt.AptFailed as error:
        raise PackagesMissing(str(error)) from error
    if missing():
        raise PackagesMissing(f"still missing after apt-get: {' '.join(missing())}")
