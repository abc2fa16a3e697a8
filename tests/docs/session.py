"""A Python session in a process of the reader's, which keeps names and the event loop from one block to the next."""

from __future__ import annotations

import json
import subprocess
import sys
from types import TracebackType
from typing import Self

from tests.docs.reader import Done, Reader

_LOOP = """
import ast, asyncio, contextlib, inspect, io, json, sys, traceback

names, loop = {"__name__": "session"}, asyncio.new_event_loop()
asyncio.set_event_loop(loop)


async def run(code):
    result = eval(code, names)
    if inspect.isawaitable(result):
        await result


for line in sys.stdin:
    where, text = json.loads(line)
    out, failed = io.StringIO(), False
    with contextlib.redirect_stdout(out):
        try:
            code = compile(text, where, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            loop.run_until_complete(asyncio.wait_for(run(code), 60))
        except BaseException:
            failed = True
            traceback.print_exc(file=out)
    print(json.dumps([failed, out.getvalue()]), flush=True)
"""


class Session:
    """Starts on entering, ends on leaving."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LOOP],
            cwd=self._reader.folder,
            env=self._reader.env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate()

    def run(self, text: str, where: str) -> Done:
        """What a block printed; code 1 and the traceback if it failed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([where, text]) + "\n")
        self._process.stdin.flush()
        failed, printed = json.loads(self._process.stdout.readline())
        return Done(int(failed), printed)
