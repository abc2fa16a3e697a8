"""/livez, /readyz and /metrics of a worker.

/livez fails when the loop has not turned for `LOOP_BLOCKED_S`, so that a stuck process is replaced. A Temporal outage
touches only /readyz: restarting the fleet would not bring the server back. /metrics is one page: the process's own
series and those of the SDK's core, whose endpoint listens on loopback.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any

from app.core.probes import PROMETHEUS_TEXT, Answer, ProbeServer, verdict
from app.worker.in_flight import InFlight

BEAT_S = 0.5
"""How often an idle loop shows that it turns."""
LOOP_BLOCKED_S = 5.0
SERVER_SILENT_S = 15.0
"""Three missed health checks of Temporal."""
SDK_METRICS_TIMEOUT_S = 2.0
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""http_proxy is for what is outside; many environments set it without an exception for loopback."""


@dataclass
class WorkerState:
    """What the probes look at; times are monotonic seconds. Written by the manager, read by the health threads."""

    queues: tuple[str, ...]
    in_flight: InFlight
    sdk_metrics: str = ""
    phase: str = "starting"
    """starting, connecting, running, draining"""
    loop_turned_at: float = field(default_factory=time.monotonic)
    temporal_answered_at: float = 0.0
    problem: str = ""
    down: dict[str, str] = field(default_factory=dict)
    """Queue -> why its worker ended, until it polls again."""
    polls_failing: dict[str, str] = field(default_factory=dict)
    """Queue -> why its polls do not come through, until they do."""
    restarts: Counter[str] = field(default_factory=Counter)
    """Queue -> how often its worker was started again."""
    current: bool | None = None
    """Whether this build is its deployment's current one; None while Worker Versioning is off, or not known."""
    note: str = ""
    """What is odd and no reason to be unready."""

    def live(self) -> tuple[bool, str]:
        blocked = time.monotonic() - self.loop_turned_at
        if blocked > LOOP_BLOCKED_S:
            return False, f"the event loop has not turned for {blocked:.1f} s"
        return True, "ok"

    def ready(self) -> tuple[bool, str]:
        if self.phase != "running":
            return False, f"{self.phase}{': ' + self.problem if self.problem else ''}"
        reasons = [f"queue {queue} has no worker: {why}" for queue, why in dict(self.down).items()]
        reasons += [f"queue {queue} gets no work: {why}" for queue, why in dict(self.polls_failing).items()]
        silent = time.monotonic() - self.temporal_answered_at
        if silent > SERVER_SILENT_S:
            reasons.insert(0, f"Temporal has not answered for {silent:.0f} s: {self.problem}")
        if reasons:
            return False, "; ".join(reasons)
        return True, f"ok, but {self.note}" if self.note else "ok"


def sdk_page(address: str) -> bytes:
    """The SDK's own metrics, which it shows at `address` (host:port). Raises OSError and ValueError."""
    try:
        with _LOOPBACK.open(f"http://{address}/metrics", timeout=SDK_METRICS_TIMEOUT_S) as answer:
            page: bytes = answer.read()
            return page
    except HTTPException as error:  # cut in the middle
        raise OSError(f"{address}: {error!r}") from error


def probe_server(state: WorkerState, host: str, port: int) -> ProbeServer:
    """The HTTP server of one worker process. Raises OSError when it cannot be listened on."""
    metrics = _Metrics(state)

    def probe(look: Callable[[], tuple[bool, str]]) -> Callable[[], Answer]:
        return lambda: verdict(*look(), queues=state.queues, in_flight=len(state.in_flight.running))

    return ProbeServer(
        host,
        port,
        {
            "/livez": probe(state.live),
            "/readyz": probe(state.ready),
            "/metrics": lambda: Answer(200, metrics.page(), PROMETHEUS_TEXT),
        },
        setting="temporal.worker.health_port",
    )


class _Metrics:
    """The page of /metrics. prometheus_client is imported at the first scrape: 0.1 s that a start does not have."""

    def __init__(self, state: WorkerState) -> None:
        self._state = state
        self._registry: Any = None
        self._lock = threading.Lock()

    def page(self) -> bytes:
        from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector, generate_latest

        sdk = self._sdk_page()
        with self._lock:
            if self._registry is None:
                self._registry = CollectorRegistry()
                self._registry.register(_FleetCollector(self._state))
                ProcessCollector(registry=self._registry)
                PlatformCollector(registry=self._registry)
        up = f"# TYPE fleet_worker_sdk_metrics_up gauge\nfleet_worker_sdk_metrics_up {int(sdk is not None)}\n"
        own: bytes = generate_latest(self._registry)
        return own + up.encode() + (sdk or b"")

    def _sdk_page(self) -> bytes | None:
        try:
            return sdk_page(self._state.sdk_metrics)
        except (OSError, ValueError):
            return None


class _FleetCollector:
    def __init__(self, state: WorkerState) -> None:
        self._state = state

    def collect(self) -> Iterable[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        running = GaugeMetricFamily(
            "fleet_worker_activities_in_flight", "Activity bodies at work.", labels=["task_queue", "activity_type"]
        )
        counts: dict[tuple[str, str], int] = {}
        for body in list(self._state.in_flight.running.values()):
            counts[body.queue, body.activity] = counts.get((body.queue, body.activity), 0) + 1
        for labels, count in counts.items():
            running.add_metric(labels, count)
        yield running
        ended = CounterMetricFamily(
            "fleet_worker_activities_ended",
            "Activity bodies that ended, by outcome.",
            labels=["task_queue", "activity_type", "outcome"],
        )
        for key, count in list(self._state.in_flight.ended.items()):
            ended.add_metric(key, count)
        yield ended
        if drain := self._state.in_flight.draining():
            ends = GaugeMetricFamily(
                "fleet_worker_drain_activities", "Activities of the drain that goes on, by outcome.", labels=["outcome"]
            )
            ends.add_metric(["finished"], drain.finished)
            ends.add_metric(["handed_over"], drain.handed_over)
            ends.add_metric(["released"], drain.released)
            ends.add_metric(["in_hand"], drain.abandoned)
            yield ends
            yield GaugeMetricFamily(
                "fleet_worker_drain_seconds", "How long the drain goes on already.", value=drain.seconds
            )
        phase = GaugeMetricFamily("fleet_worker_state", "1 for the state this process is in.", labels=["state"])
        for name in ("starting", "connecting", "running", "draining"):
            phase.add_metric([name], float(self._state.phase == name))
        yield phase
        restarts = CounterMetricFamily(
            "fleet_worker_restarts", "Workers that ended by themselves and were started again.", labels=["task_queue"]
        )
        for queue in self._state.queues:
            restarts.add_metric([queue], self._state.restarts[queue])
        yield restarts
        failing = GaugeMetricFamily(
            "fleet_worker_polls_failing", "1 while the polls of a queue do not come through.", labels=["task_queue"]
        )
        for queue in self._state.queues:
            failing.add_metric([queue], float(queue in self._state.polls_failing))
        yield failing
        yield GaugeMetricFamily(
            "fleet_worker_loop_lag_seconds",
            "How late the event loop is: the time since it last turned, less the time that it waits by itself.",
            value=max(0.0, time.monotonic() - self._state.loop_turned_at - BEAT_S),
        )
        if self._state.current is not None:
            yield GaugeMetricFamily(
                "fleet_worker_build_current",
                "1 when this build is the current one of its deployment (Worker Versioning).",
                value=float(self._state.current),
            )
