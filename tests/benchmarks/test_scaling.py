"""The simulator of benchmarks.scaling: the same figures each time, nothing lost, a true bound, and calibrated."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from benchmarks.record import Record
from benchmarks.scaling import campaign, holdout, loads, tuning
from benchmarks.scaling import ours as simulated
from benchmarks.scaling.__main__ import main as command
from benchmarks.scaling.bound import bound
from benchmarks.scaling.calibration import calibrate, sets
from benchmarks.scaling.many import Many, compare
from benchmarks.scaling.parts import Cluster
from benchmarks.scaling.plots import draw
from benchmarks.scaling.report import summary
from benchmarks.scaling.rivals import Static
from benchmarks.scaling.run import OURS, SCALERS, drive, figures, run
from benchmarks.scaling.scenario import Scenario
from benchmarks.scaling.search import Limits
from benchmarks.scaling.signals import Server
from benchmarks.scaling.work import ACTIVITY, Job, Stage
from benchmarks.scaling.world import Queue

STEP, MIXED, LONG = (one for name in ("step", "mixed", "long") for one in tuning.SCENARIOS if one.name == name)
SHORT, SHORT_MIXED = (dataclasses.replace(one, horizon_s=400) for one in (STEP, MIXED))
SMALL_S = 300.0


@pytest.mark.parametrize("scenario", [SHORT, SHORT_MIXED], ids=["step", "mixed"])
def test_the_same_seed_gives_the_same_figures(scenario: Scenario) -> None:
    first, again = (campaign.one(scenario, seed=7) for _ in range(2))
    assert first == again
    assert first["scalers"][OURS] != campaign.one(scenario, seed=8)["scalers"][OURS]


@pytest.mark.parametrize("name", SCALERS)
def test_no_task_is_lost_and_none_ends_twice(name: str) -> None:
    jobs = LONG.jobs(7)
    queue = run(LONG, jobs, name, 7)
    assert len(queue.waits) + len(queue.open) == len(jobs)
    in_hand = {pod.name: queue.slots - pod.free[ACTIVITY] for pod in queue.pods.values()}
    assert in_hand == {pod.name: len(pod.hand) for pod in queue.pods.values()}


def test_tuned_keda_cuts_long_activities_and_ours_does_not() -> None:
    jobs = LONG.jobs(7)
    assert run(LONG, jobs, "KEDA tuned", 7).cuts > 0
    assert run(LONG, jobs, OURS, 7).cuts == 0


@pytest.mark.parametrize("seed", range(24))
def test_the_bound_is_never_above_a_scaler_that_keeps_the_waits(seed: int) -> None:
    rng = Random(seed)
    base, length_s, task_s = rng.choice([0.02, 0.5, 2]), rng.choice([5, 30]), rng.choice([0.5, 3, 20])
    scenario = Scenario(
        "small",
        SMALL_S,
        loads.bursts(base, 4, (60, 170), length_s, SMALL_S, task_s),
        slots=rng.choice([2, 5, 10]),
        min_replicas=rng.choice([0, 1]),
        max_wait_s=rng.choice([2, 10]),
        max_replicas=40,
        cluster=Cluster(start_floor_s=1, start_s=1.2, dispatch_s=0),
    )
    jobs = scenario.jobs(seed)
    least = bound(jobs, scenario.limits(), SMALL_S)
    queues = [run(scenario, jobs, name, seed) for name in SCALERS]
    # Little room is left by the fewest pods that keep the waits all the time, and by some that come for the bursts.
    counts = range(1, scenario.max_replicas + 1)
    fewest = next(n for n in counts if _keeps(_static(scenario, jobs, n, seed), scenario))
    queues.append(_static(scenario, jobs, fewest, seed))
    for low in {1, 2, max(1, fewest // 3)} - {fewest}:
        plan = [(at, n) for begin in (60, 170) for at, n in ((begin - 1.0, fewest), (begin + length_s + 1.0, low))]
        queues.append(drive(dataclasses.replace(scenario, initial=low), jobs, Planned(plan), seed))
    kept = [queue.replica_seconds() for queue in queues if _keeps(queue, scenario)]
    assert 0 < least <= min(kept)


@dataclass
class Planned:
    """Replicas at moments known beforehand."""

    plan: list[tuple[float, int]]

    def attach(self, queue: Queue, server: Server, rng: Random) -> None:
        for at, replicas in self.plan:
            queue.loop.at(at, queue.scale, replicas)


def _static(scenario: Scenario, jobs: list[Job], count: int, seed: int) -> Queue:
    return drive(dataclasses.replace(scenario, initial=count), jobs, Static(count), seed)


def _keeps(queue: Queue, scenario: Scenario) -> bool:
    return figures(queue, scenario.max_wait_s, scenario.horizon_s)["late"] == 0


def test_the_bound_of_tasks_far_apart_is_a_start_and_its_time_for_each() -> None:
    jobs = [Job(at, (Stage(ACTIVITY, 4.0),)) for at in (100.0, 500.0, 900.0)]
    asleep = Limits(slots=10, max_wait_s=5, start_s=3, min_replicas=0, max_replicas=30, initial=0)
    assert bound(jobs, asleep, 1200) == pytest.approx(3 * (3 + 4))
    assert bound(jobs, dataclasses.replace(asleep, min_replicas=1), 1200) == pytest.approx(1200, rel=0.01)


def test_the_bound_of_a_full_stream_is_its_work() -> None:
    jobs = [Job(i / 10, (Stage(ACTIVITY, 2.0),)) for i in range(12000)]  # 20 slots, all the time
    limits = Limits(slots=10, max_wait_s=5, start_s=3, min_replicas=0, max_replicas=30, initial=2)
    assert bound(jobs, limits, 1200) == pytest.approx(2 * 1200, rel=0.02)


def test_the_simulation_gives_what_was_measured() -> None:
    rows = [row for measured in sets() if measured["figures"] for row in calibrate(measured, share=0.25)]
    assert rows
    assert [f"{row.figure}, {row.scaler}: {row.verdict}" for row in rows if not row.holds] == []


def test_tuning_and_hold_out_share_names_and_nothing_else() -> None:
    pairs = list(zip(tuning.SCENARIOS, holdout.SCENARIOS, strict=True))
    assert all(one.name == other.name for one, other in pairs)
    brief = [pair for pair in pairs if max(one.horizon_s for one in pair) <= 3600]
    assert all(one.jobs(tuning.FIRST_SEED) != other.jobs(tuning.FIRST_SEED) for one, other in brief)
    assert abs(tuning.FIRST_SEED - holdout.FIRST_SEED) >= 1000


def test_many_queues_share_one_budget_of_calls() -> None:
    many = Many(rate=3, exponent=1, task_s=1, queues=60, horizon_s=120)
    least, found = compare(many, 1, [OURS])
    ours = found[OURS]
    assert 0 < least <= ours["replica_s"]
    assert ours["calls_a_minute"] * many.queues + ours["shared_calls_a_minute"] <= 10 * 60 + 30 / 2


@pytest.fixture
def short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tuning, holdout):
        monkeypatch.setattr(module, "SCENARIOS", (SHORT,))
        monkeypatch.setattr(module, "MANY", Many(rate=1, exponent=1, task_s=1, queues=5, horizon_s=60))


def test_after_a_change_of_ours_only_ours_need_be_run_again(
    tmp_path: Path, short_ones: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, record = Record("before", tmp_path), Record("scaling", tmp_path)
    list(campaign.go(before, 3, []))
    lines = before.lines()
    for line in lines:
        line["commit"] = "then"
        if line["seed"] not in (tuning.FIRST_SEED, holdout.FIRST_SEED):  # nobody looks whether these are what comes out
            line["bound"], line["scalers"]["KEDA"]["p95"] = 12345.6, 999.0
    (tmp_path / "before.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    monkeypatch.setattr(simulated, "APPLY_S", 5.0)
    list(campaign.go(record, 3, [], before))
    for then, now in zip(lines, record.lines(), strict=True):
        assert now["others_of"] == "then"
        assert all(now[same] == then[same] for same in ("variant", "scenario", "seed", "bound"))
        assert now["scalers"].keys() == SCALERS.keys()
        assert [name for name in SCALERS if now["scalers"][name] != then["scalers"][name]] == [OURS]
    assert summary(record).endswith("\nOf the bounds and all figures but ours: then")


def test_a_change_of_more_than_ours_is_refused(
    tmp_path: Path, short_ones: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, record, begun = (Record(name, tmp_path) for name in ("before", "scaling", "begun"))
    list(campaign.go(before, 2, []))
    list(campaign.go(begun, 1, []))
    monkeypatch.setitem(SCALERS, "HPA on CPU", SCALERS["KEDA"])
    with pytest.raises(ValueError, match=rf"step, seed {tuning.FIRST_SEED}: more than ours has changed"):
        list(campaign.go(record, 1, [], before))
    assert record.lines() == []
    with pytest.raises(ValueError, match=rf"step, seed {tuning.FIRST_SEED + 1}: more than ours has changed"):
        list(campaign.go(begun, 2, [], before))


def test_a_record_of_before_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scaling", "--before", "then", "--folder", str(tmp_path)])
    with pytest.raises(SystemExit):
        command()
    assert f"--before: there are no lines in {tmp_path}/then.jsonl" in capsys.readouterr().err


def test_what_is_on_record_is_told_and_drawn(tmp_path: Path, short_ones: None) -> None:
    record = Record("scaling", tmp_path)
    assert len(list(campaign.go(record, 1, []))) == 4
    assert list(campaign.go(record, 1, [])) == []
    text = summary(record)
    assert text.index("## Tuning") < text.index("## Hold-out")
    assert text.count("| step (1) | ours |") == 2
    plots = draw(tmp_path / "plots", record)
    assert [plot.name for plot in plots][-2:] == ["cost-against-wait-tuning.svg", "cost-against-wait-hold-out.svg"]
    assert all(plot.read_text().endswith("</svg>\n") for plot in plots)
