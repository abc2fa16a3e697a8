"""Certificates that end under a running worker, and the connection with them: renewed files heal it, not a restart."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.core.temporal_front import put
from tests.faults.evidence import Evidence
from tests.faults.runs import at_work, once, outcome, works
from tests.local.dev_fleet import until
from tests.parts.authority import Authority, Certificate
from tests.parts.grpc_proxy import Proxy, grpc_proxy
from tests.parts.relay import Relay
from tests.worker.served import Served


class Papers:
    """The certificates of both sides, in files that can be replaced."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.authority = Authority(folder)
        self.server = self.authority.issue("server")
        self.own = self.authority.issue("own")

    def settings(self) -> dict[str, str]:
        return {
            "TEMPORAL__TLS__SERVER_CA_FILE": str(self.authority.cert),
            "TEMPORAL__TLS__CLIENT_CERT_FILE": str(self.own.cert),
            "TEMPORAL__TLS__CLIENT_KEY_FILE": str(self.own.key),
        }

    def expire(self, front: Proxy, link: Relay) -> Certificate:
        """Refuse the old certificate from now on, and cut what was made with it; returns the one that is valid."""
        coming = Authority(self._folder, "coming")
        front.client_authority = coming.cert
        link.cut()
        return coming.issue("renewed")

    def renew(self, fresh: Certificate) -> None:
        put(self.own.key, fresh.key.read_bytes())
        put(self.own.cert, fresh.cert.read_bytes())


@pytest.fixture
def papers(tmp_path: Path) -> Papers:
    return Papers(tmp_path / "papers")


@pytest.fixture
def proxy(temporal_address: str, papers: Papers) -> Iterator[Proxy]:
    """In the place of the plaintext one."""
    authority = papers.authority.cert
    with grpc_proxy(temporal_address, certificate=papers.server, client_authority=authority) as front:
        yield front


def test_a_worker_whose_certificate_expired_is_unready_until_it_is_renewed_and_never_restarts(
    faulty: Callable[..., Served], papers: Papers, proxy: Proxy, link: Relay, temporal_address: str
) -> None:
    worker = faulty(**papers.settings())
    fresh = papers.expire(proxy, link)
    until(lambda: "queue faults gets no work: Poll" in worker.probe("/readyz")[1]["detail"], 90, 0.1)
    assert worker.probe("/livez")[0] == 200
    papers.renew(fresh)
    worker.ready()
    assert works(temporal_address) == worker.process.pid
    assert "Starting it again" not in worker.text()


def test_a_drain_whose_certificate_expires_ends_with_the_renewed_one_and_nothing_runs_twice(
    faulty: Callable[..., Served],
    papers: Papers,
    proxy: Proxy,
    link: Relay,
    temporal_address: str,
    evidence: Evidence,
) -> None:
    worker = faulty(**papers.settings())
    workflow_id = at_work(temporal_address, evidence, 3.0)
    worker.signal(signal.SIGTERM)
    papers.renew(papers.expire(proxy, link))
    assert worker.wait(40) == 0
    faulty(**papers.settings())  # the run's last workflow task
    assert outcome(temporal_address, workflow_id) == worker.process.pid
    once(evidence, workflow_id)
