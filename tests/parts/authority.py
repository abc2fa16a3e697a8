"""A certificate authority for tests, made with openssl: real certificates, good and bad ones."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

_AUTHORITY = """
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""
_LEAF = """
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """Signs certificates; its own is `cert`."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = name
        self.cert = folder / f"{name}.crt"
        self._make(name, _AUTHORITY, self.cert, folder / f"{name}.key")

    def issue(self, name: str, *, expired: bool = False, names: str = "DNS:localhost, IP:127.0.0.1") -> Certificate:
        """A certificate for server or client; `names` as openssl's subjectAltName."""
        made = Certificate(self._folder / f"{name}.crt", self._folder / f"{name}.key")
        signer = ("-CA", str(self.cert), "-CAkey", str(self._folder / f"{self._name}.key"))
        self._make(name, _LEAF.format(names=names), made.cert, made.key, *signer, expired=expired)
        return made

    def _make(self, name: str, extensions: str, cert: Path, key: Path, *signer: str, expired: bool = False) -> None:
        config = self._folder / f"{name}.cnf"
        config.write_text(
            f"[req]\nprompt = no\ndistinguished_name = subject\n[subject]\nCN = {name}\n[ext]{extensions}"
        )
        request = self._folder / f"{name}.csr"
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", str(key))
        _openssl("req", "-new", "-config", str(config), *new_key, "-out", str(request))
        days = "-1" if expired else "30"
        signer = signer or ("-signkey", str(key))
        extended = ("-extfile", str(config), "-extensions", "ext")
        _openssl("x509", "-req", "-in", str(request), *signer, "-days", days, *extended, "-out", str(cert))


def _openssl(*args: str) -> None:
    done = subprocess.run(["openssl", *args], check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"openssl {' '.join(args)}: {done.stderr[-2000:]}"
