"""Which tests run beside others, and which need the machine for themselves.

Tests that put load on the machine, or that ask whether work is done in time under load, would answer for their
neighbours; those that hold a port, a node or an image of the machine would meet themselves. They run alone, one after
the other; all others run side by side (pytest-xdist), a file at a time, so that what a file shares is made once.
"""

from __future__ import annotations

import pytest

ALONE = (
    "tests/cluster/",
    "tests/image/",
    "tests/local/",
    "tests/operator/test_guards.py",
    "tests/parts/",
    "tests/scaling/test_autoscaler.py",
    "tests/settings/test_operator.py",
    "tests/test_clean_checkout.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", choices=["only", "never"], help="the tests that need the machine for themselves")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--alone")
    if chosen is None:
        return
    alone = [item for item in items if item.nodeid.startswith(ALONE)]
    wanted = alone if chosen == "only" else [item for item in items if item not in alone]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = wanted
