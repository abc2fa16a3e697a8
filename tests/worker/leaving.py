"""Workers of tests/apps/leaving, and what their bodies wrote down."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.apps.leaving import evidence

LEAVING = {"TEMPORAL__WORKER__PACKAGES": '["tests.apps.leaving"]'}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that the bodies of workers write to which are started after this."""
    monkeypatch.setenv(evidence.VARIABLE, str(tmp_path / "ran"))
    return tmp_path / "ran"
