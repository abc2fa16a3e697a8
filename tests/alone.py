"""Which tests run beside others, and which need the machine for themselves.

Most run side by side (pytest-xdist), a file at a time, so that what a file shares is made once. Tests that put load on
the machine, or that ask whether work is done in time under load, would answer for their neighbours; those that hold a
node or an image of the machine would meet themselves. They come after the others, in two rows, one test after the other
in each: in one what needs the node, which mostly waits for pods; in the other the rest.
"""

from __future__ import annotations

import pytest
from xdist.remote import Producer  # type: ignore[import-untyped]
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

# It makes nodes of its own, and comes last: whose mounts it looks for, images have them too while they are built.
_LIFECYCLE = "tests/cluster/test_lifecycle.py"
_MACHINE = (
    _LIFECYCLE,
    "tests/image/",
    "tests/local/",
    "tests/parts/",
    "tests/scaling/test_autoscaler.py",
    "tests/test_clean_checkout.py",
)
_NODE = (
    "tests/cluster/",
    "tests/operator/test_faults_",
    "tests/operator/test_guards.py",
    "tests/operator/test_victims.py",
    "tests/settings/test_operator.py",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--alone", choices=["only", "never"], help="the tests that need the machine for themselves")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    chosen = config.getoption("--alone")
    if chosen is None:
        return
    wanted = [item for item in items if bool(_row(item.nodeid)) == (chosen == "only")]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    items[:] = sorted(wanted, key=lambda item: item.nodeid.startswith(_LIFECYCLE))


class _Rows(LoadScopeScheduling):  # type: ignore[misc]
    """A row is done by one process. Rejected: xdist_group, which pytest-xdist 3.8 cannot read under pytest 9.2."""

    def _split_scope(self, nodeid: str) -> str:
        return _row(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling | None:
    return _Rows(config, log) if config.getoption("--alone") == "only" else None


def _row(nodeid: str) -> str:
    """The row that a test is in; empty for one that bears company."""
    if nodeid.startswith(_MACHINE):
        return "machine"
    return "node" if nodeid.startswith(_NODE) else ""
