"""The spans of one order, and the services that make them."""

from __future__ import annotations

SPANS = {
    "POST /orders": "api",
    "StartWorkflow:OrderWorkflow": "api",
    "RunWorkflow:OrderWorkflow": "worker-orders",
    "QueueWait:orders": "worker-orders",
    "QueueWait:payments": "worker-payments",
    "RunActivity:charge_payment": "worker-payments",
    "RunActivity:reserve_inventory": "worker-orders",
    "RunActivity:schedule_shipment": "worker-orders",
}
