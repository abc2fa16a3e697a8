"""The page and the tests of this folder, and of tests/faults, are of the same mistakes."""

from __future__ import annotations

import importlib
from pathlib import Path

from tests.mistakes.page import TESTED, sections


def test_every_section_has_a_test_and_every_test_a_section() -> None:
    for folder in ("mistakes", "faults"):
        for module in (Path(__file__).parents[1] / folder).glob("test_*.py"):
            importlib.import_module(f"tests.{folder}.{module.stem}")
    assert sorted(TESTED) == sorted(sections())


def test_every_section_says_message_outcome_and_remedy() -> None:
    incomplete = [s.title for s in sections().values() if not (s.messages and s.outcome and s.remedy)]
    assert incomplete == []
