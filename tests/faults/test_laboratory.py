"""The laboratory does what its names say: else a fault test that passes says nothing."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from grpc import StatusCode  # type: ignore[import-untyped]
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest, DescribeNamespaceResponse
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from tests.local.dev_fleet import until
from tests.parts.cgroup import memory_limited
from tests.parts.grpc_proxy import Proxy
from tests.parts.relay import Relay

MIB = 1024 * 1024


def with_client(address: str, work: Callable[[Client], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await work(await Client.connect(address))

    return asyncio.run(main())


async def ask(client: Client, timeout_s: float = 5.0) -> DescribeNamespaceResponse:
    """One call without retries."""
    request = DescribeNamespaceRequest(namespace="default")
    async with asyncio.timeout(timeout_s):
        return await client.workflow_service.describe_namespace(request, retry=False)


def test_a_status_is_for_so_many_calls_of_one_method(proxy: Proxy) -> None:
    async def work(client: Client) -> None:
        with proxy.answering("DescribeNamespace", StatusCode.ABORTED, "not now", times=2) as fault:
            for _ in range(2):
                with pytest.raises(RPCError, match="not now") as refused:
                    await ask(client)
                assert refused.value.status == RPCStatusCode.ABORTED
            await ask(client)
            assert fault.met == 2
        with proxy.answering("Poll*", StatusCode.ABORTED):
            await ask(client)

    with_client(proxy.address, work)


def test_silence_lasts_until_it_is_lifted(proxy: Proxy) -> None:
    async def work(client: Client) -> None:
        with proxy.silent("DescribeNamespace"), pytest.raises(TimeoutError):
            await ask(client, 0.5)
        await ask(client)

    with_client(proxy.address, work)


def test_a_lost_answer_is_of_a_call_that_the_server_has_done(proxy: Proxy) -> None:
    async def work(client: Client) -> None:
        with proxy.losing_answers("StartWorkflowExecution", times=1):
            handle = await client.start_workflow("Nobody", id=f"lost-{time.monotonic_ns()}", task_queue="nobody")
        assert proxy.calls["StartWorkflowExecution"] == 2
        await handle.terminate()

    with_client(proxy.address, work)


async def again(client: Client) -> None:
    """Ask until there is an answer: whether a call meets the cut, or a connection made since, is chance."""
    async with asyncio.timeout(15):
        while True:
            with suppress(RPCError):
                await ask(client)
                return


def test_a_relay_cuts_refuses_swallows_and_points_elsewhere(proxy: Proxy, link: Relay, temporal_address: str) -> None:
    async def work(client: Client) -> None:
        await ask(client)
        connects = link.connects
        link.cut()
        await again(client)
        assert link.connects > connects
        with link.refusing(), pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(link.address.split(":")[1])), timeout=5).close()
        await again(client)
        with link.swallowing(), pytest.raises(TimeoutError):
            await ask(client, 0.5)
        await again(client)
        link.target = temporal_address
        link.cut()
        await again(client)
        seen = proxy.calls.total()
        await ask(client)
        assert proxy.calls.total() == seen

    with_client(link.address, work)


def test_a_process_in_a_memory_group_is_killed_above_its_limit() -> None:
    grows = "import sys; sys.stdin.read(1); hoard = bytearray(200 * 1024 * 1024); print(len(hoard))"
    with memory_limited(100 * MIB) as group:
        process = subprocess.Popen([sys.executable, "-c", grows], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        group.add(process.pid)
        process.communicate(b"x", timeout=20)
        assert process.returncode == -9
    until(lambda: not group.folder.exists(), 5)
