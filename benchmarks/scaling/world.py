"""One task queue of the simulated cluster: its tasks, its pods, and what becomes of both.

A task waits for a free slot; a pod takes time to start; a pod that is taken away finishes what it has in hand, up to
`drain_s`, and what is left then is cut and comes back after its retry. Slots that are free stand in one row, as pollers
do, and the first gets the next task. Rejected: queueing formulas (they know no drains, caches or lost work).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.scaling.loop import Loop
from benchmarks.scaling.parts import Cluster, Lane, Pod, Task
from benchmarks.scaling.work import RETRY_MOST_S, WORKFLOW, Job


@dataclass
class Queue:
    """A task queue whose pods serve `kinds`, with `slots` each, and everything that happened to it."""

    loop: Loop
    name: str
    kinds: Sequence[str]
    slots: int
    cluster: Cluster
    rng: Random
    limit: float = math.inf
    pods: dict[str, Pod] = field(default_factory=dict)
    changes: list[tuple[float, int]] = field(default_factory=list)
    waits: array[float] = field(default_factory=lambda: array("d"))
    ends: array[float] = field(default_factory=lambda: array("d"))  # of the tasks of `waits`
    cuts: int = 0
    paid_s: float = 0.0  # replica-seconds of pods that are gone
    calls: int = 0  # to Temporal, for this queue alone
    shared_calls: int = 0  # of the whole namespace, counted at one of its queues
    down_until: float = -math.inf
    started_at: float = -math.inf  # the last start of a workflow
    on_task: Callable[[], object] | None = None  # told of each task that comes
    on_ready: Callable[[Pod], object] | None = None

    def __post_init__(self) -> None:
        self.lanes = {kind: Lane(self.slots, self.limit) for kind in self.kinds}
        self.open: dict[Task, None] = {}
        self.ended_pods: list[Pod] = []  # with a last heartbeat that lingers
        self._made = 0

    @property
    def live(self) -> list[Pod]:
        """Pods that are wanted, ready or not."""
        return [pod for pod in self.pods.values() if not pod.draining]

    @property
    def wanted(self) -> int:
        return sum(not pod.draining for pod in self.pods.values())

    def feed(self, jobs: Sequence[Job], index: int = 0) -> None:
        """Let `jobs`, which are in the order of their arrival, come."""
        if index < len(jobs):
            self.loop.at(jobs[index].arrival, self._arrive, jobs, index)

    def _arrive(self, jobs: Sequence[Job], index: int) -> None:
        if jobs[index].stages[0].kind == WORKFLOW:
            self.started_at = self.loop.now
        self._offer(Task(jobs[index]))
        self.feed(jobs, index + 1)

    def _offer(self, task: Task) -> None:
        stage, now = task.job.stages[task.stage], self.loop.now
        task.since, home = now, task.home
        if task.job.handled:
            self.open[task] = None
        if stage.hidden and home is not None and home.running:
            if home.free[stage.kind]:
                self._start(task, home)
                return
            if stage.kind == WORKFLOW:
                home.sticky.append(task)
                return
        lane = self.lanes[stage.kind]
        lane.added.add(now)
        (lane.backlog if task.job.handled else lane.unhandled).append(task)
        if task.job.handled and len(lane.backlog) == 1:
            self.match(stage.kind)
        if self.on_task:
            self.on_task()

    def match(self, kind: str) -> None:
        """Give out what waits to the pollers there are."""
        lane, now = self.lanes[kind], self.loop.now
        backlog, pollers = lane.backlog, lane.pollers
        while backlog and pollers and now >= self.down_until:
            if lane.limit != math.inf:
                if now < lane.next_at - 1e-9:
                    if lane.limited_at != lane.next_at:  # one alarm a turn
                        lane.limited_at = lane.next_at
                        self.loop.at(lane.next_at, self.match, kind)
                    return
                lane.next_at = max(lane.next_at, now - 1.0) + 1 / lane.limit  # a second's worth may come at once
            pod = pollers.popleft()
            pod.row[kind] -= 1
            if pod.running and pod.free[kind]:
                lane.dispatched.add(now)
                self._start(backlog.popleft(), pod)

    def _start(self, task: Task, pod: Pod) -> None:
        now, stage = self.loop.now, task.job.stages[task.stage]
        pod.free[stage.kind] -= 1
        pod.hand[task] = None
        task.home, task.started = pod, now
        task.waited += now - task.since
        self.loop.at(now + stage.service_s + self.cluster.dispatch_s, self._end, task, task.attempt, pod)

    def _end(self, task: Task, attempt: int, pod: Pod) -> None:
        if task.attempt != attempt:
            return
        now = self.loop.now
        if now < self.down_until:  # nobody takes the result: the slot is held until then
            self.loop.at(self.down_until, self._end, task, attempt, pod)
            return
        stage = task.job.stages[task.stage]
        del pod.hand[task], self.open[task]
        self.waits.append(task.waited)
        self.ends.append(now)
        pod.ended[stage.kind] += 1
        task.waited, task.cuts, task.stage = 0.0, 0, task.stage + 1
        self._free(pod, stage.kind)
        if task.stage < len(task.job.stages):
            gap_s = task.job.stages[task.stage].gap_s
            if gap_s:
                self.loop.at(now + gap_s, self._offer, task)
            else:
                self._offer(task)
        if pod.draining and not pod.hand:
            self._gone(pod)

    def _free(self, pod: Pod, kind: str) -> None:
        pod.free[kind] += 1
        if not pod.running:
            return
        if kind == WORKFLOW and pod.sticky:
            self._start(pod.sticky.popleft(), pod)
            return
        if pod.row[kind] < pod.free[kind]:
            pod.row[kind] += 1
            self.lanes[kind].pollers.append(pod)
        if self.lanes[kind].backlog:
            self.match(kind)

    def scale(self, replicas: int, spare: Sequence[str] = (), ready: bool = False) -> None:
        """Want `replicas`; of those there are pods that do not run yet go first, then `spare`, then the newest."""
        live, now = self.live, self.loop.now
        if replicas != len(live):
            self.changes.append((now, replicas))
        for _ in range(replicas - len(live)):
            self._made += 1
            pod = Pod(f"{self.name}-{self._made}", now, dict.fromkeys(self.kinds, self.slots))
            self.pods[pod.name] = pod
            self.loop.at(now + (0.0 if ready else self.cluster.start(self.rng)), self._ready, pod)
        if replicas < len(live):
            idle = set(spare)
            live.sort(key=lambda pod: (pod.running, pod.name not in idle, -pod.created))
            for pod in live[: len(live) - replicas]:
                self._drain(pod)

    def _ready(self, pod: Pod) -> None:
        if pod.draining:
            return
        pod.running, pod.ready_at = True, self.loop.now
        if self.on_ready:
            self.on_ready(pod)
        for kind in self.kinds:
            pod.row[kind] = self.slots
            self.lanes[kind].pollers.extend([pod] * self.slots)
            self.match(kind)

    def _drain(self, pod: Pod) -> None:
        was_running, pod.running, pod.draining = pod.running, False, True
        while pod.sticky:  # its own queue ends with it: they wait where all can see them
            task = pod.sticky.popleft()
            task.waited += self.loop.now - task.since
            task.home = None
            self._offer(task)
        if not was_running or not pod.hand:
            self._gone(pod)
        else:
            self.loop.at(self.loop.now + self.cluster.drain_s, self._cut, pod)

    def _cut(self, pod: Pod) -> None:
        for task in list(pod.hand):
            pause_s = min(self.cluster.retry_s * 2**task.cuts, RETRY_MOST_S)
            task.attempt += 1
            task.cuts += 1
            task.waited += self.loop.now - task.started + pause_s  # to be done again: by so much it is late
            task.home = None
            self.cuts += 1
            self.loop.at(self.loop.now + pause_s, self._offer, task)
        pod.hand.clear()
        self._gone(pod)

    def _gone(self, pod: Pod) -> None:
        if self.pods.pop(pod.name, None):
            self.paid_s += self.loop.now - pod.created
            if pod.ready_at < math.inf:
                self.ended_pods.append(pod)

    def down(self, for_s: float) -> None:
        """Temporal is out of reach."""
        self.down_until = self.loop.now + for_s
        for kind in self.kinds:
            self.loop.at(self.down_until, self.match, kind)

    def replica_seconds(self) -> float:
        """Of all pods up to now, from the moment that each was wanted until it was gone."""
        return self.paid_s + sum(self.loop.now - pod.created for pod in self.pods.values())
