"""What the simulated cluster is made of: pods, tasks, and a lane for each task type of a queue."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from random import Random

from benchmarks.scaling.work import RETRY_S, Job

RATE_SPAN_S = 30  # of Temporal's add and dispatch rates (M7)


@dataclass(frozen=True)
class Cluster:
    """Seconds. A pod starts in `start_floor_s` at the least and in `start_s` as the median."""

    start_floor_s: float = 3.0
    start_s: float = 6.0
    start_most_s: float = 30.0
    drain_s: float = 60.0
    retry_s: float = RETRY_S
    """From the first cut of a task until its next attempt is there; each further one takes twice as long."""
    dispatch_s: float = 0.005
    """What each task costs its slot beside its service time."""

    def start(self, rng: Random) -> float:
        tail_s = (self.start_s - self.start_floor_s) * rng.lognormvariate(0, 0.5)
        return min(self.start_most_s, self.start_floor_s + tail_s)


ORDINARY = Cluster()


class Task:
    """The stage of `job` whose turn it is."""

    __slots__ = ("attempt", "cuts", "home", "job", "since", "stage", "started", "waited")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.stage = self.attempt = self.cuts = 0
        self.since = self.started = self.waited = 0.0
        self.home: Pod | None = None


class Pod:
    """`free` slots, `row`: of these in the row of pollers, tasks that `ended`: by task type."""

    __slots__ = ("created", "draining", "ended", "free", "hand", "name", "ready_at", "row", "running", "sticky")

    def __init__(self, name: str, created: float, slots: dict[str, int]) -> None:
        self.name, self.created, self.ready_at = name, created, math.inf
        self.running = self.draining = False
        self.free = dict(slots)
        self.row = dict.fromkeys(slots, 0)
        self.ended = dict.fromkeys(slots, 0)
        self.hand: dict[Task, None] = {}  # in the order of their starts: a set's order is chance
        self.sticky: deque[Task] = deque()


class Rate:
    """Events a second over the last RATE_SPAN_S."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds: deque[list[int]] = deque()

    def add(self, now: float) -> None:
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += 1
        else:
            self._seconds.append([second, 1])
            while self._seconds[0][0] <= second - RATE_SPAN_S:
                self._seconds.popleft()

    def read(self, now: float) -> float:
        return sum(count for second, count in self._seconds if second > now - RATE_SPAN_S) / RATE_SPAN_S


@dataclass
class Lane:
    """One task type of the queue. `limit`: tasks a second that Temporal gives out at most."""

    slots: int
    limit: float = math.inf
    backlog: deque[Task] = field(default_factory=deque)
    unhandled: deque[Task] = field(default_factory=deque)
    pollers: deque[Pod] = field(default_factory=deque)
    added: Rate = field(default_factory=Rate)
    dispatched: Rate = field(default_factory=Rate)
    phantom: float = 0.0  # tasks that are counted but are not there (M5); below 0: the other way round
    limited_at: float = -math.inf  # when the limit last held a task back
    next_at: float = 0.0  # when the limit lets the next one go
