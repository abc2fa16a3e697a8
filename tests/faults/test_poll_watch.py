"""What the looks at the SDK's counts come to: trouble, its end, and a worker that no new connection helps."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from app.worker import poll_watch
from app.worker.health import sdk_page
from app.worker.poll_counts import BLIP_S, PollCounts
from app.worker.poll_watch import HEALS, PollWatch
from tests.worker.pools import lab_settings, running_manager

QUEUE = "lab-other"


def page(begun: int, succeeded: int, failed: int = 0, status: str = "TRANSPORT_ERROR", each_s: float = 1.0) -> str:
    """The SDK's metrics of one kind of poll."""
    labels = f'namespace="default",operation="PollActivityTaskQueue",task_queue="{QUEUE}"'
    ended = succeeded + failed
    return (
        f"temporal_long_request_total{{{labels}}} {begun}\n"
        f'temporal_long_request_failure_total{{{labels},status_code="{status}"}} {failed}\n'
        f"temporal_long_request_latency_seconds_sum{{{labels}}} {ended * each_s}\n"
        f"temporal_long_request_latency_seconds_count{{{labels}}} {ended}\n"
    )


def test_polls_that_nobody_answers_are_trouble_until_one_comes_home() -> None:
    counts = PollCounts([QUEUE])
    counts.look(page(begun=5, succeeded=0), 0)
    assert counts.troubles(60) == {}, "to wait at the server is what polls do"
    counts.look(page(begun=5, succeeded=0, failed=5, each_s=70), 71)
    assert str(counts.troubles(71)[QUEUE]) == "PollActivityTaskQueue gets no answer within 70 s"
    for now in (72, 73, 74):
        counts.look(page(begun=10, succeeded=0, failed=5, each_s=70), now)
    assert counts.troubles(74), "to be out says nothing where nobody answers"
    counts.look(page(begun=11, succeeded=1, failed=5, each_s=70), 130)
    assert counts.troubles(130) == {}


def test_a_server_that_throttles_and_lets_some_polls_through_is_no_trouble() -> None:
    counts = PollCounts([QUEUE])
    for look in range(1, 20):
        counts.look(page(begun=2 * look, succeeded=look, failed=look, status="RESOURCE_EXHAUSTED"), float(look))
    assert counts.troubles(20.0) == {}


def test_a_worker_that_no_new_connection_helps_is_started_again(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(poll_watch, "HEAL_S", 0.0)

    async def main() -> None:
        async with running_manager(lab_settings(temporal_address), QUEUE) as running, asyncio.timeout(30):
            state = running.manager.state
            watch = PollWatch(running.manager.service, running.manager.pools, state)
            client = running.manager.pools[0].worker.client
            for look in range(HEALS + 2):
                failed = look + 1
                await watch._look(page(begun=failed, succeeded=0, failed=failed), look * (BLIP_S + 1))
                if look == 1:
                    assert running.manager.pools[0].worker.client is not client
            while state.restarts[QUEUE] != 1:
                await asyncio.sleep(0.05)

    asyncio.run(main())
    assert "gets no answer (transport error), also on 3 new connections on which Temporal answers" in caplog.text


def test_a_drain_ends_no_worker_for_polls_that_no_longer_begin(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poll_watch, "HEAL_S", 0.0)

    async def main() -> None:
        async with running_manager(lab_settings(temporal_address), QUEUE) as running, asyncio.timeout(30):
            pool = running.manager.pools[0]
            failed: list[BaseException] = []
            monkeypatch.setattr(pool, "fail", failed.append)
            running.manager.state.phase = "draining"
            watch = PollWatch(running.manager.service, [pool], running.manager.state)
            for look in range(HEALS + 4):
                await watch._look(page(begun=1, succeeded=0, failed=1), look * (BLIP_S + 1))
            assert not failed

    asyncio.run(main())


def test_a_page_that_is_cut_in_the_middle_is_one_that_was_not_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def half_an_answer() -> None:
            taken = listening.accept()[0]
            taken.recv(4096)
            taken.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            taken.close()

        answering = threading.Thread(target=half_an_answer)
        answering.start()
        with pytest.raises(OSError, match="IncompleteRead"):
            sdk_page(f"127.0.0.1:{listening.getsockname()[1]}")
        answering.join()
