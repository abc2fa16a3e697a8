"""What the autoscaler asks of whatever runs the workers: pods, processes of this machine or a simulation.

Kept to three calls, so that one autoscaler drives them all: who pins a pool, which worker ends and where a status is
shown is the fleet's business. Rejected: a base class (nothing to share), a call per worker (fleets stop many at once).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.scaling.demand import Demand
from app.scaling.policy import Decision, Policy


@dataclass(frozen=True)
class Pool:
    """The workers of one task queue: `replicas` are wanted at present, `ready` of them can take work.

    One that is not `automatic` is only looked at and reported: a person, or somebody else, decides on its replicas.
    """

    name: str
    policy: Policy
    task_types: tuple[str, ...]
    replicas: int
    ready: int
    automatic: bool = True
    wake_with: tuple[str, ...] = ()
    """Task queues whose workflows call activities here: what is started there wakes this pool as well."""


class FleetGone(RuntimeError):
    """There is no fleet to look at; where that lasts, the process must begin anew to see one again."""


class Fleet(Protocol):
    """Runs pools, each with a name of its own. Any call may raise: that is logged, and tried again at the next look."""

    async def pools(self) -> Sequence[Pool]:
        """The pools to scale, as they are now. Raises FleetGone, which ends an autoscaler if it lasts.

        The same object as before says that nothing about a pool is new: while it sleeps, nothing is decided of it then.
        """
        ...

    async def scale(self, pool: Pool, replicas: int, spare: Sequence[str]) -> int:
        """Want `replicas` from now on; `spare`, idle workers by identity, stop first. Returns how many are wanted."""
        ...

    async def report(self, pool: Pool, demand: Demand | None, decision: Decision) -> None:
        """Show what was seen and decided; after `scale`, and also when nothing changes, but not while a pool rests."""
