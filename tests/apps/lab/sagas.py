"""A trip of three bookings, undone in reverse when something goes wrong."""

from __future__ import annotations

from datetime import timedelta

import pydantic

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.lab import activities, bodies, trips


class Trip(pydantic.BaseModel):
    fails: bool = True
    no_refund: str = ""
    in_file: bool = False


@workflow_defn(queue="lab")
class BooksTrip(BaseWorkflow[Trip, str]):
    async def run(self, input: Trip) -> str:
        short = timedelta(seconds=3)
        async with self.saga(lambda: self._state.update(saga="undoing")) as saga:
            for what in ("flight", "hotel", "car"):
                ticket = await self.execute_activity(trips.book, what)
                if input.in_file:
                    saga.add(trips.unbook_in_file, ticket, start_to_close_timeout=short, retry_policy=None)
                else:
                    saga.add(trips.unbook_never if what == input.no_refund else trips.unbook, ticket)
            if input.fails:
                await self.execute_activity(activities.fail_for_good)
            await self.execute_activity(bodies.hold)
        return "on my way"
