"""`Idempotency-Key`: a start that is sent again, because its answer was lost, is answered as the first time.

Temporal is the store: the digests of key and request lie in the memo of the workflow that the first one started, so
they live as long as it does, and every process of the API knows them. They are found by the workflow's id: a key that
comes with another id is another start. Rejected: a table of answers, one more thing to run, to back up and to expire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Header, HTTPException
from pydantic import BaseModel
from temporalio.client import Client
from temporalio.exceptions import WorkflowAlreadyStartedError

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255)]
"""For a route's parameter `idempotency_key`."""

_KEY = "idempotency-key"
_REQUEST = "idempotency-request"


class Idempotent:
    """One request to start a workflow: `memo` goes into the start, `repeated` tells what became of a refused one."""

    def __init__(self, key: str | None, request: BaseModel) -> None:
        # What was said, without defaults: a deploy between the two may have brought new ones, or they are made anew.
        said = request.model_dump_json(exclude_unset=True)
        self._memo = {_KEY: _digest(key), _REQUEST: _digest(said)} if key else {}

    @property
    def memo(self) -> Mapping[str, Any] | None:
        """Digests only; None without a key."""
        return self._memo or None

    async def repeated(self, client: Client, taken: WorkflowAlreadyStartedError) -> str:
        """The run id of the workflow that this very request has started before.

        Raises `taken` when it was started without this key, and HTTPException 422 when by another request with it.
        """
        if not self._memo:
            raise taken
        description = await client.get_workflow_handle(taken.workflow_id).describe()
        if await description.memo_value(_KEY, "") != self._memo[_KEY]:
            raise taken
        if await description.memo_value(_REQUEST, "") != self._memo[_REQUEST]:
            raise HTTPException(422, "This Idempotency-Key came before, with another request: make a new key for it.")
        return description.raw_description.workflow_execution_info.first_run_id


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
