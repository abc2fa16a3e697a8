"""Activities of every shape, on a real server: each is routed to its queue and gets its own object."""

from __future__ import annotations

import asyncio
import uuid

from tests.apps.charges import workflows
from tests.worker.pools import lab_settings, running_pools


def test_methods_objects_and_partials_are_served_and_routed(temporal_address: str) -> None:
    async def main() -> list[str]:
        settings = lab_settings(temporal_address, worker={"packages": ["tests.apps.charges"]})
        async with running_pools(settings, "charges", "charges-sync") as client:
            return await workflows.ChargesWorkflow.execute_workflow(client, input=3, id=f"test-{uuid.uuid4()}")

    assert asyncio.run(main()) == [
        "3 EUR, charges",
        "3 EUR, charges",
        "-3 EUR",
        "6",
        "transferred 3",
        "transferred 3",
        "Fleet: 3",
        "Hello you",
        "8",
    ]
