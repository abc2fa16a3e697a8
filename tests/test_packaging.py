"""The outside of the repository: locks in step with pyproject.toml and without hosts, make's list, the CI command."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("runtime", "local", "dev")

# In two halves, or this file would be the first offender.
INDEX_HOSTS = tuple(
    "".join(halves)
    for halves in (
        ("py", "pi.org"),
        ("python", "hosted"),
        ("npm", "js.org"),
        ("npm", "js.com"),
        ("proxy.go", "lang"),
        ("sum.go", "lang"),
        ("index.cra", "tes.io"),
        ("repo.ma", "ven"),
        ("deb.deb", "ian.org"),
    )
)


def _lock(name: str) -> str:
    return (ROOT / "requirements" / f"{name}.txt").read_text()


def _pins(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==([^ ;]+)", _lock(name), re.MULTILINE))


def _named_for(lock: str) -> Iterator[Requirement]:
    """What pyproject.toml wants to be in that lock."""
    extras: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
    build: list[str] = PROJECT["build-system"]["requires"]
    groups: dict[str, Iterable[list[str]]] = {
        "runtime": (extras["operator"], extras["postgres"]),
        "local": (extras["operator"], extras["postgres"], extras["local"], build, ["editables"]),
        "dev": (*extras.values(), build),
    }
    for group in (PROJECT["project"]["dependencies"], *groups[lock]):
        yield from map(Requirement, group)


def _files() -> list[Path]:
    """Every file that is, or could by `git add .` become, part of the repository."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
            text=True,
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = (ROOT / name for name in listed.stdout.split("\0") if name)
    return [path for path in paths if path.is_file()]


def test_a_pin_carries_the_extras_that_others_ask_for() -> None:
    """Or pip, with hashes, fails the day a newer version is out: to it `coverage==1` does not pin `coverage[toml]`."""
    carried = {
        name: set(re.split(", *", extras))
        for name, extras in re.findall(r"^([a-z0-9-]+)\[(.+)\]==", _lock("dev"), re.M)
    }
    wanted: dict[str, set[str]] = {}
    for name in _pins("dev"):
        try:
            found = distribution(name).requires or []
        except PackageNotFoundError:  # of another Python or platform
            continue
        for required in map(Requirement, found):
            if required.extras and (required.marker is None or required.marker.evaluate({"extra": ""})):
                wanted.setdefault(canonicalize_name(required.name), set()).update(required.extras)
    assert "toml" in wanted["coverage"]
    assert {name: extras for name, extras in wanted.items() if not extras <= carried.get(name, set())} == {}


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_name_no_index(lock: str) -> None:
    assert "://" not in _lock(lock)
    assert not re.search("^-", _lock(lock), re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_hashes_for_every_pin(lock: str) -> None:
    # A requirement starts at the margin and ends with the last line that has a backslash before it.
    requirements = re.findall(r"^[a-z0-9].*(?<=\\)(?:\n.*(?<=\\))*\n.*", _lock(lock), re.MULTILINE)
    assert len(requirements) == len(re.findall("^[a-z0-9]", _lock(lock), re.MULTILINE))
    assert all("--hash=sha256:" in each for each in requirements)


@pytest.mark.parametrize("lock", LOCKS)
def test_locks_hold_every_dependency_of_the_project(lock: str) -> None:
    pins = _pins(lock)
    found = [(each, pins.get(canonicalize_name(each.name))) for each in _named_for(lock)]
    wrong = [f"{each} is {pin or 'missing'}" for each, pin in found if pin is None or pin not in each.specifier]
    assert not wrong, f"requirements/{lock}.txt is stale, run requirements/lock.sh: {wrong}"


def test_locks_agree_so_that_an_environment_only_grows() -> None:
    runtime, local, dev = map(_pins, LOCKS)
    assert runtime.items() <= local.items() <= dev.items()


def test_no_file_names_a_package_index() -> None:
    offenders = [
        f"{path.relative_to(ROOT)}: {host}"
        for path in _files()
        for host in INDEX_HOSTS
        if host.encode() in path.read_bytes().lower()
    ]
    assert not offenders


def test_no_lock_of_another_kind_is_in_the_repository() -> None:
    assert not [path for path in _files() if path.name in ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock")]


def test_make_lists_every_target() -> None:
    targets = re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    shown = subprocess.run(["make"], cwd=ROOT, env=env, capture_output=True, check=True, text=True).stdout
    listed = dict(re.findall(r"^make ([a-z-]+) +(\S.*)$", shown, re.MULTILINE))
    assert list(listed) == targets
    assert len(shown.splitlines()) == len(targets)
    assert {"run", "test", "lint", "types", "docs", "clean"} <= set(targets)


def test_without_a_suitable_python_make_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "requirements").mkdir()
    install = tmp_path / "requirements" / "install.sh"
    install.write_text((ROOT / "requirements" / "install.sh").read_text())
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.6\n[ "$1" = -V ]\n')
    old.chmod(0o755)

    env = os.environ | {"PYTHON": str(old)}
    done = subprocess.run(["sh", str(install), "local"], env=env, capture_output=True, check=False, text=True)

    assert done.returncode == 2
    assert f"{old} (Python 3.9.6)" in done.stderr
    assert "make run PYTHON=" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    commands = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
    assert commands[-1] == "make test"
    assert os.access(script, os.X_OK)
    assert "make test" in (ROOT / "README.md").read_text()
