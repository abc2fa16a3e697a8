"""A pipe that nobody reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """(reading, writing) ends; `fill` makes every write of others wait."""
    reading, writing = os.pipe()
    try:
        yield reading, writing
    finally:
        os.close(reading)
        os.close(writing)


def fill(writing: int) -> None:
    """Fill the pipe to the last byte."""
    # A descriptor of its own: what makes this one not wait leaves the others as they are.
    filling = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    for size in (65536, 1):
        with suppress(BlockingIOError):
            while True:
                os.write(filling, b"." * size)
    os.close(filling)
