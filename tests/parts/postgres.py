"""A real PostgreSQL, throw-away, on loopback. Skips, loudly, where no PostgreSQL is installed."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

import pytest

from app.core.ports import free_port
from tests.parts.skipping import skip_for_want_of


@dataclass(frozen=True)
class PostgresServer:
    """SQLAlchemy URLs of one empty database, from this machine and from where `address` is reached."""

    url: str
    for_pods: str


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """SQLAlchemy URL of an empty database."""
    with postgres_server("127.0.0.1") as server:
        yield server.url


@contextmanager
def postgres_server(address: str) -> Iterator[PostgresServer]:
    """A server on loopback and on `address`, without passwords. Skips where no PostgreSQL is installed."""
    binaries = _binaries()
    if binaries is None:
        skip_for_want_of("PostgreSQL", "neither initdb on PATH nor /usr/lib/postgresql")
    # Not below pytest's folder: that is for its owner alone, and PostgreSQL refuses to run as root.
    folder = Path(tempfile.mkdtemp(prefix="fleet-postgres-"))
    user = _unprivileged(folder)
    data, port = folder / "data", free_port("127.0.0.1")

    def call(*command: str) -> None:
        line = [str(binaries / command[0]), *command[1:]]
        subprocess.run(line, user=user, cwd=folder, check=True, timeout=60, stdout=subprocess.DEVNULL)

    call("initdb", "--pgdata", str(data), "--username", "fleet", "--auth", "trust", "--no-sync")
    if address != "127.0.0.1":
        # Pods come from a range of their own behind that address, which exists on this machine only.
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {ip_network(f'{address}/24', strict=False)} trust\n")
    listen = ",".join(dict.fromkeys(["127.0.0.1", address]))
    options = f"-c listen_addresses={listen} -c port={port} -c unix_socket_directories={folder} -c fsync=off"
    call("pg_ctl", "start", "--pgdata", str(data), "--wait", "--log", str(folder / "log"), "--options", options)
    base = "postgresql+psycopg://fleet@"
    try:
        yield PostgresServer(f"{base}127.0.0.1:{port}/postgres", f"{base}{address}:{port}/postgres")
    finally:
        call("pg_ctl", "stop", "--pgdata", str(data), "--mode", "immediate", "--wait")
        shutil.rmtree(folder)


def _binaries() -> Path | None:
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


def _unprivileged(folder: Path) -> str | None:
    """The user to run as where we are root; the folder is theirs."""
    if os.geteuid() != 0:
        return None
    user = pwd.getpwnam("postgres" if any(entry.pw_name == "postgres" for entry in pwd.getpwall()) else "nobody")
    os.chown(folder, user.pw_uid, user.pw_gid)
    return user.pw_name
