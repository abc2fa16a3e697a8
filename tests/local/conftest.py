"""A `fleet dev` for a test: stopped and checked for leftovers at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.local.dev_fleet import DevFleet, until


@pytest.fixture
def dev_fleet(tmp_path: Path) -> Iterator[Callable[..., DevFleet]]:
    """Makes fleets on this test's data folder; all of them are ended, and must leave no process."""
    made: list[DevFleet] = []

    def make(*arguments: str, **options: object) -> DevFleet:
        fleet = DevFleet(tmp_path / "data", *arguments, **options)  # type: ignore[arg-type]
        made.append(fleet)
        return fleet

    yield make
    for fleet in made:
        if fleet.started and fleet.process.poll() is None:
            fleet.process.kill()
            fleet.process.wait()
    if made:
        until(lambda: not made[-1].processes(), 30)
