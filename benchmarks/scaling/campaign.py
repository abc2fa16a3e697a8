"""All scenarios, seeds and scalers: a line on record for each scenario and seed, so that it may stop and go on.

The bound and the others' figures do not depend on our autoscaler. So after a change of ours, and of nothing else, they
may be those of a record `before`; of the seeds that are so made up, the first of each scenario is run in full, each
time, and must agree.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.record import Record
from benchmarks.scaling import holdout, tuning
from benchmarks.scaling.bound import bound
from benchmarks.scaling.many import Many, compare
from benchmarks.scaling.run import OURS, SCALERS, figures, run
from benchmarks.scaling.scenario import Scenario

VARIANTS = {"tuning": tuning, "hold-out": holdout}


def scenarios(variant: str) -> list[Scenario | Many]:
    """Of one variant; that of 1,000 queues comes last, it takes the longest."""
    module = VARIANTS[variant]
    return [*module.SCENARIOS, module.MANY]


def go(record: Record, seeds: int, only: list[str], before: Record | None = None) -> Iterator[str]:
    """Add what is missing until each scenario has `seeds` lines; a line of text for each. `only`: of these names.

    `before`: whose bounds and figures of others are taken. Raises ValueError where they are not what comes out today.
    """
    for variant, module in VARIANTS.items():
        for scenario in scenarios(variant):
            if only and scenario.name not in only:
                continue
            done = {line["seed"] for line in record.lines(variant=variant, scenario=scenario.name)}
            checked = False
            for seed in range(module.FIRST_SEED, module.FIRST_SEED + seeds):
                if seed not in done:
                    began = time.process_time()
                    key = {"variant": variant, "scenario": scenario.name, "seed": seed}
                    known = next(iter(before.lines(**key)), None) if before else None
                    record.add({**key, **_line(scenario, seed, known, check=not checked)})
                    checked |= known is not None
                    yield f"{variant}, {scenario.name}, seed {seed}: {time.process_time() - began:.1f} s of CPU"


def _line(scenario: Scenario | Many, seed: int, known: Mapping[str, Any] | None, *, check: bool) -> dict[str, Any]:
    if known is None:
        return one(scenario, seed)
    taken = {"bound": known["bound"], "others_of": known.get("others_of", known["commit"])}
    if not check:
        return {**taken, "scalers": known["scalers"] | one(scenario, seed, known["bound"])["scalers"]}
    line = one(scenario, seed)
    then = {**known["scalers"], OURS: None}
    if (line["bound"], {**line["scalers"], OURS: None}) != (known["bound"], then):
        raise ValueError(f"{scenario.name}, seed {seed}: more than ours has changed; run it without a record of before")
    return {**taken, "scalers": line["scalers"]}


def one(scenario: Scenario | Many, seed: int, least: float | None = None) -> dict[str, Any]:
    """The bound and the figures of every scaler for one seed; of ours alone where the bound, `least`, is known."""
    names = list(SCALERS) if least is None else [OURS]
    if isinstance(scenario, Many):
        least, found = compare(scenario, seed, names, least)
    else:
        jobs = scenario.jobs(seed)
        least = bound(jobs, scenario.limits(), scenario.horizon_s) if least is None else least
        queues = {name: run(scenario, jobs, name, seed) for name in names}
        found = {name: figures(queue, scenario.max_wait_s, scenario.horizon_s) for name, queue in queues.items()}
    return {"bound": round(least, 1), "scalers": found}
