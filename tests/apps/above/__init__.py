"""An activity in the package that holds a workflow's module: sharing the one must not share the other."""

from app.worker.registry import activity_defn


@activity_defn(queue="above")
async def ping(number: int) -> int:
    return number
