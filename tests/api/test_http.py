"""The HTTP front on a real server: what a caller gets, and with which status."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel
from temporalio.client import Client

from app.api.http.app import create_app
from app.api.http.idempotency import Idempotent
from app.core.ports import free_port
from tests.api.apps import entered
from tests.local.dev_fleet import ORDER


@pytest.fixture
def front() -> Iterator[Callable[..., TestClient]]:
    """A client of the app, given the address of Temporal and further keys of that section."""
    with ExitStack() as stack:
        yield lambda address, **temporal: stack.enter_context(entered(create_app(), address, **temporal))


def order(**changes: Any) -> dict[str, Any]:
    return {"order_id": str(uuid.uuid4()), **ORDER, **changes}


def test_an_order_is_accepted_and_can_be_looked_at(front: Callable[..., TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    placed = client.post("/orders", json=(body := order()))
    assert placed.status_code == 202
    assert placed.headers["location"] == f"/orders/{body['order_id']}"
    assert placed.json()["workflow_id"] == f"order-{body['order_id']}"
    view = client.get(f"/orders/{body['order_id']}").json()
    assert (view["status"], view["step"]) == ("running", None), "no worker runs: the state cannot be asked for"


def test_the_same_order_again_is_a_conflict(front: Callable[..., TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    client.post("/orders", json=(body := order()))
    again = client.post("/orders", json=body)
    assert again.status_code == 409
    assert again.headers["content-type"] == "application/problem+json"
    assert again.json()["workflow_id"] == f"order-{body['order_id']}"


def test_an_order_that_is_sent_again_with_its_key_gets_the_first_answer(
    front: Callable[..., TestClient], temporal_address: str
) -> None:
    client, body = front(temporal_address), order()
    first, again = (client.post("/orders", json=body, headers={"Idempotency-Key": "k1"}) for _ in range(2))
    assert (again.status_code, again.json(), again.headers["location"]) == (
        first.status_code,
        first.json(),
        first.headers["location"],
    )
    other = client.post("/orders", json={**body, "address": "2 Main Street"}, headers={"Idempotency-Key": "k1"})
    assert (other.status_code, other.headers["content-type"]) == (422, "application/problem+json")
    assert client.post("/orders", json=body, headers={"Idempotency-Key": "k2"}).status_code == 409
    assert client.post("/orders", json=body).status_code == 409


def test_a_request_is_the_same_after_a_deploy_that_brought_a_default() -> None:
    class Before(BaseModel):
        item: str

    class After(Before):
        priority: int = 0

    said = {"item": "book"}
    before, after = (Idempotent("k1", model.model_validate(said)).memo for model in (Before, After))
    assert before == after != Idempotent("k1", After(item="book", priority=1)).memo


def test_an_order_that_was_never_placed_is_not_found(front: Callable[..., TestClient], temporal_address: str) -> None:
    answer = front(temporal_address).get("/orders/never")
    assert (answer.status_code, answer.json()["title"]) == (404, "no such workflow")


def test_a_bad_body_is_told_field_by_field(front: Callable[..., TestClient], temporal_address: str) -> None:
    answer = front(temporal_address).post("/orders", json=order(order_id="no spaces please", items=[], address=""))
    assert answer.status_code == 422
    assert {error["path"] for error in answer.json()["errors"]} == {"body.order_id", "body.items", "body.address"}


def test_without_temporal_it_lives_and_answers_503(front: Callable[..., TestClient]) -> None:
    client = front(f"127.0.0.1:{free_port('127.0.0.1')}")
    answer = client.post("/orders", json=order())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"
    assert "nothing listens there" in answer.json()["detail"]
    assert client.get("/healthz").status_code == 200
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ok"]) == (503, False)


def test_readiness_needs_the_namespace(temporal_address: str) -> None:
    with entered(create_app(), temporal_address) as client:
        assert client.get("/readyz").status_code == 200
    with entered(create_app(), temporal_address, namespace="no-such-namespace") as client:
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "no-such-namespace" in answer.json()["temporal"]["error"]


def test_with_temporal_switched_off_it_is_ready_and_says_503(
    front: Callable[..., TestClient], temporal_address: str
) -> None:
    client = front(temporal_address, enabled=False)
    assert client.get("/readyz").status_code == 200
    answer = client.post("/orders", json=order())
    assert answer.status_code == 503
    assert "FLEET_TEMPORAL__ENABLED" in answer.json()["detail"]


def test_an_order_can_be_called_off(front: Callable[..., TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    assert client.post("/orders/never/cancel").status_code == 404
    client.post("/orders", json=(body := order()))
    accepted = client.post(f"/orders/{body['order_id']}/cancel", json={"reason": "changed my mind"})
    assert (accepted.status_code, accepted.json()["workflow_id"]) == (202, f"order-{body['order_id']}")
    sent = asyncio.run(signals(temporal_address, f"order-{body['order_id']}"))
    assert sent == [("cancel", [b'"changed my mind"'])]
    asyncio.run(terminate(temporal_address, f"order-{body['order_id']}"))
    late = client.post(f"/orders/{body['order_id']}/cancel")
    assert late.status_code == 409
    assert late.headers["content-type"] == "application/problem+json"
    assert late.json()["detail"] == f"order {body['order_id']} has ended: terminated"


def test_one_can_wait_for_an_order_to_end(front: Callable[..., TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    client.post("/orders", json=(body := order()))
    assert client.get(f"/orders/{body['order_id']}?wait=0.1").json()["status"] == "running"
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(client.get, f"/orders/{body['order_id']}?wait=30")
        # Without waiting it would have answered "running" by then; a late start of the thread cannot fail this.
        with suppress(TimeoutError):
            waiting.result(1)
        asyncio.run(terminate(temporal_address, f"order-{body['order_id']}"))
        assert waiting.result().json()["status"] == "terminated"
    assert client.get(f"/orders/{body['order_id']}?wait=31").status_code == 422


def test_what_does_not_exist_is_a_problem_document_too(front: Callable[..., TestClient], temporal_address: str) -> None:
    client = front(temporal_address)
    for answer, status in ((client.get("/nowhere"), 404), (client.delete("/orders"), 405)):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["allow"] == "POST"


async def signals(address: str, workflow_id: str) -> list[tuple[str, list[bytes]]]:
    handle = (await Client.connect(address)).get_workflow_handle(workflow_id)
    return [
        (event.workflow_execution_signaled_event_attributes.signal_name, [p.data for p in payloads])
        async for event in handle.fetch_history_events()
        if (payloads := event.workflow_execution_signaled_event_attributes.input.payloads)
    ]


async def terminate(address: str, workflow_id: str) -> None:
    await (await Client.connect(address)).get_workflow_handle(workflow_id).terminate()
