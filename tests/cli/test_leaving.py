"""No command leaves by the interpreter's own exit, which crashes now and then once the SDK was used (app.core.exit)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCHED = "import atexit, sys; atexit.register(print, 'left by the interpreter'); from app import cli; {}; cli.main()"
BROKEN = "cli._check = lambda *_: 1 / 0"


def left(folder: Path, address: str, *arguments: str, before: str = "0") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "FLEET_TEMPORAL__ADDRESS": address, "FLEET_LOCAL__DATA_DIR": str(folder)}
    command = [sys.executable, "-c", WATCHED.format(before), *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["queues"], 0),
        (["describe", "OrderWorkflow"], 0),
        (["describe", "Nobody"], 2),
        (["check", "--server"], 0),
        (["config"], 0),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_command_leaves_by_finish(tmp_path: Path, temporal_address: str, arguments: list[str], code: int) -> None:
    done = left(tmp_path, temporal_address, *arguments)
    assert (done.returncode, "left by the interpreter" in done.stdout) == (code, False), done.stderr


def test_so_does_one_that_fails_for_a_mistake_of_ours(tmp_path: Path) -> None:
    done = left(tmp_path, "127.0.0.1:1", "check", before=BROKEN)
    assert (done.returncode, "left by the interpreter" in done.stdout) == (1, False)
    assert "ZeroDivisionError" in done.stderr
