"""The end of a process: everything that is left is sent, and nothing holds it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from tests.parts.black_hole import black_hole
from tests.parts.collector import collector, over_http
from tests.parts.full_pipe import fill, full_pipe

SPANS = 600
LEAVES = f"""
import sys
from app.core.exit import ExitCode, finish
from app.core.telemetry import logs, tracing
logs.configure()
tracing.configure("worker")
from opentelemetry import trace
for number in range({SPANS}):
    trace.get_tracer("test").start_span(f"span {{number}}").end()
print("ready", flush=True)
sys.stdin.read(1)
finish(ExitCode.HANDED_OVER, flush_s=float(sys.argv[1]))
"""


@contextmanager
def leaving(variables: Mapping[str, str], flush_s: float, stderr: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process with spans in hand, that leaves when the block has ended."""
    command = [sys.executable, "-c", LEAVES, str(flush_s)]
    process = subprocess.Popen(
        command, env={**os.environ, **variables}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
    )
    assert process.stdout
    assert process.stdout.readline() == b"ready\n"
    try:
        yield process
        process.communicate(b"x", timeout=30)
    finally:
        process.kill()


def test_neither_a_full_pipe_nor_a_silent_collector_holds_the_end_of_a_process() -> None:
    with black_hole() as silent, full_pipe() as (_, writing):
        with leaving(over_http(f"http://{silent.address}"), 1.0, writing) as process:
            fill(writing)
            begin = time.monotonic()
        assert process.returncode == 3
        assert time.monotonic() - begin < 8, "1 s and room for a slow machine; without a bound it never ends"


def test_a_collector_that_answers_gets_every_span() -> None:
    with collector() as (variables, names), leaving(variables, 20.0, subprocess.DEVNULL) as process:
        pass
    assert process.returncode == 3
    assert set(names) == {f"span {number}" for number in range(SPANS)}
