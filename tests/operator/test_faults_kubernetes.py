"""The API server away, refusing, or silent to a watch; a person who writes meanwhile; objects that nobody validated.

What was written is read from the API server's own audit log.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from tests.cluster.client import CommandFailed
from tests.operator.pool import LABELS, POOL

from .conftest import EAGER, GROWING, Laboratory
from .faults import Clock, api_server_away, crd_that_checks_nothing, failing_inside, too_many_requests, without_lists
from .process import Operator, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]  # the first run builds Kubernetes

IDLE_S = 6.0
"""Then the client has closed its connections, and the watches are all that there is."""
# What a list puts right each minute is not what these tests are about.
WITHOUT_LISTS = "from app.operator import main, objects; objects.RELIST_S = 1e9; main.main()"
# And for a list that is refused a minute is long.
OFTEN_LISTED = "from app.operator import main, objects; objects.RELIST_S = 1.0; main.main()"


@contextmanager
def adopted(lab: Laboratory, replicas: int = 0, *python: str, **spec: object) -> Iterator[Operator]:
    """An operator that has taken the pool for its own."""
    lab.create(replicas=replicas, **{**GROWING, **spec})
    with lab.operator(*python) as running:
        lab.until(mode="Automatic", desiredReplicas=replicas)
        yield running


def told(running: Operator, pool: str = "orders") -> list[str]:
    """The lines on a trouble of a pool."""
    return running.said(f" {pool}: cannot be scaled")


def test_an_api_server_that_restarts_finds_each_number_written_once(lab: Laboratory) -> None:
    with adopted(lab) as running:
        lab.start_workflows(10)
        lab.until_replicas(2)
        until(lambda: lab.status().get("backlog") == 10, 60, "a status")
        before = lab.scalings()
        with api_server_away(lab.cluster):
            lab.start_workflows(10)
            until(lambda: told(running), 60, "a write that fails")
            time.sleep(10)
        lab.until_replicas(4, 30)
        lab.until(desiredReplicas=4, reason="BacklogWaiting")
        assert lab.scalings()[len(before) :].count(200) == 1
        assert len(told(running)) == 1
        lab.patch({"replicas": 1})
        lab.until(mode="Pinned")


def test_an_api_server_that_limits_the_operator_is_waited_for(lab: Laboratory) -> None:
    with adopted(lab) as running:
        with too_many_requests(lab.cluster, lab.namespace, lab.token):
            until(lambda: _asks_and_is_refused(lab), 60, "a refusal", 3.0)
            lab.patch({"paused": False})
            lab.start_workflows(10)
            until(lambda: told(running), 60, "a number that is refused")
            time.sleep(10)
            assert lab.replicas() == 0
            refused = [e for e in lab.asked() if e["responseStatus"]["code"] == 429]
        lab.until_replicas(2)
        # Each look asks once for each of its writes: the number, the status, an Event.
        assert max(_per_second(refused).values()) <= 6, _per_second(refused)
        assert lab.scalings().count(200) == 2, "adopted, and scaled once"
        assert len(told(running)) == 1, running.lines


def _asks_and_is_refused(lab: Laboratory) -> bool:
    """Has it asked by a status that changes: with nothing to do, it would ask nothing."""
    lab.patch({"paused": not json.loads(lab.kubectl("get", "wp", "orders", "-o", "json"))["spec"].get("paused")})
    return any(e["responseStatus"]["code"] == 429 for e in lab.asked())


def _per_second(events: list[dict[str, Any]]) -> dict[str, int]:
    seconds = [event["requestReceivedTimestamp"][:19] for event in events]
    return {second: seconds.count(second) for second in seconds}


def test_an_api_server_that_fails_inside_is_waited_for(lab: Laboratory) -> None:
    with adopted(lab) as running:
        with failing_inside(lab.cluster, lab.namespace):
            before = len(lab.scalings())
            lab.start_workflows(10)
            until(lambda: told(running), 60, "a write that fails")
            time.sleep(10)
            assert set(lab.scalings()[before:]) == {500}
            assert lab.replicas() == 0
        lab.until_replicas(2)
        lab.until(desiredReplicas=2)
        assert lab.scalings().count(200) == 2, "adopted, and scaled once"
        assert len(told(running)) == 1, running.lines


def test_what_somebody_writes_while_the_watch_is_silent_is_not_overwritten(lab: Laboratory) -> None:
    with adopted(lab) as running:
        time.sleep(IDLE_S)
        with lab.api.silencing():
            lab.scale_by_hand(1)
            before = len(lab.scalings())
            lab.start_workflows(30)
            lab.until(mode="Held")
            assert lab.replicas() == 1
            assert 409 in lab.scalings()[before:]
            assert 200 not in lab.scalings()[before:]
        assert running.lives()


def test_a_silent_watch_is_found_out_within_a_minute(lab: Laboratory) -> None:
    with adopted(lab):
        time.sleep(IDLE_S)
        with lab.api.silencing():
            lab.patch({"replicas": 3})
            until(lambda: lab.replicas() == 3, 90, "a pin")


def test_lists_that_are_refused_leave_what_is_watched(lab: Laboratory) -> None:
    with adopted(lab, 0, "-c", OFTEN_LISTED) as running:
        with without_lists(lab.cluster, lab.namespace):
            until(lambda: running.said("not listed, only watched"), 60, "a list that is refused")
            lab.start_workflows(10)
            lab.until_replicas(2)
            lab.patch({"replicas": 3})
            lab.until(mode="Pinned")
        until(lambda: running.said("pools and Deployments: works again"), 60, "a list")
        assert len(running.said("not listed, only watched")) == 1, running.lines


def test_a_watch_that_has_expired_begins_anew(lab: Laboratory) -> None:
    with adopted(lab, 0, "-c", WITHOUT_LISTS):
        with lab.api.refusing():
            with api_server_away(lab.cluster):
                pass
            # A new API server knows only what came since it started: the watch's last version is too old for it.
            lab.patch({"replicas": 1})
            for number in range(3):
                lab.kubectl("label", "wp", "orders", f"number=n{number}", "--overwrite")
        lab.until(mode="Pinned")
        lab.until_replicas(1)
        lab.patch({"replicas": 2})
        lab.until_replicas(2)


@pytest.mark.parametrize("jump_s", [3600, -3600])
def test_a_clock_that_jumps_changes_no_replicas(lab: Laboratory, jump_s: int) -> None:
    clock = Clock(lab.folder)
    lab.create(replicas=0, **{**EAGER, "backlogPerReplica": 5, "idleSeconds": 600})
    # The node's certificate is younger than an hour.
    with lab.operator(insecure=True, **clock.settings) as running:
        lab.until(mode="Automatic")
        lab.start_workflows(10)
        lab.until_replicas(2)
        until(lambda: lab.status().get("backlog") == 10, 60, "a status")
        before = lab.scalings()
        clock.jump(jump_s)
        time.sleep(15)
        assert lab.scalings() == before, lab.status()
        assert lab.status()["mode"] == "Automatic"
        lab.start_workflows(10)
        lab.until_replicas(4)
        lab.until(desiredReplicas=4)
        stamped = lab.status()["lastScaleTime"]
        assert running.lives()
        assert abs(_hours_off(stamped) - jump_s / 3600) < 0.5, "the clock of that process did jump"


def _hours_off(stamp: str) -> float:
    return (datetime.fromisoformat(stamp.replace("Z", "+00:00")) - datetime.now(UTC)).total_seconds() / 3600


BAD: list[dict[str, Any]] = [
    {"spec": None},
    {"spec": {}},
    {"spec": {"taskQueue": 7}},
    {"spec": {"taskQueue": ""}},
    {"spec": {"taskQueue": "q", "maxReplicas": "many"}},
    {"spec": {"taskQueue": "q", "minReplicas": -1}},
    {"spec": {"taskQueue": "q", "minReplicas": 5, "maxReplicas": 4}},
    {"spec": {"taskQueue": "q", "slotsPerReplica": 0}},
    {"spec": {"taskQueue": "q", "utilization": 0}},
    {"spec": {"taskQueue": "q", "backlogPerReplica": None, "maxReplicas": 10**9}},
    {"spec": {"taskQueue": "q", "taskTypes": ["query"]}},
    {"spec": {"taskQueue": "q", "taskTypes": "workflow"}},
    {"spec": {"taskQueue": "q", "scaleDown": 5}},
    {"spec": {"taskQueue": "q", "holdSeconds": "1h"}},
    {"spec": {"taskQueue": "q"}, "status": {"heldSince": "yesterday", "desiredReplicas": "x", "observedTime": "z"}},
]


def test_a_bad_object_is_its_own_trouble(lab: Laboratory) -> None:
    with crd_that_checks_nothing(lab.cluster), adopted(lab) as running:
        for number, bad in enumerate(BAD, 1):
            name = f"bad-{number}"
            _create_bad(lab, name, bad)
            lab.patch({"replicas": number})
            lab.until_replicas(number)
            until(partial(_has_a_word, lab, name), 30, f"a word on {bad}")
            assert lab.replicas(name) == 2, bad
            if "status" not in bad:
                assert "spec" in lab.status(name)["message"], bad
                assert lab.status(name)["mode"] == "Paused"
            lab.kubectl("delete", "wp", name)
        lab.patch({"replicas": None})
        lab.until(mode="Automatic")
        assert lab.known() == "Full"
        assert running.lives()
        assert not running.said("the fleet: ")
        assert not running.said("Temporal: ")


def _has_a_word(lab: Laboratory, name: str) -> bool:
    return bool(lab.status(name).get("message"))


def _create_bad(lab: Laboratory, name: str, bad: dict[str, Any]) -> None:
    lab.create(name, replicas=2, paused=True)
    lab.kubectl("delete", "wp", name)
    metadata = {"name": name, "labels": LABELS | {"workerfleet.dev/pool": name}}
    lab.apply({**POOL, **bad, "metadata": metadata})


def test_what_the_crd_refuses_never_comes_to_the_operator(lab: Laboratory) -> None:
    for bad in BAD:
        if "status" in bad:
            continue
        with pytest.raises(CommandFailed, match="is invalid|strict decoding error|Invalid value"):
            lab.apply({**POOL, **bad, "metadata": {"name": "bad", "labels": LABELS}})
