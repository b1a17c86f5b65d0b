"""`crl=`: lists that have expired, or cannot apply."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import until

if TYPE_CHECKING:
    from net import Net


def over() -> bytes:
    """Return a list that ended yesterday."""
    return pki.revocation_list(pki.ca1(), revoked=[], last_update=pki.NOW - 9 * pki.DAY, next_update=pki.NOW - pki.DAY)


def show(who: pki.Identity) -> dict[str, Any]:
    """Return a client's options to show that certificate."""
    return {"cert": who.chain_pem, "key": who.key_pem}


async def test_expired_list_does_not_blame_the_clients_certificate(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """The client hears certificate_unknown; the server's log says that its list is over."""
    caplog.set_level(logging.WARNING, logger="tlsio")
    async with net.serve(ca=pki.ca1().cert_pem, crl=over(), request_cert=True) as server:
        for _ in range(2):
            ours, theirs = await net.refused(server, **show(pki.client()))
            assert isinstance(ours, tlsio.CertificateError)
            assert (ours.code, ours.alert, theirs.alert) == ("CRL_HAS_EXPIRED", "certificate_unknown", "certificate_unknown")
            assert "crl=" in str(ours.hint)
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == 2
    assert "A list in crl= expired on" in found[0]
    assert "this server's own fault" in found[1]
    assert "CRL_HAS_EXPIRED" in found[1]


async def test_expired_list_is_logged_without_a_listener(net: Net, caplog: pytest.LogCaptureFixture) -> None:
    """A server that refuses everyone does not do so in silence."""
    caplog.set_level(logging.WARNING, logger="tlsio")
    async with net.serve(ca=pki.ca1().cert_pem, crl=over(), request_cert=True) as server:
        with pytest.raises(tlsio.AlertReceived):
            await (await net.connect(server, **show(pki.client()))).read()
        await until(lambda: server.stats().handshakes_failed)
        assert dict(server.stats().handshakes_failed) == {"CRL_HAS_EXPIRED": 1}
    assert [record for record in caplog.records if "own fault" in record.getMessage()]


async def test_expired_list_of_a_client_does_not_blame_the_servers_certificate(net: Net) -> None:
    """The same the other way round."""
    async with net.serve() as server:
        ours, theirs = await net.refused(server, crl=over())
        assert (theirs.code, theirs.alert) == ("CRL_HAS_EXPIRED", "certificate_unknown")
        assert getattr(ours, "alert", None) == "certificate_unknown"


async def test_revoked_under_an_expired_list_is_named(net: Net) -> None:
    """What an old list revokes stays revoked: it is among the reasons."""
    crl = pki.revocation_list(pki.ca1(), revoked=[pki.client()], next_update=pki.NOW - pki.DAY, last_update=pki.NOW - 9 * pki.DAY)
    async with net.serve(ca=pki.ca1().cert_pem, crl=crl, request_cert=True) as server:
        ours, _theirs = await net.refused(server, **show(pki.client()))
        assert isinstance(ours, tlsio.CertificateError)
        assert set(ours.reasons) == {"CRL_HAS_EXPIRED", "CERT_REVOKED"}


async def test_reload_of_a_list_that_cannot_apply_keeps_the_old(net: Net) -> None:
    """The error names the list's issuer; the running server is not changed."""
    crl = pki.revocation_list(pki.ca1(), revoked=[pki.revoked()])
    async with net.serve(ca=pki.ca1().cert_pem, crl=crl, request_cert=True) as server:
        with pytest.raises(tlsio.ConfigError, match="ca2") as caught:
            server.set_secure_context(crl=pki.ca2_crl())
        assert caught.value.code == "ERR_TLS_CRL_ISSUER_UNKNOWN"
        ours, _theirs = await net.refused(server, **show(pki.revoked()))
        assert getattr(ours, "code", None) == "CERT_REVOKED"


def test_list_of_an_unknown_intermediate_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """It may be of one that clients send; with its certificate in `ca=` it is certain."""
    caplog.set_level(logging.WARNING, logger="tlsio")
    lists = [pki.ca1_crl(), pki.revocation_list(pki.ca3(), revoked=[])]
    who: dict[str, Any] = {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem, "request_cert": True, "crl": lists}
    tlsio.create_server(**who, ca=pki.ca1().cert_pem)
    assert ["ca3" in record.getMessage() for record in caplog.records] == [True]
    caplog.clear()
    tlsio.create_server(**who, ca=[pki.ca1().cert_pem, pki.ca3().cert_pem])
    assert not caplog.records


async def test_open_sockets_is_a_snapshot(net: Net) -> None:
    """It does not change while it is walked, and has what is open then."""
    async with net.serve(lambda sock: sock.write(b"hello")) as server:
        assert server.open_sockets() == ()
        clients = [await net.connect(server) for _ in range(2)]
        for client in clients:
            assert await client.read() == b"hello"
        found = server.open_sockets()
        assert len(found) == 2
        for sock in found:
            sock.destroy()
            await sock.wait_closed()
        assert len(found) == 2
        assert server.open_sockets() == ()
        for client in clients:
            client.destroy()
            await client.wait_closed()
