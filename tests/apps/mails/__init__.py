"""A team's package beside the example's: a task queue of its own."""

from __future__ import annotations

import socket

from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow


@activity_defn(queue="mails")
async def send_mail(address: str) -> str:
    """The host that sent it."""
    return socket.gethostname()


@workflow_defn(queue="mails")
class MailWorkflow(BaseWorkflow[str, str]):
    async def run(self, input: str) -> str:
        return await self.execute_activity(send_mail, input)
