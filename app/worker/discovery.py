"""Fill the registry: import the configured packages, and say everything that is wrong before anything polls."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Iterable

from pydantic import ValidationError

from app.core.config import Settings
from app.core.config.resolve import activity_settings, scaling_settings
from app.worker import sdk_definitions as sdk
from app.worker.registry import Problem, RegistrationError, Registry, registry


def discover(settings: Settings) -> Registry:
    """The filled registry. Raises RegistrationError with every problem: imports, names, queues."""
    problems = [problem for package in settings.temporal.worker.packages for problem in _import_all(package)]
    queues = registry.queues()
    if not queues and not problems:
        packages = ", ".join(settings.temporal.worker.packages)
        problems.append(
            Problem(
                "temporal.worker.packages",
                f"no workflow or activity is declared in {packages}",
                "Decorate them with @workflow_defn(queue=...) and @activity_defn(queue=...).",
            )
        )
    problems += registry.problems
    if not problems:
        problems += registry.unknown_queues(settings.queues, "queues (config.yaml)")
        problems += registry.unserved(
            {q: "its scaling.max_replicas is 0" for q in queues if scaling_settings(settings, q).max_replicas == 0}
        )
        problems += _unfit_options(settings)
    if problems:
        raise RegistrationError(problems)
    return registry


def _unfit_options(settings: Settings) -> Iterable[Problem]:
    """Overrides of a queue and of an activity may each be right and clash: found here, not in workflow code."""
    for queue, handlers in registry.queues().items():
        for handler in handlers:
            try:
                activity_settings(settings, handler.name, queue)
            except ValidationError as error:
                what = "; ".join(line["msg"].removeprefix("Value error, ") for line in error.errors())
                where = f"temporal.activity.{handler.name} and queues.{queue}.activities"
                yield Problem(where, f"their options do not fit together: {what}", "Change one of them.")


def _import_all(name: str) -> Iterable[Problem]:
    """Import a module and, where it is a package, all below it; a problem for each that cannot be."""
    try:
        module = importlib.import_module(name)
    except RegistrationError as error:
        yield from error.problems
        return
    except Exception as error:  # noqa: BLE001 - user code may raise anything on import; all of it is reported
        yield _import_problem(name, error)
        return
    for below in pkgutil.iter_modules(getattr(module, "__path__", None) or (), f"{name}."):
        yield from _import_all(below.name)


def undeclared(packages: Iterable[str]) -> list[str]:
    """Sentences on workflows and activities that have the SDK's decorator only: no worker of the fleet runs them."""
    found: dict[str, str] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if not any(f"{name}.".startswith(f"{package}.") for package in packages):
            continue
        for value in vars(module).values():
            kind = _sdk_kind(value)
            if kind and value.__module__ == name and registry.find(value) is None:
                place = f"{name}.{value.__qualname__}"
                found[place] = f'{kind} {place} has no queue: add @{kind}_defn(queue="...")'
    return sorted(found.values())


def _sdk_kind(value: object) -> str:
    if isinstance(value, type):
        return "workflow" if sdk.workflow_definition(value) else ""
    return "activity" if inspect.isfunction(value) and sdk.activity_definition(value) else ""


def _import_problem(module: str, error: Exception) -> Problem:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<frozen")]
    # The innermost frame of the user's own code: not import machinery, not a library that refuses.
    foreign = ("site-packages", "importlib/__init__.py", "worker/discovery.py", "worker/workflows/base.py")
    own = [f for f in frames if not any(part in f.filename for part in foreign)]
    place = f"{own[-1].filename}:{own[-1].lineno}" if own else "temporal.worker.packages"
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
    return Problem(
        place, f"module {module} cannot be imported: {type(error).__name__}: {error}", "Mend that line first."
    )
