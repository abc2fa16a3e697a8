"""A workflow module that the sandbox refuses."""

from __future__ import annotations

import random

from app.worker.registry import workflow_defn
from app.worker.workflows.base import BaseWorkflow

SEED = random.random()


@workflow_defn(queue="random")
class Dice(BaseWorkflow[None, float]):
    async def run(self, input: None) -> float:
        return SEED
