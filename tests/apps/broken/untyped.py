from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow


@workflow_defn(queue="broken")
class Untyped(BaseWorkflow[int, int]):
    async def run(self, input):  # type: ignore[no-untyped-def]
        return input
