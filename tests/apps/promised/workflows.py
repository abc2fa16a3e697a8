from __future__ import annotations

from datetime import timedelta

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.promised.activities import Seen, Shop, all_declared, call_me, nothing_declared, over_the_sdks, shop


@workflow_defn(queue="promised")
class Callers(BaseWorkflow[None, dict[str, Seen]]):
    """Calls all of them in all ways."""

    async def run(self, input: None) -> dict[str, Seen]:
        short = timedelta(seconds=2)
        return {
            "declared": await self.execute_activity(all_declared),
            "by name": await self.execute_activity("all_declared", result_type=Seen),
            "keyword": await self.execute_activity(all_declared, start_to_close_timeout=short, heartbeat_timeout=None),
            "configured": await self.execute_activity(nothing_declared),
            "stacked": await self.execute_activity(over_the_sdks),
            "method": await self.execute_activity(shop.method),
            "method of its class": await self.execute_activity_method(Shop.method),
            "object": await self.execute_activity(call_me),
            "local": await self.execute_local_activity(all_declared),
            "local keyword": await self.execute_local_activity(all_declared, start_to_close_timeout=short),
        }


@workflow_defn(queue="promised")
class Overlong(BaseWorkflow[int, None]):
    """Says at the call what its activity never promised, so often."""

    async def run(self, input: int) -> None:
        for _ in range(input):
            await self.execute_activity(all_declared, start_to_close_timeout=timedelta(minutes=10))
