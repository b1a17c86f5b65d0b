"""Mistakes that newcomers make: each is named, with the remedy."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import warnings
from typing import Any

import pytest
from cryptography import x509

import pki
import tlsio


def test_an_empty_session_cache_is_true() -> None:
    """`cache or ClientSessionCache()` must not replace one that has no sessions yet."""
    cache = tlsio.ClientSessionCache()
    assert len(cache) == 0
    assert cache


def test_session_caches_are_not_copied() -> None:
    """They hold secrets."""
    for copied in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(tlsio.UsageError, match="secrets"):
            copied(tlsio.ClientSessionCache())


def test_a_forgotten_await_names_connect() -> None:
    """And not one of our own functions."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        tlsio.connect(1, "localhost")
        gc.collect()
    assert [str(one.message) for one in found] == ["coroutine 'tlsio.connect' was never awaited"]


def test_with_says_async_with() -> None:
    """No second warning about an await."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match="async with"), tlsio.connect(1, "localhost"):
            pass
        gc.collect()


async def test_unknown_events_list_the_known_ones() -> None:
    """In `on=` and in `on`."""
    with pytest.raises(tlsio.UsageError, match=r"(?s)'bogus'.*close, data, drain"):
        tlsio.connect(1, "localhost", on={"bogus": print})
    with pytest.raises(tlsio.UsageError, match=r"(?s)'bogus'.*check_client, client_error, close"):
        tlsio.create_server().on("bogus", print)  # type: ignore[call-overload]


def run_without_asyncio(coroutine: Any) -> None:
    """Step a coroutine as another library's loop would."""
    try:
        coroutine.send(None)
    finally:
        coroutine.close()


@pytest.mark.parametrize(
    "start",
    [
        lambda: run_without_asyncio(tlsio.connect(1, "localhost")),
        lambda: run_without_asyncio(tlsio.open_connection("localhost", 1)),
        lambda: run_without_asyncio(tlsio.create_connection(asyncio.Protocol, "localhost", 1)),
        lambda: run_without_asyncio(tlsio.start_server(lambda _reader, _writer: None, "localhost", 0)),
        lambda: run_without_asyncio(tlsio.create_tls_server(asyncio.Protocol, "localhost", 0)),
        lambda: run_without_asyncio(tlsio.create_server().listen(0, "localhost")),
        lambda: tlsio.TLSSocket((None, None), servername="localhost"),
    ],
    ids=["connect", "open_connection", "create_connection", "start_server", "create_tls_server", "listen", "TLSSocket"],
)
def test_without_a_loop_the_error_names_the_way(start: Any) -> None:
    """asyncio.run, or SecurePair without asyncio."""
    with pytest.raises(tlsio.UsageError) as caught:
        start()
    assert caught.value.code == "ERR_TLS_NO_LOOP"
    assert "asyncio.run" in (caught.value.hint or "")
    assert "SecurePair" in (caught.value.hint or "")


async def test_another_thread_is_refused_with_the_remedy() -> None:
    """Calls that touch the loop, and they change nothing."""
    who = pki.localhost()

    async def answer(sock: tlsio.TLSSocket) -> None:
        await sock.send(await sock.read())

    async with tlsio.serve(answer, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server:
        sock = await tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem)
        transport, protocol = await tlsio.create_connection(asyncio.Protocol, "localhost", server.port, ca=pki.ca1().cert_pem)
        calls = (
            sock.close, sock.end, sock.destroy, sock.pause, sock.resume, lambda: sock.write(b"x"), lambda: sock.set_timeout(1),
            lambda: transport.write(b"x"), transport.close, transport.abort, transport.pause_reading, transport.write_eof,
            lambda: transport.set_protocol(asyncio.Protocol()),
        )  # fmt: skip
        for call in calls:
            with pytest.raises(tlsio.UsageError) as caught:
                await asyncio.to_thread(call)
            assert caught.value.code == "ERR_TLS_WRONG_THREAD"
            assert "call_soon_threadsafe" in (caught.value.hint or "")
        assert not transport.is_closing()
        assert transport.is_reading()
        assert transport.get_protocol() is protocol
        transport.abort()
        await sock.send(b"still open")
        assert await sock.read() == b"still open"
        await sock.aclose()


async def test_names_of_a_certificate_without_surprises() -> None:
    """A repeated attribute is a list in the mapping, as in Node, and always a tuple beside it; URIs have an accessor."""
    uri = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://example/service"), x509.DNSName("localhost")])
    who = pki.leaf("localhost", issuer=pki.ca1(), units=["One", "Two"], extensions=[uri])
    async with (
        tlsio.serve(lambda sock: sock.read(), 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem) as server,
        tlsio.connect(server.port, "localhost", ca=pki.ca1().cert_pem) as sock,
    ):
        certificate = sock.get_peer_certificate()
        assert certificate is not None
        assert certificate["subject"]["OU"] == ["One", "Two"]
        assert certificate.subject_name.values("OU") == ("One", "Two")
        assert certificate.subject_name.values("CN") == ("localhost",)
        assert certificate.subject_name.values("L") == ()
        assert certificate.uris == ("spiffe://example/service",)
        assert [(one.kind, one.text) for one in certificate.general_names] == [("URI", "spiffe://example/service"), ("DNS", "localhost")]
