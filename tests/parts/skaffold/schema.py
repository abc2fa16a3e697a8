"""Skaffold's own JSON schema of skaffold.yaml, from its Go module: downloaded once, verified and kept in the cache.

Rejected: a copy in the repository, which is somebody else's text, and Skaffold itself, whose build takes many minutes.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from tests.parts.building import DOWNLOAD_TRIES, BuildFailed, Go, cache_home, locked, say

_MODULE = "github.com/GoogleContainerTools/skaffold/v2"
_VERSION = "v2.16.1"
# As a go.sum has it: of the module's whole content.
_SUM = "h1:eMrp2qpn/5j2c1P/JqLo+mxcpEIdtokb/tCY2W/05ic="
_SCHEMAS = "docs-v2/content/en/schemas"


def schema(api_version: str) -> dict[str, Any]:
    """The schema of an `apiVersion`, such as skaffold/v4beta13. Raises GoMissing, BuildFailed."""
    home = cache_home() / "skaffold" / _VERSION
    with locked(home / "lock"):
        if not (home / _SCHEMAS).exists():
            _download(home)
    found: dict[str, Any] = json.loads((home / _SCHEMAS / f"{api_version.rpartition('/')[2]}.json").read_text())
    return found


def _download(home: Path) -> None:
    go = Go(home)
    say(f"downloading {_MODULE} {_VERSION} with Go (45 MB), once; its schemas are kept in {home}")
    with tempfile.TemporaryDirectory(dir=home) as folder:
        # Not the user's own module cache: 140 MB for a few files.
        go.env = go.env | {"GOMODCACHE": folder}
        found = json.loads(_ask(go, "mod", "download", "-modcacherw", "-json", f"{_MODULE}@{_VERSION}"))
        if found["Sum"] != _SUM:
            raise BuildFailed(f"{_MODULE} {_VERSION} has the sum {found['Sum']}, not {_SUM}")
        temp = Path(folder, "schemas")
        shutil.copytree(Path(found["Dir"], _SCHEMAS), temp)
        (home / _SCHEMAS).parent.mkdir(parents=True, exist_ok=True)
        temp.replace(home / _SCHEMAS)


def _ask(go: Go, *arguments: str) -> str:
    for _ in range(DOWNLOAD_TRIES - 1):
        try:
            return go.run(*arguments)
        except BuildFailed:
            # As in Go.download.
            continue
    return go.run(*arguments)
