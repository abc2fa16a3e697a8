"""Pods that reach Temporal by TLS, with a certificate and an API key from Secrets, and what is renewed in those."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.cluster.client import Cluster
from tests.cluster.release import NAME, Release, TemporalServer, release
from tests.local.dev_fleet import ORDER, until
from tests.parts.authority import Authority, Certificate
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.postgres import PostgresServer

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

RENEWED_WITHIN_S = 120.0
"""The kubelet takes up to a minute, as it is by default."""
LOOK_S = 6.0
"""Longer than a worker's health check, which is where it looks at its files."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def proxy(cluster: Cluster, authority: Authority, temporal_for_pods: TemporalServer) -> Iterator[Proxy]:
    """It ends TLS in front of Temporal and asks for a client's certificate."""
    host = temporal_for_pods.for_pods.rpartition(":")[0]
    server = authority.issue("server", names=f"IP:{host}")
    with grpc_proxy(
        temporal_for_pods.address, certificate=server, client_authority=authority.cert, host=host
    ) as running:
        yield running


@pytest.fixture
def shop(
    image: Path,
    cluster: Cluster,
    authority: Authority,
    proxy: Proxy,
    temporal_for_pods: TemporalServer,
    postgres_for_pods: PostgresServer,
) -> Iterator[Release]:
    """Its pods are ready, so they have reached Temporal."""
    behind = TemporalServer(temporal_for_pods.address, proxy.address)
    with release(image, cluster, behind, postgres_for_pods) as made:
        _write_secrets(made, authority, authority.issue("first"), "first-key")
        made.install(
            temporal__tls__existingSecret="temporal-tls",
            temporal__apiKey__existingSecret="temporal-key",
            api__enabled="false",
        )
        yield made


def test_pods_connect_with_mounted_secrets_and_take_over_renewed_ones_without_a_restart(
    shop: Release, proxy: Proxy, authority: Authority
) -> None:
    assert proxy.keys == ["Bearer first-key"]
    assert asyncio.run(_order(shop, "before")) == "completed"
    _write_secrets(shop, authority, authority.issue("second"), "second-key")
    begin = time.monotonic()
    until(lambda: _keys_now(proxy) == ["Bearer second-key"], RENEWED_WITHIN_S)
    print(f"the renewed key was in use after {time.monotonic() - begin:.0f} s")
    workers = [pod["metadata"]["name"] for pod in shop.pods("app.kubernetes.io/component=worker")]
    until(lambda: all("was made anew" in shop.kubectl("logs", pod) for pod in workers), 30, 0.5)
    # The old one is no longer good for anything.
    proxy.api_key = "second-key"
    assert asyncio.run(_order(shop, "after")) == "completed"
    pods = [pod["metadata"]["name"] for pod in shop.pods(f"app.kubernetes.io/instance={NAME}")]
    assert len(pods) == 3
    assert [shop.restarts(pod) for pod in pods] == [0, 0, 0]


def _write_secrets(shop: Release, authority: Authority, certificate: Certificate, key: str) -> None:
    files = {"ca.crt": authority.cert, "tls.crt": certificate.cert, "tls.key": certificate.key}
    secrets = {
        "temporal-tls": {name: file.read_bytes() for name, file in files.items()},
        "temporal-key": {"api-key": key.encode()},
    }
    for name, data in secrets.items():
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "data": {each: base64.b64encode(content).decode() for each, content in data.items()},
        }
        shop.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def _keys_now(proxy: Proxy) -> list[str]:
    proxy.keys.clear()
    time.sleep(LOOK_S)
    return list(proxy.keys)


async def _order(shop: Release, order_id: str) -> str:
    client = await Client.connect(shop.temporal.address)
    order = {"order_id": order_id, **ORDER}
    handle = await client.start_workflow("OrderWorkflow", order, id=f"order-{order_id}", task_queue="orders")
    result = await asyncio.wait_for(handle.result(), 60)
    return str(result["status"])
