"""ACME's tls-alpn-01 (RFC 8737): which hellos a source's `challenge_for` answers, and what its connections are."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import once

if TYPE_CHECKING:
    from net import Net

PENDING = "pending.example"


@cache
def challenge_of() -> pki.Identity:
    """Return the identity of the challenge."""
    return pki.leaf(PENDING)


class Source:
    """A source of one context, with a challenge for one name; sync."""

    def __init__(self, default: tlsio.SecureContext, challenge: tlsio.SecureContext) -> None:
        self.default, self.challenge = default, challenge
        self.asked: list[str | None] = []
        self.asked_challenges: list[str] = []

    def context_for(self, server_name: str | None) -> Any:
        """Return the one context."""
        self.asked.append(server_name)
        return self.default

    def challenge_for(self, server_name: str) -> Any:
        """Return the challenge of the one name."""
        self.asked_challenges.append(server_name)
        return self.challenge if server_name == PENDING else None


class AsyncSource(Source):
    """The same, async."""

    async def challenge_for(self, server_name: str) -> Any:
        """Answer after a pass of the loop."""
        await asyncio.sleep(0)
        return super().challenge_for(server_name)


KINDS = pytest.mark.parametrize("kind", [Source, AsyncSource])
PROTOCOLS = ["h2", "http/1.1"]


def make_source(net: Net, kind: type[Source] = Source, **options: Any) -> Source:
    """Make a source with a usual default."""
    usual, challenge = pki.localhost(), challenge_of()
    versions = {"min_version": net.version, "max_version": net.version}
    default = {"cert": usual.chain_pem, "key": usual.key_pem, "alpn_protocols": PROTOCOLS, "request_cert": False, **versions}
    return kind(
        tlsio.create_secure_context(**(default | options)),
        tlsio.create_secure_context(cert=challenge.chain_pem, key=challenge.key_pem, alpn_protocols=["acme-tls/1"], **versions),
    )


async def visit(net: Net, server: tlsio.Server, name: str = PENDING, **options: Any) -> tuple[bytes, str | None, bytes]:
    """Return the certificate, the protocol, and all that the server sends."""
    sock = await net.connect(server, servername=name, reject_unauthorized=False, **options)
    try:
        certificate = sock.get_peer_certificate()
        assert certificate is not None
        received = await sock.read_all() if options.get("alpn_protocols") == ["acme-tls/1"] else b""
        return bytes(certificate["raw"]), sock.alpn_protocol, received
    finally:
        sock.destroy()
        await sock.wait_closed()


@KINDS
async def test_authority_gets_the_certificate_of_the_challenge(net: Net, kind: type[Source]) -> None:
    """The connection ends after the handshake, and no listener sees it."""
    source, seen = make_source(net, kind), []
    async with net.serve(seen.append, secure_context=source) as server:
        got = await visit(net, server, alpn_protocols=["acme-tls/1"])
    assert got == (challenge_of().cert_der, "acme-tls/1", b"")
    assert (source.asked_challenges, seen) == ([PENDING], [])
    assert PENDING not in source.asked


@KINDS
@pytest.mark.parametrize("name", ["other.example", ""])
async def test_name_without_a_challenge_is_refused(net: Net, kind: type[Source], name: str) -> None:
    """With the alert of RFC 7301, for a client without a name too; the usual certificate is not shown."""
    source = make_source(net, kind)
    async with net.serve(secure_context=source) as server:
        told, got = await net.refused(server, servername=name, reject_unauthorized=False, alpn_protocols=["acme-tls/1"])
    assert isinstance(told, tlsio.HandshakeError)
    assert (told.code, told.alert) == ("ERR_TLS_NO_CHALLENGE", "no_application_protocol")
    assert got.alert == "no_application_protocol"
    assert source.asked_challenges == ([name] if name else [])


@pytest.mark.parametrize("protocols", [["acme-tls/1", "h2"], ["h2", "acme-tls/1"], ["h2"], None], ids=repr)
async def test_other_hellos_get_the_usual_context(net: Net, protocols: list[str] | None) -> None:
    """Only an authority offers this protocol alone: a browser is never shown a certificate that it would refuse."""
    source = make_source(net)
    async with net.serve(lambda sock: sock.close(), secure_context=source) as server:
        certificate, protocol, _ = await visit(net, server, **({} if protocols is None else {"alpn_protocols": protocols}))
    assert certificate == pki.localhost().cert_der
    assert protocol == (None if protocols is None else "h2")
    assert source.asked_challenges == []


async def test_source_without_challenges_refuses_the_protocol_as_any_other(net: Net) -> None:
    """As before there were challenges: no common protocol."""

    class Plain:
        def context_for(self, _server_name: str | None) -> Any:
            return make_source(net).default

    source = Plain()
    async with net.serve(secure_context=source) as server:
        told, _ = await net.refused(server, servername=PENDING, reject_unauthorized=False, alpn_protocols=["acme-tls/1"])
    assert isinstance(told, tlsio.TLSError)
    assert told.code == "ERR_SSL_NO_APPLICATION_PROTOCOL"


async def test_challenge_comes_before_hooks_and_tables(net: Net) -> None:
    """`sni_callback`, `alpn_callback` and the names of `add_context` are for clients."""
    called: list[object] = []
    source = make_source(net, alpn_protocols=None)
    async with net.serve(secure_context=source) as server:
        server.add_context(PENDING, {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem})
        server.on("sni_callback", lambda name, _socket: called.append(name))
        server.on("alpn_callback", lambda name, _protocols, _socket: called.append(name))
        assert (await visit(net, server, alpn_protocols=["acme-tls/1"]))[0] == challenge_of().cert_der
    assert called == []


async def test_authority_needs_no_certificate(net: Net) -> None:
    """A server that requires client certificates requests none from an authority, which has none."""
    source = make_source(net, request_cert=True, ca=pki.ca1().cert_pem)
    async with net.serve(secure_context=source) as server:
        assert (await visit(net, server, alpn_protocols=["acme-tls/1"]))[0] == challenge_of().cert_der


async def test_failing_source_refuses_the_authority(net: Net) -> None:
    """As for a client, it is an internal error, never another certificate."""
    source = make_source(net)
    source.challenge_for = lambda _name: 1 / 0  # type: ignore[method-assign, assignment, return-value]
    async with net.serve(secure_context=source) as server:
        failed = once(server, "tls_client_error")
        with pytest.raises(tlsio.TLSError) as refused:
            await visit(net, server, alpn_protocols=["acme-tls/1"])
        assert refused.value.alert == "internal_error"
        assert (await failed)[0].code == "ERR_TLS_HOOK_FAILED"


async def test_authority_that_leaves_in_between_leaves_nothing(net: Net) -> None:
    """A question that is still open ends with its connection."""
    source, asked = make_source(net), asyncio.Event()
    ended = asyncio.Event()

    async def hang(_name: str) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    source.challenge_for = hang  # type: ignore[method-assign, assignment]
    async with net.serve(secure_context=source) as server:
        connecting = asyncio.ensure_future(visit(net, server, alpn_protocols=["acme-tls/1"]))
        await asked.wait()
        connecting.cancel()
        with suppress(asyncio.CancelledError):
            await connecting
        await ended.wait()


# ALPN extensions, as on the wire; whether the source is asked.
RAW = {
    "the protocol alone": (b"\x00\x0b\x0aacme-tls/1", True),
    "twice": (b"\x00\x16\x0aacme-tls/1\x0aacme-tls/1", False),
    "with an empty name": (b"\x00\x0c\x0aacme-tls/1\x00", False),
    "in capitals": (b"\x00\x0b\x0aACME-TLS/1", False),
    "a longer one": (b"\x00\x0c\x0bacme-tls/1x", False),
    "cut off": (b"\x00\x0b\x0aacme-tls/", False),
    "a wrong length": (b"\x00\x0c\x0aacme-tls/1", False),
    "nothing": (b"", False),
}


def make_hello(alpn: bytes) -> bytes:
    """Return a record with a ClientHello of TLS 1.2 that offers this extension."""

    def sized(data: bytes, size: int = 2) -> bytes:
        return len(data).to_bytes(size, "big") + data

    name = PENDING.encode()
    extensions = (
        b"\x00\x00" + sized(sized(b"\x00" + sized(name)))
        + b"\x00\x0a" + sized(sized(b"\x00\x1d\x00\x17"))
        + b"\x00\x0d" + sized(sized(b"\x04\x03\x08\x04\x04\x01"))
        + b"\x00\x10" + sized(alpn)
    )  # fmt: skip
    body = b"\x03\x03" + bytes(32) + b"\x00" + sized(b"\xc0\x2b\xc0\x2f") + b"\x01\x00" + sized(extensions)
    return b"\x16\x03\x01" + sized(b"\x01" + sized(body, 3))


@pytest.mark.parametrize(("alpn", "is_asked"), RAW.values(), ids=RAW)
@pytest.mark.parametrize("at_once", [True, False], ids=["whole", "bytewise"])
async def test_raw_hello(net: Net, alpn: bytes, *, is_asked: bool, at_once: bool) -> None:
    """The list must hold this protocol alone, byte for byte; what is malformed is refused by OpenSSL."""
    source = make_source(net, min_version="TLSv1.2", max_version="TLSv1.2")
    source.challenge = source.challenge.replace(min_version="TLSv1.2", max_version="TLSv1.2")
    hello = make_hello(alpn)
    async with net.serve(secure_context=source) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", net.port(server))
        for part in [hello] if at_once else [hello[at : at + 1] for at in range(len(hello))]:
            writer.write(part)
            await writer.drain()
        answer = await reader.read(1)
        writer.close()
        await writer.wait_closed()
    assert answer == (b"\x16" if is_asked else b"\x15")
    assert source.asked_challenges == ([PENDING] if is_asked else [])


def test_pair_answers_challenges() -> None:
    """In memory a source must answer at once."""
    usual, challenge = pki.localhost(), challenge_of()
    source = Source(
        tlsio.create_secure_context(cert=usual.chain_pem, key=usual.key_pem, request_cert=False),
        tlsio.create_secure_context(cert=challenge.chain_pem, key=challenge.key_pem),
    )
    near = tlsio.create_secure_pair(is_server=True, secure_context=source)
    far = tlsio.create_secure_pair(servername=PENDING, alpn_protocols=["acme-tls/1"], reject_unauthorized=False)
    for _ in range(4):
        near.encrypted.write(far.encrypted.read() or b"")
        far.encrypted.write(near.encrypted.read() or b"")
    certificate = far.cleartext.get_peer_certificate()
    assert certificate is not None
    assert bytes(certificate["raw"]) == challenge.cert_der
