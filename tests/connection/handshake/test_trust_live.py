"""The usual mistakes, live: both peers' errors name the cause, the side at fault and the mend."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net


@dataclass(frozen=True)
class Told:
    """What one side is told: class, code, alert, and words of message and hint."""

    kind: type[tlsio.TLSError]
    code: str
    message: str
    hint: str
    alert: str | None = None

    def check(self, error: BaseException, alert: str) -> None:
        """Compare with what came."""
        assert type(error) is self.kind
        assert isinstance(error, tlsio.TLSError)
        code = re.sub("SSL_(SSL/)?TLS_ALERT", "SSL_SSLV3_ALERT", error.code)  # OpenSSL 3.2 and 4.0 renamed them, and with it Node's codes
        assert (code, error.alert) == (self.code, self.alert or alert)
        assert self.message in error.message
        assert self.hint in (error.hint or "")
        assert error.hint in error.__notes__


@dataclass(frozen=True)
class Mistake:
    """Options of both sides, the alert between them, and what each is told."""

    alert: str
    server: Told
    client: Told
    server_options: Callable[[], dict[str, Any]] = dict
    client_options: Callable[[], dict[str, Any]] = dict


def refused_by_client(alert: str, code: str, hint: str) -> Told:
    """Return what a server is told when the client refuses its certificate with that alert."""
    return Told(tlsio.AlertReceived, code, f"The client refused the handshake with the alert {alert}", hint)


def identity(who: pki.Identity) -> dict[str, Any]:
    """Return that certificate, as options of either side."""
    return {"cert": who.chain_pem, "key": who.key_pem}


def asking() -> dict[str, Any]:
    """Return the options of a server that demands a certificate of ca1."""
    return {"request_cert": True, "ca": pki.ca1().cert_pem}


def with_issuers(address: str) -> pki.Identity:
    """Return a server whose certificate says where its issuer's is to be had, and which forgot to send that."""
    places = [pki.x509.AccessDescription(pki.AuthorityInformationAccessOID.CA_ISSUERS, pki.x509.UniformResourceIdentifier(address))]
    made = pki.leaf("localhost", issuer=pki.ca3(), names=["localhost"], extensions=[pki.x509.AuthorityInformationAccess(places)])
    return pki.Identity(made.key, made.certificate)


UNKNOWN_CA = ("unknown_ca", "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA", "(in tlsio: ca=)")
NEEDS = "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

MISTAKES: dict[str, Mistake] = {
    "name not in certificate": Mistake(
        "bad_certificate",
        refused_by_client("bad_certificate", "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", "The client checks trust, dates, name and pins"),
        Told(tlsio.CertificateAltNameError, "ERR_TLS_CERT_ALTNAME_INVALID", "example.org", 'The certificate is for "localhost"'),
        client_options=lambda: {"servername": "example.org"},
    ),
    "name only in CN, by the strict policy": Mistake(
        "bad_certificate",
        refused_by_client("bad_certificate", "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", ""),
        Told(tlsio.CertificateAltNameError, "ERR_TLS_CERT_ALTNAME_INVALID", "does not contain a DNS name", "subjectAltName"),
        lambda: identity(pki.name_in_cn_only()),
        lambda: {"identity_policy": "rfc9525"},
    ),
    "missing intermediate": Mistake(
        "unknown_ca",
        refused_by_client(*UNKNOWN_CA),
        Told(tlsio.CertificateError, NEEDS, "was not sent and is not trusted", "if it is an intermediate, the server has to send it"),
        lambda: identity(pki.missing_intermediate()),
    ),
    "missing intermediate, with an address": Mistake(
        "unknown_ca",
        refused_by_client(*UNKNOWN_CA),
        Told(tlsio.CertificateError, NEEDS, "CN=ca3", "It can be downloaded from http://ca.example/ca3.cer"),
        lambda: identity(with_issuers("http://ca.example/ca3.cer")),
    ),
    "unknown authority": Mistake(
        "unknown_ca",
        refused_by_client(*UNKNOWN_CA),
        Told(tlsio.CertificateError, NEEDS, "CN=ca1", "was neither sent nor is it trusted: if it is the root"),
        client_options=lambda: {"ca": None},
    ),
    "root sent by the server": Mistake(
        "unknown_ca",
        refused_by_client(*UNKNOWN_CA),
        Told(
            tlsio.CertificateError,
            "SELF_SIGNED_CERT_IN_CHAIN",
            "which is not trusted",
            "If you rely on this CA, add its root with ca= or extra_ca=",
        ),
        lambda: {"cert": pki.localhost().cert_pem + pki.ca1().cert_pem, "key": pki.localhost().key_pem},
        lambda: {"ca": None},
    ),
    "self-signed": Mistake(
        "unknown_ca",
        refused_by_client(*UNKNOWN_CA),
        Told(tlsio.CertificateError, "DEPTH_ZERO_SELF_SIGNED_CERT", "is self-signed", "If it is your own server, compare the certificate"),
        lambda: identity(pki.self_signed()),
    ),
    "expired": Mistake(
        "certificate_expired",
        refused_by_client("certificate_expired", "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED", "expired on"),
        Told(tlsio.CertificateError, "CERT_HAS_EXPIRED", "and the local clock says", "The server has to renew"),
        lambda: identity(pki.expired()),
    ),
    "not yet valid": Mistake(
        "bad_certificate",
        refused_by_client("bad_certificate", "ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE", ""),
        Told(tlsio.CertificateError, "CERT_NOT_YET_VALID", "and the local clock says", "is not valid yet, or a clock is wrong"),
        lambda: identity(pki.not_yet_valid()),
    ),
    "revoked": Mistake(
        "certificate_revoked",
        refused_by_client("certificate_revoked", "ERR_SSL_SSLV3_ALERT_CERTIFICATE_REVOKED", "Get a new certificate"),
        Told(tlsio.CertificateError, "CERT_REVOKED", "certificate revoked", "has revoked this certificate: the server needs a new one"),
        lambda: identity(pki.revoked()),
        lambda: {"crl": pki.ca1_crl()},
    ),
    "certificate for clients": Mistake(
        "unsupported_certificate",
        refused_by_client("unsupported_certificate", "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", ""),
        Told(tlsio.CertificateError, "INVALID_PURPOSE", "purpose", "extendedKeyUsage allows serverAuth"),
        lambda: identity(pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], usages=[pki.ExtendedKeyUsageOID.CLIENT_AUTH])),
    ),
    "client certificate of an unknown authority": Mistake(
        "unknown_ca",
        Told(tlsio.CertificateError, NEEDS, "CN=ca2", "normal for a stranger"),
        Told(
            tlsio.AlertReceived,
            "ERR_SSL_TLSV1_ALERT_UNKNOWN_CA",
            "does not trust the CA of this side's certificate",
            "cert= is sent without an intermediate",
        ),
        asking,
        lambda: identity(pki.agent3()),
    ),
    "client certificate expired": Mistake(
        "certificate_expired",
        Told(tlsio.CertificateError, "CERT_HAS_EXPIRED", "The client's certificate was refused", "The client has to renew"),
        Told(
            tlsio.AlertReceived,
            "ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED",
            "this side's certificate has expired",
            "renew it",
        ),
        asking,
        lambda: identity(pki.expired()),
    ),
    "client certificate for servers": Mistake(
        "unsupported_certificate",
        Told(
            tlsio.CertificateError, "INVALID_PURPOSE", "purpose", "The client needs a certificate whose extendedKeyUsage allows clientAuth"
        ),
        Told(tlsio.AlertReceived, "ERR_SSL_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "the purpose", "does not allow clientAuth"),
        asking,
        lambda: identity(pki.localhost()),
    ),
    "no common ALPN": Mistake(
        "no_application_protocol",
        Told(tlsio.HandshakeError, "ERR_SSL_NO_APPLICATION_PROTOCOL", "no common ALPN protocol", "alpn_mismatch='continue'"),
        Told(
            tlsio.AlertReceived, "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL", "no common ALPN protocol", "This side has alpn_protocols="
        ),
        lambda: {"alpn_protocols": ["h2"]},
        lambda: {"alpn_protocols": ["http/1.1"]},
    ),
}


@pytest.mark.parametrize("name", list(MISTAKES))
async def test_mistake_is_told_to_both(net: Net, name: str) -> None:
    """Code, class, alert, and what to do, on either side."""
    mistake = MISTAKES[name]
    async with net.serve(lambda sock: sock.close(), **mistake.server_options()) as server:
        ours, theirs = await net.refused(server, **mistake.client_options())
    mistake.server.check(ours, mistake.alert)
    mistake.client.check(theirs, mistake.alert)


async def test_missing_client_certificate(net: Net) -> None:
    """TLS 1.2 has no alert for it: the client remembers that it was asked."""
    async with net.serve(lambda sock: sock.close(), **asking()) as server:
        ours, theirs = await net.refused(server)
    alert = {"TLSv1.2": "handshake_failure", "TLSv1.3": "certificate_required"}[net.version]
    code = {"TLSv1.2": "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSv1.3": "ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED"}[net.version]
    Told(tlsio.CertificateError, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE", "The client sent no certificate", "Give the client").check(
        ours, alert
    )
    Told(tlsio.AlertReceived, code, "requires a client certificate and got none", "Give cert= and key=").check(theirs, alert)


async def test_server_without_certificate(net: Net) -> None:
    """OpenSSL finds "no common cipher" or "no common version"; the owner of the server reads what is missing."""
    async with net.serve(lambda sock: sock.close(), cert=None, key=None) as server:
        ours, theirs = await net.refused(server)
    assert type(ours) is tlsio.ConfigError
    assert ours.hint == "Give cert= and key=."
    assert ours.alert == theirs.alert == {"TLSv1.2": "handshake_failure", "TLSv1.3": "protocol_version"}[net.version]


async def test_no_common_version(net: Net) -> None:
    """The server speaks one version, the client another one."""
    other = {"TLSv1.2": "TLSv1.3", "TLSv1.3": "TLSv1.2"}[net.version]
    async with net.serve(lambda sock: sock.close()) as server:
        ours, theirs = await net.refused(server, min_version=other, max_version=other)
    Told(tlsio.HandshakeError, "ERR_SSL_UNSUPPORTED_PROTOCOL", "no common protocol version", "The client offers").check(
        ours, "protocol_version"
    )
    Told(tlsio.AlertReceived, "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION", "no common protocol version", "This client allows").check(
        theirs, "protocol_version"
    )


async def test_no_common_cipher(net: Net) -> None:
    """Node's matrix: never a fall back to an older version."""
    one, other = {
        "TLSv1.2": ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"),
        "TLSv1.3": ("TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"),
    }[net.version]
    async with net.serve(lambda sock: sock.close(), ciphers=one) as server:
        ours, theirs = await net.refused(server, ciphers=other)
    Told(tlsio.HandshakeError, "ERR_SSL_NO_SHARED_CIPHER", "no common cipher", "narrowed its own by ciphers=").check(
        ours, "handshake_failure"
    )
    Told(tlsio.AlertReceived, "ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE", "most often no common cipher", "narrowed what it offers").check(
        theirs, "handshake_failure"
    )


@dataclass
class Banner:
    """What a port says that does not speak TLS, and what `connect` makes of it."""

    sent: bytes
    message: str
    hint: str
    waits: bool = field(default=False)


@pytest.mark.parametrize(
    "banner",
    [
        Banner(b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered in plain HTTP", "HTTPS port", waits=True),
        Banner(b"SSH-2.0-OpenSSH_9.2p1\r\n", "uses SSH, not TLS", "SSH uses 22"),
        Banner(b"220 mail.example.com ESMTP\r\n", "sent a plain-text greeting", "STARTTLS"),
        Banner(b"\xde\xad\xbe\xef" * 4, "wrong version number", "bytes are not TLS"),
    ],
    ids=["HTTP", "SSH", "SMTP", "garbage"],
)
async def test_port_that_does_not_speak_tls(banner: Banner) -> None:
    """Other clients say "wrong version number" to all of them."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if banner.waits:
            await reader.read(1)
        writer.write(banner.sent)
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        with pytest.raises(tlsio.HandshakeError) as caught:
            await tlsio.connect(server.sockets[0].getsockname()[1], "127.0.0.1")
    assert caught.value.code == "ERR_SSL_WRONG_VERSION_NUMBER"
    assert banner.message in caught.value.message
    assert banner.hint in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("sent", "code", "message", "hint"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "ERR_SSL_HTTP_REQUEST", "plain HTTP request to a TLS port", "https://"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "ERR_SSL_WRONG_VERSION_NUMBER", "plain HTTP request to a TLS port", "https://"),
        (b"CONNECT a:443 HTTP/1.1\r\n\r\n", "ERR_SSL_HTTPS_PROXY_REQUEST", "request for a proxy", "proxy settings"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", "ERR_SSL_WRONG_VERSION_NUMBER", "uses SSH, not TLS", "SSH client"),
        (b"EHLO example.com\r\n", "ERR_SSL_WRONG_VERSION_NUMBER", "began SMTP without TLS", "has to begin with TLS"),
    ],
    ids=["HTTP", "HTTP/2", "proxy", "SSH", "SMTP"],
)
async def test_client_that_does_not_speak_tls(sent: bytes, code: str, message: str, hint: str) -> None:
    """The server's log says what it spoke."""
    errors: list[Any] = []
    async with tlsio.serve(lambda sock: sock.close(), 0, "127.0.0.1", **identity(pki.localhost())) as server:
        server.on("tls_client_error", lambda error, _sock: errors.append(error))
        await stdlib_peer.send_raw(server, sent, end=True)
    [error] = errors
    Told(tlsio.HandshakeError, code, message, hint).check(error, "unexpected_message")
