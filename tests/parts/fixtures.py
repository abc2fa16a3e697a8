"""Pytest fixtures of the real parts; the project's conftest imports them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from .jaeger.server import GoMissing, Jaeger


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
        loud = f"SKIPPED for want of Go: {error}"
        with warnings.catch_warnings():
            # Warnings made errors must not turn the skip into one.
            warnings.simplefilter("always")
            warnings.warn(loud, stacklevel=1)
        pytest.skip(loud)
    try:
        yield running
    finally:
        running.stop()
