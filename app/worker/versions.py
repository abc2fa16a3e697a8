"""Worker Versioning: whether Temporal gives new work to this build, and what to do when it does not.

With temporal.worker.versioning on, a build polls like any other and is given nothing until somebody makes it current,
and no error says so. Nor does one when versioning was switched off again while a build is current: workers without a
version then get nothing. So this process asks Temporal, and says it in the log, in /readyz and in a metric for as long
as it is so. It stays ready: a rollout waits for ready pods before it makes their build current, for ever if need be.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from temporalio.api.workflowservice.v1 import DescribeWorkerDeploymentRequest
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import WorkerDeploymentConfig

from app.core.config.model import TemporalSettings, WorkerSettings
from app.core.services.temporal.connection import speaks_tls
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.worker.health import WorkerState

log = logging.getLogger("app.worker.versions")

ASK_S = 5.0
ASK_UNVERSIONED_S = 60.0
SAY_AGAIN_S = (10.0, 30.0, 60.0, 300.0)

_BEHAVIOR = {
    "off": VersioningBehavior.UNSPECIFIED,
    "pinned": VersioningBehavior.PINNED,
    "auto_upgrade": VersioningBehavior.AUTO_UPGRADE,
}


def deployment_config(settings: WorkerSettings) -> WorkerDeploymentConfig:
    """How a worker names itself, also when versioning is off: else the SDK would hash every module for a name."""
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id),
        use_worker_versioning=settings.versioning != "off",
        default_versioning_behavior=_BEHAVIOR[settings.versioning],
    )


@dataclass(frozen=True)
class Standing:
    """What Temporal gives to this build, and the sentence that says so; empty for the current build."""

    current: bool
    idle: bool
    sentence: str = ""


async def standing(client: Client, worker: WorkerSettings, limit: timedelta) -> Standing:
    """Ask Temporal. Raises RPCError."""
    request = DescribeWorkerDeploymentRequest(namespace=client.namespace, deployment_name=worker.deployment_name)
    name = f"build {worker.build_id} of deployment {worker.deployment_name}"
    try:
        answer = await client.workflow_service.describe_worker_deployment(request, retry=False, timeout=limit)
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise
        current = ramping = ""  # a deployment is known from its first poll on
        percent = 0.0
    else:
        routing = answer.worker_deployment_info.routing_config
        current, ramping = routing.current_deployment_version.build_id, routing.ramping_deployment_version.build_id
        percent = routing.ramping_version_percentage
    if current == worker.build_id and worker.versioning != "off":
        return Standing(current=True, idle=False)
    if ramping == worker.build_id and percent and worker.versioning != "off":
        return Standing(current=False, idle=False, sentence=f"{name} is ramping: it gets {percent:g} % of the new work")
    if worker.versioning == "off":
        if not current:
            return Standing(current=True, idle=False)
        why = f"build {current} of deployment {worker.deployment_name} is current"
        return Standing(current=False, idle=True, sentence=f"workers without a version get no new work: {why}")
    other = f"build {current} is" if current else "no build of it is"
    return Standing(current=False, idle=True, sentence=f"{name} gets no new work: it is not current, {other}")


def remedy(settings: TemporalSettings) -> str:
    """The command that gives new work to this build, for a shell; a secret in it is a variable or a file to fill in."""
    worker = settings.worker
    words = ["temporal", "worker", "deployment", "set-current-version"]
    words += ["--deployment-name", worker.deployment_name]
    words += ["--unversioned"] if worker.versioning == "off" else ["--build-id", worker.build_id]
    words += ["--address", settings.address, "--namespace", settings.namespace, "--yes"]
    return " ".join([shlex.join(words), *_access(settings)])


def _access(settings: TemporalSettings) -> Iterator[str]:
    """The options of Temporal's CLI for our TLS, API key and headers, quoted for a shell. No secret is shown.

    Where the settings hold a text instead of a file, its variable has the name that the CLI reads it from.
    """
    tls = settings.tls
    if tls.enabled is False:
        yield "--tls=false"
    elif speaks_tls(settings):
        yield "--tls"
        for ours, option, variable in (
            ("server_ca", "ca", "SERVER_CA_CERT"),
            ("client_cert", "cert", "CLIENT_CERT"),
            ("client_key", "key", "CLIENT_KEY"),
        ):
            if file := getattr(tls, f"{ours}_file"):
                yield f"--tls-{option}-path {shlex.quote(file)}"
            elif getattr(tls, f"{ours}_data"):
                yield f'--tls-{option}-data "$TEMPORAL_TLS_{variable}_DATA"'
        if tls.server_name:
            yield f"--tls-server-name {shlex.quote(tls.server_name)}"
    if settings.api_key_file:
        yield f'--api-key "$(cat {shlex.quote(settings.api_key_file)})"'
    elif settings.api_key.get_secret_value():
        yield '--api-key "$TEMPORAL_API_KEY"'
    for header in settings.grpc_metadata:
        yield f'--grpc-meta {shlex.quote(header)}="$TEMPORAL_GRPC_META_{header.upper().replace("-", "_")}"'


async def watch(service: TemporalClientService, settings: TemporalSettings, state: WorkerState) -> None:
    """Keep `state` right and the log informed, until cancelled."""
    versioned = settings.worker.versioning != "off"
    act = "Make it current" if versioned else "Give it back to them"
    said: Standing | None = None
    times = 0
    again_at = time.monotonic()
    while True:
        try:
            now = await standing(await service.get_client(), settings.worker, service.rpc_timeout)
        except (TemporalUnavailable, RPCError, RuntimeError) as error:
            log.debug("not known: %s", error)  # readiness tells of an outage
        else:
            state.current = now.current if versioned or now.idle else None
            state.note = now.sentence
            if now.idle and (now != said or time.monotonic() >= again_at):
                times = times + 1 if now == said else 0
                again_at = time.monotonic() + SAY_AGAIN_S[min(times, len(SAY_AGAIN_S) - 1)]
                log.warning("%s. %s: %s", now.sentence, act, remedy(settings))
            elif now != said and not now.idle and (versioned or said):
                log.info("%s", now.sentence or f"build {settings.worker.build_id} is current and gets new work")
            said = now
        await asyncio.sleep(ASK_S if versioned or state.note else ASK_UNVERSIONED_S)
