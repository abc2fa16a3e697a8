"""The examples that this layer was first described with run as they stand, pasted into a package of the reader's own.

Nothing in the snippets may be changed to make a test pass: their text is the promise. What they leave out (models, the
rest of a module) stands around them. `...` as a class body is the description's way of leaving out the methods.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from textwrap import indent
from typing import Any

import pytest

from tests.docs.reader import Done, Reader

DEFINE_A_WORKFLOW = """\
from app.worker.workflows.base import BaseWorkflow
from app.worker.registry import workflow_defn
from temporalio import workflow

@workflow_defn(queue="my-queue")
@workflow.defn
class MyWorkflow(BaseWorkflow[MyInput, MyOutput]):
    @workflow.run
    async def run(self, input: MyInput) -> MyOutput:
        # Your workflow logic here
        result = await self.execute_activity(some_activity, input.data)
        return MyOutput(result=result)
"""

DEFINE_ACTIVITIES = """\
from app.worker.registry import activity_defn
from temporalio import activity

@activity_defn(queue="my-queue")
@activity.defn
async def some_activity(data: str) -> str:
    # Your activity logic here
    return f"Processed: {data}"
"""

START_THE_WORKER = "uv run python -m app.worker.main serve --queue my-queue"
START_ALL_WORKERS = "uv run python -m app.worker.main serve"

EXECUTE_FROM_FASTAPI = """\
# In your route handler
from app.api.http.deps import get_temporal_service

@router.post("/trigger")
async def trigger_workflow(
    temporal_service: TemporalClientService = Depends(get_temporal_service)
):
    client = await temporal_service.get_client()

    # Option 1: Start and return immediately (non-blocking)
    handle = await MyWorkflow.start_workflow(
        client,
        input=MyInput(data="hello"),
        id="unique-workflow-id"
    )
    return {"workflow_id": handle.id}

    # Option 2: Wait for result (blocking)
    result = await MyWorkflow.execute_workflow(
        client,
        input=MyInput(data="hello"),
        id="unique-workflow-id"
    )
    return {"result": result.result}
"""

ORDER_WORKFLOW = """\
# Order processing with payment, inventory, and shipping
@workflow_defn(queue="orders")
@workflow.defn
class OrderWorkflow(BaseWorkflow[OrderInput, OrderOutput]):
    async def run(self, input: OrderInput) -> OrderOutput:
        # Each step is an activity that can fail and retry independently
        payment = await self.execute_activity(charge_payment, input.payment_details)
        inventory = await self.execute_activity(reserve_inventory, input.items)
        shipping = await self.execute_activity(schedule_shipment, input.address)
        return OrderOutput(status="completed", tracking=shipping.tracking_number)
"""

CHARGE_PAYMENT = """\
@activity_defn(queue="orders")
@activity.defn
async def charge_payment(payment_details: PaymentInput) -> PaymentOutput:
    ...
"""

TYPED_EXECUTION = """\
# Type checker knows input and output types
result: OrderOutput = await OrderWorkflow.execute_workflow(
    client,
    input=OrderInput(order_id="123", amount=99.99),
    id="order-123"
)
# result.status is known to exist and be the correct type
"""

CENTRALIZED_CONFIGURATION = """\
temporal:
  workflows:
    execution_timeout_s: 86400  # 24 hours
    run_timeout_s: 7200         # 2 hours
    task_timeout_s: 10          # 10 seconds
  activities:
    start_to_close_timeout_s: 1200  # 20 minutes
    retry:
      maximum_attempts: 5
      backoff_coefficient: 2.0
"""

ORDERS_ROUTE = """\
from app.api.http.deps import get_temporal_service

@router.post("/orders")
async def create_order(
    order_data: OrderInput,
    temporal_service: TemporalClientService = Depends(get_temporal_service)
):
    client = await temporal_service.get_client()
    handle = await OrderWorkflow.start_workflow(
        client,
        input=order_data,
        id=f"order-{order_data.order_id}"
    )
    return {"workflow_id": handle.id}
"""

CUSTOM_CANCEL = """\
# In your workflow class
@workflow.signal
def custom_cancel_order(self, reason: str):
    # Call base class cancel() - it handles activity cleanup
    self.cancel()
    self._state["cancel_reason"] = reason
"""

MODELS = """\
from pydantic import BaseModel


class MyInput(BaseModel):
    data: str


class MyOutput(BaseModel):
    result: str


class PaymentInput(BaseModel):
    card: str = "none"


class PaymentOutput(BaseModel):
    receipt: str


class Shipment(BaseModel):
    tracking_number: str


class OrderInput(BaseModel):
    order_id: str
    amount: float = 0
    payment_details: PaymentInput = PaymentInput()
    items: list[str] = []
    address: str = "1 Main Street"


class OrderOutput(BaseModel):
    status: str
    tracking: str
"""

ORDER_ACTIVITIES = f"""\
import asyncio

from temporalio import activity

from app.worker.registry import activity_defn
from mine.models import PaymentInput, PaymentOutput, Shipment

{CHARGE_PAYMENT}

@activity_defn(queue="orders")
@activity.defn
async def reserve_inventory(items: list[str]) -> int:
    return len(items)


@activity_defn(queue="orders")
@activity.defn
def schedule_shipment(address: str) -> Shipment:
    return Shipment(tracking_number=f"to {{address}}")


@activity_defn(queue="orders")
@activity.defn
async def wait_for_courier() -> None:
    while True:
        activity.heartbeat()
        await asyncio.sleep(0.1)
"""

ORDER_WORKFLOWS = f"""\
from datetime import timedelta

from temporalio import workflow

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from mine.models import OrderInput, OrderOutput
from mine.activities.orders import charge_payment, reserve_inventory, schedule_shipment, wait_for_courier

{ORDER_WORKFLOW}

@workflow_defn(queue="orders")
@workflow.defn
class SlowOrderWorkflow(BaseWorkflow[OrderInput, str]):
    async def run(self, input: OrderInput) -> str:
        try:
            await self.execute_activity(wait_for_courier, heartbeat_timeout=timedelta(seconds=5))
        except Exception as error:
            return type(error.__cause__).__name__
        return "came"

{indent(CUSTOM_CANCEL, "    ")}
"""

ROUTES = f"""\
from fastapi import APIRouter, Depends, FastAPI

from app.core.services.temporal.temporal_client import TemporalClientService
from mine.models import MyInput, OrderInput
from mine.workflows.my_workflow import MyWorkflow
from mine.workflows.orders import OrderWorkflow

router = APIRouter()

{ORDERS_ROUTE}
{EXECUTE_FROM_FASTAPI}

{EXECUTE_FROM_FASTAPI.replace('"/trigger"', '"/trigger-and-wait"').split("    # Option 1")[0]}
    # Option 2{EXECUTE_FROM_FASTAPI.split("# Option 2")[1]}
"""

CLIENT = """\
import asyncio
import json
import sys
from datetime import timedelta

from app.core.config import use
from app.core.config.load import load_settings
from app.core.exit import finish
from app.core.services.temporal.temporal_client import TemporalClientService
from mine.models import OrderInput, OrderOutput
from mine.workflows.orders import OrderWorkflow, SlowOrderWorkflow


async def main() -> dict[str, object]:
    settings = use(load_settings())
    client = await TemporalClientService(settings.temporal).get_client()
    unique = sys.argv[1]
    said: dict[str, object] = {}
BODY
    return said


print(json.dumps(asyncio.run(main())))
finish(0)
"""


@pytest.fixture
def reader(tmp_path: Path, temporal_address: str) -> Reader:
    """A reader who has pasted everything into a package `mine`, with the description's config.yaml."""
    reader = Reader(tmp_path, temporal_address)
    worker = '\n  worker:\n    packages: ["mine.workflows", "mine.activities"]\n'
    reader.write("config.yaml", CENTRALIZED_CONFIGURATION + worker.removeprefix("\n"))
    for package in ("mine", "mine/workflows", "mine/activities"):
        reader.write(f"{package}/__init__.py", "")
    reader.write("mine/models.py", MODELS)
    reader.write("mine/activities/my_activities.py", DEFINE_ACTIVITIES)
    leaves_out = "from mine.models import MyInput, MyOutput\nfrom mine.activities.my_activities import some_activity\n"
    reader.write("mine/workflows/my_workflow.py", leaves_out + DEFINE_A_WORKFLOW)
    reader.write("mine/activities/orders.py", ORDER_ACTIVITIES)
    reader.write("mine/workflows/orders.py", ORDER_WORKFLOWS)
    reader.write("mine/routes.py", ROUTES)
    return reader


def ask(reader: Reader, body: str) -> dict[str, Any]:
    """What `said` holds after `body` ran in a process of the reader's, with a connected `client`."""
    reader.write("client.py", CLIENT.replace("BODY", indent(body, "    ")))
    done = reader.run(f"python client.py {uuid.uuid4()}")
    assert done.code == 0, done.text
    said: dict[str, Any] = json.loads(done.text.splitlines()[-1])
    return said


def test_serve_with_a_queue_takes_that_queue_alone(reader: Reader) -> None:
    with reader.background(START_THE_WORKER) as worker:
        assert "serving my-queue as" in worker.says("serving")
        reader.write("trigger.py", TRIGGER)
        done = reader.run("python trigger.py")
        assert done.code == 0, done.text
        assert json.loads(done.text.splitlines()[-1]) == {
            "trigger": {"workflow_id": "unique-workflow-id"},
            "its result": {"result": "Processed: hello"},
            "trigger-and-wait": {"result": "Processed: hello"},
        }
        assert worker.stop() == 0


TRIGGER = """\
import asyncio
import json

from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.api.http.deps import get_temporal_service, lifespan
from app.core.exit import finish
from mine.routes import router

app = FastAPI(lifespan=lifespan)
app.include_router(router)


@app.get("/result/{workflow_id}")
async def result(workflow_id: str):
    client = await get_temporal_service().get_client()
    return await client.get_workflow_handle(workflow_id).result()


with TestClient(app) as http:
    said = {"trigger": http.post("/trigger").json()}
    said["its result"] = http.get(f"/result/{said['trigger']['workflow_id']}").json()
    said["trigger-and-wait"] = http.post("/trigger-and-wait").json()
    print(json.dumps(said))
finish(0)
"""


def test_serve_without_a_queue_takes_all_and_the_orders_run(reader: Reader) -> None:
    with reader.background(START_ALL_WORKERS) as worker:
        assert "serving my-queue, orders as" in worker.says("serving")
        said = ask(
            reader,
            f"""\
{TYPED_EXECUTION}
said["typed"] = [type(result).__name__, result.status, result.tracking]

from mine.routes import create_order

class Service:
    async def get_client(self):
        return client

placed = await create_order(OrderInput(order_id=unique), Service())
handle = client.get_workflow_handle(placed["workflow_id"], result_type=OrderOutput)
said["routed"] = (await handle.result()).status
started = (await handle.fetch_history()).events[0].workflow_execution_started_event_attributes
said["limits"] = [
    started.workflow_execution_timeout.seconds,
    started.workflow_run_timeout.seconds,
    started.workflow_task_timeout.seconds,
]
scheduled = [
    event.activity_task_scheduled_event_attributes
    async for event in handle.fetch_history_events()
    if event.HasField("activity_task_scheduled_event_attributes")
]
said["activity limits"] = sorted(
    {{(each.start_to_close_timeout.seconds, each.retry_policy.maximum_attempts) for each in scheduled}}
)
""",
        )
        assert said["typed"] == ["OrderOutput", "completed", "to 1 Main Street"]
        assert said["routed"] == "completed"
        assert said["limits"] == [86400, 7200, 10]
        assert said["activity limits"] == [[1200, 5]]
        assert worker.stop() == 0


def test_a_signal_of_ones_own_cancels_what_runs_and_a_start_can_be_delayed(reader: Reader) -> None:
    with reader.background(START_ALL_WORKERS) as worker:
        worker.says("serving")
        said = ask(
            reader,
            """\
handle = await SlowOrderWorkflow.start_workflow(client, input=OrderInput(order_id=unique), id=f"slow-{unique}")
async with asyncio.timeout(30):
    while not (await handle.describe()).raw_description.pending_activities:
        await asyncio.sleep(0.1)
await handle.signal(SlowOrderWorkflow.custom_cancel_order, "no longer wanted")
said["ended by"] = await handle.result()
said["state"] = await handle.query(SlowOrderWorkflow.state)

delayed = await OrderWorkflow.schedule_workflow(
    client, input=OrderInput(order_id=unique), id=f"later-{unique}", start_delay=timedelta(seconds=1)
)
said["delayed"] = (await delayed.result()).status
started = (await delayed.fetch_history()).events[0].workflow_execution_started_event_attributes
said["delay"] = started.first_workflow_task_backoff.seconds
""",
        )
        assert said["ended by"] == "CancelledError"
        assert said["state"] == {"cancelled": True, "cancel_reason": "no longer wanted"}
        assert said["delayed"] == "completed"
        assert said["delay"] == 1
        assert worker.stop() == 0


def test_a_program_that_ends_with_finish_never_crashes(reader: Reader) -> None:
    """Without it about every fourth did, when this was written."""
    reader.write(
        "short.py",
        """\
import asyncio

from app.core.config import use
from app.core.config.load import load_settings
from app.core.exit import finish
from app.core.services.temporal.temporal_client import TemporalClientService


async def main() -> None:
    client = await TemporalClientService(use(load_settings()).temporal).get_client()
    await client.count_workflows()


asyncio.run(main())
finish(0)
""",
    )
    runs = "for run in 1 2 3 4 5 6 7 8 9 10 11 12; do python short.py || echo it ended with $?; done"
    done = reader.run(runs, timeout_s=240)
    assert done == Done(0, "")
