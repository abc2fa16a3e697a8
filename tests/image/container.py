"""Runs the image the way a pod of the chart does: runc, a read-only root, no rights, and not as process 1.

Another process is the first of its process namespace, as the pause of a pod that shares its namespace is. The network
is the machine's own, so that a container reaches a Temporal server of the tests.
"""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .system import PATH, run

_START_LIMIT_S = 30.0


@dataclass(frozen=True)
class Image:
    """An image unpacked: its root file system, and what its author says about it."""

    root: Path
    id: str
    config: dict[str, Any]
    layers: list[Path]


def image_id(archive: Path) -> str:
    """The digest of an OCI archive's only image: that of its configuration, which names the content of each layer."""
    with tarfile.open(archive) as tar:
        return str(_manifest(tar)["config"]["digest"])


def unpack(archive: Path, folder: Path) -> Image:
    """Unpacks an OCI archive into an empty folder, with owners and modes as they are in it."""
    run(["tar", "--extract", "--file", str(archive), "--directory", str(folder)])
    with tarfile.open(archive) as tar:
        manifest = _manifest(tar)
    root = folder / "root"
    root.mkdir()
    layers = [_blob(folder, layer["digest"]) for layer in manifest["layers"]]
    for layer in layers:
        options = ["--numeric-owner", "--preserve-permissions", "--directory", str(root)]
        run(["tar", "--extract", "--file", str(layer), *options])
    # tar does not know of files that a layer deletes; ours deletes none.
    assert not list(root.rglob(".wh.*")), "a layer of the image deletes files of those below it"
    digest = str(manifest["config"]["digest"])
    return Image(root, digest, json.loads(_blob(folder, digest).read_bytes())["config"], layers)


def _manifest(tar: tarfile.TarFile) -> dict[str, Any]:
    [described] = _json(tar, "index.json")["manifests"]
    return _json(tar, "blobs/" + described["digest"].replace(":", "/"))


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    held = tar.extractfile(name)
    assert held is not None
    found: dict[str, Any] = json.load(held)
    return found


def _blob(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest.replace(":", "/")


@dataclass
class Container:
    """A container that runs; `log` holds what it writes to standard output and error."""

    runc: subprocess.Popen[bytes]
    pid: int
    log: Path

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self, timeout_s: float = 60.0) -> int:
        """Its exit code, 128 and more when a signal ended it."""
        return self.runc.wait(timeout_s)

    def expect(self, text: str, timeout_s: float = _START_LIMIT_S) -> None:
        """Waits until it has written `text`. Raises AssertionError with all that it wrote."""
        deadline = time.monotonic() + timeout_s
        while text not in self.output():
            if self.runc.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{text!r} is not in what the container wrote:\n{self.output()}")
            time.sleep(0.02)


@contextmanager
def started(image: Image, argv: Sequence[str] = (), env: Mapping[str, str] | None = None) -> Iterator[Container]:
    """Runs `argv`, else the image's own command; yields when its program is running, kills what is left at the end."""
    with tempfile.TemporaryDirectory() as temp, _namespace() as first:
        bundle = Path(temp)
        spec = _spec(image, list(argv) or image.config["Cmd"], env or {}, first)
        (bundle / "config.json").write_text(json.dumps(spec))
        name = f"fleet-{uuid.uuid4().hex[:12]}"
        with (bundle / "log").open("wb") as log:
            options = ["--root", bundle / "runc", "run", "--bundle", bundle, "--pid-file", bundle / "pid", name]
            process = subprocess.Popen(
                ["runc", *map(str, options)], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": PATH}
            )
        try:
            yield Container(process, _program(process, bundle, spec["process"]["args"]), bundle / "log")
        finally:
            if process.poll() is None:
                run(["runc", "--root", str(bundle / "runc"), "delete", "--force", name])
            process.wait()


@contextmanager
def _namespace() -> Iterator[int]:
    """A process namespace whose first process waits; yields that one's number out here."""
    unshare = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "sleep", "infinity"])
    try:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        deadline = time.monotonic() + _START_LIMIT_S
        while not (found := children.read_text().split()):
            assert unshare.poll() is None, "unshare ended at once"
            assert time.monotonic() < deadline, "unshare started nothing"
            time.sleep(0.01)
        yield int(found[0])
    finally:
        unshare.kill()
        unshare.wait()


def _program(process: subprocess.Popen[bytes], bundle: Path, argv: list[str]) -> int:
    """Waits until the container's first process has become `argv`; its number out here."""
    deadline = time.monotonic() + _START_LIMIT_S
    while time.monotonic() < deadline:
        try:
            pid = int((bundle / "pid").read_text())
            if argv[-1].encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                return pid
        except (OSError, ValueError):
            pass
        if process.poll() is not None:
            # Over before we looked: for a caller that only wants its output and exit code.
            return 0
        time.sleep(0.001)
    raise AssertionError(f"the container did not start:\n{(bundle / 'log').read_text()}")


def _spec(image: Image, argv: list[str], env: Mapping[str, str], first: int) -> dict[str, Any]:
    uid, gid = map(int, image.config["User"].split(":"))
    shared = {"type": "pid", "path": f"/proc/{first}/ns/pid"}
    writable = ["nosuid", "nodev", "mode=1777"]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "user": {"uid": uid, "gid": gid},
            "args": argv,
            "env": [*image.config["Env"], *(f"{name}={value}" for name, value in env.items())],
            "cwd": image.config["WorkingDir"],
            "noNewPrivileges": True,
        },
        "root": {"path": str(image.root), "readonly": True},
        "hostname": "fleet",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
            {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": writable},
            {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": writable},
        ],
        "linux": {"namespaces": [shared, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}]},
    }
