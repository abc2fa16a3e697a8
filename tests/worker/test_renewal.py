"""A worker whose certificate is renewed under it goes on working, with polls on a connection that shows the new one."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path

import pytest

from app.core.services.temporal import temporal_client
from app.worker import manager
from tests.apps.lab.workflows import Slept
from tests.core.temporal_front import put, tls
from tests.parts.authority import Authority
from tests.parts.grpc_proxy import grpc_proxy
from tests.worker.pools import lab_settings, running_manager


def test_a_worker_polls_with_a_renewed_certificate(
    temporal_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_client, "LOOK_S", 0.0)
    monkeypatch.setattr(manager, "HEALTH_CHECK_S", 0.1)
    authority, coming = Authority(tmp_path), Authority(tmp_path, "coming")
    server, own = authority.issue("server"), authority.issue("own")

    async def work() -> None:
        settings = lab_settings(front.address, tls=tls(authority, own), rpc_timeout_s=5)
        async with running_manager(settings, "lab", "lab-other") as running, asyncio.timeout(30):
            (first,) = list(front.peers)
            # From now on the old certificate would be refused, if anybody connected with it.
            front.client_authority = coming.cert
            renewed = coming.issue("renewed")
            put(own.key, renewed.key.read_bytes())
            put(own.cert, renewed.cert.read_bytes())
            while not any(calls["PollWorkflowTaskQueue"] for peer, calls in front.peers.items() if peer != first):
                client = await running.manager.service.get_client()
                await Slept.execute_workflow(client, input=0.01, id=f"renewal-{uuid.uuid4()}")
            assert (await running.manager.service.health_check()).ok

    with grpc_proxy(temporal_address, certificate=server, client_authority=authority.cert) as front:
        asyncio.run(work())
        assert len(front.peers) == 2
