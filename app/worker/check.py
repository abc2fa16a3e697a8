"""Everything that can be said of this code and these settings before a worker polls; `fleet check` and `serve` ask it.

Without a server: imports, declarations, queues, options, and every workflow in the sandbox exactly as a worker has it.
With one: whether it answers, and has the namespace. What hinders a worker is a problem; what only looks wrong, or will
bite later, is a warning.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

from temporalio.common import VersioningBehavior
from temporalio.service import RPCError

from app.core.config import Settings
from app.core.exit import ExitCode
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from app.worker import sdk_definitions as sdk
from app.worker import versions
from app.worker.discovery import doubts, look
from app.worker.manifest import other_manifest
from app.worker.problems import Problem, RegistrationError
from app.worker.queues import TaskQueue, task_queues
from app.worker.registry import Registry
from app.worker.sandbox import sandbox_problems


@dataclass(frozen=True)
class CheckReport:
    """What was found; `queues` and `workflows` say how much was looked at."""

    queues: tuple[str, ...]
    workflows: int
    activities: int
    problems: tuple[Problem, ...]
    warnings: tuple[str, ...]
    server: str = ""
    """What the server answered, empty when it was not asked."""
    server_problem: str = ""

    @property
    def code(self) -> ExitCode:
        """0, 2 with a problem of the code or the settings, 4 when only the server is missing."""
        if self.problems:
            return ExitCode.USAGE
        return ExitCode.CANNOT_CONNECT if self.server_problem else ExitCode.DRAINED

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {"ok": self.code == ExitCode.DRAINED, **asdict(self)}

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += [said for said in (self.server, self.server_problem) if said]
        if not self.problems:
            counts = ((len(self.queues), "queue"), (self.workflows, "workflow"), (self.activities, "activity"))
            lines.append(f"{', '.join(_counted(*each) for each in counts)}: workers can serve them")
        return "\n".join(lines)


def checked(settings: Settings, queues: Iterable[str] = (), *, drain_chosen: bool = False) -> Registry:
    """The registry for a worker of `queues` (none: all). Raises RegistrationError with every problem.

    With `drain_chosen` no promise of an activity is held against the drain, see `look`.
    """
    asked = list(queues)
    found = look(settings, asked, drain_chosen=drain_chosen)
    problems = [*found.problems, *sandbox_problems(found.registry, settings, asked or None)]
    if found.complete:
        problems += other_manifest(found.registry, settings.temporal.worker.manifest_digest)
    if problems:
        raise RegistrationError(problems)
    return found.registry


def check(settings: Settings) -> CheckReport:
    """What can be said without a server."""
    found = look(settings)
    registry = found.registry
    view = task_queues(registry, settings).values()
    return CheckReport(
        queues=tuple(queue.name for queue in view),
        workflows=sum(len(queue.workflows) for queue in view),
        activities=sum(len(queue.activities) for queue in view),
        problems=(*found.problems, *sandbox_problems(registry, settings)),
        warnings=(
            *doubts(settings),
            *(warning for queue in view for warning in _versioning(settings, queue)),
        ),
    )


async def ask_server(settings: Settings, report: CheckReport) -> CheckReport:
    """`report` with what the server says: whether it answers, has the namespace, and gives work to this build."""
    service = TemporalClientService(settings.temporal)
    answer = f"Temporal at {service.address} answers, and has the namespace {service.namespace}"
    try:
        client = await service.verify()
        if settings.temporal.worker.versioning == "off":
            return replace(report, server=answer)
        standing = await versions.standing(client, settings.temporal.worker, service.rpc_timeout)
    except (TemporalUnavailable, RPCError) as unavailable:
        return replace(report, server_problem=str(unavailable))
    said = f"{standing.sentence}. Make it current: {versions.remedy(settings.temporal)}" if standing.idle else ""
    return replace(report, server=answer, warnings=(*report.warnings, *filter(None, [said])))


def _counted(number: int, one: str) -> str:
    return f"{number} {one if number == 1 else f'{one}s'.replace('ys', 'ies')}"


def _versioning(settings: Settings, queue: TaskQueue) -> Iterable[str]:
    """A behaviour that a workflow asks for means nothing while the fleet's workers are not versioned."""
    if settings.temporal.worker.versioning != "off":
        return
    for handler in queue.workflows:
        definition = sdk.workflow_definition(handler.target)
        behaviour = definition.versioning_behavior if definition else None
        if behaviour and behaviour is not VersioningBehavior.UNSPECIFIED:
            yield (
                f"{handler.where}: {handler.name} asks for versioning_behavior {behaviour.name}, "
                "and temporal.worker.versioning is off"
            )
