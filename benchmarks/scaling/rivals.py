"""Models of what else could scale the queue: KEDA, an HPA on CPU, Knative's law, and as many pods as the peak needs.

KEDA is fitted to what was measured on the real thing (calibration.py). The others are their documented laws, and are
given more than they would have: Knative's sees every task the moment it comes, which Temporal tells nobody; CPU follows
the slots in use.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from benchmarks.scaling.hpa import SYNC_S, Hpa, by_utilization, by_value
from benchmarks.scaling.signals import Server
from benchmarks.scaling.world import Queue


class Scaler(Protocol):
    """Scales one queue from now on: plans its own looks in the queue's loop."""

    def attach(self, queue: Queue, server: Server, rng: Random) -> None: ...


@dataclass
class Static:
    """So many, whatever happens."""

    replicas: int

    def attach(self, queue: Queue, server: Server, rng: Random) -> None:
        queue.scale(self.replicas)


@dataclass
class Keda:
    """KEDA 2.21 as measured. `hpa`: of its ScaledObject; `kinds_asked`: all three task types are the default."""

    min_replicas: int
    hpa: Hpa
    poll_s: float = 30.0
    cooldown_s: float = 300.0
    target: float = 5.0
    activation: float = 0.0
    kinds_asked: int = 3
    first_sync_s: float | None = None  # None: at random
    _active_at: float = field(init=False, default=-math.inf)

    def attach(self, queue: Queue, server: Server, rng: Random) -> None:
        self._queue, self._server, self._rng = queue, server, rng
        self._active_at = queue.loop.now
        first_s = rng.random() * SYNC_S if self.first_sync_s is None else self.first_sync_s
        queue.loop.every(SYNC_S, self._sync, queue.loop.now + first_s)
        if self.min_replicas == 0:  # else it does not poll by itself
            queue.loop.at(queue.loop.now + rng.random() * self.poll_s, self._poll)

    def _backlog(self) -> int | None:
        queue = self._queue
        queue.calls += self.kinds_asked - len(queue.kinds)
        answers = [self._server.stats(kind) for kind in queue.kinds]
        return None if None in answers else sum(stats.backlog for stats in answers if stats)

    def _poll(self) -> None:
        # A poll comes 5 s and a bit after the one before; one in four meets the server's cache, or tuned would need
        # 2.5 s from 0 to 1 at the median and 5.0 s at worst, and not the measured 3.3 s and 9.8 s.
        queue, now = self._queue, self._queue.loop.now
        queue.loop.at(now + self.poll_s + self._rng.uniform(-0.02, 0.06), self._poll)
        backlog = self._backlog()
        if backlog is None:
            return
        if backlog > self.activation:
            self._active_at = math.floor(now)  # lastActiveTime is kept in whole seconds
            if queue.wanted == 0:
                queue.scale(1)
        elif queue.wanted and now - self._active_at > self.cooldown_s:
            queue.scale(0)

    def _sync(self) -> None:
        queue = self._queue
        current = queue.wanted
        if current == 0:
            return
        backlog = self._backlog()
        if backlog is not None:
            queue.scale(self.hpa.sync(queue.loop.now, current, by_value(current, backlog, self.target)))


def keda_default(min_replicas: int, max_replicas: int) -> Keda:
    """A trigger with endpoint, namespace and task queue, and nothing else."""
    return Keda(min_replicas, Hpa(max(1, min_replicas), max_replicas))


def keda_tuned(min_replicas: int, max_replicas: int) -> Keda:
    """Poll 5 s, cooldown 30 s, and a scale-up policy of 100 pods in 15 s."""
    hpa = Hpa(max(1, min_replicas), max_replicas, pods_per_sync=100)
    return Keda(min_replicas, hpa, poll_s=5.0, cooldown_s=30.0)


@dataclass
class CpuHpa:
    """An HPA on CPU, at best: a pod with all its slots in use is at 100 % of its request. It cannot reach 0."""

    hpa: Hpa
    target: float = 0.7
    _readings: deque[dict[str, float]] = field(init=False, default_factory=lambda: deque(maxlen=3))

    def attach(self, queue: Queue, server: Server, rng: Random) -> None:
        self._queue = queue
        queue.scale(max(queue.wanted, self.hpa.min_replicas))
        queue.loop.every(SYNC_S / 3, self._measure, queue.loop.now + rng.random() * 5)
        queue.loop.every(SYNC_S, self._sync, queue.loop.now + rng.random() * SYNC_S)

    def _measure(self) -> None:
        slots = self._queue.slots
        used = {pod.name: 1 - min(pod.free.values()) / slots for pod in self._queue.live if pod.running}
        self._readings.append(used)

    def _sync(self) -> None:
        queue = self._queue
        ready, starting = [], 0
        for pod in queue.live:
            readings = [reading[pod.name] for reading in self._readings if pod.name in reading]
            if readings:
                ready.append(sum(readings) / len(readings))
            else:
                starting += 1
        wanted = by_utilization(ready, starting, queue.wanted, self.target)
        queue.scale(self.hpa.sync(queue.loop.now, queue.wanted, wanted))


@dataclass
class Knative:
    """The KPA's law with its defaults, on the tasks in hand and waiting."""

    min_replicas: int
    max_replicas: int
    target: float = 0.7
    stable_s: float = 60.0
    panic_s: float = 6.0
    panic_at: float = 2.0
    grace_s: float = 30.0
    tick_s: float = 2.0
    _seen: deque[tuple[float, int]] = field(init=False, default_factory=deque)
    _panic_at: float = field(init=False, default=-math.inf)
    _panic_most: int = field(init=False, default=0)
    _zero_since: float = field(init=False, default=math.inf)

    def attach(self, queue: Queue, server: Server, rng: Random) -> None:
        self._queue = queue
        queue.on_task = self._poke
        queue.loop.every(self.tick_s, self._tick, queue.loop.now + rng.random() * self.tick_s)

    def _poke(self) -> None:
        if self._queue.wanted == 0:
            self._queue.scale(1)

    def _tick(self) -> None:
        queue, now = self._queue, self._queue.loop.now
        if now < queue.down_until:
            return
        load = max(
            len(lane.backlog) + len(lane.unhandled) + sum(queue.slots - p.free[kind] for p in queue.pods.values())
            for kind, lane in queue.lanes.items()
        )
        self._seen.append((now, load))
        while self._seen[0][0] <= now - self.stable_s:
            self._seen.popleft()
        each = queue.slots * self.target
        stable = sum(n for _, n in self._seen) / len(self._seen) / each
        recent = [n for at, n in self._seen if at > now - self.panic_s]
        panic = sum(recent) / len(recent) / each
        ready = max(1, sum(pod.running for pod in queue.live))
        wanted = math.ceil(stable)
        if panic / ready >= self.panic_at:
            self._panic_at = now
        if now - self._panic_at <= self.stable_s:
            self._panic_most = wanted = max(self._panic_most, math.ceil(panic), queue.wanted)
        else:
            self._panic_most = 0
            wanted = max(wanted, ready // 2)  # max-scale-down-rate 2
        self._apply(wanted, now)

    def _apply(self, wanted: int, now: float) -> None:
        queue = self._queue
        self._zero_since = min(self._zero_since, now) if wanted == 0 else math.inf
        if wanted == 0 and queue.wanted and now - self._zero_since < self.grace_s:
            wanted = 1
        queue.scale(max(self.min_replicas, min(wanted, self.max_replicas)))
