"""`python -m tests.cluster up|down|status|load TAR`: a Kubernetes that stays, for `make cluster`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from tests.parts.building import BuildFailed, GoMissing, cache_home, locked, say

from .node.node import Node, NodeFailed
from .node.packages import PackagesMissing, install, missing
from .node.pki import CONTEXT
from .node.ranges import NoFreeRange
from .tools import ToolMissing, tool

_ME = ".venv/bin/python -m tests.cluster"


def _usage(node: Node) -> str:
    kubectl = shlex.quote(str(tool("kubectl").parent))
    helm = shlex.quote(str(tool("helm").parent))
    return "\n".join(
        [
            f"A Kubernetes node is running, its files are in {node.folder}",
            f"  export KUBECONFIG={shlex.quote(str(node.kubeconfig))}    # cluster-admin: it stays in its folder",
            f"  export PATH={kubectl}:{helm}:$PATH",
            f"  pods reach servers of this machine at {node.ranges.host}, this machine reaches pods and Services",
            f"  tests on it: FLEET_TEST_CONTEXT={CONTEXT} FLEET_TEST_HOST_ADDRESS={node.ranges.host} \\",
            f"    FLEET_TEST_IMAGE_LOAD='{_ME} load' make test",
            f"  end it: {_ME} down",
        ]
    )


def _up(node: Node) -> int:
    if not node.running():
        if os.geteuid() != 0:
            say("a node needs root, for its namespaces and control groups")
            return 1
        # Packages of the system need a word of their own.
        if missing() and os.environ.get("FLEET_TEST_CLUSTER") != "build":
            say(f"not installed: {' '.join(missing())}")
            say("FLEET_TEST_CLUSTER=build lets this command install them with apt-get")
            return 1
        install()
        began = time.monotonic()
        node.start()
        say(f"started in {time.monotonic() - began:.0f} s")
    print(_usage(node))
    return 0


def _status(node: Node) -> int:
    if not node.running():
        print(f"not running; start it: {_ME} up")
        return 1
    print(_usage(node))
    print(f"  {len(node.processes())} processes, {node.memory_bytes() / 2**20:.0f} MiB")
    return 0


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog=_ME, description="A Kubernetes node on this machine that stays.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it, unless it is running, and print how to use it")
    commands.add_parser("down", help="end it and remove all that it left")
    commands.add_parser("status", help="exit 0 when it is running, 1 when not")
    commands.add_parser("load", help="give it an image").add_argument("tar", type=Path)
    args = parser.parse_args(argv)
    node = Node(cache_home() / "cluster")
    try:
        with locked(node.folder.with_suffix(".lock")):
            if args.command == "up":
                return _up(node)
            if args.command == "status":
                return _status(node)
            if args.command == "load":
                print("\n".join(node.load_image(args.tar)))
            else:
                node.stop()
    except (BuildFailed, GoMissing, NodeFailed, NoFreeRange, OSError, PackagesMissing, ToolMissing) as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
