"""From the settings and the files that they name to the keywords of `Client.connect`.

Certificates and keys are read as a whole and checked before they are used, so that a file which is only half written is
told by its name, and not by a failed handshake later. `stamp` is the cheap question whether a look into the files
would find something new.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict

from temporalio.service import TLSConfig

from app.core.config import named
from app.core.config.temporal import TemporalSettings, TlsSettings
from app.core.config.texts import one_line

Stamp = tuple[tuple[str, int, int, int], ...]


class CredentialsUnusable(ValueError):
    """A certificate or key file cannot be read, or holds something else; the text says which, and the setting."""


class ConnectKeywords(TypedDict):
    """What of `Client.connect` the settings decide."""

    namespace: str
    tls: bool | TLSConfig
    api_key: str | None
    rpc_metadata: Mapping[str, str | bytes]


@dataclass(frozen=True)
class Credentials:
    """What the files hold, compared by content and never printed."""

    server_ca: bytes | None = field(default=None, repr=False)
    client_cert: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)


def has_api_key(settings: TemporalSettings) -> bool:
    """Whether calls carry an API key."""
    return bool(settings.api_key_file or settings.api_key.get_secret_value())


def has_client_certificate(settings: TemporalSettings) -> bool:
    """Whether we show a certificate of our own (mTLS)."""
    return bool(settings.tls.client_cert_file or settings.tls.client_cert_data)


def speaks_tls(settings: TemporalSettings) -> bool:
    """Whether TLS is spoken: as temporal.tls.enabled says, else when anything that needs it is set."""
    tls = settings.tls
    if tls.enabled is not None:
        return tls.enabled
    given = tls.server_ca_file or tls.server_ca_data or tls.server_name
    return bool(given) or has_client_certificate(settings) or has_api_key(settings)


def read(settings: TemporalSettings) -> Credentials:
    """The credentials as they are now; those of TLS where it is spoken. Raises CredentialsUnusable."""
    before = stamp(settings)
    tls = settings.tls if speaks_tls(settings) else TlsSettings()
    found = Credentials(
        server_ca=_read("tls.server_ca_file", tls.server_ca_file, _check_authority) or _pem(tls.server_ca_data),
        client_cert=_read("tls.client_cert_file", tls.client_cert_file) or _pem(tls.client_cert_data),
        client_key=_read("tls.client_key_file", tls.client_key_file) or _pem(tls.client_key_data.get_secret_value()),
        api_key=_api_key(settings.api_key_file) or settings.api_key.get_secret_value() or None,
    )
    if tls.client_cert_file and tls.client_key_file:
        _check_pair(tls.client_cert_file, tls.client_key_file)
    if stamp(settings) != before:
        raise CredentialsUnusable("certificate or key files changed while they were read. They are read again soon.")
    return found


def stamp(settings: TemporalSettings) -> Stamp:
    """Changes whenever a file was written, replaced, removed or (in a mounted Secret) switched to another one."""
    return tuple(_stat(path) for path in files(settings))


def connect_keywords(settings: TemporalSettings, credentials: Credentials) -> ConnectKeywords:
    """`tls` is never None: with an API key the SDK would turn TLS on even where the settings say no."""
    tls: bool | TLSConfig = False
    if speaks_tls(settings):
        tls = TLSConfig(
            server_root_ca_cert=credentials.server_ca,
            domain=settings.tls.server_name or None,
            client_cert=credentials.client_cert,
            client_private_key=credentials.client_key,
        )
    headers = {name: value.get_secret_value() for name, value in settings.grpc_metadata.items()}
    return ConnectKeywords(namespace=settings.namespace, tls=tls, api_key=credentials.api_key, rpc_metadata=headers)


def files(settings: TemporalSettings) -> tuple[str, ...]:
    """The files of certificates and keys that the settings name."""
    tls = settings.tls
    named_files = (tls.server_ca_file, tls.client_cert_file, tls.client_key_file, settings.api_key_file)
    return tuple(path for path in named_files if path)


def _stat(path: str) -> tuple[str, int, int, int]:
    try:
        found = Path(path).stat()
    except OSError:
        return path, 0, 0, 0
    return path, found.st_mtime_ns, found.st_ino, found.st_size


def _read(setting: str, path: str, check: Callable[[str], None] = lambda _: None) -> bytes | None:
    if not path:
        return None
    try:
        check(path)
        return Path(path).read_bytes()
    except ssl.SSLError:
        problem = "holds no whole PEM certificate"
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
    raise CredentialsUnusable(f"{path} {problem}. Put it right, or set {named(f'temporal.{setting}')}.")


def _pem(text: str) -> bytes | None:
    return text.encode() or None


def _check_authority(path: str) -> None:
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)


def _check_pair(cert: str, key: str) -> None:
    try:
        # The password is for a key that needs one: OpenSSL would ask for it on the terminal.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(cert, key, password=lambda: "")
    except (ssl.SSLError, OSError) as error:
        raise CredentialsUnusable(
            f"{cert} and {key} are not a PEM certificate and its key, without a password "
            f"({getattr(error, 'reason', None) or 'not PEM'}). Put them right, or set "
            f"{named('temporal.tls.client_cert_file')} and {named('temporal.tls.client_key_file')}."
        ) from None


def _api_key(path: str) -> str | None:
    if not path:
        return None
    try:
        key = one_line((_read("api_key_file", path) or b"").decode("ascii", "replace"))
        fact = "is empty"
    except ValueError as error:
        if isinstance(error, CredentialsUnusable):
            raise
        key, fact = "", str(error).splitlines()[0]
    if key:
        return key
    raise CredentialsUnusable(f"{path} {fact}. Write the API key into it, or set {named('temporal.api_key_file')}.")
