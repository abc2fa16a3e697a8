"""`fleet queues` and `fleet describe`: what this code serves, for people and for scripts."""

from __future__ import annotations

import pytest

from app.core.config.model import Settings
from app.worker.describe import as_text, describe
from app.worker.discovery import discover
from app.worker.manifest import queue_manifest
from app.worker.queues import listing, task_queues
from app.worker.registry import RegistrationError, Registry
from tests.cli.fleet import fleet

CHARGES = '["tests.apps.charges"]'


@pytest.fixture(scope="module")
def settings() -> Settings:
    return Settings.model_validate(
        {
            "temporal": {
                "worker": {"packages": ["tests.apps.charges"], "max_concurrent_activities": 7},
                "activity": {"charge": {"retry": {"maximum_attempts": 4}}},
            },
            "queues": {"charges": {"worker": {"drain_timeout_s": 90}, "activities": {"heartbeat_timeout_s": 9}}},
        }
    )


@pytest.fixture(scope="module")
def registry(settings: Settings) -> Registry:
    return _only_charges(discover(settings.model_copy(update={"queues": {}})))


def _only_charges(found: Registry) -> Registry:
    """The process's registry holds the handlers of other tests too."""
    own = Registry()
    for handlers in found.queues().values():
        for handler in handlers:
            if handler.module.startswith("tests.apps.charges"):
                own.add(handler)
    return own


def test_the_view_of_a_queue_holds_its_handlers_and_the_options_that_hold_for_it(
    registry: Registry, settings: Settings
) -> None:
    view = task_queues(registry, settings)
    assert list(view) == ["charges", "charges-sync"]
    charges, sync = view.values()
    assert [handler.name for handler in charges.workflows] == ["ChargesWorkflow"]
    assert (charges.task_types, sync.task_types) == (["workflow", "activity"], ["activity"])
    assert (charges.worker.drain_timeout_s, sync.worker.drain_timeout_s) == (90, 60)
    assert (charges.threads, sync.threads) == (0, 7 + 40), "threads are for sync activities only, one a slot"
    with pytest.raises(TypeError):
        view["charges"] = sync  # type: ignore[index]
    with pytest.raises(AttributeError):
        charges.name = "other"  # type: ignore[misc]


def test_list_json_and_manifest_say_the_same_of_a_queue(registry: Registry, settings: Settings) -> None:
    view = task_queues(registry, settings)
    manifest = queue_manifest(registry, settings, "r")["queues"]
    for name, queue in view.items():
        said = queue.as_json()
        assert manifest[name]["drainSeconds"] == said["worker"]["drain_timeout_s"]
        assert manifest[name]["slots"] == said["worker"]["max_concurrent_activities"] == 7
        for handler in (*said["workflows"], *said["activities"]):
            assert f"{handler['name']}{' (sync)' if handler.get('async') is False else ''} " in listing(view)
            assert handler["where"] in listing(view)


def test_queues_json_is_for_scripts() -> None:
    ran = fleet("queues", "--json", TEMPORAL__WORKER__PACKAGES=CHARGES)
    assert (ran.code, ran.err) == (0, "")
    assert {name: len(queue["activities"]) for name, queue in ran.json.items()} == {"charges": 4, "charges-sync": 3}
    give_back = ran.json["charges-sync"]["activities"][1]
    assert give_back["name"] == "give_back"
    assert give_back["async"] is False
    assert give_back["qualname"] == "Charges.give_back"
    assert give_back["where"].startswith("tests/apps/charges/activities.py:")


def test_a_workflow_is_described_with_types_handlers_and_options(registry: Registry, settings: Settings) -> None:
    (described,) = describe(registry, settings, "ChargesWorkflow")
    assert described["queue"] == "charges"
    assert described["doc"] == "Calls activities of every shape, by the object and by the class."
    assert described["input"] == [{"type": "integer"}]
    assert described["output"] == {"type": "array", "items": {"type": "string"}}
    assert described["signals"]["cancel"]["parameters"]["reason"] == {"type": "str", "required": False}
    assert "state" in described["queries"]
    assert described["options"]["task_timeout_s"] == 10
    text = as_text(described)
    assert text.startswith("workflow ChargesWorkflow on queue charges (tests/apps/charges/workflows.py:8)")
    assert "signal cancel(reason: str (optional), " in text
    assert "query state() -> dict[str, typing.Any]" in text


def test_an_activity_is_described_with_the_options_that_hold_for_it(registry: Registry, settings: Settings) -> None:
    (described,) = describe(registry, settings, "charge")
    assert described["doc"] == "Take the money."
    assert described["input"] == [{"type": "integer"}]
    assert described["options"]["heartbeat_timeout_s"] == 9, "of its queue"
    assert described["options"]["retry"]["maximum_attempts"] == 4, "of its name"
    assert "retry.maximum_attempts: 4" in as_text(described)


def test_what_a_drain_does_with_an_activity_is_shown_with_what_it_declares() -> None:
    ran = fleet("describe", "charge_payment", TEMPORAL__ACTIVITIES__START_TO_CLOSE_TIMEOUT_S="99")
    assert "on a drain: finish (it ends in the worker that has it)" in ran.out
    assert "  start_to_close_timeout_s: 15.0 (declared)" in ran.out
    (described,) = fleet("describe", "charge_payment", "--json").json
    assert (described["on_drain"], described["declared"]) == ("finish", ["start_to_close_timeout_s"])
    assert described["options"]["start_to_close_timeout_s"] == 15
    assert "/payments.py:" in fleet("queues").out
    assert 'on_drain="finish"' in fleet("queues").out
    assert fleet("queues", "--json").json["payments"]["activities"][0]["on_drain"] == "finish"


@pytest.mark.parametrize(
    ("name", "doc"), [("add_five", "Adds."), ("Receipt", "Prints."), ("Greeting", ""), ("give_back", ""), ("rate", "")]
)
def test_an_activity_of_any_shape_shows_its_types_and_its_own_words(
    registry: Registry, settings: Settings, name: str, doc: str
) -> None:
    (described,) = describe(registry, settings, name)
    assert described["doc"] == doc
    assert described["input"] == [{"type": "string" if name == "Greeting" else "integer"}]
    assert described["output"] == {"type": "integer" if name in ("add_five", "rate") else "string"}


def test_models_are_described_by_their_schema() -> None:
    (described,) = fleet("describe", "OrderWorkflow", "--json").json
    assert "pattern" in described["input"][0]["properties"]["order_id"]
    assert described["where"].startswith("app/worker/workflows/orders.py:")


def test_an_unknown_name_is_told_with_the_nearest(registry: Registry, settings: Settings) -> None:
    with pytest.raises(RegistrationError, match='no workflow or activity is named "chrge"') as caught:
        describe(registry, settings, "chrge")
    assert 'Did you mean "charge"?' in str(caught.value)
    ran = fleet("describe", "OrderWorkflw")
    assert ran.code == 2
    assert 'Did you mean "OrderWorkflow"?' in ran.err
