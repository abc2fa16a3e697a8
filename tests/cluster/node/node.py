"""A real Kubernetes of one node on this machine, in namespaces of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.cluster.dns import server as dns
from tests.parts.building import cache_home, locked

from . import image, pki, traces
from .api import Api
from .build import programs
from .components import AUDIT_LOG, PAUSE_IMAGE, Layout, components, write_configs
from .packages import PATH, PackagesMissing, cni_folder, missing
from .ranges import Ranges, free, taken

_START_LIMIT_S = 180.0  # 5 s on a quiet machine
_IMAGE_LIMIT_S = 20.0
_LOOK_S = 0.1
_NOTICED = "io.cri-containerd.image=managed"
_INSIDE = Path(__file__).with_name("inside.py")
_NAMESPACES = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]


class NodeFailed(RuntimeError):
    """The node did not start; the message ends with the tails of its logs."""


class Node:
    """A node whose files, and all that it writes, are below one folder, which is the node's own.

    There is one node a folder. It lives on when this process ends: stop() in any process ends it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().resolve()
        self.kubeconfig = self.folder / "pki" / "admin.conf"
        self.audit_log = self.folder / AUDIT_LOG
        self._state = self.folder / "state.json"
        self._names = traces.names(self.folder)
        self._process: subprocess.Popen[str] | None = None

    @property
    def ranges(self) -> Ranges:
        """The addresses of the running node. Raises FileNotFoundError when none was started."""
        return Ranges(**json.loads(self._state.read_text()))

    def running(self) -> bool:
        """Whether the node is there and ready."""
        # Without its interface, the question would leave this machine by the default route.
        if not traces.has_link(self._names.interface):
            return False
        try:
            return self._api(f"https://{self.ranges.node}:6443").ready()
        except OSError:
            return False

    def start(self) -> None:
        """Starts a new node, after ending what an earlier one left, and waits until it is ready (limit 180 s).

        Raises PackagesMissing, GoMissing, BuildFailed, NoFreeRange, NodeFailed.
        """
        if os.geteuid() != 0:
            raise NodeFailed("a node needs root, for its namespaces and control groups")
        if missing():
            raise PackagesMissing(f"not installed: {' '.join(missing())}")
        built = programs()
        dns.binary()
        self.stop()
        self.folder.mkdir(parents=True)
        try:
            self._launch(built)
            self._wait_until_ready(built)
        except BaseException as error:
            tails = self._log_tails()
            self.stop()
            if isinstance(error, NodeFailed):
                raise NodeFailed(f"{error}\n{tails}") from None
            raise

    def _launch(self, built: Path) -> None:
        # Two starts at a time must not choose the same range.
        with locked(cache_home() / "ranges.lock"):
            chosen = free(taken())
            spec = self._prepare(built, chosen)
            with (self.folder / "first.log").open("w") as log:
                self._process = subprocess.Popen(
                    ["unshare", *_NAMESPACES, sys.executable, "-I", str(_INSIDE), str(spec)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin
            assert self._process.stdout
            if self._process.stdout.readline().strip() != "here":
                raise NodeFailed("the node's first process did not start")
            traces.make_link(self._names.interface, _child(self._process.pid), chosen)
        self._process.stdin.write("linked\n")
        self._process.stdin.close()
        self._process.stdout.close()

    def _prepare(self, built: Path, chosen: Ranges) -> Path:
        containerd, plugins = shutil.which("containerd", path=PATH), cni_folder()
        assert containerd
        assert plugins
        layout = Layout(self.folder, built, dns.binary(), Path(containerd), plugins, self._names.cgroup, chosen)
        pki.make(layout.pki, chosen)
        write_configs(layout)
        (self.folder / "tmp").mkdir()
        self._state.write_text(json.dumps(asdict(chosen)))
        spec = {
            "folder": str(self.folder),
            "keep": [str(self.folder), str(built), str(layout.dns.parent)],
            "cgroups": traces.make_groups(self._names.cgroup),
            "node": chosen.node,
            "link": chosen.link,
            # Nothing of the user's environment: neither proxies nor credentials.
            "env": {"PATH": PATH, "HOME": str(self.folder), "TMPDIR": str(self.folder / "tmp")},
            "components": components(layout),
        }
        target = self.folder / "spec.json"
        target.write_text(json.dumps(spec, indent=1))
        return target

    def _wait_until_ready(self, built: Path) -> None:
        deadline = time.monotonic() + _START_LIMIT_S
        self._wait(lambda: (self.folder / "containerd.sock").exists(), "containerd's socket", deadline)
        tar = image.write(self.folder / "pause.tar", PAUSE_IMAGE, {"pause": built / "pause"}, ["/pause"])
        self._wait(lambda: bool(self.load_image(tar)), "the pause image", deadline)
        api = self._api(f"https://{self.ranges.node}:6443")
        self._wait(lambda: api.create(dns.objects(self.ranges)), "the Service of DNS", deadline)
        self._wait(api.ready, "a ready node", deadline)
        through_service = self._api(f"https://{self.ranges.api}")
        self._wait(lambda: bool(through_service.get("/readyz")), "an answer from a Service", deadline)
        self._wait(lambda: _connects(self.ranges.dns, dns.PORT), "DNS at its Service", deadline)

    def _wait(self, done: Callable[[], bool], what: str, deadline: float) -> None:
        assert self._process
        last: Exception | None = None
        while True:
            if self._process.poll() is not None:
                raise NodeFailed(f"the node ended with exit {self._process.returncode}")
            try:
                if done():
                    return
            except (OSError, NodeFailed) as error:
                last = error
            if time.monotonic() > deadline:
                raise NodeFailed(f"no sign of {what} within {_START_LIMIT_S:.0f} s: {last}")
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """Ends the node, or what is left of one, and removes its folder. Does nothing when there is nothing."""
        traces.remove(self.folder)
        if self._process is not None:
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def load_image(self, tar: Path) -> list[str]:
        """Gives the node the images of a tar (OCI or Docker); their full names. Raises NodeFailed, OSError."""
        with tar.open("rb") as source:
            said = self._ctr("images", "import", "-", stdin=source.fileno())
        names = re.findall(r"^unpacking (\S+) \(", said, re.MULTILINE)
        if not names:
            raise NodeFailed(f"no image in {tar}: {said}")
        # The kubelet can use an image only after containerd's other half took notice, which it shows by a label.
        deadline = time.monotonic() + _IMAGE_LIMIT_S
        while not all(_NOTICED in self._ctr("images", "ls", f"name=={name}") for name in names):
            if time.monotonic() > deadline:
                raise NodeFailed(f"containerd did not take notice of {', '.join(names)} in {_IMAGE_LIMIT_S:.0f} s")
            time.sleep(_LOOK_S)
        return names

    def memory_bytes(self) -> int:
        """The resident memory of all its processes and pods."""
        return traces.memory_bytes(self._names.cgroup)

    def processes(self) -> set[int]:
        """The ids of all its processes and those of its pods."""
        return traces.processes(self._names.cgroup)

    def _ctr(self, *args: str, stdin: int = subprocess.DEVNULL) -> str:
        ctr = shutil.which("ctr", path=PATH)
        assert ctr
        command = [ctr, "--address", str(self.folder / "containerd.sock"), "--namespace", "k8s.io", *args]
        done = subprocess.run(command, check=False, stdin=stdin, capture_output=True, text=True)
        if done.returncode:
            raise NodeFailed(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr[-2000:]}")
        return done.stdout

    def _api(self, server: str) -> Api:
        return Api(server, self.kubeconfig.parent)

    def _log_tails(self) -> str:
        logs = [self.folder / "first.log", *sorted((self.folder / "log").glob("*.log"))]
        tails = [(log.name, log.read_text(errors="replace")[-1500:]) for log in logs if log.exists()]
        return "\n".join(f"--- {name}\n{tail}" for name, tail in tails if tail)


def _child(pid: int) -> int:
    """The one child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _connects(host: str, port: int) -> bool:
    """True. Raises OSError when nothing listens there."""
    with socket.create_connection((host, port), timeout=1):
        return True
