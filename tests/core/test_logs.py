"""What libraries may say on the log of a process. In a process of its own: the setup is the process's."""

from __future__ import annotations

import subprocess
import sys

import pytest

TELL = """
import logging, sys
from app.core.telemetry import logs
logs.configure(sys.argv[1])
for name in ("app", "httpx2", "kopf.objects"):
    logging.getLogger(name).info("%s informs", name)
    logging.getLogger(name).warning("%s warns", name)
"""

EACH = [f"{name} {does}" for name in ("app", "httpx2", "kopf.objects") for does in ("informs", "warns")]


@pytest.mark.parametrize(
    ("level", "lines"),
    [("INFO", ["app informs", "app warns", "httpx2 warns", "kopf.objects warns"]), ("ERROR", []), ("DEBUG", EACH)],
)
def test_a_library_that_tells_of_each_call_only_warns(level: str, lines: list[str]) -> None:
    told = subprocess.run([sys.executable, "-c", TELL, level], capture_output=True, text=True, check=True).stderr
    assert [line.partition(": ")[2] for line in told.splitlines()] == lines
