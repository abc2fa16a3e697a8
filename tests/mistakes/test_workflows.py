"""Mistakes that show while a workflow runs: none of them leaves it waiting without a word."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import PayloadCodec
from temporalio.worker import Worker

from app.core.services.temporal.plugin import fleet_plugins
from app.worker.workflows.base import BaseWorkflow
from tests.apps.mistakes import workflows as made
from tests.apps.mistakes.activities import wait_in_a_thread
from tests.docs.reader import Background
from tests.mistakes.conftest import Caller, new_id
from tests.mistakes.page import Outcome, Section, mistake

TOO_MUCH = 3 * 1024 * 1024
"""Bytes; Temporal takes 2 MiB for one payload."""

pytestmark = pytest.mark.usefixtures("worker")


def start(client: Client, workflow: type[BaseWorkflow[Any, Any]], input: Any = None) -> Any:
    return workflow.start_workflow(client, input=input, id=new_id())


async def by_name(client: Client, name: str, *args: Any) -> WorkflowHandle[Any, Any]:
    """As another program starts it, which knows no types of ours."""
    return await client.start_workflow(name, args=args, id=new_id(), task_queue="mistakes")


@mistake("An input that lacks fields, or has too many")
def test_missing_and_extra_fields(page: Section, caller: Caller) -> None:
    missing = caller.failed_workflow(lambda c: by_name(c, "Ships", {"weight_g": 1}))
    extra = caller.failed_workflow(lambda c: by_name(c, "Ships", {"weight_g": 1, "address": "x", "colour": "red"}))
    page.shows(Outcome.FAILED_WORKFLOW, f"{missing}\n{extra}")


@mistake("No input, or one too many")
def test_a_wrong_number_of_inputs(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: by_name(c, "Ships")))
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: by_name(c, "Ships", {}, {})))


@mistake("An input over 2 MB")
def test_an_input_over_two_megabytes(page: Section, caller: Caller) -> None:
    page.shows(Outcome.ERROR, caller.error(lambda c: start(c, made.Measures, "x" * TOO_MUCH)))


@mistake("An activity's result over 2 MB")
def test_an_activity_result_over_two_megabytes(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.AsksForMuch, TOO_MUCH)))


@mistake("A workflow's result, or an activity's input, over 2 MB")
def test_a_workflow_result_over_two_megabytes(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.ReturnsMuch, TOO_MUCH)))
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.SendsMuch, TOO_MUCH)))


@mistake("An unknown workflow type")
def test_an_unknown_workflow_type(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_TASK, caller.failed_task(lambda c: by_name(c, "Shps")))


@mistake("An activity that is not registered")
def test_an_unregistered_activity(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.CallsTheUnknown)))


@mistake("An activity without a queue")
def test_an_activity_without_queue(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.CallsTheUndeclared)))


@mistake("An activity on a queue that nobody serves")
def test_an_unserved_queue(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.CallsAnUnservedQueue)))


@mistake("Workflow code that blocks for two seconds")
def test_blocking_workflow_code(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_TASK, caller.failed_task(lambda c: start(c, made.Blocks)))


@mistake("A file or the network in workflow code")
def test_io_in_workflow_code(page: Section, caller: Caller) -> None:
    file = caller.failed_task(lambda c: start(c, made.OpensAFile))
    page.shows(Outcome.FAILED_TASK, f"{file}\n{caller.failed_task(lambda c: start(c, made.OpensAConnection))}")


@mistake("The clock in workflow code")
def test_the_clock_in_workflow_code(page: Section, caller: Caller, worker: Background) -> None:
    history = caller.failed_task(lambda c: start(c, made.AsksTheClock))
    page.shows(Outcome.FAILED_TASK, f"{history}\n{worker.says('workflow AsksTheClock')}")


@mistake("The configuration read in workflow code")
def test_the_configuration_in_workflow_code(page: Section, caller: Caller) -> None:
    for anew in (True, False):
        history = caller.failed_task(partial(start, workflow=made.ReadsTheConfiguration, input=anew))
        page.shows(Outcome.FAILED_TASK, history)


@mistake("A signal with wrong arguments")
def test_a_signal_with_wrong_arguments(page: Section, caller: Caller, worker: Background) -> None:
    async def send(client: Client) -> dict[str, Any]:
        handle = await made.Waits.start_workflow(client, input=None, id=new_id())
        await handle.signal("count")
        await handle.signal("count", "three")
        await handle.signal(made.Waits.count, 3)
        state = await handle.query(made.Waits.state)
        await handle.signal(made.Waits.end)
        assert await handle.result() == "ended"
        return state

    assert caller(send)["counted"] == 3, "the workflow lives on"
    page.shows(Outcome.LOGGED, worker.text)


@mistake("A query that the workflow does not have")
def test_a_missing_query(page: Section, caller: Caller) -> None:
    page.shows(Outcome.ERROR, _asked(caller, lambda handle: handle.query("stat")))


@mistake("An update that its validator rejects")
def test_a_rejected_update(page: Section, caller: Caller) -> None:
    page.shows(Outcome.ERROR, _asked(caller, lambda handle: handle.execute_update(made.Waits.add, -1)))


@mistake("An update with wrong arguments")
def test_an_update_with_wrong_arguments(page: Section, caller: Caller) -> None:
    page.shows(Outcome.ERROR, _asked(caller, lambda handle: handle.execute_update("add")))


@mistake("An activity whose result is of another type")
def test_a_result_of_another_type(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: start(c, made.GetsTheWrongType)))


@mistake("An update's arguments over 2 MB")
def test_an_update_over_two_megabytes(page: Section, caller: Caller) -> None:
    page.shows(Outcome.ERROR, _asked(caller, lambda handle: handle.execute_update("add", "x" * TOO_MUCH)))


@mistake("A workflow id that is taken")
def test_a_duplicate_id(page: Section, caller: Caller) -> None:
    def again(handle: WorkflowHandle[Any, Any]) -> Any:
        async def start_again() -> None:
            client = await Client.connect(caller.address, plugins=fleet_plugins())
            await made.Waits.start_workflow(client, input=None, id=handle.id)

        return start_again()

    page.shows(Outcome.ERROR, _asked(caller, again))


def _asked(caller: Caller, ask: Any) -> str:
    """The error of a question to a workflow that waits."""

    async def body(client: Client) -> None:
        handle = await made.Waits.start_workflow(client, input=None, id=new_id())
        try:
            await ask(handle)
        finally:
            await handle.terminate()

    return caller.error(body)


@mistake("A wrong input at the start")
def test_a_wrong_input_at_the_start(page: Section, caller: Caller) -> None:
    page.shows(Outcome.ERROR, caller.error(lambda c: start(c, made.Ships, 5)))


@mistake("An input of another type, from elsewhere")
def test_an_input_of_another_type(page: Section, caller: Caller) -> None:
    page.shows(Outcome.FAILED_WORKFLOW, caller.failed_workflow(lambda c: by_name(c, "Ships", 5)))


@mistake("Data that the worker cannot decode")
def test_data_that_the_worker_cannot_decode(page: Section, caller: Caller) -> None:
    class Sealed(PayloadCodec):
        async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
            return [Payload(metadata={"encoding": b"binary/encrypted"}, data=b"?") for _ in payloads]

        async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
            return list(payloads)

    async def sealed(_client: Client) -> Any:
        converter = dataclasses.replace(pydantic_data_converter, payload_codec=Sealed())
        client = await Client.connect(caller.address, data_converter=converter, plugins=fleet_plugins())
        return await start(client, made.Measures, "text")

    page.shows(Outcome.FAILED_TASK, caller.failed_task(sealed))


@mistake("A client without the fleet's converter")
def test_a_client_without_the_fleets_converter(page: Section, caller: Caller) -> None:
    async def plain(_client: Client) -> None:
        await start(await Client.connect(caller.address), made.Measures, "text")

    page.shows(Outcome.ERROR, caller.error(plain))


@mistake("A sync activity in a worker without threads")
def test_a_sync_activity_needs_threads(page: Section, caller: Caller) -> None:
    async def bare(client: Client) -> None:
        Worker(client, task_queue="bare", activities=[wait_in_a_thread])

    page.shows(Outcome.ERROR, caller.error(bare))
    assert caller(lambda c: made.UsesAThread.execute_workflow(c, input=0.01, id=new_id())) == "waited"
