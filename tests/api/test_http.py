"""The HTTP front on a real server: what a caller gets, and with which status."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.http.app import create_app
from app.api.http.deps import get_temporal_service
from app.core.config import use
from app.core.config.model import Settings
from app.core.ports import free_port
from tests.local.dev_fleet import ORDER


@pytest.fixture
def front() -> Iterator[Callable[[str], TestClient]]:
    """A client of the app, given the address of Temporal."""
    open_clients: list[TestClient] = []

    def make(address: str) -> TestClient:
        use(Settings.model_validate({"temporal": {"address": address, "rpc_timeout_s": 2}}))
        get_temporal_service.cache_clear()
        client = TestClient(create_app())
        client.__enter__()
        open_clients.append(client)
        return client

    yield make
    for client in open_clients:
        client.__exit__(None, None, None)
    get_temporal_service.cache_clear()


def order(**changes: Any) -> dict[str, Any]:
    return {"order_id": str(uuid.uuid4()), **ORDER, **changes}


def test_an_order_is_accepted_and_can_be_looked_at(front: Callable[[str], TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    placed = client.post("/orders", json=(body := order()))
    assert placed.status_code == 202
    assert placed.headers["location"] == f"/orders/{body['order_id']}"
    assert placed.json()["workflow_id"] == f"order-{body['order_id']}"
    view = client.get(f"/orders/{body['order_id']}").json()
    assert (view["status"], view["step"]) == ("running", None), "no worker runs: the state cannot be asked for"


def test_the_same_order_again_is_a_conflict(front: Callable[[str], TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    client.post("/orders", json=(body := order()))
    again = client.post("/orders", json=body)
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    assert again.json()["workflow_id"] == f"order-{body['order_id']}"


def test_an_order_that_was_never_placed_is_not_found(front: Callable[[str], TestClient], temporal_address: str) -> None:
    answer = front(temporal_address).get("/orders/never")
    assert (answer.status_code, answer.json()["title"]) == (404, "no such workflow")


def test_a_bad_body_is_told_field_by_field(front: Callable[[str], TestClient], temporal_address: str) -> None:
    answer = front(temporal_address).post("/orders", json=order(order_id="no spaces please", items=[], address=""))
    assert answer.status_code == 422
    assert {error["path"] for error in answer.json()["errors"]} == {"body.order_id", "body.items", "body.address"}


def test_without_temporal_it_lives_and_answers_503(front: Callable[[str], TestClient]) -> None:
    client = front(f"127.0.0.1:{free_port('127.0.0.1')}")
    answer = client.post("/orders", json=order())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "nothing listens there" in answer.json()["detail"]
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ok"]) == (503, False)


def test_readiness_needs_the_namespace(front: Callable[[str], TestClient], temporal_address: str) -> None:
    assert front(temporal_address).get("/readyz").status_code == 200
    use(Settings.model_validate({"temporal": {"address": temporal_address, "namespace": "no-such-namespace"}}))
    get_temporal_service.cache_clear()
    answer = TestClient(create_app()).get("/readyz")
    assert answer.status_code == 503
    assert "no-such-namespace" in answer.json()["temporal"]["error"]
