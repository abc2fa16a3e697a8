"""The scenarios that somebody who tunes the policy may look at. holdout.py has their twins."""

from __future__ import annotations

from benchmarks.scaling import loads
from benchmarks.scaling.many import Many
from benchmarks.scaling.scenario import Scenario
from benchmarks.scaling.work import ACTIVITY, WORKFLOW

FIRST_SEED = 1000

SCENARIOS = (
    Scenario("step", 1800, loads.step(low=2, times=10, at=300, until=1800, task_s=2)),
    Scenario("ramp", 3600, loads.ramp(low=1, high=30, begin=300, end=2700, until=3600, task_s=3)),
    Scenario("spikes", 3600, loads.spikes(2, size=300, within_s=5, mean_gap_s=500, until=3600, task_s=1.5)),
    Scenario("diurnal", 86400, loads.diurnal(0.2, day=5, day_s=86400, until=86400, task_s=4), slots=5),
    Scenario("on/off", 7200, loads.on_off(8, on_s=300, off_s=330, until=7200, task_s=2), min_replicas=0),
    Scenario(
        "sparse",
        43200,
        loads.sparse(mean_gap_s=1200, until=43200, task_s=3),
        kinds=(WORKFLOW, ACTIVITY),
        min_replicas=0,
        initial=0,
    ),
    Scenario("heavy tail", 7200, loads.heavy(3, least_s=1.5, alpha=1.4, most_s=600, until=7200), initial=2),
    Scenario("mixed", 3600, loads.mixed(2, 3, 0.7, burst=5, period_s=900, until=3600, task_s=2), (WORKFLOW, ACTIVITY)),
    Scenario("poison", 3600, loads.poisoned(2, failing=30, stranded=20, at=600, until=3600, task_s=2)),
    Scenario("outage", 3600, loads.steady(6, until=3600, task_s=3), initial=3, outages=((1200, 60), (2400, 180))),
    Scenario(
        "doubled",
        3600,
        loads.bursts(2, 20, (900, 2100), length_s=60, until=3600, task_s=3),
        restarts=((910, "graceful"), (2110, "kill")),
    ),
    Scenario("long", 7200, loads.long(5, gap_s=900, task_s=120, until=7200), min_replicas=0, initial=0),
    Scenario("limited", 3600, loads.bursts(1, 15, (600, 1800), length_s=120, until=3600, task_s=2), limit=6),
)

MANY = Many(rate=20, exponent=1.1, task_s=2)
