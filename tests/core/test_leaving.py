"""The end of a process: everything that is left is sent, and nothing holds it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import IO

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.parts.black_hole import black_hole

LEAVES = """
import sys
from app.core.exit import ExitCode, finish
from app.core.telemetry import logs, tracing
logs.configure()
tracing.configure("worker")
from opentelemetry import trace
for number in range(600):
    trace.get_tracer("test").start_span(f"span {number}").end()
print("ready", flush=True)
sys.stdin.read(1)
finish(ExitCode.HANDED_OVER, flush_s=float(sys.argv[1]))
"""


@contextmanager
def leaving(endpoint: str, flush_s: float, stderr: int | IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """A process with 600 spans that leaves when a byte is written to it."""
    env = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}
    command = [sys.executable, "-c", LEAVES, str(flush_s)]
    process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr)
    try:
        assert process.stdout
        assert process.stdin
        assert process.stdout.readline() == b"ready\n"
        yield process
        process.stdin.write(b"x")
        process.stdin.flush()
    except BaseException:
        process.kill()
        raise


def test_neither_a_full_pipe_nor_a_silent_collector_holds_the_end_of_a_process() -> None:
    reading, writing = os.pipe()
    with black_hole() as collector:
        with leaving(f"http://{collector.address}", 1.0, writing) as process:
            # A descriptor of its own: what makes this one not block leaves that of the process as it is.
            filling = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
            fill(filling)
        begin = time.monotonic()
        try:
            assert process.wait(30) == 3
        finally:
            process.kill()
        assert time.monotonic() - begin < 8, "1 s and room for a slow machine; without a bound it would never end"
    for descriptor in (reading, writing, filling):
        os.close(descriptor)


def test_a_collector_that_answers_gets_every_span() -> None:
    with collector() as (endpoint, names):
        with leaving(endpoint, 20.0, subprocess.DEVNULL) as process:
            pass
        assert process.wait(30) == 3
    assert set(names) == {f"span {number}" for number in range(600)}


def fill(descriptor: int) -> None:
    try:
        while True:
            os.write(descriptor, b"." * 65536)
    except BlockingIOError:
        try:
            while True:
                os.write(descriptor, b".")
        except BlockingIOError:
            return


@contextmanager
def collector() -> Iterator[tuple[str, list[str]]]:
    """An OTLP endpoint and the names of the spans that it got."""
    names: list[str] = []

    class Take(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    names.extend(span.name for span in scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Take)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", names
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
