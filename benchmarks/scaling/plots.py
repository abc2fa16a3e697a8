"""Small SVGs without a library: lines of one scenario over time, and cost against wait of all scalers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from benchmarks.record import Record
from benchmarks.scaling import tuning
from benchmarks.scaling.campaign import VARIANTS, scenarios
from benchmarks.scaling.run import SCALERS, run
from benchmarks.scaling.world import Queue

COLOURS = dict(zip(SCALERS, ("#0072b2", "#d55e00", "#e69f00", "#009e73", "#cc79a7", "#777777"), strict=True))
WIDTH, HEIGHT, LEFT, BOTTOM = 720, 240, 56, 36
SHOWN = ("step", "spikes", "on/off", "mixed", "poison", "long")
Points = Sequence[tuple[float, float]]


def draw(folder: Path, record: Record, seed: int = tuning.FIRST_SEED) -> list[Path]:
    """Write all plots into `folder`: of the scenarios SHOWN, and of what is on record."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for scenario in tuning.SCENARIOS:
        if scenario.name in SHOWN:
            jobs = scenario.jobs(seed)
            queues = {name: run(scenario, jobs, name, seed) for name in SCALERS}
            name = scenario.name.replace("/", "-").replace(" ", "-")
            replicas = {n: _steps(q.changes, q.loop.now, scenario.initial) for n, q in queues.items()}
            waits = {n: _waits(q) for n, q in queues.items()}
            for what, lines, unit in (("replicas", replicas, "replicas"), ("wait", waits, "wait, s (worst in a bin)")):
                path = folder / f"{name}-{what}.svg"
                path.write_text(chart(lines, f"{scenario.name}: {what}", "seconds", unit, joined=True))
                written.append(path)
    for variant in VARIANTS:
        path = folder / f"cost-against-wait-{variant}.svg"
        path.write_text(chart(_clouds(record, variant), f"{variant}: a dot a scenario", "cost / bound", "late, %"))
        written.append(path)
    return written


def _steps(changes: Points, until: float, initial: int) -> Points:
    points, before = [(0.0, float(initial))], float(initial)
    for at, replicas in changes:
        points += [(at, before), (at, float(replicas))]
        before = replicas
    return [*points, (until, before)]


def _waits(queue: Queue, bins: int = 150) -> Points:
    worst = [0.0] * bins
    for end, wait in zip(queue.ends, queue.waits, strict=True):
        index = min(bins - 1, int(end / queue.loop.now * bins))
        worst[index] = max(worst[index], wait)
    return [((i + 0.5) * queue.loop.now / bins, wait) for i, wait in enumerate(worst)]


def _clouds(record: Record, variant: str) -> dict[str, Points]:
    clouds: dict[str, list[tuple[float, float]]] = {name: [] for name in SCALERS}
    for scenario in scenarios(variant):
        if lines := record.lines(variant=variant, scenario=scenario.name):
            for name, points in clouds.items():
                cost = median(line["scalers"][name]["replica_s"] / line["bound"] for line in lines)
                points.append((math.log10(cost), 100 * median(line["scalers"][name]["late"] for line in lines)))
    return dict(clouds)


def chart(lines: Mapping[str, Points], title: str, across: str, up: str, joined: bool = False) -> str:
    """One SVG; not `joined`: dots, over a logarithmic axis."""
    every = [point for points in lines.values() for point in points] or [(0.0, 0.0)]
    right, top = max(x for x, _ in every) or 1.0, max(y for _, y in every) or 1.0
    wide, high = WIDTH - LEFT - 150, HEIGHT - BOTTOM - 24

    def at(x: float, y: float) -> str:
        return f"{LEFT + x / right * wide:.1f},{HEIGHT - BOTTOM - y / top * high:.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="16" font-size="13">{title}</text>',
        f'<path d="M{at(0, top)}L{at(0, 0)}L{at(right, 0)}" fill="none" stroke="#333"/>',
        f'<text x="{LEFT + wide / 2}" y="{HEIGHT - 6}" text-anchor="middle">{across}</text>',
        f'<text x="12" y="{HEIGHT / 2}" transform="rotate(-90 12 {HEIGHT / 2})" text-anchor="middle">{up}</text>',
    ]
    for share in (0.0, 0.5, 1.0):
        left, height = at(right * share, 0).split(",")[0], at(0, top * share).split(",")[1]
        label = right * share if joined else 10 ** (right * share)
        parts.append(f'<text x="{left}" y="{HEIGHT - BOTTOM + 14}" text-anchor="middle">{_number(label)}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{height}" text-anchor="end">{_number(top * share)}</text>')
    # The first is ours, and drawn last and widest: no other line hides it.
    for row, (name, points) in reversed(list(enumerate(lines.items()))):
        colour, width = COLOURS[name], 1.4 if row else 2.4
        if joined:
            path = "L".join(at(x, y) for x, y in points)
            parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="{width}" opacity="0.85"/>')
        for x, y in () if joined else points:
            cx, cy = at(x, y).split(",")
            parts.append(f'<circle cx="{cx}" cy="{cy}" r="4" fill="{colour}" opacity="0.75"/>')
        parts.append(f'<text x="{LEFT + wide + 14}" y="{40 + 18 * row}" fill="{colour}">{name}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
