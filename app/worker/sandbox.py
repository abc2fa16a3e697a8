"""The workflow sandbox: what workflow code shares with its process, and whether every workflow can be imported in it.

The SDK makes the same check when a Worker is made, and stops at the first workflow that fails. Here it is made for all
of them and without a server, so that `fleet check` and the worker say the same, and say all of it.
"""

from __future__ import annotations

import asyncio
import sys
import traceback
from collections.abc import Iterable, Iterator

from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import RestrictedWorkflowAccessError

from app.core.config import Settings
from app.core.services.temporal.plugin import FleetPlugin
from app.worker import places
from app.worker import sdk_definitions as sdk
from app.worker.registry import WORKFLOW, Handler, Problem, Registry

_PASSTHROUGH = "temporal.worker.passthrough_modules"


def shared_modules(registry: Registry, settings: Settings) -> tuple[str, ...]:
    """What workflow code may import without having it imported anew for each run."""
    worker = settings.temporal.worker
    return (*registry.shareable_modules(worker.packages), *worker.passthrough_modules)


def sandbox_problems(registry: Registry, settings: Settings, queues: Iterable[str] | None = None) -> list[Problem]:
    """A problem for each workflow (of `queues`, else of all) that the sandbox refuses; takes milliseconds for each.

    Not to be called from a running event loop: the SDK wants one of its own here.
    """
    known = registry.queues()
    chosen = known if queues is None else [queue for queue in queues if queue in known]
    workflows = [handler for queue in chosen for handler in known[queue] if handler.kind == WORKFLOW]
    problems = list(_shared_workflows(registry, settings))
    return problems + asyncio.run(_refused(workflows, FleetPlugin(shared_modules(registry, settings)).runner()))


def _shared_workflows(registry: Registry, settings: Settings) -> Iterator[Problem]:
    """A workflow's module that is shared runs without the sandbox: `datetime.now` there breaks a replay, unseen."""
    for name in settings.temporal.worker.passthrough_modules:
        shared = ", ".join(str(handler) for handler in registry.workflows_below(name))
        if shared:
            what = f"{name} would be shared between runs, and with it {shared}, which then nothing checks"
            yield Problem(_PASSTHROUGH, what, "Name libraries and modules without workflows there.")


async def _refused(workflows: Iterable[Handler], sandbox: WorkflowRunner) -> list[Problem]:
    problems = []
    for handler in workflows:
        definition = sdk.workflow_definition(handler.target)
        # A module that could not be imported is a problem already; its classes are leftovers.
        if definition is None or handler.module not in sys.modules:
            continue
        try:
            (sandbox if definition.sandboxed else UnsandboxedWorkflowRunner()).prepare_workflow(definition)
        except Exception as error:  # noqa: BLE001 - user code may raise anything on import; all of it is reported
            problems.append(_problem(handler, error))
    return problems


def _problem(handler: Handler, error: Exception) -> Problem:
    cause: BaseException = error.__cause__ or error
    said = f"{type(cause).__name__}: {cause}"
    if isinstance(cause, RestrictedWorkflowAccessError):
        said = f"{cause.qualified_name} is refused there"
    if library := _library(cause, handler.module):
        remedy = f"Import {library} in the module of the activities only, or name it in {_PASSTHROUGH}."
    elif isinstance(cause, RestrictedWorkflowAccessError):
        remedy = "Its module must be deterministic too: do this in an activity."
    elif isinstance(cause, ImportError):
        remedy = f"Import it in the module of the activities only, or name it in {_PASSTHROUGH}."
    else:
        remedy = (
            "Each run imports the module anew, under restrictions: move that out of it, "
            f"or name the library in {_PASSTHROUGH}."
        )
    what = f"workflow {handler.name} cannot be imported in the sandbox: {said}"
    return Problem(places.raised_at(cause, handler.module) or handler.where, what, remedy)


def _library(error: BaseException, module: str) -> str:
    """The installed library that fails while `module` imports it; empty when that is the user's own code."""
    library = ""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        file, top = frame.f_code.co_filename, str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if file.startswith("<") or top == "temporalio" or top in sys.stdlib_module_names:
            continue
        theirs = places.is_library(file) and top != module.partition(".")[0]
        library = library or top if theirs else ""
    return library
