"""The README's first command, on a checkout that nobody has touched: `make run ONCE=1`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.dev_fleet import ROOT, DevFleet

INSTALL_TIMEOUT_S = 280.0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_make_run_once_completes_an_order_and_ends_with_0(tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    for name in _tracked():
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    python = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    argv = ["make", "run", "ONCE=1", f"PYTHON={python}"]
    with DevFleet(tmp_path / "data", argv=argv, cwd=checkout) as fleet:
        fleet.expect("completed in", INSTALL_TIMEOUT_S)
        assert fleet.process.wait(60) == 0
    assert not fleet.processes()
    assert (checkout / ".venv").is_dir()


def _tracked() -> list[str]:
    """The files of the checkout: git's where there is a repository, else all but what `make` makes."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GIT_DIR": str(ROOT / ".git")},
    )
    if listed.returncode == 0:
        return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]
    made = (".venv", ".fleet", "__pycache__")
    return [str(p.relative_to(ROOT)) for p in ROOT.rglob("*") if p.is_file() and not set(made) & set(p.parts)]
