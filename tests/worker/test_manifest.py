"""The queue manifest: what the chart must know of the code."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml

from app.core.config.model import Settings, WorkerSettings
from app.worker.manifest import manifest_yaml, other_manifest, queue_manifest, registry_digest, slug
from app.worker.promises import Promise, finishing_drain_s
from app.worker.registry import Handler, Registry
from tests.worker.named_activities import charge
from tests.worker.test_named_in_code import ByFunction


def registry(*handlers: tuple[str, str]) -> Registry:
    filled = Registry()
    for number, (queue, name) in enumerate(handlers):
        filled.add(Handler("activity", name, queue, None, "m", f"f{number}", f"m.py:{number}"))
    return filled


def test_it_lists_each_queue_with_what_its_deployment_needs() -> None:
    settings = Settings.model_validate(
        {
            "temporal": {"worker": {"unwind_timeout_s": 20.5}},
            "queues": {"a/b": {"worker": {"drain_timeout_s": 90.5}, "scaling": {"long_activities": True}}},
        }
    )
    manifest = queue_manifest(registry(("a/b", "x"), ("plain", "y")), settings, "repo/image")
    name, queue = next(iter(manifest["queues"].items()))
    assert name.startswith("a-b-")
    assert queue == {
        "taskQueue": "a/b",
        "taskTypes": ["activity"],
        "slots": 10,
        "drainSeconds": 91,
        "unwindSeconds": 21,
        "flushSeconds": 3,
        "longActivities": True,
    }
    assert yaml.safe_load(manifest_yaml(manifest)) == manifest


def test_the_digest_follows_the_code_and_nothing_else() -> None:
    one = registry_digest(registry(("q", "x"), ("q", "y")))
    assert registry_digest(registry(("q", "y"), ("q", "x"))) == one
    assert registry_digest(registry(("q", "x"))) != one
    assert registry_digest(registry(("q", "x"), ("r", "y"))) != one


def test_it_says_which_queues_to_wake_with_by_their_names_there() -> None:
    filled = Registry()
    filled.add(
        Handler("workflow", "ByFunction", "my orders", ByFunction, ByFunction.__module__, "ByFunction", "o.py:1")
    )
    filled.add(Handler("activity", "charge", "payments", charge, charge.__module__, "charge", "p.py:1"))
    queues = queue_manifest(filled, Settings(), "repo/image")["queues"]
    assert queues["payments"]["wakeWith"] == [slug("my orders")]
    assert "wakeWith" not in queues[slug("my orders")]


def promising(promise: Promise) -> Registry:
    filled = Registry()
    filled.add(Handler("activity", "x", "q", None, "m", "f", "m.py:1", promise=promise))
    return filled


def test_it_says_what_drain_the_promises_need() -> None:
    finish = queue_manifest(promising(Promise(20, on_drain="finish")), Settings(), "r")["queues"]["q"]
    assert finish["finishSeconds"] == finishing_drain_s(20, WorkerSettings())
    over = queue_manifest(promising(Promise(heartbeat_s=9.5, on_drain="hand_over")), Settings(), "r")["queues"]["q"]
    assert over["heartbeatSeconds"] == 10
    assert "finishSeconds" not in over
    plain = queue_manifest(promising(Promise(20, 9)), Settings(), "r")["queues"]["q"]
    assert not {"finishSeconds", "heartbeatSeconds"} & plain.keys()


def test_the_digest_follows_what_is_promised_of_a_drain() -> None:
    """The chart refuses a drain by it: a worker of code that promises more must not serve under an older chart."""
    promises = [
        Promise(),
        Promise(20, on_drain="finish"),
        Promise(90, on_drain="finish"),
        Promise(heartbeat_s=9, on_drain="hand_over"),
    ]
    assert len({registry_digest(promising(promise)) for promise in promises}) == len(promises)
    assert registry_digest(promising(Promise(20))) == registry_digest(promising(Promise())), "timeouts alone may change"


def test_a_worker_refuses_a_manifest_of_other_code() -> None:
    filled = registry(("q", "x"))
    assert other_manifest(filled, "") == []
    assert other_manifest(filled, registry_digest(filled)) == []
    assert "its Deployment was made for sha256:0" in str(other_manifest(filled, "sha256:0")[0])
    done = subprocess.run(
        [sys.executable, "-m", "app.worker.main", "serve", "--queue", "mails"],
        env={"PATH": "/usr/bin:/bin", "FLEET_TEMPORAL__WORKER__MANIFEST_DIGEST": "sha256:0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert '--queue: no workflow or activity is declared on queue "mails"' in done.stderr
    assert "this image has the queues orders, payments" in done.stderr
    assert "upgrade chart and image together" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["orders", "a", "x-1"])
def test_a_name_that_is_a_label_stays_as_it_is(name: str) -> None:
    assert slug(name) == name


def test_names_that_lose_something_stay_apart_and_short() -> None:
    names = ["Orders", "orders!", "billing:v2/critical", "ü", "x" * 41, "x" * 42, "-a-"]
    slugs = [slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(len(s) <= 40 and s.strip("-") == s and s.replace("-", "a").isalnum() and s.islower() for s in slugs)
    assert json.dumps(slugs).isascii()
