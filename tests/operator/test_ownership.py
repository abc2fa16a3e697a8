"""Who decides on the replicas: the table of app/operator/workerpool.py, line by line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from app.core.config.pool import PoolSpec
from app.operator.workerpool import Control, Mode, control, timestamp

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
KUBECTL = "kubectl"


def decided(
    spec: dict[str, object], told: dict[str, Any], live: int, *, foreign: str | None = None, hpa: str | None = None
) -> Control:
    return control("orders", PoolSpec.read({"taskQueue": "orders", **spec}), told, live, NOW, foreign, hpa)


def remembered(desired: int | None, *, held_for_s: float | None = None, live: int = 4) -> dict[str, Any]:
    """What the status says of earlier looks."""
    held = {} if held_for_s is None else {"heldSince": timestamp(NOW - timedelta(seconds=held_for_s))}
    return {"desiredReplicas": desired, "replicas": live, **held}


@pytest.mark.parametrize(
    ("spec", "status", "live", "foreign", "mode", "replicas"),
    [
        pytest.param({}, remembered(None), 3, None, Mode.AUTOMATIC, None, id="the first look adopts what is there"),
        pytest.param({}, remembered(3), 3, None, Mode.AUTOMATIC, None, id="our own number"),
        pytest.param({}, remembered(2), 4, None, Mode.AUTOMATIC, None, id="our own write that a crash kept unrecorded"),
        pytest.param({}, remembered(2), 4, KUBECTL, Mode.HELD, 4, id="somebody scaled the Deployment"),
        pytest.param({}, remembered(2, held_for_s=899), 4, KUBECTL, Mode.HELD, 4, id="still within holdSeconds"),
        pytest.param({}, remembered(2, held_for_s=900), 4, KUBECTL, Mode.AUTOMATIC, None, id="the hold has ended"),
        pytest.param({}, remembered(2, held_for_s=900), 5, KUBECTL, Mode.HELD, 5, id="another number by hand"),
        pytest.param({}, remembered(2, held_for_s=9999, live=0), 4, KUBECTL, Mode.HELD, 4, id="back from 0 by hand"),
        pytest.param({}, remembered(2, held_for_s=9999, live=0), 0, KUBECTL, Mode.HELD, 0, id="0 by hand lasts"),
        pytest.param(
            {"holdSeconds": 0}, remembered(2, held_for_s=9999), 4, KUBECTL, Mode.HELD, 4, id="no end asked for"
        ),
        pytest.param({"replicas": 5}, remembered(2), 2, None, Mode.PINNED, 5, id="a pin"),
        pytest.param({"replicas": 5}, remembered(2), 4, KUBECTL, Mode.PINNED, 5, id="a pin beats a hand"),
        pytest.param({"replicas": 0}, remembered(2), 2, None, Mode.PINNED, 0, id="a pin to 0"),
        pytest.param({"replicas": 5, "paused": True}, remembered(2), 4, None, Mode.PAUSED, 4, id="a pause beats a pin"),
    ],
)
def test_who_decides(
    spec: dict[str, object], status: dict[str, Any], live: int, foreign: str | None, mode: Mode, replicas: int | None
) -> None:
    verdict = decided(spec, status, live, foreign=foreign)
    assert (verdict.mode, verdict.replicas) == (mode, replicas)


def test_a_hold_begins_when_it_is_first_seen_and_says_whose_and_how_long() -> None:
    verdict = decided({"holdSeconds": 60}, remembered(2), 4, foreign=KUBECTL)
    assert verdict.held_since == timestamp(NOW)
    assert verdict.message == "kubectl set 4; held until 2026-01-01T12:01:00Z"


def test_a_pin_says_the_command_that_ends_it_and_keeps_its_beginning() -> None:
    begun = timestamp(NOW - timedelta(hours=1))
    verdict = decided({"replicas": 5}, remembered(2) | {"pinnedSince": begun}, 5)
    assert verdict.pinned_since == begun
    assert """kubectl patch wp orders --type=merge -p '{"spec":{"replicas":null}}'""" in verdict.message


@pytest.mark.parametrize("live", [2, 4])
@pytest.mark.parametrize("spec", [{}, {"replicas": 5}])
def test_a_horizontal_pod_autoscaler_is_named_and_never_fought(spec: dict[str, object], live: int) -> None:
    verdict = decided(spec, remembered(2, held_for_s=9999), live, hpa="cpu")
    assert (verdict.mode, verdict.replicas) == (Mode.HELD, live)
    assert verdict.message.startswith(f"HorizontalPodAutoscaler cpu scales the Deployment, {live} now; without it")
