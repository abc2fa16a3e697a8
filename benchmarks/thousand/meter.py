"""What an operator costs from one moment to another: CPU, memory, looks, and calls to both of its servers."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.operator.process import ACCOUNT, Operator
from tests.parts.grpc_proxy import Proxy

WRITES = ("create", "update", "patch", "delete")
_LAG = "fleet_operator_look_lag_seconds"
_TICKS_S = os.sysconf("SC_CLK_TCK")


class Audit:
    """What the operator of `namespace` has asked of the API server since the last question, by verb and resource."""

    def __init__(self, log: Path, namespace: str) -> None:
        self._user = f"system:serviceaccount:{namespace}:{ACCOUNT}"
        self._file = log.open()
        self._file.seek(0, os.SEEK_END)

    def read(self) -> Counter[str]:
        found: Counter[str] = Counter()
        while line := self._file.readline():
            while not line.endswith("\n"):  # in the writing
                line += self._file.readline()
            event: dict[str, Any] = json.loads(line)
            # A watch is told when it starts and when it ends.
            if event["user"]["username"] == self._user and event["stage"] != "ResponseStarted":
                about = event.get("objectRef", {})
                resource = "/".join(about[key] for key in ("resource", "subresource") if key in about)
                found[f"{event['verb']} {resource or event['requestURI']}"] += 1
        return found


@dataclass(frozen=True)
class Moment:
    at: float
    cpu_s: float
    rss_mib: float
    temporal: Counter[str]


class Meter:
    """Of one operator."""

    def __init__(self, running: Operator, proxy: Proxy, audit: Audit) -> None:
        self._running = running
        self._proxy = proxy
        self._audit = audit

    def moment(self) -> Moment:
        pid = self._running.process.pid
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
        rss_kib = int(status.partition("VmRSS:")[2].split()[0])
        cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_S
        return Moment(time.monotonic(), cpu_s, rss_kib / 1024, Counter(self._proxy.calls))

    def lags(self) -> dict[float, float]:
        """Asking costs the operator something: not within a window."""
        samples = self._running.metrics()
        return {float(dict(labels)["le"]): n for (name, labels), n in samples.items() if name == f"{_LAG}_bucket"}

    def window(self, seconds: float) -> dict[str, Any]:
        """What `seconds` from now on cost."""
        before_lags = self.lags()
        time.sleep(3.0)  # until the answer is forgotten
        self._audit.read()
        before = self.moment()
        time.sleep(seconds)
        after, asked = self.moment(), self._audit.read()
        lasted_s = after.at - before.at
        calls = after.temporal - before.temporal
        lags = {le: n - before_lags.get(le, 0) for le, n in self.lags().items()}
        return {
            "cpu_percent": round(100 * (after.cpu_s - before.cpu_s) / lasted_s, 1),
            "rss_mib": round(after.rss_mib, 1),
            "temporal_per_s": {name: round(n / lasted_s, 2) for name, n in sorted(calls.items())},
            "kubernetes": dict(sorted(asked.items())),
            "writes": sum(n for name, n in asked.items() if name.startswith(WRITES)),
            "lags": {str(le): n for le, n in sorted(lags.items())},
        }


def at_most(lags: list[dict[str, float]], share: float) -> str:
    """The bucket that the `share` of all looks is in, as `<= 0.01`."""
    total: Counter[float] = Counter()
    for each in lags:
        total.update({float(le): n for le, n in each.items()})
    return f"<= {min(le for le, n in total.items() if n >= share * max(total.values()))}"
