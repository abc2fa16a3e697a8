"""The Temporal server, how to get to it and what we ask of it.

Everything that `temporalio.envconfig` can say has a place here, so that TEMPORAL_* variables, a profile of
temporal.toml and config.yaml mix key by key. What is secret is a SecretStr: no repr, log or printed configuration
shows it.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, SecretStr, model_validator

from app.core.config.calls import ActivitySettings, WorkflowSettings
from app.core.config.section import Seconds, Section, Table
from app.core.config.texts import host_and_port, one_line
from app.core.config.worker import WorkerSettings

Header = Annotated[SecretStr, AfterValidator(lambda secret: SecretStr(one_line(secret.get_secret_value())))]
"""The secret value of a header."""


class TlsSettings(Section):
    """TLS towards Temporal. Files are read again when they change, so that certificates rotate without a restart."""

    enabled: bool | None = Field(
        default=None,
        description="Whether TLS is spoken; empty: when a certificate, a server name or an API key is given.",
    )
    server_ca_file: str = Field(
        default="", description="PEM file of the authority that signed the server's certificate; empty: the system's."
    )
    server_ca_data: str = Field(default="", description="The same as text (PEM) instead of a file.")
    client_cert_file: str = Field(default="", description="PEM file of this client's certificate (mTLS).")
    client_cert_data: str = Field(default="", description="The same as text (PEM) instead of a file.")
    client_key_file: str = Field(default="", description="PEM file of its private key.")
    client_key_data: SecretStr = Field(
        default=SecretStr(""), description="The same as text (PEM) instead of a file; never shown."
    )
    server_name: str = Field(
        default="", description="Name that the server's certificate must have; empty: the host of the address."
    )

    @model_validator(mode="after")
    def _paired(self) -> TlsSettings:
        for name in ("server_ca", "client_cert", "client_key"):
            if getattr(self, f"{name}_file") and getattr(self, f"{name}_data"):
                raise ValueError(f"{name}_file and {name}_data say the same thing twice: leave one out")
        cert, key = (
            next((key for key in (f"{name}_file", f"{name}_data") if getattr(self, key)), "")
            for name in ("client_cert", "client_key")
        )
        if cert and not key:
            raise ValueError(f"{cert} needs client_key_file or client_key_data: a certificate is of no use without it")
        if key and not cert:
            raise ValueError(f"{key} needs client_cert_file or client_cert_data: a key is of no use without it")
        return self


class TemporalSettings(Section):
    """The Temporal server and what we ask of it."""

    enabled: bool = Field(
        default=True, description="Whether there is a Temporal at all; false: the API runs, and what needs it is 503."
    )
    address: Annotated[str, AfterValidator(host_and_port)] = Field(
        default="127.0.0.1:7233", description="host:port of the Temporal frontend; an IPv6 host in brackets."
    )
    namespace: str = Field(default="default", min_length=1, description="Temporal namespace of this fleet.")
    profile: str = Field(
        default="", description="Profile of temporal.toml whose connection is the default here; empty: its default one."
    )
    tls: TlsSettings = Field(default_factory=TlsSettings, description="TLS towards Temporal.")
    api_key: Header = Field(
        default=SecretStr(""), description="API key; never shown. A file is better: it can change without a restart."
    )
    api_key_file: str = Field(default="", description="File that holds an API key; read again when it changes.")
    grpc_metadata: Table[Header] = Field(
        default_factory=dict, description="Headers of every call to Temporal, by name; their values are never shown."
    )
    rpc_timeout_s: Seconds = Field(default=2.0, description="Limit of a health check, and of a start by the API.")
    workflows: WorkflowSettings = Field(default_factory=WorkflowSettings, description="Defaults of workflow starts.")
    activities: ActivitySettings = Field(default_factory=ActivitySettings, description="Defaults of activity calls.")
    activity: Table[dict[str, Any]] = Field(
        default_factory=dict, description="Overrides of temporal.activities by activity name; they win over a queue's."
    )
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="The worker process.")

    @model_validator(mode="after")
    def _one_key(self) -> TemporalSettings:
        if self.api_key and self.api_key_file:
            raise ValueError("api_key and api_key_file say the same thing twice: leave one out")
        return self
