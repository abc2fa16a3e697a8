from __future__ import annotations

import time
from typing import cast

from app.worker.registry import activity_defn


@activity_defn(queue="mistakes")
async def measure(text: str) -> int:
    return len(text)


@activity_defn(queue="mistakes")
async def much(size: int) -> str:
    return "x" * size


@activity_defn(queue="mistakes")
def wait_in_a_thread(seconds: float) -> str:
    """Not async: it needs a thread."""
    time.sleep(seconds)
    return "waited"


async def undeclared() -> None: ...


@activity_defn(queue="mistakes")
async def wrong_number() -> int:
    return cast(int, "nope")
