"""Discovery: what is imported, and that everything that cannot be is told at once."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.core.config.model import Settings
from app.worker import discovery, places
from app.worker.registry import RegistrationError, Registry

Package = Callable[[dict[str, str]], None]

ACTIVITY = """
from app.worker.registry import activity_defn

@activity_defn(queue="{queue}")
async def {name}(amount: int) -> int:
    return amount
"""


def an_activity(name: str, queue: str = "team") -> str:
    return ACTIVITY.format(name=name, queue=queue)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    """Writes modules (path -> text) to a folder that Python imports from; they are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        importlib.invalidate_caches()

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def settings(*packages: str, **more: Any) -> Settings:
    return Settings.model_validate({"temporal": {"worker": {"packages": packages}, **more}})


def served(registry: Registry) -> set[str]:
    return {handler.name for handlers in registry.queues().values() for handler in handlers}


def told(*packages: str, **more: Any) -> list[str]:
    """The problems, as a person reads them."""
    with pytest.raises(RegistrationError) as caught:
        discovery.discover(settings(*packages, **more))
    return [str(problem) for problem in caught.value.problems]


def test_one_bad_module_of_three_is_told_and_the_others_are_imported(registry: Registry, package: Package) -> None:
    package(
        {
            "team/__init__.py": "",
            "team/first.py": an_activity("first"),
            "team/second.py": an_activity("second") + "\n1 / 0\n",
            "team/third.py": an_activity("third"),
        }
    )
    (problem,) = told("team")
    assert problem.startswith("team/second.py:8: module team.second cannot be imported: ZeroDivisionError: division")
    assert served(registry) >= {"first", "third"}
    assert not discovery.look(settings("team")).complete


def test_all_bad_modules_are_told_and_one_cause_once(registry: Registry, package: Package) -> None:
    package(
        {
            "team/__init__.py": "",
            "team/a_user.py": "import team.shared\n",
            "team/shared.py": "raise RuntimeError('no settings')\n",
            "team/typo.py": "def x(:\n",
            "other.py": "import nowhere_to_be_found\n",
        }
    )
    problems = told("team", "other", "teem", "team.shard")
    assert [problem.split("\n")[0] for problem in problems] == [
        "team/shared.py:1: modules team.a_user, team.shared cannot be imported: RuntimeError: no settings",
        "team/typo.py:1: module team.typo cannot be imported: SyntaxError: invalid syntax",
        "other.py:1: module other cannot be imported: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        "temporal.worker.packages: there is no module teem",
        "temporal.worker.packages: there is no module team.shard",
    ]


def test_a_package_that_is_missing_is_told_apart_from_an_import_that_is(registry: Registry, package: Package) -> None:
    package({"team/__init__.py": "", "team/billing.py": "import team.nothing\n"})
    inner, outer, top = told("team", "team.biling", "teem")
    assert "The module is there, and what it imports is not: install team.nothing here" in inner
    assert outer.endswith('team. Did you mean "team.billing"?')
    assert f"Python looks in {Path.cwd()}" in top
    assert top.endswith('Did you mean "team"?')


def test_the_place_of_an_error_is_the_innermost_line_that_is_not_a_librarys(
    registry: Registry, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(
        {
            "team/__init__.py": "",
            "team/acts.py": "import json\nimport shared\n",
            "team/more.py": "\nimport json\njson.loads('{')\n",
            "shared.py": "\n\nint('x')\n",
        }
    )
    shared, in_library = told("team")
    assert shared.startswith("shared.py:3: module team.acts cannot be imported: ValueError")
    assert in_library.startswith("team/more.py:3: module team.more cannot be imported: JSONDecodeError")
    # The team's package as an installed one: all of it is below site-packages.
    monkeypatch.setattr(places, "_LIBRARIES", (*places._LIBRARIES, str(tmp_path)))
    assert told("team") == [problem.replace("shared.py:3", "team/acts.py:2") for problem in (shared, in_library)]


@pytest.mark.parametrize(
    ("line", "says", "remedy"),
    [
        ("import sys; sys.exit(3)", "SystemExit: 3", "may not end the process"),
        ("import asyncio; raise asyncio.CancelledError", "CancelledError", "Mend that line"),
        ("raise GeneratorExit('x')", "GeneratorExit: x", "Mend that line"),
        ("from app.worker.registry import workflow_defn\n@workflow_defn\nclass W: ...", "takes 0 positional", "queue="),
        (
            (
                "from app.worker.registry import activity_defn as ad; from temporalio import activity\n"
                '@activity.defn\n@ad(queue="q")\nasync def f(): ...'
            ),
            "Function already contains activity definition",
            "Put @activity_defn above @activity.defn",
        ),
        (
            (
                "from app.worker.registry import workflow_defn; from app.worker.workflows.base import BaseWorkflow\n"
                "@workflow_defn(queue='q')\nclass W(BaseWorkflow[int, int]): ..."
            ),
            "Missing @workflow.run method",
            "Write `async def run(self, input: ...)",
        ),
        ("from app.worker.registry import activity_defn\n@activity_defn()\ndef f(): ...", "'queue'", "@activity_defn("),
    ],
)
def test_whatever_a_module_raises_is_told_with_its_line_and_remedy(
    registry: Registry, package: Package, line: str, says: str, remedy: str
) -> None:
    package({"team.py": f"\n{line}\n"})
    (problem,) = told("team")
    assert problem.startswith(
        f"team.py:{3 if 'class' in line or 'def ' in line else 2}: module team cannot be imported"
    )
    assert says in problem
    assert remedy in problem.split("\n")[1]


def test_all_modules_below_a_package_are_imported_and_no_scripts_beside_them(
    registry: Registry, package: Package
) -> None:
    package(
        {
            "space/north/acts.py": an_activity("in_namespace"),
            "space/deep/er/acts.py": an_activity("deep_in_namespace"),
            "team/__init__.py": an_activity("in_init"),
            "team/below/__init__.py": "",
            "team/below/acts.py": an_activity("below"),
            "team/data/readme.txt": "nothing to import",
            "team/not-a-name/acts.py": "1 / 0",
            "team/scripts/delete_all.py": "1 / 0  # no activity_defn() here",
            "team/__main__.py": "1 / 0",
            "alone.py": an_activity("in_a_module"),
        }
    )
    discovery.discover(settings("space", "team", "alone"))
    assert served(registry) == {"in_namespace", "deep_in_namespace", "in_init", "below", "in_a_module"}


def test_handlers_in_a_folder_that_is_no_package_are_told(registry: Registry, package: Package) -> None:
    package({"team/__init__.py": an_activity("pay"), "team/more/deep/acts.py": an_activity("lost") + "1 / 0\n"})
    (problem,) = told("team")
    assert problem.startswith(
        "team/more/deep/acts.py:4: its handlers are not imported: the folder more has no __init__"
    )
    assert problem.endswith("team/more.")


def test_an_empty_registry_names_the_packages_that_were_searched(registry: Registry, package: Package) -> None:
    package({"team/__init__.py": "", "other.py": ""})
    (problem,) = told("team", "other")
    assert "no workflow or activity is declared in team, other" in problem


def test_a_file_that_is_imported_under_two_names_is_told(
    registry: Registry, package: Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package({"team/__init__.py": "", "team/acts.py": an_activity("pay")})
    monkeypatch.syspath_prepend(str(tmp_path / "team"))
    (problem,) = told("team.acts", "acts")
    assert "activity pay (team/acts.py:4) has the name and queue of activity pay (team/acts.py:4)" in problem
    assert "Import it under one name: it came as team.acts and as acts." in problem


def test_a_decorator_that_would_be_lost_is_told(registry: Registry, package: Package) -> None:
    package(
        {
            "team.py": "import functools\n"
            "from app.worker.registry import activity_defn\n"
            "def retried(fn):\n"
            "    @functools.wraps(fn)\n"
            "    async def wrapper(*args):\n"
            "        return await fn(*args)\n"
            "    return wrapper\n"
            "@retried\n"
            '@activity_defn(queue="team")\n'
            "async def lost(amount: int) -> int:\n"
            "    return amount\n"
            '@activity_defn(queue="team")\n'
            "@retried\n"
            "async def kept(amount: int) -> int:\n"
            "    return amount\n"
        }
    )
    (problem,) = told("team")
    assert problem.startswith("team.py:8: lost is wrapped after it was declared")
    assert "Put @activity_defn above the other decorators." in problem


def test_a_queue_that_a_variable_names_is_told_by_the_variable(
    registry: Registry, package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    package({"team/__init__.py": "", "team/one.py": an_activity("pay")})
    given = settings("team").model_copy(update={"queues": {"taem": {}, "tame": {}}})
    monkeypatch.setenv("FLEET_QUEUES__TAEM__WORKER__DRAIN_TIMEOUT_S", "9")
    with pytest.raises(RegistrationError) as caught:
        discovery.discover(given)
    assert [str(problem).split(": ")[0] for problem in caught.value.problems] == [
        "FLEET_QUEUES__TAEM__WORKER__DRAIN_TIMEOUT_S",
        "queues (config.yaml)",
    ]
    monkeypatch.delenv("FLEET_QUEUES__TAEM__WORKER__DRAIN_TIMEOUT_S")
    monkeypatch.setenv("FLEET_QUEUES", '{"tame": {"worker": {"drain_timeout_s": 9}}}')
    with pytest.raises(RegistrationError, match="FLEET_QUEUES: no workflow or activity is declared on queue"):
        discovery.discover(given)


def test_problems_of_all_kinds_are_told_at_once(registry: Registry, package: Package) -> None:
    package(
        {
            "team/__init__.py": "",
            "team/one.py": an_activity("pay"),
            "team/two.py": an_activity("pay"),
            "team/three.py": "from app.worker.registry import activity_defn\n"
            "class Charges:\n"
            '    @activity_defn(queue="team")\n'
            "    async def charge(self, amount: int) -> int:\n"
            "        return amount\n",
        }
    )
    given = settings("team", activity={"pya": {}}).model_copy(update={"queues": {"taem": {}}})
    with pytest.raises(RegistrationError) as caught:
        discovery.discover(given, queues=["teams"])
    text = str(caught.value)
    assert "activity pay (team/two.py:4) has the name and queue of activity pay (team/one.py:4)" in text
    assert "team/three.py:3: Charges.charge cannot be served: there is no instance of Charges to call" in text
    assert 'queues (config.yaml): no workflow or activity is declared on queue "taem"' in text
    assert '--queue: no workflow or activity is declared on queue "teams"' in text
    assert text.count('Did you mean "team"?') == 2
    assert 'no activity is named "pya"\n  Activities here: pay. Did you mean "pay"?' in text
    assert len(caught.value.problems) == 5
