"""How to reach the embedded server: its address and nothing else, whatever the machine says of another one.

A profile of temporal.toml or TEMPORAL_* variables are there for the `temporal` command line, and may well hold a cloud
account's key: `fleet dev` must neither fail for want of TLS nor hand that key to a local server.
"""

from __future__ import annotations

import os
from typing import Any

from pydantic import SecretStr

from app.core.config import sdk
from app.core.config.model import TlsSettings

CONNECTION: dict[str, Any] = {
    "enabled": True,
    "profile": "",
    "tls": TlsSettings(enabled=False),
    "api_key": SecretStr(""),
    "api_key_file": "",
    "grpc_metadata": {},
}
"""Settings of section temporal for a client in this process."""

VARIABLES = {
    "FLEET_TEMPORAL__ENABLED": "true",
    "FLEET_TEMPORAL__PROFILE": "default",
    "FLEET_TEMPORAL__TLS__ENABLED": "false",
}
"""The same for child processes."""


def forget_connection() -> None:
    """Take the SDK's variables out of this process and so out of all its children."""
    for name in list(os.environ):
        is_connection = sdk.NAMES.get(name, ("temporal", "worker"))[1] != "worker"
        if is_connection or name.startswith(sdk.METADATA_PREFIX):
            del os.environ[name]
    # A file that is there and says nothing: `default` is the one profile that need not be in it.
    os.environ[sdk.FILE_VARIABLE] = os.devnull
