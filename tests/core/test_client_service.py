"""The shared connection: one for all, made when it is needed, and honest about its health."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import PydanticPayloadConverter, pydantic_data_converter
from temporalio.converter import DataConverter, DefaultFailureConverter, DefaultPayloadConverter, PayloadCodec

from app.core.ports import free_port
from app.core.services.temporal.plugin import fleet_plugins
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalDisabled, TemporalUnavailable
from tests.apps.above.clock import Clock
from tests.core.temporal_front import settings, tls
from tests.parts.authority import Authority
from tests.parts.black_hole import black_hole
from tests.parts.grpc_proxy import Proxy, grpc_proxy


@pytest.fixture
def proxy(temporal_address: str) -> Iterator[Proxy]:
    with grpc_proxy(temporal_address) as running:
        yield running


def test_fifty_first_calls_make_one_connection(proxy: Proxy) -> None:
    async def fifty() -> int:
        service = TemporalClientService(settings(proxy.address))
        return len({id(client) for client in await asyncio.gather(*(service.get_client() for _ in range(50)))})

    assert asyncio.run(fifty()) == 1
    assert (proxy.calls["GetSystemInfo"], len(proxy.peers)) == (1, 1), "a connect asks for this once"


def test_callers_who_give_up_leave_one_attempt_behind_and_its_failure_is_remembered() -> None:
    async def impatient(service: TemporalClientService) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await service.get_client()

    async def burst(address: str) -> TemporalUnavailable:
        service = TemporalClientService(settings(address, rpc_timeout_s=0.5))
        for _ in range(3):
            await asyncio.gather(*(impatient(service) for _ in range(10)))
        with pytest.raises(TemporalUnavailable) as caught:
            await service.get_client()
        return caught.value

    with black_hole() as hole:
        assert "no answer within 0.5 s" in str(asyncio.run(burst(hole.address)))
        assert hole.connects <= 2


def test_a_limit_names_temporal_and_leaves_other_timeouts_alone() -> None:
    async def limited(*, own: bool) -> None:
        async with TemporalClientService(settings("127.0.0.1:1", rpc_timeout_s=0.1)).limit():
            if own:
                raise TimeoutError("my database")
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError, match="my database"):
        asyncio.run(limited(own=True))
    with pytest.raises(TemporalUnavailable, match=r"127\.0\.0\.1:1 cannot be used: no answer within 0\.1 s"):
        asyncio.run(limited(own=False))


def test_a_service_made_before_the_server_connects_when_it_is_there(temporal_address: str) -> None:
    async def early() -> None:
        port = free_port("127.0.0.1")
        service = TemporalClientService(settings(f"127.0.0.1:{port}"))
        with pytest.raises(TemporalUnavailable):
            await service.get_client()
        host, _, to = temporal_address.partition(":")

        async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while data := await reader.read(65536):
                writer.write(data)
            writer.close()

        async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there = await asyncio.open_connection(host, int(to))
            await asyncio.gather(pipe(reader, there[1]), pipe(there[0], writer))

        listening = await asyncio.start_server(forward, "127.0.0.1", port)
        await asyncio.sleep(0.6)  # a failure is remembered for half a second
        assert (await service.health_check()).ok
        listening.close()

    asyncio.run(early())


def test_switched_off_it_says_so_and_connects_to_nothing(proxy: Proxy) -> None:
    service = TemporalClientService(settings(proxy.address, enabled=False))
    assert not service.is_enabled
    with pytest.raises(TemporalDisabled, match="FLEET_TEMPORAL__ENABLED"):
        asyncio.run(service.get_client())
    health = asyncio.run(service.health_check())
    assert (health.ok, "switched off" in health.error) == (False, True)
    assert not proxy.calls


def test_health_is_that_of_server_and_namespace(temporal_address: str) -> None:
    good = asyncio.run(TemporalClientService(settings(temporal_address)).health_check())
    assert good.ok
    assert good.latency_s > 0
    missing = asyncio.run(TemporalClientService(settings(temporal_address, namespace="elsewhere")).health_check())
    assert not missing.ok
    assert "elsewhere" in missing.error


def test_tls_mtls_and_api_key_come_from_files_or_text(temporal_address: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server, client = authority.issue("server"), authority.issue("client")
    (key := tmp_path / "key").write_text("the-key\n")
    files = tls(authority, client)
    as_text = {name.replace("_file", "_data"): Path(path).read_text() for name, path in files.items()}
    with grpc_proxy(temporal_address, certificate=server, client_authority=authority.cert, api_key="the-key") as front:
        for section in (
            {"tls": files, "api_key_file": str(key)},
            {"tls": as_text, "api_key": "the-key"},
            {"tls": files, "grpc_metadata": {"authorization": "Bearer the-key"}},
        ):
            health = asyncio.run(TemporalClientService(settings(front.address, **section)).health_check())
            assert (health.ok, health.error) == (True, "")
    assert front.keys == ["Bearer the-key"]


def test_an_api_key_turns_tls_on_unless_it_is_switched_off(temporal_address: str, tmp_path: Path) -> None:
    (key := tmp_path / "key").write_text("the-key")
    with grpc_proxy(temporal_address, api_key="the-key") as front:
        by_itself = settings(front.address, api_key_file=str(key))
        assert "does not speak TLS" in asyncio.run(TemporalClientService(by_itself).health_check()).error
        off = settings(front.address, api_key_file=str(key), tls={"enabled": False})
        assert asyncio.run(TemporalClientService(off).health_check()).ok


def test_a_name_other_than_the_address_is_what_the_certificate_must_have(temporal_address: str, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    elsewhere = authority.issue("elsewhere", names="DNS:temporal.example")
    with grpc_proxy(temporal_address, certificate=elsewhere) as front:
        named = settings(front.address, tls=tls(authority, server_name="temporal.example"))
        assert asyncio.run(TemporalClientService(named).health_check()).ok


def test_every_client_of_the_package_comes_from_the_service() -> None:
    """A client made elsewhere would lack the plugins, and show it only as wrong types at run time."""
    constructors = ("Client", "Client.connect", "client.Client", "client.Client.connect")
    made = [
        str(path)
        for path in Path("app").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).removeprefix("temporalio.") in constructors
    ]
    assert made == ["app/core/services/temporal/temporal_client.py"]


def test_its_client_carries_the_pydantic_converter(temporal_address: str) -> None:
    client = asyncio.run(TemporalClientService(settings(temporal_address)).get_client())
    assert issubclass(client.data_converter.payload_converter_class, PydanticPayloadConverter)


class Codec(PayloadCodec):
    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload(metadata={"encoding": b"codec"}, data=each.SerializeToString()) for each in payloads]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [Payload.FromString(each.data) for each in payloads]


class Failures(DefaultFailureConverter):
    pass


class Own(DefaultPayloadConverter):
    pass


@pytest.mark.parametrize("chosen", [DataConverter.default, DataConverter(), pydantic_data_converter])
def test_a_codec_or_a_failure_converter_does_not_switch_pydantic_off(
    temporal_address: str, chosen: DataConverter
) -> None:
    async def main() -> str:
        converter = dataclasses.replace(chosen, payload_codec=Codec(), failure_converter_class=Failures)
        client = await Client.connect(temporal_address, data_converter=converter, plugins=fleet_plugins())
        assert isinstance(client.data_converter.payload_codec, Codec)
        assert isinstance(client.data_converter.failure_converter, Failures)
        (encoded,) = await client.data_converter.encode([Decimal("1.50")])
        assert encoded.metadata["encoding"] == b"codec"
        (payload,) = await Codec().decode([encoded])
        return payload.data.decode()

    assert asyncio.run(main()) == '"1.50"'


def test_a_payload_converter_that_somebody_wrote_stays(temporal_address: str) -> None:
    own = DataConverter(payload_converter_class=Own)
    client = asyncio.run(Client.connect(temporal_address, data_converter=own, plugins=fleet_plugins()))
    assert client.data_converter.payload_converter_class is Own


def test_the_sdks_converter_is_refused_at_the_start_however_it_was_made(temporal_address: str) -> None:
    async def main() -> None:
        client = await Client.connect(temporal_address, data_converter=DataConverter(payload_codec=Codec()))
        await Clock.start_workflow(client, input=3, id="not-started")

    with pytest.raises(TypeError, match="the SDK's default way"):
        asyncio.run(main())
