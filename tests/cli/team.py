"""A team's own package, written to a folder outside this repository: what somebody makes who uses the fleet."""

from __future__ import annotations

import textwrap
from pathlib import Path

FILES = {
    "config.yaml": """
        temporal:
          worker:
            packages: [bakery]
            drain_timeout_s: 20
          activities:
            start_to_close_timeout_s: 10
        queues:
          ovens:
            worker: {max_concurrent_activities: 3}
            scaling: {long_activities: true}
    """,
    "bakery/models.py": """
        from pydantic import BaseModel


        class Bread(BaseModel):
            loaves: int


        class Baked(BaseModel):
            loaves: int
            places: list[str]
    """,
    # Everything of one thing in one module, as small teams have it; the sandbox imports it anew for each run.
    "bakery/baking.py": """
        from __future__ import annotations

        import threading

        from temporalio import activity, workflow

        from app.worker.registry import activity_defn, register, workflow_defn
        from app.worker.workflows.base import BaseWorkflow
        from bakery.models import Baked, Bread


        class Oven:
            def __init__(self, *, name: str) -> None:
                self._name = name

            @activity_defn(queue="ovens")
            def bake(self, bread: Bread) -> str:
                assert threading.current_thread() is not threading.main_thread()
                return f"{bread.loaves} in {self._name} on {activity.info().task_queue}"


        oven = register(Oven(name="the big oven"))


        @activity_defn(queue="bakery")
        @activity.defn(name="weigh")
        async def weigh_flour(bread: Bread) -> str:
            return f"{bread.loaves * 500} g on {activity.info().task_queue}"


        @workflow_defn(queue="bakery")
        @workflow.defn(name="Bake")
        class BakeWorkflow(BaseWorkflow[Bread, Baked]):
            \"\"\"Bakes bread.\"\"\"

            async def run(self, input: Bread) -> Baked:
                places = [
                    await self.execute_activity(weigh_flour, input),
                    await self.execute_activity(oven.bake, input),
                    await self.execute_activity_method(Oven.bake, input),
                ]
                return Baked(loaves=input.loaves, places=places)
    """,
}


def write_team(folder: Path) -> Path:
    """The team's checkout: config.yaml and the package `bakery`, which has no `__init__.py` either."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).lstrip())
    return folder
