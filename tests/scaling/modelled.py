"""A task queue as it really is: tasks that come, wait and run, pods that start late, die and drain, in simulated time.

Nothing here knows the policy, and nothing is said of what Temporal tells of it: that is `told.py`. Coarse on purpose
(a tick of at most a second), since a decision is made every other second and thousands of lives are to be lived.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

TICK_S = 1.0
HEARTBEAT_S = 2.0
RATES_S = 30.0  # span of the server's rates
FOREVER = math.inf


@dataclass
class Line:
    """The tasks of one type; times in seconds of the world."""

    waiting: list[tuple[float, float]] = field(default_factory=list)
    """(came at, seconds it takes)."""
    unhandled: list[float] = field(default_factory=list)
    """When tasks came for which no worker has a handler."""
    added: list[float] = field(default_factory=list)
    dispatched: list[float] = field(default_factory=list)
    """When the server saw it, in the last RATES_S."""
    every_s: float = FOREVER
    task_s: float = 1.0
    """A steady load: a task of so many seconds each so often."""
    due_at: float = FOREVER

    def load(self, now: float, every_s: float, task_s: float) -> None:
        self.every_s, self.task_s, self.due_at = every_s, task_s, now + every_s

    def come(self, now: float, tasks: int, task_s: float) -> None:
        self.waiting += [(now, task_s)] * tasks
        self.added += [now] * tasks


@dataclass
class Pod:
    """One worker. `held`: when its tasks end, by type; `told_*`: its last heartbeat."""

    name: str
    up_at: float
    held: dict[str, list[float]]
    ends_at: float = FOREVER
    """The end of its drain; FOREVER while it does not drain."""
    told_at: float = -math.inf
    told_used: dict[str, int] = field(default_factory=dict)
    told_rates: dict[str, float | None] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    silent: bool = False

    @property
    def draining(self) -> bool:
        return self.ends_at < FOREVER

    def busy(self) -> int:
        return sum(map(len, self.held.values()))

    def tell(self, now: float) -> None:
        span_s = now - self.told_at
        if self.silent or (span_s < HEARTBEAT_S and not self.draining):
            return
        first = self.told_at == -math.inf
        self.told_rates = {kind: None if first else self.ended.get(kind, 0) / span_s for kind in self.held}
        self.told_used = {kind: len(ends) for kind, ends in self.held.items()}
        self.told_at, self.ended = now, {}


class World:
    """The queue `kinds` of which each worker has `slots` each."""

    def __init__(self, kinds: Sequence[str], slots: int, replicas: int) -> None:
        self.now = 1000.0
        self.lines = {kind: Line() for kind in kinds}
        self.slots = slots
        self.start_s, self.drain_s = 3.0, 4.0
        self.pods: list[Pod] = []
        self.dead: list[Pod] = []
        self._made = 0
        for _ in range(replicas):
            self._add(self.now)

    def up(self) -> list[Pod]:
        return [pod for pod in self.pods if pod.up_at <= self.now]

    def waiting(self) -> int:
        return sum(len(line.waiting) + len(line.unhandled) for line in self.lines.values())

    def running(self, kind: str) -> int:
        return sum(len(pod.held[kind]) for pod in self.pods)

    def scale(self, replicas: int) -> None:
        """So many are wanted: those that are not up yet leave first, then the idle ones."""
        staying = sorted((p for p in self.pods if not p.draining), key=lambda p: (p.up_at <= self.now, p.busy()))
        for pod in staying[: max(0, len(staying) - replicas)]:
            if pod.up_at > self.now:
                self.pods.remove(pod)
            else:
                pod.ends_at = self.now + self.drain_s
        for _ in range(replicas - len(staying)):
            self._add(self.now + self.start_s)

    def start_pending(self, start_s: float) -> None:
        """Pods that are not up yet, and those to come, need so long from now on."""
        self.start_s = start_s
        for pod in self.pods:
            if pod.up_at > self.now:
                pod.up_at = self.now + start_s

    def kill(self, index: int) -> None:
        """One pod dies; its tasks wait again, and a new one starts in its place."""
        if not (up := self.up()):
            return
        pod = up[index % len(up)]
        self._end(pod)
        self.dead.append(pod)
        if not pod.draining:
            self._add(self.now + self.start_s)

    def take(self, kind: str, tasks: int, task_s: float) -> None:
        """Free slots take tasks that the server never counts: eager ones, and those of sticky queues."""
        for pod in self.up():
            while tasks and not pod.draining and len(pod.held[kind]) < self.slots:
                tasks -= 1
                if task_s < TICK_S:
                    pod.ended[kind] = pod.ended.get(kind, 0) + 1
                else:
                    pod.held[kind].append(self.now + task_s)

    def run(self, seconds: float) -> None:
        """Let time pass."""
        tick_s = max(TICK_S, seconds / 60)
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + tick_s)
            self._tick()

    def _tick(self) -> None:
        now, since = self.now, self.now - RATES_S
        up = self.up()
        for kind, line in self.lines.items():
            while line.due_at <= now:
                line.come(line.due_at, 1, line.task_s)
                line.due_at += line.every_s
            for pod in up:
                ends = pod.held[kind]
                if ends and (rest := [end for end in ends if end > now]) != ends:
                    pod.ended[kind] = pod.ended.get(kind, 0) + len(ends) - len(rest)
                    pod.held[kind] = rest
            self._dispatch(kind, line, up)
            line.added = [at for at in line.added if at > since]
            line.dispatched = [at for at in line.dispatched if at > since]
        for pod in up:
            pod.tell(now)
            if pod.ends_at <= now:
                self._end(pod)
        self.dead = [pod for pod in self.dead if pod.told_at > since]

    def _dispatch(self, kind: str, line: Line, up: Sequence[Pod]) -> None:
        takers = [pod for pod in up if not pod.draining and len(pod.held[kind]) < self.slots]
        while line.waiting and takers:
            pod = min(takers, key=lambda p: len(p.held[kind]))
            _, task_s = line.waiting.pop(0)
            line.dispatched.append(self.now)
            if task_s < TICK_S:  # over before anybody could see it in a slot
                pod.ended[kind] = pod.ended.get(kind, 0) + 1
                continue
            pod.held[kind].append(self.now + task_s)
            if len(pod.held[kind]) == self.slots:
                takers.remove(pod)

    def _add(self, up_at: float) -> None:
        self._made += 1
        self.pods.append(Pod(f"pod-{self._made}", up_at, {kind: [] for kind in self.lines}))

    def _end(self, pod: Pod) -> None:
        self.pods.remove(pod)
        for kind, ends in pod.held.items():
            self.lines[kind].waiting += [(self.now, max(end - self.now, 0.1)) for end in ends]
