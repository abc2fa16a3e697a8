"""Container images made from a few files: an OCI layout in a tar, the same bytes at each call."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

_ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}
_FULL_NAME = "io.containerd.image.name"


def write(target: Path, name: str, files: dict[str, Path], entrypoint: list[str]) -> Path:
    """Writes the image `name` (in full, with its tag) of `files` (path in the image: source) to the tar `target`."""
    layer = _tar({path: source.read_bytes() for path, source in files.items()}, mode=0o755)
    config = {
        "architecture": _ARCHITECTURE[platform.machine()],
        "os": "linux",
        # A number: "runAsNonRoot" can't judge a name.
        "config": {"Entrypoint": entrypoint, "User": "65532:65532"},
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
    }
    blobs: dict[str, bytes] = {}
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _blob(blobs, "application/vnd.oci.image.config.v1+json", _json(config)),
        "layers": [_blob(blobs, "application/vnd.oci.image.layer.v1.tar", layer)],
    }
    described = _blob(blobs, "application/vnd.oci.image.manifest.v1+json", _json(manifest))
    described["annotations"] = {
        _FULL_NAME: name,
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    index = {"schemaVersion": 2, "manifests": [described]}
    layout = {"oci-layout": _json({"imageLayoutVersion": "1.0.0"}), "index.json": _json(index)}
    target.write_bytes(_tar(layout | blobs, mode=0o644))
    return target


def _blob(blobs: dict[str, bytes], media_type: str, content: bytes) -> dict[str, object]:
    digest = _digest(content)
    blobs["blobs/" + digest.replace(":", "/")] = content
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w") as tar:
        for path, content in files.items():
            # Times and owners stay 0: the image's digest depends on its files alone.
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(content)
            entry.mode = mode
            tar.addfile(entry, io.BytesIO(content))
    return held.getvalue()


def names(tar: Path) -> list[str]:
    """The full names of the images in a tar, as write() makes it or `docker save`. Raises ValueError without any."""
    with tarfile.open(tar) as opened:
        members = set(opened.getnames())

        def read(member: str) -> Any:
            content = opened.extractfile(member)
            assert content
            return json.load(content)

        found: list[str] = []
        if "index.json" in members:
            notes = [each.get("annotations", {}) for each in read("index.json")["manifests"]]
            found = [each[_FULL_NAME] for each in notes if _FULL_NAME in each]
        if not found and "manifest.json" in members:
            found = [name for each in read("manifest.json") for name in each["RepoTags"] or []]
    if not found:
        raise ValueError(f"{tar} does not say the name of its image")
    return found
