"""How workflows and activities are started: timeouts and retries; a keyword at the call always wins over them."""

from __future__ import annotations

from pydantic import Field, model_validator

from app.core.config.section import Seconds, Section


class RetrySettings(Section):
    """Retry policy; the words and defaults are Temporal's own."""

    initial_interval_s: Seconds = Field(default=1.0, description="Wait before the first retry.")
    backoff_coefficient: float = Field(default=2.0, ge=1, description="Factor by which the wait grows with each retry.")
    maximum_interval_s: Seconds = Field(default=60.0, description="Longest wait between two retries.")
    maximum_attempts: int = Field(
        default=0,
        ge=0,
        description="Attempts in all; 0 is no limit. With 1, a worker that leaves in the middle fails the activity.",
    )
    non_retryable_error_types: tuple[str, ...] = Field(
        default=(),
        description="Types of application error that are never retried; PayloadsTooLarge is always among them.",
    )

    @model_validator(mode="after")
    def _grows(self) -> RetrySettings:
        if self.maximum_interval_s < self.initial_interval_s:
            raise ValueError(
                f"maximum_interval_s ({self.maximum_interval_s:g}) is below initial_interval_s "
                f"({self.initial_interval_s:g}): Temporal refuses that"
            )
        return self


class WorkflowSettings(Section):
    """Defaults of every workflow start; a keyword at the call wins."""

    execution_timeout_s: Seconds | None = Field(
        default=None, description="Limit of a workflow with all its retries and continuations; empty is no limit."
    )
    run_timeout_s: Seconds | None = Field(
        default=None,
        description="Limit of one run; it ends the run without letting its code clean up. Empty is no limit.",
    )
    task_timeout_s: float = Field(
        default=10.0, gt=0, le=120, description="Limit of one workflow task, which is milliseconds of work."
    )
    retry: RetrySettings = Field(
        default_factory=lambda: RetrySettings(maximum_attempts=1),
        description="Retry policy of a whole workflow; with one attempt, as here, a failed workflow has failed.",
    )


class ActivitySettings(Section):
    """Defaults of every activity call; a keyword at the call wins."""

    start_to_close_timeout_s: Seconds = Field(
        default=1200.0,
        description="Limit of one attempt. Without a heartbeat it is also how long a lost worker goes unnoticed.",
    )
    schedule_to_close_timeout_s: Seconds | None = Field(
        default=None, description="Limit of an activity with all its retries; empty is no limit."
    )
    schedule_to_start_timeout_s: Seconds | None = Field(
        default=None, description="Limit of the wait for a worker; empty is no limit."
    )
    heartbeat_timeout_s: Seconds | None = Field(
        default=None, description="Longest silence of an activity that heartbeats; empty: it does not heartbeat."
    )
    retry: RetrySettings = Field(default_factory=RetrySettings, description="Retry policy of an activity.")

    @model_validator(mode="after")
    def _fits(self) -> ActivitySettings:
        close, start = self.schedule_to_close_timeout_s, self.start_to_close_timeout_s
        if close is not None and close < start:
            raise ValueError(
                f"schedule_to_close_timeout_s ({close:g}) is below start_to_close_timeout_s ({start:g}): "
                "no attempt could use its time"
            )
        if self.heartbeat_timeout_s is not None and self.heartbeat_timeout_s >= start:
            raise ValueError(
                f"heartbeat_timeout_s ({self.heartbeat_timeout_s:g}) must be below "
                f"start_to_close_timeout_s ({start:g}), else it can never fire"
            )
        return self
