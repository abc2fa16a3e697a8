"""The server of the tests ends with them, however they end."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.local.dev_fleet import until

KILLED = """
import os, signal, sys
from pathlib import Path
from tests.parts.temporal import own_server
with own_server(Path(sys.argv[1])) as (_, server):
    print(server.pid, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="SKIPPED: util-linux's setpriv ties a server to its test")
def test_a_killed_test_run_leaves_no_server(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    until(lambda: not running(int(done.stdout)), 10)


def running(pid: int) -> bool:
    """A zombie, which waits for whoever adopted it, does not."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
