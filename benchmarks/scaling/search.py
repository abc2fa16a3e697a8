"""The search of bound.py: the cheapest number of pods over time for work that may be done within a tube.

Exact over (pods, work done) in steps. A schedule made constant within each step, at its highest there, costs at most 2
steps more for each pod that it ever adds: so that much is taken off the price of a start. Work is counted in units, and
both edges of the tube are rounded up, which no schedule that keeps within them notices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

_NEVER = math.inf
# Steps in a start, and units of work that one pod does in a step: the finest that the states allow is taken.
_GRIDS = ((40, 20), (20, 10), (20, 4), (10, 4), (6, 2), (4, 2), (4, 1), (2, 1))
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


@dataclass(frozen=True)
class _Tube:
    """By edge of the steps: units that may be done and must be done; by step: pods that must be there."""

    may: Sequence[int]
    must: Sequence[int]
    least: Sequence[int]
    step_s: float
    per_step: int

    def states(self) -> float:
        return sum(after - before + 1 for after, before in zip(self.may, self.must, strict=True))


def cheapest(given: Sequence[Window], limits: Limits, until: float, states: int) -> float:
    """Replica-seconds of [0, until). `states`: how many the search may look at, about."""
    windows, horizon_s = _without_rests(given, limits.start_s, until)
    most = min(limits.max_replicas, max(limits.min_replicas, math.ceil(_at_once(windows) / limits.slots)))
    tube = _finest(windows, limits, horizon_s, states / (most - limits.min_replicas + 1))
    return _search(tube, limits, most) + limits.min_replicas * (until - horizon_s)


def _finest(windows: Sequence[Window], limits: Limits, horizon_s: float, states: float) -> _Tube:
    """The finest tube with so many `states` for each number of pods, or the coarsest that there is."""
    waiting = sum(service_s for *_, service_s in windows) / horizon_s * limits.max_wait_s
    for share, parts in _GRIDS[:-1]:
        step_s = limits.start_s / share
        unit = limits.slots * step_s / parts
        if horizon_s / step_s * (1 + waiting / unit) <= states:  # on average; so most need not be made to be seen
            tube = _tube(windows, limits, horizon_s, step_s, unit)
            if tube.states() <= states:
                return tube
    step_s = limits.start_s / _GRIDS[-1][0]
    return _tube(windows, limits, horizon_s, step_s, limits.slots * step_s / _GRIDS[-1][1])


def _at_once(windows: Sequence[Window]) -> int:
    """Tasks that can be in hand in one moment at the most; more slots than that are of no use to anybody."""
    edges = sorted([(earliest, 1) for earliest, *_ in windows] + [(late + long, -1) for _, late, long in windows])
    most = held = 0
    for _, change in edges:
        most = max(most, held := held + change)
    return most


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


def _tube(windows: Sequence[Window], limits: Limits, horizon_s: float, step_s: float, unit: float) -> _Tube:
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
    may, must = ([math.ceil(work / unit - 1e-6) for work in line.read()] for line in (early, late))
    return _Tube(may, must, _least(held, limits, steps), step_s, round(limits.slots * step_s / unit))


def _least(held: Sequence[int], limits: Limits, steps: int) -> list[int]:
    """Pods of each step that must be there for the tasks in hand at its edges."""
    in_hand, counts = 0, []
    for change in held[: steps + 1]:
        in_hand += change
        counts.append(min(limits.max_replicas, max(limits.min_replicas, math.ceil(in_hand / limits.slots))))
    return [max(pair) for pair in pairwise(counts)]


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


def _search(tube: _Tube, limits: Limits, top: int) -> float:
    """The least cost. `rows[n][p]`: with n pods above the minimum, and p units that could be done and are not yet."""
    step_s, per_step, may, low = tube.step_s, tube.per_step, tube.may, limits.min_replicas
    start_s, numbers = max(0.0, limits.start_s - 2 * step_s), range(top - low + 1)
    rows: list[list[float]] = [[max(0, n + low - limits.initial) * start_s] for n in numbers]
    most = 0  # what the maximum of pods would have done
    for step, lowest in enumerate(tube.least):
        grown = may[step + 1] - may[step]
        most = min(may[step + 1], most + limits.max_replicas * per_step)
        room = may[step + 1] - min(tube.must[step + 1], most)
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
