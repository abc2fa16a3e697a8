"""The node's addresses: of a range that is nobody's and in no route of this machine, chosen when the node starts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

# For documentation (RFC 5737) and benchmarks (RFC 2544). Nothing answers there, and no private network of a company or
# a VPN is hidden by a route to it. The last two come last: laboratories do use them, behind their default route.
_NOBODYS = tuple(IPv4Network(block) for block in ("198.51.100.0/24", "198.18.0.0/22", "203.0.113.0/24", "192.0.2.0/24"))


class NoFreeRange(RuntimeError):
    """Each of the ranges is in use on this machine."""


@dataclass(frozen=True)
class Ranges:
    """`host` and `node` are the two ends of the link; pods reach servers of this machine that listen on `host`."""

    link: str
    host: str
    node: str
    pods: str
    services: str
    api: str
    dns: str


def carve(block: IPv4Network) -> Ranges:
    """The parts of a /25: a link of 4 addresses, 32 for services, 64 for pods."""
    link = next(block.subnets(new_prefix=30))
    services = list(block.subnets(new_prefix=27))[1]
    pods = list(block.subnets(new_prefix=26))[1]
    return Ranges(
        link=str(link),
        host=str(link[1]),
        node=str(link[2]),
        pods=str(pods),
        services=str(services),
        api=str(services[1]),  # where Kubernetes puts its own Service
        dns=str(services[10]),  # where other clusters have it too
    )


def free(taken: Iterable[IPv4Network]) -> Ranges:
    """Carves the first /25 of the ranges that overlaps none of `taken`. Raises NoFreeRange."""
    used = list(taken)
    for whole in _NOBODYS:
        for part in whole.subnets(new_prefix=25):
            if not any(part.overlaps(each) for each in used):
                return carve(part)
    named = ", ".join(map(str, _NOBODYS))
    raise NoFreeRange(f"each /25 of {named} is in a route or an address here (see `ip route show table all`): free one")


def taken() -> list[IPv4Network]:
    """What this machine's routes (all tables, but for the default ones) and addresses use."""
    # A default route takes nothing from anyone.
    found = [route["dst"] for route in _ip("route", "show", "table", "all") if route.get("dst", "default") != "default"]
    for link in _ip("address", "show"):
        found += [f"{each['local']}/{each['prefixlen']}" for each in link["addr_info"]]
    return [IPv4Network(each, strict=False) for each in found]


def _ip(*args: str) -> list[dict[str, Any]]:
    done = subprocess.run(["ip", "-4", "-json", *args], check=True, capture_output=True, text=True)
    answer: list[dict[str, Any]] = json.loads(done.stdout or "[]")
    return answer
