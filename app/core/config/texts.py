"""Texts that must have a form: the address of a server, what one header of a call can carry, an amount of memory.

Functions that raise ValueError with a line of fact and a line of remedy, so that the settings tell them with their
place; a pattern of the model would tell a reader the regular expression. No message holds the text of a secret.
"""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\s:/\[\]]+)(?P<port>:\d+)?")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_EXAMPLE = "127.0.0.1"


def host_and_port(text: str) -> str:
    """`text`, which is host:port; an IPv6 host stands in brackets. Raises ValueError."""
    scheme = _SCHEME.match(text)
    found = _ADDRESS.fullmatch(text[scheme.end() :] if scheme else text)
    host = found["host"] if found else _EXAMPLE
    port = found["port"] if found else None
    if scheme:
        tls = "; TLS is temporal.tls" if scheme[0].lower() == "https://" else ""
        raise ValueError(f"begins with {scheme[0]}\nWrite host:port, e.g. {host}{port or ':7233'}{tls}.")
    if found is None:
        fact = "has no host" if re.fullmatch(r":\d+", text) else "is not host:port"
    elif port is None:
        fact = "has no port"
    elif not 1 <= int(port[1:]) <= 65535:
        fact = f"the port {port[1:]} is not between 1 and 65535"
    else:
        return text
    raise ValueError(f"{fact}\nWrite host:port, e.g. {host}:7233.")


def one_line(text: str) -> str:
    """`text` as a header can carry it: without white space around it. Raises ValueError where it is more than that."""
    text = text.strip()
    if not (text.isascii() and text.isprintable()):
        raise ValueError(
            "is not one line of plain text (printable ASCII)\nLook for a line break or a letter with an accent."
        )
    return text


def amount_of_memory(text: str) -> str:
    """`text`, which is empty, an amount (500Mi, 2Gi) or a share of a limit (1% to 100%). Raises ValueError."""
    found = re.fullmatch(r"([1-9]\d{0,8})(Mi|Gi|%)", text)
    if text and (found is None or (found[2] == "%" and int(found[1]) > 100)):
        raise ValueError("is no amount of memory\nWrite 1500Mi, 2Gi, or a share of the container's limit such as 90%.")
    return text
