"""What Temporal tells of a modelled queue, with all that can be wrong with it: `Told.look` is its Observer.

Statistics are asked for as rarely as `app.scaling.demand` does, and cached; heartbeats of the dead linger. `Look` is
what a test may judge by: the demand that the policy got and, for each number of it, when Temporal was asked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.scaling.modelled import Pod, World

URGENT_S, CALM_S = 5.0, 69.0  # with all the jitter
GONE_S = 6.0  # a worker that has told nothing new for so long is not listed


class Answer(NamedTuple):
    """Statistics of one task type; `backlog` None: the call failed."""

    asked_at: float
    backlog: int | None = None
    age_s: float = 0.0
    add_rate: float = 0.0
    dispatch_rate: float = 0.0
    limited: bool = False


class Look(NamedTuple):
    """A look at `now` of the autoscaler's clock."""

    now: float
    demand: Any
    asked_at: Mapping[str, float]
    """Of each task type's statistics."""


@dataclass
class Told:
    """The faults of the signals, and what is remembered of them. `types`: the module that has Demand and its parts."""

    world: World
    types: Any
    clock: float = 5000.0
    away: bool = False
    heartbeats_fail: bool = False
    statistics_fail: bool = False
    not_asked: bool = False
    limited: bool = False
    wrong_rate: float | None = None
    counted_twice: dict[str, int] = field(default_factory=dict)
    woken: bool = False
    answers: dict[str, Answer] = field(default_factory=dict)
    decided_at: float = 0.0

    def clear(self) -> None:
        """Every fault ends."""
        self.away = self.heartbeats_fail = self.statistics_fail = self.not_asked = self.limited = self.woken = False
        self.wrong_rate, self.counted_twice = None, {}
        for pod in self.world.pods:
            pod.silent = False

    def restart_server(self) -> None:
        """What waits is counted twice from now on, as far as it is not taken."""
        for kind, line in self.world.lines.items():
            self.counted_twice[kind] = self.counted_twice.get(kind, 0) + len(line.waiting) + len(line.unhandled)

    def look(self, current: int, *, asks: bool) -> Look:
        """What is known when the autoscaler wants `current` replicas, and would shrink if its statistics were new."""
        heard = None if self.heartbeats_fail else self._heard()
        running = [pod for pod in heard or () if not pod.draining]
        for kind in self.world.lines:
            last = self.answers.get(kind)
            used = sum(pod.told_used[kind] for pod in running)
            full = heard is None or used >= max(1, 0.9 * self.world.slots * len(running))
            urgent = full or asks or not current or not running or (last and (last.backlog or last.limited))
            every_s = URGENT_S if urgent or (last and last.backlog is None) else CALM_S
            if last is None or (self.clock - last.asked_at >= every_s and not self.not_asked):
                self.answers[kind] = Answer(self.clock) if self.statistics_fail else self._ask(kind)
        # A decision is made some time after its look, now more and now less.
        self.decided_at = max(self.decided_at, self.clock + 0.001 * (self.clock * 7 % 40))
        if self.away:
            return Look(self.decided_at, None, {})
        types = tuple(self._type(kind, heard, answer) for kind, answer in self.answers.items())
        loads = tuple(self._load(pod) for pod in heard or ())
        bad = heard is None or any(answer.backlog is None for answer in self.answers.values())
        woken = self.woken and current == 0
        self.woken = self.woken and not current
        demand = self.types.Demand("q", types, loads, "a call failed" if bad else "", woken)
        return Look(self.decided_at, demand, {kind: answer.asked_at for kind, answer in self.answers.items()})

    def _heard(self) -> list[Pod]:
        return [p for p in (*self.world.pods, *self.world.dead) if self.world.now - p.told_at <= GONE_S and p.told_used]

    def _ask(self, kind: str) -> Answer:
        world, line = self.world, self.world.lines[kind]
        came = [at for at, _ in line.waiting] + line.unhandled
        twice = self.counted_twice.get(kind, 0)
        if not came and world.up():
            twice = self.counted_twice[kind] = 0  # what is counted twice ends when it is dispatched
        rates = (len(line.added) / 30, len(line.dispatched) / 30)
        if twice:
            rates = (10_000.0, rates[1])  # what is taken in again is added
        if self.wrong_rate is not None:
            rates = (self.wrong_rate, self.wrong_rate)
        age_s = world.now - min(came, default=world.now)
        return Answer(self.clock, len(came) + twice, age_s, *rates, self.limited)

    def _type(self, kind: str, heard: list[Pod] | None, answer: Answer) -> Any:
        known = answer.backlog is not None
        running = [pod for pod in heard or () if not pod.draining]
        rates = [pod.told_rates[kind] for pod in running]
        told = [rate for rate in rates if rate is not None]
        return self.types.TypeDemand(
            kind,
            backlog=answer.backlog,
            backlog_age_s=answer.age_s if known else None,
            add_rate=answer.add_rate if known else None,
            dispatch_rate=answer.dispatch_rate if known else None,
            rate_limited=answer.limited,
            stats_age_s=self.clock - answer.asked_at,
            used_slots=None if heard is None else sum(pod.told_used[kind] for pod in running),
            total_slots=None if heard is None else len(running) * self.world.slots,
            processed_per_s=math.fsum(told) if told and len(told) == len(rates) else None,
        )

    def _load(self, pod: Pod) -> Any:
        used, total = sum(pod.told_used.values()), self.world.slots * len(self.world.lines)
        return self.types.WorkerLoad(pod.name, used, total, pod.draining, self.world.now - pod.told_at)
