"""The experiments that were made on a real cluster, in simulated time: what each gives as one sample a run.

The harness of those runs is modelled, too: a pod is ready 0.3 s after it is wanted on the quiet machine and after some
seconds on the loaded one; machine and server together get about 105 activities a second done, and 115 scheduled, and
165 of 200 where nothing else ran. Ours is measured and modelled at the pace CALM.
Which figure each of these was fitted to stands in measured.json.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from random import Random

from benchmarks.pace import CALM
from benchmarks.scaling.loop import Loop
from benchmarks.scaling.parts import Cluster
from benchmarks.scaling.rivals import Keda
from benchmarks.scaling.run import OURS, SCALERS, Ours
from benchmarks.scaling.scenario import Scenario
from benchmarks.scaling.signals import Server
from benchmarks.scaling.work import ACTIVITY, WORKFLOW, Job, Stage
from benchmarks.scaling.world import Queue

QUIET = Cluster(start_floor_s=0.3, start_s=0.5, start_most_s=1.5, dispatch_s=0.08)
BURST = Cluster(start_floor_s=2, start_s=4, start_most_s=8, dispatch_s=0.15)  # 19 at once in one process
LOADED = Cluster(start_floor_s=3, start_s=5, start_most_s=13, drain_s=25)
DONE_BY, SCHEDULED_BY = 105.0, 115.0
BURST_QUIET = Cluster(start_floor_s=1, start_s=2.5, start_most_s=4, dispatch_s=0.1)
DONE_BY_QUIET, SCHEDULED_BY_QUIET = 165.0, 300.0  # all 500 had come when one was looked at after 1.75 s
CONTROL, CONTROL_QUIET = "20 pods from the start", "20 pods from the start, quiet"
LEAD_S = 60.0  # our autoscaler had watched the queue for so long
_THEN = {"backlog_per_replica": 20}  # the default of those runs
_BASE = Scenario("calibration", 3600, lambda _: [], kinds=(WORKFLOW, ACTIVITY), max_replicas=20, policy=_THEN)


def _world(scaler: str, scenario: Scenario, run: int, jobs: list[Job], sync_s: float | None = None) -> Queue:
    loop, rng = Loop(), Random(f"{scaler} {run}")
    queue = Queue(loop, "q", scenario.kinds, scenario.slots, scenario.cluster, rng, scenario.limit)
    queue.scale(scenario.initial, ready=True)
    queue.changes.clear()
    queue.feed(jobs)
    one = SCALERS[scaler](scenario, jobs)
    if isinstance(one, Keda) and sync_s is not None:
        one.first_sync_s = sync_s
    if isinstance(one, Ours):
        one.pace = CALM
    one.attach(queue, Server(queue), rng)
    return queue


def zero_to_one(scaler: str, run: int) -> dict[str, float]:
    """One workflow on a queue that sleeps, at a random moment."""
    at = 60 + Random(f"start {run}").random() * 30
    job = Job(at, (Stage(WORKFLOW, 0.05),))
    queue = _world(scaler, dataclasses.replace(_BASE, min_replicas=0, initial=0, cluster=QUIET), run, [job])
    queue.loop.run(at + 60)
    wanted = [when - at for when, replicas in queue.changes if replicas]
    return {
        "zero to one, first replica wanted": wanted[0],
        "zero to one, workflow done (quiet)": queue.ends[0] - at,
    }


def burst(scaler: str, run: int, sync_s: float | None = None) -> dict[str, float]:
    """500 activities of 1 s on one pod with 10 slots. `sync_s`: when the HPA looks first, else at random."""
    quiet, at = scaler in (OURS, CONTROL_QUIET), 0.0
    if scaler == OURS:
        at = LEAD_S + Random(f"burst {run}").random() * CALM.heartbeat_s  # at any moment of the pod's heartbeats
    scheduled_by = SCHEDULED_BY_QUIET if quiet else SCHEDULED_BY
    jobs = [Job(at + i / scheduled_by, (Stage(ACTIVITY, 1.0),)) for i in range(500)]
    scenario = dataclasses.replace(_BASE, cluster=BURST, limit=DONE_BY)
    if quiet:
        scenario = dataclasses.replace(_BASE, cluster=BURST_QUIET, limit=DONE_BY_QUIET)
    if scaler in (CONTROL, CONTROL_QUIET):
        scenario = dataclasses.replace(scenario, initial=20, min_replicas=20)
        scaler = "static peak"
    queue = _world(scaler, scenario, run, jobs, sync_s)
    queue.loop.run(at + 45.0)
    found = {"burst, drained": queue.ends[-1] - at}
    if changes := [(when - at, replicas) for when, replicas in queue.changes]:
        peak = max(replicas for _, replicas in changes)
        first, reached = changes[0][0], next(at for at, replicas in changes if replicas == peak)
        found |= {"burst, first step up": first, "burst, peak (within 45 s)": float(peak)}
        found["burst, peak after the first step"] = reached - first
    return found


def busy(scaler: str, run: int) -> dict[str, float]:
    """5 long activities on one pod with 5 free slots, min 0; time counts from the start of the last of them."""
    task_s, watched_s = (420.0, 460.0) if scaler == "KEDA" else (120.0, 260.0)
    at = 60 + Random(f"busy {run}").random() * 30
    jobs = [Job(at, (Stage(ACTIVITY, task_s),)) for _ in range(5)]
    queue = _world(scaler, dataclasses.replace(_BASE, min_replicas=0, initial=0, cluster=LOADED), run, jobs)
    while not any(task.home for task in queue.open):
        queue.loop.run(queue.loop.now + 0.1)
    started = queue.loop.now
    queue.loop.run(started + watched_s)
    zero = [when - started for when, replicas in queue.changes if not replicas]
    starts = queue.cuts / 5 + sum(task.home is not None for task in queue.open) / 5
    found = {"busy queue, starts of each activity": starts}
    return found | ({"busy queue, scaled to 0 after the start": zero[0]} if zero else {})


def calls(scaler: str, run: int) -> dict[str, float]:
    """Calls for statistics in three states, each watched for 10 minutes."""
    found = {}
    steady = [Job(i * 2.0, (Stage(ACTIVITY, 0.1),)) for i in range(330)]
    waiting = [Job(i * 1.0, (Stage(ACTIVITY, 1000.0),)) for i in range(20)]  # more than one pod holds: it stays awake
    for name, least, initial, most, jobs in (
        ("calls a minute, 0 pods", 0, 0, 20, []),
        ("calls a minute, min 0, 1 pod", 0, 1, 1, waiting),
        ("calls a minute, min 1", 1, 1, 1, steady),
    ):
        scenario = dataclasses.replace(_BASE, min_replicas=least, max_replicas=most, initial=initial, cluster=QUIET)
        queue = _world(scaler, scenario, run, jobs)
        queue.loop.run(60.0)
        before = queue.calls
        queue.loop.run(660.0)
        found[name] = (queue.calls - before) / 10
    return found


EXPERIMENTS: Mapping[Callable[..., dict[str, float]], int] = {zero_to_one: 600, burst: 200, busy: 60, calls: 3}
"""With the runs that each gets."""
