"""What is tried again and again, and the log that is not told each time."""

from __future__ import annotations

import logging


class Troubles:
    """What does not work at present, by name: one line when it breaks, and one when it works again."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._names: set[str] = set()

    def tell(self, name: str, problem: str) -> None:
        """How `name` fared this time; no `problem`: well."""
        if bool(problem) != (name in self._names):
            self._names ^= {name}
            self._log.log(logging.WARNING if problem else logging.INFO, "%s: %s", name, problem or "works again")
