"""Where a declaration stands, as file:line: what every message about a handler begins with.

The place is that of the code a user wrote: of a wrapped function the wrapped one, of an object its class, and not of
the decorator that is applied to it.
"""

from __future__ import annotations

import ast
import functools
import inspect
import os
import sys
import sysconfig
import textwrap
import traceback
from importlib import util
from pathlib import Path
from typing import Any

_OURS = tuple(
    str(Path(__file__).parent / name)
    for name in (
        "discovery.py",
        "handlers.py",
        "places.py",
        "registry.py",
        "sandbox.py",
        "sdk_definitions.py",
        *(f"workflows/{name}.py" for name in ("base", "contract", "starts", "calls", "children", "saga")),
    )
)
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


def file_line(file: str, line: int) -> str:
    """file:line, short where the file lies below the working directory."""
    path = Path(file).resolve()
    return f"{path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}:{line}"


def place(target: Any) -> str:
    """Where a class, a function or the class of an object is written; its module where Python cannot say."""
    while isinstance(target, functools.partial):
        target = target.func
    target = inspect.unwrap(target)
    if code := getattr(target, "__code__", None):
        return file_line(code.co_filename, code.co_firstlineno)
    cls = target if isinstance(target, type) else type(target)
    try:
        return file_line(inspect.getsourcefile(cls) or cls.__module__, inspect.getsourcelines(cls)[1])
    except (OSError, TypeError):
        return str(cls.__module__)


def caller(depth: int = 1) -> str:
    """Where the caller of the function that asks was called (`depth` 1), or its caller, and so on."""
    frame = sys._getframe(depth + 1)
    return file_line(frame.f_code.co_filename, frame.f_lineno)


def decorator_place(target: Any, name: str) -> str:
    """Where the decorator called `name` (or something.name) stands over `target`; else the place of `target`."""
    target = inspect.unwrap(target)
    try:
        lines, first = inspect.getsourcelines(target)
        node = ast.parse(textwrap.dedent("".join(lines))).body[0]
        file = inspect.getsourcefile(target) or ""
    except (OSError, TypeError, SyntaxError):
        return place(target)
    for decorator in getattr(node, "decorator_list", []):
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        if ast.unparse(called).rpartition(".")[2] == name:
            return file_line(file, first + decorator.lineno - 1)
    return place(target)


def raised_at(error: BaseException, module: str) -> str:
    """The innermost line of the user's own code that `error` came through on the import of `module`, else empty.

    That is what is neither ours nor a library's; where the user's package is installed as a library, code of its own.
    """
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return file_line(error.filename, error.lineno)
    frames = [
        frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(("<", *_OURS))
    ]
    own = [frame for frame in frames if not is_library(frame.filename)]
    if not own:
        roots = _roots(module.partition(".")[0])
        own = [frame for frame in frames if frame.filename.startswith(roots)]
    return file_line(own[-1].filename, own[-1].lineno or 0) if own else ""


def _roots(package: str) -> tuple[str, ...]:
    try:
        spec = util.find_spec(package)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    folders = tuple(f"{folder}{os.sep}" for folder in spec.submodule_search_locations or ())
    return folders or ((spec.origin,) if spec.origin else ())


def is_library(path: str) -> bool:
    """Whether it lies in Python's own library or among the installed packages."""
    return path.startswith(_LIBRARIES)
