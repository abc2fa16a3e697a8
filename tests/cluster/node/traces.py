"""What a node leaves on the machine outside its own namespaces: a control group, an interface, its folder."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .ranges import Ranges

_END_LIMIT_S = 20.0


@dataclass(frozen=True)
class Names:
    """Names that only this node uses: they follow from its folder, so that a later start finds a crashed one's."""

    cgroup: str
    interface: str


def names(folder: Path) -> Names:
    tag = hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return Names(cgroup=f"worker-fleet-{tag}", interface=f"wf-{tag}")


def make_groups(cgroup: str) -> list[str]:
    """Makes the node's control group in each hierarchy; the groups that its processes join (pods get others)."""
    join = []
    for root in _hierarchies():
        top = root / cgroup
        (top / "node").mkdir(parents=True)
        if (root / "cpuset.cpus").exists():
            # Version 1: an empty set admits no process, and is not inherited.
            for name in ("cpuset.cpus", "cpuset.mems"):
                for group in (top, top / "node"):
                    (group / name).write_text((root / name).read_text())
        if (root / "cgroup.controllers").exists():
            for group in (root, top):
                wanted = " ".join(f"+{each}" for each in (group / "cgroup.controllers").read_text().split())
                (group / "cgroup.subtree_control").write_text(wanted)
        join.append(str(top / "node"))
    return join


def make_link(interface: str, pid: int, ranges: Ranges) -> None:
    """Makes the link to the network of process `pid`, where its end is called node0, and the routes over it."""
    _ip("link", "add", interface, "type", "veth", "peer", "name", "node0", "netns", str(pid))
    _ip("address", "add", f"{ranges.host}/{ranges.link.rpartition('/')[2]}", "dev", interface)
    _ip("link", "set", interface, "up")
    for target in (ranges.pods, ranges.services):
        _ip("route", "add", target, "via", ranges.node, "dev", interface)


def has_link(interface: str) -> bool:
    """Whether this machine's end of the link is there."""
    return Path("/sys/class/net", interface).exists()


def processes(cgroup: str) -> set[int]:
    """Every process of the node and its pods, as the machine numbers them."""
    found: set[int] = set()
    for root in _hierarchies():
        # A pod's group may vanish at any moment: os.walk passes over it, where rglob raises.
        for group, _, _ in os.walk(root / cgroup):
            with contextlib.suppress(OSError):
                found.update(map(int, Path(group, "cgroup.procs").read_text().split()))
    return found


def memory_bytes(cgroup: str) -> int:
    """The resident memory of the node and its pods together; what processes share is counted for each."""
    pages = 0
    for pid in processes(cgroup):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def remove(folder: Path) -> None:
    """Ends and removes all that a node with this folder left. Raises RuntimeError when something stays."""
    mine = names(folder)
    _kill(mine.cgroup)
    if has_link(mine.interface):
        # The kernel may be taking it away at this moment, with the namespace at its other end.
        with contextlib.suppress(RuntimeError):
            _ip("link", "delete", mine.interface)
    _until(lambda: not has_link(mine.interface), f"the interface {mine.interface}")
    _until(lambda: _remove_groups(mine.cgroup), f"the control group {mine.cgroup}")
    for target in _mounts(folder):
        subprocess.run(["umount", "--lazy", target], check=False, capture_output=True)
    if left := _mounts(folder):
        # Deleting below a mount could delete what is not ours.
        raise RuntimeError(f"still mounted: {', '.join(left)}")
    if folder.exists():
        shutil.rmtree(folder)


def _kill(cgroup: str) -> None:
    def ended() -> bool:
        left = processes(cgroup)
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    _until(ended, f"processes of {cgroup}")


def _remove_groups(cgroup: str) -> bool:
    done = True
    for root in _hierarchies():
        groups = [root / cgroup, *(each for each in (root / cgroup).rglob("*") if each.is_dir())]
        for group in sorted(groups, reverse=True):
            try:
                group.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                done = False  # its last process is still on its way out
    return done


def _hierarchies() -> list[Path]:
    found = []
    for line in Path("/proc/mounts").read_text().splitlines():
        _, target, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            found.append(Path(target))
    return found


def _mounts(folder: Path) -> list[str]:
    """Mounts in or at the folder, the innermost first."""
    targets = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    below = [each for each in targets if each == str(folder) or each.startswith(f"{folder}/")]
    return sorted(below, reverse=True)


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")


def _until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _END_LIMIT_S
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not go within {_END_LIMIT_S:.0f} s")
        time.sleep(0.05)
