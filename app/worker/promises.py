"""What an activity promises: how long it takes, and whether a drain finishes it or hands it over. Pure data and checks.

    on_drain="finish"      it ends within the drain of its queue: never cut, so never run twice because of a deploy
    on_drain="hand_over"   it may be cut at any moment: it heartbeats, and another worker goes on with what it said last
    neither                nothing is promised; what a drain does to it is only warned of

What is declared holds for every call of the activity, over the configuration and under the keywords of the call: who
writes the body knows how long it may take. Rejected: deriving the class from the timeouts. The default of twenty
minutes would make everything "too long", and nobody would have promised anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal, cast, get_args

from pydantic import ValidationError
from temporalio.common import RetryPolicy

from app.core.config.model import ActivitySettings, RetrySettings, WorkerSettings
from app.core.config.resolve import merged
from app.core.config.section import TEN_YEARS_S
from app.worker.problems import did_you_mean

OnDrain = Literal["finish", "hand_over"]

LATEST_TASK_S = 1.5
LATEST_SHARE = 0.4
"""Of the drain, at most; see `latest_task_s`."""


@dataclass(frozen=True)
class Promise:
    """What `@activity_defn` says of an activity's time; None where it says nothing."""

    start_to_close_s: float | None = None
    heartbeat_s: float | None = None
    retry: RetrySettings | None = None
    on_drain: OnDrain | None = None

    @property
    def maximum_attempts(self) -> int | None:
        """Attempts in all, 0 without limit; None where no retry policy is declared."""
        return self.retry.maximum_attempts if self.retry else None

    def declared(self) -> dict[str, Any]:
        """What it says of the options, by their names in the configuration."""
        said = {
            "start_to_close_timeout_s": self.start_to_close_s,
            "heartbeat_timeout_s": self.heartbeat_s,
            "retry": self.retry.model_dump() if self.retry else None,
        }
        return {key: value for key, value in said.items() if value is not None}

    def over(self, configured: ActivitySettings) -> ActivitySettings:
        """The options that hold where a call says nothing.

        Raises pydantic.ValidationError where what is declared and what is configured do not fit together.
        """
        return merged(configured, {**self.declared(), "heartbeat_timeout_s": self.heartbeat_over(configured)})

    def heartbeat_over(self, configured: ActivitySettings) -> float | None:
        """The heartbeat timeout that holds; none where the configured one could never fire in the declared time."""
        beat = self.heartbeat_s or configured.heartbeat_timeout_s
        return None if self.start_to_close_s and beat and beat >= self.start_to_close_s else beat

    def __str__(self) -> str:
        return f'on_drain="{self.on_drain}"' if self.on_drain else ""


@dataclass
class _Reading:
    """The keywords of one decorator; what is wrong in them is left out of the promise, and told."""

    wrong: list[tuple[str, str]] = field(default_factory=list)

    def seconds(self, name: str, value: object) -> float | None:
        if value is None:
            return None
        if not isinstance(value, timedelta):
            self.wrong.append((f"{name} is {value!r}, and no timedelta", f"Write {name}=timedelta(seconds=...)."))
            return None
        seconds = value.total_seconds()
        if not 0 < seconds <= TEN_YEARS_S:
            self.wrong.append((f"{name} is {seconds:g} s", "Give it more than 0, and at most ten years."))
            return None
        return seconds

    def retry(self, policy: object) -> RetrySettings | None:
        if policy is None:
            return None
        if not isinstance(policy, RetryPolicy):
            self.wrong.append((f"retry_policy is {policy!r}", "Give it a temporalio.common.RetryPolicy(...)."))
            return None
        try:
            longest = policy.maximum_interval or policy.initial_interval * 100  # as Temporal has it
            return RetrySettings(
                initial_interval_s=policy.initial_interval.total_seconds(),
                backoff_coefficient=policy.backoff_coefficient,
                maximum_interval_s=longest.total_seconds(),
                maximum_attempts=policy.maximum_attempts,
                non_retryable_error_types=tuple(policy.non_retryable_error_types or ()),
            )
        except ValidationError as error:
            said = "; ".join(_one(line) for line in error.errors())
            self.wrong.append((f"its retry_policy does not work: {said}", "Temporal would refuse each call of it."))
        except (AttributeError, TypeError) as error:
            self.wrong.append((f"its retry_policy does not work: {error}", "Its intervals are timedeltas."))
        return None

    def on_drain(self, word: object) -> OnDrain | None:
        words = get_args(OnDrain)
        if word is None or word in words:
            return cast("OnDrain | None", word)
        said = f'Say "finish" or "hand_over".{did_you_mean(str(word), words)}'
        self.wrong.append((f"on_drain is {word!r}", said))
        return None


def read(
    start_to_close_timeout: object, heartbeat_timeout: object, retry_policy: object, on_drain: object
) -> tuple[Promise, list[tuple[str, str]]]:
    """The promise that these keywords make, and what is wrong in them: (fact, remedy) of each."""
    reading = _Reading()
    start = reading.seconds("start_to_close_timeout", start_to_close_timeout)
    heartbeat = reading.seconds("heartbeat_timeout", heartbeat_timeout)
    if start is not None and heartbeat is not None and heartbeat >= start:
        fact = f"heartbeat_timeout ({heartbeat:g} s) is not below start_to_close_timeout ({start:g} s)"
        reading.wrong.append((fact, "Lower it, else it can never fire; a third of it is how often to heartbeat."))
        heartbeat = None
    promise = Promise(start, heartbeat, reading.retry(retry_policy), reading.on_drain(on_drain))
    return promise, reading.wrong


def broken(promised: OnDrain | None, options: ActivitySettings, worker: WorkerSettings) -> Iterator[tuple[str, str]]:
    """Why `options` cannot keep what was promised, in the drain of `worker`: (fact, remedy) of each."""
    longest, heartbeat, drain_s = options.start_to_close_timeout_s, options.heartbeat_timeout_s, worker.drain_timeout_s
    left_s = drain_s - latest_task_s(worker)
    if promised == "finish" and longest > left_s:
        fact = (
            f"it may take {longest:g} s (start_to_close_timeout), and a drain of {drain_s:g} s has {left_s:g} s left "
            "when the last tasks arrive"
        )
        remedy = (
            f"Raise the queue's drain_timeout_s (drainSeconds in the chart) to {finishing_drain_s(longest, worker)}, "
            f'lower the timeout to {left_s:g} s, or declare on_drain="hand_over".'
        )
        yield fact, remedy
    if promised == "hand_over" and heartbeat is None:
        yield (
            "it has no heartbeat_timeout, and what another worker goes on with is what it said with a heartbeat",
            'Declare one (10 to 30 s suit most) and heartbeat, or declare on_drain="finish".',
        )
    if promised == "hand_over" and heartbeat is not None and heartbeat >= drain_s:
        yield (
            f"its heartbeat_timeout ({heartbeat:g} s) is not below the drain ({drain_s:g} s)",
            f"Lower it, or raise the queue's drain_timeout_s (drainSeconds in the chart) above {heartbeat:g}.",
        )
    if promised == "hand_over" and options.retry.maximum_attempts == 1:
        yield (
            "it has one attempt, and what is handed over is another one",
            "Give its retry_policy maximum_attempts of 2 or more, or 0 for no limit.",
        )


def latest_task_s(worker: WorkerSettings) -> float:
    """How long after the begin of a drain a task may still arrive, with a poll that was open then; in seconds."""
    return min(LATEST_TASK_S, LATEST_SHARE * worker.drain_timeout_s)


def finishing_drain_s(start_to_close_s: float, worker: WorkerSettings) -> int:
    """The shortest drain, in whole seconds, in which such an activity ends whenever it arrives."""
    drain_s = math.ceil(start_to_close_s)
    while drain_s - latest_task_s(worker.model_copy(update={"drain_timeout_s": float(drain_s)})) < start_to_close_s:
        drain_s += 1
    return drain_s


def _one(line: Any) -> str:
    said = line["msg"].removeprefix("Value error, ")
    return f"{line['loc'][-1]}: {said}" if line["loc"] else said
