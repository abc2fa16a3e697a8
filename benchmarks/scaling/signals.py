"""What an observer of a queue can see: late, cached and sometimes wrong, as measured (M1-M14 of the API facts).

Statistics are cached for 5 s and count tasks twice after a restart of the server; heartbeats leave a last one behind;
work that is given out eagerly or sticks to its worker is in neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

from benchmarks.scaling.parts import Pod
from benchmarks.scaling.world import Queue

CACHE_S = 5.0
LINGER_S = 6.0  # heartbeats older than this are left out by whoever reads them (M8)
LIMITED_SHOWS_S = 4.0  # for so long after a task was held back, the flag is up (M10)
UNDERCOUNT_S = 10.0  # after a SIGKILL of the server half of the tasks are counted, then 8 % too many (M5)
OVERCOUNT = 0.08
LAG_MS = (2.0, 5.0, 58.0)  # visibility behind a start: min, median, max of 30


@dataclass(frozen=True, slots=True)
class Stats:
    """Of one task type, as of `at`."""

    backlog: int
    age_s: float
    add_rate: float
    dispatch_rate: float
    limited: bool
    at: float


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat; `span_s` 0: the pod's first. `used`, `done` (within the span) and all that `ended` by task type."""

    at: float
    span_s: float
    used: Mapping[str, int]
    done: Mapping[str, int]
    ended: Mapping[str, int]
    draining: bool


class Server:
    """Temporal, asked about one queue. None from any of its answers: it is out of reach."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._cached: dict[str, Stats] = {}

    def stats(self, kind: str) -> Stats | None:
        """DescribeTaskQueue with statistics."""
        queue, now = self.queue, self.queue.loop.now
        queue.calls += 1
        if now < queue.down_until:
            return None
        cached = self._cached.get(kind)
        if cached is None or now - cached.at >= CACHE_S:
            cached = self._cached[kind] = self._count(kind, now)
        return cached

    def _count(self, kind: str, now: float) -> Stats:
        lane = self.queue.lanes[kind]
        count, oldest = len(lane.backlog) + len(lane.unhandled), now
        if not count:
            lane.phantom = 0.0
        for waiting in (lane.backlog, lane.unhandled):
            if waiting:
                oldest = min(oldest, waiting[0].since)
        return Stats(
            backlog=max(0, round(count + lane.phantom)),
            age_s=now - oldest,
            add_rate=lane.added.read(now),
            dispatch_rate=lane.dispatched.read(now),
            limited=now - lane.limited_at < LIMITED_SHOWS_S,
            at=now,
        )

    def restart(self, how: Literal["graceful", "kill"]) -> None:
        """The server comes back with a wrong count, which is put right when the backlog has been empty once."""
        for lane in self.queue.lanes.values():
            count = len(lane.backlog) + len(lane.unhandled)
            lane.phantom = float(count) if how == "graceful" else -count / 2
            if how == "kill":
                self.queue.loop.at(self.queue.loop.now + UNDERCOUNT_S, setattr, lane, "phantom", count * OVERCOUNT)


class Heartbeats:
    """The last heartbeat of each pod of a queue: ListWorkers."""

    def __init__(self, queue: Queue, every_s: float) -> None:
        self._queue, self._every_s = queue, every_s
        self._last: dict[str, Beat] = {}
        self._read: dict[str, Beat] = {}
        queue.on_ready = lambda pod: self._beat(pod, 0.0, pod.ended)

    def read(self) -> dict[str, Beat] | None:
        """By the pods' names, of pods that were heard of within LINGER_S, with what was done since it was read before.

        Draining ones are told by a flag.
        """
        now = self._queue.loop.now
        if now < self._queue.down_until:
            return None
        for ended in self._queue.ended_pods:
            if beat := self._last.get(ended.name):  # says what it said, until nobody believes it any more
                self._last[ended.name] = Beat(beat.at, beat.span_s, beat.used, beat.done, beat.ended, True)
        self._queue.ended_pods.clear()
        self._last = {name: beat for name, beat in self._last.items() if now - beat.at <= LINGER_S}
        self._read = {name: self._since(self._read.get(name), beat) for name, beat in self._last.items()}
        return self._read

    def _since(self, read: Beat | None, beat: Beat) -> Beat:
        if read is None or beat.at - read.at > LINGER_S + beat.span_s:
            return beat
        if beat.at == read.at:
            return Beat(read.at, read.span_s, read.used, read.done, read.ended, beat.draining)
        done = {kind: ended - read.ended[kind] for kind, ended in beat.ended.items()}
        return Beat(beat.at, beat.at - read.at, beat.used, done, beat.ended, beat.draining)

    def _beat(self, pod: Pod, span_s: float, before: Mapping[str, int]) -> None:
        queue, now, ended = self._queue, self._queue.loop.now, dict(pod.ended)
        if pod.name not in queue.pods:
            return
        if now >= queue.down_until:
            used = {kind: queue.slots - free for kind, free in pod.free.items()}
            done = {kind: number - before[kind] for kind, number in ended.items()}
            self._last[pod.name] = Beat(now, span_s, used, done, ended, pod.draining)
        queue.loop.at(now + self._every_s, self._beat, pod, self._every_s, ended)


class Visibility:
    """Which starts of workflows a query sees."""

    def __init__(self, queue: Queue, rng: Random) -> None:
        self._queue, self._rng = queue, rng
        self._read_at = 0.0

    def started(self, now: float) -> bool:
        """Whether a workflow was started on the queue that no query has shown yet."""
        lag_s = max(LAG_MS[0], min(LAG_MS[2], self._rng.lognormvariate(0, 0.8) * LAG_MS[1])) / 1000
        if now < self._queue.down_until:
            return False
        since, self._read_at = self._read_at, now - lag_s
        return since < self._queue.started_at <= self._read_at
