"""docs/troubleshooting.md as data: each section is a mistake, its message, and what Temporal or the worker does.

A test that makes a mistake asks the page whether what it saw is what the page says. So neither can drift, and a mistake
without a test (or a test without a section) fails `test_page.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "troubleshooting.md"


class Outcome(Enum):
    """What happens, in the words of the page."""

    REFUSED = "Refused at start-up"
    ERROR = "Error at the caller"
    FAILED_WORKFLOW = "Failed workflow"
    FAILED_TASK = "Failed workflow task"
    LOGGED = "Log line"


@dataclass
class Section:
    """One mistake of the page."""

    title: str
    messages: tuple[str, ...]
    outcome: Outcome | None
    remedy: str
    shown: bool = field(default=False, compare=False)

    def shows(self, outcome: Outcome, text: str) -> None:
        """Assert that the page told this outcome, and that one of its messages is in `text`."""
        self.shown = True
        assert self.outcome is outcome, f"{self.title}: the page says {self.outcome}, it was {outcome}"
        missing = [message for message in self.messages if not _pattern(message).search(text)]
        assert not missing, f"{self.title}: no {missing} in:\n{text}"


@lru_cache
def sections() -> dict[str, Section]:
    """The mistakes of the page by title."""
    found: dict[str, Section] = {}
    for part in re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]:
        title, _, body = re.split(r"^## ", part, flags=re.MULTILINE)[0].partition("\n")
        messages = tuple(block.strip() for block in re.findall(r"^```text\n(.*?)^```", body, re.MULTILINE | re.DOTALL))
        said = re.search(r"^\*\*(.+?)\.\*\*", body, re.MULTILINE)
        remedy = re.search(r"^Remedy: (.+?)(?:\n\n|\Z)", body, re.MULTILINE | re.DOTALL)
        outcome = next((each for each in Outcome if said and each.value == said[1]), None)
        assert title not in found, f"{title} stands on the page twice"
        found[title] = Section(title, messages, outcome, remedy[1] if remedy else "")
    return found


TESTED: list[str] = []
"""Titles that tests ask for."""


def mistake(title: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The test makes the mistake of this section, which it gets as `page`."""
    TESTED.append(title)
    return pytest.mark.parametrize("page", [title], indirect=True, ids=["mistake"])


def _pattern(message: str) -> re.Pattern[str]:
    """`<placeholders>` and line breaks of the page stand for any text and any blanks."""
    parts = re.split(r"<[^<>\n]+>", message)
    return re.compile(".+?".join(r"\s+".join(map(re.escape, part.split(" "))) for part in parts), re.DOTALL)
