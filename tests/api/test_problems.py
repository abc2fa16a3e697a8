"""What a caller of any app of ours is told when Temporal cannot do it: the right status, without hanging."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import ASGITransport, AsyncClient, Response

from app.api.http.app import create_app
from app.api.http.deps import get_temporal_service, lifespan
from app.core.config import use
from app.core.config.model import Settings
from app.core.config.temporal import TemporalSettings
from app.core.services.temporal.temporal_client import TemporalClientService
from tests.api.apps import entered, own_app
from tests.api.test_http import order
from tests.parts.black_hole import black_hole
from tests.parts.grpc_proxy import grpc_proxy
from tests.parts.temporal import freeze, own_server, stop_server

MIB = 1024 * 1024


def start(client: TestClient, text: str = "") -> Response:
    return client.post(f"/start/{uuid.uuid4()}", json=text)


def told(answer: Response, status: int, title: str) -> str:
    """The detail, after everything that all problems have in common was seen."""
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["title"]) == (status, status, title)
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    return str(body["detail"])


def test_what_is_too_large_for_temporal_is_413(temporal_address: str) -> None:
    with entered(own_app(), temporal_address) as client:
        assert start(client, "x" * MIB).status_code == 200
        assert "size exceeds limit" in told(start(client, "x" * (3 * MIB)), 413, "too large for Temporal")
        # The body is within the limit, and escaped it is more than a gRPC message may be.
        assert "larger than max" in told(start(client, "\\" * (2 * MIB - 99)), 413, "too large for Temporal")


def test_a_body_over_the_limit_is_413_before_it_is_parsed(temporal_address: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(5):
            yield b"[" * MIB

    with entered(own_app(), temporal_address) as client:
        head = {"content-type": "application/json"}
        assert "4194304 bytes" in told(
            client.post("/start/x", content=b"[" * (5 * MIB), headers=head), 413, "the request is too large"
        )
        assert "4194304 bytes" in told(
            client.post("/start/x", content=chunks(), headers=head), 413, "the request is too large"
        )


@pytest.mark.parametrize("body", [b'{"a":', b"[" * MIB, b'"\xff"'], ids=["broken", "nested too deeply", "not UTF-8"])
def test_a_body_that_is_no_json_is_422(body: bytes) -> None:
    with entered(own_app(), "127.0.0.1:1") as client:
        answer = client.post("/start/x", content=body, headers={"content-type": "application/json"})
        assert "body" in told(answer, 422, "the request is not valid")


def test_over_the_rate_limit_is_429_with_retry_after(tmp_path: Path) -> None:
    limited = ("frontend.namespaceRPS=1", "frontend.globalNamespaceRPS=1", "frontend.namespaceBurstRatio=1.0")
    with own_server(tmp_path, *limited) as (address, _), entered(own_app(), address) as client:
        refused = next(answer for answer in (start(client) for _ in range(50)) if answer.status_code != 200)
        assert "rate limit exceeded" in told(refused, 429, "Temporal limits the rate")
        assert refused.headers["retry-after"] == "1"


@pytest.mark.parametrize("app", [own_app(), create_app()], ids=["own", "example"])
def test_a_server_that_goes_away_or_freezes_in_mid_life_is_503(app: FastAPI, tmp_path: Path) -> None:
    def ask() -> Response:
        return client.post("/orders", json=order()) if app.title.startswith("Worker") else start(client)

    with own_server(tmp_path) as (address, process), entered(app, address) as client:
        assert ask().status_code in (200, 202)
        freeze(process)
        assert told(ask(), 503, "Temporal is unavailable").startswith(
            f"Temporal at {address} cannot be used: no answer"
        )
        process.send_signal(signal.SIGCONT)
        assert ask().status_code in (200, 202)
        stop_server(process)
        assert f"Temporal at {address} cannot be used: no connection" in told(ask(), 503, "Temporal is unavailable")


def test_every_call_for_a_caller_who_waits_is_limited(temporal_address: str) -> None:
    with grpc_proxy(temporal_address) as front, entered(create_app(), front.address) as client:
        client.post("/orders", json=(body := order()))
        client.get(f"/orders/{body['order_id']}")
        client.post(f"/orders/{body['order_id']}/cancel")
    for call in ("StartWorkflow", "DescribeWorkflow", "SignalWorkflow"):
        assert 0 < (front.limits_s[f"{call}Execution"] or 99) <= 2
    assert 0 < (front.limits_s["QueryWorkflow"] or 99) <= 2


def test_the_calls_behind_one_request_share_its_limit(temporal_address: str) -> None:
    with grpc_proxy(temporal_address) as front, entered(create_app(), front.address) as client:
        client.post("/orders", json=(body := order()))
        # Each within the limit of a call, which is 2 s; together they are above it.
        front.delays_s["DescribeWorkflowExecution"] = 1.5
        late = client.get(f"/orders/{body['order_id']}?wait=0.1")
        assert "no answer within 2 s" in told(late, 503, "Temporal is unavailable")


def test_a_server_that_never_answers_is_503_with_its_address_and_a_remedy() -> None:
    with black_hole() as hole, entered(create_app(), hole.address, rpc_timeout_s=0.5) as client:
        for answer in (
            client.get("/orders/1"),
            client.post("/orders", json=order()),
            client.post("/orders/1/cancel"),
        ):
            detail = told(answer, 503, "Temporal is unavailable")
            assert f"Temporal at {hole.address} cannot be used: no answer within 0.5 s" in detail
            assert "FLEET_TEMPORAL__ADDRESS" in detail
        assert client.get("/readyz").status_code == 503


def test_a_burst_of_requests_is_no_burst_of_connects() -> None:
    async def burst() -> list[Response]:
        app = create_app()
        async with (
            lifespan(app),
            AsyncClient(transport=ASGITransport(app), base_url="http://front") as client,
        ):
            return await asyncio.gather(*(client.get("/orders/1") for _ in range(30)))

    with black_hole() as hole:
        use(Settings.model_validate({"temporal": {"address": hole.address, "rpc_timeout_s": 0.5}}))
        for answer in asyncio.run(burst()):
            assert hole.address in told(answer, 503, "Temporal is unavailable")
        assert hole.connects <= 2


def test_a_timeout_of_a_route_is_not_blamed_on_temporal() -> None:
    app = own_app()

    @app.get("/slow")
    async def slow() -> None:
        raise TimeoutError("my database")

    answer = TestClient(app, raise_server_exceptions=False).get("/slow")
    assert "Temporal" not in told(answer, 500, "internal error")


def test_a_missing_namespace_is_not_a_missing_workflow(temporal_address: str) -> None:
    with entered(own_app(), temporal_address, namespace="nowhere") as client:
        assert "nowhere" in told(start(client), 503, "Temporal is unavailable")


def test_what_temporal_does_not_permit_us_is_no_fault_of_the_caller(temporal_address: str) -> None:
    with (
        grpc_proxy(temporal_address, api_key="right") as front,
        entered(own_app(), front.address, api_key="wrong", tls={"enabled": False}) as client,
    ):
        assert "unauthorized" in told(start(client), 503, "Temporal is unavailable")


def test_an_unforeseen_error_is_a_problem_document_without_its_text() -> None:
    app = own_app()

    @app.get("/broken")
    async def broken() -> None:
        raise LookupError("a secret")

    answer = TestClient(app, raise_server_exceptions=False).get("/broken")
    assert "secret" not in told(answer, 500, "internal error")


def test_the_dependency_can_be_replaced(temporal_address: str) -> None:
    app = own_app()
    other = TemporalClientService(TemporalSettings(address=temporal_address, namespace="nowhere"))
    app.dependency_overrides[get_temporal_service] = lambda: other
    with entered(app, temporal_address) as client:
        assert "nowhere" in told(start(client), 503, "Temporal is unavailable")


def test_the_dependency_needs_no_fastapi() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['fastapi', 'starlette', 'uvicorn']))\n"
        "from app.api.http.deps import get_temporal_service, lifespan\n"
        "from app.core.config import Settings, use\n"
        "import json; use(Settings()); print(json.dumps(get_temporal_service().address))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == "127.0.0.1:7233"
