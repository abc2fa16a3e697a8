"""An image of a team's own, built FROM the tested one: one more package beside `app`, with one more task queue."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from .build import IMAGE, ROOT, kept

DERIVED = "docker.io/library/worker-fleet:mails"
QUEUE = "mails"

_SOURCES = sorted((ROOT / "tests/apps/mails").glob("*.py"))
_PACKAGES = '["app.worker.workflows", "app.worker.activities", "mails"]'
_DOCKERFILE = f"""\
ARG BASE
FROM ${{BASE}}
COPY mails /srv/fleet/mails
ENV FLEET_TEMPORAL__WORKER__PACKAGES='{_PACKAGES}'
"""


def derived_tar(made_on: Path) -> Path:
    """An OCI archive of DERIVED, on the image of the archive `made_on`. Raises CommandFailed."""
    # The folder of an archive is its key.
    held = hashlib.sha256(f"{made_on.parent.name}\n{_DOCKERFILE}".encode())
    for source in _SOURCES:
        held.update(f"{source.name}\n".encode() + source.read_bytes())
    key = held.hexdigest()[:16]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "mails")
        package.mkdir()
        for source in _SOURCES:
            (package / source.name).write_bytes(source.read_bytes())
            # As the image's user must read it, whatever the umask here.
            (package / source.name).chmod(0o644)
        package.chmod(0o755)
        Path(folder, "Dockerfile").write_text(_DOCKERFILE)
        return kept("derived", key, Path(folder), made_on, IMAGE, DERIVED)


def derived_manifest() -> str:
    """The manifest of DERIVED, as its author makes it without the image: from the same code."""
    command = ["queues", "--manifest", f"--image-repository={DERIVED.split('/')[-1].split(':')[0]}"]
    environment = {"PYTHONPATH": str(ROOT / "tests/apps"), "FLEET_TEMPORAL__WORKER__PACKAGES": _PACKAGES}
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *command],
        cwd=ROOT,
        env=os.environ | environment,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
