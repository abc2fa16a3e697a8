"""Mistakes that a worker refuses before it polls: exit code 2, no traceback, everything in one go."""

from __future__ import annotations

from app.core.ports import free_port
from tests.docs.reader import Reader
from tests.mistakes.page import Outcome, Section, mistake

HEAD = """\
from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow
"""
GOOD = f"""\
{HEAD}

@activity_defn(queue="shop")
async def pay(amount: int) -> int:
    return amount


@workflow_defn(queue="shop")
class Sells(BaseWorkflow[int, int]):
    async def run(self, input: int) -> int:
        return await self.execute_activity(pay, input)
"""


def refused(reader: Reader, *arguments: str, code: int = 2, **modules: str) -> str:
    """What `serve` says of a package `shop` with these modules."""
    reader.write("shop/__init__.py", modules.pop("init", ""))
    for name, text in modules.items():
        reader.write(f"shop/{name}.py", text)
    done = reader.run(" ".join(["python -m app.worker.main serve", *arguments]))
    assert done.code == code, done.text
    assert "Traceback" not in done.text
    return done.text


@mistake("`run` without a type")
def test_run_without_annotation(page: Section, reader: Reader) -> None:
    page.shows(Outcome.REFUSED, refused(reader, work=GOOD.replace("input: int", "input")))


@mistake("Types of `run` that are not those of the class")
def test_annotations_against_the_generics(page: Section, reader: Reader) -> None:
    page.shows(Outcome.REFUSED, refused(reader, work=GOOD.replace("input: int", "input: str")))


@mistake("The SDK's decorator above ours")
def test_the_sdks_decorator_above_ours(page: Section, reader: Reader) -> None:
    work = GOOD.replace("@workflow_defn", "@workflow.defn\n@workflow_defn")
    said = refused(reader, work=f"from temporalio import workflow\n{work}")
    page.shows(Outcome.REFUSED, said)
    assert said.count("Class already contains") == 1, "told once"


@mistake("One name twice on a queue")
def test_one_name_twice(page: Section, reader: Reader) -> None:
    page.shows(Outcome.REFUSED, refused(reader, one=GOOD, two=GOOD.replace("class Sells", "class Buys")))


@mistake("A module imported under two names")
def test_one_module_under_two_names(page: Section, reader: Reader) -> None:
    reader.env["PYTHONPATH"] = str(reader.folder / "shop")
    said = refused(reader, prices=GOOD, work="import prices\n")
    page.shows(Outcome.REFUSED, said)


@mistake("A module that cannot be imported")
def test_one_of_three_modules_cannot_be_imported(page: Section, reader: Reader) -> None:
    said = refused(reader, one=GOOD, two="import no_such_module\n", three=GOOD.replace('"shop"', '"other"'))
    page.shows(Outcome.REFUSED, said)
    assert "shop/two.py:1" in said


@mistake("Nothing is declared")
def test_an_empty_registry(page: Section, reader: Reader) -> None:
    page.shows(Outcome.REFUSED, refused(reader))


@mistake("An unknown `--queue`")
def test_an_unknown_queue(page: Section, reader: Reader) -> None:
    said = refused(reader, "--queue shp", work=GOOD)
    page.shows(Outcome.REFUSED, said)
    assert 'Did you mean "shop"?' in said


@mistake("Two problems at once")
def test_two_problems_are_told_in_one_go(page: Section, reader: Reader) -> None:
    page.shows(Outcome.REFUSED, refused(reader, one="import no_such_module\n", two=GOOD.replace("input: int", "input")))


@mistake("A library that the sandbox cannot import")
def test_a_library_that_the_sandbox_cannot_import(page: Section, reader: Reader) -> None:
    said = refused(reader, work=f"import prometheus_client\n{GOOD}")
    page.shows(Outcome.REFUSED, said)
    reader.env["FLEET_TEMPORAL__WORKER__PASSTHROUGH_MODULES"] = '["prometheus_client"]'
    with reader.background("python -m app.worker.main serve") as worker:
        worker.says("serving shop")


@mistake("A workflow module that is not deterministic")
def test_a_workflow_module_that_is_not_deterministic(page: Section, reader: Reader) -> None:
    page.shows(Outcome.REFUSED, refused(reader, work=f"import random\nSEED = random.random()\n{GOOD}"))


@mistake("An unknown key in the configuration")
def test_an_unknown_key(page: Section, reader: Reader) -> None:
    reader.write("config.yaml", "temporal:\n  namspace: shop\n")
    page.shows(Outcome.REFUSED, refused(reader, work=GOOD))


@mistake("A wrong type in the configuration")
def test_a_wrong_type(page: Section, reader: Reader) -> None:
    reader.write("config.yaml", "temporal:\n  worker:\n    drain_timeout_s: soon\n")
    page.shows(Outcome.REFUSED, refused(reader, work=GOOD))


@mistake("A heartbeat timeout above start-to-close")
def test_a_heartbeat_above_start_to_close(page: Section, reader: Reader) -> None:
    reader.write("config.yaml", "temporal:\n  activities: {start_to_close_timeout_s: 10, heartbeat_timeout_s: 20}\n")
    page.shows(Outcome.REFUSED, refused(reader, work=GOOD))


@mistake("One attempt for an activity")
def test_one_attempt_for_an_activity(page: Section, reader: Reader) -> None:
    reader.write("config.yaml", "temporal:\n  activities: {retry: {maximum_attempts: 1}}\n")
    reader.write("shop/__init__.py", GOOD)
    with reader.background("python -m app.worker.main serve") as worker:
        page.shows(Outcome.LOGGED, worker.says("serving shop"))


@mistake("A namespace that does not exist")
def test_a_missing_namespace(page: Section, reader: Reader) -> None:
    reader.env["TEMPORAL_NAMESPACE"] = "no-such-namespace"
    page.shows(Outcome.REFUSED, refused(reader, code=4, work=GOOD))


@mistake("An inherited signal or query without its decorator")
def test_an_override_without_decorator(page: Section, reader: Reader) -> None:
    said = refused(
        reader, work=f"{GOOD}\n    def cancel(self, reason: str = '', stop_new: bool = False) -> None: ...\n"
    )
    page.shows(Outcome.REFUSED, said)


@mistake("An address where nothing listens")
def test_an_address_where_nothing_listens(page: Section, reader: Reader) -> None:
    reader.env["TEMPORAL_ADDRESS"] = f"127.0.0.1:{free_port('127.0.0.1')}"
    said = refused(reader, "--connect-timeout 0.1", code=4, work=GOOD)
    page.shows(Outcome.REFUSED, said)
    with reader.background("python -m app.worker.main serve") as worker:
        worker.says("Next try in")
