"""Raw results of long proofs, one JSON line each, so that a proof may be stopped and goes on where it was.

A figure in the docs is a sentence about these lines: each says when, on which commit and under which load it was made.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import temporalio.service

RESULTS = Path(__file__).parent / "results"
_BROKE_OFF = "broke_off"


def main_of(
    name: str, about: str, counted: str, proceed: Callable[[int, Record], None], summary: Callable[[Record], str]
) -> NoReturn:
    """The command line of the proof `name`: `--until N` goes on until N are recorded of what is `counted`."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--until", type=int, metavar="N", help=f"{counted}, with those on record")
    parser.add_argument("--summary", action="store_true", help="print what is recorded")
    arguments = parser.parse_args()
    record = Record(name)
    if arguments.until:
        proceed(arguments.until, record)
    if arguments.summary:
        print(summary(record))
    sys.stdout.flush()
    # The SDK's threads may crash a normal exit (app.core.exit).
    os._exit(0)


class Record:
    """The lines of one proof, in benchmarks/results/NAME.jsonl."""

    def __init__(self, name: str, folder: Path = RESULTS) -> None:
        """`name`: of the file, without its suffix."""
        self._file = folder / f"{name}.jsonl"

    def add(self, result: Mapping[str, Any]) -> None:
        """Append `result`, with the circumstances it was made in."""
        line = {**result, **circumstances()}
        with self._file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    @contextmanager
    def trial(self, **kind: Any) -> Iterator[None]:
        """A trial of `kind`. One that breaks off is a result as well: it is written down before its error goes on."""
        try:
            yield
        except Exception as error:
            self.add({**kind, _BROKE_OFF: repr(error)})
            raise

    def lines(self, **wanted: Any) -> list[dict[str, Any]]:
        """The results so far whose keys have the `wanted` values, oldest first; without trials that broke off."""
        found = [line for line in self._all() if _BROKE_OFF not in line]
        return [line for line in found if all(line.get(key) == value for key, value in wanted.items())]

    def footnote(self) -> str:
        """What belongs below each table: trials that broke off, and the commits that the results are of."""
        every = self._all()
        broken = [f"{line['at']}: {line[_BROKE_OFF]}" for line in every if _BROKE_OFF in line]
        commits = ", ".join(dict.fromkeys(line["commit"] for line in every))
        return "\n".join([f"Trials that broke off: {len(broken)}", *broken, f"Commits: {commits or 'none'}"])

    def _all(self) -> list[dict[str, Any]]:
        if not self._file.exists():
            return []
        return [json.loads(line) for line in self._file.read_text().splitlines()]


def circumstances() -> dict[str, Any]:
    """When, where and of which code a result is."""
    # Results that are not committed yet do not make the code another one.
    commit, changed = (
        _git("describe", "--always", "--exclude=*"),
        _git("status", "--porcelain", "--", ":/", ":(exclude)results"),
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": (commit or "unknown") + ("-dirty" if changed else ""),
        "machine": f"{platform.system()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"temporalio {temporalio.service.__version__}",
        "load_average": round(os.getloadavg()[0], 1),
    }


def _git(*arguments: str) -> str:
    git = ["git", "-C", str(Path(__file__).parent), *arguments]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()
