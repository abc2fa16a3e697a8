from app.worker.registry import activity_defn


@activity_defn(queue="twins", name="pay")
async def pay_by_card(_amount: int) -> None: ...
