"""How a test that lacks a real part is skipped: never in silence."""

from __future__ import annotations

import warnings
from typing import NoReturn

import pytest


def loudly(line: str) -> None:
    """A warning in pytest's summary."""
    with warnings.catch_warnings():
        # Warnings made errors must not turn a skip into one.
        warnings.simplefilter("always")
        warnings.warn(line, stacklevel=2)


def skip_for_want_of(part: str, reason: object) -> NoReturn:
    """Skip, and say so at the end as well."""
    line = f"SKIPPED for want of {part}: {reason}"
    loudly(line)
    pytest.skip(line)
