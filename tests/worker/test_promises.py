"""What an activity promises of its time: the words, what contradicts them, and what is only doubted."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio import activity
from temporalio.common import RetryPolicy
from temporalio.testing import ActivityEnvironment

from app.core.config.model import ActivitySettings, Settings, WorkerSettings
from app.worker import discovery, kept_promises, outrun
from app.worker.options import activity_defaults
from app.worker.promises import Promise, broken, finishing_drain_s, latest_task_s
from app.worker.queues import TaskQueue, task_queues
from app.worker.registry import Registry, activity_defn

S = timedelta(seconds=1)
WORKER = WorkerSettings(drain_timeout_s=60)
FITS = 60 - latest_task_s(WORKER)
"""What an activity may take at most to end in the drain."""


async def work() -> None: ...


async def other() -> None: ...


def queues(registry: Registry, **settings: Any) -> list[TaskQueue]:
    return list(task_queues(registry, Settings.model_validate(settings)).values())


def problems(registry: Registry, **settings: Any) -> list[str]:
    return [str(problem) for problem in kept_promises.contradictions(queues(registry, **settings))]


def doubts(registry: Registry, **settings: Any) -> list[str]:
    return list(kept_promises.doubts(Settings.model_validate(settings), queues(registry, **settings)))


def test_what_is_declared_is_the_handlers_promise(registry: Registry) -> None:
    policy = RetryPolicy(maximum_attempts=3, initial_interval=2 * S, non_retryable_error_types=["Broke"])
    activity_defn(
        queue="q", start_to_close_timeout=20 * S, heartbeat_timeout=5 * S, retry_policy=policy, on_drain="hand_over"
    )(work)
    promise = registry.queues()["q"][0].promise
    assert (promise.start_to_close_s, promise.heartbeat_s, promise.maximum_attempts) == (20, 5, 3)
    assert promise.on_drain == "hand_over"
    assert promise.retry is not None
    assert promise.retry.maximum_interval_s == 200, "as Temporal has it where the policy says nothing"
    assert promise.retry.non_retryable_error_types == ("Broke",)
    assert registry.problems == []


def test_all_that_is_wrong_in_a_decorator_is_told_at_once_with_its_line(registry: Registry) -> None:
    policy = RetryPolicy(backoff_coefficient=0.5)
    wrong: dict[str, Any] = {"heartbeat_timeout": 3.5, "retry_policy": policy, "on_drain": "finnish"}

    @activity_defn(queue="q", start_to_close_timeout=timedelta(0), **wrong)
    @activity.defn
    async def act() -> None: ...

    told = [str(problem) for problem in registry.problems]
    assert {where.partition(" ")[0] for where in told} == {
        f"tests/worker/test_promises.py:{inspect.getsourcelines(act)[1]}:"
    }
    text = "\n".join(told)
    assert "start_to_close_timeout is 0 s" in text
    assert "heartbeat_timeout is 3.5, and no timedelta" in text
    assert "backoff_coefficient: Input should be greater than or equal to 1" in text
    assert 'on_drain is \'finnish\'\n  Say "finish" or "hand_over". Did you mean "finish"?' in text
    assert len(told) == 4


@pytest.mark.parametrize(
    ("wrong", "fact"),
    [
        ({"start_to_close_timeout": -S}, "is -1 s"),
        ({"start_to_close_timeout": timedelta(days=5000)}, "at most ten years"),
        ({"start_to_close_timeout": 5 * S, "heartbeat_timeout": 5 * S}, "is not below start_to_close_timeout (5 s)"),
        ({"retry_policy": {"maximum_attempts": 2}}, "RetryPolicy(...)"),
        ({"retry_policy": RetryPolicy(initial_interval=cast(Any, 5))}, "Its intervals are timedeltas"),
        ({"retry_policy": RetryPolicy(maximum_interval=S, initial_interval=2 * S)}, "Temporal refuses that"),
        ({"retry_policy": RetryPolicy(maximum_attempts=-1)}, "maximum_attempts: Input should be greater"),
        ({"on_drain": True}, "on_drain is True"),
    ],
)
def test_each_wrong_value_is_a_problem(registry: Registry, wrong: dict[str, Any], fact: str) -> None:
    activity_defn(queue="q", **wrong)(work)
    (problem,) = registry.problems
    assert fact in str(problem)
    assert registry.queues()["q"], "and the activity is known all the same"


@pytest.mark.parametrize(
    ("word", "options", "facts"),
    [
        ("finish", {"start_to_close_timeout_s": FITS}, []),
        ("finish", {"start_to_close_timeout_s": FITS + 1}, [f"it may take {FITS + 1:g} s"]),
        ("finish", {"start_to_close_timeout_s": FITS, "retry": {"maximum_attempts": 1}}, []),
        ("hand_over", {"heartbeat_timeout_s": 59}, []),
        ("hand_over", {}, ["it has no heartbeat_timeout"]),
        ("hand_over", {"heartbeat_timeout_s": 60}, ["its heartbeat_timeout (60 s) is not below the drain (60 s)"]),
        ("hand_over", {"heartbeat_timeout_s": 9, "retry": {"maximum_attempts": 1}}, ["it has one attempt"]),
        ("hand_over", {"retry": {"maximum_attempts": 1}}, ["it has no heartbeat_timeout", "it has one attempt"]),
        (None, {"retry": {"maximum_attempts": 1}}, []),
    ],
)
def test_a_promise_is_broken_by(word: Any, options: dict[str, Any], facts: list[str]) -> None:
    found = list(broken(word, ActivitySettings.model_validate(options), WORKER))
    assert [any(what.startswith(fact) for what, _ in found) for fact in facts] == [True] * len(facts)
    assert len(found) == len(facts)


@pytest.mark.parametrize("longest", [0.5, 2, 15, 59, 600])
def test_the_drain_that_the_remedy_names_is_the_shortest_that_fits(longest: float) -> None:
    options = ActivitySettings(start_to_close_timeout_s=longest)
    least = finishing_drain_s(longest, WORKER)
    assert not any(broken("finish", options, WorkerSettings(drain_timeout_s=least)))
    if least > 1:
        assert any(broken("finish", options, WorkerSettings(drain_timeout_s=least - 1)))


def test_a_contradiction_names_the_activity_the_drain_and_the_ways_out(registry: Registry) -> None:
    activity_defn(queue="q", start_to_close_timeout=90 * S, on_drain="finish")(work)
    (told,) = problems(registry)
    assert told.startswith("tests/worker/test_promises.py:")
    assert 'activity work on queue "q" promises on_drain="finish", but it may take 90 s' in told
    assert f"to {finishing_drain_s(90, WORKER)}, lower" in told
    assert f'lower the timeout to {FITS:g} s, or declare on_drain="hand_over"' in told
    assert problems(registry, queues={"q": {"worker": {"drain_timeout_s": 120}}}) == [], "a longer drain keeps it"


def test_what_is_not_declared_comes_from_the_configuration(registry: Registry) -> None:
    activity_defn(queue="q", on_drain="finish")(work)
    assert "it may take 1200 s" in problems(registry)[0]
    assert problems(registry, temporal={"activities": {"start_to_close_timeout_s": 30}}) == []
    assert problems(registry, queues={"q": {"activities": {"start_to_close_timeout_s": 30}}}) == []


def test_one_reason_is_said_once_for_all_activities_of_a_queue(registry: Registry) -> None:
    for act in (work, other):
        activity_defn(queue="q", start_to_close_timeout=90 * S, on_drain="finish")(act)
    (told,) = problems(registry)
    assert "(so do work, tests/worker/test_promises.py:" in told


def test_a_worker_is_held_to_the_queues_that_it_serves(registry: Registry) -> None:
    activity_defn(queue="q", start_to_close_timeout=90 * S, on_drain="finish")(work)
    activity_defn(queue="r", start_to_close_timeout=9 * S)(other)
    settings = Settings.model_validate({"temporal": {"worker": {"packages": ["tests.worker.test_promises"]}}})
    assert len(discovery.look(settings).problems) == 1
    assert discovery.look(settings, ["r"]).problems == ()
    assert len(discovery.look(settings, ["q"]).problems) == 1


def test_a_drain_chosen_at_the_command_line_is_obeyed_and_told(registry: Registry) -> None:
    activity_defn(queue="q", start_to_close_timeout=20 * S, on_drain="finish")(work)

    def given(drain_s: float) -> Settings:
        worker = {"packages": ["tests.worker.test_promises"], "drain_timeout_s": drain_s}
        return Settings.model_validate({"temporal": {"worker": worker}})

    def told(drain_s: float) -> list[str]:
        return [said for said in discovery.doubts(given(drain_s), drain_chosen=True) if "--drain-timeout" in said]

    assert discovery.look(given(5), drain_chosen=True).problems == ()
    assert told(5)[0].startswith("--drain-timeout: work (queue q) promises to finish in a drain, and would need")
    assert told(60) == []
    assert told(0.01) == [], "serve --reload waits for nothing, and says nothing"


def test_the_defaults_are_doubted_in_one_sentence_for_all_queues(registry: Registry) -> None:
    activity_defn(queue="q")(work)
    activity_defn(queue="r")(other)
    (told,) = doubts(registry)
    assert "a drain gives 60 s, and work (queue q), other (queue r) may take longer" in told
    assert "(start_to_close_timeout 1200 s)" in told
    assert doubts(registry, temporal={"activities": {"start_to_close_timeout_s": 30}}) == []
    assert len(doubts(registry, queues={"r": {"worker": {"drain_timeout_s": 90}}})) == 2, "one for each drain"


def test_a_sentence_names_a_few_and_counts_the_others(registry: Registry) -> None:
    def make() -> Callable[[], object]:
        async def act() -> None: ...

        return act

    for number in range(kept_promises.NAMED + 2):
        activity_defn(queue="q", name=f"act-{number}")(make())
    assert "act-3 (queue q) and 2 more may take longer" in doubts(registry)[0]


def test_what_is_promised_is_not_doubted(registry: Registry) -> None:
    activity_defn(queue="q", on_drain="hand_over", heartbeat_timeout=9 * S)(work)
    assert doubts(registry) == []


def test_hours_without_a_heartbeat_are_doubted(registry: Registry) -> None:
    long: dict[str, Any] = {"queues": {"q": {"worker": {"drain_timeout_s": 8000}}}}
    activity_defn(queue="q", start_to_close_timeout=7200 * S, on_drain="finish")(work)
    (told,) = doubts(registry, **long)
    assert told.startswith(
        "work (queue q) has no heartbeat_timeout: when its worker is killed, nobody notices for 7200"
    )
    assert doubts(registry, **long, temporal={"activities": {"heartbeat_timeout_s": 30}}) == []


def test_a_setting_that_a_declaration_overrules_is_said_to_have_no_effect(registry: Registry) -> None:
    activity_defn(queue="q", start_to_close_timeout=9 * S)(work)
    override = {"activity": {"work": {"start_to_close_timeout_s": 30, "heartbeat_timeout_s": 2}}}
    (told,) = doubts(registry, temporal=override)
    assert told.startswith("temporal.activity.work.start_to_close_timeout_s has no effect")


def test_what_is_declared_and_configured_must_fit_together(registry: Registry) -> None:
    activity_defn(queue="q", start_to_close_timeout=9 * S)(work)
    settings = Settings.model_validate(
        {"temporal": {"activities": {"start_to_close_timeout_s": 5, "schedule_to_close_timeout_s": 8}}}
    )
    (problem,) = kept_promises.misfits(registry, settings)
    assert problem.where.startswith("tests/worker/test_promises.py:")
    assert "schedule_to_close_timeout_s (8) is below start_to_close_timeout_s (9)" in problem.what


def test_a_heartbeat_for_all_is_none_for_an_activity_that_is_over_before_it() -> None:
    configured = ActivitySettings(heartbeat_timeout_s=10)
    for promise, beat in ((Promise(9), None), (Promise(11), 10), (Promise(), 10), (Promise(9, 3), 3)):
        assert promise.over(configured).heartbeat_timeout_s == beat
        seconds = timedelta(seconds=beat) if beat else None
        assert activity_defaults(configured, promise)["heartbeat_timeout"] == seconds, "a call gets the same"


@pytest.mark.parametrize(
    ("promise", "given", "fact"),
    [
        (Promise(20, on_drain="finish"), {"start_to_close_timeout": 20 * S}, ""),
        (Promise(20, on_drain="finish"), {"start_to_close_timeout": 600 * S}, "it may take 600 s"),
        (Promise(20, on_drain="finish"), {"start_to_close_timeout": 30 * S}, ""),
        (Promise(90, on_drain="finish"), {"start_to_close_timeout": 600 * S}, ""),
        (Promise(heartbeat_s=9, on_drain="hand_over"), {"heartbeat_timeout": 9 * S}, ""),
        (Promise(heartbeat_s=9, on_drain="hand_over"), {"heartbeat_timeout": None}, "it has no heartbeat_timeout"),
        (
            Promise(heartbeat_s=9, on_drain="hand_over"),
            {"heartbeat_timeout": 9 * S, "retry_policy": RetryPolicy(maximum_attempts=1)},
            "it has one attempt",
        ),
    ],
    ids=["as declared", "longer than the drain", "longer, and fits", "said at the start", "beats", "mute", "once"],
)
def test_a_call_outruns_a_promise_that_the_declaration_keeps(promise: Promise, given: Any, fact: str) -> None:
    base: dict[str, Any] = {"start_to_close_timeout": 20 * S, "heartbeat_timeout": None, "retry_policy": None}
    info = dataclasses.replace(ActivityEnvironment.default_info(), **{**base, **given})
    told = outrun.outrun((promise, promise.over(ActivitySettings()), WORKER), info)
    assert told.startswith(fact)
    assert bool(told) == bool(fact)
