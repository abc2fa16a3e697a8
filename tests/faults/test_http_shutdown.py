"""The API leaves and no caller notices. Real processes, a real load balancer in the test, nobody who tries again."""

from __future__ import annotations

import asyncio
import http.client
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.api.restarts import orders, restarted
from tests.api.served import Served, served
from tests.local.dev_fleet import until

DELAY_S = "3"
"""Many times what the load balancer takes to see that a backend is not ready."""


def test_rolling_restarts_under_load_fail_no_request(tmp_path: Path, temporal_address: str) -> None:
    with (
        served(tmp_path, temporal_address, API__SHUTDOWN_DELAY_S=DELAY_S) as one,
        served(tmp_path, temporal_address, API__SHUTDOWN_DELAY_S=DELAY_S) as other,
    ):
        seen, restarts = asyncio.run(restarted(temporal_address, [one, other], 2))
    assert seen.failures == []
    assert all(seen.answers[kind] for kind in ("kept", "anew", "waiting"))
    assert [restart.code for restart in restarts] == [0, 0]


def test_while_load_balancers_look_away_all_is_served_and_each_answer_ends_its_connection(
    tmp_path: Path, temporal_address: str
) -> None:
    with served(tmp_path, temporal_address, API__SHUTDOWN_DELAY_S="60") as api:
        kept = api.connection()
        assert close_of(kept, "/healthz") is None
        api.process.send_signal(signal.SIGTERM)
        until(lambda: api.status("/readyz") == 503, 10)
        assert api.status("/healthz") == api.status("/openapi.json") == 200, "on new connections"
        assert close_of(kept, "/healthz") == "close"
        api.process.send_signal(signal.SIGTERM)
        assert api.status("/healthz") == 200, "a second SIGTERM shortens nothing"
        api.process.send_signal(signal.SIGINT)
        assert api.process.wait(10) == 130, "a Ctrl-C then ends it at once"


def test_who_waits_for_an_order_is_answered_when_the_api_leaves(tmp_path: Path, temporal_address: str) -> None:
    open_order, _ = asyncio.run(orders(temporal_address))
    with served(tmp_path, temporal_address) as api, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(asked, api, f"/orders/{open_order}?wait=30")
        time.sleep(4)
        assert api.stop() == 0
        status, close, text = waiting.result()
        assert (status, close) == (200, "close")
        assert '"status":"running"' in text


def test_what_does_not_end_is_cut_with_an_answer_in_any_app(tmp_path: Path) -> None:
    quick = "from app.api.http import main; main.FINISH_REQUESTS_S = 1; main.main(['tests.api.apps:endless'])"
    command = (sys.executable, "-c", quick)
    with served(tmp_path, "127.0.0.1:1", command) as api, ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(asked, api, "/endless")
        until(lambda: api.status("/asked") == 200, 10)
        assert api.stop() == 0
        status, close, text = waiting.result()
        assert (status, close) == (503, "close")
        assert "Ask again" in text
    assert "Traceback" not in api.log.read_text()


def close_of(kept: http.client.HTTPConnection, path: str) -> str | None:
    kept.request("GET", path)
    with kept.getresponse() as answer:
        assert (answer.status, bool(answer.read())) == (200, True)
        return answer.getheader("connection")


def asked(api: Served, path: str) -> tuple[int, str | None, str]:
    """Status, the Connection header, and the body."""
    connection = api.connection()
    connection.request("GET", path)
    with connection.getresponse() as answer:
        return answer.status, answer.getheader("connection"), answer.read().decode()
