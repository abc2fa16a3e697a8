"""Demand: what one task queue needs now, from what Temporal knows of it.

Two sources that fail apart from each other: worker heartbeats at each look (one ListWorkers for the namespace: slots in
use, tasks processed) and the server's statistics (backlog, its age, rates), asked for where they matter: of queues that
sleep, are short of slots, get more to do or are about to shrink. What could not be read is None, never 0, and `problem`
says why; what is older than a look has its age. Rejected: the server's rates alone (eager and sticky work reads 0).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from temporalio.client import Client

from app.core.services.temporal.asking import Asking
from app.core.services.temporal.heartbeats import Heartbeat, Heartbeats
from app.core.services.temporal.heartbeats import WorkerLoad as WorkerLoad
from app.core.services.temporal.queue_statistics import Answer, Statistics, Want
from app.core.services.temporal.workflow_starts import Starts

if TYPE_CHECKING:
    from app.scaling.fleet import Pool

FRESH_S = 12.0  # the 5 s that the server caches, some looks and a failed one: older numbers change no replicas
URGENT_S, LULL_S, CALM_S = 5.0, 30.0, 60.0  # between two questions; the server caches 5 s, and its rates are of 30


@dataclass(frozen=True)
class TypeDemand:
    """One task type of a queue; None is unknown. Slots and tasks are those of workers that do not drain."""

    task_type: str
    backlog: int | None = None
    backlog_age_s: float | None = None
    add_rate: float | None = None
    dispatch_rate: float | None = None
    rate_limited: bool = False
    stats_age_s: float | None = None  # since Temporal was asked for the five above
    used_slots: int | None = None
    total_slots: int | None = None
    processed_per_s: float | None = None

    @property
    def fresh(self) -> bool:
        """Backlog and rates are known, and of now."""
        return self.backlog is not None and (self.stats_age_s or 0.0) <= FRESH_S


@dataclass(frozen=True)
class Demand:
    """Demand of one task queue."""

    task_queue: str
    types: tuple[TypeDemand, ...]
    workers: tuple[WorkerLoad, ...]
    problem: str = ""
    woken: bool = False
    """A workflow was started on a queue that sleeps, or on one that it wakes with."""

    @property
    def known(self) -> Literal["Full", "Partial", "None"]:
        """Whether backlog and slots of every type could be read, or some of that, or nothing."""
        read = [value is not None for t in self.types for value in (t.backlog, t.used_slots)]
        return "Full" if all(read) else "Partial" if any(read) else "None"

    @property
    def running(self) -> tuple[WorkerLoad, ...]:
        """Workers at work, those that drain left out."""
        return tuple(w for w in self.workers if not w.draining)

    @property
    def fresh(self) -> bool:
        """The statistics of every type are."""
        return all(t.fresh for t in self.types)

    @property
    def calm(self) -> bool:
        """All is known, and nothing waits or runs, came in the last 30 s or has just ended."""
        moves = any(t.backlog or t.used_slots or t.add_rate or t.processed_per_s for t in self.types)
        return self.known == "Full" and not (moves or self.woken or any(w.used_slots for w in self.workers))


class Observer:
    """Looks at the task queues of a namespace, again and again."""

    def __init__(self, asking: Asking, heartbeat_interval_s: float) -> None:
        """`heartbeat_interval_s`: how often workers tell their slots."""
        self._heartbeats = Heartbeats(asking, heartbeat_interval_s)
        self._statistics = Statistics(asking)
        self.starts = Starts(asking)
        self._clock = asking.clock

    async def look(
        self,
        client: Client,
        pools: Sequence[Pool],
        asks: Container[str] = (),
        resting: Iterable[tuple[str, Demand]] = (),
    ) -> dict[str, Demand]:
        """Demand by the pool's name. Those in `asks` would shrink, were their statistics fresh.

        `resting`: what was known of pools that sleep; where nothing new is heard it is their demand, the same object.
        """
        told = await self._heartbeats.read(client)
        heard = not isinstance(told, str)
        rest = {n: d for n, d in resting if heard and d.known == "Full" and not (d.workers or d.task_queue in told)}
        seen = rest | {pool.name: self._demand(pool, told) for pool in pools if pool.name not in rest}
        wanted = [want for pool in pools for want in _wants(pool, seen[pool.name], asks=pool.name in asks)]
        asked = await self._statistics.refresh(client, wanted)
        again = (p for p in pools if p.name not in rest or p.policy.task_queue in asked)  # older by the wait for others
        return seen | {pool.name: self._demand(pool, told) for pool in again}

    def _demand(self, pool: Pool, heartbeats: Mapping[str, Sequence[Heartbeat]] | str) -> Demand:
        queue, slots = pool.policy.task_queue, pool.policy.slots_per_replica
        mine = None if isinstance(heartbeats, str) else heartbeats.get(queue, [])
        answers = {kind: self._statistics.answers.get((queue, kind)) for kind in pool.task_types}
        stats = (answer.stats for answer in answers.values() if answer)
        problems = dict.fromkeys(p for p in (heartbeats, *stats) if isinstance(p, str))
        types = tuple(_type_demand(slots, kind, mine, answer, self._clock()) for kind, answer in answers.items())
        loads = tuple(told.load(pool.task_types, slots) for told in mine or ())
        return Demand(queue, types, loads, "; ".join(problems))


def _wants(pool: Pool, demand: Demand, *, asks: bool) -> list[Want]:
    """How old the statistics of each type may be, after what is known of the queue already."""
    asleep = pool.replicas == 0
    urgent = asks or not (asleep or demand.running) or any(_pressed(t) for t in demand.types)
    # Sleepers before the others would be all that a thousand of them leave time for: all but the urgent take turns.
    at_work = any(t.processed_per_s or t.used_slots for t in demand.types)
    lull = pool.policy.min_replicas == 0 and not at_work and any(t.add_rate for t in demand.types)  # but for its rate
    rank, every_s = (0 if urgent else 1), (URGENT_S if urgent or asleep else LULL_S if lull else CALM_S)
    # Activities show in the slots in use, workflow tasks of milliseconds in how many end a second.
    works = (None if t.processed_per_s is None else (t.used_slots or 0) + t.processed_per_s for t in demand.types)
    return [Want(rank, demand.task_queue, t.task_type, every_s, w) for t, w in zip(demand.types, works, strict=True)]


def _pressed(t: TypeDemand) -> bool:
    full = t.used_slots is None or 0 < 0.9 * (t.total_slots or 0) <= t.used_slots  # or nearly
    return full or bool(t.backlog) or t.rate_limited


def _type_demand(
    per_replica: int, kind: str, mine: Sequence[Heartbeat] | None, answer: Answer[Any] | None, now: float
) -> TypeDemand:
    stats = answer.stats if answer and not isinstance(answer.stats, str) else None
    age_ms = stats.approximate_backlog_age.ToMilliseconds() if stats else 0
    slots = [h.slots[kind] for h in mine or () if h.running]
    # A first heartbeat has no interval yet; the slots of four workers over the tasks of three is no service time.
    rates = [s.processed_per_s for s in slots if s.processed_per_s is not None]
    return TypeDemand(
        kind,
        # A server that was killed has counted 0 for a minute while 200 tasks waited, and their age went on.
        backlog=max(stats.approximate_backlog_count, age_ms > 0) if stats else None,
        backlog_age_s=age_ms / 1000 if stats else None,
        add_rate=stats.tasks_add_rate if stats else None,
        dispatch_rate=stats.tasks_dispatch_rate if stats else None,
        rate_limited=stats.rate_limiting_active if stats else False,
        stats_age_s=now - answer.at if answer else None,
        used_slots=None if mine is None else sum(s.used for s in slots),
        total_slots=None if mine is None else sum(s.total(per_replica) for s in slots),
        processed_per_s=sum(rates) if slots and len(rates) == len(slots) else None,
    )
