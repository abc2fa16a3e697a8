"""One shared connection to Temporal for a whole process: made on first use, under a lock, and kept.

gRPC reconnects a made connection by itself, so the only thing to heal here is the first connect: it fails at once when
the server is away, and is tried again at the next call. The last failure is remembered for a moment, so that a burst
of requests does not become a burst of connects.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Plugin
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from app.core.config import named
from app.core.config.model import TemporalSettings
from app.core.services.temporal.plugin import fleet_plugins

FAILURE_MEMORY_S = 0.5


class TemporalUnavailable(ConnectionError):
    """Temporal cannot be used now; the text says where, why and how to mend it. `permanent`: retrying cannot help."""

    def __init__(self, address: str, cause: str, *, permanent: bool = False) -> None:
        super().__init__(cause)
        self.address = address
        self.permanent = permanent

    def __str__(self) -> str:
        return f"Temporal at {self.address} cannot be used: {self.args[0]}"


@dataclass(frozen=True)
class Health:
    """Outcome of one health check; `latency_s` is that of the two calls together."""

    ok: bool
    latency_s: float
    error: str = ""


class TemporalClientService:
    """Lazy, shared client. Safe to create before the server is up; one instance a process is enough."""

    def __init__(
        self,
        settings: TemporalSettings,
        *,
        plugins: Sequence[Plugin] | None = None,
        runtime: Runtime | None = None,
        identity: str | None = None,
    ) -> None:
        self._settings = settings
        self._plugins = fleet_plugins() if plugins is None else plugins
        self._runtime = runtime
        self._identity = identity
        self._lock = asyncio.Lock()
        self._client: Client | None = None
        self._failure: tuple[float, TemporalUnavailable] | None = None

    @property
    def address(self) -> str:
        return self._settings.address

    @property
    def namespace(self) -> str:
        return self._settings.namespace

    @property
    def rpc_timeout(self) -> timedelta:
        """Limit for one call on behalf of somebody who waits (temporal.rpc_timeout_s)."""
        return timedelta(seconds=self._settings.rpc_timeout_s)

    async def get_client(self) -> Client:
        """The connected client. Raises TemporalUnavailable; an attempt takes temporal.rpc_timeout_s at most."""
        if self._client is not None:
            return self._client
        async with self._lock:
            if self._client is None:
                if self._failure and time.monotonic() - self._failure[0] < FAILURE_MEMORY_S:
                    raise self._failure[1]
                try:
                    self._client = await self._connect()
                except TemporalUnavailable as failure:
                    self._failure = time.monotonic(), failure
                    raise
            return self._client

    async def health_check(self) -> Health:
        """Ask the server and the namespace; never raises. The server's own check says nothing about the namespace."""
        begin = time.monotonic()
        try:
            client = await self.get_client()
            await client.service_client.check_health(retry=False, timeout=self.rpc_timeout)
            await self._describe_namespace(client)
        except (TemporalUnavailable, RPCError, RuntimeError) as error:
            return Health(False, time.monotonic() - begin, _reason(error))
        return Health(True, time.monotonic() - begin)

    async def verify(self) -> Client:
        """The client, after server and namespace answered. Raises TemporalUnavailable with the reason."""
        client = await self.get_client()
        try:
            await self._describe_namespace(client)
        except (RPCError, RuntimeError) as error:
            raise TemporalUnavailable(self.address, _reason(error), permanent=_is_permanent(error)) from error
        return client

    async def close(self) -> None:
        """Let the connection go; the next call makes a new one."""
        self._client = None

    async def _describe_namespace(self, client: Client) -> None:
        request = DescribeNamespaceRequest(namespace=self.namespace)
        await client.workflow_service.describe_namespace(request, retry=False, timeout=self.rpc_timeout)

    async def _connect(self) -> Client:
        try:
            return await asyncio.wait_for(
                Client.connect(
                    self.address,
                    namespace=self.namespace,
                    plugins=self._plugins,
                    runtime=self._runtime,
                    identity=self._identity,
                ),
                timeout=self._settings.rpc_timeout_s,
            )
        except (RuntimeError, RPCError, TimeoutError) as error:
            raise TemporalUnavailable(self.address, _reason(error), permanent=_is_permanent(error)) from error


def _is_permanent(error: BaseException) -> bool:
    return isinstance(error, RPCError) and error.status in (
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
        RPCStatusCode.NOT_FOUND,
    )


def _reason(error: BaseException) -> str:
    text = str(error)
    if isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND:
        return f"{text} Create it, or set {named('temporal.namespace')}."
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if "Connection refused" in text or "ConnectError" in text:
        return f"nothing listens there. Start it, or set {named('temporal.address')}."
    return text
