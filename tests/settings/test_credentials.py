"""Settings that let a client in or not: a server behind TLS that asks for a certificate and for an API key.

Every key is changed alone, in settings that are let in: with the right value the server and the namespace answer, with
another one they do not. File names are those of the test's folder; a value that begins with @ is what the file holds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.config.model import Settings
from app.core.config.resolve import lay_over
from app.core.services.temporal.temporal_client import TemporalClientService
from tests.parts.authority import Authority
from tests.parts.grpc_proxy import grpc_proxy
from tests.settings.case import SIDES, Case, case, check, data

LET_IN = (True, False)
FILES = {"server_ca_file": "authority.crt", "client_cert_file": "own.crt", "client_key_file": "own.key"}
TEXTS = {"server_ca_data": "@authority.crt", "client_cert_data": "@own.crt", "client_key_data": "@own.key"}

CASES = (
    case("temporal.enabled", True, False, seen=LET_IN),
    case("temporal.api_key", "the-key", "another", seen=LET_IN),
    case("temporal.api_key_file", "the-key.txt", "another.txt", seen=LET_IN),
    case("temporal.grpc_metadata", {"authorization": "Bearer the-key"}, {"authorization": "Bearer no"}, seen=LET_IN),
    case("temporal.tls.enabled", True, False, seen=LET_IN),
    case("temporal.tls.server_name", "localhost", "elsewhere.example", seen=LET_IN),
    case("temporal.tls.server_ca_file", "authority.crt", "stranger.crt", seen=LET_IN),
    case("temporal.tls.client_cert_file", "own.crt", "foreign.crt", seen=LET_IN),
    case("temporal.tls.client_key_file", "own.key", "foreign.key", seen=LET_IN),
    case("temporal.tls.server_ca_data", "@authority.crt", "@stranger.crt", seen=LET_IN),
    case("temporal.tls.client_cert_data", "@own.crt", "@foreign.crt", seen=LET_IN),
    case("temporal.tls.client_key_data", "@own.key", "@foreign.key", seen=LET_IN),
)


@pytest.fixture(scope="module")
def front(temporal_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The server's address and the folder of the files."""
    folder = tmp_path_factory.mktemp("credentials")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    authority.issue("own")
    stranger.issue("foreign")
    for key in ("the-key", "another"):
        (folder / f"{key}.txt").write_text(f"{key}\n")
    server = authority.issue("server")
    with grpc_proxy(
        temporal_address, certificate=server, client_authority=authority.cert, api_key="the-key"
    ) as running:
        yield running.address, folder


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("each", CASES, ids=lambda each: each.key)
def test_a_key_lets_in_or_not(front: tuple[str, Path], monkeypatch: pytest.MonkeyPatch, each: Case, side: int) -> None:
    address, folder = front
    monkeypatch.chdir(folder)
    section = {"address": address, "rpc_timeout_s": 10, **_beside(each.key)}
    given: dict[str, Any] = {}
    lay_over(given, {"temporal": section})
    lay_over(given, data([each], side))
    settings = Settings.model_validate(_filled(given))
    health = asyncio.run(TemporalClientService(settings.temporal).health_check())
    check([each], side, {each.key: health.ok})


def _beside(key: str) -> dict[str, Any]:
    """What else the section says: the way that the key belongs to, files or texts, and one place for the API key."""
    tls = TEXTS if key.endswith("_data") else FILES
    has_own_key = key in ("temporal.api_key_file", "temporal.grpc_metadata")
    return {"tls": tls} if has_own_key else {"tls": tls, "api_key": "the-key"}


def _filled(value: Any) -> Any:
    """`value` with the texts of files in the place of their names."""
    if isinstance(value, dict):
        return {key: _filled(inner) for key, inner in value.items()}
    return Path(value[1:]).read_text() if isinstance(value, str) and value.startswith("@") else value
