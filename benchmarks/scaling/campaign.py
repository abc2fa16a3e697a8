"""All scenarios, seeds and scalers: a line on record for each scenario and seed, so that it may stop and go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.record import Record
from benchmarks.scaling import holdout, tuning
from benchmarks.scaling.bound import bound
from benchmarks.scaling.many import Many, compare
from benchmarks.scaling.run import SCALERS, figures, run
from benchmarks.scaling.scenario import Scenario

VARIANTS = {"tuning": tuning, "hold-out": holdout}


def scenarios(variant: str) -> list[Scenario | Many]:
    """Of one variant; that of 1,000 queues comes last, it takes the longest."""
    module = VARIANTS[variant]
    return [*module.SCENARIOS, module.MANY]


def go(record: Record, seeds: int, only: list[str]) -> Iterator[str]:
    """Add what is missing until each scenario has `seeds` lines; a line of text for each. `only`: of these names."""
    for variant, module in VARIANTS.items():
        for scenario in scenarios(variant):
            if only and scenario.name not in only:
                continue
            done = {line["seed"] for line in record.lines(variant=variant, scenario=scenario.name)}
            for seed in range(module.FIRST_SEED, module.FIRST_SEED + seeds):
                if seed not in done:
                    began = time.process_time()
                    record.add({"variant": variant, "scenario": scenario.name, "seed": seed, **one(scenario, seed)})
                    yield f"{variant}, {scenario.name}, seed {seed}: {time.process_time() - began:.1f} s of CPU"


def one(scenario: Scenario | Many, seed: int) -> dict[str, Any]:
    """The bound and the figures of every scaler for one seed."""
    if isinstance(scenario, Many):
        least, found = compare(scenario, seed, list(SCALERS))
    else:
        jobs = scenario.jobs(seed)
        least = bound(jobs, scenario.limits(), scenario.horizon_s)
        queues = {name: run(scenario, jobs, name, seed) for name in SCALERS}
        found = {name: figures(queue, scenario.max_wait_s, scenario.horizon_s) for name, queue in queues.items()}
    return {"bound": round(least, 1), "scalers": found}
