"""How Temporal is asked for what it knows: so many calls a second, and not for ever."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from temporalio.service import RPCError

T = TypeVar("T")
SAVED_S = 3.0  # unused calls are kept for so long


@dataclass
class Asking:
    """How to ask: at most `per_s` calls a second over a few seconds, and none for longer than `timeout_s`.

    What must be asked may run up a debt; the rest then waits.
    """

    per_s: float = 10.0
    timeout_s: float = 2.0
    clock: Callable[[], float] = time.monotonic
    _left: float = field(init=False, default=0.0)
    _at: float = field(init=False, default=-math.inf)

    def owe(self, calls: int = 1) -> None:
        """Take `calls`, whether they are there or not."""
        now = self.clock()
        self._left = min(self.per_s * SAVED_S, self._left + (now - self._at) * self.per_s) - calls
        self._at = now

    def take(self) -> bool:
        """Take one call if there is one."""
        self.owe(0)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    async def attempt(self, call: Awaitable[T], name: str) -> T | str:
        """The answer, or in a string what went wrong. Waiting for the connection counts as well."""
        try:
            return await asyncio.wait_for(call, self.timeout_s)
        except (TimeoutError, RPCError, RuntimeError) as error:  # the last when a lazy client cannot connect
            return f"{name}: {str(error) or f'no answer within {self.timeout_s:g} s'}"
