"""The example's routes: place an order, look at it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.service import RPCError

from app.api.http.deps import get_temporal_service
from app.core.services.temporal.temporal_client import TemporalClientService
from app.worker.activities.models import OrderId, OrderInput, OrderOutput
from app.worker.workflows.orders import OrderWorkflow

router = APIRouter(prefix="/orders", tags=["orders"])

Temporal = Annotated[TemporalClientService, Depends(get_temporal_service)]


class Placed(BaseModel):
    """An order that was accepted."""

    order_id: str
    workflow_id: str
    run_id: str | None


class OrderView(BaseModel):
    """An order as it stands. `status`: running, completed, cancelled, failed, terminated, timed_out."""

    order_id: str
    workflow_id: str
    status: str
    step: str | None = None
    result: OrderOutput | None = None
    error: str | None = None


@router.post("", status_code=202)
async def place_order(order: OrderInput, response: Response, temporal: Temporal) -> Placed:
    """Start the order's workflow; its id is unique: the same order again, open or ended, answers 409."""
    async with asyncio.timeout(temporal.rpc_timeout.total_seconds()):
        client = await temporal.get_client()
        handle = await OrderWorkflow.start_workflow(
            client,
            input=order,
            id=_workflow_id(order.order_id),
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    response.headers["Location"] = f"/orders/{order.order_id}"
    return Placed(order_id=order.order_id, workflow_id=handle.id, run_id=handle.result_run_id)


@router.get("/{order_id}")
async def get_order(order_id: OrderId, temporal: Temporal) -> OrderView:
    """Where an order stands; 404 for one that was never placed."""
    async with asyncio.timeout(2 * temporal.rpc_timeout.total_seconds()):
        client = await temporal.get_client()
        handle = client.get_workflow_handle_for(OrderWorkflow.run, _workflow_id(order_id))
        described = await handle.describe(rpc_timeout=temporal.rpc_timeout)
        status = described.status or WorkflowExecutionStatus.RUNNING
        view = OrderView(order_id=order_id, workflow_id=handle.id, status=status.name.lower())
        if status == WorkflowExecutionStatus.RUNNING:
            view.step = await _step(handle, temporal)
        else:
            try:
                view.result = await handle.result()
                view.status = view.result.status
            except WorkflowFailureError as failure:
                view.error = _root_cause(failure)
        return view


async def _step(handle: Any, temporal: TemporalClientService) -> str | None:
    """The workflow's own word; none while no worker can answer, which must not fail the whole view."""
    try:
        state: dict[str, Any] = await handle.query(OrderWorkflow.state, rpc_timeout=temporal.rpc_timeout)
    except RPCError:
        return None
    return state.get("step")


def _workflow_id(order_id: str) -> str:
    return f"order-{order_id}"


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)
