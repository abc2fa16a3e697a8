"""The same workflow on the SDK alone, in a worker program as most teams write it: its defaults, and a plain exit."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from benchmarks.drained import body
    from benchmarks.drained.body import START_TO_CLOSE_S, TASK_QUEUE, Load


@activity.defn
async def work(shortest_s: float, longest_s: float) -> None:
    await body.work(shortest_s, longest_s)


@workflow.defn
class Dense:
    @workflow.run
    async def run(self, input: Load) -> None:
        async def lane() -> None:
            for _ in range(input.activities // input.lanes):
                await workflow.execute_activity(
                    work, args=[0.02, 0.5], start_to_close_timeout=timedelta(seconds=START_TO_CLOSE_S)
                )

        await asyncio.gather(*(lane() for _ in range(input.lanes)))


async def main(address: str) -> None:
    """Serve until SIGTERM."""
    client = await Client.connect(address)
    worker = Worker(client, task_queue=TASK_QUEUE, workflows=[Dense], activities=[work])
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with worker:
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
