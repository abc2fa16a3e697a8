"""Pytest fixtures of the real parts; the project's conftest imports them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from .jaeger.server import GoMissing, Jaeger
from .skipping import skip_for_want_of


@pytest.fixture(scope="session")
def jaeger(pytestconfig: pytest.Config) -> Iterator[Jaeger]:
    """A running Jaeger. Skips without Go; a failed build or start is an error."""
    with running_jaeger(pytestconfig) as running:
        yield running


@contextmanager
def running_jaeger(config: pytest.Config, host: str = "127.0.0.1") -> Iterator[Jaeger]:
    """A Jaeger that takes spans at `host`; else as the fixture."""
    running = Jaeger(host)
    capture = config.pluginmanager.getplugin("capturemanager")
    try:
        # The first build takes minutes: its progress must be seen.
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            running.start()
    except GoMissing as error:
        skip_for_want_of("Go", error)
    try:
        yield running
    finally:
        running.stop()
