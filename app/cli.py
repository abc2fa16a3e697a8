"""The `fleet` command: arguments in, an exit code out; what a command does is the work of the module that it imports.

Subcommands import what they need when they run, so that `fleet --help` is quick.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from app.core.config import ConfigError, use
from app.core.exit import ExitCode, fail, finish
from app.core.telemetry import logs

if TYPE_CHECKING:
    from app.core.config import Settings
    from app.worker.problems import RegistrationError

log = logging.getLogger("app.cli")

_CODES = "exit codes: 0 all is well, 2 something is wrong (all of it is listed), 4 Temporal cannot be used"


def main(argv: list[str] | None = None) -> None:
    """Entry point; leaves with the exit codes of app.core.exit."""
    arguments = _arguments(argv)
    if (here := str(Path.cwd())) not in sys.path:
        # As `python -m` does: the user's own package lies here, and an installed script looks only beside itself.
        sys.path.insert(0, here)
    # Warnings only: what the user should read, the commands print themselves.
    logs.configure("WARNING")
    from app.core.config.load import load_settings

    as_json = getattr(arguments, "json", False)
    try:
        settings = use(load_settings(file=arguments.config, connects=getattr(arguments, "server", False)))
    except ConfigError as error:
        _refuse(error, as_json)
    from app.worker.problems import RegistrationError

    try:
        finish(arguments.run(settings, arguments))
    except RegistrationError as error:
        _refuse(error, as_json)
    except KeyboardInterrupt:
        finish(ExitCode.INTERRUPTED)
    except Exception:  # a mistake of ours: the interpreter's own exit may crash
        log.exception("this command cannot go on")
        finish(1)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="settings (default: FLEET_CONFIG, ./config.yaml)")
    parser = argparse.ArgumentParser(prog="fleet", description="Worker Fleet for Temporal")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, summary: str, examples: str = "") -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            parents=[common],
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        return made

    dev = command(
        "dev", _dev, "run the whole fleet on this machine", "examples:\n  fleet dev --once\n  fleet dev --load 4"
    )
    dev.add_argument("--once", action="store_true", help="stop after the first order has completed")
    dev.add_argument("--load", type=_rate, default=0.0, metavar="N", help="place N orders a second")
    dev.add_argument("--no-order", action="store_true", help="place no first order")

    queues = command(
        "queues",
        _queues,
        "list the task queues, their handlers and options",
        "examples:\n  fleet queues\n  fleet queues --json | jq '.orders.worker'\n"
        "  fleet queues --manifest --image-repository registry.example/shop >queues.yaml",
    )
    shape = queues.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="for scripts: queue -> handlers, worker and scaling options")
    shape.add_argument("--manifest", action="store_true", help="the queue manifest of the Helm chart")
    queues.add_argument("--image-repository", default="worker-fleet", metavar="REPO", help="of the manifest")

    describe = command(
        "describe",
        _describe,
        "show one workflow or activity: queue, types, signals, options",
        "examples:\n  fleet describe OrderWorkflow\n  fleet describe charge_payment --json | jq '.[0].options'",
    )
    describe.add_argument("name", metavar="NAME", help="type name of a workflow or activity")
    describe.add_argument("--json", action="store_true", help="for scripts: a list, one entry a queue that has it")

    check = command(
        "check",
        _check,
        "find what would keep workers from serving, without starting any",
        f"examples:\n  fleet check\n  fleet check --server --json\n\n{_CODES}",
    )
    check.add_argument("--server", action="store_true", help="ask Temporal too: does it answer, is the namespace there")
    check.add_argument("--json", action="store_true", help="for scripts: ok, problems, warnings, server")

    config = command("config", _config, "print config.yaml with every setting explained")
    config.add_argument("--markdown", action="store_true", help="docs/configuration.md instead")
    return parser.parse_args(argv)


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 <= rate <= 1000:
        raise argparse.ArgumentTypeError("between 0 and 1000")
    return rate


def _dev(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.local.dev import DevOptions, run

    return run(settings, DevOptions(arguments.once, arguments.load, not arguments.no_order, arguments.config))


def _queues(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.worker.discovery import discover, doubts
    from app.worker.queues import listing, task_queues

    registry = discover(settings)
    if arguments.manifest:
        from app.worker.manifest import manifest_yaml, queue_manifest

        print(manifest_yaml(queue_manifest(registry, settings, arguments.image_repository)), end="")
        return ExitCode.DRAINED
    queues = task_queues(registry, settings)
    if arguments.json:
        print(json.dumps({name: queue.as_json() for name, queue in queues.items()}, indent=2))
        return ExitCode.DRAINED
    print(listing(queues))
    for doubt in doubts(settings):
        print(f"warning: {doubt}")
    return ExitCode.DRAINED


def _describe(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.worker.describe import as_text, describe
    from app.worker.discovery import discover

    found = describe(discover(settings), settings, arguments.name)
    print(json.dumps(found, indent=2) if arguments.json else "\n\n".join(map(as_text, found)))
    return ExitCode.DRAINED


def _check(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.worker.check import ask_server, check

    report = check(settings)
    if arguments.server:
        report = asyncio.run(ask_server(settings, report))
    print(json.dumps(report.as_json(), indent=2) if arguments.json else report)
    return report.code


def _config(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.core.config.document import config_yaml
    from app.core.config.reference import configuration_md

    print(configuration_md() if arguments.markdown else config_yaml(settings), end="")
    return ExitCode.DRAINED


def _refuse(error: ConfigError | RegistrationError, as_json: bool) -> NoReturn:
    """Say what is wrong in the form that was asked for, and leave with 2."""
    if as_json:
        problems = [vars(problem) for problem in error.problems]
        print(json.dumps({"ok": False, "problems": problems}, indent=2))
        finish(ExitCode.USAGE)
    fail(error)


if __name__ == "__main__":
    main()
