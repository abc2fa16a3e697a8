"""What the bodies of tests/apps/faults wrote down: append-only, so that a body which ran twice cannot hide it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Line:
    """One start or end of a body; `at` is wall-clock seconds."""

    what: str
    workflow_id: str
    attempt: int
    pid: int
    at: float


@dataclass(frozen=True)
class Evidence:
    """The lines of one file."""

    file: Path

    def lines(self, what: str = "", workflow_id: str = "") -> list[Line]:
        """The lines so far, oldest first; those of `what` and of one workflow only, where given."""
        if not self.file.exists():
            return []
        found = []
        for text in self.file.read_text().splitlines():
            kind, id_, attempt, pid, at = text.split()
            if what in ("", kind) and workflow_id in ("", id_):
                found.append(Line(kind, id_, int(attempt), int(pid), float(at)))
        return found
