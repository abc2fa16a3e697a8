"""Renewed certificates and API keys are taken over by a running process; what is no good never replaces what works."""

from __future__ import annotations

import asyncio
import gc
import logging
import uuid
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowFailureError

from app.core.services.temporal import temporal_client
from app.core.services.temporal.temporal_client import TemporalClientService
from app.scaling.autoscaler import Autoscaler
from tests.core.temporal_front import put, settings, tls
from tests.parts.authority import Authority, Certificate
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.scaling.looks import POLICY
from tests.scaling.test_autoscaler import fleet_of
from tests.scaling.work import observer


@pytest.fixture(autouse=True)
def _look_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(temporal_client, "LOOK_S", 0.0)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def own(authority: Authority) -> Certificate:
    """The certificate in use; tests write over its files."""
    return authority.issue("own")


@pytest.fixture
def front(temporal_address: str, authority: Authority) -> Iterator[Proxy]:
    server = authority.issue("server")
    with grpc_proxy(temporal_address, certificate=server, client_authority=authority.cert) as running:
        yield running


def become(target: Certificate, source: Certificate) -> None:
    put(target.key, source.key.read_bytes())
    put(target.cert, source.cert.read_bytes())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_renewed_client_certificate_makes_a_new_client(front: Proxy, authority: Authority, own: Certificate) -> None:
    async def renew() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        first = await service.get_client()
        assert await service.get_client() is first
        become(own, authority.issue("renewed"))
        second = await service.get_client()
        assert second is not first
        assert await service.get_client() is second
        assert (await service.health_check()).ok
        assert await first.service_client.check_health(), "what still holds the old client may finish with it"

    asyncio.run(renew())


def test_the_old_client_goes_when_nobody_holds_it(front: Proxy, authority: Authority, own: Certificate) -> None:
    async def renew() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        old = weakref.ref(await service.get_client())
        become(own, authority.issue("renewed"))
        assert (await service.health_check()).ok
        gc.collect()
        assert old() is None

    asyncio.run(renew())


def test_the_servers_new_authority_is_trusted_once_the_file_names_it(
    temporal_address: str, authority: Authority, tmp_path: Path
) -> None:
    next_authority = Authority(tmp_path, "next")
    (trusted := tmp_path / "trusted.pem").write_bytes(authority.cert.read_bytes())

    async def move(front: Proxy) -> None:
        service = TemporalClientService(settings(front.address, tls={"server_ca_file": str(trusted)}))
        await service.verify()
        front.certificate = next_authority.issue("server-of-next")
        put(trusted, authority.cert.read_bytes() + next_authority.cert.read_bytes())
        await service.verify()

    with grpc_proxy(temporal_address, certificate=authority.issue("server")) as front:
        asyncio.run(move(front))
        assert len(front.peers) == 2


def test_a_call_in_flight_survives_a_renewal(front: Proxy, authority: Authority, own: Certificate) -> None:
    async def long_call() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        name = str(uuid.uuid4())
        handle = await (await service.get_client()).start_workflow("Nobody", id=name, task_queue="nobody")
        waiting = asyncio.create_task(handle.result())
        while not front.calls["GetWorkflowExecutionHistory"]:
            await asyncio.sleep(0.02)
        del handle
        become(own, authority.issue("renewed"))
        await (await service.get_client()).get_workflow_handle(name).terminate()
        with pytest.raises(WorkflowFailureError):
            await waiting

    asyncio.run(long_call())
    assert len(front.peers) == 2


def test_a_half_written_certificate_keeps_the_old_connection_and_is_told_once(
    front: Proxy, authority: Authority, own: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    async def halves() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        first = await service.get_client()
        renewed = authority.issue("renewed")
        whole = renewed.cert.read_bytes()
        put(own.cert, whole[: len(whole) // 2])
        for _ in range(3):
            assert await service.get_client() is first
        put(own.cert, whole)
        assert await service.get_client() is first, "the key is still the old one"
        own.key.unlink()
        assert await service.get_client() is first
        put(own.key, renewed.key.read_bytes())
        assert await service.get_client() is not first

    asyncio.run(halves())
    told = warnings(caplog)
    assert len(told) == 3
    assert "renewed credentials are left, the old stay in use" in told[0]
    assert "FLEET_TEMPORAL__TLS__CLIENT_CERT_FILE" in told[0]
    assert "No such file" in told[2]


def test_a_certificate_that_the_server_refuses_never_replaces_one_that_works(
    front: Proxy, authority: Authority, own: Certificate, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    async def refused() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        first = await service.get_client()
        become(own, Authority(tmp_path, "stranger").issue("of-stranger"))
        assert await service.get_client() is first
        assert await service.get_client() is first
        assert (await service.health_check()).ok
        become(own, authority.issue("renewed"))
        assert await service.get_client() is not first

    asyncio.run(refused())
    assert len(warnings(caplog)) == 1
    assert "refused our client certificate" in warnings(caplog)[0]


def test_a_new_api_key_is_used_without_a_new_connection(
    temporal_address: str, authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(key := tmp_path / "key", "first")

    async def renew(front: Proxy) -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority), api_key_file=str(key)))
        client = await service.get_client()
        await client.count_workflows()
        for bad in ("wrong", " ", "two\nlines"):
            put(key, bad)
            assert (await service.health_check()).ok, "the old key is in use"
        front.api_key = "second"
        put(key, "second\n")
        assert await service.get_client() is client
        await client.count_workflows()

    with grpc_proxy(temporal_address, certificate=authority.issue("server"), api_key="first") as front:
        asyncio.run(renew(front))
        assert len(front.peers) == 1
        assert front.keys == ["Bearer first", "Bearer wrong", "Bearer second"], "a key is tried with one call"
    assert len(warnings(caplog)) == 3
    assert "refuses our API key" in warnings(caplog)[0]
    assert "wrong" not in caplog.text


def test_a_new_certificate_with_a_wrong_api_key_replaces_neither(
    front: Proxy, authority: Authority, own: Certificate, tmp_path: Path
) -> None:
    front.api_key = "right"
    put(key := tmp_path / "key", "right")

    async def both() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own), api_key_file=str(key)))
        first = await service.get_client()
        become(own, authority.issue("renewed"))
        put(key, "wrong")
        assert await service.get_client() is first
        assert (await service.health_check()).ok

    asyncio.run(both())


def test_the_same_content_written_again_changes_nothing(
    front: Proxy, authority: Authority, own: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.temporal")

    async def again() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        first = await service.get_client()
        become(own, own)
        assert await service.get_client() is first

    asyncio.run(again())
    assert len(front.peers) == 1
    assert not caplog.records


def test_one_renewal_for_all_who_ask_at_once(front: Proxy, authority: Authority, own: Certificate) -> None:
    async def many() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        first = await service.get_client()
        become(own, authority.issue("renewed"))
        asked = await asyncio.gather(*(service.get_client() for _ in range(50)))
        assert {id(client) for client in asked[1:]} == {id(first)}, "nobody waits for it but the one who looks"
        assert asked[0] is not first

    asyncio.run(many())
    assert front.calls["GetSystemInfo"] == 2


def test_files_are_looked_at_now_and_then_only(
    front: Proxy, authority: Authority, own: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_client, "LOOK_S", 3600.0)

    async def soon() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        first = await service.get_client()
        become(own, authority.issue("renewed"))
        assert await service.get_client() is first

    asyncio.run(soon())


def test_the_next_look_of_an_autoscaler_uses_what_was_renewed(
    front: Proxy, authority: Authority, own: Certificate
) -> None:
    async def look_twice() -> None:
        service = TemporalClientService(settings(front.address, tls=tls(authority, own)))
        autoscaler = Autoscaler(service.get_client, fleet_of(POLICY), observer(), poll_s=1)
        await autoscaler.tick()
        become(own, authority.issue("renewed"))
        await autoscaler.tick()

    asyncio.run(look_twice())
    assert len(front.peers) == 2
    assert front.calls["ListWorkers"] == 2
