"""The twins of tuning.py: other rates, durations, periods and seeds. Nobody tunes by these; they are reported apart."""

from __future__ import annotations

from benchmarks.scaling import loads
from benchmarks.scaling.many import Many
from benchmarks.scaling.parts import Cluster
from benchmarks.scaling.scenario import Scenario
from benchmarks.scaling.work import ACTIVITY, WORKFLOW

FIRST_SEED = 5000
_SLOW = Cluster(start_floor_s=5, start_s=12)
_FAST = Cluster(start_floor_s=1, start_s=2)

SCENARIOS = (
    Scenario("step", 1800, loads.step(low=0.7, times=10, at=517, until=1800, task_s=7), cluster=_SLOW),
    Scenario("ramp", 3600, loads.ramp(low=3, high=50, begin=100, end=1500, until=3600, task_s=1.3), cluster=_FAST),
    Scenario("spikes", 3600, loads.spikes(1, size=120, within_s=1, mean_gap_s=210, until=3600, task_s=6), slots=8),
    Scenario("diurnal", 43200, loads.diurnal(1, day=12, day_s=21600, until=43200, task_s=1.5), slots=4),
    Scenario("on/off", 7200, loads.on_off(5, on_s=70, off_s=47, until=7200, task_s=5), min_replicas=0, cluster=_FAST),
    Scenario(
        "sparse",
        43200,
        loads.sparse(mean_gap_s=480, until=43200, task_s=11),
        kinds=(WORKFLOW, ACTIVITY),
        min_replicas=0,
        initial=0,
        cluster=_FAST,
    ),
    Scenario("heavy tail", 7200, loads.heavy(1, least_s=4, alpha=1.2, most_s=900, until=7200), initial=2, slots=5),
    Scenario("mixed", 3600, loads.mixed(1, 5, 0.3, burst=8, period_s=700, until=3600, task_s=1), (WORKFLOW, ACTIVITY)),
    Scenario("poison", 3600, loads.poisoned(5, failing=80, stranded=5, at=900, until=3600, task_s=1)),
    Scenario("outage", 3600, loads.steady(15, until=3600, task_s=1), initial=2, outages=((700, 120), (2000, 45))),
    Scenario(
        "doubled",
        3600,
        loads.bursts(3, 12, (700, 2400), length_s=100, until=3600, task_s=6),
        initial=3,
        restarts=((715, "kill"), (2415, "graceful")),
    ),
    Scenario("long", 7200, loads.long(8, gap_s=600, task_s=400, until=7200), min_replicas=0, initial=0),
    Scenario("limited", 3600, loads.bursts(2, 30, (500, 2000), length_s=60, until=3600, task_s=1), limit=10),
)

MANY = Many(rate=12, exponent=0.8, task_s=5, cluster=_FAST)
