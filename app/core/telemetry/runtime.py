"""The SDK's runtime of this process: worker heartbeats, its metrics in Prometheus style, its logs through `logging`.

One a process (a second would double the threads); its metrics endpoint listens on loopback only and is merged into the
process's own /metrics, so that a pod has one port to scrape.
"""

from __future__ import annotations

import logging
from datetime import timedelta

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from app.core.ports import UNSEEN, free_port

WAIT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300)
"""The SDK's own buckets jump from 1 to 5 s and start at 100 ms: no objective below a second could be seen in them."""

_WAITS = ("workflow_task_schedule_to_start_latency", "activity_schedule_to_start_latency")


def client_runtime() -> Runtime:
    """For a process that only talks to Temporal."""
    return Runtime(telemetry=TelemetryConfig(logging=_forwarded_logs()), worker_heartbeat_interval=None)


def worker_runtime(heartbeat_s: float) -> tuple[Runtime, str]:
    """For a worker: (runtime, address of the SDK's metrics on loopback). `heartbeat_s`: 1 to 60 seconds.

    Raises ValueError when no port could be had in several tries.
    """
    for attempt in range(5):
        address = f"127.0.0.1:{free_port('127.0.0.1', UNSEEN)}"
        try:
            runtime = Runtime(
                telemetry=TelemetryConfig(
                    logging=_forwarded_logs(),
                    attach_service_name=False,
                    metrics=PrometheusConfig(
                        bind_address=address,
                        counters_total_suffix=True,
                        unit_suffix=True,
                        durations_as_seconds=True,
                        histogram_bucket_overrides=dict.fromkeys(_WAITS, WAIT_BUCKETS_S),
                    ),
                ),
                worker_heartbeat_interval=timedelta(seconds=heartbeat_s),
            )
        except ValueError:
            # Somebody took the port between the look and the bind; the SDK cannot report a port of its own choice.
            if attempt == 4:
                raise
            continue
        return runtime, address
    raise AssertionError("unreachable")


def _forwarded_logs() -> LoggingConfig:
    return LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(
            logger=logging.getLogger("temporalio.core"), append_target_to_name=False, prepend_target_on_message=False
        ),
    )
