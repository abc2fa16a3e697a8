"""Histories recorded under an older configuration replay clean; a change that open runs do not survive fails the test.

The histories were recorded with the defaults of config.yaml by `python -m tests.replay.record`.
"""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer
from temporalio.workflow import NondeterminismError

from app.core.config import use
from app.core.config.model import Settings
from app.core.services.temporal.plugin import fleet_plugins
from app.worker.discovery import discover
from app.worker.registry import registry
from app.worker.workflows.orders import OrderWorkflow
from tests.replay import changed
from tests.replay.record import PACKAGES, SCENES
from tests.replay.workflows import Stop, Tour

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))
DEFAULTS: dict[str, Any] = {}
ANOTHER_YEAR: dict[str, Any] = {
    "temporal": {
        "workflows": {
            "execution_timeout_s": 9999,
            "run_timeout_s": 999,
            "task_timeout_s": 33,
            "retry": {"maximum_attempts": 7},
        },
        "activities": {
            "start_to_close_timeout_s": 77,
            "schedule_to_close_timeout_s": 777,
            "schedule_to_start_timeout_s": 66,
            "heartbeat_timeout_s": 5,
            "retry": {"maximum_attempts": 9, "initial_interval_s": 3, "non_retryable_error_types": ["Bad"]},
        },
        "activity": {"visit": {"start_to_close_timeout_s": 11}},
    },
    "queues": {"payments-2": {"activities": {"start_to_close_timeout_s": 12}}},
}
MOVED = {"payments": "payments-2", "tour": "tour-2", "tour-abroad": "elsewhere", "orders": "orders-eu"}


@pytest.fixture
def moved_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every handler is declared on another queue than it was when the histories were recorded."""
    _settings(DEFAULTS)
    moved = {
        key: dataclasses.replace(handler, queue=MOVED.get(handler.queue, handler.queue))
        for key, handler in registry._handlers.items()
    }
    monkeypatch.setattr(registry, "_handlers", moved)


def _settings(data: dict[str, Any]) -> None:
    settings = Settings.model_validate(data)
    temporal = settings.temporal
    worker = temporal.worker.model_copy(update={"packages": PACKAGES})
    use(settings.model_copy(update={"temporal": temporal.model_copy(update={"worker": worker})}))
    discover(Settings.model_validate({"temporal": {"worker": {"packages": PACKAGES}}}))


def replay(path: Path, settings: dict[str, Any], *workflows: type) -> None:
    """Raises NondeterminismError, as a replay in production would."""
    _settings(settings)
    _replay(path, registry.shareable_modules(PACKAGES), *workflows)


def _replay(path: Path, shared: tuple[str, ...], *workflows: type) -> None:
    history = WorkflowHistory.from_json("replayed", path.read_text())
    plugins: Any = fleet_plugins(shared)  # for clients, workers and replayers alike
    asyncio.run(Replayer(workflows=workflows, plugins=plugins).replay_workflow(history))


def test_every_scene_has_its_history() -> None:
    assert {path.stem for path in HISTORIES} == set(SCENES)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
@pytest.mark.parametrize("settings", [DEFAULTS, ANOTHER_YEAR], ids=["as recorded", "other timeouts and retries"])
def test_it_replays_clean(path: Path, settings: dict[str, Any]) -> None:
    replay(path, settings, OrderWorkflow, Tour, Stop)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_it_replays_clean_after_its_queues_were_renamed(path: Path, moved_queues: None) -> None:
    replay(path, ANOTHER_YEAR, OrderWorkflow, Tour, Stop)


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_nothing_is_refused_when_the_declarations_are_gone(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a history holds was right when it was recorded; open runs of it go on."""
    _settings(DEFAULTS)
    shared = registry.shareable_modules(PACKAGES)
    monkeypatch.setattr(registry, "_handlers", {})
    _replay(path, shared, OrderWorkflow, Tour, Stop)


@pytest.mark.parametrize(
    "workflow", [changed.OtherActivity, changed.ActivityIdByHand, changed.FlowFromConfig, changed.LocalInsteadOfRemote]
)
def test_a_change_that_open_runs_do_not_survive_fails_it(workflow: type) -> None:
    tour = next(path for path in HISTORIES if path.stem == "tour-open")
    with pytest.raises(NondeterminismError, match="TMPRL1100"):
        replay(tour, ANOTHER_YEAR, workflow)


def test_config_in_control_flow_shows_only_once_the_config_changes() -> None:
    """Hence the second set of settings above."""
    tour = next(path for path in HISTORIES if path.stem == "tour-open")
    replay(tour, DEFAULTS, changed.FlowFromConfig, Stop)
    with pytest.raises(NondeterminismError):
        replay(tour, ANOTHER_YEAR, changed.FlowFromConfig, Stop)
