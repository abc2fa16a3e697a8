"""The `fleet` command. Subcommands import what they need when they run, so that `fleet --help` is quick."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from app.core.config import ConfigError, use
from app.core.exit import ExitCode, fail, finish
from app.core.telemetry import logs

if TYPE_CHECKING:
    from app.core.config import Settings


def main(argv: list[str] | None = None) -> None:
    """Entry point; leaves with the exit codes of app.core.exit."""
    arguments = _arguments(argv)
    # Warnings only: what the user should read, the commands print themselves.
    logs.configure("WARNING")
    from app.core.config.load import load_settings

    try:
        settings = use(load_settings(file=arguments.config, connects=False))
    except ConfigError as error:
        fail(error)
    try:
        finish(arguments.run(settings, arguments))
    except KeyboardInterrupt:
        finish(ExitCode.INTERRUPTED)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, metavar="FILE", help="settings (default: FLEET_CONFIG, ./config.yaml)")
    parser = argparse.ArgumentParser(prog="fleet", description="Worker Fleet for Temporal")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    dev = commands.add_parser("dev", parents=[common], help="run the whole fleet on this machine")
    dev.add_argument("--once", action="store_true", help="stop after the first order has completed")
    dev.add_argument("--load", type=_rate, default=0.0, metavar="N", help="place N orders a second")
    dev.add_argument("--no-order", action="store_true", help="place no first order")
    dev.set_defaults(run=_dev)

    queues = commands.add_parser("queues", parents=[common], help="list the task queues and their handlers")
    queues.add_argument("--json", action="store_true", help="for scripts")
    queues.add_argument("--manifest", action="store_true", help="the queue manifest of the Helm chart")
    queues.add_argument("--image-repository", default="worker-fleet", metavar="REPO", help="of the manifest")
    queues.set_defaults(run=_queues)

    config = commands.add_parser("config", parents=[common], help="print config.yaml with every setting explained")
    config.add_argument("--markdown", action="store_true", help="docs/configuration.md instead")
    config.set_defaults(run=_config)
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
    from app.core.config.review import warnings
    from app.worker.discovery import discover, undeclared
    from app.worker.registry import RegistrationError

    try:
        registry = discover(settings)
    except RegistrationError as error:
        fail(error)
    if arguments.manifest:
        from app.worker.manifest import manifest_yaml, queue_manifest

        print(manifest_yaml(queue_manifest(registry, settings, arguments.image_repository)), end="")
        return ExitCode.DRAINED
    queues = registry.queues()
    if arguments.json:
        view = {q: [{"kind": h.kind, "name": h.name, "where": h.where} for h in hs] for q, hs in queues.items()}
        print(json.dumps(view, indent=2))
        return ExitCode.DRAINED
    for queue, handlers in queues.items():
        print(queue)
        for handler in handlers:
            print(f"  {handler.kind:<9} {handler.name:<24} {handler.where}")
    for doubt in (
        *warnings(settings),
        *registry.doubtful_queues(),
        *undeclared(settings.temporal.worker.packages),
    ):
        print(f"warning: {doubt}")
    return ExitCode.DRAINED


def _config(settings: Settings, arguments: argparse.Namespace) -> int:
    from app.core.config.document import config_yaml
    from app.core.config.reference import configuration_md

    print(configuration_md() if arguments.markdown else config_yaml(settings), end="")
    return ExitCode.DRAINED


if __name__ == "__main__":
    main()
