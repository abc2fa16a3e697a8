"""A stand-in for the base image, where no registry can be reached: Debian's minimum and its Python, from apt's sources.

It is the same release of Debian and the same minor version of Python as the official image that the Dockerfile names,
and like that one it comes without the standard library's bytecode. It is for tests alone: it also trusts the
certificates that this machine's owner has added, so that pip can verify whom it talks to during a build.
"""

from __future__ import annotations

import hashlib
import platform
import shlex
import shutil
import tempfile
import time
from pathlib import Path

from tests.parts.building import cache_home, locked, say

from .system import Unavailable, run

SUITE = "trixie"
PYTHON = "3.13"
NAME = "localhost/worker-fleet-base:stand-in"
_PACKAGES = "ca-certificates,netbase,tzdata,python3,python3-venv"
_LEFT_OUT = ("/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/man/*")
_CERTIFICATES = Path("/usr/local/share/ca-certificates")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MAIN = ("Debian", "main")
_ENV_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def base_tar() -> Path:
    """The base image as an OCI archive, built first (about two minutes) if missing. Raises Unavailable, CommandFailed.

    Call `system.require` before.
    """
    home = cache_home() / "image-base" / _key()
    target = home / "base.tar"
    if target.exists():
        return target
    with locked(home / "lock"):
        if not target.exists():
            _build(target)
    return target


def _certificates() -> list[Path]:
    return sorted(_CERTIFICATES.rglob("*.crt"))


def _key() -> str:
    held = hashlib.sha256(Path(__file__).read_bytes() + platform.machine().encode())
    for path in _certificates():
        held.update(path.read_bytes())
    return held.hexdigest()[:16]


def _sources() -> list[str]:
    """apt's own sources of this machine, for SUITE instead of its own release."""
    if not _KEYRING.exists():
        raise Unavailable(f"there is no {_KEYRING} to verify Debian {SUITE} with: install debian-archive-keyring")
    wanted = ["--format", "$(ORIGIN) $(COMPONENT) $(REPO_URI) $(CODENAME)", "Created-By: Packages"]
    lines = [line.split() for line in run(["apt-get", "indextargets", *wanted]).splitlines()]
    found = sorted({(uri, codename) for origin, component, uri, codename in lines if (origin, component) == _MAIN})
    if not found:
        raise Unavailable("none of apt's sources is a Debian's: there is nothing to make the stand-in base image from")
    # bookworm, bookworm-updates, bookworm-security -> trixie, trixie-updates, trixie-security
    suites = [(uri, SUITE + codename[len(codename.partition("-")[0]) :]) for uri, codename in found]
    return [f"deb [signed-by={_KEYRING}] {uri} {suite} main" for uri, suite in suites]


def _build(target: Path) -> None:
    sources = _sources()
    say(f"making the stand-in base image, Debian {SUITE} with Python {PYTHON}, once, cached in {target.parent}")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=target.parent) as temp:
        root = Path(temp) / "root.tar"
        _bootstrap(root, sources, Path(temp))
        say(f"  {time.monotonic() - began:.0f} s: its files are here")
        packed = Path(temp) / "base.tar"
        _pack(root, packed)
        packed.replace(target)
    say(f"made the stand-in base image in {time.monotonic() - began:.0f} s, {target.stat().st_size / 2**20:.0f} MiB")


def _bootstrap(target: Path, sources: list[str], temp: Path) -> None:
    certificates = temp / "certificates"
    certificates.mkdir()
    for path in _certificates():
        shutil.copy(path, certificates)
    hooks = [
        f'cp -r {shlex.quote(str(certificates))}/. "$1"/usr/local/share/ca-certificates/',
        'chroot "$1" update-ca-certificates',
        'find "$1"/usr -name __pycache__ -prune -exec rm -r {} +',
        'rm -rf "$1"/var/log/* "$1"/var/cache/debconf/* "$1"/var/cache/ldconfig/*',
    ]
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", f"--include={_PACKAGES}"]
    command += [f"--dpkgopt=path-exclude={path}" for path in _LEFT_OUT]
    command += [f"--customize-hook={hook}" for hook in hooks]
    # The epoch makes times and file order the same at each call.
    run([*command, SUITE, str(target), *sources], SOURCE_DATE_EPOCH="0", TMPDIR=str(temp))


def _pack(root: Path, target: Path) -> None:
    buildah = ["buildah", "--root", str(target.parent / "storage"), "--runroot", str(target.parent / "run")]
    made = run([*buildah, "from", "scratch"]).strip()
    run([*buildah, "add", "--quiet", made, str(root), "/"])
    run([*buildah, "config", "--env", f"PATH={_ENV_PATH}", "--cmd", "python3", made])
    # The archive holds the name that buildah gives the image when it reads it again.
    run([*buildah, "commit", "--quiet", "--timestamp", "0", made, f"oci-archive:{target}:{NAME}"])
    run([*buildah, "rm", made])
