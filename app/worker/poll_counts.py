"""Whether the polls of a process come through, judged by the SDK's own counts of them.

The SDK bears a refused poll in silence: what it takes for an outage it tries again for ever, all else for a minute.
Its metrics count each try, with the answer, at once. A poll that waits at the server counts as begun and not as ended;
so one that has begun after the last failure, and is still out at the next look, has come through.

Rejected: its log, which tells of a failing poll after five tries (half a minute) and not of which queue; and a poll of
our own, which would take a task that nobody is there to do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

BLIP_S = 5.0
"""What is no trouble yet: the SDK is back within a second after a server or a load balancer was replaced."""
NO_ANSWER = "TRANSPORT_ERROR"
"""The SDK's word for a try that no server has answered."""
SILENCE = "no answer within 70 s"
"""Our word for one that ran into the SDK's own limit; a server sends even an empty answer after 60 s."""
_LONGEST_ANSWER_S = 65.0
_RETRIED_FOR_EVER = frozenset(
    {
        *(NO_ANSWER, SILENCE, "UNAVAILABLE", "UNKNOWN", "INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "DATA_LOSS"),
        *("OUT_OF_RANGE", "CANCELLED", "DEADLINE_EXCEEDED"),
    }
)
"""Of temporalio 1.35 (client/src/retry.rs); other answers end the worker after a minute."""

_LINE = re.compile(
    r"^temporal_long_request(_total|_failure_total|_latency_seconds_count|_latency_seconds_sum)"
    r'\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\} (\S+)',
    re.MULTILINE,
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_POLL = re.compile(r"Poll\w+TaskQueue")


@dataclass
class Counts:
    """The tries of one kind of poll since the process began."""

    begun: int = 0
    ended: int = 0
    seconds: float = 0.0
    """How long those that ended took, together."""
    failed: Counter[str] = field(default_factory=Counter)
    """By status."""

    @property
    def succeeded(self) -> int:
        return self.ended - self.failed.total()


Kind = tuple[str, str]
"""Task queue and operation."""


def read(page: str) -> dict[Kind, Counts]:
    """The counts on a page of the SDK's metrics."""
    found: dict[Kind, Counts] = {}
    for what, text, value in _LINE.findall(page):
        labels = {name: re.sub(r"\\(.)", r"\1", said) for name, said in _LABEL.findall(text)}
        if not _POLL.fullmatch(operation := labels.get("operation", "")):
            continue
        counts = found.setdefault((labels.get("task_queue", ""), operation), Counts())
        if what == "_failure_total":
            counts.failed[labels.get("status_code", "")] += int(value)
        elif what == "_total":
            counts.begun += int(value)
        elif what == "_latency_seconds_sum":
            counts.seconds += float(value)
        else:
            counts.ended += int(value)
    return found


@dataclass(frozen=True)
class Trouble:
    """One kind of poll that does not come through, `since` a moment in monotonic seconds."""

    queue: str
    operation: str
    status: str
    since: float
    begun: int
    """Tries begun when it last failed."""
    retried: bool = False
    """Whether a try has begun since."""

    @property
    def refused(self) -> bool:
        """Whether the server has said no, and the SDK will end the worker within a minute of that."""
        return self.status not in _RETRIED_FOR_EVER

    def __str__(self) -> str:
        return f"{self.operation} gets {'no answer (transport error)' if self.status == NO_ANSWER else self.status}"


class PollCounts:
    """What a series of looks says."""

    def __init__(self, queues: Iterable[str]) -> None:
        self._queues = frozenset(queues)
        self._last: dict[Kind, Counts] = {}
        self._troubles: dict[Kind, Trouble] = {}

    def look(self, page: str, now: float) -> None:
        """Take in a page of the SDK's metrics that was read at `now`."""
        for kind, counts in read(page).items():
            if kind[0] in self._queues:
                self._judge(kind, self._last.get(kind, Counts()), counts, now)
                self._last[kind] = counts

    def troubles(self, now: float) -> dict[str, Trouble]:
        """Queue -> its longest trouble: refusals at once, others when they are more than a blip."""
        found: dict[str, Trouble] = {}
        for trouble in sorted(self._troubles.values(), key=lambda trouble: trouble.since):
            if trouble.refused or trouble.status == SILENCE or now - trouble.since >= BLIP_S:
                found.setdefault(trouble.queue, trouble)
        return found

    def _judge(self, kind: Kind, before: Counts, counts: Counts, now: float) -> None:
        trouble = self._troubles.get(kind)
        new = counts.failed - before.failed
        came_through = counts.succeeded > before.succeeded
        if new:
            status = new.most_common(1)[0][0]
            if (counts.seconds - before.seconds) / max(1, counts.ended - before.ended) > _LONGEST_ANSWER_S:
                status = SILENCE
            since = trouble.since if trouble else now
            fresh = Trouble(*kind, status, since, counts.begun)
            # Polls of before a refusal still come back well; a server that throttles lets some through.
            if fresh.refused or not came_through:
                self._troubles[kind] = fresh
                return
        if trouble is None:
            return
        if came_through or trouble.retried:
            del self._troubles[kind]
        elif counts.begun > trouble.begun and trouble.status != SILENCE:  # to be out says nothing then
            self._troubles[kind] = replace(trouble, retried=True)
