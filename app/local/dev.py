"""`fleet dev`: Temporal, the workers, the autoscaler and the API on this machine, from the first line to the last.

Start: Temporal, then workers and API, then the autoscaler; stop in the order in which nothing is left waiting: API,
autoscaler, workers (drained), Temporal. Everything is a child process in a session of its own and dies with this one
(`children.py`); what is open in Temporal stays in its file and goes on at the next start.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Settings, named
from app.core.exit import ExitCode, fail
from app.core.ports import check_free, free_port
from app.core.services.temporal.asking import Asking
from app.core.services.temporal.temporal_client import TemporalClientService
from app.core.telemetry import tracing
from app.core.telemetry.runtime import client_runtime
from app.local import embedded, server
from app.local.children import Child, Children
from app.local.endings import first_to_end, must_stay, stop_on_signals
from app.local.fleet import WORKER_STAGE, ProcessFleet, WorkerRefused, worker_grace_s
from app.local.lock import AlreadyRunning, DataDirLock
from app.local.orders import Customer, Load, OrderFailed
from app.local.screen import Lines, Screen, screen
from app.scaling.autoscaler import Autoscaler
from app.scaling.demand import Observer
from app.worker.discovery import discover
from app.worker.registry import RegistrationError, Registry

API_STAGE = 0
TEMPORAL_STAGE = 2
API_GRACE_S = 15.0
TEMPORAL_GRACE_S = 10.0
READY_TIMEOUT_S = 60.0
HOST = "127.0.0.1"


@dataclass(frozen=True)
class DevOptions:
    """The command line of `fleet dev`; `load` is orders a second."""

    once: bool = False
    load: float = 0.0
    order: bool = True
    config: Path | None = None


@dataclass(frozen=True)
class Ports:
    """The ports in use, after 0 was replaced by a free one."""

    temporal: int
    ui: int
    api: int
    metrics: int


def run(settings: Settings, options: DevOptions) -> int:
    """Run the fleet until a signal (or, with `once`, until an order has completed); the exit code."""
    try:
        registry = discover(settings)
    except RegistrationError as error:
        fail(error)
    lock = DataDirLock(Path(settings.local.data_dir))
    try:
        lock.acquire(worker_grace_s(settings) + API_GRACE_S + TEMPORAL_GRACE_S, _say)
    except AlreadyRunning as error:
        fail(error)
    except OSError as error:
        fail(OSError(f"{settings.local.data_dir} cannot be used: {error.strerror}.\nSet {named('local.data_dir')}."))
    taken = check_free(
        {
            "local.temporal_port": (HOST, settings.local.temporal_port),
            "local.temporal_ui_port": (HOST, settings.local.temporal_ui_port),
            "local.metrics_port": (HOST, settings.local.metrics_port),
            "api.port": (settings.api.host, settings.api.port),
        }
    )
    if taken:
        fail(OSError("\n".join(taken)))
    # Logs of this run only: an earlier one's last words must not be taken for this one's.
    shutil.rmtree(Path(settings.local.data_dir) / "logs", ignore_errors=True)
    tracing.configure("fleet")
    embedded.forget_connection()
    return asyncio.run(Dev(settings, options, registry, lock).run())


class PartDied(RuntimeError):
    """A part of the fleet that should have stayed has ended."""


class Dev:
    """One run of the local fleet."""

    def __init__(self, settings: Settings, options: DevOptions, registry: Registry, lock: DataDirLock) -> None:
        self._options = options
        self._registry = registry
        self._lock = lock
        local = settings.local
        self._ports = Ports(
            local.temporal_port or free_port(HOST),
            local.temporal_ui_port or free_port(HOST),
            settings.api.port or free_port(HOST),
            local.metrics_port or free_port(HOST),
        )
        self._data = Path(local.data_dir).absolute()
        self._settings = settings.model_copy(
            update={
                "temporal": settings.temporal.model_copy(
                    update={"address": f"{HOST}:{self._ports.temporal}", **embedded.CONNECTION}
                ),
                "local": local.model_copy(update={"data_dir": str(self._data)}),
            }
        )
        self._customer = Customer(f"http://{settings.api.host}:{self._ports.api}")
        self._load = Load()
        self._screen: Screen = Lines()

    async def run(self) -> int:
        """Start everything, stay, stop everything in order; the exit code."""
        stop = asyncio.Event()
        stop_on_signals(stop)
        try:
            return await self._run(stop)
        except server.ServerFailed as error:
            _say(str(error), error=True)
            return ExitCode.CANNOT_CONNECT
        except WorkerRefused as error:
            _say(f"a worker cannot run:\n{error}", error=True)
            return ExitCode.USAGE
        except PartDied as error:
            _say(str(error), error=True)
            return ExitCode.POOL_DIED
        except OrderFailed as error:
            _say(str(error), error=True)
            return ExitCode.ORDER_FAILED

    async def _run(self, stop: asyncio.Event) -> int:
        graces = {
            API_STAGE: API_GRACE_S,
            WORKER_STAGE: worker_grace_s(self._settings),
            TEMPORAL_STAGE: TEMPORAL_GRACE_S,
        }
        async with (
            Children(
                cwd=Path.cwd(),
                graces=graces,
                guardian_log=self._data / "logs" / "guardian.log",
                lock_fd=self._lock.fileno(),
            ) as children,
            AsyncExitStack() as running,
        ):
            temporal = await self._start_temporal(children)
            fleet = ProcessFleet(children, self._settings, self._registry, self._env(), lambda s: self._screen.say(s))
            running.push_async_callback(fleet.stop)
            await fleet.start()
            autoscaling = await running.enter_async_context(self._autoscaling(fleet))
            api = await self._start_api(children)
            running.push_async_callback(_stop_api, children)
            work = asyncio.create_task(self._work(fleet))
            try:
                await first_to_end(
                    work,
                    fleet.refused,
                    asyncio.create_task(stop.wait()),
                    must_stay(temporal.wait(), server.ServerFailed(f"the Temporal server ended; see {temporal.log}")),
                    must_stay(api.wait(), PartDied(f"the API ended; see {api.log}")),
                    must_stay(asyncio.shield(autoscaling), PartDied("the autoscaler ended")),
                )
            finally:
                self._screen.close()
            _say("stopping: API, autoscaler, workers (drained), Temporal")
        return ExitCode.DRAINED

    def _env(self) -> dict[str, str]:
        env = {
            "FLEET_TEMPORAL__ADDRESS": self._settings.temporal.address,
            **embedded.VARIABLES,
            "FLEET_LOCAL__DATA_DIR": str(self._data),
            "FLEET_API__PORT": str(self._ports.api),
        }
        if self._options.config:
            env["FLEET_CONFIG"] = str(self._options.config.absolute())
        return env

    async def _start_temporal(self, children: Children) -> Child:
        try:
            argv = server.command(self._data, self._ports.temporal, self._ports.ui, self._settings.temporal.namespace)
        except server.TemporalMissing as error:
            raise server.ServerFailed(str(error)) from None
        child = await children.start(
            "temporal", argv, stage=TEMPORAL_STAGE, env=dict(os.environ), log=self._data / "logs" / "temporal.log"
        )
        address = self._settings.temporal.address
        await server.wait_ready(address, READY_TIMEOUT_S, child, self._settings.temporal.namespace)
        _say(f"temporal  {address}, data in {self._settings.local.data_dir}")
        return child

    async def _start_api(self, children: Children) -> Child:
        return await children.start(
            "api",
            [sys.executable, "-m", "app.api.http.main"],
            stage=API_STAGE,
            # No load balancer looks at it that would need time.
            env={**os.environ, **self._env(), "FLEET_API__SHUTDOWN_DELAY_S": "0", "OTEL_SERVICE_NAME": "api"},
            log=self._data / "logs" / "api.log",
        )

    @asynccontextmanager
    async def _autoscaling(self, fleet: ProcessFleet) -> AsyncIterator[asyncio.Task[None]]:
        from prometheus_client import start_http_server

        http, _thread = start_http_server(self._ports.metrics, HOST)
        service = TemporalClientService(self._settings.temporal, runtime=client_runtime())
        autoscaler = Autoscaler(
            service.get_client,
            fleet,
            Observer(Asking(), self._settings.temporal.worker.heartbeat_interval_s),
            poll_s=self._settings.local.poll_s,
        )
        stop = asyncio.Event()
        loop = asyncio.create_task(autoscaler.run(stop), name="autoscaler")
        try:
            yield loop
        finally:
            stop.set()
            await loop
            http.shutdown()

    async def _work(self, fleet: ProcessFleet) -> None:
        """What the user asked for: an order, a load, or just to stay; returns only with `once`."""
        await self._customer.reachable(READY_TIMEOUT_S)
        queues = ", ".join(f"{pool.queue} ({pool.wanted})" for pool in fleet.local_pools.values())
        _say(f"workers   {queues}")
        _say(f"api       http://{self._settings.api.host}:{self._ports.api}")
        if self._options.order and _has_orders(self._registry):
            await self._first_order()
        if self._options.once:
            return
        _say("Ctrl-C stops the fleet.")
        self._screen = screen()
        loading = (
            asyncio.create_task(self._customer.keep_placing(self._options.load, self._load))
            if self._options.load and _has_orders(self._registry)
            else None
        )
        try:
            while True:
                self._screen.show(fleet.local_pools.values(), self._load)
                await asyncio.sleep(0.5)
        finally:
            if loading:
                loading.cancel()

    async def _first_order(self) -> None:
        begin = time.monotonic()
        order_id = await self._customer.place()
        _say(f"order     {order_id} placed")
        result = (await self._customer.completed(order_id))["result"]
        _say(
            f"order     {order_id} completed in {time.monotonic() - begin:.1f} s: "
            f"{result['payment_id']}, {result['tracking_number']}"
        )
        ui = f"http://{HOST}:{self._ports.ui}/namespaces/{self._settings.temporal.namespace}/workflows/order-{order_id}"
        _say(f"  in Temporal  {ui}")
        _say(f"  API          http://{self._settings.api.host}:{self._ports.api}/docs")
        _say(f"  metrics      http://{HOST}:{self._ports.metrics}/metrics")
        _say(f"  another      {self._customer.curl()}")


async def _stop_api(children: Children) -> None:
    await children.stop_stage(API_STAGE, API_GRACE_S)


def _has_orders(registry: Registry) -> bool:
    return any(handler.name == "OrderWorkflow" for handlers in registry.queues().values() for handler in handlers)


def _say(line: str, *, error: bool = False) -> None:
    print(line, file=sys.stderr if error else sys.stdout, flush=True)
