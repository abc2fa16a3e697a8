"""Fill the registry: import the configured packages, and say everything that is wrong before anything polls.

All modules below a package are imported, and those of a namespace package too. In a package with an `__init__.py`, a
folder without one is not: it may hold scripts, which must not run because a worker starts. But a workflow that is left
out in silence would be started by somebody and wait for ever, so handlers in such a folder are a problem. One module
that fails keeps no other from being imported, and whatever it raises is told, `sys.exit()` too.
"""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.core.config import Settings, variables
from app.core.config.resolve import scaling_settings
from app.core.config.review import warnings
from app.worker import kept_promises, places
from app.worker import sdk_definitions as sdk
from app.worker.payload_types import UnfitType, adapter
from app.worker.problems import Problem, RegistrationError, did_you_mean
from app.worker.queues import TaskQueue, task_queues
from app.worker.registry import ACTIVITY, WORKFLOW, Registry, registry

SETTING = "temporal.worker.packages"
_DECORATED = re.compile(r"\s*@(\w+\.)*(workflow|activity)_defn\(")


@dataclass(frozen=True)
class Discovery:
    """The registry as far as it could be filled, and every problem of it."""

    registry: Registry
    problems: tuple[Problem, ...]
    complete: bool
    """False when a module could not be imported: what it declares is not known."""


def discover(settings: Settings, queues: Iterable[str] = ()) -> Registry:
    """The filled registry; `queues` are those that somebody asks for (`--queue`).

    Raises RegistrationError with every problem: imports, declarations, names, queues.
    """
    found = look(settings, queues)
    if found.problems:
        raise RegistrationError(list(found.problems))
    return found.registry


def look(settings: Settings, queues: Iterable[str] = (), *, drain_chosen: bool = False) -> Discovery:
    """What `discover` finds, with the problems as data.

    With `drain_chosen`, somebody said at the command line how long a drain takes, and no promise is held against it.
    """
    asked = list(queues)
    failed = _merged(problem for package in settings.temporal.worker.packages for problem in _import_all(package))
    problems = [*failed, *registry.problems, *registry.without_instance(), *_wrapped_later()]
    if failed:
        return Discovery(registry, tuple(problems), complete=False)
    known = registry.queues()
    if not known and not problems:
        what = f"no workflow or activity is declared in {', '.join(settings.temporal.worker.packages)}"
        remedy = "Decorate them with @workflow_defn(queue=...) and @activity_defn(queue=...)."
        problems.append(Problem(SETTING, what, remedy))
    for queue in settings.queues:
        problems += registry.unknown_queues([queue], variables.of_queue(queue) or "queues (config.yaml)")
    problems += registry.unknown_queues(asked, "--queue")
    problems += registry.unserved(
        {q: "its scaling.max_replicas is 0" for q in known if scaling_settings(settings, q).max_replicas == 0}
    )
    problems += _unknown_activities(settings)
    problems += kept_promises.misfits(registry, settings)
    if not drain_chosen:
        problems += kept_promises.contradictions(_of(settings, asked))
    problems += _unfit_types()
    return Discovery(registry, tuple(problems), complete=True)


def _unknown_activities(settings: Settings) -> Iterable[Problem]:
    """Overrides of activities that do not exist change nothing, and are a slip."""
    if settings.temporal.worker.external_queues:
        return  # they may be somebody else's
    names = sorted({h.name for handlers in registry.queues().values() for h in handlers if h.kind == ACTIVITY})
    for name in settings.temporal.activity:
        if name not in names:
            remedy = f"Activities here: {', '.join(names) or 'none'}.{did_you_mean(name, names)}"
            yield Problem("temporal.activity (config.yaml)", f'no activity is named "{name}"', remedy)


def _of(settings: Settings, queues: Collection[str]) -> list[TaskQueue]:
    """The asked-for queues, else all: the settings of a worker's process may hold for its own queues only."""
    return [queue for name, queue in task_queues(registry, settings).items() if not queues or name in queues]


def _unfit_types() -> Iterable[Problem]:
    """Arguments and results that no converter of ours can make."""
    for handler in itertools.chain.from_iterable(registry.queues().values()):
        definition = (sdk.workflow_definition if handler.kind == WORKFLOW else sdk.activity_definition)(handler.target)
        for hint in (*(definition.arg_types or ()), definition.ret_type) if definition else ():
            try:
                adapter(hint)
            except UnfitType as error:
                what = f"{handler.kind} {handler.name}: {getattr(hint, '__qualname__', hint)} cannot be converted"
                yield Problem(handler.where, what, str(error))
            except Exception:  # noqa: BLE001 - a type's own code may raise anything; its values tell
                continue


def _wrapped_later() -> Iterable[Problem]:
    """Activities that a decorator above ours wraps: the worker would run them without it."""
    for handlers in registry.queues().values():
        for handler in handlers:
            there = getattr(sys.modules.get(handler.module), handler.qualname, handler.target)
            if there is not handler.target and inspect.unwrap(there) is inspect.unwrap(handler.target):
                what = f"{handler.qualname} is wrapped after it was declared, and would run without its wrapper"
                yield Problem(handler.where, what, f"Put @{handler.kind}_defn above the other decorators.")


def _import_all(name: str) -> Iterator[tuple[str, Problem]]:
    """Import a module and, where it is a package, all below it; name and problem of each that cannot be."""
    try:
        module = importlib.import_module(name)
    except RegistrationError as error:
        yield from ((name, problem) for problem in error.problems)
        return
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - user code may raise anything on import; all of it is reported
        yield name, _import_problem(name, error)
        return
    folders = list(getattr(module, "__path__", None) or ())
    names = _names_below(folders)
    if getattr(module, "__file__", None) is not None:
        regular = {info.name for info in pkgutil.iter_modules(folders)}
        yield from ((name, problem) for folder in folders for problem in _left_out(Path(folder), names - regular))
        names &= regular
    for below in sorted(names):
        yield from _import_all(f"{name}.{below}")


def _names_below(folders: Sequence[str]) -> set[str]:
    """The modules and packages in `folders`, with those that have no `__init__.py`."""
    found = {info.name for info in pkgutil.iter_modules(folders)}
    for folder in map(Path, folders):
        if folder.is_dir():
            found |= {sub.name for sub in folder.iterdir() if sub.name.isidentifier() and any(sub.glob("**/*.py"))}
    return found - {"__main__", "__pycache__"}


def _left_out(folder: Path, names: Iterable[str]) -> Iterator[Problem]:
    """A problem for each of the subfolders `names` of a package that is no package, and has handlers all the same."""
    for name in sorted(names):
        for file in sorted((folder / name).glob("**/*.py")):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            line = next((number for number, text in enumerate(lines, 1) if _DECORATED.match(text)), 0)
            if line:
                what = f"its handlers are not imported: the folder {name} has no __init__.py"
                yield Problem(places.file_line(str(file), line), what, f"Add an empty one to {folder / name}.")
                break


def _import_problem(module: str, error: BaseException) -> Problem:
    said = error.msg if isinstance(error, SyntaxError) else str(error)
    what = f"module {module} cannot be imported: {': '.join(filter(None, (type(error).__name__, said)))}"
    if isinstance(error, ModuleNotFoundError) and error.name and f"{module}.".startswith(f"{error.name}."):
        return Problem(SETTING, f"there is no module {error.name}", _where_python_looks(error.name))
    return Problem(places.raised_at(error, module) or SETTING, what, _remedy(error))


def _remedy(error: BaseException) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"The module is there, and what it imports is not: install {error.name} here, or mend that line."
    if isinstance(error, SystemExit):
        return 'A module of handlers may not end the process: keep that below `if __name__ == "__main__":`.'
    said = str(error)
    if isinstance(error, ValueError) and "Missing @workflow.run" in said:
        return "Write `async def run(self, input: ...) -> ...` in the class that this line decorates."
    for kind in ("workflow", "activity"):
        if isinstance(error, TypeError) and f"{kind}_defn()" in said:
            return f'Write @{kind}_defn(queue="..."): with parentheses and the name of a task queue.'
        if isinstance(error, ValueError) and f"already contains {kind} definition" in said:
            return f"Put @{kind}_defn above @{kind}.defn, or take the SDK's decorator away."
    return "Mend that line first."


def _where_python_looks(name: str) -> str:
    parent, _, last = name.rpartition(".")
    folders = list(getattr(sys.modules.get(parent), "__path__", ())) if parent else None
    if folders:
        looked, near = folders, sorted(_names_below(folders))
    else:
        own = [path or "." for path in sys.path if not path.endswith(".zip") and not places.is_library(path)]
        looked, near = own, [info.name for info in pkgutil.iter_modules(own)]
    prefix = f"{parent}." if folders else ""
    return f"Python looks in {', '.join(looked)}.{did_you_mean(f'{prefix}{last}', [f'{prefix}{n}' for n in near])}"


def _merged(failed: Iterable[tuple[str, Problem]]) -> list[Problem]:
    """One problem a place: a module that fails takes those with it that import it."""
    by_cause: dict[tuple[str, str], tuple[list[str], Problem]] = {}
    for name, problem in failed:
        cause = problem.what.replace(f"module {name} ", "", 1)
        by_cause.setdefault((problem.where, cause), ([], problem))[0].append(name)
    merged = []
    for names, problem in by_cause.values():
        what = problem.what
        if len(names) > 1:
            what = what.replace(f"module {names[0]}", f"modules {', '.join(names)}")
        merged.append(Problem(problem.where, what, problem.remedy))
    return merged


def doubts(settings: Settings, queues: Collection[str] = (), *, drain_chosen: bool = False) -> list[str]:
    """Sentences on what keeps no worker from serving, and will be regretted: settings, names of queues, no queue.

    And on what a drain of `queues`, else of all, may cut; `drain_chosen` as in `look`.
    """
    of = _of(settings, queues)
    return [
        *warnings(settings),
        *registry.doubtful_queues(),
        *undeclared(settings.temporal.worker.packages),
        *(kept_promises.shortened(of) if drain_chosen else kept_promises.doubts(settings, of)),
    ]


def undeclared(packages: Iterable[str]) -> list[str]:
    """Sentences on workflows and activities that have the SDK's decorator only: no worker of the fleet runs them."""
    found: dict[str, str] = {}
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if any(f"{name}.".startswith(f"{package}.") for package in packages):
            for value in vars(module).values():
                for each in (value, *(vars(value).values() if isinstance(value, type) else ())):
                    kind = _sdk_kind(each)
                    if kind and each.__module__ == name and not registry.is_declared(each):
                        place = f"{name}.{each.__qualname__}"
                        found[place] = f'{kind} {place} has no queue: add @{kind}_defn(queue="...")'
    return sorted(found.values())


def _sdk_kind(value: object) -> str:
    if isinstance(value, type):
        return "workflow" if sdk.workflow_definition(value) else ""
    return "activity" if inspect.isfunction(value) and sdk.activity_definition(value) else ""
