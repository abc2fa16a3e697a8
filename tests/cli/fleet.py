"""The `fleet` command as a user runs it: another process, another folder, its output and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What one run said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def fleet(*arguments: str, cwd: Path = ROOT, **settings: str) -> Ran:
    """Run `fleet`; `settings` are FLEET_* variables without their prefix. No run may show a traceback."""
    env = {**os.environ, "PYTHONPATH": str(cwd), **{f"FLEET_{name}": value for name, value in settings.items()}}
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return Ran(done.returncode, done.stdout, done.stderr)
