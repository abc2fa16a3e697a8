"""kopf watches WorkerPools and their Deployments; this keeps `Objects` as they are now, and nothing more.

Only low-level event handlers: timers, daemons and handlers of creation or change would put finalizers and annotations
on the objects, and a `helm uninstall` would hang on them once the operator is gone. What a watch that fell silent has
missed is put right by a list once a minute (`Objects.relist`).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import kopf

from app.operator.objects import Objects
from app.operator.workerpool import GROUP, INSTANCE_LABEL, PLURAL, POOL_LABEL, VERSION

CREDENTIALS_S = 600.0
"""Projected tokens are renewed in their file; so long a copy of one is used."""


def registry(objects: Objects, release: str, on_start: Callable[[], None]) -> kopf.OperatorRegistry:
    """Handlers that keep `objects`, those of one release; `on_start` is called once kopf has set itself up."""
    handlers = kopf.OperatorRegistry()
    labels: dict[str, Any] = {INSTANCE_LABEL: release} if release else {}

    @kopf.on.startup(registry=handlers)
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        # No rights on the cluster's CRDs and namespaces, hence no scanning.
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.networking.request_timeout = 15
        settings.networking.connect_timeout = 5
        on_start()

    @kopf.on.login(registry=handlers)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        info = kopf.login_with_service_account(**kwargs)
        if info is None:
            return kopf.login_with_kubeconfig(**kwargs)
        # kopf would ask the cluster's DNS for the name of the API server.
        server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
        return dataclasses.replace(info, server=server, expiration=datetime.now(UTC) + timedelta(seconds=CREDENTIALS_S))

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=handlers, labels=labels)
    async def pool(type: str | None, body: kopf.Body, name: str | None, **_: Any) -> None:
        _keep(objects.pools, type, name or "", body)

    @kopf.on.event("apps", "v1", "deployments", registry=handlers, labels={**labels, POOL_LABEL: kopf.PRESENT})
    async def deployment(type: str | None, body: kopf.Body, name: str | None, **_: Any) -> None:
        _keep(objects.deployments, type, name or "", body)

    return handlers


def _keep(kept: dict[str, dict[str, Any]], event: str | None, name: str, body: kopf.Body) -> None:
    if event != "DELETED":
        kept[name] = dict(body)
    elif name in kept and kept[name]["metadata"].get("uid") == body["metadata"].get("uid"):
        # Not one of the same name that was made since.
        del kept[name]
