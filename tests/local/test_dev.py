"""`fleet dev` from its first line to its last: orders, stopping, being killed, going on."""

from __future__ import annotations

import asyncio
import os
import pty
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from temporalio.client import Client

from tests.local.dev_fleet import ROOT, DevFleet, until

Make = Callable[..., DevFleet]


def test_once_completes_an_order_and_ends_with_0(dev_fleet: Make) -> None:
    with dev_fleet("--once") as fleet:
        line = fleet.expect("completed in")
        assert "pay-order-" in line
        assert "ship-order-" in line
        fleet.expect(f"http://127.0.0.1:{fleet.ports['ui']}/namespaces/default/workflows/order-")
        assert fleet.process.wait(30) == 0
    assert not fleet.processes()


def test_it_stays_and_takes_another_order_and_shows_its_metrics(dev_fleet: Make) -> None:
    with dev_fleet("--no-order") as fleet:
        fleet.ready()
        assert fleet.place("mine")["workflow_id"] == "order-mine"
        view = fleet.await_order("mine")
        assert view["result"] == {
            "order_id": "mine",
            "status": "completed",
            "payment_id": "pay-order-mine",
            "tracking_number": "ship-order-mine",
        }
        with urllib.request.urlopen(f"http://127.0.0.1:{fleet.ports['metrics']}/metrics", timeout=5) as answer:
            assert 'fleet_operator_desired_replicas{task_queue="payments"} 1.0' in answer.read().decode()
        assert fleet.stop() == 0


def test_a_step_that_fails_undoes_the_others(dev_fleet: Make) -> None:
    with dev_fleet("--no-order") as fleet:
        fleet.ready()
        fleet.place("far", address="Atlantis")
        view = fleet.await_order("far")
        assert (view["status"], view["error"]) == ("failed", "Undeliverable: no carrier delivers to Atlantis")
        with create_engine(f"sqlite:///{fleet.data / 'ledger.db'}").connect() as ledger:
            kinds = [row[0] for row in ledger.execute(text("select kind from effects order by id"))]
        assert kinds == ["payment", "reservation", "release", "refund"]


def test_ctrl_c_in_the_terminal_reaches_only_the_supervisor_and_leaves_nothing(dev_fleet: Make) -> None:
    """The supervisor leads a terminal's session, as under a shell; a real Ctrl-C goes to its foreground group."""
    fleet = dev_fleet("--no-order")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execvpe(sys.executable, [sys.executable, "-m", "app.cli", "dev", "--no-order"], fleet.env)
    try:
        seen = b""
        while b"QUEUE" not in seen:  # a terminal gets the table
            seen += os.read(terminal, 4096)
        fleet.place("held")
        until(lambda: fleet.call("GET", "/orders/held")["step"] == "payment", 20, 0.05)
        os.write(terminal, b"\x03")
        while True:
            try:
                chunk = os.read(terminal, 4096)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        _, status = os.waitpid(pid, 0)
    finally:
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0
    assert b"stopping: API, autoscaler, workers (drained), Temporal" in seen
    assert not fleet.processes()
    drained = (fleet.data / "logs" / "payments-1.log").read_text()
    assert "0 handed over" in drained
    assert "SIGINT" not in drained


def test_a_killed_supervisor_leaves_nothing_and_the_next_one_finishes_what_was_open(dev_fleet: Make) -> None:
    first = dev_fleet("--no-order")
    first.start()
    first.ready()
    for number in range(6):
        first.place(f"open-{number}")
    time.sleep(0.5)
    before = first.processes()
    assert len(before) >= 6, "supervisor, guardian, Temporal, API and two workers"
    first.process.kill()
    first.process.wait()
    with dev_fleet("--no-order", ports=first.ports) as second:
        second.ready()
        left = set(first.processes()) & set(before)
        assert not left, "the data folder is free only when the first fleet's processes have ended"
        views = [second.await_order(f"open-{number}") for number in range(6)]
        assert [view["status"] for view in views] == ["completed"] * 6


def test_a_second_fleet_in_the_same_folder_is_refused(dev_fleet: Make) -> None:
    with dev_fleet("--no-order") as first:
        first.ready()
        second = dev_fleet("--no-order")
        second.start()
        assert second.process.wait(30) == 2
        text = second.said()
        assert f"(pid {first.process.pid})" in text
        assert "FLEET_LOCAL__DATA_DIR" in text
        assert first.process.poll() is None


LOSES_A_PORT = """
import sys
from app.cli import main
from app.local import fleet

choose, taken = fleet.free_port, [int(sys.argv.pop(1))]
fleet.free_port = lambda host: taken.pop() if taken else choose(host)
main()
"""


def test_a_worker_whose_port_was_taken_meanwhile_gets_another(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        with DevFleet(tmp_path / "data", argv=[sys.executable, "-c", LOSES_A_PORT, port, "dev", "--no-order"]) as fleet:
            fleet.ready()
            fleet.place("after-all")
            assert fleet.await_order("after-all")["status"] == "completed"
            assert any("ended with 2" in line for line in fleet.lines)


def test_busy_ports_are_all_named_with_their_settings(dev_fleet: Make) -> None:
    with socket.socket() as one, socket.socket() as two:
        for taken in (one, two):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        fleet = dev_fleet(
            settings={
                "LOCAL__TEMPORAL_PORT": str(one.getsockname()[1]),
                "API__PORT": str(two.getsockname()[1]),
            }
        )
        fleet.start()
        assert fleet.process.wait(30) == 2
    text = fleet.said()
    assert "set local.temporal_port (FLEET_LOCAL__TEMPORAL_PORT)" in text
    assert "set api.port (FLEET_API__PORT)" in text
    assert "Traceback" not in text


def test_a_queue_added_in_python_gets_a_worker_and_nothing_else_is_needed(dev_fleet: Make, tmp_path: Path) -> None:
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    shutil.copytree(ROOT / "app", checkout / "app", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "config.yaml", checkout)
    (checkout / "app/worker/workflows/greeting.py").write_text(
        "from app.worker.registry import workflow_defn\n"
        "from app.worker.workflows.base import BaseWorkflow\n\n"
        '@workflow_defn(queue="greetings")\n'
        "class GreetingWorkflow(BaseWorkflow[str, str]):\n"
        "    async def run(self, input: str) -> str:\n"
        '        return f"Hello {input}"\n'
    )
    with dev_fleet("--no-order", cwd=checkout) as fleet:
        assert "greetings (1)" in fleet.expect("workers ")
        fleet.ready()
        assert len(fleet.workers("greetings")) == 1
        greeted = subprocess.run(
            [
                shutil.which("temporal", path=str(Path(sys.executable).parent)) or "temporal",
                *("workflow", "execute", "--address", fleet.temporal, "--task-queue", "greetings"),
                *("--type", "GreetingWorkflow", "--input", '"you"', "--output", "json"),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "Hello you" in greeted.stdout


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        ('["tests.apps.twins"]', "has the name and queue of activity pay"),
        ('["tests.apps.broken"]', "a_package_that_is_not_there"),
    ],
)
def test_what_cannot_be_served_ends_it_before_anything_starts(dev_fleet: Make, packages: str, told: str) -> None:
    fleet = dev_fleet(settings={"TEMPORAL__WORKER__PACKAGES": packages})
    fleet.start()
    assert fleet.process.wait(30) == 2
    text = fleet.said()
    assert told in text
    assert "Traceback" not in text
    assert not (fleet.data / "temporal.db").exists()
    assert not (fleet.data / "logs").exists()


def test_a_worker_that_is_stopped_from_outside_is_replaced(dev_fleet: Make) -> None:
    with dev_fleet("--no-order") as fleet:
        fleet.ready()
        (before,) = fleet.workers("orders")
        until(lambda: _ready(before["health"]), 20)
        os.kill(before["pid"], signal.SIGTERM)
        after = until(lambda: [w for w in fleet.workers("orders") if w["pid"] != before["pid"]], 20)
        assert len(after) == 1
        fleet.expect(f"{before['identity']} was stopped from outside", 5)
        fleet.place("after")
        assert fleet.await_order("after")["status"] == "completed"


def test_a_worker_that_cannot_run_ends_the_fleet_with_its_own_words(dev_fleet: Make) -> None:
    fleet = dev_fleet("--no-order", settings={"TEMPORAL__WORKER__PACKAGES": '["tests.apps.refuses"]'})
    fleet.start()
    assert fleet.process.wait(60) == 2
    text = fleet.said()
    assert "a worker cannot run:" in text
    assert "libpayments.so.2 is not installed" in text
    assert "Traceback" not in text


def _ready(address: str) -> Any:
    with urllib.request.urlopen(f"http://{address}/readyz", timeout=2) as answer:
        return answer.status == 200


def test_a_folder_that_cannot_be_used_names_the_setting(dev_fleet: Make, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    fleet = dev_fleet("--no-order")
    fleet.start()
    assert fleet.process.wait(30) == 2
    assert "FLEET_LOCAL__DATA_DIR" in fleet.said()
    assert "Traceback" not in fleet.said()


def test_load_places_orders_at_the_rate(dev_fleet: Make) -> None:
    with dev_fleet("--no-order", "--load", "4") as fleet:
        fleet.ready()
        until(lambda: len(_placed(fleet)) >= 8, 30, 0.5)


def _placed(fleet: DevFleet) -> list[str]:
    async def ask() -> list[str]:
        client = await Client.connect(fleet.temporal)
        return [w.id async for w in client.list_workflows("WorkflowType = 'OrderWorkflow'")]

    return asyncio.run(ask())
