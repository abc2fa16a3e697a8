"""Settings of the operator: what it asks the API server for, how often it looks, where its probes listen.

The API server here answers every list with nothing and keeps what it was asked: no cluster is needed to see the
questions. What the operator does with answers is tested on a real one (tests/cluster, tests/operator).
"""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.core.ports import free_port
from app.core.pulse import Pulse
from app.operator import main as operator
from tests.settings.case import SIDES, case, check, settings

CASES = (
    case("operator.namespace", "shops", "mails"),
    case("operator.release", "shop", "mail"),
    case("operator.poll_s", 3, 4),
    case("operator.health_host", "127.0.0.1", "127.0.0.2"),
    case("operator.health_port", free_port("127.0.0.1"), free_port("127.0.0.2")),
)


class _Looking(Exception):
    def __init__(self, poll_s: float) -> None:
        self.poll_s = poll_s


@contextmanager
def asked() -> Iterator[tuple[int, list[str]]]:
    """Port of the server and the paths that it was asked for."""
    paths: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            body = json.dumps({"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1], paths
    finally:
        server.shutdown()


@pytest.mark.parametrize("side", SIDES)
def test_the_operator_works_where_and_as_often_as_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, side: int
) -> None:
    def looking(*_: Any, poll_s: float, **__: Any) -> None:
        raise _Looking(poll_s)

    given = settings(CASES, side)
    monkeypatch.setattr(operator, "Autoscaler", looking)
    with asked() as (port, paths):
        monkeypatch.setenv("KUBECONFIG", str(_kubeconfig(tmp_path, port)))
        with pytest.raises(_Looking) as caught:
            asyncio.run(operator._operate(given, Pulse(60)))
    before = _live()
    operator._serve_probes(given, Pulse(60))
    ((host, probe_port),) = _live() - before
    pools = urllib.parse.urlsplit(next(path for path in paths if "workerpools" in path))
    check(
        CASES,
        side,
        {
            "operator.namespace": pools.path.split("/")[5],
            "operator.release": urllib.parse.parse_qs(pools.query)["labelSelector"][0].split("=")[1],
            "operator.poll_s": caught.value.poll_s,
            "operator.health_host": host,
            "operator.health_port": probe_port,
        },
    )


def _kubeconfig(folder: Path, port: int) -> Path:
    file = folder / "kubeconfig"
    file.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return file


def _live() -> set[tuple[str, int]]:
    """Where probes answer, of all the places that the values name."""
    hosts, ports = (each.values for each in CASES[3:])
    return {(host, port) for host in hosts for port in ports if _is_live(host, port)}


def _is_live(host: str, port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/livez", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
