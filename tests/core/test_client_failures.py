"""Each way in which Temporal cannot be used, made to happen: a fact, a remedy with the setting's name, no hanging."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.core.config.temporal import TemporalSettings
from app.core.ports import free_port
from app.core.services.temporal.temporal_client import TemporalClientService, TemporalUnavailable
from tests.core.temporal_front import settings, tls
from tests.parts.authority import Authority, Certificate
from tests.parts.grpc_proxy import grpc_proxy


@dataclass(frozen=True)
class Papers:
    """Certificates, good and bad."""

    authority: Authority
    stranger: Authority
    good: Certificate
    expired: Certificate
    other_name: Certificate
    of_stranger: Certificate


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Papers:
    folder = tmp_path_factory.mktemp("papers")
    authority, stranger = Authority(folder), Authority(folder, "stranger")
    return Papers(
        authority,
        stranger,
        good=authority.issue("good"),
        expired=authority.issue("expired", expired=True),
        other_name=authority.issue("other", names="DNS:temporal.example, IP:203.0.113.7"),
        of_stranger=stranger.issue("of-stranger"),
    )


@pytest.fixture
def silent() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


def failure(of: TemporalSettings) -> TemporalUnavailable:
    """How `verify` fails, which must be the same that a health check says."""

    async def look() -> TemporalUnavailable:
        service = TemporalClientService(of)
        health = await service.health_check()
        with pytest.raises(TemporalUnavailable) as caught:
            await service.verify()
        assert not health.ok
        assert str(caught.value) == f"Temporal at {of.address} cannot be used: {health.error}"
        assert "\n" not in health.error
        return caught.value

    # Nothing here needs a second; it is a limit for what would otherwise hang.
    return asyncio.run(asyncio.wait_for(look(), 60))


def says(error: TemporalUnavailable, fact: str, *remedies: str, permanent: bool = False) -> None:
    text = str(error)
    assert fact in text
    for remedy in remedies:
        assert f"FLEET_TEMPORAL__{remedy}" in text
    assert error.permanent == permanent, text


def test_a_closed_port(papers: Papers) -> None:
    address = f"127.0.0.1:{free_port('127.0.0.1')}"
    says(failure(settings(address)), "nothing listens there", "ADDRESS")
    says(failure(settings(address, tls=tls(papers.authority))), "nothing listens there", "ADDRESS")


def test_a_host_that_does_not_exist() -> None:
    says(failure(settings("no-such-host.invalid:7233")), "no host of that name", "ADDRESS")


def test_a_server_that_never_answers(papers: Papers, silent: str) -> None:
    says(failure(settings(silent, rpc_timeout_s=0.5)), "no answer within 0.5 s", "ADDRESS")
    spoken = settings(silent, rpc_timeout_s=0.5, tls=tls(papers.authority))
    says(failure(spoken), "no answer within 0.5 s", "ADDRESS")


def test_a_namespace_that_does_not_exist(temporal_address: str) -> None:
    says(failure(settings(temporal_address, namespace="nowhere")), "nowhere is not found", "NAMESPACE", permanent=True)


def test_tls_against_plaintext(papers: Papers, temporal_address: str) -> None:
    says(failure(settings(temporal_address, tls=tls(papers.authority))), "does not speak TLS", "TLS__ENABLED")


def test_plaintext_against_tls(papers: Papers, temporal_address: str) -> None:
    with grpc_proxy(temporal_address, certificate=papers.good) as front:
        says(failure(settings(front.address)), "does not speak plaintext gRPC; it may want TLS", "TLS__ENABLED")


def test_the_servers_certificate_has_expired(papers: Papers, temporal_address: str) -> None:
    with grpc_proxy(temporal_address, certificate=papers.expired) as front:
        says(failure(settings(front.address, tls=tls(papers.authority))), "its certificate has expired. Renew it there")


def test_the_servers_certificate_is_of_an_unknown_authority(papers: Papers, temporal_address: str) -> None:
    with grpc_proxy(temporal_address, certificate=papers.good) as front:
        for section in (tls(papers.stranger), {"enabled": True}):
            says(failure(settings(front.address, tls=section)), "an authority that is unknown", "TLS__SERVER_CA_FILE")


def test_the_servers_certificate_is_for_another_name(papers: Papers, temporal_address: str) -> None:
    with grpc_proxy(temporal_address, certificate=papers.other_name) as front:
        fact = "its certificate is not for 127.0.0.1, but for temporal.example, 203.0.113.7."
        says(failure(settings(front.address, tls=tls(papers.authority))), fact, "TLS__SERVER_NAME", "ADDRESS")


def test_no_client_certificate_where_one_is_wanted(papers: Papers, temporal_address: str) -> None:
    with grpc_proxy(temporal_address, certificate=papers.good, client_authority=papers.authority.cert) as front:
        error = failure(settings(front.address, tls=tls(papers.authority)))
        says(error, "wanted a client certificate (mTLS)", "TLS__CLIENT_CERT_FILE", "TLS__CLIENT_KEY_FILE")


@pytest.mark.parametrize("which", ["expired", "of_stranger"])
def test_a_client_certificate_that_is_refused(papers: Papers, temporal_address: str, which: str) -> None:
    with grpc_proxy(temporal_address, certificate=papers.good, client_authority=papers.authority.cert) as front:
        error = failure(settings(front.address, tls=tls(papers.authority, getattr(papers, which))))
        says(error, "refused our client certificate", "TLS__CLIENT_CERT_FILE", "TLS__CLIENT_KEY_FILE")


def test_a_wrong_or_missing_api_key(papers: Papers, temporal_address: str, tmp_path: Path) -> None:
    (key := tmp_path / "key").write_text("sesame-closed")
    with grpc_proxy(temporal_address, certificate=papers.good, api_key="sesame") as front:
        spoken = {"tls": tls(papers.authority)}
        wrong = failure(settings(front.address, **spoken, api_key_file=str(key)))
        says(wrong, "refuses our API key (Request unauthorized.)", "API_KEY_FILE", permanent=True)
        missing = failure(settings(front.address, **spoken))
        says(missing, "does not permit us", "API_KEY_FILE", "TLS__CLIENT_CERT_FILE", permanent=True)
        front.for_all = ()
        at_once = failure(settings(front.address, **spoken, api_key_file=str(key)))
        says(at_once, "refuses our API key (Request unauthorized.)", "API_KEY_FILE", permanent=True)
    assert "sesame" not in f"{wrong}{wrong!r}{wrong.__cause__!r}"


def test_files_that_are_missing_or_hold_something_else(papers: Papers, temporal_address: str, tmp_path: Path) -> None:
    (garbage := tmp_path / "garbage.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB")
    (empty := tmp_path / "empty").write_text(" \n")
    (two_lines := tmp_path / "two").write_text("one\ntwo")
    for section, fact, setting in (
        (
            {"tls": {"server_ca_file": str(tmp_path / "gone")}},
            "gone cannot be read (No such file",
            "TLS__SERVER_CA_FILE",
        ),
        ({"tls": {"server_ca_file": str(garbage)}}, "holds no whole PEM certificate", "TLS__SERVER_CA_FILE"),
        (
            {"tls": {"client_cert_file": str(papers.good.cert), "client_key_file": str(papers.expired.key)}},
            "are not a PEM certificate and its key",
            "TLS__CLIENT_KEY_FILE",
        ),
        (
            {"tls": {"client_cert_file": str(garbage), "client_key_file": str(papers.good.key)}},
            "are not a PEM certificate and its key",
            "TLS__CLIENT_CERT_FILE",
        ),
        (
            {"tls": {"client_cert_data": "not PEM", "client_key_data": "not PEM"}},
            "is not PEM",
            "TLS__CLIENT_CERT_FILE",
        ),
        ({"api_key_file": str(empty)}, "is empty", "API_KEY_FILE"),
        ({"api_key_file": str(two_lines)}, "is not one line of plain text", "API_KEY_FILE"),
        ({"api_key_file": str(tmp_path)}, "cannot be read (Is a directory)", "API_KEY_FILE"),
    ):
        says(failure(settings(temporal_address, **section)), fact, setting)


def test_certificates_are_not_read_where_tls_is_switched_off(temporal_address: str, tmp_path: Path) -> None:
    off = settings(temporal_address, tls={"enabled": False, "server_ca_file": str(tmp_path / "gone")})
    assert asyncio.run(TemporalClientService(off).health_check()).ok
