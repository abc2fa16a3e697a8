"""The node's first process, in namespaces of its own for processes, mounts and network.

It runs as `python inside.py SPEC`, without the project, mounts what hides the machine's own folders, sets the addresses
and starts each component, anew whenever one ends. Killed, it takes all processes, mounts and interfaces with it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_AGAIN_S = 1.0
_STEADY_S = 30.0
_ENDS_AT_MOST = 8  # in a row, none after _STEADY_S: it will not run at all
_LOOK_S = 0.05
_HIDDEN = ("/etc", "/opt", "/usr/libexec", "/var")
# The kubelet insists on these, and would write them for the whole machine: it is shown a file with what it wants.
_KERNEL = {
    "vm/overcommit_memory": "1",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _hide(keep: list[str]) -> None:
    """Whatever is written to /run, /etc, /opt, /usr/libexec or /var stays in memory, and ends with the node.

    Sockets, locks and the pods' network namespaces go to /run; several components make folders of a fixed name in the
    others. `keep`: folders that stay as they are, even in there.
    """
    _run("mount", "-t", "tmpfs", "tmpfs", "/run")
    kept = {path: Path(f"/run/kept/{number}") for number, path in enumerate(keep)}
    for path, copy in kept.items():
        copy.mkdir(parents=True)
        _run("mount", "--bind", path, str(copy))
    for number, target in enumerate(_HIDDEN):
        upper, work = Path(f"/run/hidden/{number}/upper"), Path(f"/run/hidden/{number}/work")
        upper.mkdir(parents=True)
        work.mkdir()
        _run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={target},upperdir={upper},workdir={work}", target)
    for path, copy in kept.items():
        _run("mount", "--bind", str(copy), path)


def _mount(folder: Path) -> None:
    # The containers' logs may be large.
    logs = folder / "var-log"
    logs.mkdir()
    _run("mount", "--bind", str(logs), "/var/log")
    for name, value in _KERNEL.items():
        shown = folder / "kernel" / name
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(f"{value}\n")
        _run("mount", "--bind", str(shown), f"/proc/sys/{name}")


def _address(node: str, link: str) -> None:
    _run("ip", "link", "set", "lo", "up")
    _run("ip", "address", "add", f"{node}/{link.rpartition('/')[2]}", "dev", "node0")
    _run("ip", "link", "set", "node0", "up")
    # No default route: nothing of the node reaches further than this machine.
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _accepts(target: str) -> bool:
    family = socket.AF_UNIX if target.startswith("/") else socket.AF_INET
    host, _, port = target.rpartition(":")
    with socket.socket(family) as probe:
        probe.settimeout(1)
        try:
            probe.connect(target if family == socket.AF_UNIX else (host, int(port)))
        except OSError:
            return False
        return True


def _start(argv: list[str], env: dict[str, str], log: Path) -> int:
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(argv[0], argv, env, file_actions=actions)


def _reap() -> set[int]:
    # A container's parent leaves its children to the first process: these are reaped here as well.
    ended: set[int] = set()
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        ended.add(pid)


def _keep_running(components: list[dict[str, Any]], env: dict[str, str], logs: Path) -> None:
    running: dict[str, int] = {}
    not_before = {each["name"]: 0.0 for each in components}
    ends = {each["name"]: 0 for each in components}
    since: dict[str, float] = {}
    while True:
        ended = _reap()
        for name, pid in list(running.items()):
            if pid in ended:
                del running[name]
                not_before[name] = time.monotonic() + _AGAIN_S
                ends[name] = 1 if time.monotonic() - since[name] > _STEADY_S else ends[name] + 1
                if ends[name] == _ENDS_AT_MOST:
                    sys.exit(f"{name} ended {_ENDS_AT_MOST} times in a row")
        for each in components:
            name = each["name"]
            due = name not in running and time.monotonic() >= not_before[name]
            if due and all(_accepts(target) for target in each["after"]):
                running[name] = _start(each["argv"], env, logs / f"{name}.log")
                since[name] = time.monotonic()
        time.sleep(_LOOK_S)


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(spec["folder"])
    for group in spec["cgroups"]:
        # 0 is the process that writes.
        Path(group, "cgroup.procs").write_text("0")
    # The starter makes the link once this process is there. Without the word it is gone: so is this.
    print("here", flush=True)
    if sys.stdin.readline().strip() != "linked":
        return
    os.environ["PATH"] = spec["env"]["PATH"]
    _hide(spec["keep"])
    _mount(folder)
    _address(spec["node"], spec["link"])
    logs = folder / "log"
    logs.mkdir(exist_ok=True)
    _keep_running(spec["components"], spec["env"], logs)


if __name__ == "__main__":
    main()
