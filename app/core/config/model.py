"""Every setting of the fleet, as one frozen model.

The model is the single source: config.yaml is printed from it, the environment and YAML are read into it, and nothing
else in the code has a default of its own. It imports pydantic only, because workflow code sees
it inside the Temporal sandbox; reading files and the environment is `load.py`'s work.

Units stand in the names (`_s` seconds, `_ms` milliseconds). A queue's section overrides the fleet-wide section of the
same name, key by key.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Seconds = Annotated[float, Field(gt=0, le=10 * 365 * 86400)]
Port = Annotated[int, Field(ge=0, le=65535)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class RetrySettings(_Section):
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
        default=(), description="Types of application error that are never retried."
    )


class WorkflowSettings(_Section):
    """Defaults of every workflow start; a keyword at the call wins."""

    execution_timeout_s: Seconds | None = Field(
        default=None, description="Limit of a workflow with all its retries and continuations; empty is no limit."
    )
    run_timeout_s: Seconds | None = Field(
        default=None,
        description="Limit of one run; it ends the run without letting its code clean up. Empty is no limit.",
    )
    task_timeout_s: Seconds = Field(
        default=10.0, le=120, description="Limit of one workflow task, which is milliseconds of work."
    )
    retry: RetrySettings = Field(
        default_factory=lambda: RetrySettings(maximum_attempts=1),
        description="Retry policy of a whole workflow; with one attempt, as here, a failed workflow has failed.",
    )


class ActivitySettings(_Section):
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


class WorkerSettings(_Section):
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
    versioning: Literal["off", "pinned", "auto_upgrade"] = Field(
        default="off",
        description="Worker Versioning of Temporal: an open run stays on its build (pinned) or goes on with the "
        "current one (auto_upgrade). When on, a build gets no work before it is made current.",
    )
    restarts: int = Field(
        default=3, ge=0, le=100, description="How often a worker that stops by itself is started again in its process."
    )
    heartbeat_interval_s: float = Field(
        default=2.0,
        ge=1,
        le=60,
        description="How often a process tells Temporal its used and free slots; the scaling's fast signal.",
    )
    drain_timeout_s: Seconds = Field(
        default=60.0, description="After SIGTERM: time for the activities in hand to finish before they are cancelled."
    )
    unwind_timeout_s: Seconds = Field(default=5.0, description="After that: time for cancelled activities to clean up.")
    flush_timeout_s: Seconds = Field(default=3.0, description="After that: time to send the last spans and log lines.")
    health_host: str = Field(default="127.0.0.1", description="Address that /livez, /readyz and /metrics listen on.")
    health_port: Port = Field(default=0, description="Their port; 0 takes a free one and logs it.")
    manifest_digest: str = Field(
        default="",
        description="Digest of the queue manifest that this process was deployed by; another registry is refused.",
    )
    identity: str = Field(
        default="", description="Name of this process in Temporal; empty: the pod's name, or pid@host."
    )
    deployment_name: str = Field(
        default="worker-fleet", min_length=1, description="Name of this fleet's code in Temporal."
    )
    build_id: str = Field(
        default="dev",
        min_length=1,
        description="Name of this build of it; given, because the SDK would otherwise hash every module at start.",
    )


class ScalingSettings(_Section):
    """How many processes (or pods) a queue gets."""

    min_replicas: int = Field(default=1, ge=0, le=1000, description="Never fewer; 0 lets an idle queue sleep.")
    max_replicas: int = Field(default=10, ge=0, le=1000, description="Never more; 0 switches the queue off.")
    max_wait_s: Seconds = Field(
        default=5.0, description="The objective: work should not wait longer than this for a slot."
    )
    utilization: int = Field(
        default=80, ge=10, le=100, description="Percent of the slots that should be in use when it is calm."
    )
    backlog_per_replica: int = Field(
        default=20, ge=1, description="Waiting tasks that justify one replica, until the queue's service time is known."
    )
    idle_s: Seconds = Field(
        default=600.0, description="With min_replicas 0: calm for so long before the last replica leaves."
    )
    stabilization_window_s: float = Field(
        default=300.0, ge=0, le=3600, description="Shrink only to the highest need seen in this window."
    )
    max_percent: int = Field(
        default=25, ge=1, le=100, description="Largest share of the replicas that one step down may take."
    )
    long_activities: bool = Field(
        default=False,
        description="Never fewer replicas than have work in hand, up to max_replicas. On this machine idle ones stop "
        "first; on Kubernetes the ReplicaSet chooses: one with work may be among those that stop, and drains.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ScalingSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) is above max_replicas ({self.max_replicas})")
        return self


class QueueSettings(_Section):
    """Overrides for one task queue; a key that is absent keeps the fleet-wide value."""

    worker: dict[str, Any] = Field(default_factory=dict, description="Overrides of temporal.worker.")
    activities: dict[str, Any] = Field(default_factory=dict, description="Overrides of temporal.activities.")
    scaling: dict[str, Any] = Field(default_factory=dict, description="Overrides of scaling.")


class TlsSettings(_Section):
    """TLS towards Temporal. Files are read again when they change, so that certificates rotate without a restart."""

    enabled: bool | None = Field(
        default=None, description="Whether TLS is spoken; empty: when a certificate or an API key is given."
    )
    server_ca_file: str = Field(
        default="", description="PEM file of the authority that signed the server's certificate; empty: the system's."
    )
    client_cert_file: str = Field(default="", description="PEM file of this client's certificate (mTLS).")
    client_key_file: str = Field(default="", description="PEM file of its private key.")
    server_name: str = Field(
        default="", description="Name that the server's certificate must have; empty: the host of the address."
    )

    @model_validator(mode="after")
    def _paired(self) -> TlsSettings:
        if bool(self.client_cert_file) != bool(self.client_key_file):
            raise ValueError("client_cert_file and client_key_file belong together: set both or none")
        return self


class TemporalSettings(_Section):
    """The Temporal server and what we ask of it."""

    enabled: bool = Field(
        default=True, description="Whether there is a Temporal at all; false: the API runs, and what needs it is 503."
    )
    address: str = Field(
        default="127.0.0.1:7233", pattern=r"^[^\s:/]+:\d+$", description="host:port of the Temporal frontend."
    )
    namespace: str = Field(default="default", min_length=1, description="Temporal namespace of this fleet.")
    profile: str = Field(
        default="", description="Profile of temporal.toml whose connection is the default here; empty: its default one."
    )
    tls: TlsSettings = Field(default_factory=TlsSettings, description="TLS towards Temporal.")
    api_key_file: str = Field(default="", description="File that holds an API key; read again when it changes.")
    rpc_timeout_s: Seconds = Field(default=2.0, description="Limit of a health check, and of a start by the API.")
    workflows: WorkflowSettings = Field(default_factory=WorkflowSettings, description="Defaults of workflow starts.")
    activities: ActivitySettings = Field(default_factory=ActivitySettings, description="Defaults of activity calls.")
    activity: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="Overrides of temporal.activities by activity name; they win over a queue's."
    )
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="The worker process.")


class ApiSettings(_Section):
    """The HTTP front."""

    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: Port = Field(default=8000, description="Port of the API.")


class LedgerSettings(_Section):
    """Where the example activities keep their book."""

    url: str = Field(default="", description="SQLAlchemy URL; empty: ledger.db (SQLite) in local.data_dir.")


class OperatorSettings(_Section):
    """The operator on Kubernetes."""

    namespace: str = Field(default="", description="Kubernetes namespace that it works in; empty: the pod's own.")
    release: str = Field(default="", description="Instance label of the objects that it may touch; empty: all there.")
    poll_s: float = Field(default=3.0, ge=1, le=60, description="How often it looks.")
    health_host: str = Field(default="127.0.0.1", description="Address that its /livez and /metrics listen on.")
    health_port: Port = Field(default=0, description="Their port; 0 takes a free one and logs it.")


class LocalSettings(_Section):
    """The fleet on one machine (`fleet dev`)."""

    data_dir: str = Field(
        default=".fleet", min_length=1, description="Folder of the server's data, the ledger and the logs."
    )
    temporal_port: Port = Field(default=7233, description="Port of the embedded Temporal server.")
    temporal_ui_port: Port = Field(default=8233, description="Port of its web page.")
    metrics_port: Port = Field(default=9464, description="Port of the autoscaler's /metrics.")
    poll_s: float = Field(default=2.0, ge=0.5, le=60, description="How often the autoscaler looks.")


class Settings(_Section):
    """All settings of all processes."""

    temporal: TemporalSettings = Field(default_factory=TemporalSettings, description="Temporal.")
    scaling: ScalingSettings = Field(default_factory=ScalingSettings, description="Scaling of every queue.")
    queues: dict[str, QueueSettings] = Field(default_factory=dict, description="Overrides by task queue.")
    api: ApiSettings = Field(default_factory=ApiSettings, description="The HTTP front.")
    ledger: LedgerSettings = Field(default_factory=LedgerSettings, description="The example's ledger.")
    operator: OperatorSettings = Field(default_factory=OperatorSettings, description="The operator.")
    local: LocalSettings = Field(default_factory=LocalSettings, description="The fleet on one machine.")
