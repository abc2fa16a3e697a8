"""The small process that ends what a fleet started when its supervisor is gone, however that went.

The supervisor writes `+ <stage> <pid>` and `- <pid>` lines into this process's stdin. Only the supervisor holds the
other end, so the kernel closes it whatever ended the supervisor, and the end of the file is the message that nobody can
forget to send. What is on the list then is stopped by ascending stage: SIGTERM, the stage's grace, SIGKILL, the last to
whole process groups.

Rejected: PR_SET_PDEATHSIG (Linux only, and no order: Temporal would go before its workers have drained); a look for the
supervisor's pid now and then (late, and a pid may be somebody else's by then); children that watch a pipe themselves
(the Temporal server is not ours to change). It imports little and nothing of ours: `children.py` runs this file with
`python -IS`, which costs some 10 MB and 30 ms. By hand: `python -m app.local.guardian --grace 0=10`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

# A stage without a --grace of its own.
DEFAULT_GRACE_S = 10.0
# Whoever signals the whole fleet means the supervisor; this process leaves last, and only because stdin ended.
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)
# SIGKILL is not refused, but a process deep in the kernel dies late; after this the next stage is up.
KILL_WAIT_S = 2.0
# Looks begin this far apart and grow to the second number: without /proc each one is a `ps`.
_FIRST_LOOK_S, _LAST_LOOK_S = 0.02, 0.25
_PS_TIMEOUT_S = 5.0
_HAS_PROC = os.path.exists("/proc/self/stat")


def is_gone(pid: int) -> bool:
    """True when no such process exists, or it has ended and only waits for its parent to notice (a zombie)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return (_state_by_proc(pid) if _HAS_PROC else _state_by_ps(pid)) in ("", "Z", "X")


def _state_by_proc(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            # The name stands in parentheses and may hold anything, a parenthesis too.
            return stat.read().rpartition(b")")[2].split()[0].decode()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _state_by_ps(pid: int) -> str:
    import subprocess  # 1.6 MB and 8 ms that Linux never needs

    try:
        command = ["ps", "-o", "stat=", "-p", str(pid)]
        return subprocess.run(command, stdout=-1, timeout=_PS_TIMEOUT_S, check=False).stdout.decode().strip()[:1]
    except (OSError, subprocess.TimeoutExpired):
        return "?"


def signal_group(pid: int, sig: int) -> None:
    """Signals the process group that `pid` leads; does nothing when it has no members left."""
    # macOS answers EPERM for a group of zombies.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, sig)


def _say(text: str) -> None:
    # A full disk or a closed terminal must not end the guardian.
    with suppress(OSError):
        print(time.strftime("%Y-%m-%d %H:%M:%S"), "guardian:", text, file=sys.stderr, flush=True)


def _wait(pids: Iterable[int], limit_s: float) -> set[int]:
    """Those of `pids` that still live after `limit_s`; what the others left in their groups is killed at once."""
    deadline, pause_s = time.monotonic() + limit_s, _FIRST_LOOK_S
    left = set(pids)
    while True:
        for pid in [pid for pid in left if is_gone(pid)]:
            left.discard(pid)
            # At once, not at the end of the stage: by then the pid might be somebody else's.
            signal_group(pid, signal.SIGKILL)
        rest_s = deadline - time.monotonic()
        if not left or rest_s <= 0:
            return left
        time.sleep(min(pause_s, rest_s))
        pause_s = min(pause_s * 1.5, _LAST_LOOK_S)


def stop_stage(pids: Sequence[int], grace_s: float) -> None:
    """Ends the process groups of `pids`; returns after at most grace_s + KILL_WAIT_S."""
    for pid in pids:
        # To the leader alone, as Kubernetes and the supervisor do: a subprocess of an activity must not go first.
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGTERM)
    left = _wait(pids, grace_s)
    for pid in left:
        _say(f"pid {pid} did not end within {grace_s:g} s of SIGTERM: killing its process group")
        signal_group(pid, signal.SIGKILL)
    for pid in _wait(left, KILL_WAIT_S):
        _say(f"pid {pid} still lives {KILL_WAIT_S:g} s after SIGKILL: giving up on it")


def _graces(args: Sequence[str]) -> dict[int, float]:
    """{stage: seconds} of `--grace 0=10 --grace 1=75`. Raises ValueError. argparse would add 0.7 MB and 5 ms."""
    graces: dict[int, float] = {}
    for flag, value in zip(args[::2], args[1::2], strict=True):
        if flag != "--grace":
            raise ValueError(f"unknown option {flag}: the only one is --grace STAGE=SECONDS")
        stage, _, seconds = value.partition("=")
        graces[int(stage)] = float(seconds)
    return graces


def _read(lines: Iterable[bytes]) -> dict[int, int]:
    """{pid: stage} of what is left when `lines` end."""
    wards: dict[int, int] = {}
    for line in lines:
        match line.split():
            case [b"+", stage, pid] if stage.isdigit() and pid.isdigit():
                wards[int(pid)] = int(stage)
            case [b"-", pid] if pid.isdigit():
                wards.pop(int(pid), None)
            case _:
                _say(f"ignoring a line that is neither '+ <stage> <pid>' nor '- <pid>': {line!r}")
    return wards


def main(args: Sequence[str]) -> int:
    """Reads stdin to its end, then stops what is left. Returns the exit code: 0, or 2 on wrong usage."""
    for sig in IGNORED:
        signal.signal(sig, signal.SIG_IGN)
    try:
        graces = _graces(args)
    except ValueError as error:
        _say(f"wrong usage: {error}")
        return 2
    wards = _read(sys.stdin.buffer)
    for stage in sorted(set(wards.values())):
        pids = [pid for pid, its_stage in wards.items() if its_stage == stage]
        grace_s = graces.get(stage, DEFAULT_GRACE_S)
        _say(f"the supervisor is gone: stopping stage {stage}, {len(pids)} left, grace {grace_s:g} s")
        stop_stage(pids, grace_s)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
