"""An image of a team's own, built FROM the tested one: one more package beside `app`, with one more task queue."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from .build import IMAGE, ROOT, kept

DERIVED = "docker.io/library/worker-fleet:mails"
QUEUE = "mails"

_SOURCE = ROOT / "tests/apps/mails/__init__.py"
_DOCKERFILE = """\
ARG BASE
FROM ${BASE}
COPY mails /srv/fleet/mails
ENV FLEET_TEMPORAL__WORKER__PACKAGES='["app.worker.workflows", "app.worker.activities", "mails"]'
"""


def derived_tar(made_on: Path) -> Path:
    """An OCI archive of DERIVED, on the image of the archive `made_on`. Raises CommandFailed."""
    # The folder of an archive is its key.
    key = hashlib.sha256(f"{made_on.parent.name}\n{_DOCKERFILE}".encode() + _SOURCE.read_bytes()).hexdigest()[:16]
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "mails")
        package.mkdir()
        (package / "__init__.py").write_bytes(_SOURCE.read_bytes())
        Path(folder, "Dockerfile").write_text(_DOCKERFILE)
        # As the image's user must read it, whatever the umask here.
        package.chmod(0o755)
        (package / "__init__.py").chmod(0o644)
        return kept("derived", key, Path(folder), made_on, IMAGE, DERIVED)
