"""The dialogs before TLS with the servers that people run: exim, dovecot, slapd, PostgreSQL, MariaDB, vsftpd, prosody."""

from __future__ import annotations

import pytest

import pki
import tlsio
from starttls_servers import SERVERS, vsftpd
from tlsio import probe

SLOW = set(SERVERS) - {"ftp", "ldap"}  # to start or to end


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("protocol", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SERVERS])
async def test_a_real_server_starts_tls(protocol: str) -> None:
    """It is verified, and its answer under TLS is read."""
    with SERVERS[protocol]() as port:
        async with await probe.connect("localhost", port, starttls=protocol, ca=pki.ca1().cert_pem) as seen:
            assert seen.verdict.authorized
            assert seen.version == "TLSv1.3"
            assert seen.server_name == "localhost"


@pytest.mark.slow
@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("protocol", SERVERS)
async def test_the_doctor_finds_no_error_in_a_real_server(protocol: str) -> None:
    """Its defaults may be old, but its certificate is good."""
    with SERVERS[protocol]() as port:
        seen = await probe.examine("localhost", port, starttls=protocol, ca=pki.ca1().cert_pem)
    assert {"TLSv1.3", "TLSv1.2"} <= set(seen.versions)
    allowed = {"old-versions", "resumption-broken", "tickets-never", "no-resumption-tls12", "client-renegotiation", "weak-suites"}
    assert {one.id for one in seen.findings} <= allowed, seen.findings


@pytest.mark.only_loop("asyncio")
async def test_another_dialog_than_the_servers_is_refused() -> None:
    """IMAP is asked for, FTP answers."""
    with vsftpd() as port, pytest.raises(tlsio.HandshakeError) as caught:
        await probe.connect("localhost", port, starttls="imap", ca=pki.ca1().cert_pem)
    assert caught.value.code == "ERR_TLS_STARTTLS_PROTOCOL"
    assert "220 (vsFTPd" in caught.value.message
