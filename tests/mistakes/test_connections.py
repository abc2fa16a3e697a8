"""Mistakes in reaching Temporal, made by a worker process against a server behind TLS and API keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.reader import Reader
from tests.mistakes.page import Outcome, Section, mistake
from tests.mistakes.test_start_up import GOOD, refused
from tests.parts.authority import Authority
from tests.parts.grpc_proxy import grpc_proxy


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    folder = tmp_path / "papers"
    folder.mkdir()
    return Authority(folder)


def not_reached(reader: Reader, address: str, **variables: str) -> str:
    """What a worker says that may try for a moment only."""
    reader.env.update({"TEMPORAL_ADDRESS": address, **variables})
    return refused(reader, "--connect-timeout 0.1", code=4, work=GOOD)


@mistake("TLS towards a server without it")
def test_tls_against_plaintext(page: Section, reader: Reader, temporal_address: str) -> None:
    page.shows(Outcome.REFUSED, not_reached(reader, temporal_address, TEMPORAL_TLS="true"))


@mistake("No TLS towards a server that wants it")
def test_plaintext_against_tls(page: Section, reader: Reader, temporal_address: str, authority: Authority) -> None:
    with grpc_proxy(temporal_address, certificate=authority.issue("server")) as proxy:
        page.shows(Outcome.REFUSED, not_reached(reader, proxy.address))


@mistake("A certificate that has expired")
def test_an_expired_certificate(page: Section, reader: Reader, temporal_address: str, authority: Authority) -> None:
    with grpc_proxy(temporal_address, certificate=authority.issue("server", expired=True)) as proxy:
        trusts = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.cert)}
        page.shows(Outcome.REFUSED, not_reached(reader, proxy.address, **trusts))


@mistake("No client certificate towards a server that wants one")
def test_no_client_certificate(page: Section, reader: Reader, temporal_address: str, authority: Authority) -> None:
    certificate = authority.issue("server")
    with grpc_proxy(temporal_address, certificate=certificate, client_authority=authority.cert) as proxy:
        trusts = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.cert)}
        page.shows(Outcome.REFUSED, not_reached(reader, proxy.address, **trusts))


@mistake("A wrong API key")
def test_a_wrong_api_key(page: Section, reader: Reader, temporal_address: str, authority: Authority) -> None:
    with grpc_proxy(temporal_address, certificate=authority.issue("server"), api_key="right") as proxy:
        trusts = {"TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(authority.cert)}
        page.shows(Outcome.REFUSED, not_reached(reader, proxy.address, TEMPORAL_API_KEY="wrong", **trusts))
