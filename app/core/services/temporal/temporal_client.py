"""One shared connection to Temporal for a whole process: made on first use, by one task for all callers, and kept.

gRPC reconnects a made connection by itself, so there are two things to do here. The first connect fails at once when
the server is away: it is tried again at the next call, and the last failure is remembered for a moment, so that a burst
of requests does not become a burst of connects. The attempt belongs to no caller: one who gives up neither ends it nor
hides how it went. And certificates and API keys are renewed under a running process: the
files are looked at with the calls, and what is new in them is tried out before it replaces what works.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client, Plugin
from temporalio.runtime import Runtime
from temporalio.service import KeepAliveConfig, RetryConfig, RPCError, RPCStatusCode

from app.core.config.temporal import TemporalSettings
from app.core.services.temporal import connection
from app.core.services.temporal.connection import Credentials
from app.core.services.temporal.failures import TemporalDisabled, TemporalUnavailable, unavailable
from app.core.services.temporal.plugin import fleet_plugins

__all__ = ["Health", "TemporalClientService", "TemporalDisabled", "TemporalUnavailable"]

FAILURE_MEMORY_S = 0.5
LOOK_S = 3.0
"""How often, at most, the files are looked at; a kubelet takes a minute or so to write a renewed Secret."""

KEEP_ALIVE = KeepAliveConfig(interval_millis=15_000, timeout_millis=10_000)
"""A server that froze is noticed in 25 s, and calls that wait for it are made again. The SDK's own 45 s are more than
the 30 s after which its core gives up a call for good, and with it the result of an activity. Temporal bears a ping in
10 s (frontend.keepAliveMinTime)."""

log = logging.getLogger("app.temporal")

_Failures = (RPCError, RuntimeError, TimeoutError, ValueError, OSError)


@dataclass(frozen=True)
class Health:
    """Outcome of one health check; `latency_s` is that of the two calls together."""

    ok: bool
    latency_s: float
    error: str = ""
    namespace_missing: bool = False
    """Temporal answers, and says that there is no such namespace."""


class TemporalClientService:
    """Lazy, shared client. Safe to create before the server is up; one instance a process is enough.

    Ask for the client at each use instead of keeping it: after certificates were renewed it is another one. The one
    before goes when its last call has ended and nobody holds it any more.
    """

    def __init__(
        self,
        settings: TemporalSettings,
        *,
        plugins: Sequence[Plugin] | None = None,
        runtime: Runtime | None = None,
        identity: str | None = None,
        retry: RetryConfig | None = None,
    ) -> None:
        """`retry`: how the SDK repeats failed calls; None is its own way, up to 10 s a call."""
        self._settings = settings
        self._plugins = fleet_plugins() if plugins is None else plugins
        self._runtime = runtime
        self._identity = identity
        self._retry = retry
        self._attempt: asyncio.Task[Client] | None = None
        self._client: Client | None = None
        self._failure: tuple[float, TemporalUnavailable] | None = None
        self._credentials = Credentials()
        self._stamp: connection.Stamp = ()
        self._next_look = 0.0
        self._told = ""

    @property
    def is_enabled(self) -> bool:
        """False: the settings say that there is no Temporal, and every use raises TemporalDisabled."""
        return self._settings.enabled

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
        if not self.is_enabled:
            raise TemporalDisabled(self.address)
        if self._client is not None and (time.monotonic() < self._next_look or self._attempt):
            return self._client
        if self._attempt is None:
            self._attempt = asyncio.create_task(self._made())
            self._attempt.add_done_callback(self._ended)
        return await asyncio.shield(self._attempt)

    @asynccontextmanager
    async def limit(self, more_s: float = 0) -> AsyncIterator[None]:
        """temporal.rpc_timeout_s and `more_s` seconds for the block, on behalf of somebody who waits.

        Raises TemporalUnavailable when they have passed; a TimeoutError of the block's own goes through.
        """
        own = asyncio.timeout(self._settings.rpc_timeout_s + more_s)
        try:
            async with own:
                yield
        except TimeoutError as error:
            if not own.expired():
                raise
            raise unavailable(error, self._settings) from error

    async def health_check(self) -> Health:
        """Ask the server and the namespace; never raises. The server's own check says nothing about the namespace."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.rpc_timeout_s):
                client = await self.get_client()
                if not await client.service_client.check_health(retry=False, timeout=self.rpc_timeout):
                    raise TemporalUnavailable(self.address, "it runs and does not serve: see its log.")
                await self._describe_namespace(client)
        except _Failures as error:
            missing = isinstance(error, RPCError) and error.status == RPCStatusCode.NOT_FOUND
            return Health(False, time.monotonic() - begin, unavailable(error, self._settings).args[0], missing)
        return Health(True, time.monotonic() - begin)

    async def verify(self) -> Client:
        """The client, after server and namespace answered. Raises TemporalUnavailable with the reason."""
        client = await self.get_client()
        try:
            await self._describe_namespace(client)
        except _Failures as error:
            raise unavailable(error, self._settings) from error
        return client

    async def renew(self) -> Client:
        """A new connection, after server and namespace answered on it; the next calls use it.

        Raises TemporalUnavailable when they do not; then the connection stays as it is.
        """
        stamp = connection.stamp(self._settings)
        try:
            credentials = connection.read(self._settings)
            client = await self._connect(credentials)
            await self._describe_namespace(client)
        except _Failures as error:
            raise unavailable(error, self._settings) from error
        self._client, self._credentials, self._stamp, self._told = client, credentials, stamp, ""
        return client

    async def close(self) -> None:
        """Let the connection go; the next call makes a new one."""
        self._client = None

    async def _made(self) -> Client:
        self._client = await (self._renewed(self._client) if self._client else self._first())
        return self._client

    def _ended(self, attempt: asyncio.Task[Client]) -> None:
        self._attempt = None
        # Asked for, or asyncio would log a failure that no caller stayed to see.
        if not attempt.cancelled():
            attempt.exception()

    async def _first(self) -> Client:
        if self._failure and time.monotonic() - self._failure[0] < FAILURE_MEMORY_S:
            raise self._failure[1]
        stamp = connection.stamp(self._settings)
        try:
            credentials = connection.read(self._settings)
            client = await self._connect(credentials)
        except _Failures as error:
            failure = unavailable(error, self._settings)
            self._failure = time.monotonic(), failure
            raise failure from error
        self._credentials, self._stamp = credentials, stamp
        self._next_look = time.monotonic() + LOOK_S
        return client

    async def _renewed(self, client: Client) -> Client:
        """Take over what is new in the files if it works, else say so once and keep what we have."""
        try:
            if (stamp := connection.stamp(self._settings)) == self._stamp:
                return client
            if (fresh := connection.read(self._settings)) != self._credentials:
                client = await self._tried(client, fresh)
                log.info("Temporal at %s: renewed certificates or API key are in use", self.address)
            self._credentials, self._stamp, self._told = fresh, stamp, ""
        except _Failures as error:
            reason = unavailable(error, self._settings).args[0]
            if reason != self._told:
                log.warning(
                    "Temporal at %s: renewed credentials are left, the old stay in use: %s", self.address, reason
                )
            self._told = reason
        finally:
            self._next_look = time.monotonic() + LOOK_S
        return client

    async def _tried(self, client: Client, fresh: Credentials) -> Client:
        """A client that speaks with `fresh`, after the server took it. A new API key alone needs no new connection."""
        if dataclasses.replace(fresh, api_key=None) != dataclasses.replace(self._credentials, api_key=None):
            client = await self._connect(fresh)
            await self._describe_namespace(client)
        elif fresh.api_key:
            await self._describe_namespace(client, {"authorization": f"Bearer {fresh.api_key}"})
            client.api_key = fresh.api_key
        return client

    async def _describe_namespace(self, client: Client, metadata: Mapping[str, str] | None = None) -> None:
        request = DescribeNamespaceRequest(namespace=self.namespace)
        await client.workflow_service.describe_namespace(
            request, retry=False, metadata=metadata or {}, timeout=self.rpc_timeout
        )

    async def _connect(self, credentials: Credentials) -> Client:
        connecting = Client.connect(
            self.address,
            **connection.connect_keywords(self._settings, credentials),
            plugins=self._plugins,
            runtime=self._runtime,
            identity=self._identity,
            retry_config=self._retry,
            keep_alive_config=KEEP_ALIVE,
        )
        return await asyncio.wait_for(connecting, self._settings.rpc_timeout_s)
