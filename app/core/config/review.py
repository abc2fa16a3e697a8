"""What the model cannot see for itself: files that are not there (an error), and settings that are legal but unwise.

A warning never stops a process. `serve` and the commands print them, so that who set the value learns what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from app.core.config.model import Settings
from app.core.config.resolve import Loc


def unreadable_files(settings: Settings) -> Iterator[tuple[Loc, str, str]]:
    """Files of certificates and keys that cannot be read: (path in config.yaml, sentence, remedy)."""
    temporal = settings.temporal
    if not temporal.enabled:
        return
    files: dict[Loc, str] = {("temporal", "api_key_file"): temporal.api_key_file}
    if temporal.tls.enabled is not False:
        for name in ("server_ca_file", "client_cert_file", "client_key_file"):
            files["temporal", "tls", name] = getattr(temporal.tls, name)
    for loc, name in files.items():
        if not name:
            continue
        try:
            if not Path(name).read_bytes().strip():
                yield loc, f"the file {name} is empty", "Write the certificate or key into it."
        except OSError as error:
            yield loc, f"the file {name} cannot be read: {error.strerror}", "Mount it, mend the path, or its rights."


def twice_authorized(settings: Settings) -> Iterator[tuple[Loc, str, str]]:
    """An API key beside a header that the SDK would send in its place: (path in config.yaml, sentence, remedy)."""
    temporal = settings.temporal
    if temporal.enabled and "authorization" in temporal.grpc_metadata and (temporal.api_key or temporal.api_key_file):
        key = "api_key" if temporal.api_key else "api_key_file"
        fact = f"{key} and grpc_metadata.authorization both fill the header authorization"
        yield ("temporal",), fact, "Leave one out; grpc_metadata.authorization is for what is no API key of Temporal."


def warnings(settings: Settings) -> list[str]:
    """One sentence for each setting that is legal and will be regretted."""
    return [*_single_attempts(settings), *_secrets_in_the_clear(settings)]


def _single_attempts(settings: Settings) -> Iterator[str]:
    why = "a worker that leaves in the middle of it (a deploy, a scale-down) fails it for good; 2 or more survive that"
    if settings.temporal.activities.retry.maximum_attempts == 1:
        yield f"temporal.activities.retry.maximum_attempts is 1 for every activity: {why}"
    tables: dict[str, Mapping[str, Any]] = {
        **{f"temporal.activity.{name}": override for name, override in settings.temporal.activity.items()},
        **{f"queues.{queue}.activities": override.activities for queue, override in settings.queues.items()},
    }
    for path, override in tables.items():
        # Numbers may come as text, from a variable.
        if str(override.get("retry", {}).get("maximum_attempts", "")) == "1":
            yield f"{path}.retry.maximum_attempts is 1: {why}"


def _secrets_in_the_clear(settings: Settings) -> Iterator[str]:
    temporal = settings.temporal
    if temporal.tls.enabled is False and (temporal.api_key or temporal.api_key_file):
        yield "temporal.tls.enabled is false: the API key goes over the network unencrypted"
