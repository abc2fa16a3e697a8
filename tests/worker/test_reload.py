"""`serve --reload`: new code and settings without a hand on the keyboard, and no process left. All of it real."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.local.dev_fleet import until
from tests.worker.served import client

PACKAGE = {
    "__init__.py": "",
    "words.py": 'WORD = "one"\n',
    "work.py": """
import asyncio
from app.worker.registry import activity_defn, workflow_defn
from app.worker.workflows.base import BaseWorkflow
from kiosk.words import WORD

@activity_defn(queue="kiosk")
async def word(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return WORD

@workflow_defn(queue="kiosk")
class Says(BaseWorkflow[float, str]):
    async def run(self, input: float) -> str:
        return await self.execute_activity("word", input)
""",
}


class Kiosk:
    """A team's own package in a folder of its own, served with --reload."""

    def __init__(self, folder: Path, address: str, *arguments: str, connection: str = "") -> None:
        self.folder = folder
        self.address = address
        (folder / "kiosk").mkdir()
        for name, text in PACKAGE.items():
            self.write(f"kiosk/{name}", text)
        self.write("config.yaml", f"temporal:\n{connection}  worker:\n    packages: [kiosk.work]\n")
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "app.worker.main", "serve", "--reload", *arguments],
                cwd=folder,
                env={**os.environ, "FLEET_TEMPORAL__ADDRESS": address},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def text(self) -> str:
        return self.log.read_text()

    def children(self) -> list[int]:
        """The worker processes up to now; the last is the present one."""
        return [int(pid) for pid in re.findall(r"serving kiosk as (\d+)@", self.text())]

    def serving(self, number: int) -> int:
        until(lambda: len(self.children()) >= number, 30)
        return self.children()[-1]

    def start(self, seconds: float = 0.0) -> str:
        workflow_id = f"test-{uuid.uuid4()}"
        with client(self.address) as call:
            call(lambda c: c.start_workflow("Says", seconds, id=workflow_id, task_queue="kiosk"))
        return workflow_id

    def says(self, workflow_id: str) -> Any:
        with client(self.address) as call:
            return call(lambda c: c.get_workflow_handle(workflow_id, result_type=str).result())


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except FileNotFoundError:
        return True


@pytest.fixture
def kiosk(tmp_path: Path, temporal_address: str) -> Iterator[Callable[..., Kiosk]]:
    started: list[Kiosk] = []

    def start(*arguments: str, connection: str = "") -> Kiosk:
        started.append(Kiosk(tmp_path, temporal_address, *arguments, connection=connection))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        for pid in one.children():
            until(partial(gone, pid), 15)


def test_a_change_of_a_neighbour_module_is_served_and_a_broken_one_is_survived(kiosk: Callable[..., Kiosk]) -> None:
    shop = kiosk()
    shop.serving(1)
    assert shop.says(shop.start()) == "one"

    shop.write("kiosk/words.py", 'WORD = "two"\n')
    shop.serving(2)
    assert shop.says(shop.start()) == "two"

    shop.write("kiosk/words.py", "WORD = = 3\n")
    until(lambda: "the worker ended with 2; it is started again after the next change" in shop.text(), 20)
    assert "kiosk/words.py:1: module kiosk.work cannot be imported: SyntaxError" in shop.text()
    assert shop.process.poll() is None

    shop.write("kiosk/words.py", 'WORD = "three"\n')
    shop.serving(3)
    assert shop.says(shop.start()) == "three"

    shop.write("config.yaml", "temporal:\n  worker:\n    packages: [kiosk.work]\n    restarts: 7\n")
    shop.serving(4)
    assert "reload: config.yaml changed" in shop.text()

    shop.process.send_signal(signal.SIGTERM)
    assert shop.process.wait(20) == 0
    assert all(gone(pid) for pid in shop.children())


def test_code_and_keys_are_watched_while_a_key_file_is_missing(kiosk: Callable[..., Kiosk]) -> None:
    shop = kiosk(connection="  api_key_file: key\n  tls: {enabled: false}\n")
    until(lambda: "the worker ended with 2" in shop.text(), 20)
    assert "the file key cannot be read" in shop.text()

    shop.write("kiosk/words.py", 'WORD = "two"\n')
    until(lambda: "kiosk/words.py changed" in shop.text(), 10)
    until(lambda: shop.text().count("the worker ended with 2") == 2, 20)

    shop.write("key", "not-so-secret\n")
    shop.serving(1)
    assert shop.says(shop.start()) == "two"


def test_work_in_hand_is_not_waited_for_and_runs_again_on_the_new_code(kiosk: Callable[..., Kiosk]) -> None:
    shop = kiosk()
    shop.serving(1)
    long = shop.start(300.0)
    with client(shop.address) as call:
        until(lambda: call(lambda c: _activity_runs(c, long)), 15)
    shop.write("kiosk/work.py", PACKAGE["work.py"].replace("sleep(seconds)", "sleep(0)"))
    shop.serving(2)
    assert shop.says(long) == "one"
    # Twice when its retry comes to the polls that are still open.
    assert re.search(r"0 finished, [12] handed over, 0 released, 0 abandoned; exit code 3", shop.text())


async def _activity_runs(c: Any, workflow_id: str) -> bool:
    described = await c.get_workflow_handle(workflow_id).describe()
    return any(pending.state == 2 for pending in described.raw_description.pending_activities)


def test_ctrl_c_ends_both_and_reaches_the_worker_once(kiosk: Callable[..., Kiosk]) -> None:
    shop = kiosk()
    worker = shop.serving(1)
    os.killpg(shop.process.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
    assert shop.process.wait(20) == 0
    assert gone(worker)
    assert shop.text().count("SIGINT") == 1


def test_a_worker_whose_reloader_is_killed_does_not_stay(kiosk: Callable[..., Kiosk]) -> None:
    shop = kiosk()
    worker = shop.serving(1)
    shop.process.kill()
    shop.process.wait()
    until(lambda: gone(worker), 15)


def test_sigterm_while_nothing_runs_after_a_broken_start(kiosk: Callable[..., Kiosk]) -> None:
    shop = kiosk("--queue", "kiosck")
    until(lambda: "the worker ended with 2" in shop.text(), 20)
    assert 'Did you mean "kiosk"?' in shop.text()
    shop.process.send_signal(signal.SIGTERM)
    assert shop.process.wait(10) == 2
