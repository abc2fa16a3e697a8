"""The loop of a fleet: look, decide, scale and report, for every pool, again and again; at once when sleepers get work.

What fails is a value and not an end: a Temporal out of reach is unknown demand for all pools, a pool that cannot be
scaled is one log line, and the next look is the retry. Only a fleet that stays gone ends the loop, and its process. A
restart loses only memories; the policy then shrinks nothing until it has new ones. While a pool sleeps and nothing new
is known of it, its last decision stands. Rejected: a task per pool (one ListWorkers serves them all).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Container, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace

from opentelemetry import trace
from temporalio.client import Client

from app.core.telemetry import metrics
from app.core.telemetry.troubles import Troubles
from app.scaling.demand import Demand, Observer
from app.scaling.fleet import Fleet, FleetGone, Pool
from app.scaling.memory import Memory
from app.scaling.policy import Decision, decide

CONNECT_TIMEOUT_S = 2.0
FLEET_TIMEOUT_S = 20.0  # a fleet that hangs over one pool must not stop the others for good
GONE_LOOKS = 5  # in a row without a fleet are the end: an API server that has just started may not know a CRD yet
log, tracer = logging.getLogger("app.scaling"), trace.get_tracer(__name__)


@dataclass
class Autoscaler:
    """Scales the pools of `fleet` every `poll_s` seconds. `client_factory` gives the shared client, or raises."""

    client_factory: Callable[[], Awaitable[Client]]
    fleet: Fleet
    observer: Observer
    _: KW_ONLY
    poll_s: float
    clock: Callable[[], float] = time.monotonic
    _pools: dict[str, tuple[Pool, Decision, Demand | None]] = field(init=False, default_factory=dict)
    _woken: set[str] = field(init=False, default_factory=set)
    _troubles: Troubles = field(init=False, default_factory=lambda: Troubles(log))
    _gone: int = field(init=False, default=0)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`. Looks keep their rhythm; a slow one drops those that it ran into. Raises FleetGone."""
        due = self.clock()
        while not stop.is_set():
            came, late_s = await self._work_came(), self.clock() - due
            if late_s >= 0:
                metrics.LATE.observe(late_s)
                await self.tick()
                due += self.poll_s * (1 + max(0.0, self.clock() - due) // self.poll_s)
            elif came:
                await self.tick(self._woken)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), min(due - self.clock(), self.observer.starts.every_s))

    async def tick(self, only: Container[str] | None = None) -> dict[str, Decision]:
        """One look at all pools, or some: new decisions by their names. Raises FleetGone, at the last of GONE_LOOKS."""
        try:
            pools = await asyncio.wait_for(self.fleet.pools(), FLEET_TIMEOUT_S)
        except Exception as error:
            self._gone = self._gone + 1 if isinstance(error, FleetGone) else 0
            if self._gone == GONE_LOOKS:
                raise
            self._troubles.tell("the fleet", f"pools cannot be listed: {error!r}")
            return {}
        self._gone = 0
        self._troubles.tell("the fleet", "")
        for gone in self._pools.keys() - {pool.name for pool in pools}:
            metrics.forget(self._pools.pop(gone)[0].policy.task_queue)
        self._woken &= {pool.name for pool in pools if pool.automatic and not pool.replicas}
        pools = [pool for pool in pools if only is None or pool.name in only]
        began_ns, demands = time.time_ns(), await self._observe(pools)
        pools = [pool for pool in pools if pool.name in demands]
        decisions = await asyncio.gather(*(self._scale(p, demands[p.name], began_ns) for p in pools))
        return {pool.name: decision for pool, decision in zip(pools, decisions, strict=True) if decision}

    async def _observe(self, pools: Sequence[Pool]) -> dict[str, Demand | None]:
        """Demand by the pool's name, None where it is unknown; not of those whose last decision stands."""
        asks = {name for name, (_, decision, _) in self._pools.items() if decision.memory.asks}
        asleep = [p for p in pools if not p.replicas and p.name in self._pools and p.name not in self._woken]
        resting = [(p.name, seen) for p in asleep if (last := self._pools[p.name])[0] is p and (seen := last[2])]
        demands, problem = dict[str, Demand](), ""
        try:
            client = await asyncio.wait_for(self.client_factory(), CONNECT_TIMEOUT_S)
            demands = await self.observer.look(client, pools, asks, resting)
        except Exception as error:  # noqa: BLE001 - whatever keeps us from looking, demand is unknown
            problem = str(error) or repr(error)
        problem = same.pop() if len(same := {demand.problem for demand in demands.values()}) == 1 else problem
        self._troubles.tell("Temporal", problem and f"{problem}: no pool shrinks")
        for demand in demands.values() if not problem else ():
            self._troubles.tell(f"demand of {demand.task_queue}", demand.problem)
        for name in (stand := {name for name, demand in resting if demands.get(name) is demand}):
            metrics.repeat(demands[name].task_queue, self._pools[name][1].reason.value)
        demands |= {name: replace(demands[name], woken=True) for name in self._woken & demands.keys()}
        return {pool.name: demands.get(pool.name) for pool in pools if pool.name not in stand}

    async def _work_came(self) -> bool:
        """Whether a pool that sleeps is to be looked at now, and not only when its backlog is."""
        if not (sleepers := [pool for pool, _, _ in self._pools.values() if pool.automatic and not pool.replicas]):
            return False
        try:
            client = await asyncio.wait_for(self.client_factory(), CONNECT_TIMEOUT_S)
            queues = {queue for pool in sleepers for queue in (pool.policy.task_queue, *pool.wake_with)}
            started = await self.observer.starts.read(client, queues)
        except Exception as error:  # noqa: BLE001 - the backlog wakes them all the same, seconds later
            started = str(error) or repr(error)
        self._troubles.tell("waking", started if isinstance(started, str) else "")
        woken = {p.name for p in sleepers if isinstance(started, set) and started & {p.policy.task_queue, *p.wake_with}}
        self._woken |= woken
        return bool(woken)

    async def _scale(self, pool: Pool, demand: Demand | None, began_ns: int) -> Decision | None:
        problem, decision, last = "", None, self._pools.get(pool.name)
        try:
            decision = decide(pool.policy, demand, last[1].memory if last else Memory(), self.clock(), pool.replicas)
            self._pools[pool.name] = pool, decision, None
            async with asyncio.timeout(FLEET_TIMEOUT_S):  # wait_for would make a task of each pool
                wanted = await self._apply(pool, demand, decision, began_ns)
            counts = wanted, pool.replicas, pool.ready
            metrics.record(pool.policy.task_queue, counts, decision.reason.value, demand.types if demand else ())
            self._pools[pool.name] = pool, decision, demand
        except Exception as error:  # noqa: BLE001 - one bad pool never stops the others
            problem = f"cannot be scaled or reported: {error!r}"
        self._troubles.tell(pool.name, problem)
        return decision

    async def _apply(self, pool: Pool, demand: Demand | None, decision: Decision, began_ns: int) -> int:
        refused: Exception | None = None
        before = after = pool.replicas
        if pool.automatic and decision.replicas != before:
            wanted, reason = decision.replicas, decision.reason.value
            about: dict[str, str | int] = {"temporalTaskQueue": pool.policy.task_queue, "fleet.reason": reason}
            about |= {"fleet.message": decision.message, "fleet.replicas.from": before, "fleet.replicas.to": wanted}
            with tracer.start_as_current_span("ScaleDecision", start_time=began_ns, attributes=about) as span:
                spare = [w.identity for w in demand.running if w.used_slots == 0] if demand else []
                try:
                    after = await self.fleet.scale(pool, wanted, spare)
                    span.set_attribute("fleet.replicas.to", after)
                except Exception as error:  # noqa: BLE001 - what could not be done is reported like the rest
                    span.record_exception(refused := error)
            if after != before:
                log.info("%s: %s -> %s replicas, %s: %s", pool.name, before, after, reason, decision.message)
        await self.fleet.report(pool, demand, decision)
        if refused is not None:
            raise refused
        return after
