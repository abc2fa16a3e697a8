from __future__ import annotations

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow
from tests.apps.charges.activities import Bank, Charges, add_five, bank, charges, greet, receipt


@workflow_defn(queue="charges")
class ChargesWorkflow(BaseWorkflow[int, list[str]]):
    """Calls activities of every shape, by the object and by the class."""

    async def run(self, input: int) -> list[str]:
        return [
            await self.execute_activity(charges.charge, input),
            await self.execute_activity_method(Charges.charge, input),
            await self.execute_activity(charges.give_back, input),
            str(await self.execute_activity(Charges.rate, input)),
            await self.execute_activity(bank.transfer, input),
            await self.execute_activity_method(Bank.transfer, input),
            await self.execute_activity(receipt, input),
            await self.execute_activity(greet, "you"),
            str(await self.execute_activity(add_five, input)),
        ]
