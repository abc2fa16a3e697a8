"""A socket that takes connections and never answers, and counts them."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class BlackHole:
    """`address` to connect to, `connects` so far."""

    def __init__(self, listening: socket.socket) -> None:
        self.address = f"127.0.0.1:{listening.getsockname()[1]}"
        self._listening = listening
        self._taken: list[socket.socket] = []

    @property
    def connects(self) -> int:
        return len(self._taken)

    def take(self) -> None:
        """Accept until `close`."""
        with suppress(OSError):
            while True:
                self._taken.append(self._listening.accept()[0])

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for each in self._taken:
            each.close()


@contextmanager
def black_hole() -> Iterator[BlackHole]:
    """It swallows while the block runs."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listening:
        hole = BlackHole(listening)
        thread = threading.Thread(target=hole.take)
        thread.start()
        try:
            yield hole
        finally:
            hole.close()
            thread.join()
