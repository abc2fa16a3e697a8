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

Exact search over (pods, work done) in steps of `step_s`. A real schedule made constant within each step, at its highest
there, costs at most 2 steps more for each pod that it ever adds: so that much is taken off the price of a start.

With few tasks that says too little, since the work of one task must not be split: then the cheapest presence of a
single pod that is there for the whole of each task counts, if it is dearer (`one_pod`).
Rejected: work / slots (1 pod for a task an hour would be 100 times too dear), a schedule by rule (an upper bound).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from benchmarks.scaling.work import Job

STATES = 1_000_000  # of one search, about: more need seconds and change the result by less than 1 %
FEW = 1000  # tasks, up to which their single pod is looked at as well
_NEVER = math.inf
Window = tuple[float, float, float]  # of a task: its earliest and latest start, and how long it takes


@dataclass(frozen=True)
class Limits:
    """Of the pods; `initial` are there at second 0 and cost no start."""

    slots: int
    max_wait_s: float
    start_s: float
    min_replicas: int
    max_replicas: int
    initial: int


def bound(jobs: Sequence[Job], limits: Limits, horizon_s: float, states: int = STATES) -> float:
    """Replica-seconds of [0, horizon_s) that no scaler can do without if all waits are to be kept."""
    by_kind: dict[str, list[Window]] = {}
    by_turn: dict[tuple[str, int], list[Window]] = {}
    for kind, turn, window in _windows(jobs, limits.max_wait_s, horizon_s):
        by_kind.setdefault(kind, []).append(window)
        by_turn.setdefault((kind, turn), []).append(window)
    costs = [limits.min_replicas * horizon_s]
    costs += [_cheapest(windows, limits, horizon_s, states) for windows in by_kind.values()]
    costs += [one_pod(windows, limits, horizon_s) for windows in by_turn.values() if len(windows) <= FEW]
    return max(costs)


def one_pod(windows: Sequence[Window], limits: Limits, horizon_s: float) -> float:
    """What it costs that some pod, with room for everything, is there whenever one of few tasks is in hand.

    The tasks fall into groups, each served from one start to one stop; `best[i]` is the least for all before the i-th.
    """
    kept = [window for window in sorted(windows) if window[1] + window[2] <= horizon_s]
    best = [0.0]
    for last, (earliest, _, service_s) in enumerate(kept):
        longest, end, least = service_s, earliest + service_s, _NEVER
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


class _Line:
    """Sums of ramps (t - begin)+, read at the edges of the steps."""

    def __init__(self, step_s: float, edges: int) -> None:
        self._step_s = step_s
        self._count = [0] * (edges + 2)
        self._begins = [0.0] * (edges + 2)

    def add(self, begin: float, sign: int) -> None:
        index = math.ceil(begin / self._step_s)
        if index < len(self._count):
            self._count[index] += sign
            self._begins[index] += sign * begin

    def read(self) -> list[float]:
        """The sum at each edge."""
        values, count, begins = [], 0, 0.0
        for edge, (more, at) in enumerate(zip(self._count, self._begins, strict=True)):
            count, begins = count + more, begins + at
            values.append(count * edge * self._step_s - begins)
        return values


def _without_rests(windows: Sequence[Window], rest_s: float, horizon_s: float) -> tuple[list[Window], float]:
    """The windows and the horizon with each stretch in which nothing can be done cut down to `rest_s`.

    To keep a pod through a longer one is dearer than to start it anew.
    """
    shift, end, moved = 0.0, 0.0, []
    for earliest, latest, service_s in sorted(windows):
        shift += max(0.0, earliest - end - rest_s)
        end = max(end, earliest, latest + service_s)
        moved.append((earliest - shift, latest - shift, service_s))
    shift += max(0.0, horizon_s - end - rest_s)
    return moved, horizon_s - shift


def _cheapest(given: Sequence[Window], limits: Limits, until: float, states: int) -> float:
    windows, horizon_s = _without_rests(given, limits.start_s, until)
    step_s, unit = _grid(windows, limits, horizon_s, states)
    steps = math.floor(horizon_s / step_s)
    early, late, held = _Line(step_s, steps), _Line(step_s, steps), [0] * (steps + 3)
    for earliest, latest, service_s in windows:
        early.add(earliest, 1)
        early.add(earliest + service_s, -1)
        late.add(latest, 1)
        late.add(latest + service_s, -1)
        first, last = math.ceil(latest / step_s), math.ceil((earliest + service_s) / step_s)
        if first < last and first <= steps:
            held[first] += 1
            held[min(last, steps + 2)] -= 1
    may = [math.ceil(work / unit - 1e-6) for work in early.read()]
    must = [math.ceil(work / unit - 1e-6) for work in late.read()]
    cost = _search(may, must, _least(held, limits, steps), limits, step_s, round(limits.slots * step_s / unit))
    return cost + limits.min_replicas * (until - horizon_s)


def _least(held: Sequence[int], limits: Limits, steps: int) -> list[int]:
    """Pods of each step that must be there for the tasks in hand at its edges."""
    in_hand, counts = 0, []
    for change in held[: steps + 1]:
        in_hand += change
        counts.append(min(limits.max_replicas, max(limits.min_replicas, math.ceil(in_hand / limits.slots))))
    return [max(pair) for pair in pairwise(counts)]


def _grid(windows: Sequence[Window], limits: Limits, horizon_s: float, states: int) -> tuple[float, float]:
    """Seconds of a step, and slot-seconds of a unit of work: as fine as about so many `states` allow."""
    work = sum(service_s for _, _, service_s in windows)
    tube = work / horizon_s * limits.max_wait_s  # of what may wait, on average
    pods = min(limits.max_replicas, math.ceil(max(service_s for *_, service_s in windows) + tube))
    pods = max(1, pods - limits.min_replicas + 1)
    for share, parts in ((40, 20), (20, 10), (20, 4), (10, 4), (6, 2), (4, 2), (4, 1)):
        step_s = limits.start_s / share
        unit = limits.slots * step_s / parts
        if horizon_s / step_s * pods * (1 + tube / unit) < states:
            return step_s, unit
    step_s = max(limits.start_s / 2, horizon_s * pods / states)
    return step_s, limits.slots * step_s


def _search(
    may: Sequence[int], must: Sequence[int], least: Sequence[int], limits: Limits, step_s: float, per_step: int
) -> float:
    """The least cost. `rows[n][p]`: with n pods above the minimum, and p units that could be done and are not yet."""
    start_s, low = max(0.0, limits.start_s - 2 * step_s), limits.min_replicas
    # More than can do in one step all that may wait are of no use.
    useful = max(math.ceil((after - before) / per_step) for after, before in zip(may[1:], must[:-1], strict=True))
    numbers = range(max(0, min(limits.max_replicas, max(useful, *least)) - low) + 1)
    rows: list[list[float]] = [[max(0, n + low - limits.initial) * start_s] for n in numbers]
    most = 0  # what the maximum of pods would have done
    for step, lowest in enumerate(least):
        grown = may[step + 1] - may[step]
        most = min(may[step + 1], most + limits.max_replicas * per_step)
        room = may[step + 1] - min(must[step + 1], most)
        for n in numbers[1:]:
            rows[n] = [min(a, b + start_s) for a, b in zip(rows[n], rows[n - 1], strict=True)]
        for n in reversed(numbers[:-1]):
            rows[n] = list(map(min, rows[n], rows[n + 1]))
        for n in numbers:
            if n + low < lowest:
                rows[n] = [_NEVER] * (room + 1)
            else:
                rows[n] = _serve(rows[n], grown - (n + low) * per_step, room, (n + low) * step_s)
    return min(min(row) for row in rows) - limits.initial * step_s  # those that go cost a step each, too


def _serve(row: list[float], change: int, room: int, cost: float) -> list[float]:
    """The row after a step in which `change` units more could be done than are; at most `room` may wait."""
    row = [min(row[: 1 - change]), *row[1 - change :]] if change < 0 else [_NEVER] * change + row
    row = [value + cost for value in row[: room + 1]]
    return row + [_NEVER] * (room + 1 - len(row))
