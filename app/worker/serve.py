"""The `serve` command: arguments and settings in, an exit code out; what it does is the manager's work."""

from __future__ import annotations

import argparse
import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

from app.core.config import ConfigError, Settings, use
from app.core.config.load import load_settings
from app.core.config.resolve import without_override, worker_settings
from app.core.config.review import warnings
from app.core.exit import ExitCode, fail, finish
from app.core.telemetry import logs, tracing
from app.worker.check import checked
from app.worker.discovery import undeclared
from app.worker.drain import DrainBudget, Watchdog, on_signals
from app.worker.health import probe_server
from app.worker.in_flight import InFlight
from app.worker.manager import WorkerManager
from app.worker.registry import RegistrationError

log = logging.getLogger("app.worker.serve")


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m app.worker.main", description="Worker Fleet for Temporal: the worker process."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="run the workers of some or all task queues until SIGTERM")
    serve.add_argument("--queue", action="append", metavar="Q", help="a task queue to serve; repeatable (default: all)")
    serve.add_argument("--drain-timeout", type=float, metavar="S", help="temporal.worker.drain_timeout_s, in seconds")
    serve.add_argument("--connect-timeout", type=float, metavar="S", help="give up when Temporal is away for so long")
    serve.add_argument("--config", type=Path, metavar="FILE", help="settings (default: FLEET_CONFIG, ./config.yaml)")
    serve.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Entry point; leaves with the exit codes of app.core.exit."""
    arguments = _arguments(argv)
    logs.configure(arguments.log_level)
    overrides: dict[str, Any] = {}
    if arguments.drain_timeout is not None:
        overrides = {"temporal": {"worker": {"drain_timeout_s": arguments.drain_timeout}}}
    try:
        settings = load_settings(overrides, file=arguments.config)
        if overrides:
            settings = without_override(settings, "worker", "drain_timeout_s")
        use(settings)
    except ConfigError as error:
        fail(error)
    # Each pool is a service of its own in traces.
    tracing.configure(f"worker-{arguments.queue[0]}" if len(arguments.queue or ()) == 1 else "worker")
    code = _serve(settings, arguments.queue, arguments.connect_timeout)
    finish(code, flush_s=settings.temporal.worker.flush_timeout_s)


def _serve(settings: Settings, queues: list[str] | None, connect_timeout_s: float | None) -> ExitCode:
    try:
        registry = checked(settings, queues or ())
    except RegistrationError as error:
        fail(error)
    for doubt in (*warnings(settings), *registry.doubtful_queues(), *undeclared(settings.temporal.worker.packages)):
        log.warning(doubt)
    serving = list(dict.fromkeys(queues or registry.queues()))
    in_flight = InFlight()
    worker = settings.temporal.worker
    budget = DrainBudget(
        max(worker_settings(settings, queue).drain_timeout_s for queue in serving),
        worker.unwind_timeout_s,
        worker.flush_timeout_s,
    )
    watchdog = Watchdog(budget, lambda: [str(body) for body in list(in_flight.running.values())])
    manager = WorkerManager(registry, settings, serving, in_flight, lambda: watchdog.arm(ExitCode.POOL_DIED))
    try:
        health = probe_server(manager.state, worker.health_host, worker.health_port)
    except OSError as error:
        fail(error)
    health.start()
    log.info("health and metrics on %s", health.address)

    async def run() -> ExitCode:
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()

        def request_stop(name: str) -> None:
            # The deadline first: whatever comes after it may block.
            watchdog.arm()
            manager.state.phase = "draining"  # readiness goes at once, even while the loop is blocked
            with suppress(RuntimeError):  # the loop has closed: the process is leaving already
                loop.call_soon_threadsafe(stop.set)
            log.info("drain: %s received; %g s for the work in hand", name, budget.drain_s)

        on_signals(request_stop)
        return await manager.run(stop, connect_timeout_s=connect_timeout_s)

    try:
        return asyncio.run(run())
    except RegistrationError as error:
        fail(error)
