"""Settings of the connection, seen in what the client service reaches and when it gives up."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from app.core.config.load import load_settings
from app.core.ports import free_port
from app.core.services.temporal.temporal_client import TemporalClientService
from tests.settings.case import SIDES, case, check, data, settings

PATIENCE_S = 3.0
"""The second limit is far above it, and the first far below."""

ADDRESS = (case("temporal.address", "", f"127.0.0.1:{free_port('127.0.0.1')}", seen=(True, False)),)
PROFILE = (case("temporal.profile", "here", "nowhere", seen=(True, False)),)
PATIENCE = (case("temporal.rpc_timeout_s", 0.1, 600, seen=("gave up", "waits")),)
CASES = (*ADDRESS, *PROFILE, *PATIENCE)


@pytest.mark.parametrize("side", SIDES)
def test_the_address_is_where_it_connects(temporal_address: str, side: int) -> None:
    (each,) = ADDRESS
    here = case(each.key, temporal_address, each.values[1])
    check(ADDRESS, side, {each.key: _healthy(settings([here], side))})


@pytest.mark.parametrize("side", SIDES)
def test_the_profile_says_where_it_connects(
    temporal_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    toml = tmp_path / "temporal.toml"
    toml.write_text(
        f'[profile.here]\naddress = "{temporal_address}"\n'
        f'[profile.nowhere]\naddress = "127.0.0.1:{free_port("127.0.0.1")}"\n'
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(toml))
    monkeypatch.chdir(tmp_path)
    (each,) = PROFILE
    check(PROFILE, side, {each.key: _healthy(load_settings(data(PROFILE, side)))})


def _healthy(given: Any) -> bool:
    return asyncio.run(TemporalClientService(given.temporal).health_check()).ok


@pytest.mark.parametrize("side", SIDES)
def test_a_server_that_never_answers_is_given_up(side: int) -> None:
    async def outcome(address: str) -> str:
        given = settings(PATIENCE, side, {"temporal": {"address": address}})
        asking = asyncio.create_task(TemporalClientService(given.temporal).health_check())
        done, _ = await asyncio.wait({asking}, timeout=60 if side == 0 else PATIENCE_S)
        asking.cancel()
        return "gave up" if done else "waits"

    with socket.create_server(("127.0.0.1", 0)) as silent:
        seen = asyncio.run(outcome(f"127.0.0.1:{silent.getsockname()[1]}"))
    check(PATIENCE, side, {"temporal.rpc_timeout_s": seen})
