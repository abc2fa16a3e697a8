"""What ran, where and when: append-only lines in the file that EVIDENCE names, one JSON object each."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from temporalio import activity

VARIABLE = "EVIDENCE"


def note(what: str, **more: Any) -> None:
    """Append a line on the activity that calls; a line of this size is written as a whole."""
    info = activity.info()
    line = {
        "what": what,
        "id": info.workflow_id,
        "activity": info.activity_type,
        "attempt": info.attempt,
        "pid": os.getpid(),
        "at": time.time(),
        **more,
    }
    with open(os.environ[VARIABLE], "a") as file:
        file.write(json.dumps(line) + "\n")


def lines(file: Path, what: str, workflow_id: str | None = None) -> list[dict[str, Any]]:
    """The lines so far that say `what`, of one run or of all."""
    if not file.exists():
        return []
    found = [json.loads(line) for line in file.read_text().splitlines()]
    return [line for line in found if line["what"] == what and workflow_id in (None, line["id"])]
