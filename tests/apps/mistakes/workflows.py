from __future__ import annotations

import asyncio
import datetime
import socket

import pydantic
from temporalio import workflow

from app.core.config import get_settings
from app.core.config.load import load_settings
from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.mistakes import activities


class Parcel(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")

    weight_g: int
    address: str


@workflow_defn(queue="mistakes")
class Ships(BaseWorkflow[Parcel, str]):
    async def run(self, input: Parcel) -> str:
        return f"{input.weight_g} g to {input.address}"


class Dated(pydantic.BaseModel):
    when: datetime.datetime


@workflow_defn(queue="mistakes")
class Returns(BaseWorkflow[Dated, Dated]):
    async def run(self, input: Dated) -> Dated:
        return input


@workflow_defn(queue="mistakes")
class Measures(BaseWorkflow[str, int]):
    async def run(self, input: str) -> int:
        return await self.execute_activity(activities.measure, input)


@workflow_defn(queue="mistakes")
class AsksForMuch(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return len(await self.execute_activity(activities.much, input))


@workflow_defn(queue="mistakes")
class ReturnsMuch(BaseWorkflow[int, str]):
    async def run(self, input: int) -> str:
        return "x" * input


@workflow_defn(queue="mistakes")
class SendsMuch(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(activities.measure, "x" * input)


@workflow_defn(queue="mistakes")
class GetsTheWrongType(BaseWorkflow[None, int]):
    async def run(self, input: None) -> int:
        return await self.execute_activity(activities.wrong_number)


@workflow_defn(queue="mistakes")
class UsesAThread(BaseWorkflow[float, str]):
    async def run(self, input: float) -> str:
        return await self.execute_activity(activities.wait_in_a_thread, input)


@workflow_defn(queue="mistakes")
class CallsTheUnknown(BaseWorkflow[None, None]):
    async def run(self, input: None) -> None:
        await self.execute_activity("mesure", "text")


@workflow_defn(queue="mistakes")
class CallsTheUndeclared(BaseWorkflow[None, None]):
    async def run(self, input: None) -> None:
        await self.execute_activity(activities.undeclared)


@workflow_defn(queue="mistakes")
class CallsAnUnservedQueue(BaseWorkflow[None, None]):
    async def run(self, input: None) -> None:
        await self.execute_activity(activities.measure, "text", task_queue="mistaks")


@workflow_defn(queue="mistakes")
class Blocks(BaseWorkflow[None, None]):
    async def run(self, input: None) -> None:
        while True:
            pass


@workflow_defn(queue="mistakes")
class OpensAFile(BaseWorkflow[None, str]):
    async def run(self, input: None) -> str:
        with open("/etc/hostname") as file:  # noqa: ASYNC230 - to be refused
            return file.read()


@workflow_defn(queue="mistakes")
class OpensAConnection(BaseWorkflow[None, None]):
    async def run(self, input: None) -> None:
        socket.create_connection(("127.0.0.1", 9))


@workflow_defn(queue="mistakes")
class AsksTheClock(BaseWorkflow[None, str]):
    async def run(self, input: None) -> str:
        return datetime.datetime.now(datetime.UTC).isoformat()


@workflow_defn(queue="mistakes")
class ReadsTheConfiguration(BaseWorkflow[bool, str]):
    async def run(self, input: bool) -> str:
        return (load_settings() if input else get_settings()).temporal.address


@workflow_defn(queue="mistakes")
class Waits(BaseWorkflow[None, str]):
    """Until it is told to end; takes numbers above zero."""

    def __init__(self) -> None:
        self.ended = False

    async def run(self, input: None) -> str:
        await workflow.wait_condition(lambda: self.ended)
        return "ended"

    @workflow.signal
    def end(self) -> None:
        self.ended = True

    @workflow.signal
    def count(self, number: int) -> None:
        self._state["counted"] = number

    @workflow.update
    async def add(self, number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    @add.validator
    def _above_zero(self, number: int) -> None:
        if number <= 0:
            raise ValueError(f"{number} is not above zero")
