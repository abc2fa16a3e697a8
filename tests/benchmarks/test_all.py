"""`make bench`."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec

import pytest

from benchmarks.__main__ import ANYWHERE, ON_A_CLUSTER


@pytest.mark.parametrize("command", [*ANYWHERE, *ON_A_CLUSTER])
def test_every_proof_of_the_list_takes_its_options(command: str) -> None:
    name, *options = command.split()
    assert find_spec(f"benchmarks.{name}")
    # With --help at the end the options before it are read, and nothing runs.
    run = [sys.executable, "-m", f"benchmarks.{name}", *options, "--help"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    known = {word.strip(",") for word in done.stdout.split() if word.startswith("--")}
    assert {option for option in options if option.startswith("--")} <= known
