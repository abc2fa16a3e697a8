"""Our autoscaler in the simulation: the one module that knows app.scaling.

It looks as `Autoscaler` and `Observer` do: heartbeats at each look, statistics where `demand` wants them and within one
budget of calls, a query for starts a second while a queue sleeps, and a look at once when one came; then the real
`decide`. Rejected: the real `Observer` behind a simulated client (protobuf messages for weeks of simulated time).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

from app.core.services.temporal.asking import Asking
from app.core.services.temporal.queue_statistics import Answer, answered, turn
from app.core.services.temporal.workflow_starts import EVERY_S as STARTS_EVERY_S
from app.core.services.temporal.workflow_starts import GAP_S as STARTS_GAP_S
from app.scaling import demand as real
from app.scaling.demand import Demand, TypeDemand, WorkerLoad
from app.scaling.fleet import Pool
from app.scaling.memory import Memory
from app.scaling.policy import Policy, decide
from benchmarks.pace import DEFAULT, Pace
from benchmarks.scaling.signals import Beat, Heartbeats, Server, Stats, Visibility
from benchmarks.scaling.world import Queue

APPLY_S = 0.05  # look, decision and the write to the API server


@dataclass
class Seen:
    """One queue as the autoscaler knows it; `answers` by task type."""

    queue: Queue
    server: Server
    policy: Policy
    beats: Heartbeats
    visibility: Visibility
    memory: Memory = field(default_factory=Memory)
    answers: dict[str, Answer[Stats]] = field(default_factory=dict)
    woken: bool = False
    starts_read_at: float = -math.inf  # by a query that named the queue

    def pool(self) -> Pool:
        wanted = self.queue.wanted
        return Pool(self.queue.name, self.policy, tuple(self.queue.kinds), wanted, wanted)


class Operator:
    """Looks after `queues`, and has `per_s` calls to Temporal a second for all of them."""

    def __init__(self, rng: Random, pace: Pace = DEFAULT, per_s: float = 10.0) -> None:
        self._rng, self._pace, self._seen = rng, pace, list[Seen]()
        self._asking = Asking(per_s, clock=lambda: self._loop.now)

    def watch(self, queue: Queue, server: Server, policy: Policy) -> None:
        self._seen.append(
            Seen(queue, server, policy, Heartbeats(queue, self._pace.heartbeat_s), Visibility(queue, self._rng))
        )
        if len(self._seen) == 1:
            self._loop = queue.loop
            look_s = self._pace.look_s
            self._loop.every(look_s, self._rhythm, self._loop.now + self._rng.random() * look_s)

    def _rhythm(self) -> None:
        self._starts()
        self._look(self._seen)
        at = self._loop.now + STARTS_EVERY_S
        while at < self._loop.now + self._pace.look_s - STARTS_EVERY_S / 2:
            self._loop.at(at, self._wake)
            at += STARTS_EVERY_S

    def _wake(self) -> None:
        self._starts()
        if woken := [seen for seen in self._seen if seen.woken and not seen.queue.wanted]:
            self._look(woken)

    def _look(self, some: Sequence[Seen]) -> None:
        now = self._loop.now
        self._owe()
        beats = [seen.beats.read() for seen in some]
        demands = [_demand(seen, told, now) for seen, told in zip(some, beats, strict=True)]
        due = []
        for number, (seen, demand) in enumerate(zip(some, demands, strict=True)):
            # Private there, and still the one place that says which statistics matter.
            wants = real._wants(seen.pool(), demand, asks=seen.memory.asks)
            due += [(*turn(want, seen.answers.get(want.task_type)), number, want) for want in wants]
        asked = set()
        for _, at, number, want in sorted(due):
            if at <= now and self._asking.take():
                seen, kind = some[number], want.task_type
                stats, chance = seen.server.stats(kind) or "no answer", self._rng.random()
                seen.answers[kind] = answered(want, seen.answers.get(kind), now, stats, chance)
                asked.add(number)
        for number, (seen, demand) in enumerate(zip(some, demands, strict=True)):
            self._decide(seen, _demand(seen, beats[number], now) if number in asked else demand, now)

    def _starts(self) -> None:
        asleep, now = [seen for seen in self._seen if not seen.queue.wanted], self._loop.now
        if not asleep:
            return
        self._owe()
        for seen in asleep:
            known, seen.starts_read_at = now - seen.starts_read_at <= STARTS_GAP_S, now
            seen.woken |= seen.visibility.started(now) and known
        for seen in self._seen:
            if seen.queue.wanted:
                seen.starts_read_at = -math.inf

    def _owe(self) -> None:
        self._asking.owe()
        self._seen[0].queue.shared_calls += 1

    def _decide(self, seen: Seen, demand: Demand, now: float) -> None:
        queue, before = seen.queue, seen.queue.wanted
        decision = decide(seen.policy, demand, seen.memory, now, before)
        seen.memory = decision.memory
        seen.woken = False
        if decision.replicas != before:
            spare = [worker.identity for worker in demand.running if worker.used_slots == 0]
            queue.loop.at(now + APPLY_S, queue.scale, decision.replicas, spare)


def _demand(seen: Seen, beats: Mapping[str, Beat] | None, now: float) -> Demand:
    running = None if beats is None else [beat for beat in beats.values() if not beat.draining]
    types = tuple(_type(kind, seen, running, now) for kind in seen.queue.kinds)
    slots = seen.queue.slots * len(seen.queue.kinds)
    loads = tuple(
        WorkerLoad(name, sum(beat.used.values()), slots, beat.draining, now - beat.at)
        for name, beat in (beats or {}).items()
    )
    return Demand(seen.queue.name, types, loads, "" if beats is not None else "ListWorkers: no answer", seen.woken)


def _type(kind: str, seen: Seen, running: list[Beat] | None, now: float) -> TypeDemand:
    answer = seen.answers.get(kind)
    stats = answer.stats if answer and not isinstance(answer.stats, str) else None
    rates = [beat.done[kind] / beat.span_s for beat in running or () if beat.span_s > 0]
    return TypeDemand(
        kind,
        backlog=max(stats.backlog, stats.age_s > 0) if stats else None,
        backlog_age_s=stats.age_s if stats else None,
        add_rate=stats.add_rate if stats else None,
        dispatch_rate=stats.dispatch_rate if stats else None,
        rate_limited=stats.limited if stats else False,
        stats_age_s=now - answer.at if answer else None,
        used_slots=None if running is None else sum(beat.used[kind] for beat in running),
        total_slots=None if running is None else seen.queue.slots * len(running),
        processed_per_s=sum(rates) if running and len(rates) == len(running) else None,
    )
