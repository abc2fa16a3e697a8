"""WorkerPools, Deployments and HorizontalPodAutoscalers of one release, as the API server last told of them.

The watch keeps the first two; a list each minute puts right what a watch that fell silent has missed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.operator.kube import Kube
from app.operator.workerpool import POOL_LABEL

Body = dict[str, Any]
RELIST_S = 60.0


@dataclass
class Objects:
    """By name. An object is replaced, never changed."""

    pools: dict[str, Body] = field(default_factory=dict)
    deployments: dict[str, Body] = field(default_factory=dict)
    autoscalers: dict[str, str] = field(default_factory=dict)
    """Deployment -> HorizontalPodAutoscaler; not watched, seldom there."""
    listed_at: float = 0.0

    async def refresh(self, kube: Kube) -> None:
        """List everything, unless that was done within RELIST_S. Raises CrdMissing, ApiError."""
        if self.listed_at and time.monotonic() - self.listed_at < RELIST_S:
            return
        pools, deployments = dict(self.pools), dict(self.deployments)
        listed = {body["metadata"]["name"]: dict(body) for body in await kube.list_pools()}
        self.pools = _newer(self.pools, pools, listed)
        listed = {body["metadata"]["name"]: body for body in await kube.list_deployments()}
        self.deployments = _newer(self.deployments, deployments, listed)
        self.autoscalers = await kube.list_autoscalers()
        self.listed_at = time.monotonic()

    def deployments_of(self, pool: str) -> list[Body]:
        """The Deployments that name a pool as theirs."""
        return [d for d in self.deployments.values() if d["metadata"].get("labels", {}).get(POOL_LABEL) == pool]


def _newer(now: Mapping[str, Body], before: Mapping[str, Body], listed: Mapping[str, Body]) -> dict[str, Body]:
    """What was listed, but as the watch has it where it told of something while the list was on its way."""
    told = {name for name in now.keys() | before.keys() if now.get(name) is not before.get(name)}
    untold = {name: body for name, body in listed.items() if name not in told}
    return untold | {name: now[name] for name in told if name in now}
