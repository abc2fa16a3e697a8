"""Fixtures of all tiers: real parts only, started here and ended here."""

from __future__ import annotations

import os

import pytest

from tests.alone import pytest_addoption, pytest_collection_modifyitems, pytest_xdist_make_scheduler
from tests.cluster.fixtures import cluster, namespace
from tests.cluster.release import jaeger_for_pods, postgres_for_pods, shop, temporal_for_pods
from tests.image.fixtures import derived_image, image
from tests.parts.fixtures import jaeger
from tests.parts.postgres import postgres_url
from tests.parts.temporal import temporal_address
from tests.worker.leaving import ran
from tests.worker.served import serve

__all__ = [
    "cluster",
    "derived_image",
    "image",
    "jaeger",
    "jaeger_for_pods",
    "namespace",
    "postgres_for_pods",
    "postgres_url",
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_xdist_make_scheduler",
    "ran",
    "serve",
    "shop",
    "temporal_address",
    "temporal_for_pods",
]


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine reaches a test: neither a user's fleet nor a collector may be touched."""
    for name in list(os.environ):
        if name.startswith(("FLEET_", "TEMPORAL_", "OTEL_")) and name != "FLEET_CACHE":
            monkeypatch.delenv(name)
    # Nor a profile that the user has for the `temporal` command line.
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", os.devnull)
