# pyright: strict
"""Starts, and finding a run again. A line that must be an error ends with the comment WRONG."""

from datetime import timedelta
from typing import assert_type

from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority, WorkflowIDConflictPolicy

from tests.types.cases.model import Names, Order, Receipt, Ship

ORDER = Order(1)
S = timedelta(seconds=1)


async def right(client: Client) -> None:
    assert_type(await Ship.start_workflow(client, input=ORDER, id="1"), WorkflowHandle[Ship, Receipt])
    assert_type(await Ship.execute_workflow(client, input=ORDER, id="1", run_timeout=S), Receipt)
    assert_type(await Ship.execute_workflow(client, input=ORDER, id="1", run_timeout=None), Receipt)
    assert_type(
        await Ship.schedule_workflow(client, input=ORDER, id="1", start_delay=S, priority=Priority(priority_key=1)),
        WorkflowHandle[Ship, Receipt],
    )
    assert_type(Ship.get_handle(client, "1"), WorkflowHandle[Ship, Receipt])
    assert_type(await Ship.get_handle(client, "1", run_id="2").result(), Receipt)
    assert_type(await Ship.get_handle(client, "1").query(Ship.place), str)
    await Ship.get_handle(client, "1").signal(Ship.cancel)
    assert_type(await Names.execute_workflow(client, input=["a"], id="1"), int)
    handle = await Ship.signal_with_start(client, Ship.hurry, input=ORDER, id="1")
    assert_type(handle, WorkflowHandle[Ship, Receipt])
    await Ship.signal_with_start(client, Ship.move, "here", 3, input=ORDER, id="1", start_delay=S)
    await Ship.signal_with_start(client, Ship.cancel, "too late", input=ORDER, id="1")
    await Ship.signal_with_start(client, "by name", 1, 2, 3, input=ORDER, id="1")
    assert_type(await Ship.update_with_start(client, Ship.rate, 5, input=ORDER, id="1", update_id="r"), str)
    assert_type(await Ship.update_with_start(client, Ship.reset, input=ORDER, id="1"), Receipt)
    await Ship.update_with_start(
        client, Ship.reset, input=ORDER, id="1", id_conflict_policy=WorkflowIDConflictPolicy.FAIL
    )


async def wrong(client: Client) -> None:
    await Ship.start_workflow(client, input="no order", id="1")  # WRONG
    await Ship.start_workflow(client, input=ORDER)  # WRONG
    await Ship.start_workflow(client, input=ORDER, id="1", run_timout=S)  # WRONG
    await Ship.start_workflow(client, input=ORDER, id="1", run_timeout=7)  # WRONG
    await Ship.execute_workflow(client, input=Receipt(""), id="1")  # WRONG
    await Ship.execute_workflow(client, input=ORDER, id="1", tsk_queue="q")  # WRONG
    number: int = await Ship.execute_workflow(client, input=ORDER, id="1")  # WRONG
    await Ship.schedule_workflow(client, input=ORDER, id="1")  # WRONG
    await Ship.schedule_workflow(client, input=1, id="1", start_delay=S)  # WRONG
    await Names.start_workflow(client, input=[1], id=str(number))  # WRONG
    await Ship.get_handle(client, 1).result()  # WRONG
    await Ship.get_handle(client, "1").signal(Names.hurry)  # WRONG
    await Ship.signal_with_start(client, Ship.hurry, "extra", input=ORDER, id="1")  # WRONG
    await Ship.signal_with_start(client, Ship.move, "here", "third", input=ORDER, id="1")  # WRONG
    await Ship.signal_with_start(client, Ship.move, "here", input=ORDER, id="1")  # WRONG
    await Ship.signal_with_start(client, Ship.hurry, input=1, id="1")  # WRONG
    await Ship.signal_with_start(client, Ship.hurry, input=ORDER, id="1", start_dely=S)  # WRONG
    await Ship.update_with_start(client, Ship.rate, "five", input=ORDER, id="1")  # WRONG
    await Ship.update_with_start(client, Ship.rate, input=ORDER, id="1")  # WRONG
    await Ship.update_with_start(client, Ship.reset, input="x", id="1")  # WRONG
    await Ship.update_with_start(client, Ship.reset, input=ORDER, id="1", udate_id="r")  # WRONG
