"""A control group of a test's own, that limits the memory of the processes in it; cgroup v1 and v2.

Only groups that are made here are written to. Under v2 a group can have children with a memory limit only where its
`cgroup.subtree_control` says so already: it is not ours to change, so such a machine cannot run these tests.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.parts.skipping import skip_for_want_of

_MOUNT = Path("/sys/fs/cgroup")
_V1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
_V2 = ("memory.max", "memory.swap.max")


class CgroupMissing(RuntimeError):
    """No group can be made here; the text says why."""


class MemoryGroup:
    """A group whose processes have `limit_bytes` of memory together, and no swap."""

    def __init__(self, limit_bytes: int) -> None:
        """Raises CgroupMissing."""
        self.folder, limit, swap = _made()
        try:
            (self.folder / limit).write_text(str(limit_bytes))
        except OSError as error:
            self.folder.rmdir()
            raise CgroupMissing(f"{self.folder / limit} cannot be written: {error.strerror}") from error
        with suppress(OSError):  # a machine without swap may have no such file
            (self.folder / swap).write_text("0" if swap == "memory.swap.max" else str(limit_bytes))

    def add(self, pid: int) -> None:
        """Move a process, all of its threads, into the group; what it has already stays with its old one."""
        (self.folder / "cgroup.procs").write_text(str(pid))

    def close(self) -> None:
        """Remove the group once its processes have ended."""
        for _ in range(100):
            with suppress(OSError):
                self.folder.rmdir()
                return
            time.sleep(0.05)
        raise AssertionError(f"{self.folder} still has processes")


def _made() -> tuple[Path, str, str]:
    """A new group, and the names of its limits of memory and of memory with swap."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    v1 = next((path for names, path in own.items() if "memory" in names.split(",")), None)
    root = _MOUNT / "memory" if v1 is not None else _MOUNT
    path = v1 if v1 is not None else own.get("", "/")
    name = f"worker-fleet-test-{os.getpid()}-{time.monotonic_ns()}"
    # Inside a container the path may be that of the machine, which is not mounted: then the mount's root is ours.
    here = [root / path.lstrip("/"), *(root / path.lstrip("/")).parents]
    reasons = []
    for parent in [folder for folder in here if folder == root or root in folder.parents]:
        if not parent.is_dir():
            continue
        if v1 is None and "memory" not in _read(parent / "cgroup.subtree_control").split():
            reasons.append(f"{parent} gives its children no memory controller")
            continue
        try:
            (parent / name).mkdir()
        except OSError as error:
            reasons.append(f"{parent}: {error.strerror}")
            continue
        return parent / name, *(_V2 if v1 is None else _V1)
    raise CgroupMissing("; ".join(reasons) or f"no memory controller below {_MOUNT}")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""


@contextmanager
def memory_limited(limit_bytes: int) -> Iterator[MemoryGroup]:
    """A group while the block runs. Skips where none can be made."""
    try:
        group = MemoryGroup(limit_bytes)
    except CgroupMissing as error:
        skip_for_want_of("a memory cgroup", error)
    try:
        yield group
    finally:
        group.close()
