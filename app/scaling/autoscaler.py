"""The loop of a fleet: look, decide, scale and report, for every pool, again and again.

What fails is a value and not an end: a Temporal out of reach is unknown demand for all pools, a pool that cannot be
scaled is one log line, and the next look is the retry. Only a fleet that stays gone ends the loop, and its process. A
restart loses only memories; the policy then shrinks nothing until it has new ones. Rejected: a task per pool (one
ListWorkers serves them all).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass, field, replace

from opentelemetry import trace
from temporalio.client import Client

from app.scaling import metrics
from app.scaling.demand import Demand, QueueTypes, observe
from app.scaling.fleet import Fleet, FleetGone, Pool
from app.scaling.policy import Decision, Memory, decide

OBSERVE_TIMEOUT_S = 2.0  # the calls take milliseconds: what takes longer is down
FLEET_TIMEOUT_S = 10.0  # a fleet that hangs over one pool must not stop the others for good
GONE_LOOKS = 5  # in a row without a fleet are the end: an API server that has just started may not know a CRD yet
log, tracer = logging.getLogger("app.scaling"), trace.get_tracer(__name__)


@dataclass
class Autoscaler:
    """Scales the pools of `fleet` every `poll_s` seconds. `client_factory` gives the shared client, or raises."""

    client_factory: Callable[[], Awaitable[Client]]
    fleet: Fleet
    _: KW_ONLY
    poll_s: float
    heartbeat_interval_s: float
    clock: Callable[[], float] = time.monotonic
    _pools: dict[str, tuple[Pool, Memory]] = field(init=False, default_factory=dict)
    _broken: set[str] = field(init=False, default_factory=set)
    _gone: int = field(init=False, default=0)

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop`. Looks keep their rhythm; a slow one drops those that it ran into. Raises FleetGone."""
        due = self.clock()
        while not stop.is_set():
            await self.tick()
            due += self.poll_s * (1 + max(0.0, self.clock() - due) // self.poll_s)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), due - self.clock())

    async def tick(self) -> dict[str, Decision]:
        """One look at all pools: the decisions by the pools' names. Raises FleetGone, at the last of GONE_LOOKS."""
        try:
            pools = await asyncio.wait_for(self.fleet.pools(), FLEET_TIMEOUT_S)
        except Exception as error:
            self._gone = self._gone + 1 if isinstance(error, FleetGone) else 0
            if self._gone == GONE_LOOKS:
                raise
            self._tell("the fleet", f"pools cannot be listed: {error!r}")
            return {}
        self._gone = 0
        self._tell("the fleet", "")
        for gone in self._pools.keys() - {pool.name for pool in pools}:
            metrics.forget(self._pools.pop(gone)[0])
        began_ns, demands = time.time_ns(), await self._observe(pools)
        decisions = await asyncio.gather(*(self._scale(p, demands.get(p.policy.task_queue), began_ns) for p in pools))
        return {pool.name: decision for pool, decision in zip(pools, decisions, strict=True) if decision}

    async def _observe(self, pools: Sequence[Pool]) -> dict[str, Demand]:
        queues = [QueueTypes(p.policy.task_queue, p.task_types, p.policy.slots_per_replica) for p in pools]
        demands, problem, limit_s, beat_s = {}, "", OBSERVE_TIMEOUT_S, self.heartbeat_interval_s
        try:
            client = await asyncio.wait_for(self.client_factory(), limit_s)
            demands = await observe(client, queues, timeout_s=limit_s, heartbeat_interval_s=beat_s, clock=self.clock)
        except Exception as error:  # noqa: BLE001 - whatever keeps us from looking, demand is unknown
            problem = str(error) or repr(error)
        if demands and all(demand.known == "None" for demand in demands.values()):
            problem = demands[queues[0].task_queue].problem
        self._tell("Temporal", problem and f"{problem}: all pools keep their replicas")
        for queue, demand in demands.items() if not problem else ():
            self._tell(f"demand of {queue}", demand.problem)
        return demands

    async def _scale(self, pool: Pool, demand: Demand | None, began_ns: int) -> Decision | None:
        _, memory = self._pools.get(pool.name, (pool, Memory()))
        problem, decision = "", None
        try:
            decision = decide(pool.policy, demand, memory, self.clock(), pool.replicas)
            self._pools[pool.name] = pool, decision.memory
            await asyncio.wait_for(self._apply(pool, demand, decision, began_ns), FLEET_TIMEOUT_S)
            metrics.record(pool, demand, decision if pool.automatic else replace(decision, replicas=pool.replicas))
        except Exception as error:  # noqa: BLE001 - one bad pool never stops the others
            problem = f"cannot be scaled or reported: {error!r}"
        self._tell(pool.name, problem)
        return decision

    async def _apply(self, pool: Pool, demand: Demand | None, decision: Decision, began_ns: int) -> None:
        refused: Exception | None = None
        if pool.automatic and decision.replicas != pool.replicas:
            with tracer.start_as_current_span("ScaleDecision", start_time=began_ns) as span:
                span.set_attributes({"temporalTaskQueue": pool.policy.task_queue, "fleet.message": decision.message})
                span.set_attributes({"fleet.replicas.from": pool.replicas, "fleet.replicas.to": decision.replicas})
                span.set_attribute("fleet.reason", decision.reason.value)
                spare = [w.identity for w in demand.running if w.used_slots == 0] if demand else []
                try:
                    await self.fleet.scale(pool, decision.replicas, spare)
                except Exception as error:  # noqa: BLE001 - what could not be done is reported like the rest
                    span.record_exception(refused := error)
            if refused is None:
                change = f"{pool.replicas} -> {decision.replicas} replicas"
                log.info("%s: %s, %s: %s", pool.name, change, decision.reason.value, decision.message)
        await self.fleet.report(pool, demand, decision)
        if refused is not None:
            raise refused

    def _tell(self, what: str, problem: str) -> None:
        """One line when something breaks and one when it works again, however often it is looked at."""
        if bool(problem) != (what in self._broken):
            self._broken ^= {what}
            log.log(logging.WARNING if problem else logging.INFO, "%s: %s", what, problem or "works again")
