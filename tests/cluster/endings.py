"""How the pods of a namespace end, from a watch: a poll would miss the second between a pod's end and its removal."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import IO, Any, Self

from tests.cluster.client import Cluster

_IN_HAND = re.compile(r"^\[pod/([^/]+)/.*drain: polling stops; (\d+) activities in hand")
_CUT = re.compile(r"^\[pod/([^/]+)/.*: (\d+) open polls are cut")
_DRAINED = re.compile(r"^\[pod/([^/]+)/.*drain: done in ([\d.]+) s")


@dataclass(frozen=True)
class Ending:
    """One pod that was told to leave. Times in seconds; Kubernetes gives them whole."""

    pod: str
    exit_code: int
    took_s: float
    """From the deletion to the end of its container."""
    grace_s: float
    watched_s: float = 0.0
    """The same between two looks of the watch: finer, and as late as its news was."""
    in_hand: int | None = None
    """Activities at its SIGTERM, by its log; None: its log does not say so (yet)."""
    drained_s: float | None = None
    """From its SIGTERM to the end of its drain, by its log."""
    polls_cut: int = 0
    """Those that were open when its drain waited no longer, by its log."""

    @property
    def clean(self) -> bool:
        """Whether it left by itself, with its work done, within its grace."""
        return self.exit_code == 0 and 0 <= self.took_s <= self.grace_s


class Endings:
    """Watches from entering to leaving. `of(prefix)` are the endings of pods by their names' beginning."""

    def __init__(self, cluster: Cluster, namespace: str, selector: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._selector = selector
        self._endings: dict[str, Ending] = {}
        self._deleted_at: dict[str, float] = {}
        self._in_hand: dict[str, int] = {}
        self._cut: dict[str, int] = {}
        self._drained: dict[str, float] = {}
        self._processes: list[subprocess.Popen[str]] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._read(self._pods, "get", "pods", "-l", self._selector, "--watch", "--output-watch-events", "-o", "json")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(10)
        for thread in self._threads:
            thread.join(10)

    def follow_logs(self) -> None:
        """Read on in the logs of the pods that are there now, to the end of each: what they had in hand."""
        self._read(self._logs, "logs", "-f", "-l", self._selector, "--prefix", "--tail=1", "--max-log-requests=50")

    def of(self, prefix: str) -> list[Ending]:
        """In the order of their names."""
        return [
            replace(
                ending,
                in_hand=self.in_hand(name),
                drained_s=self._drained.get(name),
                polls_cut=self._cut.get(name, 0),
            )
            for name, ending in sorted(self._endings.items())
            if name.startswith(prefix)
        ]

    def in_hand(self, pod: str) -> int | None:
        """Activities that a pod had in hand at its SIGTERM, by its log; None: its log does not say so (yet)."""
        return self._in_hand.get(pod)

    def _read(self, reader: Any, *command: str) -> None:
        process = self._cluster.start_kubectl(*command, namespace=self._namespace)
        assert process.stdout is not None
        thread = threading.Thread(target=reader, args=(process.stdout,), daemon=True)
        thread.start()
        self._processes.append(process)
        self._threads.append(thread)

    def _logs(self, lines: IO[str]) -> None:
        for line in lines:
            if found := _IN_HAND.match(line):
                self._in_hand[found[1]] = int(found[2])
            elif found := _CUT.match(line):
                self._cut[found[1]] = self._cut.get(found[1], 0) + int(found[2])
            elif found := _DRAINED.match(line):
                self._drained[found[1]] = float(found[2])

    def _pods(self, stream: IO[str]) -> None:
        # One document a line.
        for line in stream:
            pod, now = json.loads(line)["object"], time.monotonic()
            if "deletionTimestamp" in pod["metadata"]:
                self._deleted_at.setdefault(pod["metadata"]["name"], now)
            if ending := _ending(pod):
                ending = replace(ending, watched_s=round(now - self._deleted_at[ending.pod], 2))
                # Later ones of the same pod carry the grace of 0 with which the kubelet takes it away.
                self._endings.setdefault(ending.pod, ending)


def _ending(pod: dict[str, Any]) -> Ending | None:
    metadata, deleted = pod["metadata"], pod["metadata"].get("deletionTimestamp")
    for container in pod.get("status", {}).get("containerStatuses", []):
        ended = container["state"].get("terminated")
        if ended and deleted:
            grace_s = float(metadata["deletionGracePeriodSeconds"])
            # deletionTimestamp is the end of the grace period.
            took_s = (_time(ended["finishedAt"]) - _time(deleted)).total_seconds() + grace_s
            return Ending(metadata["name"], ended["exitCode"], took_s, grace_s)
    return None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
