"""What every client, worker and replayer of the fleet shares, carried by one Temporal plugin.

The plugin goes onto the client; the SDK hands it on to the workers made from that client, and a plain `Replayer` takes
it too. So payload conversion, sandbox pass-through and failure types cannot differ between two processes, which would
show only as wrong types at run time.

Pass-through is for modules that are safe to share between workflow runs: libraries, our own registry and settings, and
modules that hold activities only. A workflow's own module is still re-imported and restricted for each run, so
`datetime.now`, `random` and I/O in workflow code are refused as ever.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Sequence

import pydantic
from temporalio.client import Plugin
from temporalio.contrib.pydantic import PydanticPayloadConverter
from temporalio.converter import DataConverter, DefaultPayloadConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker import Worker, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from app.core.services.temporal.arguments import FittingArguments
from app.core.services.temporal.payloads import LimitedPayloadConverter, PayloadLimits, learn_limit
from app.core.services.temporal.results import FittingResults
from app.core.telemetry import tracing

_ALWAYS_SHARED = (
    "typing_extensions",
    "annotated_types",
    "pydantic",
    "pydantic_core",
    "app.core",
    # What workflow code imports of the layer above, by name as this one may not import it; it keeps no state of a run.
    *(
        f"app.worker.{name}"
        for name in (
            "hand_over",
            "handlers",
            "options",
            "payload_types",
            "places",
            "problems",
            "promises",
            "registry",
            "routing",
            "sdk_definitions",
        )
    ),
    # Of this folder the application's own modules stay out: each run has its own copy of them.
    *(f"app.worker.workflows.{name}" for name in ("base", "contract", "starts", "calls", "children", "saga")),
)


class FleetPlugin(SimplePlugin):
    """Pydantic payloads, sandbox pass-through, and validation errors that fail a workflow instead of hanging it."""

    def __init__(self, passthrough: Iterable[str] = ()) -> None:
        """`passthrough`: module names that workflow code shares with the process instead of re-importing them."""
        self._shared = (*_ALWAYS_SHARED, *passthrough)
        super().__init__(
            "worker-fleet",
            data_converter=_pydantic_unless_chosen,
            workflow_runner=self._share_modules,
            interceptors=[FittingArguments(), PayloadLimits(), FittingResults()],
            # Raised by workflow code on bad data; as a mere task failure the run would stay "Running" for ever.
            workflow_failure_exception_types=[pydantic.ValidationError],
        )

    def runner(self) -> WorkflowRunner:
        """The sandbox that workers with this plugin use where nobody chose another."""
        return self._share_modules(None)

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        """Run a worker that knows how much its server takes in one payload."""
        await learn_limit(worker.client)
        await super().run_worker(worker, next)

    def _share_modules(self, runner: WorkflowRunner | None) -> WorkflowRunner:
        if runner is None:
            runner = SandboxedWorkflowRunner()
        if isinstance(runner, SandboxedWorkflowRunner):
            shared = runner.restrictions.with_passthrough_modules(*self._shared)
            return dataclasses.replace(runner, restrictions=shared)
        return runner


def fleet_plugins(passthrough: Iterable[str] = ()) -> Sequence[Plugin]:
    """The plugins for a client: ours, and tracing when it is on."""
    return [FleetPlugin(passthrough), *tracing.plugins()]


def _pydantic_unless_chosen(chosen: DataConverter | None) -> DataConverter:
    """A payload converter that somebody wrote stays; a codec or a failure converter is another choice, and stay."""
    chosen = chosen or DataConverter.default
    if chosen.payload_converter_class in (DefaultPayloadConverter, PydanticPayloadConverter):
        return dataclasses.replace(chosen, payload_converter_class=LimitedPayloadConverter)
    return chosen
