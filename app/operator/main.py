"""The operator: `python -m app.operator.main`. The autoscaler of `app.scaling` over the pools of one release.

One replica: a second would be a second writer. What fails for good ends the process, and the kubelet starts it again
with growing pauses. It must never live on without working: a watchdog on a thread ends it when its loop does not turn.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from typing import Any, NoReturn, cast

import kopf
from httpx2 import HTTPError
from lightkube import AsyncClient, ConfigError

from app.core.config import Settings
from app.core.exit import ExitCode, fail, finish
from app.core.probes import ProbeServer, process_metrics
from app.core.process import begin
from app.core.pulse import Pulse
from app.core.services.temporal.asking import Asking
from app.core.services.temporal.temporal_client import TemporalClientService
from app.core.telemetry.runtime import client_runtime
from app.operator.fleet import KubernetesFleet
from app.operator.kube import MANAGER, CrdMissing, Kube
from app.operator.objects import Objects, registry
from app.operator.workerpool import INSTANCE_LABEL
from app.scaling.autoscaler import Autoscaler
from app.scaling.demand import Observer

HUNG_S = 60.0  # without a new look for so long the process is hung; a look has limits of its own, far below
STOP_S = 10.0  # for kopf to end its watches; it has been seen to wait for ever
log = logging.getLogger("app.operator")


def main() -> None:
    """Entry point; leaves with 0 after SIGTERM, 2 for wrong settings, 4 without API server or CRD, 1 for the rest."""
    settings = begin("operator")
    pulse, at = Pulse(HUNG_S + settings.operator.poll_s), settings.operator
    routes = {"/livez": pulse.probe, "/metrics": process_metrics}
    try:
        ProbeServer(at.health_host, at.health_port, routes, setting="operator.health_port").start()
    except OSError as error:
        fail(error)
    pulse.watch()
    try:
        asyncio.run(_operate(settings, pulse))
    except (CrdMissing, HTTPError, ConfigError) as error:
        fail(error, ExitCode.CANNOT_CONNECT)


async def _operate(settings: Settings, pulse: Pulse) -> NoReturn:
    client = AsyncClient(namespace=settings.operator.namespace or None, field_manager=MANAGER)
    objects, kube = Objects(), Kube(client, {INSTANCE_LABEL: release} if (release := settings.operator.release) else {})
    # Before anything is watched: kopf itself would wait for ever, silently, for a CRD that is not there.
    await objects.refresh(kube)
    service, stop = TemporalClientService(settings.temporal, runtime=client_runtime()), asyncio.Event()
    autoscaler = Autoscaler(
        service.get_client,
        KubernetesFleet(kube, objects, pulse.beat),
        Observer(Asking(settings.operator.calls_per_s), settings.temporal.worker.heartbeat_interval_s),
        poll_s=settings.operator.poll_s,
    )

    def on_signals() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)

    on_signals()
    log.info("scaling the pools of %s in %s", release or "every release", client.namespace)
    # kopf puts signal handlers of its own in the place of ours, and would scale on while its watches end.
    handlers = registry(objects, kube, on_signals)
    # By itself it asks for a user name, and the container's numeric user has none.
    who, spaces = cast(Any, socket.gethostname()), [client.namespace]
    watches = kopf.operator(registry=handlers, identity=who, namespaces=spaces, standalone=True, stop_flag=stop)
    watching = asyncio.create_task(watches)
    ending, listing_s = asyncio.create_task(stop.wait()), min(5.0, len(objects.pools) / 500)
    # The watches list everything again: not beside the first look, for a process gives little memory back.
    await asyncio.wait({watching, ending}, timeout=listing_s, return_when=asyncio.FIRST_COMPLETED)
    looking = asyncio.create_task(autoscaler.run(stop), name="autoscaler")
    await asyncio.wait({looking, watching, ending}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    ended, _ = await asyncio.wait({looking, watching}, timeout=STOP_S)
    for task in ended:
        task.result()
    finish(ExitCode.DRAINED)  # asyncio.run would wait for what does not end


if __name__ == "__main__":
    main()
