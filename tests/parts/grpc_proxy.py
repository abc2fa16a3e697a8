"""A gRPC proxy in front of the dev server, which itself speaks neither TLS nor API keys.

It ends TLS (a certificate that can be replaced while it runs, optionally asking for a client certificate), checks the
`authorization` header as Temporal's own authorizer does, and counts what it saw. Every call of Temporal's API is one
request and one answer, so bytes go through as they are, but for those that a test rewrites. What goes wrong with calls
on purpose is `grpc_faults.py`.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]

from tests.parts.authority import Certificate
from tests.parts.grpc_faults import Fault, Faults

_OPEN_CALLS = 256
_GRACE_S = 70
"""Longer than a poll; Temporal's own frontend.keepAliveMaxConnectionAgeGrace."""
_LIMITS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


@dataclass
class Proxy:
    """What it asks for, changeable while it runs, and what it saw."""

    address: str = ""
    certificate: Certificate | None = None
    client_authority: Path | None = None
    api_key: str = ""
    old_api_key: str = ""
    """Taken as well, while keys are rotated."""
    for_all: tuple[str, ...] = ("/GetSystemInfo", "/Check")
    """Methods that need no key; these are what the server's default authorizer allows everybody."""
    delays_s: dict[str, float] = field(default_factory=dict)
    """By method name: how much later than the server the proxy answers."""
    rewrites: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    """By method name: what becomes of the server's answer, for one that another release would give."""
    calls: Counter[str] = field(default_factory=Counter)
    """By method name."""
    limits_s: dict[str, float | None] = field(default_factory=dict)
    """By method name: the time that the last call was given."""
    peers: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By address of a connection: its calls by method name."""
    keys: list[str] = field(default_factory=list)
    """The `authorization` headers, without repetition."""
    faults: Faults = field(default_factory=Faults)

    def answering(
        self,
        methods: str,
        status: grpc.StatusCode,
        text: str = "",
        *,
        times: int | None = None,
        peers: Iterable[str] | None = None,
    ) -> AbstractContextManager[Fault]:
        """Methods that match (`Poll*`) are answered with `status`, open calls too; `peers`: over these connections."""
        only = None if peers is None else frozenset(peers)
        return self.faults.during(Fault(methods, status, text, times, peers=only))

    def silent(self, methods: str) -> AbstractContextManager[Fault]:
        """Calls are taken and never answered."""
        return self.faults.during(Fault(methods))

    def losing_answers(self, methods: str, *, times: int | None = None) -> AbstractContextManager[Fault]:
        """The server does the work; the caller hears UNAVAILABLE."""
        return self.faults.during(Fault(methods, grpc.StatusCode.UNAVAILABLE, "the answer was lost", times, late=True))

    def credentials(self) -> grpc.ServerCertificateConfiguration:
        assert self.certificate is not None
        pair = (self.certificate.key.read_bytes(), self.certificate.cert.read_bytes())
        authority = self.client_authority.read_bytes() if self.client_authority else None
        return grpc.ssl_server_certificate_configuration([pair], authority)


class _Forward(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, proxy: Proxy, upstream: grpc.Channel) -> None:
        self._proxy = proxy
        self._upstream = upstream
        self._lock = threading.Lock()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(partial(self._call, details.method))

    def _call(self, method: str, request: bytes, context: grpc.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata())
        key = metadata.get("authorization", "")
        with self._lock:
            name = method.rpartition("/")[2]
            self._proxy.calls[name] += 1
            self._proxy.limits_s[name] = context.time_remaining()
            self._proxy.peers[context.peer()][name] += 1
            if key not in self._proxy.keys:
                self._proxy.keys.append(key)
        wanted = self._proxy.api_key
        keys = (f"Bearer {wanted}", f"Bearer {self._proxy.old_api_key}")
        if wanted and key not in keys and not method.endswith(self._proxy.for_all):
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "Request unauthorized.")
        peer = context.peer()
        if fault := self._proxy.faults.met(name, peer, late=False):
            fault.end(context)
        passed = [(k, v) for k, v in metadata.items() if not k.startswith(("grpc-", "user-agent", ":"))]
        with self._proxy.faults.open_call(name) as woken:
            answer = self._upstream.unary_unary(method).future(request, context.time_remaining(), metadata=passed)
            answer.add_done_callback(lambda _: woken.set())
            if not context.add_callback(answer.cancel):
                answer.cancel()  # the caller has left already
            while not answer.done():
                woken.wait()
                woken.clear()
                if not answer.done() and (fault := self._proxy.faults.met(name, peer, late=False)):
                    answer.cancel()
                    fault.end(context)
        try:
            time.sleep(self._proxy.delays_s.get(name, 0))
            result = answer.result()
            if fault := self._proxy.faults.met(name, peer, late=True):
                fault.end(context)
            return self._proxy.rewrites.get(name, bytes)(result)
        except grpc.FutureCancelledError:
            context.abort(grpc.StatusCode.CANCELLED, "cancelled")
        except grpc.RpcError as error:
            context.set_trailing_metadata(error.trailing_metadata() or ())
            context.abort(error.code(), error.details())


@contextmanager
def grpc_proxy(
    temporal_address: str,
    *,
    certificate: Certificate | None = None,
    client_authority: Path | None = None,
    api_key: str = "",
    connections_age_s: float | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Proxy]:
    """A running proxy; `certificate` turns TLS on, `client_authority` asks for a certificate signed by it.

    `connections_age_s`: a connection of that age takes no new call (GOAWAY); those that are open may end, as Temporal's
    frontends do it.
    """
    proxy = Proxy(certificate=certificate, client_authority=client_authority, api_key=api_key)
    with grpc.insecure_channel(temporal_address, options=_LIMITS) as upstream:
        options = [*_LIMITS, ("grpc.so_reuseport", 0)]
        if connections_age_s is not None:
            age_ms, grace_ms = int(connections_age_s * 1000), _GRACE_S * 1000
            options += [("grpc.max_connection_age_ms", age_ms), ("grpc.max_connection_age_grace_ms", grace_ms)]
        server = grpc.server(ThreadPoolExecutor(_OPEN_CALLS), [_Forward(proxy, upstream)], options=options)
        if certificate:
            asks = client_authority is not None
            credentials = grpc.dynamic_ssl_server_credentials(proxy.credentials(), proxy.credentials, asks)
            port = server.add_secure_port(f"{host}:0", credentials)
        else:
            port = server.add_insecure_port(f"{host}:0")
        proxy.address = f"{host}:{port}"
        server.start()
        try:
            yield proxy
        finally:
            server.stop(None).wait()
