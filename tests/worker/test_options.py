"""Our options are those of the installed SDK: a keyword that it gains is missed here, not by a user."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import Client, WithStartWorkflowOperation

from app.worker import options


def keywords(*functions: Callable[..., Any]) -> set[str]:
    return {name for function in functions for name in inspect.signature(function).parameters} - {"self"}


START = keywords(Client.start_workflow)
UPDATE = keywords(WithStartWorkflowOperation.__init__, Client.execute_update_with_start_workflow)


@pytest.mark.parametrize(
    ("ours", "theirs", "positional"),
    [
        (options.StartOptions, START, set()),
        (options.ScheduleOptions, START - {"start_delay"}, set()),
        # What the server ignores when a signal comes with the start, and the signal itself.
        (options.WithStartOptions, START - {"request_eager_start", "start_signal", "start_signal_args"}, set()),
        (options.UpdateWithStartOptions, UPDATE | {"update_id"}, {"update"}),
        (options.ActivityOptions, keywords(workflow.start_activity), {"activity"}),
        (options.LocalActivityOptions, keywords(workflow.start_local_activity), {"activity"}),
        # A child's id is an option: without one the SDK makes one.
        (options.ChildOptions, keywords(workflow.start_child_workflow), set()),
        (options.ContinueOptions, keywords(workflow.continue_as_new), set()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_keyword_of_the_sdk_is_an_option_or_left_out_with_a_reason(
    ours: Any, theirs: set[str], positional: set[str]
) -> None:
    known = set(ours.__annotations__)
    assert theirs - known - positional - set(options.LEFT_OUT) == set(), "the SDK has more"
    assert known - theirs == set(), "the SDK has less"


def test_what_is_left_out_still_exists() -> None:
    everything = (
        START
        | UPDATE
        | keywords(
            workflow.start_activity,
            workflow.start_local_activity,
            workflow.start_child_workflow,
            workflow.continue_as_new,
        )
    )
    assert set(options.LEFT_OUT) - everything == set()
    assert all(options.LEFT_OUT.values())
