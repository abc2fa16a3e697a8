"""Does the simulation give what was measured? `python -m benchmarks.scaling --calibrate`

Each figure is held against the median of many simulated runs, and its worst against the worst that as many runs as
were measured have at the median. They agree when they are within TOLERANCE. Where few runs were measured at random
moments of a 15 s or 30 s rhythm, their median is a matter of chance: then it holds as well when the middle 90 % of the
medians of as many simulated runs have the measured one among them; the table says so. So that nothing hides there, the
burst is also simulated with the HPA's sync at the moment that was measured. A figure that a parameter of the model was
fitted to is marked: that it agrees says only that one parameter was enough.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.scaling.experiments import CONTROL, CONTROL_QUIET, EXPERIMENTS, burst
from benchmarks.scaling.run import quantile

MEASURED = Path(__file__).with_name("measured.json")
TOLERANCE = 0.15
MANY = 20  # runs, from which on a median is no matter of chance
_DRAWS = 400
_PINNED = "burst, first step up"


@dataclass(frozen=True)
class Row:
    """One figure, measured and simulated."""

    figure: str
    scaler: str
    measured: dict[str, float]
    median: float
    worst: float
    low: float
    high: float
    """The middle 90 % of the medians of as many runs as were measured."""
    fitted: str

    @property
    def agrees(self) -> bool:
        """Median and, where 20 runs and more were measured, worst within TOLERANCE."""
        pairs = [(self.median, self.measured["median"])]
        if self.measured["n"] >= MANY:
            pairs.append((self.worst, self.measured["max"]))
        return all(abs(simulated / measured - 1) <= TOLERANCE for simulated, measured in pairs)

    @property
    def holds(self) -> bool:
        """As far as the runs that were measured can tell."""
        few = self.measured["n"] < MANY
        return self.agrees or (few and self.low <= self.measured["median"] <= self.high)

    @property
    def verdict(self) -> str:
        off = f"{100 * (self.median / self.measured['median'] - 1):+.0f} %"
        if self.agrees:
            return off
        return f"{off}: chance, with n = {self.measured['n']:g}" if self.holds else f"{off}: NO"


def sets() -> list[dict[str, Any]]:
    """What was measured, by set; each says its source."""
    measured: list[dict[str, Any]] = json.loads(MEASURED.read_text())
    return measured


def calibrate(measured: dict[str, Any], share: float = 1.0) -> list[Row]:
    """The rows of one set, from a `share` of the usual number of simulated runs."""
    samples: dict[tuple[str, str], list[float]] = {}
    scalers = dict.fromkeys(figure["scaler"] for figure in measured["figures"])
    for scaler in scalers:
        for experiment, runs in EXPERIMENTS.items():
            if scaler not in (CONTROL, CONTROL_QUIET) or experiment is burst:
                _sample(samples, scaler, experiment, max(3, round(runs * share)))
    rows = [_row(figure, samples[figure["scaler"], figure["figure"]]) for figure in measured["figures"]]
    return rows + _pinned(measured, max(3, round(60 * share)))


def _sample(
    samples: dict[tuple[str, str], list[float]], scaler: str, experiment: Callable[..., Any], runs: int
) -> None:
    for run in range(runs):
        for name, value in experiment(scaler, run).items():
            samples.setdefault((scaler, name), []).append(value)


def _pinned(measured: dict[str, Any], runs: int) -> list[Row]:
    """The burst with the HPA's first look when it was."""
    moments = {one["scaler"]: one["median"] for one in measured["figures"] if one["figure"] == _PINNED}
    rows = []
    for one in measured["figures"]:
        if one["figure"] == "burst, drained" and one["scaler"].startswith("KEDA"):
            at = moments[one["scaler"]]
            drained = [burst(one["scaler"], run, at)["burst, drained"] for run in range(runs)]
            rows.append(_row({**one, "figure": f"{one['figure']}, sync at {at:g} s"}, drained))
    return rows


def _row(figure: dict[str, Any], values: Sequence[float]) -> Row:
    ordered, n, rng = sorted(values), int(figure["n"]), Random(0)
    medians = sorted(quantile(sorted(rng.choices(ordered, k=n)), 0.5) for _ in range(_DRAWS))
    return Row(
        figure["figure"],
        figure["scaler"],
        {key: figure[key] for key in ("n", "min", "median", "max")},
        quantile(ordered, 0.5),
        quantile(ordered, 0.5 ** (1 / n)),
        quantile(medians, 0.05),
        quantile(medians, 0.95),
        figure.get("fitted", ""),
    )


def table(rows: Sequence[Row]) -> str:
    """Markdown."""
    head = (
        "figure",
        "scaler",
        "n",
        "measured: median (worst)",
        "simulated: median (worst of n)",
        "90 % of medians of n",
        "off by",
        "fitted to it",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        was = row.measured
        lines.append(
            f"| {row.figure} | {row.scaler} | {was['n']:g} | {was['median']:g} ({was['max']:g}) "
            f"| {row.median:.1f} ({row.worst:.1f}) | {row.low:.1f} to {row.high:.1f} | {row.verdict} | {row.fitted} |"
        )
    return "\n".join(lines)
