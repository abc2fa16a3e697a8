"""Settings of `fleet dev` and of what it starts: ports that answer, files that appear, a loop that looks again."""

from __future__ import annotations

import asyncio
import os
import re
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from app.core.config import use
from app.core.ports import free_port
from app.local.dev import Dev, DevOptions
from app.local.lock import DataDirLock
from app.scaling.fleet import Pool
from app.worker.discovery import discover
from tests.api.served import served
from tests.local.dev_fleet import DevFleet
from tests.settings.case import SIDES, case, check, environment, settings

PORTS = [free_port("127.0.0.1") for _ in range(8)]

FLEET = (
    case("local.data_dir", "first", "second"),
    case("local.temporal_port", *PORTS[0:2]),
    case("local.temporal_ui_port", *PORTS[2:4]),
    case("local.metrics_port", *PORTS[4:6]),
    case("api.host", "127.0.0.1", "127.0.0.2"),
    case("api.port", *PORTS[6:8]),
    case("ledger.url", "sqlite:///one.db", "sqlite:///two.db", seen=("one.db", "two.db")),
)
LOOKS = (case("local.poll_s", 0.5, 60, seen=("looks again", "one look")),)
API = (case("api.shutdown_delay_s", 0.25, 0.5, seen=("serving for 0.25 s", "serving for 0.5 s")),)
CASES = (*FLEET, *LOOKS, *API)


@pytest.mark.parametrize("side", SIDES)
def test_the_local_fleet_is_where_the_settings_say(tmp_path: Path, side: int) -> None:
    (tmp_path / "config.yaml").touch()
    seen: dict[str, Any] = {}
    fleet = _Fleet(tmp_path, side)
    with fleet:
        fleet.ready()
        ours = {key: port for key, port in _ports(side).items() if _answers(_host(side, key), port)}
        seen |= ours
        seen["api.host"] = next(host for host in ("127.0.0.2", "127.0.0.1") if _answers(host, ours["api.port"]))
        seen["local.data_dir"] = next(p.parent.name for p in tmp_path.glob("*/state.json"))
        seen["ledger.url"] = next(p.name for p in tmp_path.glob("*.db"))
        with sqlalchemy.create_engine(f"sqlite:///{tmp_path / seen['ledger.url']}").connect() as book:
            assert sqlalchemy.inspect(book).get_table_names(), "the first order is in the book"
    check(FLEET, side, seen)


class _Fleet(DevFleet):
    """`fleet dev` in `folder`, under the values of one side and nothing else."""

    def __init__(self, folder: Path, side: int) -> None:
        super().__init__(folder / FLEET[0].values[side], cwd=folder)
        names = ("FLEET_LOCAL__", "FLEET_API__")
        kept = {name: value for name, value in self.env.items() if not name.startswith(names)}
        self._env = {**kept, "PYTHONPATH": os.getcwd(), **environment(FLEET, side)}


def _ports(side: int) -> dict[str, int]:
    return {each.key: each.values[side] for each in FLEET if each.key.endswith("port")}


def _host(side: int, key: str) -> str:
    return {each.key: each.values[side] for each in FLEET}["api.host"] if key == "api.port" else "127.0.0.1"


def _answers(host: str, port: int) -> bool:
    """Whether somebody answers, in HTTP or not."""
    try:
        urllib.request.urlopen(f"http://{host}:{port}/", timeout=10).close()
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        return not isinstance(error.reason, ConnectionRefusedError)
    except OSError:
        return True
    return True


class _Counting:
    """A fleet without pools that counts how often it is asked for them."""

    def __init__(self) -> None:
        self.looks = 0
        self.again = asyncio.Event()

    async def pools(self) -> list[Pool]:
        self.looks += 1
        if self.looks > 1:
            self.again.set()
        return []


@pytest.mark.parametrize("side", SIDES)
def test_the_autoscaler_looks_as_often_as_it_should(tmp_path: Path, side: int) -> None:
    given = use(settings(LOOKS, side, {"local": {"data_dir": str(tmp_path), "metrics_port": 0}}))

    async def looks() -> str:
        fleet: Any = _Counting()
        dev = Dev(given, DevOptions(), discover(given), DataDirLock(tmp_path))
        async with dev._autoscaling(fleet):
            try:
                await asyncio.wait_for(fleet.again.wait(), 30 if side == 0 else 3)
            except TimeoutError:
                return "one look"
        return "looks again"

    check(LOOKS, side, {"local.poll_s": asyncio.run(looks())})


@pytest.mark.parametrize("side", SIDES)
def test_the_api_serves_on_for_as_long_as_it_should(tmp_path: Path, side: int) -> None:
    with served(tmp_path, "127.0.0.1:1", alive="/healthz", API__SHUTDOWN_DELAY_S=str(API[0].values[side])) as api:
        assert api.stop() == 0
        said = re.search(r"serving for [\d.]+ s", api.log.read_text())
    check(API, side, {"api.shutdown_delay_s": said and said[0]})


def test_a_profile_for_the_command_line_does_not_reach_the_local_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may well be of a cloud account: neither its TLS nor its key are for the embedded server."""
    toml = tmp_path / "temporal.toml"
    toml.write_text(
        '[profile.cloud]\naddress = "example.invalid:7233"\napi_key = "hush"\n'
        '[profile.cloud.tls]\nserver_name = "example.invalid"\n'
    )
    given = {"CONFIG_FILE": str(toml), "PROFILE": "cloud", "API_KEY": "hush", "GRPC_META_AUTHORIZATION": "hush"}
    for name, value in given.items():
        monkeypatch.setenv(f"TEMPORAL_{name}", value)
    with DevFleet(tmp_path / "data") as fleet:
        fleet.ready()
        fleet.place("of-the-test")
        assert fleet.await_order("of-the-test")["status"] == "completed"
        environments = [Path(f"/proc/{worker['pid']}/environ") for worker in fleet.workers("orders")]
        assert environments
        for environment in environments:
            if environment.exists():
                assert b"hush" not in environment.read_bytes()
