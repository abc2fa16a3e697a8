"""The fault laboratory as fixtures: a worker process whose way to Temporal leads through what a test may break.

worker -> link (TCP: cut, refuse, swallow, send elsewhere) -> proxy (gRPC: status, silence, lost answers) -> server
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.evidence import Evidence
from tests.mistakes.conftest import page
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.relay import Relay, relay
from tests.worker.served import Served

__all__ = ["page"]


@pytest.fixture
def proxy(temporal_address: str) -> Iterator[Proxy]:
    with grpc_proxy(temporal_address) as running:
        yield running


@pytest.fixture
def link(proxy: Proxy) -> Iterator[Relay]:
    with relay(proxy.address) as running:
        yield running


@pytest.fixture
def evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Evidence:
    """What bodies of tests/apps/faults have written; they write when their worker was started after this."""
    found = Evidence(tmp_path / "evidence")
    monkeypatch.setenv("FAULTS_EVIDENCE", str(found.file))
    return found


@pytest.fixture
def faulty(serve: Callable[..., Served], evidence: Evidence, link: Relay) -> Callable[..., Served]:
    """Starts a worker of tests/apps/faults behind the link, with small timeouts, and waits until it is ready."""

    def start(*arguments: str, ready: bool = True, **settings: Any) -> Served:
        small = {
            "TEMPORAL__ADDRESS": link.address,
            "TEMPORAL__WORKER__PACKAGES": '["tests.apps.faults"]',
            "TEMPORAL__WORKER__MAX_CONCURRENT_WORKFLOW_TASK_POLLS": "2",
            "TEMPORAL__WORKER__MAX_CONCURRENT_ACTIVITY_TASK_POLLS": "2",
            "TEMPORAL__WORKER__DRAIN_TIMEOUT_S": "15",
        }
        served = serve("--queue", "faults", *arguments, **{**small, **settings})
        if ready:
            served.ready()
        return served

    return start


@pytest.fixture
def worker(faulty: Callable[..., Served]) -> Served:
    """A worker that is ready."""
    return faulty()
