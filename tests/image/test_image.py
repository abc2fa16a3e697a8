"""The image: a Dockerfile for every builder, and what comes out of it, run as a pod of the chart runs it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.core.ports import free_port
from app.local.orders import Customer
from tests.parts.building import say

from . import base, build
from .container import Image, image_id, started, unpack

DOCKERFILE = (build.ROOT / "Dockerfile").read_text()
SERVE = ("python", "-m", "app.worker.main", "serve")
NO_SERVER = {"TEMPORAL_ADDRESS": "127.0.0.1:9"}
LARGEST_MIB = 60
"""Of what is added to the base, packed. It was 45 when the limit was set; an image is pulled by each new node."""
STOP_LIMIT_S = 10.0
"""A stop takes a second; one that was lost never ends."""

# Cold, the two builds take minutes.
needs_image = [pytest.mark.image, pytest.mark.timeout(1500)]

# Prints the number of sources, then those whose bytecode is missing, of another Python, or compared with its source.
WITHOUT_BYTECODE = """
import importlib.util, pathlib, sysconfig
left_out = {"ensurepip", "idlelib", "turtledemo", "test", "site-packages", "dist-packages"}
stdlib = pathlib.Path(sysconfig.get_path("stdlib"))
sources = [path for path in stdlib.rglob("*.py") if not left_out & set(path.relative_to(stdlib).parts)]
for top in "/opt/fleet", "/srv/fleet":
    sources += pathlib.Path(top).rglob("*.py")
print(len(sources))
for path in sources:
    pyc = pathlib.Path(importlib.util.cache_from_source(path))
    if not pyc.exists() or pyc.read_bytes()[:8] != importlib.util.MAGIC_NUMBER + b"\\1\\0\\0\\0":
        print(path)
"""


def _instructions() -> list[list[str]]:
    """The words of each instruction."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    return [line.split() for line in joined.splitlines() if line.strip()]


def _of(name: str) -> list[list[str]]:
    return [words for word, *words in _instructions() if word == name]


@pytest.mark.parametrize("word", ["# syntax", "--mount", "--link", "--chmod", "<<", "://", ":latest"])
def test_the_dockerfile_asks_for_nothing_that_a_builder_lacks(word: str) -> None:
    assert word not in DOCKERFILE


def test_the_dockerfile_takes_its_base_as_an_argument_and_nothing_else_from_a_registry() -> None:
    assert _instructions()[0] == ["ARG", f"BASE=python:{base.PYTHON}-slim-{base.SUITE}"]
    assert [words[0] for words in _of("FROM")] == ["${BASE}", "${BASE}"]
    stages = {words[-1] for words in _of("FROM")}
    assert {word.partition("=")[2] for words in _of("COPY") for word in words if word.startswith("--from")} <= stages
    assert not _of("ADD")


def test_the_stand_in_base_has_a_python_that_the_project_supports() -> None:
    assert f"Python :: {base.PYTHON}" in (build.ROOT / "pyproject.toml").read_text()


def test_packages_are_installed_by_their_hashes_and_never_compiled() -> None:
    [install] = [words for words in _of("RUN") if "install" in words]
    assert {"--require-hashes", "--only-binary=:all:"} <= set(install)


def test_the_user_is_a_number_and_not_root() -> None:
    assert _of("USER") == [["10001:10001"]]


def test_the_program_is_started_without_a_shell() -> None:
    assert not _of("ENTRYPOINT")
    [command] = _of("CMD")
    assert tuple(json.loads(" ".join(command))) == SERVE


def test_the_builder_gets_what_the_dockerfile_copies_and_no_more() -> None:
    lines = (build.ROOT / ".dockerignore").read_text().splitlines()
    lines = [line for line in lines if line and not line.startswith("#")]
    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(build.CONTEXT)
    copied = [words[0] for words in _of("COPY") if not words[0].startswith("--from")]
    assert sorted(copied) == sorted(build.CONTEXT)


@pytest.fixture(scope="module")
def unpacked(image: Path) -> Iterator[Image]:
    # Not pytest's own folder, which keeps what it holds for three runs: this is 300 MB.
    with tempfile.TemporaryDirectory() as folder:
        yield unpack(image, Path(folder))


def _output(image: Image, *argv: str, code: int = 0) -> str:
    with started(image, argv, NO_SERVER) as container:
        ended = container.wait()
        assert ended == code, container.output()
        return container.output()


class TestBuilt:
    pytestmark = needs_image

    def test_is_the_same_whoever_builds_it(self, image: Path, tmp_path: Path) -> None:
        again = tmp_path / "again.tar"
        build.build_anew(image, again)
        assert image_id(again) == image_id(image)
        again.unlink()

    def test_is_no_larger_than_it_must_be(self, unpacked: Image, capsys: pytest.CaptureFixture[str]) -> None:
        under, *ours = [path.stat().st_size / 2**20 for path in unpacked.layers]
        with capsys.disabled():
            say(f"\nimage: {sum(ours):.1f} MiB packed ({', '.join(f'{s:.1f}' for s in ours)}), base {under:.1f}")
        assert sum(ours) < LARGEST_MIB
        # Standard library, dependencies, code: a new version of the code is a small layer.
        assert len(ours) == 3
        assert ours[-1] < 2

    def test_holds_no_tests_no_pip_and_no_cache(self, unpacked: Image) -> None:
        root = unpacked.root
        assert sorted(path.name for path in (root / "srv/fleet").iterdir()) == ["app", "config.yaml"]
        installed = {path.name for path in root.glob("opt/fleet/lib/python*/site-packages/*")}
        assert "temporalio" in installed
        assert not {"pip", "setuptools", "tests", "test"} & installed
        leftovers = ("root/.cache", "tmp/*", "build", "home/*")
        assert not [str(path) for pattern in leftovers for path in root.glob(pattern)]

    def test_belongs_to_root_and_is_readable_by_all(self, unpacked: Image) -> None:
        wrong = []
        for top in ("opt/fleet", "srv/fleet"):
            for path in (unpacked.root / top, *(unpacked.root / top).rglob("*")):
                status = path.lstat()
                wanted = 0o755 if stat.S_ISDIR(status.st_mode) else 0o444
                closed = status.st_mode & wanted != wanted or status.st_mode & 0o022
                if status.st_uid or status.st_gid or (closed and not path.is_symlink()):
                    wrong.append(f"{path} {status.st_mode:o}")
        assert not wrong

    def test_holds_the_bytecode_of_every_source(self, unpacked: Image) -> None:
        sources, *without = _output(unpacked, "python", "-c", WITHOUT_BYTECODE).split()
        assert not without
        assert int(sources) > 2000

    def test_runs_as_its_user_on_a_read_only_root(self, unpacked: Image) -> None:
        script = (
            "import os, pathlib, sys, tempfile; print(os.getuid(), os.getgid(), *sys.version_info[:2], os.getcwd());"
            "print(tempfile.TemporaryFile() and pathlib.Path.home()); open('x', 'w')"
        )
        written = _output(unpacked, "python", "-c", script, code=1)
        assert written.startswith(f"10001 10001 {base.PYTHON.replace('.', ' ')} /srv/fleet\n/tmp\n")
        assert "Read-only file system" in written

    def test_has_the_fleet_command(self, unpacked: Image) -> None:
        assert "usage: fleet" in _output(unpacked, "fleet", "--help")
        assert json.loads(_output(unpacked, "fleet", "queues", "--json")).keys() >= {"orders", "payments"}

    def test_has_what_the_operator_imports(self, unpacked: Image) -> None:
        assert _output(unpacked, "python", "-c", "import kopf, lightkube, psycopg") == ""

    def test_refuses_a_queue_that_nobody_declared(self, unpacked: Image) -> None:
        written = _output(unpacked, *SERVE, "--queue", "nonsense", code=2)
        assert '--queue: no workflow or activity is declared on queue "nonsense"' in written

    @pytest.mark.parametrize("after_ms", [1, 50, 300])
    def test_never_loses_an_early_sigterm(self, unpacked: Image, after_ms: int) -> None:
        for _ in range(5):
            with started(unpacked, env=NO_SERVER) as container:
                time.sleep(after_ms / 1000)
                os.kill(container.pid, signal.SIGTERM)
                began = time.monotonic()
                code = container.wait(STOP_LIMIT_S)
                assert code in (0, 128 + signal.SIGTERM), container.output()
                assert time.monotonic() - began < STOP_LIMIT_S

    def test_is_worker_and_api_and_both_stop_cleanly(self, unpacked: Image, temporal_address: str) -> None:
        port = free_port("127.0.0.1")
        env = {
            "TEMPORAL_ADDRESS": temporal_address,
            "FLEET_LOCAL__DATA_DIR": "/tmp",
            "FLEET_API__HOST": "127.0.0.1",
            "FLEET_API__PORT": str(port),
        }

        async def order() -> None:
            customer = Customer(f"http://127.0.0.1:{port}")
            await customer.reachable(30)
            await asyncio.wait_for(customer.completed(await customer.place()), 60)

        with (
            started(unpacked, env=env) as worker,
            started(unpacked, ["python", "-m", "app.api.http.main"], env) as api,
        ):
            worker.expect("serving orders, payments")
            asyncio.run(order())
            for container in (worker, api):
                os.kill(container.pid, signal.SIGTERM)
                assert container.wait(60) == 0, container.output()
