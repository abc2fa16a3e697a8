"""The `serve` command: arguments and settings in, an exit code out; what it does is the manager's work."""

from __future__ import annotations

import argparse
import asyncio
import logging
import math
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from app.core.config import ConfigError, Settings, named, use
from app.core.config.load import load_settings
from app.core.config.resolve import without_override, worker_settings
from app.core.exit import ExitCode, fail, finish
from app.core.telemetry import logs, tracing
from app.worker import blocked, memory, sdk_logs
from app.worker.check import checked
from app.worker.discovery import doubts
from app.worker.drain import DrainBudget, Watchdog, on_signals
from app.worker.health import probe_server
from app.worker.in_flight import InFlight
from app.worker.manager import WorkerManager, identity
from app.worker.registry import Problem, RegistrationError
from app.worker.release import Release
from app.worker.reload import NO_DRAIN_S, Places, Reloader, end_with

log = logging.getLogger("app.worker.serve")


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:  # false for nan too
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return value


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m app.worker.main",
        description="Worker Fleet for Temporal: the worker process.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser(
        "serve", help="run the workers of some or all task queues until SIGTERM", allow_abbrev=False
    )
    serve.add_argument("--queue", action="append", metavar="Q", help="a task queue to serve; repeatable (default: all)")
    serve.add_argument(
        "--drain-timeout", type=_seconds, metavar="S", help="temporal.worker.drain_timeout_s, in seconds"
    )
    serve.add_argument(
        "--connect-timeout", type=_seconds, metavar="S", help="give up when Temporal is away for so long"
    )
    serve.add_argument("--config", type=Path, metavar="FILE", help="settings (default: FLEET_CONFIG, ./config.yaml)")
    levels = ["DEBUG", "INFO", "WARNING", "ERROR"]
    serve.add_argument("--log-level", default="INFO", type=str.upper, choices=levels, help="the least that is logged")
    serve.add_argument(
        "--reload", action="store_true", help="for development: begin anew when a Python file or config.yaml changes"
    )
    serve.add_argument("--while-open", type=int, metavar="FD", help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def _reload(argv: list[str], arguments: argparse.Namespace) -> NoReturn:
    """Be the parent of a worker that is replaced when its code changes."""
    own = [word for word in argv if word != "--reload"]
    if arguments.drain_timeout is None:
        own += ["--drain-timeout", str(NO_DRAIN_S)]
    command = [sys.executable, "-m", "app.worker.main", *own]
    finish(Reloader(command, Places(arguments.config)).run())


def main(argv: list[str] | None = None) -> None:
    """Entry point; leaves with the exit codes of app.core.exit."""
    arguments = _arguments(argv)
    logs.configure(arguments.log_level)
    if arguments.reload:
        _reload(sys.argv[1:] if argv is None else argv, arguments)
    sdk_logs.install()
    if arguments.while_open is not None:
        try:
            end_with(arguments.while_open)
        except OSError as error:
            what = f"--while-open {arguments.while_open}: {error.strerror}. It is for --reload, which gives it."
            fail(OSError(what))
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
    if not settings.temporal.enabled:
        what, remedy = (
            "there is no Temporal to serve: it is false",
            f"Set {named('temporal.enabled')}, or start no worker.",
        )
        fail(RegistrationError([Problem("temporal.enabled", what, remedy)]))
    # Each pool is a service of its own in traces.
    tracing.configure(f"worker-{arguments.queue[0]}" if len(arguments.queue or ()) == 1 else "worker")
    _serve(settings, arguments.queue, arguments.connect_timeout, drain_chosen=arguments.drain_timeout is not None)


def _serve(
    settings: Settings, queues: list[str] | None, connect_timeout_s: float | None, *, drain_chosen: bool
) -> NoReturn:
    try:
        registry = checked(settings, queues or (), drain_chosen=drain_chosen)
    except RegistrationError as error:
        fail(error)
    serving = list(dict.fromkeys(queues or registry.queues()))
    for doubt in doubts(settings, serving, drain_chosen=drain_chosen):
        log.warning(doubt)
    in_flight = InFlight()
    worker = settings.temporal.worker
    budget = DrainBudget(
        max(worker_settings(settings, queue).drain_timeout_s for queue in serving),
        worker.unwind_timeout_s,
        worker.flush_timeout_s,
    )
    watchdog = Watchdog(budget, in_flight, Release(settings.temporal, in_flight, identity(settings)))
    manager = WorkerManager(registry, settings, serving, in_flight, watchdog.arm)
    try:
        health = probe_server(manager.state, worker.health_host, worker.health_port)
    except OSError as error:
        fail(error)
    health.start()
    blocked.watch(manager.state)
    memory.watch(worker.max_memory)

    async def run() -> NoReturn:
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
        try:
            code = await manager.run(stop, connect_timeout_s=connect_timeout_s)
        except Exception:  # a mistake of ours: the interpreter's own exit would wait for every thread
            log.exception("this worker cannot go on")
            code = ExitCode.POOL_DIED
        # From here, not after the loop: asyncio.run would wait for every thread that an activity has left behind.
        finish(code, flush_s=worker.flush_timeout_s)

    asyncio.run(run())
    raise AssertionError("unreachable")
