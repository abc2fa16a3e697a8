"""The registry: the mistakes that would otherwise hang at run time. The decorators' shapes are in test_decorators."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from temporalio import activity, workflow

from app.core.config.model import Settings
from app.worker import discovery, sdk_definitions
from app.worker.registry import RegistrationError, Registry, activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow


def settings(*packages: str, **more: Any) -> Settings:
    return Settings.model_validate({"temporal": {"worker": {"packages": packages}}, **more})


@workflow.defn
class Stacked(BaseWorkflow[int, int]):
    @workflow.run
    async def run(self, input: int) -> int:
        return input


class Alone(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return input


def test_two_handlers_of_one_name_are_told_with_both_places(registry: Registry) -> None:
    for module in [name for name in sys.modules if name.startswith("tests.apps.twins")]:
        del sys.modules[module]
    with pytest.raises(RegistrationError) as caught:
        discovery.discover(settings("tests.apps.twins"))
    text = str(caught.value)
    assert "tests/apps/twins/one.py:4" in text
    assert "tests/apps/twins/two.py:4" in text
    assert text.count("\n") == 1, "one line of fact, one of remedy"


def test_settings_of_a_queue_that_does_not_exist_are_told(registry: Registry) -> None:
    activity_defn(queue="payments")(_pay)
    with pytest.raises(RegistrationError, match='queue "paymnts"') as caught:
        discovery.discover(settings("tests.worker.test_registry", queues={"paymnts": {}}))
    assert 'Did you mean "payments"?' in str(caught.value)


def test_an_activity_on_a_queue_that_is_switched_off_is_told_with_its_place(registry: Registry) -> None:
    activity_defn(queue="payments")(_pay)
    off = {"payments": {"scaling": {"min_replicas": 0, "max_replicas": 0}}}
    with pytest.raises(RegistrationError, match="nobody serves: its scaling.max_replicas is 0") as caught:
        discovery.discover(settings("tests.worker.test_registry", queues=off))
    assert "tests/worker/test_registry.py:" in str(caught.value)


def test_a_queue_that_looks_like_a_slip_is_doubted(registry: Registry) -> None:
    workflow_defn(queue="payments")(Alone)
    activity_defn(queue="payment")(_pay)
    assert 'Did you mean "payments"?' in registry.doubtful_queues()[0]


def test_options_that_clash_only_together_are_told(registry: Registry) -> None:
    activity_defn(queue="payments")(_pay)
    clash = {
        "temporal": {
            "worker": {"packages": ["tests.worker.test_registry"]},
            "activity": {"_pay": {"heartbeat_timeout_s": 20}},
        },
        "queues": {"payments": {"activities": {"start_to_close_timeout_s": 10}}},
    }
    with pytest.raises(RegistrationError, match="do not fit together: heartbeat_timeout_s"):
        discovery.discover(Settings.model_validate(clash))


def test_what_has_the_sdks_decorator_only_is_named(registry: Registry) -> None:
    sys.modules.pop("tests.apps.undeclared", None)
    discovery.discover(settings("tests.apps.undeclared"))
    assert discovery.undeclared(["tests.apps.undeclared"]) == [
        'activity tests.apps.undeclared.forgotten has no queue: add @activity_defn(queue="...")'
    ]


def test_what_is_decorated_and_refused_is_not_said_to_lack_a_decorator(registry: Registry) -> None:
    activity_defn(queue="q", name="twin")(_pay_again)
    activity_defn(queue="q", name="twin")(_pay_too)
    assert len(registry.problems) == 1
    assert not [each for each in discovery.undeclared(["tests.worker.test_registry"]) if "_pay_" in each]


@pytest.mark.parametrize("name", ["", " q", "x" * 201])
def test_a_queue_name_that_cannot_be_one_is_told(registry: Registry, name: str) -> None:
    activity_defn(queue=name)(_pay)
    assert "has the queue name" in str(registry.problems[0])


def test_the_same_object_twice_is_no_news_and_on_two_queues_a_problem(registry: Registry) -> None:
    activity_defn(queue="q")(_pay)
    activity_defn(queue="q")(_pay)
    assert registry.problems == []
    activity_defn(queue="r")(_pay)
    assert "declared twice" in str(registry.problems[0])


def test_the_sdk_still_keeps_its_definitions_where_we_look() -> None:
    assert sdk_definitions.workflow_definition(Stacked) is not None
    assert sdk_definitions.is_run_method(Alone.run), "marked although the class says nothing"
    assert sdk_definitions.activity_name(activity.defn(_other)) == "_other"
    with pytest.raises(TypeError, match="decorate it"):
        sdk_definitions.activity_name(_plain)


async def _pay(amount: int) -> int:
    return amount


async def _pay_again(amount: int) -> int:
    return amount


async def _pay_too(amount: int) -> int:
    return amount


async def _other() -> None: ...


async def _plain() -> None: ...
