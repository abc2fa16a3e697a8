"""What ends a local fleet: a signal, its work being done, or a part that should have stayed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable
from typing import Any

from app.core.exit import ExitCode


async def first_to_end(*tasks: asyncio.Future[Any]) -> None:
    """Wait for one of `tasks`, cancel the others, and raise what it raised."""
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for task in done:
        task.result()


def must_stay(end: Awaitable[object], failure: Exception) -> asyncio.Future[None]:
    """A task that raises `failure` when `end` comes."""

    async def wait() -> None:
        await end
        raise failure

    return asyncio.create_task(wait())


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM, SIGHUP and the first Ctrl-C set `stop`; a second Ctrl-C leaves at once."""
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if stop.is_set():
            # The guardian sees the pipe end and stops the children in order.
            os._exit(ExitCode.INTERRUPTED)
        stop.set()

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGHUP, stop.set)
