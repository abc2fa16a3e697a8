"""Why Temporal cannot be used: the SDK's words for what happened, turned into one fact and one remedy.

The SDK wraps the errors of three libraries (tonic, hyper, rustls) in one text, which is all there is to go by; a test
makes each failure really happen, so that a text which changes with the SDK is seen there.

Permanent is what the server itself said no to: the namespace, or who we are. A certificate is not: both sides may renew
theirs without a restart, and whoever keeps trying is there when they did.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from temporalio.service import RPCError, RPCStatusCode

from app.core.config import named
from app.core.config.temporal import TemporalSettings
from app.core.services.temporal.connection import (
    CredentialsUnusable,
    has_api_key,
    has_client_certificate,
    speaks_tls,
)


class TemporalUnavailable(ConnectionError):
    """Temporal cannot be used now; the text says where, why and how to mend it. `permanent`: retrying cannot help."""

    def __init__(self, address: str, cause: str, *, permanent: bool = False) -> None:
        super().__init__(cause)
        self.address = address
        self.permanent = permanent

    def __str__(self) -> str:
        return f"Temporal at {self.address} cannot be used: {self.args[0]}"


class TemporalDisabled(TemporalUnavailable):
    """The settings say that there is no Temporal."""

    def __init__(self, address: str) -> None:
        super().__init__(address, f"it is switched off. Set {named('temporal.enabled')} to true.", permanent=True)


def unavailable(error: Exception, settings: TemporalSettings) -> TemporalUnavailable:
    """`error`, raised by the SDK while connecting or calling, as a user can act on it."""
    if isinstance(error, TemporalUnavailable):
        return error
    refused = isinstance(error, RPCError) and error.status in (
        RPCStatusCode.NOT_FOUND,
        RPCStatusCode.PERMISSION_DENIED,
        RPCStatusCode.UNAUTHENTICATED,
    )
    permanent = refused or bool(re.search(_REFUSED_AT_CONNECT, str(error)))
    return TemporalUnavailable(settings.address, _reason(error, settings), permanent=permanent)


def _reason(error: Exception, settings: TemporalSettings) -> str:
    text = str(error)
    if isinstance(error, CredentialsUnusable):
        return text
    if isinstance(error, TimeoutError):
        return _no_answer(settings)
    if isinstance(error, RPCError):
        if error.status == RPCStatusCode.NOT_FOUND:
            return f"{text} Create it, or set {named('temporal.namespace')}."
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNAUTHENTICATED):
            return _not_permitted(text, settings)
        if error.status in (RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED):
            return _no_answer(settings)
    for pattern, say in _TRANSPORT:
        if found := re.search(pattern, text):
            return say(found, settings)
    return str(error)


def _no_answer(settings: TemporalSettings) -> str:
    return (
        f"no answer within {settings.rpc_timeout_s:g} s. See whether it runs and nothing between drops packets, or set "
        f"{named('temporal.address')}."
    )


def _not_permitted(text: str, settings: TemporalSettings) -> str:
    if has_api_key(settings):
        return (
            f"it refuses our API key ({text}). Give a key that is valid for namespace {settings.namespace} with "
            f"{named('temporal.api_key_file')}."
        )
    return (
        f"it does not permit us ({text}). Give an API key with {named('temporal.api_key_file')}, or a client "
        f"certificate with {named('temporal.tls.client_cert_file')}, that is valid for namespace {settings.namespace}."
    )


def _other_name(found: re.Match[str], settings: TemporalSettings) -> str:
    names = ", ".join(re.findall(r'(?:DnsName|IpAddress)\(\\?"?([^)"\\]+)', found["names"] or ""))
    wanted = settings.tls.server_name or settings.address.rpartition(":")[0]
    return (
        f"its certificate is not for {wanted}{names and f', but for {names}'}. Set "
        f"{named('temporal.tls.server_name')} to a name that it has, or {named('temporal.address')}."
    )


def _closed(_: re.Match[str], settings: TemporalSettings) -> str:
    if not speaks_tls(settings):
        return f"it does not speak plaintext gRPC; it may want TLS. Set {named('temporal.tls.enabled')} to true."
    if has_client_certificate(settings):
        return (
            "it closed the connection after the TLS handshake, as if it refused our client certificate (expired, or "
            f"of an authority unknown there). Renew it, or set {named('temporal.tls.client_cert_file')} and "
            f"{named('temporal.tls.client_key_file')}."
        )
    return (
        "it closed the connection after the TLS handshake, as if it wanted a client certificate (mTLS). Set "
        f"{named('temporal.tls.client_cert_file')} and {named('temporal.tls.client_key_file')}."
    )


def _say(text: str, *settings: str) -> Callable[[re.Match[str], TemporalSettings], str]:
    return lambda _found, _settings: text.format(*map(named, settings))


_REFUSED_AT_CONNECT = (
    r'call error after connection: Status \{ code: (?:PermissionDenied|Unauthenticated), message: "([^"]*)"'
)

_TRANSPORT: tuple[tuple[str, Callable[[re.Match[str], TemporalSettings], str]], ...] = (
    (_REFUSED_AT_CONNECT, lambda found, settings: _not_permitted(found[1], settings)),
    ("dns error", _say("there is no host of that name. Set {}.", "temporal.address")),
    ("Connection ?[Rr]efused", _say("nothing listens there. Start it, or set {}.", "temporal.address")),
    ("tcp connect error", _say("no connection can be made. Start it, see the network, or set {}.", "temporal.address")),
    (
        "InvalidContentType",
        _say("it does not speak TLS. Turn TLS on there, or set {} to false.", "temporal.tls.enabled"),
    ),
    (r"InvalidCertificate\(Expired", _say("its certificate has expired. Renew it there, or see this machine's clock.")),
    (r"InvalidCertificate\(NotValidYet", _say("its certificate is not valid yet. See the clocks of both machines.")),
    (r"InvalidCertificate\(NotValidForName(?:.*presented: \[(?P<names>[^\]]*))?", _other_name),
    (
        r"InvalidCertificate\(UnknownIssuer",
        _say(
            "its certificate is signed by an authority that is unknown here. Set {} to the authority's certificate.",
            "temporal.tls.server_ca_file",
        ),
    ),
    (
        r"CertificateParseError|PrivateKeyParseError|InconsistentKeys",
        _say(
            "our certificate, its key, or the authority's certificate is not PEM, or they do not belong together. "
            "Put right what {} and its neighbours name.",
            "temporal.tls.client_cert_file",
        ),
    ),
    # Which error of the transport it is depends on who noticed first that the other side had closed.
    (r"call error after connection: .*Transport|fatal alert", _closed),
)
