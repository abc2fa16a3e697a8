"""The code blocks of a page, each with the one way in which it is executed; a block without one is an error.

A block that begins with a file's name in a comment is that file of the reader's. Other Python is typed into one Python
session; shell lines run, stay in the background, or are checked as far as a machine without their tool can. A `text`
block is what the block before it prints. Rejected: sybil, pytest-examples and mktestdocs, which know neither files nor
commands that stay, and pass over a block in a language they do not know.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

FILE, PYTHON, SHELL, OUTPUT, SETTINGS = "file", "python", "shell", "output", "settings"


@dataclass(frozen=True)
class Block:
    """`name`: the file's, or line of the page."""

    kind: str
    text: str
    line: int
    name: str = ""


def blocks(page: str) -> list[Block]:
    """The blocks of a page (path in the repository), in order. Raises ValueError for one that nothing can execute."""
    found: list[Block] = []
    text = (ROOT / page).read_text()
    fences = re.findall(r"^ *```", text, re.MULTILINE)
    for match in re.finditer(r"^```([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        line = text[: match.start()].count("\n") + 1
        found.append(_classified(page, match[1], match[2], line, found[-1].kind if found else ""))
    if len(fences) != 2 * len(found):
        raise ValueError(f"{page}: {len(fences)} fences, and {len(found)} blocks: one is indented or not closed")
    return found


def commands(text: str) -> list[str]:
    """The lines of a shell block, without comments and continuations."""
    joined = re.sub(r"\\\n\s*", "", text)
    lines = [re.sub(r"(?:^|\s+)# .*$", "", line).strip() for line in joined.splitlines()]
    return [line for line in lines if line]


def _classified(page: str, language: str, text: str, line: int, before: str) -> Block:
    comment = re.match(r"# (\S+\.(?:py|yaml))\n", text)
    if language in ("python", "yaml") and comment:
        return Block(FILE, text, line, comment[1])
    if language == "python":
        return Block(PYTHON, text, line)
    if language == "yaml":
        return Block(SETTINGS, text, line)
    if language == "sh":
        return Block(SHELL, text, line)
    if language == "text" and before in (PYTHON, SHELL):
        return Block(OUTPUT, text, line)
    raise ValueError(f"{page}:{line}: no way to execute a block {language!r} after {before or 'nothing'}")


def is_output(expected: str, printed: str) -> bool:
    """Whether `printed` is what the page shows, but for the number of blanks; `<something>` is any text in a line."""
    expected, printed = (re.sub(" +", " ", text.strip()) for text in (expected, printed))
    parts = re.split(r"<[^<>\n]+>", expected)
    return re.fullmatch(r"[^\n]+?".join(map(re.escape, parts)), printed) is not None
