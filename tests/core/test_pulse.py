"""A loop that no longer turns ends its process, from a thread that does not need the loop."""

from __future__ import annotations

import re
import subprocess
import sys

_LOOP = """
import sys, time
from app.core.pulse import Pulse
pulse = Pulse(limit_s=3.0)
pulse.watch()
end = time.monotonic() + 5
while time.monotonic() < end:
    time.sleep(0.1)
    assert pulse.alive
    pulse.beat()
print("five seconds of beats", flush=True)
time.sleep(60)
"""


def test_a_loop_that_hangs_ends_the_process_and_one_that_beats_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", _LOOP], check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stdout == "five seconds of beats\n"
    assert re.search(r"the loop has not turned for \d+ s: leaving, for a new process", done.stderr)
