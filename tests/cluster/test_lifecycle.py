"""Starts and ends of a node: twice in a row, after a crash, and without a trace on the machine."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from .client import Cluster
from .fixtures import own_node, seen, skip_unless_node_wanted
from .node import image, traces
from .node.build import programs
from .node.node import Node
from .node.pki import CONTEXT

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]  # the first run builds Kubernetes

_GONE_LIMIT_S = 20.0
_SYSCTLS = (
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "net/ipv4/ip_forward",
    "net/netfilter/nf_conntrack_max",
    "vm/overcommit_memory",
)
# Others may mount and make files meanwhile: these are what a node is known to make, where nothing hides it.
_MOUNTS = "worker-fleet|containerd|kubelet|cni|/proc/sys|^tmpfs /run |/var/log"
_FOLDERS = (
    "/opt/cni",
    "/opt/containerd",
    "/run/containerd",
    "/run/netns",
    "/usr/libexec/kubernetes",
    "/var/lib/cni",
    "/var/lib/containerd",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/var/run/kubernetes",
)
_REPO = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def node(pytestconfig: pytest.Config) -> Iterator[Node]:
    """A node that is none of the other tests'. It is not started."""
    skip_unless_node_wanted()
    with contextlib.ExitStack() as stack:
        with seen(pytestconfig):
            mine = stack.enter_context(own_node("cluster-of-lifecycle-tests"))
        yield mine


def _alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def _command(*args: str) -> set[str]:
    done = subprocess.run(args, check=True, capture_output=True, text=True)
    # iptables-save counts packets and says the time.
    lines = (re.sub(r"\[\d+:\d+\]", "", line) for line in done.stdout.splitlines())
    return {line for line in lines if not line.startswith("#")}


def _namespaces(pids: Iterable[object]) -> set[str]:
    found = set()
    for each in (name for pid in pids for name in Path(f"/proc/{pid}/ns").glob("*")):
        with contextlib.suppress(OSError):
            found.add(os.readlink(each))
    return found


def _sysctls() -> set[str]:
    paths = [Path("/proc/sys", name) for name in _SYSCTLS]
    return {f"{path}={path.read_text().strip()}" for path in paths if path.exists()}


def _machine() -> dict[str, set[str]]:
    """All of this machine that a node could leave its mark on."""
    # Unlike rglob, walk passes over a group that goes meanwhile.
    groups = [folder for folder, _, _ in os.walk("/sys/fs/cgroup")]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return {
        "control groups": set(groups),
        "folders": {each for each in _FOLDERS if Path(each).exists()},
        "interfaces": {each.name for each in Path("/sys/class/net").iterdir()},
        "iptables": _command("iptables-save") | _command("ip6tables-save"),
        "mounts": {each for each in mounts if re.search(_MOUNTS, each)},
        "routes": _command("ip", "route", "show", "table", "all") | _command("ip", "rule"),
        "sysctls": _sysctls(),
    }


def _other(mark: str, mine: traces.Names) -> bool:
    """Whether it is the mark of a node of another run."""
    return bool(set(re.findall(r"\b(?:worker-fleet|wf)-[0-9a-f]{8}\b", mark)) - {mine.cgroup, mine.interface})


def _left_since(before: dict[str, set[str]], node: Node) -> dict[str, set[str]]:
    """What is there now and was not before. Waits for what goes by itself: others use this machine as well."""
    mine = traces.names(node.folder)
    deadline = time.monotonic() + _GONE_LIMIT_S
    while True:
        new = {kind: found - before[kind] for kind, found in _machine().items()}
        left = {
            kind: kept for kind, found in new.items() if (kept := {each for each in found if not _other(each, mine)})
        }
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.5)


def _run_a_pod(node: Node, home: Path) -> None:
    cluster = Cluster(node.kubeconfig, CONTEXT, home, node.load_image, node.ranges.host, ours=True)
    (name,) = cluster.load_image(
        image.write(home / "probe.tar", "localhost/probe:1", {"probe": programs() / "probe"}, ["/probe"])
    )
    container = {"name": "main", "image": name, "imagePullPolicy": "Never", "args": ["serve", ":8080", "here"]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "left"}, "spec": {"containers": [container]}}
    cluster.kubectl("wait", "sa/default", "--for=create", "--timeout=30s")
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(pod))
    cluster.kubectl("wait", "pod/left", "--for=condition=Ready", "--timeout=60s")


def test_nothing_is_left_of_a_node_that_ended_with_a_pod_running(node: Node, tmp_path: Path) -> None:
    before = _machine()
    node.start()
    assert set(_left_since(before, node)) >= {"control groups", "interfaces", "routes"}
    _run_a_pod(node, tmp_path)
    pids = node.processes()
    assert len(pids) > 10  # eight components, their first process, the pod's two
    own = _namespaces(pids) - _namespaces(["self"])
    assert {"net", "mnt", "pid"} <= {each.partition(":")[0] for each in own}

    node.stop()
    assert _alive(pids) == set()
    assert own & _namespaces(each.name for each in Path("/proc").glob("[0-9]*")) == set()
    assert _left_since(before, node) == {}
    assert not node.folder.exists()


def test_a_second_start_in_a_row_makes_a_new_node(node: Node) -> None:
    node.start()
    first = node.processes()
    node.start()
    assert _alive(first) == set()
    assert node.running()


def test_a_node_starts_after_all_of_it_was_killed(node: Node) -> None:
    node.start()
    pids = node.processes()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    # As another session would.
    later = Node(node.folder)
    assert not later.running()
    later.start()
    assert later.running()
    later.stop()


def test_a_node_whose_starter_was_killed_is_ended_by_the_next_start(node: Node) -> None:
    start = "import sys, time; from pathlib import Path; from tests.cluster.node.node import Node\n"
    start += "Node(Path(sys.argv[1])).start(); print('started', flush=True); time.sleep(600)"
    starter = subprocess.Popen(
        [sys.executable, "-c", start, str(node.folder)], cwd=_REPO, stdout=subprocess.PIPE, text=True
    )
    try:
        assert starter.stdout
        assert starter.stdout.readline() == "started\n"
    finally:
        starter.kill()
        starter.communicate()
    orphans = traces.processes(traces.names(node.folder).cgroup)
    assert node.running()
    node.start()
    assert _alive(orphans) == set()
    assert node.running()


def test_the_end_of_no_node_is_no_error(node: Node) -> None:
    node.stop()
    node.stop()
    assert not node.running()
