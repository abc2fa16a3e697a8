"""One worker process of `benchmarks.sandbox`: a variant of the order workflow, told what to do line by line on stdin.

Each line is answered with one JSON line: `sample` with CPU seconds, resident memory and the orders that wait; `release`
lets those go. The end of stdin ends it.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from app.core.config import use
from app.core.config.model import Settings
from app.core.services.temporal.plugin import FleetPlugin, fleet_plugins
from app.worker.discovery import discover
from app.worker.in_flight import InFlight
from app.worker.sandbox import shared_modules
from app.worker.sdk_definitions import workflow_definition
from benchmarks.raw_orders import activities

VARIANTS = ("fleet", "raw", "raw-passed")
"""raw: the SDK's default sandbox. raw-passed: with the modules of activities and models passed through, as its
documentation advises."""
SLOTS = 1000
ACTIVITIES: Sequence[Any] = (
    activities.charge_payment,
    activities.refund_payment,
    activities.reserve_inventory,
    activities.release_inventory,
    activities.schedule_shipment,
)


async def serve(variant: str, address: str, builds: int) -> None:
    """Run the workers of one variant until stdin ends."""
    workflow, runner, client = await (_fleet(address) if variant == "fleet" else _raw(variant, address))
    definition = workflow_definition(workflow)
    assert definition is not None
    build_ms = [_build_ms(runner, definition) for _ in range(builds + 3)][3:]
    activities.Held.released = asyncio.Event()
    prefix = "" if variant == "fleet" else "raw-"
    async with AsyncExitStack() as workers:
        for queue, workflows in ((f"{prefix}orders", [workflow]), (f"{prefix}payments", [])):
            await workers.enter_async_context(
                Worker(
                    client,
                    task_queue=queue,
                    workflows=workflows,
                    activities=ACTIVITIES,
                    max_concurrent_activities=SLOTS,
                    max_cached_workflows=SLOTS,
                    # The fleet's plugin adds its pass-through to the default one, as in a real worker.
                    workflow_runner=SandboxedWorkflowRunner() if variant == "fleet" else runner,
                )
            )
        print(json.dumps({"build_ms": round(statistics.median(build_ms), 3)}), flush=True)
        while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if line == "release":
                activities.Held.released.set()
            print(json.dumps(_sample()), flush=True)


async def _fleet(address: str) -> tuple[type, WorkflowRunner, Client]:
    settings = use(Settings.model_validate({"temporal": {"address": address}}))
    registry = discover(settings)
    shared = shared_modules(registry, settings)
    client = await Client.connect(address, plugins=[*fleet_plugins(shared), InFlight().plugin()])
    from app.worker.workflows.orders import OrderWorkflow

    return OrderWorkflow, FleetPlugin(shared).runner(), client


async def _raw(variant: str, address: str) -> tuple[type, WorkflowRunner, Client]:
    restrictions = SandboxRestrictions.default
    if variant == "raw-passed":
        restrictions = restrictions.with_passthrough_modules(
            "app.worker.activities.models", "benchmarks.raw_orders.activities"
        )
    from benchmarks.raw_orders.workflows import OrderWorkflow

    client = await Client.connect(address, data_converter=pydantic_data_converter)
    return OrderWorkflow, SandboxedWorkflowRunner(restrictions=restrictions), client


def _build_ms(runner: WorkflowRunner, definition: Any) -> float:
    """CPU milliseconds to build one instance: what each run that is not in the cache pays before its first line."""
    begin = time.thread_time()
    runner.prepare_workflow(definition)
    return (time.thread_time() - begin) * 1000


def _sample() -> dict[str, float]:
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    return {
        "cpu_s": time.process_time(),
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") / 1024,
        "held": activities.Held.count,
    }


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)
