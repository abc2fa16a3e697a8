"""A workflow that tries what workflow code may not do, and tells which of it was refused."""

from __future__ import annotations

import asyncio
import concurrent.futures
import datetime
import importlib
import os
import pathlib
import random
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from app.worker.registry import workflow_defn

# Every one harmless where it is not refused: the comparison must be able to fail.
BODIES: dict[str, Callable[[], Any]] = {
    "datetime.now": lambda: datetime.datetime.now(datetime.UTC),
    "datetime.utcnow": lambda: datetime.datetime.utcnow(),  # noqa: DTZ003 - to be refused
    "date.today": lambda: datetime.date.today(),  # noqa: DTZ011 - to be refused
    "time.time": lambda: time.time(),
    "time.monotonic": lambda: time.monotonic(),
    "time.sleep": lambda: time.sleep(0.001),
    "random.random": lambda: random.random(),
    "random.choice": lambda: random.choice([1]),
    "uuid4": lambda: uuid.uuid4(),
    "uuid1": lambda: uuid.uuid1(),
    "secrets.token_hex": lambda: secrets.token_hex(),
    "open": lambda: open("/dev/null").close(),
    "input": lambda: input(),
    "Path.read_text": lambda: pathlib.Path("/dev/null").read_text(),
    "Path.exists": lambda: pathlib.Path("/dev/null").exists(),
    "os.environ": lambda: os.environ["PATH"],
    "os.getenv": lambda: os.getenv("PATH"),
    "os.listdir": lambda: os.listdir("/"),
    "os.getpid": lambda: os.getpid(),
    "os.urandom": lambda: os.urandom(1),
    "socket.socket": lambda: socket.socket().close(),
    "socket.create_connection": lambda: socket.create_connection(("127.0.0.1", 9), 0.001),
    "urlopen": lambda: urllib.request.urlopen("data:,"),
    "subprocess.run": lambda: subprocess.run(["true"], check=False),
    "threading.Thread": lambda: threading.Thread(target=int).start(),
    "threading.Lock": lambda: threading.Lock(),
    "ThreadPoolExecutor": lambda: concurrent.futures.ThreadPoolExecutor(1).shutdown(),
    "asyncio.to_thread": lambda: asyncio.get_running_loop().run_in_executor(None, int),
    "asyncio.open_connection": lambda: asyncio.open_connection("127.0.0.1", 9).send(None),
}


@workflow_defn(queue="forbidden")
@workflow.defn
class Forbidden:
    """Takes dotted names of the standard library; its result is what was refused of them and of `BODIES`."""

    @workflow.run
    async def run(self, names: list[str]) -> list[str]:
        tries: dict[str, Callable[[], Any]] = {
            **BODIES,
            **{f"SDK's list: {name}": partial(_use, name) for name in names},
        }
        return [name for name, body in tries.items() if _refused(body)]


def _use(name: str) -> None:
    module, _, path = name.partition(":")
    value: Any = importlib.import_module(module)
    for step in path.split("."):
        value = getattr(value, step)
    # Nothing takes this argument, so nothing happens where the use itself is not refused.
    value(**{"no such argument": None})


def _refused(body: Callable[[], Any]) -> bool:
    try:
        body()
    except (workflow.NondeterminismError, NotImplementedError, ApplicationError):
        # What the sandbox and the workflow's event loop answer.
        return True
    except BaseException:  # noqa: BLE001 - anything else means that it was tried
        return False
    return False
