"""Are the ports free that the settings ask for? Asked for all of them before anything is started.

A taken port would else show up as a child that ends, one port at a time, in a log of its own. The answer is a look, not
a reservation: whoever takes a port a moment later is still found out by the child that needs it.
"""

from __future__ import annotations

import errno
import random
import socket
from collections.abc import Mapping

from app.core.config import named

_ANY_HOST = ("0.0.0.0", "::")
# A name such as localhost may stand for an address of a family that this machine does not have.
_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

# Below what systems hand out for port 0 and outgoing connections (Linux from 32768, macOS from 49152). Such a port is
# easily lost between our look and the server's bind: seen once in 670 starts of Temporal, which opens many itself.
_CHOICE = range(20_000, 32_768)
UNSEEN = range(10_000, 20_000)
"""For what a process opens for itself: a worker that took the port which it is to serve its probes on was seen once."""
_TRIES = 200
# Not the seeded generator: test runs side by side may share a seed.
_RANDOM = random.SystemRandom()
_given: set[int] = set()


def check_free(wanted: Mapping[str, tuple[str, int]]) -> list[str]:
    """A message for each setting (as "local.temporal_port") whose host and port cannot be listened on; port 0 can."""
    problems: list[str] = []
    seen: list[tuple[str, str, int]] = []
    for setting, (host, port) in wanted.items():
        if port == 0:
            continue
        twin = next((other for other, its_host, its_port in seen if its_port == port and _meet(host, its_host)), None)
        seen.append((setting, host, port))
        if twin is not None:
            problems.append(f"port {port} is already that of {twin}: set {named(setting)} to another.")
            continue
        try:
            _bind(host, port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                problems.append(f"port {port} is taken: stop what listens there, or set {named(setting)}.")
            else:
                problems.append(f"port {port} on {host} cannot be used ({error.strerror}): set {named(setting)}.")
    return problems


def free_port(host: str, among: range = _CHOICE) -> int:
    """A port that nobody listens on now, a different one at each call. Raises OSError for a host that is not ours."""
    for _ in range(_TRIES):
        port = _RANDOM.choice(among)
        if port in _given:
            continue
        try:
            _bind(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            continue
        _given.add(port)
        return port
    raise OSError(errno.EADDRINUSE, f"no free port on {host} in {_TRIES} tries from {among[0]} to {among[-1]}")


def _meet(one: str, other: str) -> bool:
    return one == other or one in _ANY_HOST or other in _ANY_HOST


def _bind(host: str, port: int) -> None:
    """Raises OSError when one of the host's addresses is taken, or none is this machine's."""
    absent: OSError | None = None
    bound = False
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            with socket.socket(family, kind) as probe:
                # As servers do: without it a port counts as taken for a minute after its last connection.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                bound = True
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            absent = error
    if absent is not None and not bound:
        raise absent
