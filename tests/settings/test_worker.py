"""Settings of the worker that are arguments of the SDK's worker and runtime, read from those that a manager built."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import temporalio.runtime
from temporalio.common import VersioningBehavior
from temporalio.worker import FixedSizeSlotSupplier, Worker

from app.core.exit import ExitCode
from tests.settings.case import SIDES, case, check, settings
from tests.worker.pools import running_manager, running_pools

SDK = (
    case("temporal.worker.passthrough_modules", ["sqlalchemy"], ["httpx"]),
    case("temporal.worker.max_concurrent_activities", 11, 12),
    case("temporal.worker.max_concurrent_workflow_tasks", 21, 22),
    case("temporal.worker.workflow_cache_size", 31, 32),
    case("temporal.worker.max_concurrent_local_activities", 41, 42),
    case("temporal.worker.max_concurrent_workflow_task_polls", 3, 4),
    case("temporal.worker.max_concurrent_activity_task_polls", 6, 7),
    case("temporal.worker.activities_per_second", 51, 52),
    case("temporal.worker.queue_activities_per_second", 61, 62),
    case("temporal.worker.sticky_queue_schedule_to_start_timeout_ms", 7100, 7200),
    case("temporal.worker.heartbeat_interval_s", 5, 6),
    case("temporal.worker.drain_timeout_s", 8, 9),
    case(
        "temporal.worker.versioning",
        "off",
        "pinned",
        seen=((False, VersioningBehavior.UNSPECIFIED), (True, VersioningBehavior.PINNED)),
    ),
    case("temporal.worker.identity", "one", "two"),
    case("temporal.worker.deployment_name", "shop", "mail"),
    case("temporal.worker.build_id", "b1", "b2"),
)
RESTARTS = (case("temporal.worker.restarts", 0, 1),)
CASES = (*SDK, *RESTARTS)


@pytest.mark.parametrize("side", SIDES)
def test_the_sdks_worker_gets_what_the_settings_say(
    temporal_address: str, monkeypatch: pytest.MonkeyPatch, side: int
) -> None:
    workers: list[Any] = []
    runtimes: list[dict[str, Any]] = []
    _record(monkeypatch, Worker, lambda made, _: workers.append(made))
    _record(monkeypatch, temporalio.runtime.Runtime, lambda _, keywords: runtimes.append(keywords))
    own = {"packages": ["tests.apps.lab"], "polls_timeout_s": 0.01}
    given = settings(SDK, side, {"temporal": {"address": temporal_address, "worker": own}})

    async def serve() -> None:
        async with running_pools(given, "lab"):
            pass

    asyncio.run(serve())
    (worker,) = workers
    config = worker.config(active_config=True)
    deployment, tuner = config["deployment_config"], config["tuner"]
    version = deployment.version
    through = config["workflow_runner"].restrictions.passthrough_modules
    check(
        SDK,
        side,
        {
            "temporal.worker.passthrough_modules": sorted(through & {"sqlalchemy", "httpx"}),
            "temporal.worker.max_concurrent_activities": slots(tuner._get_activity_task_slot_supplier()),
            "temporal.worker.max_concurrent_workflow_tasks": slots(tuner._get_workflow_task_slot_supplier()),
            "temporal.worker.workflow_cache_size": config["max_cached_workflows"],
            "temporal.worker.max_concurrent_local_activities": slots(tuner._get_local_activity_task_slot_supplier()),
            "temporal.worker.max_concurrent_workflow_task_polls": config["max_concurrent_workflow_task_polls"],
            "temporal.worker.max_concurrent_activity_task_polls": config["max_concurrent_activity_task_polls"],
            "temporal.worker.activities_per_second": config["max_activities_per_second"],
            "temporal.worker.queue_activities_per_second": config["max_task_queue_activities_per_second"],
            "temporal.worker.sticky_queue_schedule_to_start_timeout_ms": (
                config["sticky_queue_schedule_to_start_timeout"].total_seconds() * 1000
            ),
            "temporal.worker.heartbeat_interval_s": runtimes[0]["worker_heartbeat_interval"].total_seconds(),
            "temporal.worker.drain_timeout_s": round(config["graceful_shutdown_timeout"].total_seconds()),
            "temporal.worker.versioning": (
                deployment.use_worker_versioning,
                deployment.default_versioning_behavior,
            ),
            "temporal.worker.identity": worker.client.identity,
            "temporal.worker.deployment_name": version.deployment_name,
            "temporal.worker.build_id": version.build_id,
        },
    )


def slots(supplier: Any) -> int:
    """How many it gives out: all of ours are back when the worker has ended."""
    return int(supplier.num_slots if isinstance(supplier, FixedSizeSlotSupplier) else supplier._free)


def _record(monkeypatch: pytest.MonkeyPatch, kind: type, take: Any) -> None:
    """`take` is given every new object of `kind`, which works as ever, and its keywords."""
    real = kind.__init__  # type: ignore[misc]

    def init(self: Any, *arguments: Any, **keywords: Any) -> None:
        real(self, *arguments, **keywords)
        take(self, keywords)

    monkeypatch.setattr(kind, "__init__", init)


@pytest.mark.parametrize("side", SIDES)
def test_a_worker_is_started_again_so_often(temporal_address: str, side: int) -> None:
    given = settings(
        RESTARTS, side, {"temporal": {"address": temporal_address, "worker": {"packages": ["tests.apps.lab"]}}}
    )

    async def restarts() -> int:
        """How often it was started again before the manager gave up."""
        async with asyncio.timeout(60), running_manager(given, "lab") as running:
            ended: list[Worker] = []
            while not running.ending.done():
                for pool in running.manager.pools:
                    if pool.worker not in ended and running.manager.state.phase == "running":
                        ended.append(pool.worker)
                        await pool.worker.shutdown()
                await asyncio.sleep(0.05)
        assert running.ending.result() == ExitCode.POOL_DIED
        return len(ended) - 1

    check(RESTARTS, side, {"temporal.worker.restarts": asyncio.run(restarts())})
