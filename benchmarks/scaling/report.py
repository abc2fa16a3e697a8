"""The tables of docs/scaling.md, from the lines on record: tuning and hold-out apart, medians over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.record import Record
from benchmarks.scaling.campaign import VARIANTS, scenarios
from benchmarks.scaling.run import OURS, SCALERS, quantile

Line = dict[str, Any]
SAME_COST, SAME_LATE = 0.02, 0.002  # a share of the replica-seconds, and of the tasks: less is no difference

HEAD = (
    "scenario (seeds)",
    "scaler",
    "wait p50 / p95 / p99, s",
    "over maxWaitSeconds, %",
    "replica-seconds, of the bound",
    "reversals a queue-day",
    "cut tasks",
    "calls a minute: of the queue + of the namespace",
)
GIVEN = {
    "Knative's law": "its model sees each task the moment it comes, which Temporal tells nobody",
    "static peak": "its model is told the peak beforehand",
}
_PARETO = """Ours against each competitor: replica-seconds (ours / theirs, median of the seeds), tasks over
maxWaitSeconds (ours, theirs, %), and who is ahead: who is better in replica-seconds, late tasks or cut tasks and worse
in none of them; less than 2 % of the cost, or 0.2 points of late tasks, is no difference. All else is a choice."""


def summary(record: Record) -> str:
    """Everything, in Markdown."""
    parts = []
    for variant in VARIANTS:
        by_scenario = {one.name: record.lines(variant=variant, scenario=one.name) for one in scenarios(variant)}
        by_scenario = {name: lines for name, lines in by_scenario.items() if lines}
        if by_scenario:
            parts += [f"## {variant.capitalize()}", _scenarios(by_scenario), _pareto(by_scenario)]
    return "\n\n".join([*parts, record.footnote() + _others(record)])


def _others(record: Record) -> str:
    """Where what is not ours comes from, if that is another record."""
    lines = record.lines()
    if not any("others_of" in line for line in lines):
        return ""
    commits = dict.fromkeys(line.get("others_of", line["commit"]) for line in lines)
    return f"\nOf the bounds and all figures but ours: {', '.join(commits)}"


def _scenarios(by_scenario: dict[str, list[Line]]) -> str:
    rows = [f"| {' | '.join(HEAD)} |", "|---" * len(HEAD) + "|"]
    for scenario, lines in by_scenario.items():
        rows += [f"| {scenario} ({len(lines)}) | {name} | {' | '.join(_cells(lines, name))} |" for name in SCALERS]
    return "\n".join(rows)


def _cells(lines: Sequence[Line], name: str) -> Iterator[str]:
    yield " / ".join(f"{_median(lines, name, key):.1f}" for key in ("p50", "p95", "p99"))
    yield _spread([100 * late for late in _values(lines, name, "late")], "{:.1f}")
    yield _spread([line["scalers"][name]["replica_s"] / line["bound"] for line in lines], "{:.2f}")
    yield _spread(_values(lines, name, "reversals_a_day"), "{:.0f}")
    yield _spread(_values(lines, name, "cut"), "{:.0f}")
    yield " + ".join(f"{_median(lines, name, key):.1f}" for key in ("calls_a_minute", "shared_calls_a_minute"))


def _values(lines: Sequence[Line], name: str, key: str) -> list[float]:
    return [line["scalers"][name][key] for line in lines]


def _median(lines: Sequence[Line], name: str, key: str) -> float:
    return median(_values(lines, name, key))


def _spread(values: Sequence[float], form: str) -> str:
    """The median, and from which to which 90 % of the seeds are."""
    ordered = sorted(values)
    low, middle, high = (form.format(v) for v in (quantile(ordered, 0.05), median(ordered), quantile(ordered, 0.95)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _pareto(by_scenario: dict[str, list[Line]]) -> str:
    rivals = [name for name in SCALERS if name != OURS]
    rows = [_PARETO, "", "| scenario | " + " | ".join(rivals) + " |", "|---|" + "---|" * len(rivals)]
    lost = []
    for scenario, lines in by_scenario.items():
        cells = []
        for rival in rivals:
            verdict, text = compared(lines, rival)
            cells.append(text)
            if verdict == rival:
                lost.append(f"- {scenario}: {rival} is ahead ({text}); {beside(lines, rival)}.")
        rows.append(f"| {scenario} | {' | '.join(cells)} |")
    return "\n".join([*rows, "", "Where a competitor is ahead:" if lost else "No competitor is ahead in both.", *lost])


def compared(lines: Sequence[Line], rival: str) -> tuple[str, str]:
    """Who is ahead ("" for a choice or a draw), and the figures."""
    cost = median(line["scalers"][OURS]["replica_s"] / line["scalers"][rival]["replica_s"] for line in lines)
    late, theirs = _median(lines, OURS, "late"), _median(lines, rival, "late")
    cut = _median(lines, OURS, "cut") - _median(lines, rival, "cut")
    points = [_sign(cost - 1, SAME_COST), _sign(late - theirs, SAME_LATE), _sign(cut, 0.5)]
    text = f"{cost:.2f}; {100 * late:.1f}, {100 * theirs:.1f}"
    if max(points) <= 0 and min(points) < 0:
        return OURS, f"{text}: ours"
    if min(points) >= 0 and max(points) > 0:
        return rival, f"{text}: theirs"
    return "", f"{text}: {'equal' if not any(points) else 'a choice'}"


def _sign(difference: float, same: float) -> int:
    return (difference > same) - (difference < -same)


def beside(lines: Sequence[Line], rival: str) -> str:
    """What else differs, ours / theirs. Why that is so, no figure says: somebody has to look at the run."""
    found = []
    for key, text in (("most", "most replicas"), ("reversals_a_day", "reversals a queue-day"), ("cut", "cut tasks")):
        found.append(f"{text} {_median(lines, OURS, key):.0f} / {_median(lines, rival, key):.0f}")
    return ", ".join([*found, GIVEN[rival]] if rival in GIVEN else found)
