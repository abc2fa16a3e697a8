"""Both type checkers know every result, and refuse every wrong call: real mypy --strict and real pyright."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

CASES = sorted((Path(__file__).parent / "cases").glob("*.py"))
MARK = "# WRONG"


def test_there_are_right_lines_and_wrong_ones_to_check() -> None:
    texts = [case.read_text() for case in CASES]
    assert sum(text.count("assert_type(") for text in texts) > 30
    assert sum(text.count(MARK) for text in texts) > 40


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_exactly_the_wrong_lines_are_errors(checker: str) -> None:
    marked = {
        (case.name, number): line.strip()
        for case in CASES
        for number, line in enumerate(case.read_text().splitlines(), 1)
        if line.rstrip().endswith(MARK)
    }
    found = {"mypy": _mypy, "pyright": _pyright}[checker]()
    assert {place: line for place, line in marked.items() if place not in found} == {}, "wrong, and not refused"
    assert {place: text for place, text in found.items() if place not in marked} == {}, "right, and refused"


Errors = dict[tuple[str, int], str]


def _mypy() -> Errors:
    text = _run("mypy", "--strict", "--no-pretty", "--hide-error-context", *map(str, CASES))
    lines = [re.match(r"(.+?):(\d+): error: (.*)", line) for line in text.splitlines()]
    return {(Path(found[1]).name, int(found[2])): found[3] for found in lines if found}


def _pyright() -> Errors:
    report = json.loads(_run("pyright", "--outputjson", *map(str, CASES)))
    return {
        (Path(found["file"]).name, found["range"]["start"]["line"] + 1): found["message"]
        for found in report["generalDiagnostics"]
        if found["severity"] == "error"
    }


def _run(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 1, f"{command[0]} did not check: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout
