# pyright: strict
"""What a workflow calls. A line that must be an error ends with the comment WRONG."""

from datetime import timedelta
from typing import assert_type

from temporalio.workflow import ActivityHandle, ChildWorkflowHandle

from app.worker.workflows.base import BaseWorkflow
from tests.types.cases.model import Names, Order, Receipt, Ship, Shop, charge, nothing, pack, send, weigh

ORDER = Order(1)
S = timedelta(seconds=1)


class Right(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> Receipt:
        assert_type(await self.execute_activity(nothing), None)
        assert_type(await self.execute_activity(charge, input), Receipt)
        assert_type(await self.execute_activity(weigh, input, start_to_close_timeout=S), float)
        assert_type(await self.execute_activity(pack, input, 2), Receipt)
        assert_type(await self.execute_activity(send, input, None, True), bytes)
        assert_type(await self.execute_activity(send, input, "here", heartbeat_timeout=None), bytes)
        assert_type(await self.execute_activity("charge", input, result_type=Receipt), Receipt)
        assert_type(await self.execute_activity(Shop().pay, input), Receipt)
        assert_type(self.start_activity(charge, input), ActivityHandle[Receipt])
        assert_type(self.start_activity(weigh, input), ActivityHandle[float])
        assert_type(await self.start_activity(pack, input, 2), Receipt)
        assert_type(await self.execute_activity_method(Shop.pay, input, task_queue="q"), Receipt)
        assert_type(self.start_activity_method(Shop.close), ActivityHandle[int])
        assert_type(await self.execute_local_activity(charge, input), Receipt)
        assert_type(await self.execute_local_activity(weigh, input, local_retry_threshold=S), float)
        assert_type(self.start_local_activity(pack, input, 2), ActivityHandle[Receipt])
        return await self.execute_activity(charge, input)


class Children(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> Receipt:
        child = await self.start_child_workflow(Ship, input, id="1")
        assert_type(child, ChildWorkflowHandle[Ship, Receipt])
        await child.signal(Ship.move, args=["here", 1])
        assert_type(await child, Receipt)
        assert_type(await self.execute_child_workflow(Ship, input, run_timeout=S), Receipt)
        assert_type(await self.execute_child_workflow(Names, ["a"]), int)
        assert_type(await self.execute_child_workflow("Ship", input, result_type=Receipt), Receipt)
        async with self.saga() as saga:
            saga.add(charge, input)
            saga.add(pack, input, 2, start_to_close_timeout=S)
            saga.add("charge", 1, 2)
        self.continue_as_new(input, run_timeout=None)


class Wrong(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> Receipt:
        await self.execute_activity(nothing, input)  # WRONG
        await self.execute_activity(charge)  # WRONG
        await self.execute_activity(charge, "no order")  # WRONG
        await self.execute_activity(weigh, 1)  # WRONG
        await self.execute_activity(pack, input)  # WRONG
        await self.execute_activity(pack, input, "two")  # WRONG
        await self.execute_activity(charge, input, start_to_close_timout=S)  # WRONG
        await self.execute_activity(charge, input, start_to_close_timeout=1)  # WRONG
        await self.execute_activity(charge, input, activity_id="mine")  # WRONG
        await self.execute_activity("charge", input, activity_id="mine")  # WRONG
        text: str = await self.execute_activity(charge, input)  # WRONG
        self.start_activity(charge, text)  # WRONG
        self.start_activity(weigh, input, summry="x")  # WRONG
        await self.execute_activity_method(Shop.pay, 1)  # WRONG
        await self.execute_local_activity(charge, 1)  # WRONG
        await self.execute_local_activity(charge, input, task_queue="q")  # WRONG
        self.start_local_activity(pack, input, "two")  # WRONG
        await self.start_child_workflow(Ship, "no order")  # WRONG
        await self.execute_child_workflow(Ship, input, run_timout=S)  # WRONG
        await self.execute_child_workflow(Names, [1])  # WRONG
        await self.execute_child_workflow(Order, input)  # WRONG
        number: int = await self.execute_child_workflow(Ship, input)  # WRONG
        async with self.saga() as saga:
            saga.add(charge, number)  # WRONG
            saga.add(charge, input, summry="x")  # WRONG
        self.continue_as_new("no order")  # WRONG


class Mismatch(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> str:  # WRONG
        return ""


class OtherInput(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Receipt) -> Receipt:  # WRONG
        return input


class Twice(BaseWorkflow[Order, Receipt]):
    async def run(self, input: Order) -> Receipt:
        self.continue_as_new(input, runtimeout=None)  # WRONG
