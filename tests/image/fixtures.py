"""Pytest fixtures of the image; the project's conftest imports them."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from tests.parts.skipping import skip_for_want_of

from .build import image_tar
from .derived import derived_tar
from .system import Unavailable


@pytest.fixture(scope="session")
def image(pytestconfig: pytest.Config) -> Path:
    """The image of the code as it is now, an OCI archive. Skips where none can be built; a failed build is an error."""
    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    try:
        # The first build takes minutes: its progress must be seen.
        with capture.global_and_fixture_disabled() if capture else nullcontext():
            return image_tar()
    except Unavailable as error:
        skip_for_want_of("an image", error)


@pytest.fixture(scope="session")
def derived_image(image: Path) -> Path:
    """An image built FROM it with one more package and task queue, an OCI archive."""
    return derived_tar(image)
