"""Fill the registry: import the configured packages, and say everything that is wrong before anything polls."""

from __future__ import annotations

import importlib
import pkgutil
import traceback
from collections.abc import Iterable
from types import ModuleType

from app.core.config import Settings
from app.core.config.resolve import scaling_settings
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
    if problems:
        raise RegistrationError(problems)
    return registry


def _import_all(package: str) -> Iterable[Problem]:
    try:
        root = importlib.import_module(package)
    except Exception as error:  # noqa: BLE001 - user code may raise anything on import; all of it is reported
        yield _import_problem(package, error)
        return
    for name in _submodules(root):
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001 - as above
            yield _import_problem(name, error)


def _submodules(root: ModuleType) -> list[str]:
    paths = getattr(root, "__path__", None)
    if paths is None:
        return []
    found: list[str] = []
    for module in pkgutil.iter_modules(paths, f"{root.__name__}."):
        found.append(module.name)
        if module.ispkg:
            sub = importlib.import_module(module.name)
            found += _submodules(sub)
    return found


def _import_problem(module: str, error: Exception) -> Problem:
    frames = traceback.extract_tb(error.__traceback__)
    # The innermost frame that is not the import machinery: the user's line.
    place = next((f"{f.filename}:{f.lineno}" for f in reversed(frames) if not f.filename.startswith("<frozen")), module)
    if isinstance(error, SyntaxError) and error.filename:
        place = f"{error.filename}:{error.lineno}"
    if len(frames) and frames[-1].filename.endswith("importlib/__init__.py"):
        place = "temporal.worker.packages"
    return Problem(
        place, f"module {module} cannot be imported: {type(error).__name__}: {error}", "Mend that line first."
    )
