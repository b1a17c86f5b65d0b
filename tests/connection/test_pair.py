"""SecurePair: TLS in memory, against the standard library's and against another pair."""

from __future__ import annotations

import gc
import random
import ssl
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from memory import std_client, std_server
from seeds import new_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from net import Version

    Cut = Callable[[bytes], Iterator[bytes]]

NUMBERS = {"TLSv1.2": 0x0303, "TLSv1.3": 0x0304}


class Std:
    """The standard library's TLS in memory, with the calls of a pair."""

    def __init__(self, context: ssl.SSLContext, *, is_server: bool, session: ssl.SSLSession | None = None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if is_server else "localhost"
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=is_server, server_hostname=name, session=session)
        self.received = b""
        self.error: ssl.SSLError | None = None

    def read(self) -> bytes:
        """Give what is to be sent, after all there is to do was done."""
        try:
            self.tls.do_handshake()
            while data := self.tls.read(65536):
                self.received += data
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            self.error = error
        return self.outgoing.read()

    def write(self, data: bytes) -> None:
        """Take what was sent."""
        self.incoming.write(data)


def whole(data: bytes) -> Iterator[bytes]:
    """Do not cut."""
    yield data


def single(data: bytes) -> Iterator[bytes]:
    """Cut into bytes."""
    yield from (data[at : at + 1] for at in range(len(data)))


def random_cuts(data: bytes) -> Iterator[bytes]:
    """Cut into pieces of random sizes."""
    chance, at = random.Random(new_seed()), 0  # noqa: S311 - no secret
    while at < len(data):
        size = chance.choice((1, 2, 5, 7, 100, 3000))
        yield data[at : at + size]
        at += size


def carry(one: Any, other: Any, cut: Cut = whole) -> None:
    """Move bytes between two ends until both are silent."""
    while True:
        there, back = one.read(), other.read()
        for piece in cut(there):
            other.write(piece)
        for piece in cut(back):
            one.write(piece)
        if not there and not back:
            return


def server_of(version: Version | None = None, **options: Any) -> tlsio.SecurePair:
    """Make the server's part."""
    who = pki.localhost()
    return tlsio.create_secure_pair(is_server=True, cert=who.cert_pem, key=who.key_pem, max_version=version, **options)


def client_of(version: Version | None = None, **options: Any) -> tlsio.SecurePair:
    """Make the client's part; it looks for localhost."""
    usual: dict[str, Any] = {"servername": "localhost", "ca": pki.ca1().cert_pem, "reject_unauthorized": True, "max_version": version}
    return tlsio.create_secure_pair(**{**usual, **options})


def meet(client: tlsio.SecurePair, server: tlsio.SecurePair, cut: Cut = whole) -> None:
    """Carry bytes between two pairs."""
    carry(client.encrypted, server.encrypted, cut)


def joined(version: Version | None = None) -> tuple[tlsio.SecurePair, tlsio.SecurePair]:
    """Make a client and a server that have shaken hands."""
    client, server = client_of(version), server_of(version)
    meet(client, server)
    return client, server


def opposite(version: Version, *, is_server: bool) -> tuple[tlsio.SecurePair, Std]:
    """Make a pair in one role and the standard library in the other."""
    if is_server:
        return server_of(), Std(std_client(ca=pki.ca1(), version=NUMBERS[version]), is_server=False)
    return client_of(), Std(std_server(pki.localhost(), version=NUMBERS[version]), is_server=True)


@pytest.mark.parametrize("cut", [whole, single, random_cuts], ids=["whole", "single", "random"])
@pytest.mark.parametrize("is_server", [False, True], ids=["client", "server"])
class TestAgainstTheStandardLibrary:
    """Both roles, however the bytes are cut."""

    def test_data_goes_both_ways(self, version: Version, cut: Cut, *, is_server: bool) -> None:
        """After a handshake with authentication."""
        pair, std = opposite(version, is_server=is_server)
        carry(pair.encrypted, std, cut)
        assert pair.cleartext.get_protocol() == std.tls.version() == version
        pair.cleartext.write(b"from us")
        std.tls.write(b"from them")
        carry(pair.encrypted, std, cut)
        assert std.received == b"from us"
        assert pair.cleartext.read() == b"from them"
        assert pair.cleartext.authorized is not is_server

    def test_close_notify_ends_each_direction(self, version: Version, cut: Cut, *, is_server: bool) -> None:
        """Theirs is told by `eof`, ours by the end of `encrypted`."""
        pair, std = opposite(version, is_server=is_server)
        carry(pair.encrypted, std, cut)
        pair.cleartext.end(b"last words")
        carry(pair.encrypted, std, cut)
        assert (std.received, pair.encrypted.eof, pair.cleartext.eof) == (b"last words", True, False)
        with suppress(ssl.SSLWantReadError):
            std.tls.unwrap()
        carry(pair.encrypted, std, cut)
        assert (pair.cleartext.read(), pair.cleartext.eof) == (b"", True)


@pytest.mark.parametrize("first", ["client", "server"])
def test_closing_works_in_both_orders(version: Version, first: str) -> None:
    """Who has ended can still read."""
    client, server = joined(version)
    one, other = (client, server) if first == "client" else (server, client)
    one.cleartext.end(b"question")
    meet(client, server)
    assert (other.cleartext.read(), other.cleartext.eof) == (b"question", True)
    other.cleartext.end(b"answer")
    meet(client, server)
    assert (one.cleartext.read(), one.cleartext.eof) == (b"answer", True)
    assert one.encrypted.eof
    assert other.encrypted.eof


def test_much_data_passes_in_both_directions(version: Version) -> None:
    """More than the engine gathers at once, written before the handshake, and more than it reads at once."""
    client, server = client_of(version), server_of(version)
    data = bytes(range(251)) * 12_000
    client.cleartext.write(data)
    server.cleartext.write(data[::-1])
    meet(client, server)
    assert server.cleartext.read() == data
    assert client.cleartext.read() == data[::-1]


@pytest.mark.parametrize("cut", [single, random_cuts], ids=["single", "random"])
def test_two_pairs_do_not_mind_cuts(version: Version, cut: Cut) -> None:
    """Of any kind."""
    client, server = client_of(version), server_of(version)
    client.cleartext.write(b"x" * 40_000)
    meet(client, server, cut)
    assert server.cleartext.read() == b"x" * 40_000


def test_secure_is_told_once_when_the_handshake_is_done(version: Version) -> None:
    """Before it nothing is known, and nothing is decrypted."""
    client, server = client_of(version), server_of(version)
    told: list[str | None] = []
    client.on("secure", lambda: told.append(client.cleartext.get_protocol()))
    assert (client.cleartext.secure_connecting, client.cleartext.get_protocol(), client.cleartext.read()) == (True, None, b"")
    meet(client, server)
    client.cleartext.write(b"more")
    meet(client, server)
    assert told == [version]
    assert not client.cleartext.secure_connecting


def test_a_listener_may_use_the_pair() -> None:
    """Even both ends of it."""
    client, server = client_of(), server_of()
    sent: list[bytes] = []
    client.on("secure", lambda: (client.cleartext.write(b"at once"), sent.append(client.encrypted.read()), client.cleartext.read()))
    meet(client, server)
    for data in sent:
        server.encrypted.write(data)
    assert server.cleartext.read() == b"at once"


def test_what_a_listener_raises_comes_out_of_the_call() -> None:
    """It is the caller's code; the connection goes on."""
    client, server = client_of(), server_of()

    def fail() -> None:
        raise KeyError("mine")

    client.once("secure", fail)
    with pytest.raises(KeyError, match="mine"):
        meet(client, server)
    meet(client, server)
    server.cleartext.write(b"still here")
    meet(client, server)
    assert client.cleartext.read() == b"still here"


def test_an_async_listener_raises() -> None:
    """There is no loop for it."""
    client, server = client_of(), server_of()

    async def listen() -> None: ...

    client.on("secure", listen)
    with pytest.raises(tlsio.UsageError, match="loop"):
        meet(client, server)


# ---- who the peer is


@pytest.mark.parametrize("has_context", [False, True])
def test_a_client_refuses_by_default(version: Version, *, has_context: bool) -> None:
    """Options and a context alike: another name, or an unknown authority, ends the handshake."""
    for ca, name, code in (
        (pki.ca1(), "wrong.test", "ERR_TLS_CERT_ALTNAME_INVALID"),
        (pki.ca2(), "localhost", "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
    ):
        trust = {"ca": ca.cert_pem, "max_version": version}
        given: dict[str, Any] = {"context": tlsio.create_secure_context(**trust)} if has_context else trust
        client, server = tlsio.create_secure_pair(servername=name, **given), server_of()
        meet(client, server)
        with pytest.raises(tlsio.CertificateError) as caught:
            client.cleartext.read()
        assert caught.value.code == code


@pytest.mark.parametrize("has_context", [False, True])
def test_a_server_that_asks_refuses_by_default(version: Version, *, has_context: bool) -> None:
    """A client without a certificate."""
    who = pki.localhost()
    own = {"cert": who.cert_pem, "key": who.key_pem}
    given: dict[str, Any] = {"context": tlsio.create_secure_context(**own)} if has_context else own
    client, server = client_of(version), tlsio.create_secure_pair(is_server=True, request_cert=True, **given)
    meet(client, server)
    with pytest.raises(tlsio.PeerError) as caught:
        server.cleartext.read()
    assert caught.value.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"


@pytest.mark.parametrize("context", [None, tlsio.create_secure_context()])
def test_nobody_is_refused_on_request(context: tlsio.SecureContext | None) -> None:
    """By an explicit False; `authorized` says what the check found."""
    client = tlsio.create_secure_pair(context, servername="localhost", reject_unauthorized=False)
    server = server_of()
    meet(client, server)
    assert (client.cleartext.authorized, client.cleartext.authorization_error) == (False, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
    client.cleartext.write(b"anyway")
    meet(client, server)
    assert server.cleartext.read() == b"anyway"


def test_a_refused_server_is_raised_by_the_clear_end(version: Version) -> None:
    """The encrypted one has the alert, and both calls of `error` are told once."""
    client, std = client_of(version, ca=pki.ca2().cert_pem), Std(std_server(pki.localhost(), version=NUMBERS[version]), is_server=True)
    told: list[tlsio.TLSError] = []
    client.on("error", told.append)
    carry(client.encrypted, std)
    for call in (client.cleartext.read, lambda: client.cleartext.write(b"x"), client.cleartext.read):
        with pytest.raises(tlsio.CertificateError) as caught:
            call()
        assert caught.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
        assert [caught.value] == told
    assert std.error is not None
    assert "unknown ca" in str(std.error).lower()
    assert client.encrypted.eof


def test_a_strict_client_needs_a_name() -> None:
    """Nothing could be verified."""
    with pytest.raises(tlsio.UsageError, match="servername"):
        tlsio.create_secure_pair()


def test_a_server_may_ask_for_a_certificate(version: Version) -> None:
    """And see whose it is."""
    who = pki.client()
    client = client_of(version, cert=who.cert_pem, key=who.key_pem)
    server = server_of(version, request_cert=True, reject_unauthorized=True, ca=pki.ca1().cert_pem)
    meet(client, server)
    assert server.cleartext.authorized
    found = server.cleartext.get_peer_certificate()
    assert found is not None
    assert found.raw == who.cert_der


def test_a_client_without_certificate_is_refused(version: Version) -> None:
    """It reads the alert behind its handshake."""
    client, server = client_of(version), server_of(version, request_cert=True, reject_unauthorized=True)
    meet(client, server)
    with pytest.raises(tlsio.PeerError) as caught:
        server.cleartext.read()
    assert caught.value.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
    with pytest.raises(tlsio.AlertReceived):
        client.cleartext.read()


def test_what_the_context_insists_on_holds() -> None:
    """The arguments make it stricter, never laxer."""
    who = pki.localhost()
    context = tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem, request_cert=True, reject_unauthorized=True)
    client, server = client_of(), tlsio.create_secure_pair(context, is_server=True)
    meet(client, server)
    with pytest.raises(tlsio.PeerError) as caught:
        server.cleartext.read()
    assert caught.value.code == "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"


def test_arguments_make_a_context_stricter() -> None:
    """For this pair; the context itself stays what it is."""
    who = pki.localhost()
    context = tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem)
    lax, strict = (tlsio.create_secure_pair(context, is_server=True, request_cert=asks, reject_unauthorized=asks) for asks in (False, True))
    for server, error in ((lax, False), (strict, True)):
        told: list[object] = []
        server.on("error", told.append)
        meet(client_of(), server)
        assert bool(told) is error
    assert context.options.request_cert is None


@pytest.mark.parametrize("asks", [False, True])
def test_sessions_resume_in_the_next_pair(*, asks: bool) -> None:
    """Of the same context with the same arguments."""
    who = pki.localhost()
    context = tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem, max_version="TLSv1.2")
    peer = std_client(ca=pki.ca1(), version=NUMBERS["TLSv1.2"])
    session, reused = None, []
    for _ in range(2):
        server = tlsio.create_secure_pair(context, is_server=True, request_cert=asks, reject_unauthorized=False)
        std = Std(peer, is_server=False, session=session)
        carry(server.encrypted, std)
        session = std.tls.session
        reused.append(server.cleartext.is_session_reused())
    assert reused == [False, True]


# ---- how it ends otherwise


def test_an_end_without_close_notify_is_a_truncation(version: Version) -> None:
    """Told after all that came before it; our own direction is not touched."""
    client, server = joined(version)
    server.cleartext.write(b"half of")
    meet(client, server)
    client.encrypted.write_eof()
    assert client.cleartext.read() == b"half of"
    for _ in range(2):
        with pytest.raises(tlsio.TruncatedError) as caught:
            client.cleartext.read()
        assert caught.value.code == "ERR_TLS_TRUNCATED"
    assert (client.cleartext.eof, client.cleartext.truncated) == (False, True)
    client.cleartext.end(b"I heard")
    server.encrypted.write(client.encrypted.read())
    assert server.cleartext.read() == b"I heard"


def test_a_truncation_may_be_allowed() -> None:
    """Then it is an end as any other."""
    client, server = client_of(allow_truncation=True), server_of()
    meet(client, server)
    client.encrypted.write_eof()
    assert (client.cleartext.read(), client.cleartext.eof) == (b"", True)


def test_an_end_within_the_handshake_is_a_lost_connection() -> None:
    """There is nobody to tell."""
    server = server_of()
    server.encrypted.write(client_of().encrypted.read()[:50])
    server.encrypted.write_eof()
    with pytest.raises(tlsio.ConnectionLostError) as caught:
        server.cleartext.read()
    assert caught.value.code == "ECONNRESET"


def test_bytes_that_are_no_tls_are_told() -> None:
    """With a hint, since it is a usual mistake."""
    server = server_of()
    server.encrypted.write(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(tlsio.HandshakeError) as caught:
        server.cleartext.read()
    assert caught.value.code == "ERR_SSL_HTTP_REQUEST"


def test_data_before_an_error_is_read_first(version: Version) -> None:
    """Then the error, every time."""
    client, server = joined(version)
    server.cleartext.write(b"good")
    meet(client, server)
    server.cleartext.write(b"changed")
    record = server.encrypted.read()
    client.encrypted.write(record[:-1] + bytes([record[-1] ^ 1]))
    assert client.cleartext.read() == b"good"
    for _ in range(2):
        with pytest.raises(tlsio.PeerError) as caught:
            client.cleartext.read()
        assert caught.value.alert == "bad_record_mac"
    client.encrypted.write(b"whatever comes now")
    server.encrypted.write(client.encrypted.read())
    with pytest.raises(tlsio.AlertReceived):
        server.cleartext.read()


def test_an_end_before_the_handshake_waits_for_it() -> None:
    """What was written before it arrives."""
    client, server = client_of(), server_of()
    client.cleartext.end(b"short")
    meet(client, server)
    assert (server.cleartext.read(), server.cleartext.eof) == (b"short", True)


# ---- calls


def test_reads_give_at_most_what_was_asked_for() -> None:
    """The rest stays."""
    client, server = joined()
    client.cleartext.write(b"abcdef")
    assert client.encrypted.pending > 6
    first = client.encrypted.read(5)
    assert len(first) == 5
    assert client.encrypted.read(0) == b""
    server.encrypted.write(first + client.encrypted.read())
    assert (client.encrypted.pending, client.encrypted.eof) == (0, False)
    assert [server.cleartext.read(2), server.cleartext.read(0), server.cleartext.read(), server.cleartext.read(9)] == [
        b"ab",
        b"",
        b"cdef",
        b"",
    ]


def test_write_tells_when_much_waits() -> None:
    """Either side of the mark."""
    client, server = client_of(high_water_mark=10_000), server_of()
    meet(client, server)
    assert client.cleartext.write(b"x" * 5_000)
    assert not client.cleartext.write(b"x" * 5_000)
    assert client.cleartext.writable_length > 10_000
    client.encrypted.read()
    assert client.cleartext.writable_length == 0


def test_writes_after_an_end_raise() -> None:
    """On both ends; a repeated end is fine."""
    client, _server = joined()
    client.cleartext.end().end()
    with pytest.raises(tlsio.UsageError) as caught:
        client.cleartext.write(b"more")
    assert caught.value.code == "ERR_STREAM_WRITE_AFTER_END"
    client.encrypted.write_eof()
    client.encrypted.write_eof()
    with pytest.raises(tlsio.UsageError) as caught:
        client.encrypted.write(b"more")
    assert caught.value.code == "ERR_TLS_INVALID_STATE"


def test_arguments_are_checked() -> None:
    """Bytes are bytes, and sizes numbers."""
    pair = client_of()
    calls: list[Callable[[], object]] = [
        lambda: pair.cleartext.write("text"),  # type: ignore[arg-type]
        lambda: pair.encrypted.write("text"),  # type: ignore[arg-type]
        lambda: pair.cleartext.read("1"),  # type: ignore[arg-type]
        lambda: tlsio.create_secure_pair(is_server=1),  # type: ignore[arg-type]
        lambda: tlsio.create_secure_pair(request_cert=1),  # type: ignore[arg-type]
        lambda: tlsio.create_secure_pair(reject_unauthorized="no"),  # type: ignore[arg-type]
    ]
    for call in calls:
        with pytest.raises(tlsio.UsageError) as caught:
            call()
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"
    with pytest.raises(tlsio.UsageError) as caught:
        pair.encrypted.read(-2)
    assert caught.value.code == "ERR_OUT_OF_RANGE"
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_secure_pair({"cert": b""})  # type: ignore[arg-type]
    assert caught.value.code == "ERR_TLS_INVALID_CONTEXT"


@pytest.mark.parametrize("option", ["handshake_timeout", "hook_timeout", "no_delay", "max_connections", "read_limit"])
def test_options_without_a_meaning_raise(option: str) -> None:
    """Rather than being ignored."""
    with pytest.raises(tlsio.UsageError, match=option) as caught:
        server_of(**{option: None})
    assert caught.value.code == "ERR_TLS_UNKNOWN_OPTION"


def test_a_context_option_beside_a_context_raises() -> None:
    """As everywhere."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_secure_pair(tlsio.create_secure_context(), ciphers="DEFAULT")
    assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"


# ---- hooks


def test_hooks_answer_at_once() -> None:
    """Name, protocol and certificates, on both sides."""
    other, asked = pki.wildcard(), []
    who = pki.client()

    def choose_context(servername: str, pair: Any) -> dict[str, Any]:
        asked.append((servername, pair.client_hello.server_name))
        return {"cert": other.cert_pem, "key": other.key_pem}

    server = server_of(
        sni_callback=choose_context,
        alpn_callback=lambda _name, protocols, _pair: protocols[-1],
        check_client=lambda certificate, _pair: asked.append(certificate.raw),
        request_cert=True,
        ca=pki.ca1().cert_pem,
    )
    client = client_of(
        servername="a.example.com",
        check_server_identity=lambda hostname, certificate: asked.append((hostname, certificate.raw)),
        alpn_protocols=["h2", "http/1.1"],
        cert=who.cert_pem,
        key=who.key_pem,
    )
    meet(client, server)
    assert asked == [("a.example.com", "a.example.com"), ("a.example.com", other.cert_der), who.cert_der]
    assert client.cleartext.alpn_protocol == server.cleartext.alpn_protocol == "http/1.1"


def test_a_hook_may_refuse() -> None:
    """With the alert it chooses."""

    def refuse(_servername: str, _pair: object) -> None:
        raise tlsio.HandshakeError(alert="unrecognized_name")

    client, server = client_of(), server_of(sni_callback=refuse)
    meet(client, server)
    with pytest.raises(tlsio.HandshakeError) as caught:
        server.cleartext.read()
    assert caught.value.alert == "unrecognized_name"
    with pytest.raises(tlsio.AlertReceived) as received:
        client.cleartext.read()
    assert received.value.alert == "unrecognized_name"


@pytest.mark.parametrize("hook", ["sni_callback", "alpn_callback", "check_client", "check_server_identity"])
def test_an_async_hook_raises(hook: str) -> None:
    """At once: it could never be awaited."""

    async def answer(*_args: object) -> None: ...

    make = client_of if hook == "check_server_identity" else server_of
    with pytest.raises(tlsio.UsageError, match=hook) as caught:
        make(**{hook: answer}, request_cert=False)
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize("hook", ["sni_callback", "check_server_identity"])
def test_a_hook_that_turns_out_to_be_async_fails_the_handshake(hook: str) -> None:
    """Closed, with an alert."""

    async def answer() -> None: ...

    hooks = {hook: lambda *_args: answer()}
    client = client_of(**hooks) if hook == "check_server_identity" else client_of()
    server = server_of() if hook == "check_server_identity" else server_of(**hooks)
    mine, other = (client, server) if hook == "check_server_identity" else (server, client)
    meet(client, server)
    with pytest.raises(tlsio.UsageError, match=hook):
        mine.cleartext.read()
    with pytest.raises(tlsio.AlertReceived):
        other.cleartext.read()


# ---- what else it is


def test_it_tells_its_keys(version: Version) -> None:
    """Of the whole handshake, when somebody listens from the start."""
    client, server = client_of(version), server_of(version)
    lines: list[bytes] = []
    client.on("keylog", lines.append)
    meet(client, server)
    first = b"CLIENT_RANDOM" if version == "TLSv1.2" else b"SERVER_HANDSHAKE_TRAFFIC_SECRET"
    assert any(line.startswith(first) for line in lines)


def test_unknown_events_raise() -> None:
    """As everywhere; a listener may be taken away."""
    client, server = client_of(), server_of()
    told: list[str] = []
    listener = client.on("secure", lambda: told.append("secure"))
    client.off("secure", listener)
    meet(client, server)
    assert told == []
    with pytest.raises(tlsio.UsageError) as caught:
        client.on("data", print)
    assert caught.value.code == "ERR_TLS_UNKNOWN_EVENT"


def test_it_has_no_address_and_says_who_it_is() -> None:
    """What it is for, whether it is open, which version."""
    client, server = client_of(), server_of("TLSv1.2")
    assert repr(client) == "<SecurePair client connecting no TLS yet>"
    meet(client, server)
    assert repr(client) == "<SecurePair client open TLSv1.2>"
    assert repr(client.cleartext) == "<Cleartext client open TLSv1.2>"
    assert (client.cleartext.remote_address, client.cleartext.local_port, client.cleartext.address()) == (None, None, {})


@pytest.mark.parametrize("ended", [False, True])
def test_it_is_freed(*, ended: bool) -> None:
    """By counting when it has ended, else by the collector."""
    client, server = joined()
    if ended:
        client.cleartext.end()
        server.cleartext.end()
        meet(client, server)
    gone = weakref.ref(client)
    gc.disable()
    try:
        del client
        assert not ended or gone() is None
    finally:
        gc.enable()
    gc.collect()
    assert gone() is None
