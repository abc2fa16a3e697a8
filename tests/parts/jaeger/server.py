"""A real Jaeger 2, in memory, built once from its Go module and started on free ports."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.parts.building import BuildFailed, GoMissing, program

__all__ = ["BuildFailed", "GoMissing", "Jaeger", "Span", "binary"]

_HERE = Path(__file__).resolve().parent
_PACKAGE = "github.com/jaegertracing/jaeger/cmd/jaeger"
_PORTS = ("OTLP_GRPC", "OTLP_HTTP", "QUERY_HTTP", "QUERY_GRPC")
_START_LIMIT_S = 20.0
# No proxy settings of the environment may apply to loopback.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Span:
    """One stored span: ids in hex, times in microseconds (start since the epoch); `resource`: what its process is."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    service: str
    start_us: int
    duration_us: int
    tags: dict[str, object]
    resource: dict[str, object]


def binary() -> Path:
    """The cached Jaeger binary, built first (about 7 CPU minutes) if missing. Raises GoMissing, BuildFailed."""
    return program(_HERE, "jaeger", _PACKAGE, "about 7 CPU minutes")


def _free_ports(count: int) -> list[int]:
    # All are held before any is given back, so that no two are the same; and on every address, for any of them.
    held = [socket.socket() for _ in range(count)]
    try:
        for each in held:
            each.bind(("", 0))
        return [int(each.getsockname()[1]) for each in held]
    finally:
        for each in held:
            each.close()


def _listens(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((host, port)) == 0


class Jaeger:
    """A running Jaeger: `with Jaeger() as jaeger:`, or start() and stop(). It takes spans at `host`, and only there."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._host = host
        self.otlp_grpc = ""
        self.otlp_http = ""
        self.query = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log: int | None = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Self:
        """Builds if need be, starts, waits until healthy (20 s). Raises RuntimeError with the tail of its log."""
        if self._process is not None:
            raise RuntimeError("Jaeger is already started")
        built = binary()
        for attempt in range(3):
            try:
                self._launch(built)
                return self
            except BaseException as error:
                log = self._log_tail()
                self.stop()
                # Another process may take a port between our look and Jaeger's bind.
                if attempt == 2 or "address already in use" not in log or not isinstance(error, RuntimeError):
                    raise
        raise AssertionError("unreachable")

    def _launch(self, built: Path) -> None:
        ports = dict(zip(_PORTS, _free_ports(len(_PORTS)), strict=True))
        # The tests' own OTEL_* settings are not meant for Jaeger, which would read them.
        env = {key: value for key, value in os.environ.items() if not key.startswith("OTEL_")}
        env |= {f"FLEET_JAEGER_{name}": str(port) for name, port in ports.items()}
        env["FLEET_JAEGER_OTLP_HOST"] = self._host
        self.otlp_grpc = f"http://{self._host}:{ports['OTLP_GRPC']}"
        self.otlp_http = f"http://{self._host}:{ports['OTLP_HTTP']}"
        self.query = f"http://127.0.0.1:{ports['QUERY_HTTP']}"
        self._log, name = tempfile.mkstemp()
        os.unlink(name)
        self._process = subprocess.Popen(
            [str(built), "--config", str(_HERE / "config.yaml")],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        deadline = time.monotonic() + _START_LIMIT_S
        while not self._healthy(ports):
            if self._process.poll() is not None:
                raise RuntimeError(f"Jaeger ended with exit {self._process.returncode}\n{self._log_tail()}")
            if time.monotonic() > deadline:
                raise RuntimeError(f"Jaeger was not healthy after {_START_LIMIT_S:.0f} s\n{self._log_tail()}")
            time.sleep(0.05)

    def _healthy(self, ports: dict[str, int]) -> bool:
        # The query API answers before the receivers listen.
        try:
            self._get("/api/services")
        except OSError:
            return False
        return all(_listens(self._host, ports[name]) for name in ("OTLP_GRPC", "OTLP_HTTP"))

    def stop(self) -> None:
        """Ends Jaeger, by force after 5 s. Does nothing when it is not running."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._log is not None:
            os.close(self._log)
            self._log = None

    def _log_tail(self) -> str:
        if self._log is None:
            return ""
        # pread leaves the offset alone, which Jaeger shares.
        size = os.fstat(self._log).st_size
        return os.pread(self._log, 4000, max(0, size - 4000)).decode(errors="replace")

    def _get(self, path: str) -> Any:
        with _OPENER.open(self.query + path, timeout=5) as answer:
            return json.load(answer)

    def trace(self, trace_id: str) -> list[Span]:
        """The trace's spans so far, in order of their start; [] when unknown. Raises OSError."""
        try:
            found = self._get(f"/api/traces/{trace_id}")
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return []
            raise
        spans = [_span(raw, each["processes"]) for each in found["data"] for raw in each["spans"]]
        return sorted(spans, key=lambda span: (span.start_us, -span.duration_us))

    def wait_for_trace(self, trace_id: str, until: Callable[[list[Span]], bool], timeout_s: float = 20) -> list[Span]:
        """The spans once `until` holds for them. Raises TimeoutError with the names of the spans it saw."""
        deadline = time.monotonic() + timeout_s
        while True:
            spans = self.trace(trace_id)
            if until(spans):
                return spans
            if time.monotonic() > deadline:
                names = ", ".join(span.name for span in spans) or "none"
                raise TimeoutError(f"trace {trace_id} not as wanted after {timeout_s:g} s; its spans: {names}")
            time.sleep(0.1)

    def find(self, service: str) -> list[str]:
        """The trace ids of a service in the last hour, at most 1000. Raises OSError."""
        now_us = time.time_ns() // 1000
        query = {"service": service, "start": now_us - 3_600_000_000, "end": now_us, "limit": 1000}
        found = self._get("/api/traces?" + urllib.parse.urlencode(query))
        return [each["traceID"] for each in found["data"]]


def _span(raw: dict[str, Any], processes: dict[str, Any]) -> Span:
    parents = [ref["spanID"] for ref in raw["references"] if ref["refType"] == "CHILD_OF"]
    process = processes[raw["processID"]]
    return Span(
        trace_id=raw["traceID"],
        span_id=raw["spanID"],
        parent_id=parents[0] if parents else None,
        name=raw["operationName"],
        service=process["serviceName"],
        start_us=raw["startTime"],
        duration_us=raw["duration"],
        tags={tag["key"]: _value(tag) for tag in raw["tags"]},
        resource={tag["key"]: _value(tag) for tag in process["tags"]},
    )


def _value(tag: dict[str, Any]) -> object:
    # Integers beyond 53 bits come as text.
    return int(tag["value"]) if tag["type"] == "int64" else tag["value"]
