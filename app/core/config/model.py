"""Every setting of the fleet, as one frozen model.

The model is the single source: config.yaml and docs/configuration.md are printed from it, the environment and YAML are
read into it, and nothing else in the code has a default of its own. It imports pydantic only, because workflow code
sees it inside the Temporal sandbox; reading files and the environment is `load.py`'s work.

Units stand in the names (`_s` seconds, `_ms` milliseconds). A queue's section overrides the fleet-wide section of the
same name, key by key.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, SecretStr, model_validator

from app.core.config.calls import ActivitySettings, RetrySettings, WorkflowSettings
from app.core.config.section import Port, Seconds, Section, Table
from app.core.config.temporal import TemporalSettings, TlsSettings
from app.core.config.worker import WorkerSettings

__all__ = [
    "ActivitySettings",
    "ApiSettings",
    "LedgerSettings",
    "LocalSettings",
    "OperatorSettings",
    "QueueSettings",
    "RetrySettings",
    "ScalingSettings",
    "Settings",
    "TemporalSettings",
    "TlsSettings",
    "WorkerSettings",
    "WorkflowSettings",
]


class ScalingSettings(Section):
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
        default=50, ge=1, description="Waiting tasks that justify one replica, until the queue's service time is known."
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
        description="Never fewer replicas than have work in hand, up to max_replicas; idle ones stop, and no busy one.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> ScalingSettings:
        if self.min_replicas > self.max_replicas:
            raise ValueError(f"min_replicas ({self.min_replicas}) is above max_replicas ({self.max_replicas})")
        return self


class QueueSettings(Section):
    """Overrides for one task queue; a key that is absent keeps the fleet-wide value."""

    worker: Table[Any] = Field(default_factory=dict, description="Overrides of temporal.worker.")
    activities: Table[Any] = Field(default_factory=dict, description="Overrides of temporal.activities.")
    scaling: Table[Any] = Field(default_factory=dict, description="Overrides of scaling.")


class ApiSettings(Section):
    """The HTTP front."""

    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: Port = Field(default=8000, description="Port of the API.")
    shutdown_delay_s: float = Field(
        default=0.0,
        ge=0,
        le=300,
        description="How long it serves on after SIGTERM, not ready: until all load balancers have seen that.",
    )


class LedgerSettings(Section):
    """Where the example activities keep their book."""

    url: SecretStr = Field(
        default=SecretStr(""),
        description="SQLAlchemy URL; empty: ledger.db (SQLite) in local.data_dir. Never shown: it may hold a password.",
    )


class OperatorSettings(Section):
    """The operator on Kubernetes."""

    namespace: str = Field(default="", description="Kubernetes namespace that it works in; empty: the pod's own.")
    release: str = Field(default="", description="Instance label of the objects that it may touch; empty: all there.")
    poll_s: float = Field(default=2.0, ge=1, le=60, description="How often it looks.")
    calls_per_s: float = Field(
        default=10.0, ge=2, le=1000, description="Calls to Temporal, all together; Temporal Cloud allows 30."
    )
    health_host: str = Field(default="127.0.0.1", description="Address that its /livez and /metrics listen on.")
    health_port: Port = Field(default=0, description="Their port; 0 takes a free one and logs it.")


class LocalSettings(Section):
    """The fleet on one machine (`fleet dev`)."""

    data_dir: str = Field(
        default=".fleet", min_length=1, description="Folder of the server's data, the ledger and the logs."
    )
    temporal_port: Port = Field(default=7233, description="Port of the embedded Temporal server.")
    temporal_ui_port: Port = Field(default=8233, description="Port of its web page.")
    metrics_port: Port = Field(default=9464, description="Port of the autoscaler's /metrics.")
    poll_s: float = Field(default=2.0, ge=0.5, le=60, description="How often the autoscaler looks.")


class Settings(Section):
    """All settings of all processes."""

    temporal: TemporalSettings = Field(default_factory=TemporalSettings, description="Temporal.")
    scaling: ScalingSettings = Field(default_factory=ScalingSettings, description="Scaling of every queue.")
    queues: Table[QueueSettings] = Field(default_factory=dict, description="Overrides by task queue.")
    api: ApiSettings = Field(default_factory=ApiSettings, description="The HTTP front.")
    ledger: LedgerSettings = Field(default_factory=LedgerSettings, description="The example's ledger.")
    operator: OperatorSettings = Field(default_factory=OperatorSettings, description="The operator.")
    local: LocalSettings = Field(default_factory=LocalSettings, description="The fleet on one machine.")
