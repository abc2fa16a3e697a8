"""A TCP relay: an address whose target and connections a test may take away. It sees bytes, so TLS goes through.

What a load balancer does to a client (cuts, refuses, swallows, sends elsewhere), done on purpose.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_RESET = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST."""


class Relay:
    """`address` to connect to. `target` may be changed: connections that are made from then on go there."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.connects = 0
        self._lock = threading.Lock()
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._flows = threading.Event()
        self._flows.set()
        self._mute: dict[socket.socket, threading.Event] = {}
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._port = self._listening.getsockname()[1]
        self.address = f"127.0.0.1:{self._port}"
        self._accept(self._listening)

    def cut(self) -> None:
        """Reset every connection there is."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            for end in pair:
                with suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                    end.shutdown(socket.SHUT_RD)  # wakes the thread that reads; close alone would not
                end.close()

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """Cut all connections and refuse new ones, for as long as the block lasts."""
        self._hang_up()
        self.cut()
        try:
            yield
        finally:
            self._listening = socket.create_server(("127.0.0.1", self._port), backlog=128)
            self._accept(self._listening)

    @contextmanager
    def swallowing(self) -> Iterator[None]:
        """A black hole: connections stay and are taken, and nothing comes through, for as long as the block lasts."""
        self._flows.clear()
        try:
            yield
        finally:
            self._flows.set()

    @contextmanager
    def silencing(self) -> Iterator[None]:
        """The connections that there are stay and pass nothing for as long as the block lasts; new ones do."""
        speak = threading.Event()
        with self._lock:
            self._mute = {end: speak for pair in self._pairs for end in pair}
        try:
            yield
        finally:
            speak.set()

    def close(self) -> None:
        self._flows.set()
        for speak in self._mute.values():
            speak.set()
        self._hang_up()
        self.cut()

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self, listening: socket.socket) -> None:
        def accept() -> None:
            with suppress(OSError):
                while True:
                    taken = listening.accept()[0]
                    threading.Thread(target=self._serve, args=(taken,), daemon=True).start()

        threading.Thread(target=accept, name="relay", daemon=True).start()

    def _serve(self, taken: socket.socket) -> None:
        host, port = self.target.rsplit(":", 1)
        try:
            target = socket.create_connection((host, int(port)), timeout=5)
        except OSError:
            taken.close()
            return
        target.settimeout(None)
        with self._lock:
            self.connects += 1
            self._pairs.append((taken, target))
        for one, other in ((taken, target), (target, taken)):
            threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError, ValueError):
            while True:
                select.select([one], [], [])
                self._flows.wait()
                if speak := self._mute.get(one):
                    speak.wait()
                if not (data := one.recv(65536)):
                    break
                other.sendall(data)
        with suppress(OSError):  # after a reset as well: whoever was killed must not live on at the other end
            other.shutdown(socket.SHUT_WR)


@contextmanager
def relay(target: str) -> Iterator[Relay]:
    """A relay to `target` (host:port) while the block runs."""
    running = Relay(target)
    try:
        yield running
    finally:
        running.close()
