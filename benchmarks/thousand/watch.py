"""What the API server tells of objects, as `kubectl get --watch` prints it, for as long as it takes."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Any

from tests.cluster.client import Cluster


class Watch:
    """Calls `told` with the name of each object, and what `column` (a JSONPath) says of it, in a thread."""

    def __init__(self, cluster: Cluster, namespace: str, resource: str, column: str) -> None:
        output = f'jsonpath={{.metadata.name}} {{{column}}}{{"\\n"}}'
        self._command = "get", resource, "--watch", "--output", output
        self._cluster, self._namespace, self._ended = cluster, namespace, False
        self._process = self._start()
        threading.Thread(target=self._read, daemon=True).start()

    def told(self, name: str, value: str) -> None:
        """For subclasses."""
        raise NotImplementedError

    def kill(self) -> None:
        self._ended = True
        self._process.kill()

    def _start(self) -> subprocess.Popen[str]:
        return self._cluster.start_kubectl(*self._command, namespace=self._namespace)

    def _read(self) -> None:
        while not self._ended:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                name, _, value = line.strip().partition(" ")
                self.told(name, value)
            # The API server ends a watch when it likes; what came meanwhile is told by the next one's list.
            time.sleep(0.2)
            if not self._ended:
                self._process = self._start()


class Statuses(Watch):
    """What changes in the statuses of WorkerPools: each write changes one, if only its `observedTime`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._known: dict[str, dict[str, Any]] = {}
        self._changes: list[dict[str, Any]] = []
        super().__init__(cluster, namespace, "workerpools", ".status")

    def told(self, name: str, value: str) -> None:
        status = json.loads(value or "{}")
        before, self._known[name] = self._known.get(name), status
        if before is None:
            return
        # A watch that begins anew tells all once more, and so does a change of something else.
        if keys := sorted(key for key in before.keys() | status.keys() if before.get(key) != status.get(key)):
            self._changes.append({"pool": name} | {key: [before.get(key), status.get(key)] for key in keys})

    def changes(self) -> list[dict[str, Any]]:
        """Since the last call."""
        found, self._changes = self._changes, []
        return found
