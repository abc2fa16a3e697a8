"""A lower bound of the replica-seconds with which every task starts within `max_wait_s`.

It is the cheapest schedule of pods that knows all the work beforehand, with these freedoms that no real one has: a task
may be split and handed on between slots at any moment, pods that stop are free at once, every pod starts as fast as the
fastest, and the types of a queue are served each as if it were alone (the dearest counts). What it must obey:
  - the work done up to t lies between L(t), that of all tasks starting as late as they may, and U(t), as early as they
    can (a later task of a job moves by the waits of those before it);
  - pods are whole, between the queue's minimum and maximum, hold `slots` tasks each, and at each moment all tasks that
    must be in hand just then;
  - each pod that is added costs its start.
Where not even the maximum of replicas keeps the waits, work may be as late as that maximum makes it.

With few tasks that says too little, since the work of one task must not be split: then the cheapest presence of a
single pod that is there for the whole of each task counts, if it is dearer (`one_pod`).
Rejected: work / slots (1 pod for a task an hour would be 100 times too dear), a schedule by rule (an upper bound).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from benchmarks.scaling.search import Limits, Window, cheapest
from benchmarks.scaling.work import Job

STATES = 1_000_000  # of one search: more need seconds and change the result by less than 1 %
FEW = 1000  # tasks, up to which their single pod is looked at as well


def bound(jobs: Sequence[Job], limits: Limits, horizon_s: float, states: int = STATES) -> float:
    """Replica-seconds of [0, horizon_s) that no scaler can do without if all waits are to be kept."""
    by_kind: dict[str, list[Window]] = {}
    by_turn: dict[tuple[str, int], list[Window]] = {}
    for kind, turn, window in _windows(jobs, limits.max_wait_s, horizon_s):
        by_kind.setdefault(kind, []).append(window)
        by_turn.setdefault((kind, turn), []).append(window)
    costs = [limits.min_replicas * horizon_s]
    costs += [cheapest(windows, limits, horizon_s, states) for windows in by_kind.values()]
    costs += [one_pod(windows, limits, horizon_s) for windows in by_turn.values() if len(windows) <= FEW]
    return max(costs)


def one_pod(windows: Sequence[Window], limits: Limits, horizon_s: float) -> float:
    """What it costs that some pod, with room for everything, is there whenever one of few tasks is in hand.

    The tasks fall into groups, each served from one start to one stop; `best[i]` is the least for all before the i-th.
    """
    kept = [window for window in sorted(windows) if window[1] + window[2] <= horizon_s]
    best = [0.0]
    for last, (earliest, _, service_s) in enumerate(kept):
        longest, end, least = service_s, earliest + service_s, math.inf
        for first in range(last, -1, -1):
            longest, end = max(longest, kept[first][2]), max(end, kept[first][0] + kept[first][2])
            least = min(least, best[first] + limits.start_s + max(longest, end - kept[first][1]))
        best.append(least)
    return best[-1] - limits.start_s * (limits.initial > 0)


def _windows(jobs: Sequence[Job], max_wait_s: float, horizon_s: float) -> Iterator[tuple[str, int, Window]]:
    """The windows of all tasks, with their types and their turn within the job."""
    for job in jobs:
        if not job.handled:
            continue
        earliest, latest = job.arrival, job.arrival + max_wait_s
        for turn, stage in enumerate(job.stages):
            earliest, latest = earliest + stage.gap_s, latest + stage.gap_s
            if earliest >= horizon_s:
                break
            yield stage.kind, turn, (earliest, latest, stage.service_s)
            earliest, latest = earliest + stage.service_s, latest + stage.service_s + max_wait_s
