"""The example's routes: place an order, look at it, call it off."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import BaseModel, Field
from temporalio.client import WorkflowExecutionStatus, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from app.api.http.deps import get_temporal_service
from app.api.http.idempotency import IdempotencyKey, Idempotent
from app.api.http.leaving import wait_for
from app.api.http.problems import root_cause
from app.core.services.temporal.temporal_client import TemporalClientService
from app.worker.activities.models import OrderId, OrderInput, OrderOutput
from app.worker.workflows.orders import OrderWorkflow

router = APIRouter(prefix="/orders", tags=["orders"])

MAX_WAIT_S = 30
"""Longest wait that a GET may ask for: proxies between here and the caller give up a minute or so after."""

Temporal = Annotated[TemporalClientService, Depends(get_temporal_service)]


class Placed(BaseModel):
    """What was accepted, and the workflow that does it."""

    order_id: str
    workflow_id: str
    run_id: str | None


class Cancellation(BaseModel):
    """Why an order is called off; the workflow's state shows it."""

    reason: str = Field(default="", max_length=500)


class OrderView(BaseModel):
    """An order as it stands. `status`: running, completed, cancelled, failed, terminated, timed_out."""

    order_id: str
    workflow_id: str
    status: str
    step: str | None = None
    result: OrderOutput | None = None
    error: str | None = None


@router.post("", status_code=202)
async def place_order(
    order: OrderInput, response: Response, temporal: Temporal, idempotency_key: IdempotencyKey = None
) -> Placed:
    """Start the order's workflow; its id is unique: the same order again, open or ended, answers 409.

    With the `Idempotency-Key` that it came with, it gets the first answer again, and another order of that id 422.
    """
    once = Idempotent(idempotency_key, order)
    workflow_id = _workflow_id(order.order_id)
    async with temporal.limit():
        client = await temporal.get_client()
        try:
            handle = await OrderWorkflow.start_workflow(
                client,
                input=order,
                id=workflow_id,
                id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
                memo=once.memo,
            )
            run_id = handle.result_run_id
        except WorkflowAlreadyStartedError as taken:
            run_id = await once.repeated(client, taken)
    response.headers["Location"] = f"/orders/{order.order_id}"
    return Placed(order_id=order.order_id, workflow_id=workflow_id, run_id=run_id)


@router.get("/{order_id}")
async def get_order(
    request: Request, order_id: OrderId, temporal: Temporal, wait: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0
) -> OrderView:
    """Where an order stands now, or when it has ended, or when `wait` seconds have passed; 404 for one never placed.

    It waits less when the API is being stopped: then the answer is where the order stands, as after `wait` seconds.

    The answer takes `wait` and temporal.rpc_timeout_s together at most, however many calls it needs. `step` is left
    out where no worker tells it in that time.
    """
    until = asyncio.get_running_loop().time() + wait + temporal.rpc_timeout.total_seconds()
    async with temporal.limit(wait):
        client = await temporal.get_client()
        handle = client.get_workflow_handle_for(OrderWorkflow.run, _workflow_id(order_id))
        status = await _status(handle)
        if status == WorkflowExecutionStatus.RUNNING and wait:
            with suppress(TimeoutError, WorkflowFailureError):
                await wait_for(request, handle.result(), wait)
            status = await _status(handle)
        view = OrderView(order_id=order_id, workflow_id=handle.id, status=status.name.lower())
        if status != WorkflowExecutionStatus.RUNNING:
            try:
                view.result = await handle.result()
                view.status = view.result.status
            except WorkflowFailureError as failure:
                view.error = root_cause(failure)
    if status == WorkflowExecutionStatus.RUNNING:
        view.step = await _step(handle, until)
    return view


@router.post("/{order_id}/cancel", status_code=202)
async def cancel_order(order_id: OrderId, temporal: Temporal, cancellation: Cancellation | None = None) -> Placed:
    """Ask the order's workflow to stop and undo; 404 for one that was never placed, 409 for one that has ended."""
    async with temporal.limit():
        client = await temporal.get_client()
        handle = client.get_workflow_handle_for(OrderWorkflow.run, _workflow_id(order_id))
        try:
            await handle.signal(OrderWorkflow.cancel, args=[(cancellation or Cancellation()).reason])
        except RPCError as error:
            if error.status != RPCStatusCode.NOT_FOUND:
                raise
            # Temporal says "not found" of an ended workflow too; for one that never was, this raises it again.
            status = await _status(handle)
            raise HTTPException(409, f"order {order_id} has ended: {status.name.lower()}") from None
    return Placed(order_id=order_id, workflow_id=handle.id, run_id=handle.run_id)


async def _status(handle: WorkflowHandle[Any, Any]) -> WorkflowExecutionStatus:
    return (await handle.describe()).status or WorkflowExecutionStatus.RUNNING


async def _step(handle: WorkflowHandle[Any, Any], until: float) -> str | None:
    """The workflow's own word; none while no worker can answer, which must not fail the whole view."""
    try:
        async with asyncio.timeout_at(until):
            state: dict[str, Any] = await handle.query(OrderWorkflow.state)
    except (RPCError, TimeoutError):
        return None
    return state.get("step")


def _workflow_id(order_id: str) -> str:
    return f"order-{order_id}"
