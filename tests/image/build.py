"""Builds the project's image with buildah, on the stand-in base, into an OCI archive that `ctr images import` reads."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.parts.building import cache_home, locked, say

from . import base
from .system import require, run, unmount_below

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "docker.io/library/worker-fleet:test"
"""In full: what the archive calls the image, and what a pod must ask for, with `imagePullPolicy: Never`."""

CONTEXT = ("app", "config.yaml", "requirements/runtime.txt")
"""What the Dockerfile copies; .dockerignore lets nothing else pass."""

_RECIPE = ("Dockerfile", ".dockerignore")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc")
_EPOCH = 1_767_225_600  # 2026-01-01, the time of everything in the image
_INPUTS = "inputs"
_KEPT = 4  # archives in the cache, about 100 MB each


def image_tar() -> Path:
    """An OCI archive of the image of the code as it is now, which it holds as IMAGE.

    Built first if missing: in about two minutes, or seconds when only the code is new. Raises Unavailable,
    CommandFailed.
    """
    require()
    made_on = base.base_tar()
    with _checkout() as checkout:
        return kept("", _key(checkout, made_on), checkout, made_on, base.NAME, IMAGE)


def kept(folder: str, key: str, inputs: Path, made_on: Path, on: str, name: str) -> Path:
    """The archive `key` of the cache's `folder`, built first if missing: image `name` of `inputs`.

    `made_on` is the archive of its base, which calls it `on`. Raises CommandFailed.
    """
    home = cache_home() / "image"
    target = home / folder / key / "image.tar"
    with locked(home / "lock"):
        if target.exists():
            # Those used last are kept.
            target.touch()
        else:
            say(f"building {name}, cached in {target.parent}")
            began = time.monotonic()
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(inputs, target.parent / _INPUTS, dirs_exist_ok=True)
            _build(inputs, made_on, target, home / "storage", on, name)
            size = target.stat().st_size / 2**20
            say(f"built it in {time.monotonic() - began:.0f} s, {size:.0f} MiB")
            _prune(home / folder)
    return target


def build_anew(archive: Path, target: Path) -> None:
    """Builds once more what `image_tar` has built, as another user on an empty machine would. Raises CommandFailed."""
    with tempfile.TemporaryDirectory(dir=target.parent) as temp:
        inputs = Path(temp) / _INPUTS
        shutil.copytree(archive.parent / _INPUTS, inputs)
        for path in inputs.rglob("*"):
            # A user with umask 077.
            path.chmod(path.stat().st_mode & 0o700)
            os.utime(path)
        _build(inputs, base.base_tar(), target, Path(temp) / "storage")


@contextmanager
def _checkout() -> Iterator[Path]:
    """A copy of the build's inputs: what is hashed is what is built, whoever edits meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        for name in (*_RECIPE, *CONTEXT):
            source, copy = ROOT / name, Path(folder) / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, copy, ignore=_LEFT_OUT)
            else:
                shutil.copy2(source, copy)
        yield Path(folder)


def _key(checkout: Path, made_on: Path) -> str:
    # The folder of the base is its key.
    held = hashlib.sha256(Path(__file__).read_bytes() + made_on.parent.name.encode())
    held.update(run(["buildah", "--version"]).encode())
    for path in sorted(path for path in checkout.rglob("*") if path.is_file()):
        content = path.read_bytes()
        held.update(f"{path.relative_to(checkout)} {len(content)}\n".encode() + content)
    return held.hexdigest()[:16]


def _build(checkout: Path, made_on: Path, target: Path, storage: Path, on: str = base.NAME, name: str = IMAGE) -> None:
    """`storage` is buildah's own here: the machine's images and containers are left alone."""
    how = ["--isolation", "chroot", "--network", "host", "--layers", "--pull-never", "--timestamp", str(_EPOCH)]
    temp = target.with_name("image.tmp")
    temp.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as runroot:
        buildah = ["buildah", "--root", str(storage), "--runroot", runroot]
        try:
            # The containers of a build that failed.
            run([*buildah, "rm", "--all"])
            run([*buildah, "pull", "--quiet", f"oci-archive:{made_on}"])
            run([*buildah, "build", *how, "--build-arg", f"BASE={on}", "--tag", name, str(checkout)])
            run([*buildah, "push", "--quiet", name, f"oci-archive:{temp}:{name}"])
        except BaseException:
            # They are left mounted.
            unmount_below(storage)
            raise
    temp.replace(target)


def _prune(home: Path) -> None:
    """Keeps the archives that were used last, and nothing of builds that failed."""
    archives = sorted(home.glob("*/image.tar"), key=lambda path: path.stat().st_mtime, reverse=True)
    kept = [path.parent for path in archives[:_KEPT]]
    for inputs in home.glob(f"*/{_INPUTS}"):
        if inputs.parent not in kept:
            shutil.rmtree(inputs.parent)
