"""What fits together: clashes are refused, unwise values are warned of, and nothing changes what was loaded."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from app.core.config.model import Settings
from app.core.config.resolve import override_errors, worker_settings
from app.core.config.review import warnings


def settings(**sections: Any) -> Settings:
    return Settings.model_validate(sections)


@pytest.mark.parametrize(
    ("temporal", "sentence"),
    [
        (
            {"activities": {"schedule_to_close_timeout_s": 5}},
            "schedule_to_close_timeout_s (5) is below start_to_close_timeout_s (1200)",
        ),
        ({"activities": {"heartbeat_timeout_s": 1200}}, "heartbeat_timeout_s (1200) must be below"),
        ({"activities": {"retry": {"initial_interval_s": 61}}}, "maximum_interval_s (60) is below initial_interval_s"),
        ({"worker": {"termination_grace_s": 71}}, "(72) is above termination_grace_s (71)"),
        ({"tls": {"client_cert_file": "a"}}, "client_cert_file needs client_key_file or client_key_data"),
        ({"tls": {"client_key_data": "a"}}, "client_key_data needs client_cert_file or client_cert_data"),
        ({"tls": {"server_ca_file": "a", "server_ca_data": "b"}}, "server_ca_file and server_ca_data say the same"),
        ({"api_key": "a", "api_key_file": "b"}, "api_key and api_key_file say the same thing twice"),
    ],
)
def test_settings_that_clash_are_refused(temporal: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(temporal=temporal)
    assert sentence in caught.value.errors()[0]["msg"]


def test_settings_that_just_fit_are_not_refused() -> None:
    settings(
        temporal={
            "activities": {"schedule_to_close_timeout_s": 1200, "heartbeat_timeout_s": 1199},
            "worker": {"termination_grace_s": 72},
            "tls": {"client_cert_file": "a", "client_key_data": "b"},
        }
    )


def test_a_queue_that_other_processes_serve_may_drain_for_longer() -> None:
    """The chart gives each pod its own grace; the file that all of them read holds every queue."""
    given = settings(
        temporal={"worker": {"termination_grace_s": 75}}, queues={"orders": {"worker": {"drain_timeout_s": 120}}}
    )
    assert list(override_errors(given)) == []
    assert worker_settings(given, "orders").drain_timeout_s == 120


def test_one_attempt_is_warned_of_wherever_it_is_said() -> None:
    assert warnings(Settings()) == []
    once: dict[str, Any] = {"retry": {"maximum_attempts": 1}}
    given = settings(
        temporal={"activities": once, "activity": {"charge": once, "mail": {"retry": {"maximum_attempts": 2}}}},
        queues={"orders": {"activities": {"retry": {"maximum_attempts": "1"}}}, "calm": {"activities": {}}},
    )
    assert [sentence.split(" is 1")[0] for sentence in warnings(given)] == [
        "temporal.activities.retry.maximum_attempts",
        "temporal.activity.charge.retry.maximum_attempts",
        "queues.orders.activities.retry.maximum_attempts",
    ]


def test_a_key_without_tls_is_warned_of() -> None:
    assert warnings(settings(temporal={"api_key": "k"})) == []
    assert "unencrypted" in warnings(settings(temporal={"api_key": "k", "tls": {"enabled": False}}))[0]


CHANGES: dict[str, tuple[Any, ...]] = {
    "update": ({"x": 1},),
    "__setitem__": ("x", 1),
    "__delitem__": ("orders",),
    "__ior__": ({"x": 1},),
    "pop": ("x", None),
    "popitem": (),
    "setdefault": ("x", 1),
    "clear": (),
}


def test_nothing_in_the_settings_can_be_changed() -> None:
    given = settings(
        queues={"orders": {"activities": {"retry": {"non_retryable_error_types": ["A"]}}}},
        temporal={"activity": {"charge": {"retry": {"maximum_attempts": 3}}}, "grpc_metadata": {"a": "b"}},
    )
    before = given.model_dump()
    tables: list[Any] = [
        given.queues,
        given.queues["orders"].activities,
        given.queues["orders"].activities["retry"],
        given.temporal.activity,
        given.temporal.activity["charge"],
        given.temporal.grpc_metadata,
    ]
    for table in tables:
        for change, arguments in CHANGES.items():
            with pytest.raises(TypeError, match="frozen"):
                getattr(table, change)(*arguments)
    assert given.queues["orders"].activities["retry"]["non_retryable_error_types"] == ("A",)
    for model in _sections(given):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(model, next(iter(type(model).model_fields)), None)
    assert given.model_dump() == before
    assert copy.deepcopy(given) == given == pickle.loads(pickle.dumps(given))


def _sections(model: BaseModel) -> list[BaseModel]:
    inner = [getattr(model, name) for name in type(model).model_fields]
    return [model, *(each for value in inner if isinstance(value, BaseModel) for each in _sections(value))]
