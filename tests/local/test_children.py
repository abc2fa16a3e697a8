"""No child outlives its supervisor, however that ends: tried on real processes, killed for real."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

import app
from app.local import guardian
from app.local.children import Children
from app.local.lock import AlreadyRunning, DataDirLock

GRACE_S = 4.0
ENV = os.environ | {"PYTHONPATH": str(Path(app.__file__).parents[1])}

# Notes each signal with its time in <name>.note; SIGTERM ends it after 1 s, unless it is `stubborn`. A `parent` has
# a child of its own that SIGTERM does not end.
CHILD = """
import os, signal, subprocess, sys, time

def note(word, pid):
    with open(sys.argv[1] + ".note", "a") as out:
        out.write(f"{word} {pid} {time.monotonic_ns()}\\n")

def on_signal(number, frame):
    note(signal.Signals(number).name, os.getpid())
    if number == signal.SIGTERM and "stubborn" not in sys.argv:
        time.sleep(1.0)
        note("end", os.getpid())
        os._exit(0)

for each in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
    signal.signal(each, on_signal)
if "parent" in sys.argv:
    note("grandchild", subprocess.Popen(["/bin/sh", "-c", "trap '' TERM; exec sleep 300"]).pid)
note("up", os.getpid())
while True:
    signal.pause()
"""

# Starts the children of argv[1] (name, stage, words) in the working folder, says so, and does what its stdin says.
SUPERVISOR = """
import asyncio, json, os, signal, sys
from pathlib import Path
from app.local import children
from app.local.lock import DataDirLock

async def main(wanted, child, guarded):
    here = Path.cwd()
    signal.signal(signal.SIGINT, lambda *_: print("SIGINT", flush=True))
    lock = DataDirLock(here)
    lock.acquire(0, print)
    graces = {0: GRACE_S, 1: GRACE_S, 2: GRACE_S}
    fleet = children.Children(cwd=here, graces=graces, guardian_log=here / "guardian.log", lock_fd=lock.fileno())
    if not guarded:
        # The moment in which the child runs and nobody has heard of it.
        children._Guard.add = lambda _, child: (print(child.pid, flush=True), os.kill(os.getpid(), signal.SIGKILL))
    for name, stage, *words in wanted:
        argv = [sys.executable, "-IS", "-c", child, name, *words]
        await fleet.start(name, argv, stage=stage, env=os.environ, log=here / f"{name}.log")
    while not all(Path(f"{name}.note").exists() and "up" in Path(f"{name}.note").read_text() for name, *_ in wanted):
        await asyncio.sleep(0.01)
    print(json.dumps([fleet.guardian_pid, {child.name: child.pid for child in fleet.alive()}]), flush=True)
    while (line := await asyncio.to_thread(sys.stdin.readline)):
        if line == "guardian\\n":
            print(fleet.guardian_pid, flush=True)
        if line == "raise\\n":
            raise RuntimeError("as asked")

asyncio.run(main(*json.loads(sys.argv[1])))
""".replace("GRACE_S", str(GRACE_S))


def until(condition: Callable[[], bool], limit_s: float) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class Fleet:
    """A supervisor in a process and session of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pids: dict[str, int] = {}
        self.guardian = 0

    def launch(self, *children: tuple[object, ...], guarded: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, json.dumps([children, CHILD, guarded])],
            cwd=self.folder,
            env=ENV,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "supervisor.log").open("wb"),
            text=True,
            start_new_session=True,
        )

    def start(self, *children: tuple[object, ...]) -> None:
        self.launch(*children)
        said = self.hear()
        assert said, (self.folder / "supervisor.log").read_text()
        self.guardian, self.pids = json.loads(said)

    def hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def notes(self, name: str) -> dict[str, tuple[int, int]]:
        """{word: (pid, time in ns)} of what a child noted."""
        lines = (self.folder / f"{name}.note").read_text().splitlines()
        return {word: (int(pid), int(at_ns)) for word, pid, at_ns in (line.split() for line in lines)}

    def all_gone(self, limit_s: float) -> bool:
        pids = [self.guardian, *self.pids.values()]
        return until(lambda: all(guardian.is_gone(pid) for pid in pids), limit_s)


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path)
    try:
        yield fleet
    finally:
        fleet.kill()
        for pipe in (fleet.process.stdin, fleet.process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        for pid in [fleet.guardian, *fleet.pids.values()]:
            if pid and not guardian.is_gone(pid):
                guardian.signal_group(pid, signal.SIGKILL)


def python(code: str) -> list[str]:
    return [sys.executable, "-IS", "-c", code]


def gone(pid: int) -> bool:
    return until(lambda: guardian.is_gone(pid), 5)


def in_house(folder: Path, graces: dict[int, float] | None = None) -> Children:
    return Children(cwd=folder, graces=graces or {}, guardian_log=folder / "guardian.log")


@pytest.mark.parametrize("how", ["killed", "crashed"])
def test_a_supervisor_that_is_gone_takes_its_children_along_in_order(fleet: Fleet, how: str) -> None:
    fleet.start(("temporal", 2), ("worker-1", 1), ("api", 0), ("worker-2", 1))
    if how == "killed":
        fleet.kill()
    else:
        fleet.tell("raise")
        fleet.process.wait()

    assert fleet.all_gone(30)
    api, one, two, temporal = (fleet.notes(name) for name in ("api", "worker-1", "worker-2", "temporal"))
    assert api["end"][1] < min(one["SIGTERM"][1], two["SIGTERM"][1])
    assert max(one["SIGTERM"][1], two["SIGTERM"][1]) < min(one["end"][1], two["end"][1]), "workers drain side by side"
    assert max(one["end"][1], two["end"][1]) < temporal["SIGTERM"][1] < temporal["end"][1]


def test_a_supervisor_killed_between_spawn_and_go_leaves_nothing(fleet: Fleet) -> None:
    fleet.launch(("api", 0), guarded=False)
    pid = fleet.pids["api"] = int(fleet.hear())
    fleet.process.wait()
    assert gone(pid)
    assert not (fleet.folder / "api.note").exists(), "the program must not have begun"


def test_a_stubborn_child_of_a_killed_supervisor_dies_after_its_grace_with_its_children(fleet: Fleet) -> None:
    fleet.start(("worker", 1, "stubborn", "parent"), ("temporal", 2))
    grandchild = fleet.notes("worker")["grandchild"][0]
    killed_s = time.monotonic()
    fleet.kill()

    assert fleet.all_gone(30)
    assert gone(grandchild)
    waited_s = fleet.notes("temporal")["SIGTERM"][1] / 1e9 - killed_s
    # Below the grace of a stage that has none of its own.
    assert GRACE_S <= waited_s < GRACE_S + 5 < guardian.DEFAULT_GRACE_S
    assert f"pid {fleet.pids['worker']} did not end within {GRACE_S:g} s" in (fleet.folder / "guardian.log").read_text()


def test_what_an_obedient_child_leaves_behind_ends_too(fleet: Fleet) -> None:
    fleet.start(("worker", 1, "parent"))
    fleet.kill()
    assert fleet.all_gone(30)
    assert gone(fleet.notes("worker")["grandchild"][0])


def test_a_killed_guardian_is_replaced_by_one_that_knows_all(fleet: Fleet) -> None:
    fleet.start(("worker", 1), ("temporal", 2))
    first = fleet.guardian
    os.kill(first, signal.SIGKILL)

    def replaced() -> bool:
        fleet.tell("guardian")
        fleet.guardian = int(fleet.hear())
        return fleet.guardian != first

    assert until(replaced, 10)
    assert f"guardian (pid {first}) ended, exit code -9" in (fleet.folder / "supervisor.log").read_text()
    fleet.kill()
    assert fleet.all_gone(30)
    assert fleet.notes("worker")["end"][1] < fleet.notes("temporal")["SIGTERM"][1]


def test_signals_to_the_supervisors_group_reach_neither_children_nor_guardian(fleet: Fleet) -> None:
    fleet.start(("worker", 1))
    os.killpg(fleet.process.pid, signal.SIGINT)
    assert fleet.hear() == "SIGINT", "the supervisor got it"
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        os.kill(fleet.guardian, number)
    time.sleep(0.2)
    assert set(fleet.notes("worker")) == {"up"}
    assert not guardian.is_gone(fleet.guardian)


def test_a_guardian_that_has_just_been_started_is_as_deaf(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_house(tmp_path) as children:
            await children.start("x", python("import time; time.sleep(60)"), stage=0, env=ENV, log=tmp_path / "log")
            pid = children.guardian_pid
            assert pid is not None
            # It has not run a line of its own yet: Python takes some 30 ms to begin.
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
                os.kill(pid, number)
            await asyncio.sleep(0.5)
            assert not guardian.is_gone(pid)

    asyncio.run(run())
    assert (tmp_path / "guardian.log").read_text() == ""


def test_stopping_goes_by_stage_and_lets_the_guardian_go(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_house(tmp_path) as children:
            for name, stage in (("temporal", 2), ("worker-1", 1), ("worker-2", 1)):
                argv = [*python(CHILD), str(tmp_path / name)]
                await children.start(name, argv, stage=stage, env=ENV, log=tmp_path / "logs" / name)
            pid = children.guardian_pid
            assert pid is not None
            assert until(lambda: len(list(tmp_path.glob("*.note"))) == 3, 5)
            await children.stop_stage(1, 5)
            assert [child.name for child in children.alive()] == ["temporal"]
        assert children.alive() == []
        assert guardian.is_gone(pid)

    asyncio.run(run())
    assert (tmp_path / "guardian.log").read_text() == "", "an orderly end leaves it nothing to do"


def test_a_stubborn_child_is_killed_with_its_group(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> tuple[int, int]:
        async with in_house(tmp_path) as children:
            argv = [*python(CHILD), str(tmp_path / "worker"), "stubborn", "parent"]
            child = await children.start("worker", argv, stage=1, env=ENV, log=tmp_path / "log")
            note = tmp_path / "worker.note"
            assert until(lambda: note.exists() and "up" in note.read_text(), 5)
            return await child.stop(0.3), int(note.read_text().split()[1])

    with caplog.at_level(logging.WARNING):
        code, grandchild = asyncio.run(run())
    assert code == -signal.SIGKILL
    assert gone(grandchild)
    assert "worker (pid" in caplog.text
    assert "did not end within 0.3 s" in caplog.text


def test_a_child_tells_how_it_ended(tmp_path: Path) -> None:
    async def run() -> None:
        async with in_house(tmp_path) as children:

            async def child(argv: list[str]) -> int:
                started = await children.start("x", argv, stage=0, env=ENV, log=tmp_path / "log")
                assert started.returncode is None
                code = await started.wait()
                assert started.returncode == code
                assert started not in children.alive()
                return code

            say = 'import os, sys; print(os.getcwd(), sys.stdin.read() == "", os.getsid(0) == os.getpid()); sys.exit(7)'
            assert await child(python(say)) == 7
            assert await child(python("import os; os.kill(os.getpid(), 9)")) == -9
            assert await child(["/nowhere/at/all"]) in (126, 127)

    asyncio.run(run())
    said = (tmp_path / "log").read_text()
    assert f"{tmp_path.resolve()} True True\n" in said, "its folder, an empty stdin, a session of its own"
    assert "/nowhere/at/all" in said


def test_a_crashed_child_leaves_no_children_behind(fleet: Fleet) -> None:
    fleet.start(("worker", 1, "parent"))
    os.kill(fleet.pids["worker"], signal.SIGKILL)
    assert gone(fleet.notes("worker")["grandchild"][0])


@pytest.mark.parametrize("by_proc", [True, False])
def test_a_zombie_is_gone(monkeypatch: pytest.MonkeyPatch, by_proc: bool) -> None:
    if by_proc and not guardian._HAS_PROC:
        pytest.skip("no /proc here")
    monkeypatch.setattr(guardian, "_HAS_PROC", by_proc)
    process = subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE)
    assert not guardian.is_gone(process.pid)
    process.kill()
    assert gone(process.pid), "killed, not yet waited for"
    process.communicate()
    assert guardian.is_gone(process.pid)


def test_the_guardian_imports_nothing_of_ours() -> None:
    code = "import sys; from app.local import guardian; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", code], env=ENV, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("app")} == {"app", "app.local", "app.local.guardian"}
    assert not loaded & {"temporalio", "pydantic", "asyncio", "subprocess", "argparse"}


def test_a_second_fleet_is_told_who_has_the_folder(fleet: Fleet) -> None:
    fleet.start(("worker", 1))
    with pytest.raises(AlreadyRunning) as caught:
        DataDirLock(fleet.folder).acquire(60, lambda text: pytest.fail(text))
    pid = fleet.process.pid
    assert str(caught.value) == (
        f"another fleet runs in {fleet.folder} (pid {pid}).\n"
        "stop it, or set local.data_dir (FLEET_LOCAL__DATA_DIR) for a second one."
    )
    assert caught.value.pid == pid


def test_a_killed_fleet_keeps_its_folder_until_its_children_ended(fleet: Fleet) -> None:
    fleet.start(("worker", 1, "stubborn"))
    fleet.kill()
    said: list[str] = []
    lock = DataDirLock(fleet.folder)
    with pytest.raises(AlreadyRunning, match=rf"\(pid {fleet.process.pid}, ended\) still run after 1 s"):
        lock.acquire(1, said.append)
    assert not guardian.is_gone(fleet.pids["worker"])
    lock.acquire(20, said.append)
    assert guardian.is_gone(fleet.pids["worker"])
    assert said == ["waiting for the previous fleet's processes to end"] * 2, "once for each acquire"
    lock.release()


def test_no_child_holds_the_lock(tmp_path: Path) -> None:
    lock = DataDirLock(tmp_path)
    lock.acquire(0, print)
    same = f"os.path.samestat(os.fstat(n), os.stat({str(tmp_path / 'lock')!r}))"
    find = f"import os; print([n for n in range(64) if os.path.exists('/dev/fd/%d' % n) and {same}])"

    async def run() -> None:
        children = Children(cwd=tmp_path, graces={}, guardian_log=tmp_path / "g.log", lock_fd=lock.fileno())
        async with children:
            await (await children.start("x", python(find), stage=0, env=ENV, log=tmp_path / "log")).wait()
        lock.release()

    asyncio.run(run())
    assert (tmp_path / "log").read_text() == "[]\n"
    DataDirLock(tmp_path).acquire(0, print)
