"""Faults around the HTTP front, as its callers see them: Temporal away or frozen, callers who leave, bodies of junk.

The answers themselves are tests/api's; here it is a process of its own, and how it goes on afterwards.
"""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import AsyncClient
from hypothesis import given, settings
from hypothesis import strategies as st

from app.api.http.app import create_app
from app.api.http.body_limit import MAX_BODY_BYTES
from app.core.ports import free_port
from tests.api.apps import entered
from tests.api.restarts import orders
from tests.api.served import Served, served
from tests.local.dev_fleet import ORDER, until
from tests.parts.grpc_proxy import grpc_proxy
from tests.parts.temporal import freeze, own_server, ready, start_server, stop_server

CALLERS = 150
TOLD_WITHIN_S = 15
"""2 s are the promise; a busy machine gets more, and less than the half minute after which gRPC itself gives up."""


def test_temporal_may_go_and_come_back_and_the_api_stays(tmp_path: Path) -> None:
    port = free_port("127.0.0.1")
    address = f"127.0.0.1:{port}"
    with served(tmp_path, address, alive="/healthz") as api:
        assert (api.status("/readyz"), api.status("/orders/1")) == (503, 503), "there was none yet"
        for _ in range(2):
            temporal = start_server(tmp_path, port)
            try:
                asyncio.run(ready(address, temporal, tmp_path / "log"))
                until(lambda: (api.status("/readyz"), api.status("/orders/1")) == (200, 404), 20)
            finally:
                stop_server(temporal)
            assert (api.status("/readyz"), api.status("/orders/1"), api.status("/healthz")) == (503, 503, 200)


def test_many_callers_of_a_frozen_temporal_are_all_told_and_none_piles_up(tmp_path: Path) -> None:
    with own_server(tmp_path) as (address, temporal), served(tmp_path, address) as api:
        assert asyncio.run(ask(api, 5)) == {404: 5}
        before = descriptors(api)
        freeze(temporal)
        assert asyncio.run(ask(api, CALLERS)) == {503: CALLERS}
        assert (api.status("/readyz"), api.status("/healthz")) == (503, 200)
        temporal.send_signal(signal.SIGCONT)
        until(lambda: api.status("/readyz") == 200, 20)
        assert asyncio.run(ask(api, 5)) == {404: 5}
        until(lambda: descriptors(api) <= before + 2, 20)
        assert api.stop() == 0


def test_a_caller_who_hangs_up_is_waited_for_no_longer(tmp_path: Path, temporal_address: str) -> None:
    open_order, _ = asyncio.run(orders(temporal_address))
    with grpc_proxy(temporal_address) as front, served(tmp_path, front.address) as api:
        caller = api.connection()
        caller.request("GET", f"/orders/{open_order}?wait=30")
        until(lambda: front.calls["GetWorkflowExecutionHistory"], 15)
        asked = front.calls["DescribeWorkflowExecution"]
        caller.close()
        # Where it stands is asked for again when the wait is over: now, and not in half a minute.
        until(lambda: front.calls["DescribeWorkflowExecution"] > asked, 10)


def test_a_body_over_the_limit_is_told_to_a_caller_who_is_still_sending(tmp_path: Path) -> None:
    with served(tmp_path, "127.0.0.1:1", alive="/healthz") as api:
        caller = api.connection()
        caller.request("POST", "/orders", b"[" * (MAX_BODY_BYTES * 2), {"content-type": "application/json"})
        with caller.getresponse() as answer:
            assert answer.status == 413


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
BODY = st.fixed_dictionaries({}, optional={name: JSON | st.just(value) for name, value in ORDER.items()})
ANY_ORDER = st.builds(lambda order_id, body: {**body, "order_id": order_id}, JSON | st.uuids().map(str), BODY)
SENT = st.binary(max_size=200) | (ANY_ORDER | JSON).map(lambda body: json.dumps(body).encode())
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
PATHS = st.sampled_from(
    ["/orders", "/orders/1", "/orders/1/cancel", "/orders/ /cancel", "/orders/1?wait=x", "/nowhere"]
)


@pytest.fixture(scope="module")
def front() -> Any:
    with entered(create_app(), f"127.0.0.1:{free_port('127.0.0.1')}") as client:
        yield client


@settings(max_examples=150, deadline=None, derandomize=True)
@given(method=METHODS, path=PATHS, body=SENT)
def test_whatever_is_sent_the_answer_is_a_problem_document_and_no_error_of_ours(
    front: TestClient, method: str, path: str, body: bytes
) -> None:
    headers = {"content-type": "application/json"}
    answer = front.request(method, path, content=body, headers=headers)
    assert answer.status_code in (404, 405, 422, 503), "there is no Temporal: nothing can succeed, or be our fault"
    assert answer.headers["content-type"] == "application/problem+json"
    if method != "HEAD":
        assert answer.json()["status"] == answer.status_code
        assert "Traceback" not in answer.text


async def ask(api: Served, callers: int) -> dict[int, int]:
    """So many at once, each for an order that was never placed: status -> how many got it."""
    async with AsyncClient(base_url=api.url, timeout=TOLD_WITHIN_S) as client:
        answers = await asyncio.gather(*(client.get(f"/orders/{uuid.uuid4()}") for _ in range(callers)))
    codes = [answer.status_code for answer in answers]
    return {code: codes.count(code) for code in set(codes)}


def descriptors(api: Served) -> int:
    return len(list(Path(f"/proc/{api.process.pid}/fd").iterdir()))
