"""Handshakes that fail for what the sides allow, for alerts, and for peers that do not speak TLS: each made for real."""

from __future__ import annotations

import asyncio
import contextlib
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from explanations import Mistake, check_words, identity, make
from net import once

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

DAY, NOW = pki.DAY, pki.NOW
CLIENTS = pki.ExtendedKeyUsageOID.CLIENT_AUTH


def asking() -> dict[str, Any]:
    """Return the options of a server that demands a certificate of ca1."""
    return {"request_cert": True, "ca": pki.ca1().cert_pem}


def expired_client() -> pki.Identity:
    """Return a client whose certificate is over since yesterday."""
    return pki.leaf("client", issuer=pki.ca1(), not_before=NOW - 9 * DAY, not_after=NOW - DAY)


@cache
def below_ca3() -> pki.Identity:
    """Return a client below the intermediate ca3."""
    return pki.leaf("client", issuer=pki.ca3())


@cache
def expired_root() -> pki.Identity:
    """Over since yesterday."""
    return pki.authority("old root", not_after=NOW - DAY / 2)


def two_keys() -> dict[str, Any]:
    """Return a server's certificates for keys of two types."""
    both = (pki.localhost(), pki.localhost_rsa())
    return {"cert": [one.chain_pem for one in both], "key": [one.key_pem for one in both]}


NO_1_3 = "DEFAULT:!TLS_AES_128_GCM_SHA256:!TLS_AES_256_GCM_SHA384:!TLS_CHACHA20_POLY1305_SHA256"
NARROWED = "This client narrowed what it offers by "

MISTAKES: dict[str, Mistake] = {
    # --- versions ---
    "server's newest is older, at the server": Mistake(
        "server",
        ("no common protocol version", "The client offers only TLS 1.3 or newer", "leave max_version='TLSv1.2' out"),
        lambda: {"max_version": "TLSv1.2"},
        lambda: {"min_version": "TLSv1.3"},
    ),
    "server's newest is older, at the client": Mistake(
        "client",
        ("no common protocol version", "This client allows only TLSv1.3, because of min_version='TLSv1.3'", "update the server"),
        lambda: {"max_version": "TLSv1.2"},
        lambda: {"min_version": "TLSv1.3"},
    ),
    "client's newest is older, at the server": Mistake(
        "server",
        ("no common protocol version", "The client offers at most TLSv1.2", "min_version='TLSv1.3' has to be left out"),
        lambda: {"min_version": "TLSv1.3"},
        lambda: {"max_version": "TLSv1.2"},
    ),
    "client's newest is older, at the client": Mistake(
        "client",
        ("This client allows only TLSv1.2, because of max_version='TLSv1.2'", "leave that out, or update the server"),
        lambda: {"min_version": "TLSv1.3"},
        lambda: {"max_version": "TLSv1.2"},
    ),
    "client of the last century": Mistake(
        "server",
        ("The client offers at most TLSv1.1, which is insecure", "the client has to be updated"),
        client=lambda: {"min_version": "TLSv1", "max_version": "TLSv1.1", "ciphers": "DEFAULT@SECLEVEL=0"},
    ),
    # --- cipher suites, groups, signature algorithms, ALPN ---
    "suites of TLS 1.3, at the server": Mistake(
        "server",
        ("no common cipher", "this server narrowed its own by ciphers='TLS_AES_128_GCM_SHA256'", "let the client allow more"),
        lambda: {"ciphers": "TLS_AES_128_GCM_SHA256"},
        lambda: {"ciphers": "TLS_AES_256_GCM_SHA384"},
    ),
    "suites of TLS 1.3 alone, at the server": Mistake(
        "server",
        ("The client offers at most TLSv1.2", "because ciphers='TLS_AES_128_GCM_SHA256' contains only suites of TLS 1.3", "add others"),
        lambda: {"ciphers": "TLS_AES_128_GCM_SHA256"},
        lambda: {"max_version": "TLSv1.2"},
        never=("min_version",),
    ),
    "suites of TLS 1.3 alone, at the client": Mistake(
        "client",
        ("This client allows only TLSv1.3, because ciphers='TLS_AES_128_GCM_SHA256' contains only suites of TLS 1.3", "update the server"),
        lambda: {"max_version": "TLSv1.2"},
        lambda: {"ciphers": "TLS_AES_128_GCM_SHA256"},
        never=("min_version",),
    ),
    "no suite of TLS 1.3, at the server": Mistake(
        "server",
        ("The client offers only TLS 1.3", "contains no suite of TLS 1.3: add one"),
        lambda: {"ciphers": NO_1_3},
        lambda: {"min_version": "TLSv1.3"},
        never=("max_version",),
    ),
    "no suite of TLS 1.3, at the client": Mistake(
        "client",
        ("This client allows only TLSv1.2, because ciphers=", "contains no suite of TLS 1.3: add others"),
        lambda: {"min_version": "TLSv1.3"},
        lambda: {"ciphers": NO_1_3},
        never=("max_version",),
    ),
    "suites, at the client": Mistake(
        "client",
        ("handshake_failure", f"{NARROWED}ciphers='TLS_AES_256_GCM_SHA384'", "compare them with the server's"),
        lambda: {"ciphers": "TLS_AES_128_GCM_SHA256"},
        lambda: {"ciphers": "TLS_AES_256_GCM_SHA384"},
    ),
    "suites of TLS 1.2, at the server": Mistake(
        "server",
        ("The client offers the cipher suites ECDHE-ECDSA-AES128-GCM-SHA256", "ciphers='ECDHE-ECDSA-AES256-GCM-SHA384'"),
        lambda: {"ciphers": "ECDHE-ECDSA-AES256-GCM-SHA384"},
        lambda: {"ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"},
    ),
    "suites for another key": Mistake(
        "server",
        ("ECDHE-RSA-AES128-GCM-SHA256", "which need another key than the EC key of cert=", "give a certificate with one as well"),
        client=lambda: {"ciphers": "ECDHE-RSA-AES128-GCM-SHA256", "max_version": "TLSv1.2"},
    ),
    "groups, at the server": Mistake(
        "server",
        ("no common group", "The client offers the groups x25519", "ecdh_curve='P-256'", "let the client allow more"),
        lambda: {"ecdh_curve": "P-256"},
        lambda: {"ecdh_curve": "X25519"},
    ),
    "groups in TLS 1.2, at the server": Mistake(
        "server",
        ("The client offers the groups x25519", "ecdh_curve='P-256'"),
        lambda: {"ecdh_curve": "P-256", "max_version": "TLSv1.2"},
        lambda: {"ecdh_curve": "X25519"},
    ),
    "groups, at the client": Mistake(
        "client",
        (f"{NARROWED}ecdh_curve='X25519'", "compare them with the server's"),
        lambda: {"ecdh_curve": "P-256"},
        lambda: {"ecdh_curve": "X25519"},
    ),
    "signature algorithms, at the server": Mistake(
        "server",
        ("no common signature algorithm", "The client offers the signature algorithms rsa_pss_rsae_sha256", "the EC key of cert="),
        client=lambda: {"sigalgs": "RSA-PSS+SHA256"},
    ),
    "signature algorithms for an RSA key": Mistake(
        "server",
        ("The client offers the signature algorithms ecdsa_secp256r1_sha256", "the RSA key of cert=", "its sigalgs="),
        lambda: identity(pki.localhost_rsa()),
        lambda: {"sigalgs": "ECDSA+SHA256"},
    ),
    "signature algorithms for one of two keys": Mistake(
        "server",
        ("no common signature algorithm",),
        two_keys,
        lambda: {"sigalgs": "ed25519"},
        never=("the RSA key", "the EC key"),
    ),
    "signature algorithms, at the client": Mistake("client", (f"{NARROWED}sigalgs='RSA-PSS+SHA256'",), client=lambda: {"sigalgs": "RSA-PSS+SHA256"}),
    "nothing narrowed, at the client": Mistake(
        "client",
        ("This client offers the defaults", "its options exclude them", "compare servername="),
        lambda: {"sigalgs": "RSA-PSS+SHA256"},
        never=("No server name was sent",),
    ),
    "no server name, at the client": Mistake(
        "client",
        ("No server name was sent", "give the right one as servername="),
        lambda: {"cert": None, "key": None},
        lambda: {"servername": None},
    ),
    "ALPN, at the server": Mistake(
        "server",
        ("no common ALPN protocol", "This side has alpn_protocols=['h2']", "alpn_mismatch='continue'"),
        lambda: {"alpn_protocols": ["h2"]},
        lambda: {"alpn_protocols": ["http/1.1"]},
    ),
    "ALPN, at the client": Mistake(
        "client",
        ("no common ALPN protocol", "This side has alpn_protocols=['http/1.1']", "offer one that the server supports"),
        lambda: {"alpn_protocols": ["h2"]},
        lambda: {"alpn_protocols": ["http/1.1"]},
    ),
    "no certificate": Mistake("server", ("no certificate is configured", "Give cert= and key="), lambda: {"cert": None, "key": None}),
    # --- alerts about our certificate ---
    "client refused, no intermediate sent": Mistake(
        "client",
        ("does not trust the CA of this side's certificate", "cert= is sent without an intermediate", '"CN=ca3,O=tlsio tests"', "fullchain"),
        asking,
        lambda: {"cert": below_ca3().cert_pem, "key": below_ca3().key_pem},
    ),
    "server refused, no intermediate sent": Mistake(
        "server",
        ("does not trust the CA of this side's certificate", "append it to cert=", "the client has to trust it"),
        lambda: identity(pki.missing_intermediate()),
    ),
    "server refused, intermediates sent": Mistake(
        "server",
        ('cert= was issued by "CN=ca3,O=tlsio tests", and 1 more is sent after it', "that the client trusts their root"),
        lambda: identity(pki.chained()),
        lambda: {"ca": pki.ca5().cert_pem},
    ),
    "self-signed server refused": Mistake(
        "server", ("cert= is self-signed", "the client has to add it to its trusted certificates"), lambda: identity(pki.self_signed())
    ),
    "client refused, expired": Mistake(
        "client", ("certificate_expired", 'cert= ("CN=client,O=tlsio tests") expired on', "renew it"), asking, lambda: identity(expired_client())
    ),
    "server refused, not valid yet": Mistake(
        "server", ('cert= ("CN=localhost,O=tlsio tests") is valid only from', "check the clocks"), lambda: identity(pki.not_yet_valid())
    ),
    "server refused as expired, but is valid": Mistake(
        "server",
        ("certificate_expired", "cert= is valid until", "so the client's clock is wrong, or a CA above it has expired", "check that clock"),
        lambda: identity(pki.leaf("localhost", issuer=expired_root(), names=["localhost"])),
        lambda: {"ca": expired_root().cert_pem},
        never=("Renew", "renew it"),
    ),
    "client refused, certificate for servers": Mistake(
        "client",
        ("the purpose of this side's certificate", "The extendedKeyUsage of cert= does not allow clientAuth", "have it issued for clients"),
        asking,
        lambda: identity(pki.localhost()),
    ),
    "server refused, certificate for clients": Mistake(
        "server",
        ("The extendedKeyUsage of cert= does not allow serverAuth", "have it issued for servers"),
        lambda: identity(pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], usages=[CLIENTS])),
    ),
    "server refused, no OCSP response": Mistake(
        "server",
        ("it got no valid OCSP response", "Staple a current response", "stapling=True"),
        client=lambda: {"ocsp": "require"},
    ),
    "client without a certificate": Mistake(
        "client", ("it requires a client certificate", "Give cert= and key=, with a certificate from a CA that the server trusts"), asking
    ),
}  # fmt: skip


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", list(MISTAKES))
async def test_says_cause_side_and_remedy(name: str) -> None:
    """A stranger can act on it without the documents."""
    MISTAKES[name].check(await make(MISTAKES[name]))


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize(
    ("servername", "says"),
    [
        (None, "The client sent no server name (SNI)"),
        ("other.example", 'The client sent the name "other.example", which add_context() does not'),
    ],
)
async def test_no_default_certificate(servername: str | None, says: str) -> None:
    """A server with certificates for names only, and a client that sends none or another."""
    server = tlsio.create_server()
    server.add_context("localhost", identity(pki.localhost()))
    await server.listen(0, "127.0.0.1")
    told = once(server, "tls_client_error")
    with contextlib.suppress(tlsio.TLSError):
        options = {} if servername is None else {"servername": servername}
        await tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem, **options)
    error, _ = await told
    server.close(0)
    await server.wait_closed()
    check_words(error, ("no certificate is configured", says, "there is no default certificate: give cert= and key= to the server"))


# --- peers that do not speak TLS ---

SERVERS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "HTTP": (b"HTTP/1.1 400 Bad Request\r\n\r\n", ("answered in plain HTTP: the port does not use TLS", "Use the server's HTTPS port")),
    "a proxy's page": (b"<!DOCTYPE html><p>Blocked", ("a page in HTML, without TLS", "a web server or a proxy answers there")),
    "HTTP/2": (b"\0\0\x12\4\0\0\0\0\0\0\3\0\0\0\x80", ("answered in HTTP/2 without TLS", "Use the server's HTTPS port")),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", ("uses SSH, not TLS", "SSH uses 22")),
    "SMTP": (b"220 mail.example ESMTP\r\n", ("a plain-text greeting, like a mail or FTP server", "send STARTTLS first")),
    "SMTP that refuses": (b"554 5.7.1 go away\r\n", ("a plain-text greeting, like a mail or FTP server",)),
    "IMAP": (b"* OK IMAP4 ready\r\n", ("a plain-text greeting", "the port for TLS (465, 993")),
    "POP3": (b"+OK Dovecot ready.\r\n", ("a plain-text greeting", "the port for TLS (465, 993")),
    "MySQL": (
        b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0",
        ("is a MySQL or MariaDB server, which begins without TLS", "Use a client for this database"),
    ),
    "MySQL that refuses": (b"\x45\0\0\0\xff\x6a\x04Host", ("is a MySQL or MariaDB server",)),
    "PostgreSQL": (b"E\0\0\0\x88SFATAL\0VFATAL", ("uses PostgreSQL's protocol", "asks the server for TLS inside its own protocol")),
    "LDAP": (b"0\x24\2\1\0\x78\x1f\x0a\1\2\4\0\4\0", ("uses LDAP without TLS", "LDAPS (636)")),
    "Redis": (b"-ERR unknown command\r\n", ("uses Redis's protocol without TLS", "rediss://")),
    "a SOCKS proxy": (b"\x05\xff", ("uses SOCKS", "This port is a SOCKS proxy")),
    "something in plain text": (b"hello stranger\r\n", ("sent plain text instead of TLS", "Check port")),
    "something binary": (b"\x01\x02\x03\x04\x05\x06", ("The peer's bytes are not TLS: check host and port",)),
}
CLIENTS_WITHOUT_TLS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    "HTTP": (b"GET / HTTP/1.1\r\n\r\n", ("sent a plain HTTP request to a TLS port", "The client has to use https://")),
    "HTTP to a proxy": (b"CONNECT a:1 HTTP/1.1\r\n\r\n", ("an HTTP CONNECT request", "correct the client's proxy settings")),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", ("uses SSH, not TLS", "correct its port")),
    "SMTP": (b"EHLO localhost\r\n", ("began SMTP without TLS", "The client has to begin with TLS")),
    "PostgreSQL": (b"\0\0\0\x08\x04\xd2\x16\x2f", ("uses PostgreSQL's protocol", "sslnegotiation=direct")),
    "LDAP": (b"0\x0c\2\1\1\x60\7\2\1\3\4\0\x80\0", ("uses LDAP without TLS", "The client has to use ldaps://")),
    "Redis": (b"*1\r\n$4\r\nPING\r\n", ("uses Redis's protocol without TLS", "The client has to use TLS (rediss://)")),
    "SOCKS": (b"\x05\x01\x00", ("uses SOCKS", "correct its proxy settings")),
    "the PROXY protocol": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", ("a PROXY protocol header", "in the load balancer")),
}


@contextlib.asynccontextmanager
async def answering(words: bytes | None) -> AsyncIterator[int]:
    """Listen on a port of 127.0.0.1 that answers any client with these words and ends; None: with silence."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(10_000)
            if words is None:
                await ended.wait()
            else:
                writer.write(words)
            writer.close()
            await writer.wait_closed()

    below = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield below.sockets[0].getsockname()[1]
    finally:
        ended.set()
        below.close()
        await asyncio.sleep(0)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", list(SERVERS))
async def test_server_of_another_protocol(name: str) -> None:
    """What answers there, and what to do."""
    words, says = SERVERS[name]
    async with answering(words) as port:
        with pytest.raises(tlsio.TLSError) as caught:
            await tlsio.connect(port, "127.0.0.1", timeout=5)
    check_words(caught.value, says)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", list(CLIENTS_WITHOUT_TLS))
async def test_client_of_another_protocol(name: str) -> None:
    """Which client it is, and that it has to change."""
    words, says = CLIENTS_WITHOUT_TLS[name]
    async with tlsio.serve(print, 0, "127.0.0.1", **identity(pki.localhost())) as server:
        told = once(server, "tls_client_error")
        _reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(words.ljust(16, b"\n") if words.isascii() and words[:1].isalpha() else words)
        writer.write_eof()
        error, _ = await told
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    check_words(error, says)


@pytest.mark.only_loop("asyncio")
async def test_server_that_ends_at_once() -> None:
    """PostgreSQL does so, and so does a server that does not like the address."""
    async with answering(b"") as port:
        with pytest.raises(tlsio.ConnectionLostError) as caught:
            await tlsio.connect(port, "127.0.0.1", timeout=5)
    check_words(caught.value, ("disconnected without sending a byte", "check port and servername=", "PostgreSQL, MySQL, SMTP"))


@pytest.mark.only_loop("asyncio")
async def test_server_that_stays_silent_within_handshake_timeout() -> None:
    """Connected, and nothing came."""
    async with answering(None) as port:
        with pytest.raises(tlsio.HandshakeTimeoutError) as caught:
            await tlsio.connect(port, "127.0.0.1", handshake_timeout=0.1)
    check_words(caught.value, ("The server sent nothing: it may not use TLS on this port, or it may wait for STARTTLS",))


@pytest.mark.only_loop("asyncio")
async def test_server_that_stays_silent_within_timeout() -> None:
    """The time for everything is over, but TCP was connected: no firewall is to blame."""
    async with answering(None) as port:
        with pytest.raises(tlsio.HandshakeTimeoutError) as caught:
            await tlsio.connect(port, "127.0.0.1", timeout=0.1)
    says = ("No connection to 127.0.0.1", "connected, but the handshake did not finish", "may not use TLS on this port", "STARTTLS")
    check_words(caught.value, says, never=("firewall",))


# --- bytes that were changed or cut on the way ---


class Relay:
    """Between a client and a server: changes one chunk of those that the server sends, or cuts after it."""

    def __init__(self, port: int, turn: int, change: Callable[[bytes], bytes]) -> None:
        self._port, self._turn, self._change = port, turn, change

    async def run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connect the two."""
        behind, ahead = await asyncio.open_connection("127.0.0.1", self._port)
        upward = asyncio.ensure_future(self._copy(reader, ahead))
        await self._copy(behind, writer, changes=True)
        upward.cancel()
        for one in (writer, ahead):
            one.close()
        await asyncio.wait({upward})

    async def _copy(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, changes: bool = False) -> None:
        turn = 0
        with contextlib.suppress(OSError):
            while data := await source.read(65536):
                turn += 1
                made = self._change(data) if changes and turn == self._turn else data
                if not made:
                    return
                target.write(made)
                await target.drain()


def flip(data: bytes) -> bytes:
    """Change one bit near the end."""
    return data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]


def overlong(data: bytes) -> bytes:
    """Announce a record of 65,535 bytes, where 16,640 are allowed."""
    return b"\x17\x03\x03\xff\xff" + data[5:]


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize(
    ("turn", "change", "says"),
    [
        (1, flip, ("bad record mac", "The first bytes were TLS, but later ones are corrupt", "a proxy or another middlebox")),
        (1, overlong, ("length too long", "later ones are corrupt", "a proxy or another middlebox")),
        (3, flip, ("bad record mac", "A proxy or another middlebox may change the bytes")),
        (3, overlong, ("length too long", "A proxy or another middlebox may change the bytes")),
        (3, lambda _data: b"", ("closed the connection without close_notify", "it crashed or was stopped", "Treat the data as incomplete")),
    ],
    ids=["handshake, bad MAC", "handshake, long record", "bad MAC", "long record", "cut"],
)
async def test_bytes_changed_on_the_way(turn: int, change: Callable[[bytes], bytes], says: tuple[str, ...]) -> None:
    """No version and no option is to blame."""
    async with tlsio.serve(_answer, 0, "127.0.0.1", **identity(pki.localhost())) as server:
        below = await asyncio.start_server(Relay(server.port or 0, turn, change).run, "127.0.0.1", 0)
        with pytest.raises(tlsio.PeerError) as caught:
            await _talk(below.sockets[0].getsockname()[1])
        below.close()
    check_words(caught.value, says, never=("min_version",))


async def _talk(port: int) -> None:
    async with tlsio.connect(port, "127.0.0.1", ca=pki.ca1().cert_pem) as client:
        for _ in range(3):
            await client.send(b"x")
            await client.readexactly(1)


async def _answer(sock: tlsio.TLSSocket) -> None:
    with contextlib.suppress(tlsio.TLSError):
        async for data in sock:
            await sock.send(data)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize(
    ("asks", "says"), [("client", "Many servers do not let clients renegotiate"), ("server", "Request the certificate in")]
)
async def test_refused_renegotiation(asks: str, says: str) -> None:
    """The advice is for the side that asked."""
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
    options = identity(pki.localhost()) | {"max_version": "TLSv1.2"}
    server = tlsio.create_server(accepted.set_result, **options)
    await server.listen(0, "127.0.0.1")
    client = await tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem)
    peer = await accepted
    (client if asks == "server" else peer).disable_renegotiation()
    (client if asks == "server" else peer).on("error", lambda _error: None)
    with pytest.raises(tlsio.TLSError) as caught:
        await (peer if asks == "server" else client).renegotiate()
    for one in (client, peer):
        one.destroy()
        await one.wait_closed()
    server.close(0)
    await server.wait_closed()
    check_words(caught.value, (says,))
