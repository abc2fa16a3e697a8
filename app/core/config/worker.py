"""The worker process: what it runs, how much at once, how it leaves."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from app.core.config.section import Port, Seconds, Section
from app.core.config.texts import amount_of_memory

RELEASE_S = 4.0
"""After drain and unwind: the time to hand back to Temporal what is stuck. The chart adds the same to its grace."""


class WorkerSettings(Section):
    """One worker process."""

    packages: tuple[str, ...] = Field(
        default=("app.worker.workflows", "app.worker.activities"),
        min_length=1,
        description="Packages (or modules) whose workflows and activities this fleet runs.",
    )
    passthrough_modules: tuple[str, ...] = Field(
        default=(),
        description="Further modules that workflow code may import without being re-imported for each run: "
        "libraries without side effects on import.",
    )
    external_queues: tuple[str, ...] = Field(
        default=(), description="Task queues that somebody else's workers serve; activities may be sent there."
    )
    max_concurrent_activities: int = Field(default=10, ge=1, le=10_000, description="Activity slots of one process.")
    max_concurrent_workflow_tasks: int = Field(
        default=40, ge=2, le=10_000, description="Workflow-task slots of one process; a task is milliseconds of CPU."
    )
    workflow_cache_size: int = Field(
        default=600, ge=0, description="Workflow runs that one process keeps in memory between tasks."
    )
    max_concurrent_local_activities: int = Field(
        default=40, ge=1, le=10_000, description="Slots for local activities of one process."
    )
    max_concurrent_workflow_task_polls: int = Field(
        default=5, ge=2, le=1000, description="Open polls for workflow tasks; each hands over one task at a time."
    )
    max_concurrent_activity_task_polls: int = Field(
        default=5, ge=1, le=1000, description="Open polls for activities; each hands over one at a time."
    )
    activities_per_second: float | None = Field(
        default=None, gt=0, description="Most activities that one process starts in a second; empty is no limit."
    )
    queue_activities_per_second: float | None = Field(
        default=None,
        gt=0,
        description="Most activities that Temporal hands out in a second on a queue, to all processes together; "
        "empty is no limit.",
    )
    sticky_queue_schedule_to_start_timeout_ms: int = Field(
        default=10_000,
        ge=1,
        le=3_600_000,
        description="How long a workflow task waits for the process that has its run in memory before any may take it.",
    )
    versioning: Annotated[
        Literal["off", "pinned", "auto_upgrade"],
        # YAML reads a bare `off` as false.
        BeforeValidator(lambda value: "off" if value is False else value),
    ] = Field(
        default="off",
        description="Worker Versioning of Temporal: an open run stays on its build (pinned) or goes on with the "
        "current one (auto_upgrade). When on, a build gets no work before it is made current.",
    )
    restarts: int = Field(
        default=3, ge=0, le=100, description="How often a worker that stops by itself is started again in its process."
    )
    heartbeat_interval_s: float = Field(
        default=1.0,
        ge=1,
        le=60,
        description="How often a process tells Temporal its used and free slots; the scaling's fast signal.",
    )
    max_memory: Annotated[str, AfterValidator(amount_of_memory)] = Field(
        default="",
        description="Resident memory above which a process drains, for a new one to take its place: 1500Mi, 2Gi, or a "
        "share of its container's limit such as 90%; empty: no ceiling.",
    )
    drain_timeout_s: Seconds = Field(
        default=60.0, description="After SIGTERM: time for the activities in hand to finish before they are cancelled."
    )
    polls_timeout_s: Seconds = Field(
        default=12.0,
        description="In that time, on a queue with traffic: how long open polls may take to come home before they are "
        "cut; at most 40 % of it counts. Temporal answers a poll after 60 s even if there is nothing.",
    )
    unwind_timeout_s: Seconds = Field(default=5.0, description="After that: time for cancelled activities to clean up.")
    flush_timeout_s: Seconds = Field(default=3.0, description="After that: time to send the last spans and log lines.")
    termination_grace_s: Seconds | None = Field(
        default=None,
        description="When the process is killed after SIGTERM (terminationGracePeriodSeconds of its pod); the three "
        "times above and 4 s to release what is stuck must fit in. Empty: nobody kills it. The Helm chart sets it.",
    )
    health_host: str = Field(default="127.0.0.1", description="Address that /livez, /readyz and /metrics listen on.")
    health_port: Port = Field(default=0, description="Their port; 0 takes a free one and logs it.")
    manifest_digest: str = Field(
        default="",
        description="Digest of the queue manifest that this process was deployed by; another registry is refused.",
    )
    identity: str = Field(
        default="", description="Name of this process in Temporal, of no other; empty: the pod's name, or pid@host."
    )
    deployment_name: str = Field(
        default="worker-fleet", min_length=1, description="Name of this fleet's code in Temporal."
    )
    build_id: str = Field(
        default="dev",
        min_length=1,
        description="Name of this build of it; given, because the SDK would otherwise hash every module at start.",
    )

    @model_validator(mode="after")
    def _drains_in_time(self) -> WorkerSettings:
        needed = self.drain_timeout_s + self.unwind_timeout_s + RELEASE_S + self.flush_timeout_s
        if self.termination_grace_s is not None and needed > self.termination_grace_s:
            raise ValueError(
                f"drain_timeout_s + unwind_timeout_s + {RELEASE_S:g} s to release what is stuck + flush_timeout_s "
                f"({needed:g}) is above termination_grace_s ({self.termination_grace_s:g}): the process would be "
                "killed with work in hand"
            )
        return self
