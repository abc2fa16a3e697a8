"""Tracing that is off costs nothing; tracing that cannot deliver holds nobody up."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping

from app.core.ports import free_port

OFF = """
import sys
import app.worker.serve
from app.core.telemetry import tracing
tracing.configure("worker")
assert not tracing.plugins()
assert tracing.flush(1.0)
loaded = [name for name in sys.modules if name.split(".")[0] in ("opentelemetry", "prometheus_client")]
assert not loaded, loaded
"""

DEAD_COLLECTOR = """
import os, time
from app.core.telemetry import tracing
tracing.configure("worker")
from opentelemetry import trace
with trace.get_tracer("test").start_as_current_span("lost"):
    pass
begin = time.monotonic()
sent = tracing.flush(1.0)
print(sent, time.monotonic() - begin, flush=True)
os._exit(0)
"""


def run(code: str, env: Mapping[str, str]) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=True
    ).stdout


def test_without_an_endpoint_a_worker_imports_no_telemetry() -> None:
    run(OFF, {})


def test_the_off_switch_of_opentelemetry_is_obeyed() -> None:
    run(OFF, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4317", "OTEL_SDK_DISABLED": "true"})


def test_a_flush_to_a_dead_collector_ends_in_its_time() -> None:
    begin = time.monotonic()
    endpoint = f"http://127.0.0.1:{free_port('127.0.0.1')}"
    sent, seconds = run(DEAD_COLLECTOR, {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}).split()
    assert sent == "False"
    assert float(seconds) < 3, "1 s was given; the SDK's own flush takes 13 s or more"
    assert time.monotonic() - begin < 30
