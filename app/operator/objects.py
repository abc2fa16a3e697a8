"""WorkerPools, Deployments and HorizontalPodAutoscalers of one release, as the API server last told of them.

kopf watches the first two; a list each minute puts right what a silent watch has missed. Only low-level event handlers:
all others put finalizers and annotations on the objects, and once the operator is gone `helm uninstall` hangs on them.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import kopf
from httpx2 import HTTPStatusError

from app.operator.kube import Kube
from app.operator.workerpool import GROUP, PLURAL, POOL_LABEL, VERSION, Body, slim

RELIST_S, REFUSED_S = 60.0, 10.0  # until the next list, and after one that was refused


@dataclass
class Objects:
    """By name. An object is replaced, never changed."""

    pools: dict[str, Body] = field(default_factory=dict)
    deployments: dict[str, Body] = field(default_factory=dict)
    autoscalers: dict[str, str] = field(default_factory=dict)  # Deployment -> HorizontalPodAutoscaler; not watched
    due_at: float = -1.0  # in monotonic seconds; below 0 nothing is listed yet
    refused: str = ""  # why the last list was

    async def refresh(self, kube: Kube) -> None:
        """List everything when due. Raises CrdMissing, httpx2's on a broken line or where a first list is refused."""
        if time.monotonic() < self.due_at:
            return
        try:
            await _put_right(self.pools, kube.list_pools())
            await _put_right(self.deployments, kube.list_deployments())
            self.autoscalers, self.refused = await kube.list_autoscalers(), ""
        except HTTPStatusError as error:  # too many requests, or a right that is gone: the watches tell all the same
            if self.due_at < 0:
                raise
            self.refused = f"not listed, only watched (HorizontalPodAutoscalers not even that): {error}"
        self.due_at = time.monotonic() + (REFUSED_S if self.refused else RELIST_S)


async def _put_right(known: dict[str, Body], listing: Awaitable[list[Body]]) -> None:
    """Make it what is listed, but for what the watch told of while the list was on its way."""
    before = dict(known)
    listed = {body["metadata"]["name"]: body for body in await listing}
    for name in before.keys() | listed.keys():
        # What is the same stays where it is in memory, and the list's own is given back as a whole.
        if known.get(name) is before.get(name) and known.get(name) != listed.get(name):
            known.pop(name, None)
            if name in listed:
                known[name] = listed[name]


def registry(objects: Objects, kube: Kube, on_start: Callable[[], None]) -> kopf.OperatorRegistry:
    """Handlers that keep `objects`, those of `kube`; `on_start` is called once kopf has set itself up."""
    handlers, labels, server = kopf.OperatorRegistry(), kube.selector, kube.client.config.cluster.server

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        # No rights on the cluster's CRDs and namespaces, hence no scanning.
        settings.scanning.disabled, settings.posting.enabled = True, False
        settings.queueing.idle_timeout = 0.2  # of the task that each changed object has; by itself 5 s
        settings.watching.server_timeout, settings.watching.client_timeout = 300, 330
        settings.networking.request_timeout, settings.networking.connect_timeout = 15, 5
        on_start()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        # kopf by itself asks the cluster's DNS for the API server. Projected tokens are renewed in their file.
        return info and replace(info, server=server, expiration=datetime.now(UTC) + timedelta(minutes=10))

    watch = partial(kopf.on.event, registry=handlers)
    watch(GROUP, VERSION, PLURAL, labels=labels)(partial(_keep, objects.pools))
    watch("apps", "v1", "deployments", labels={**labels, POOL_LABEL: kopf.PRESENT})(partial(_keep, objects.deployments))
    return handlers


async def _keep(kept: dict[str, Body], *, type: str | None, name: str, body: kopf.Body, **_: Any) -> None:
    if type != "DELETED":
        if kept.get(name) != (told := slim(dict(body))):  # else kopf's own is given back as a whole
            kept[name] = told
    elif name in kept and kept[name]["metadata"].get("uid") == body["metadata"].get("uid"):
        del kept[name]  # and not one of the same name that was made since
