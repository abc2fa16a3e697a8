"""README.md and the pages of docs/: every block is executed, and what they show as output is what comes out."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from textwrap import indent

import pytest
import yaml

from app.core.config.load import load_settings
from app.core.config.model import Settings
from app.core.ports import free_port
from tests.cluster.tools import ToolMissing, tool
from tests.docs.blocks import FILE, OUTPUT, PYTHON, ROOT, SETTINGS, SHELL, Block, blocks, commands, is_output
from tests.docs.reader import Reader
from tests.docs.session import Session
from tests.local.dev_fleet import DevFleet, until
from tests.mistakes.page import sections
from tests.parts.skipping import skip_for_want_of

PAGES = ("README.md", "docs/usage.md")

STAYING = {
    r"python -m app\.worker\.main serve.*": "serving",
    r"python -m app\.api\.http\.main.*": "Uvicorn running",
}
"""Commands that stay, and what they print when they are ready."""

RUN = (r"fleet (check|queues|describe|config)\b.*", r"python -m pytest .*", r"python \w+\.py", r"curl .*")


# What a machine with Python alone cannot run, why, and what is looked at instead.


def _make(command: str) -> None:
    """Takes the developer's own ports and data folder; `test_the_first_run_is_as_shown` runs what it runs."""
    done = subprocess.run(["make", "-n", *command.split("make ")[1].split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _kustomize(command: str) -> None:
    """Needs a cluster: what would be applied is rendered. tests/cluster applies it."""
    folder = command.split()[-1]
    assert "kind: Deployment" in _kubectl("kustomize", str(ROOT / folder)).stdout


def _image(command: str) -> None:
    """Needs Docker and kind: the tag must be the one that the chart asks for. tests/image builds it."""
    tag = re.findall(r"worker-fleet:(\S+)", command)
    chart = yaml.safe_load((ROOT / "charts/worker-fleet/Chart.yaml").read_text())
    assert set(tag) == {chart["appVersion"]}
    assert (ROOT / "Dockerfile").is_file()


def _install(command: str) -> None:
    """Needs a cluster: it is rendered with the same arguments. tests/cluster installs it."""
    arguments = [a for a in command.replace("helm install", "template").split() if a != "--create-namespace"]
    done = subprocess.run([_tool("helm"), *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _skaffold(command: str) -> None:
    """Needs a cluster: the profile must be there. tests/charts checks the file against Skaffold's schema."""
    names = [profile["name"] for profile in yaml.safe_load((ROOT / "skaffold.yaml").read_text())["profiles"]]
    assert command.split("--profile ")[1].split()[0] in names


def _kubectl_parses(command: str) -> None:
    """Needs a fleet on a cluster: kubectl must take the arguments, and fail only for want of a server."""
    done = _kubectl(*command.split()[1:], "--server=http://127.0.0.1:1")
    assert "connection refused" in done.stderr or "connection to the server" in done.stderr, done.stderr


CHECKED: dict[str, Callable[[str], None]] = {
    r"(\w+=\S+ )?make .*": _make,
    r"kubectl apply -k .*": _kustomize,
    r"docker build .*": _image,
    r"helm install .*": _install,
    r"skaffold dev .*": _skaffold,
    r"kubectl (get|describe|scale) .*": _kubectl_parses,
}


def _kubectl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([_tool("kubectl"), *arguments], check=False, capture_output=True, text=True)


def _tool(name: str) -> str:
    try:
        return str(tool(name))
    except ToolMissing as error:
        skip_for_want_of(name, error)


def test_no_page_has_a_block_that_nothing_executes() -> None:
    for page in PAGES:
        for block in blocks(page):
            for command in commands(block.text) if block.kind == SHELL else []:
                assert _ways(command) == 1, f"{page}:{block.line}: {command!r} has {_ways(command)} ways to be executed"


def _ways(command: str) -> int:
    return sum(re.fullmatch(pattern, command) is not None for pattern in (*STAYING, *RUN, *CHECKED))


@pytest.mark.charts
@pytest.mark.parametrize(
    "command",
    [
        c
        for page in PAGES
        for b in blocks(page)
        if b.kind == SHELL
        for c in commands(b.text)
        if any(re.fullmatch(p, c) for p in CHECKED)
    ],
)
def test_a_command_that_needs_more_than_this_machine_is_right_as_far_as_can_be_seen(command: str) -> None:
    next(check for pattern, check in CHECKED.items() if re.fullmatch(pattern, command))(command)


def test_the_first_run_is_as_shown(tmp_path: Path) -> None:
    """`make run` in a terminal: the same lines, with other numbers and names of folders."""
    shown = _first_run().text.splitlines()
    fleet = DevFleet(tmp_path / "data")
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        command = [sys.executable, "-m", "app.cli", "dev"]
        os.execvpe(command[0], command, {**fleet.env, "COLUMNS": "160", "TERM": "xterm"})
    printed = b""
    try:
        deadline = time.monotonic() + 90
        while not set(map(_shape, shown)) <= _shapes(printed) and time.monotonic() < deadline:
            if select.select([terminal], [], [], 1)[0]:
                printed += os.read(terminal, 65536)
    finally:
        os.close(terminal)  # as a window that is closed
        os.waitpid(pid, 0)
    assert [line for line in shown if _shape(line) not in _shapes(printed)] == [], printed.decode()
    until(lambda: not fleet.processes(), 30)


def _shapes(printed: bytes) -> set[str]:
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed.decode(errors="replace"))
    return {_shape(line) for line in re.split(r"[\r\n]+", plain)}


def _first_run() -> Block:
    return next(block for block in blocks("README.md") if block.kind == OUTPUT)


def _shape(line: str) -> str:
    line = re.sub(r"(?<=data in )\S+", "FOLDER", line)
    line = re.sub(r"(?<=-d ').*", "...", line)
    return re.sub(r"\d+(\.\d+)?", "0", " ".join(line.split()))


def test_the_blocks_of_the_configuration_page_are_of_kinds_that_its_own_tests_execute() -> None:
    """tests/core/test_config_reference.py loads every yaml and bash block, and provokes the one text block."""
    text = (ROOT / "docs/configuration.md").read_text()
    kinds = re.findall(r"^```(\w*)\n.*?^```$", text, re.MULTILINE | re.DOTALL)
    assert set(kinds) == {"yaml", "bash", "text"}
    assert kinds.count("text") == 1
    assert 2 * len(kinds) == len(re.findall(r"^ *```", text, re.MULTILINE))


def test_the_troubleshooting_page_has_messages_only() -> None:
    """tests/mistakes provokes each."""
    text = (ROOT / "docs/troubleshooting.md").read_text()
    assert set(re.findall(r"^ *```(\w*)$", text, re.MULTILINE)) == {"text", ""}
    assert 2 * sum(len(section.messages) for section in sections().values()) == text.count("```")


@pytest.mark.parametrize("page", PAGES)
def test_every_block_does_what_the_page_says(page: str, tmp_path: Path, temporal_address: str) -> None:
    reader = Reader(tmp_path, temporal_address)
    port = str(free_port("127.0.0.1"))
    found = blocks(page)
    for block in found:
        if block.kind == FILE:
            reader.write(block.name, block.text)
    with ExitStack() as stack:
        session = stack.enter_context(Session(reader))
        printed: str | None = None
        for block in found:
            where = f"{page}:{block.line}"
            if block.kind == PYTHON:
                done = session.run(block.text, where)
                assert done.code == 0, f"{where}:\n{done.text}"
                printed = done.text
            elif block.kind == SHELL:
                printed = _shell(reader, stack, block.text.replace("8000", port), where)
            elif block.kind == OUTPUT and printed is None:
                assert block == _first_run(), f"{where}: nothing printed it"
            elif block.kind == OUTPUT:
                assert is_output(block.text, str(printed)), f"{where} shows\n{block.text}\nand it printed\n{printed}"
            elif block.kind == SETTINGS:
                assert load_settings(file=reader.write("of-the-page.yaml", block.text)) != Settings(), where


def test_code_outside_this_repository_is_type_checked_too(tmp_path: Path) -> None:
    """The usage page's, with mypy --strict: the package says that it is typed, and its types reach its users."""
    reader = Reader(tmp_path, "")
    typed = [block.text for block in blocks("docs/usage.md") if block.kind == PYTHON]
    reader.write("session.py", f"async def main() -> None:\n{indent(''.join(typed), '    ')}")
    for block in blocks("docs/usage.md"):
        if block.kind == FILE and block.name.startswith("shop/"):
            reader.write(block.name, block.text)
    done = reader.run("mypy --strict --explicit-package-bases shop session.py", timeout_s=240)
    assert done.text.startswith("Success"), done.text
    reader.write("wrong.py", WRONG)
    done = reader.run("mypy --strict --explicit-package-bases wrong.py", timeout_s=240)
    assert re.findall(r"^wrong.py:(\d+): error", done.text, re.MULTILINE) == ["7", "9"], done.text


WRONG = """\
from temporalio.client import Client
from shop.models import Order
from shop.orders import OrderWorkflow


async def main(client: Client) -> None:
    await OrderWorkflow.execute_workflow(client, input="mug", id="1")
    receipt = await OrderWorkflow.execute_workflow(client, input=Order(order_id="1", sku="mug"), id="1")
    print(receipt.payments)
"""


def _shell(reader: Reader, stack: ExitStack, text: str, where: str) -> str | None:
    """Run the commands of a block; what they printed, None where another test runs them."""
    printed = None
    for command in commands(text):
        ready = next((ready for pattern, ready in STAYING.items() if re.fullmatch(pattern, command)), "")
        if ready:
            stack.enter_context(reader.background(command)).says(ready)
        elif any(re.fullmatch(pattern, command) for pattern in RUN):
            done = reader.run(command)
            assert done.code == 0, f"{where}: {command}\n{done.text}"
            printed = (printed or "") + done.text
    return printed
