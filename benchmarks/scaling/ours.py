"""Our autoscaler in the simulation: the one module that knows app.scaling.

It looks as the real one does: heartbeats at each look, statistics only where they matter and within one budget of
requests, a wake query a second while a queue sleeps; then the real `decide`, and its answer at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from random import Random
from typing import Any

from app.scaling.demand import Demand, TypeDemand, WorkerLoad
from app.scaling.policy import Decision, Memory, Policy, decide
from benchmarks.scaling.signals import Beat, Heartbeats, Server, Stats, Visibility
from benchmarks.scaling.world import Queue

LOOK_S = 3.0
WAKE_S = 1.0
ASK_S, ASK_SELDOM_S = 5.0, 30.0
APPLY_S = 0.05  # look, decision and the write to the API server
_TYPE_FIELDS = {one.name for one in fields(TypeDemand)}
_DEMAND_FIELDS = {one.name for one in fields(Demand)}


@dataclass
class Seen:
    """One queue as the autoscaler knows it."""

    queue: Queue
    server: Server
    policy: Policy
    beats: Heartbeats
    visibility: Visibility
    memory: Memory = field(default_factory=Memory)
    stats: dict[str, Stats] = field(default_factory=dict)
    asked_at: float = -1e9
    slept_at: float = 0.0
    decision: Decision | None = None

    def due(self, now: float) -> float:
        """How many times over the statistics are older than they may be; below 1 they need not be asked for."""
        return (now - self.asked_at) / (ASK_S if self._urgent() else ASK_SELDOM_S)

    def _urgent(self) -> bool:
        last, beats = self.decision, self.beats.read()
        if self.queue.wanted == 0 or last is None or not beats:
            return True
        used = sum(max(beat.used.values()) for beat in beats.values() if not beat.draining)
        saturated = used >= len(beats) * self.queue.slots
        waiting = any(stats.backlog for stats in self.stats.values())
        lowest = max(1, self.policy.min_replicas) if self.policy.min_replicas else 0
        shrinks = last.replicas > lowest and last.memory.needs and last.memory.needs[0][1] < last.replicas
        calm = last.replicas == 1 and self.policy.min_replicas == 0 and used == 0
        return bool(saturated or waiting or shrinks or calm)


class Operator:
    """Looks after `queues`, and has `budget` requests a second for all of them."""

    def __init__(self, rng: Random, budget: float = 10.0) -> None:
        self._rng, self._budget, self._tokens = rng, budget, budget * LOOK_S
        self._seen: list[Seen] = []
        self.namespace_calls = 0
        self.decisions = 0

    def watch(self, queue: Queue, server: Server, policy: Policy) -> None:
        seen = Seen(queue, server, policy, Heartbeats(queue), Visibility(queue, self._rng))
        self._seen.append(seen)
        if len(self._seen) == 1:
            loop = queue.loop
            loop.every(LOOK_S, self._look, loop.now + self._rng.random() * LOOK_S)
            loop.every(WAKE_S, self._wake, loop.now + self._rng.random() * WAKE_S)

    def _look(self) -> None:
        now = self._seen[0].queue.loop.now
        self.namespace_calls += 1
        self._tokens = min(self._tokens + self._budget * LOOK_S, self._budget * LOOK_S) - 1
        for seen in sorted(self._seen, key=lambda s: -s.due(now)) if len(self._seen) > 1 else self._seen:
            cost = len(seen.queue.kinds)
            if seen.due(now) >= 1 and self._tokens >= cost:
                self._tokens -= cost
                self._ask(seen, now)
            self._decide(seen, now, False)

    def _wake(self) -> None:
        asleep = [seen for seen in self._seen if seen.queue.wanted == 0]
        if not asleep:
            return
        self._tokens -= 1
        self.namespace_calls += 1
        for seen in asleep:
            if seen.visibility.started(seen.slept_at):
                self._decide(seen, seen.queue.loop.now, True)

    def _ask(self, seen: Seen, now: float) -> None:
        seen.asked_at = now
        answers = {kind: seen.server.stats(kind) for kind in seen.queue.kinds}
        seen.stats = {kind: stats for kind, stats in answers.items() if stats}

    def _decide(self, seen: Seen, now: float, woken: bool) -> None:
        queue, beats, before = seen.queue, seen.beats.read(), seen.queue.wanted
        demand = None if beats is None else _demand(seen, beats, now, woken)
        seen.decision = decide(seen.policy, demand, seen.memory, now, before)
        seen.memory = seen.decision.memory
        self.decisions += 1
        if seen.decision.replicas != before:
            spare = [w.identity for w in demand.running if w.used_slots == 0] if demand else []
            if seen.decision.replicas == 0:
                seen.slept_at = now
            queue.loop.at(now + APPLY_S, queue.scale, seen.decision.replicas, spare)


def _demand(seen: Seen, beats: dict[str, Beat], now: float, woken: bool) -> Demand:
    running = [beat for beat in beats.values() if not beat.draining]
    types = tuple(_type(kind, seen, running, now) for kind in seen.queue.kinds)
    slots = seen.queue.slots * len(seen.queue.kinds)
    loads = tuple(
        WorkerLoad(name, sum(beat.used.values()), slots, beat.draining, now - beat.at) for name, beat in beats.items()
    )
    extra = {"woken": woken} if "woken" in _DEMAND_FIELDS else {}
    return Demand(seen.queue.name, types, loads, now, **_unknown(extra))


def _type(kind: str, seen: Seen, running: Sequence[Beat], now: float) -> TypeDemand:
    stats = seen.stats.get(kind)
    spans = [beat.done[kind] / beat.span_s for beat in running if beat.span_s > 0]
    values: dict[str, Any] = {
        "backlog": stats.backlog if stats else None,
        "backlog_age_s": stats.age_s if stats else None,
        "add_rate": stats.add_rate if stats else None,
        "dispatch_rate": stats.dispatch_rate if stats else None,
        "rate_limited": stats.limited if stats else False,
        "used_slots": sum(beat.used[kind] for beat in running),
        "total_slots": seen.queue.slots * len(running),
        "processed_per_s": sum(spans) if running and len(spans) == len(running) else None,
        "stats_age_s": now - seen.asked_at if stats else None,
    }
    return TypeDemand(kind, **{name: value for name, value in values.items() if name in _TYPE_FIELDS})


def _unknown(extra: dict[str, Any]) -> dict[str, Any]:
    """Fields that mypy cannot see while app.scaling does not have them yet."""
    return extra
