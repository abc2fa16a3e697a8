"""Pytest fixtures of a real Kubernetes: `cluster`, once a session, and `namespace`, a clean one for each test.

FLEET_TEST_CLUSTER=build   makes a node on this machine (root, Debian's packages, Go).
FLEET_TEST_CONTEXT=NAME    uses exactly this context of the user's kubeconfig. With it may come
FLEET_TEST_IMAGE_LOAD      a command that gives that cluster an image: {tar} and {name} in it stand for the image's tar
                           and name; without either the tar comes last (`kind load image-archive`), and
FLEET_TEST_HOST_ADDRESS    an address of this machine that pods reach.
Without one of the first two, every test of a cluster is skipped.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.parts.building import GoMissing, cache_home, locked
from tests.parts.skipping import loudly, skip_for_want_of

from .client import Cluster
from .node import image
from .node.build import programs
from .node.node import Node
from .node.packages import install
from .node.pki import CONTEXT
from .tools import tool


@dataclass(frozen=True)
class Wish:
    """What the user's environment says about clusters."""

    cluster: str
    context: str
    image_load: str
    host_address: str
    kubeconfig: str

    @classmethod
    def read(cls) -> Wish:
        def of(name: str) -> str:
            return os.environ.get(name, "")

        return cls(
            cluster=of("FLEET_TEST_CLUSTER"),
            context=of("FLEET_TEST_CONTEXT"),
            image_load=of("FLEET_TEST_IMAGE_LOAD"),
            host_address=of("FLEET_TEST_HOST_ADDRESS"),
            kubeconfig=of("KUBECONFIG"),
        )

    def problem(self) -> str | None:
        """What is wrong with it, None when nothing is."""
        if self.cluster not in ("", "build"):
            return f"FLEET_TEST_CLUSTER={self.cluster} is unknown: set it to `build`, or not at all"
        if self.cluster and self.context:
            return "both FLEET_TEST_CLUSTER and FLEET_TEST_CONTEXT are set: choose one"
        return None

    def refusal(self) -> str | None:
        """Why there is no cluster for these tests, None when there is one."""
        if self.context or (self.cluster and os.geteuid() == 0 and sys.platform == "linux"):
            return None
        if self.cluster:
            return "FLEET_TEST_CLUSTER=build needs Linux and root, for a node's namespaces and control groups"
        return "set FLEET_TEST_CLUSTER=build (makes one here) or FLEET_TEST_CONTEXT=<a context of your kubeconfig>"

    def ignored(self) -> str | None:
        """The line on a KUBECONFIG that is not used, None when there is none."""
        if not self.kubeconfig or self.context:
            return None
        return f"KUBECONFIG={self.kubeconfig} is IGNORED: the tests touch a cluster of yours only by FLEET_TEST_CONTEXT"


# Read at import: the tests' own environment is emptied of such settings.
_WISH = Wish.read()


def skip_unless_wanted(wish: Wish = _WISH) -> None:
    """Skips, loudly, without a cluster to test on; fails for settings that contradict each other."""
    if problem := wish.problem():
        pytest.fail(problem)
    if ignored := wish.ignored():
        loudly(ignored)
    if reason := wish.refusal():
        skip_for_want_of("a cluster", reason)


def seen(config: pytest.Config) -> AbstractContextManager[None]:
    """Within it, what is printed reaches the terminal: the first build takes minutes, and its progress must be seen."""
    capture = config.pluginmanager.getplugin("capturemanager")
    shown: AbstractContextManager[None] = capture.global_and_fixture_disabled() if capture else nullcontext()
    return shown


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A real Kubernetes, as the user's environment wishes; skips without such a wish."""
    skip_unless_wanted()
    home = tmp_path_factory.mktemp("cluster")
    chosen = _theirs(home, _WISH) if _WISH.context else built_cluster(home)
    with ExitStack() as stack:
        with seen(pytestconfig):
            made = stack.enter_context(chosen)
        yield made


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own under Pod Security "restricted", gone at the end."""
    with cluster.namespace() as name:
        yield name


def skip_unless_node_wanted() -> None:
    """Skips, loudly, unless the user's wish is a node on this machine."""
    skip_unless_wanted()
    if _WISH.context:
        pytest.skip("FLEET_TEST_CONTEXT is set: no node is made here")


@contextmanager
def own_node(name: str) -> Iterator[Node]:
    """A node, not yet started, whose folder no other session uses meanwhile; stopped at the end. Installs packages."""
    folder = cache_home() / name
    with locked(folder.with_suffix(".lock")):
        node = Node(folder)
        # Also ends what a crashed session left.
        node.stop()
        install()
        try:
            programs()
        except GoMissing as error:
            skip_for_want_of("Go", error)
        try:
            yield node
        finally:
            node.stop()


@contextmanager
def built_cluster(home: Path) -> Iterator[Cluster]:
    """A node of this machine, which no other session has meanwhile; `home`: a folder for the caches of the tools."""
    with own_node("cluster-of-tests") as node:
        node.start()
        yield Cluster(
            node.kubeconfig,
            CONTEXT,
            home,
            node.load_image,
            node.ranges.host,
            ours=True,
            audit_log=node.audit_log,
        )


@contextmanager
def _theirs(home: Path, wish: Wish) -> Iterator[Cluster]:
    # A copy that knows this one context: nothing can reach another by mistake.
    view = ["config", "view", "--raw", "--minify", "--flatten", "--context", wish.context]
    done = subprocess.run([str(tool("kubectl")), *view], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(f"FLEET_TEST_CONTEXT={wish.context}: {done.stderr.strip()}")
    with tempfile.TemporaryDirectory() as folder:
        kubeconfig = Path(folder, "kubeconfig")
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(done.stdout)

        def load(tar: Path) -> list[str]:
            return _load(wish.image_load, tar)

        yield Cluster(kubeconfig, wish.context, home, load, wish.host_address or None)


def _load(command: str, tar: Path) -> list[str]:
    if not command:
        pytest.skip("FLEET_TEST_IMAGE_LOAD is not set: the command that gives your cluster an image, by its tar")
    names = image.names(tar)
    for name in names:
        words = [word.replace("{tar}", str(tar)).replace("{name}", name) for word in shlex.split(command)]
        whole = words if words != shlex.split(command) else [*words, str(tar)]
        done = subprocess.run(whole, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode:
            pytest.fail(f"{shlex.join(whole)}: exit {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return names
