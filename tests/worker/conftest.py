"""A registry of a test's own."""

from __future__ import annotations

import pytest

from app.worker import discovery
from app.worker import registry as registry_module
from app.worker.registry import Registry


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """An empty one in the place of the process's own."""
    fresh = Registry()
    monkeypatch.setattr(registry_module, "registry", fresh)
    monkeypatch.setattr(discovery, "registry", fresh)
    return fresh
