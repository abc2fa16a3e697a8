"""What the tests of the client share: an authority, and settings that point at a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from app.core.config.temporal import TemporalSettings
from tests.parts.authority import Authority, Certificate


def settings(address: str, **more: Any) -> TemporalSettings:
    """Temporal at `address`; `more` are further keys of the section."""
    return TemporalSettings.model_validate({"address": address, "rpc_timeout_s": 5, **more})


def tls(authority: Authority, client: Certificate | None = None, **more: Any) -> dict[str, Any]:
    """Keys of temporal.tls."""
    keys: dict[str, Any] = {"server_ca_file": str(authority.cert), **more}
    if client:
        keys |= {"client_cert_file": str(client.cert), "client_key_file": str(client.key)}
    return keys


def put(target: Path, content: str | bytes) -> None:
    """Replace a file as a mounted Secret is replaced: another file under the same name."""
    fresh = target.with_name(f"{target.name}.fresh")
    fresh.write_bytes(content.encode() if isinstance(content, str) else content)
    fresh.replace(target)
