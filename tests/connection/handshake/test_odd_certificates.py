"""Certificates that OpenSSL takes and other parsers refuse; too long ones; and those that go around name constraints."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import asn1
import odd
import pki
import tlsio
from net import once
from sessions import greet, visit
from tlsio.trust import der

if TYPE_CHECKING:
    from net import Net

URL = "http://lists.example/ca1.crl"

pytestmark = pytest.mark.filterwarnings("ignore:Parsed a serial number:UserWarning")


def listed(*names: str) -> pki.Identity:
    """Make a certificate by ca1 that names a place of a list."""
    points = x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier(URL)], None, None, None)])
    return pki.leaf("somebody", issuer=pki.ca1(), names=names, extensions=[points])


def lists(*revoked: int) -> tlsio.CrlCache:
    """Return a cache that finds a list of ca1's with these serial numbers."""
    date = asn1.tlv(der.UTC_TIME, b"260102030405Z")
    tbs = next(der.read(pki.revocation_list(pki.ca1(), revoked=[pki.revoked()], encoding=pki.DER)).children())
    fields = [field.encoded for field in tbs.children()]
    entries = [asn1.tlv(der.SEQUENCE, der.make_integer(number), date) for number in revoked]
    fields[5:6] = [asn1.tlv(der.SEQUENCE, *entries)] if entries else []
    data = odd.sign(asn1.tlv(der.SEQUENCE, *fields), pki.ca1())

    async def fetch(_url: str) -> bytes:
        return data

    return tlsio.CrlCache("require", fetch=fetch)


def serial_of(certificate: odd.Odd) -> int:
    """Return the serial number, of whatever sign."""
    tbs = next(der.read(certificate.cert_der).children())
    return next(field for field in tbs.children() if field.tag == der.INTEGER).integer()


@pytest.mark.parametrize("shape", odd.SHAPES)
async def test_odd_server(net: Net, shape: str) -> None:
    """Is a server like any other: for sessions, lists, bindings, checks of one's own; what cannot be shown says so."""
    who = odd.SHAPES[shape](listed("localhost"))
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
        first = await visit(net, server)
        assert (await visit(net, server, session=first.session)).reused
        sock = await net.connect(server, fetch_crl=lists(), check_server_identity=lambda _host, cert: None if cert else OSError())
        assert sock.authorized
        assert len(sock.get_channel_binding("tls-server-end-point")) == 32
        certificate = sock.get_peer_certificate(detailed=True)
        assert certificate is not None
        assert [one.raw for one in certificate.chain()] == [who.cert_der, pki.ca1().cert_der]
        for show in (sock.get_verified_chain, sock.get_peer_x509_certificate):
            if shape in odd.READABLE:
                assert show()
            else:
                with pytest.raises(tlsio.CertificateError, match="cryptography cannot read"):
                    show()
        sock.destroy()
        _, got = await net.refused(server, fetch_crl=lists(serial_of(who)))
        assert got.code == "CERT_REVOKED"


@pytest.mark.parametrize("shape", odd.SHAPES)
async def test_odd_client(net: Net, shape: str) -> None:
    """Is found in lists too, and shown to the hook."""
    who = odd.SHAPES[shape](listed())
    seen: list[Any] = []
    options = {"request_cert": True, "ca": pki.ca1().cert_pem, "check_client": lambda cert, _sock: seen.append(cert.raw)}
    for cache, refused in ((lists(), False), (lists(serial_of(who)), True)):
        async with net.serve(fetch_crl=cache, **options) as server:
            if refused:
                told, _ = await net.refused(server, cert=who.cert_pem, key=who.key_pem)
                assert isinstance(told, tlsio.CertificateError)
                assert told.code == "CERT_REVOKED"
            else:
                let_in = once(server, "secure_connection")
                sock = await net.connect(server, cert=who.cert_pem, key=who.key_pem)
                assert (await let_in).authorized
                sock.destroy()
    assert seen == [who.cert_der]


async def test_session_of_a_certificate_whose_end_cannot_be_read(net: Net) -> None:
    """Ends at once: nothing says until when it would count."""
    validity = asn1.tlv(der.SEQUENCE, *[asn1.tlv(der.UTC_TIME, b"269902030405Z")] * 2)  # OpenSSL 3.5 refuses what is too short
    who = odd.change(listed("localhost"), lambda fields: [*fields[:4], validity, *fields[5:]])
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as server:
        first = await visit(net, server, reject_unauthorized=False)
        assert not (await visit(net, server, session=first.session, reject_unauthorized=False)).reused


def long_client(size: int = 66_000) -> dict[str, Any]:
    """Return the options of a client whose certificate alone is longer than a session ticket may be."""
    filler = asn1.extension("1.2.3.4", asn1.tlv(der.OCTET_STRING, bytes(size)))
    who = pki.leaf("client", issuer=pki.ca1(), extensions=[filler])
    return {"cert": who.cert_pem, "key": who.key_pem}


async def test_client_whose_certificate_does_not_fit_into_a_ticket(net: Net) -> None:
    """In TLS 1.3 it gets none; before, where one was promised already, the error says what to do."""
    asking, client = {"request_cert": True, "ca": pki.ca1().cert_pem}, long_client()
    async with net.serve(greet, **asking) as server:
        if net.version == "TLSv1.3":
            first = await visit(net, server, **client)
            assert not (await visit(net, server, session=first.session, **client)).reused
        else:
            told, _ = await net.refused(server, **client)
            assert isinstance(told, tlsio.TLSError)
            assert "SSL_OP_NO_TICKET" in (told.hint or "")
    store = tlsio.MemorySessionStore()
    async with net.serve(greet, session_store=store, secure_options=tlsio.constants.SSL_OP_NO_TICKET, **asking) as server:
        first = await visit(net, server, **client)
        assert (await visit(net, server, session=first.session, **client)).reused


async def test_name_constraints_are_not_gone_around(net: Net) -> None:
    """By a dot at the end, OpenSSL finds nothing to compare; with a check of one's own it is the user's to call ours."""
    excluded = x509.NameConstraints(None, [x509.DNSName("localhost")])
    authority = pki.leaf("narrow", issuer=pki.ca1(), extensions=[x509.BasicConstraints(ca=True, path_length=None), excluded])
    who = pki.leaf("somebody", issuer=authority, names=["localhost."])
    async with net.serve(cert=who.chain_pem, key=who.key_pem) as server:
        for check in (None, tlsio.check_server_identity):
            _, got = await net.refused(server, check_server_identity=check)
            assert got.code == "ERR_TLS_CERT_ALTNAME_INVALID"
            assert "name constraints" in got.message or "altnames" in got.message


async def test_refusal_by_name_constraints_is_not_forgotten_by_resumption(net: Net) -> None:
    """A session has no chain that would show them again, so there is none."""
    excluded = x509.NameConstraints(None, [x509.DNSName("localhost")])
    authority = pki.leaf("narrow", issuer=pki.ca1(), extensions=[x509.BasicConstraints(ca=True, path_length=None), excluded])
    who = pki.leaf("somebody", issuer=authority, names=["localhost."])
    async with net.serve(greet, cert=who.chain_pem, key=who.key_pem) as server:
        first = await visit(net, server, reject_unauthorized=False)
        second = await visit(net, server, session=first.session, reject_unauthorized=False)
        assert (first.authorized, second.authorized, second.reused) == (False, False, False)


async def test_check_of_ones_own_leaves_no_session_that_gets_around_name_constraints(net: Net) -> None:
    """The next connection may have none, and a resumed one shows no issuers."""
    excluded = x509.NameConstraints(None, [x509.DNSName("sub.localhost")])
    authority = pki.leaf("narrow", issuer=pki.ca1(), extensions=[x509.BasicConstraints(ca=True, path_length=None), excluded])
    who = pki.leaf("*.sub.localhost", issuer=authority)  # OpenSSL compares no common name with a wildcard
    async with net.serve(greet, cert=who.chain_pem, key=who.key_pem) as server:
        first = await visit(net, server, servername="a.sub.localhost", check_server_identity=lambda _host, _cert: None)
        _, got = await net.refused(server, servername="a.sub.localhost", session=first.session)
        assert got.code == "ERR_TLS_CERT_ALTNAME_INVALID"


async def test_malformed_certificate_is_explained(net: Net) -> None:
    """Its authority is trusted; saying otherwise would send people the wrong way."""
    who = odd.doubled(pki.localhost())
    async with net.serve(cert=who.cert_pem, key=who.key_pem) as server:
        _, got = await net.refused(server)
        if net.version == "TLSv1.2":  # OpenSSL's server itself does not use it there
            assert got.alert == "handshake_failure"
            return
        assert got.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
        assert "malformed, duplicated" in got.message
        assert "reissued" in (got.hint or "")


@pytest.mark.parametrize("count", [9, 60])
async def test_long_chains(net: Net, count: int) -> None:
    """Are taken when they are good; a stranger's stops at its first error, with the same code on both drivers."""
    issuer = pki.authority("top")
    root = issuer
    for number in range(count):
        issuer = pki.authority(f"step {number}", issuer=issuer)
    who = pki.leaf("client", issuer=issuer, not_after=pki.NOW + dt.timedelta(days=1))
    client = {"cert": who.chain_pem, "key": who.key_pem}
    async with net.serve(request_cert=True, ca=root.cert_pem) as server:
        let_in = once(server, "secure_connection")
        sock = await net.connect(server, **client)
        assert (await let_in).authorized
        sock.destroy()
    async with net.serve(request_cert=True, ca=pki.ca2().cert_pem) as server:
        told, _ = await net.refused(server, **client)
        assert isinstance(told, tlsio.CertificateError)
        assert told.reasons == ("UNABLE_TO_GET_ISSUER_CERT_LOCALLY",)
