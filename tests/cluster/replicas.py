"""What Deployments are told to have, and by whom. Watched: a poll would miss a number that was put right at once."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from .client import Cluster

_COLUMNS = 'jsonpath={.metadata.name} {.spec.replicas}{"\\n"}'
_FIRST_LIMIT_S = 30.0


def holds(events: Iterable[str]) -> list[str]:
    """The Events (`Reason message`) of a number that the operator took for somebody's.

    Not those of one whose maker is not known because an API server that is busy did not answer in time: the next look
    asks again.
    """
    return [event for event in events if event.startswith("Held") and "is not known: no answer" not in event]


class ReplicasWatch:
    """From entering to leaving: each number of replicas that a Deployment was told to have, in order, by its name."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.seen: dict[str, list[int]] = {}
        self._cluster = cluster
        self._namespace = namespace
        self._first = threading.Event()

    def __enter__(self) -> Self:
        watch = ("get", "deployments", "--watch", "--output", _COLUMNS)
        self._process = self._cluster.start_kubectl(*watch, namespace=self._namespace)
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        if not self._first.wait(_FIRST_LIMIT_S):
            raise AssertionError("the watch of Deployments said nothing")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        ended = self._process.poll()
        self._process.terminate()
        self._process.wait(10)
        self._thread.join()
        # It ends by itself when the API server does: what came after that was not seen.
        assert ended is None or error, f"the watch of Deployments ended with {ended}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            name, _, number = line.strip().partition(" ")
            numbers = self.seen.setdefault(name, [])
            if number and numbers[-1:] != [int(number)]:
                numbers.append(int(number))
            self._first.set()
