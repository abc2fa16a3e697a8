"""What is wrong with the handlers as they are declared: data first, one error for all of it at the end."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """What is wrong, where, and how to mend it."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n  {self.remedy}"


class RegistrationError(Exception):
    """The handlers cannot be served as they are declared; `problems` holds everything that was found."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def did_you_mean(name: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """A question with the known name that is nearest to `name`, after a blank; empty where none is near."""
    near = difflib.get_close_matches(name, [each for each in known if each != name], n=1, cutoff=cutoff)
    return f' Did you mean "{near[0]}"?' if near else ""
