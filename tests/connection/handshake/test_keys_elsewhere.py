"""Private keys that live elsewhere: both sides, all handshakes, and everything that can go wrong with a signature."""

from __future__ import annotations

import asyncio
import gc
import random
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

import pki
import tlsio
from external_keys import AsyncSigner, HeldSigner, OddSigner, Signer, run_program
from net import once
from seeds import new_seed
from tlsio.native._core import KEY_LIMIT, has_room_to_sign

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

SIGNERS = {"sync": Signer, "async": AsyncSigner}
SERVER: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True}


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so."""
    while not condition():  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0.01)


async def greet(net: Net, server: tlsio.Server, **options: Any) -> tlsio.TLSSocket:
    """Connect, and hear the server out."""
    opened = once(server, "secure_connection")
    sock = await net.connect(server, **options)
    peer = await opened
    peer.write(b"welcome")
    assert await sock.read() == b"welcome"
    return sock


async def leave(sock: tlsio.TLSSocket) -> None:
    """Close it at once."""
    sock.destroy()
    await sock.wait_closed()


@pytest.mark.parametrize("how", SIGNERS)
async def test_both_sides_sign_elsewhere(net: Net, how: str) -> None:
    """Each is asked once."""
    ours, theirs = SIGNERS[how](pki.localhost().key), SIGNERS[how](pki.agent1().key)
    async with net.serve(**SERVER, key=ours) as server:
        sock = await greet(net, server, cert=pki.agent1().cert_pem, key=theirs)
        assert sock.authorized
        await leave(sock)
    assert [scheme for scheme, _ in ours.calls] == ["ecdsa_secp256r1_sha256"]
    assert [scheme for scheme, _ in theirs.calls] == ["ecdsa_secp256r1_sha256"]


@pytest.mark.parametrize(("sigalgs", "scheme"), [(None, "rsa_pss_rsae_sha256"), ("RSA+SHA256", "rsa_pkcs1_sha256")])
async def test_rsa_keys(net: Net, sigalgs: str | None, scheme: str) -> None:
    """PSS, and up to TLS 1.2 PKCS #1."""
    if sigalgs and net.version == "TLSv1.3":
        pytest.skip("TLS 1.3 has no PKCS #1 (RFC 8446 section 4.2.3)")
    who = pki.localhost_rsa()
    signer = AsyncSigner(who.key)
    async with net.serve(cert=who.cert_pem, key=signer) as server:
        sock = await greet(net, server, **({"sigalgs": sigalgs} if sigalgs else {}), reject_unauthorized=False)
        await leave(sock)
    assert [one for one, _ in signer.calls] == [scheme]


async def test_resumption_needs_no_signature(net: Net) -> None:
    """The second connection resumes the session of the first."""
    signer = AsyncSigner(pki.localhost().key)
    cache = tlsio.ClientSessionCache()
    async with net.serve(key=signer) as server:
        await leave(await greet(net, server, session_cache=cache))
        sock = await greet(net, server, session_cache=cache)
        assert sock.is_session_reused()
        await leave(sock)
    assert len(signer.calls) == 1


async def test_other_connections_do_not_wait(net: Net) -> None:
    """While one handshake waits for its signature, one under another name is made."""
    signer = HeldSigner(pki.localhost().key)
    async with net.serve() as server:
        server.add_context("slow.test", tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=signer))
        waiting = asyncio.create_task(net.connect(server, servername="slow.test", check_server_identity=lambda *_: None))
        await signer.asked.wait()
        await leave(await greet(net, server))
        assert not waiting.done()
        signer.released.set()
        await leave(await waiting)
    assert len(signer.calls) == 1


async def test_context_may_be_replaced_while_it_signs(net: Net) -> None:
    """The handshake goes on with the old one; the next has the new one."""
    signer = HeldSigner(pki.localhost().key)
    async with net.serve(key=signer) as server:
        waiting = asyncio.create_task(net.connect(server))
        await signer.asked.wait()
        server.set_secure_context(cert=pki.localhost().cert_pem, key=pki.localhost().key_pem)
        await leave(await greet(net, server))
        signer.released.set()
        await leave(await waiting)


async def test_source_may_have_keys_elsewhere(net: Net) -> None:
    """A context source answers with such a context."""
    signer = AsyncSigner(pki.localhost().key)
    context = tlsio.create_secure_context(
        cert=pki.localhost().cert_pem, key=signer, ca=pki.ca1().cert_pem, min_version=net.version, max_version=net.version
    )

    class Source:
        async def context_for(self, _name: str | None) -> tlsio.SecureContext:
            return context

    async with net.serve(secure_context=Source()) as server:
        await leave(await greet(net, server))
    assert len(signer.calls) == 1


async def test_key_cert_of_a_connection(net: Net) -> None:
    """A hook may set a certificate whose key is elsewhere."""
    signer = AsyncSigner(pki.localhost().key)
    context = tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=signer)
    async with net.serve(alpn_callback=lambda _n, offered, sock: (sock.set_key_cert(context), offered[0])[1]) as server:
        await leave(await greet(net, server, alpn_protocols=["a"]))
    assert len(signer.calls) == 1


async def test_later_request_signs_again(net: Net) -> None:
    """Renegotiation in TLS 1.2, post-handshake authentication in TLS 1.3."""
    theirs = AsyncSigner(pki.agent1().key)
    async with net.serve(**(SERVER | {"request_cert": False})) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, cert=pki.agent1().cert_pem, key=theirs)
        peer = await opened
        assert theirs.calls == []
        reading = asyncio.create_task(sock.read())
        await peer.renegotiate(request_cert=True)
        assert peer.authorized
        peer.write(b"now")
        assert await reading == b"now"
        await leave(sock)
    assert len(theirs.calls) == 1


# ---- what may go wrong


def _wrong(signature: bytes) -> bytes:
    return signature[:-1] + bytes([signature[-1] ^ 1])


def _raw(signature: bytes) -> bytes:
    r, s = decode_dss_signature(signature)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _raise(_signature: bytes) -> bytes:
    raise LookupError("the token was removed")


CASES: dict[str, tuple[Callable[[bytes], Any], type[tlsio.TLSError], str, str]] = {
    "wrong": (_wrong, tlsio.ConfigError, "ERR_TLS_WRONG_SIGNATURE", "not a signature of the message by the key"),
    "raw": (_raw, tlsio.ConfigError, "ERR_TLS_WRONG_SIGNATURE", "encode_dss_signature"),
    "empty": (lambda _: b"", tlsio.ConfigError, "ERR_TLS_WRONG_SIGNATURE", "returned 0 bytes"),
    "long": (lambda _: bytes(5000), tlsio.ConfigError, "ERR_TLS_WRONG_SIGNATURE", "has at most 72"),
    "type": (lambda one: one.hex(), tlsio.UsageTypeError, "ERR_INVALID_ARG_TYPE", "must return bytes, got str"),
    "none": (lambda _: None, tlsio.UsageTypeError, "ERR_INVALID_ARG_TYPE", "must return bytes, got NoneType"),
    "raises": (_raise, tlsio.HandshakeError, "ERR_TLS_HOOK_FAILED", "LookupError: the token was removed"),
}


@pytest.mark.parametrize("case", CASES)
async def test_bad_signature_is_a_local_error(net: Net, case: str, loop_errors: list[Any]) -> None:
    """It is never sent: the client gets internal_error."""
    what, kind, code, words = CASES[case]
    async with net.serve(key=OddSigner(pki.localhost().key, what)) as server:
        error, got = await net.refused(server)
        assert isinstance(error, kind)
        assert error.code == code
        assert "key.sign('ecdsa_secp256r1_sha256')" in str(error)
        assert words in f"{error} {error.hint}"
        assert error.alert == "internal_error"
        assert got.alert == "internal_error"
    loop_errors.clear()


@pytest.mark.parametrize("case", ["wrong", "raises", "type"])
async def test_bad_signature_of_a_client(net: Net, case: str, loop_errors: list[Any]) -> None:
    """`connect` raises it."""
    what, kind, code, words = CASES[case]
    async with net.serve(**SERVER) as server:
        told = once(server, "tls_client_error")
        with pytest.raises(kind, match=r"key\.sign") as caught:
            await net.connect(server, cert=pki.agent1().cert_pem, key=OddSigner(pki.agent1().key, what))
        assert caught.value.code == code
        assert words in f"{caught.value} {caught.value.hint}"
        assert (await told)[0].alert in {"internal_error", None}
    loop_errors.clear()


async def test_signature_of_another_key(net: Net, loop_errors: list[Any]) -> None:
    """The object has no public key, so the first signature shows it."""
    async with net.serve(key=Signer(pki.agent1().key)) as server:
        error, _ = await net.refused(server)
        assert error.code == "ERR_TLS_WRONG_SIGNATURE"  # type: ignore[attr-defined]
    loop_errors.clear()


async def test_signature_without_its_zero_bytes(net: Net, loop_errors: list[Any]) -> None:
    """OpenSSL would accept it, other peers would not (RFC 8017 section 8.1.2)."""
    who = pki.localhost_rsa()

    class Stripping(Signer):
        def sign(self, scheme: str, message: bytes) -> bytes:
            while True:  # PSS is random
                if (signature := super().sign(scheme, message)).startswith(b"\0"):
                    return signature.lstrip(b"\0")

    async with net.serve(cert=who.cert_pem, key=Stripping(who.key)) as server:
        error, _ = await net.refused(server, reject_unauthorized=False)
        assert error.code == "ERR_TLS_WRONG_SIGNATURE"  # type: ignore[attr-defined]
        assert "keep its leading zero bytes" in str(error.hint)  # type: ignore[attr-defined]
    loop_errors.clear()


async def test_key_that_never_answers(net: Net, loop_errors: list[Any]) -> None:
    """hook_timeout ends it, and cancels the call."""
    signer = HeldSigner(pki.localhost().key)
    async with net.serve(key=signer, hook_timeout=0.02) as server:
        error, got = await net.refused(server)
        assert error.code == "ERR_TLS_HOOK_TIMEOUT"  # type: ignore[attr-defined]
        assert "key.sign('ecdsa_secp256r1_sha256') did not return within hook_timeout" in str(error)
        assert got.alert == "internal_error"
    assert signer.cancelled == 1
    loop_errors.clear()


async def test_handshake_timeout_ends_a_wait(net: Net) -> None:
    """The call is cancelled."""
    signer = HeldSigner(pki.localhost().key)
    async with net.serve(key=signer, handshake_timeout=0.05) as server:
        error, _ = await net.refused(server)
        assert isinstance(error, tlsio.HandshakeTimeoutError)
    await asyncio.sleep(0)
    assert signer.cancelled == 1


async def test_peer_goes_while_it_signs(net: Net) -> None:
    """The call is cancelled; nothing is left."""
    signer = HeldSigner(pki.localhost().key)
    async with net.serve(key=signer) as server:
        told = once(server, "tls_client_error")
        waiting = asyncio.create_task(net.connect(server))
        await signer.asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        await told
        await asyncio.sleep(0)
    assert signer.cancelled == 1


async def test_server_closes_while_it_signs(net: Net) -> None:
    """Its connections end."""
    signer = HeldSigner(pki.localhost().key)
    async with net.serve(key=signer) as server:
        waiting = asyncio.create_task(net.connect(server))
        await signer.asked.wait()
    with pytest.raises((tlsio.TLSError, OSError)):
        await waiting
    assert signer.cancelled == 1


async def test_client_is_cancelled_while_it_signs(net: Net) -> None:
    """So is the call."""
    signer = HeldSigner(pki.agent1().key)
    async with net.serve(**SERVER) as server:
        waiting = asyncio.create_task(net.connect(server, cert=pki.agent1().cert_pem, key=signer))
        await signer.asked.wait()
        waiting.cancel()
        await asyncio.wait([waiting])
        await asyncio.sleep(0.01)
    assert signer.cancelled == 1


def test_loop_is_closed_while_it_signs() -> None:
    """The connections are freed without it."""

    async def run() -> None:
        signer = HeldSigner(pki.localhost().key)
        server = tlsio.create_server(cert=pki.localhost().cert_pem, key=signer)
        await server.listen(0, "127.0.0.1")
        task = asyncio.create_task(tlsio.connect(server.port or 0, "127.0.0.1", ca=pki.ca1().cert_pem, servername="localhost"))
        await signer.asked.wait()
        task.cancel()
        await asyncio.wait([task])
        server.close(0)
        await server.wait_closed()

    asyncio.run(run())
    gc.collect()


async def test_key_is_released_with_its_last_connection(net: Net) -> None:
    """A connection outlives its context."""
    signer = AsyncSigner(pki.agent1().key)
    alive = weakref.ref(signer)
    options = net.client_options(cert=pki.agent1().cert_pem, key=signer)
    context = tlsio.create_secure_context(**options)
    del options, signer
    async with net.serve(**SERVER) as server:
        sock = await greet(net, server, secure_context=context)
        del context
        await leave(sock)
        del sock
        for _ in range(20):  # the driver's task ends
            await asyncio.sleep(0)
        gc.collect()  # once: among thousands of tests it takes more than a second
        assert alive() is None


# ---- many at once


@pytest.mark.slow
async def test_thousands_wait_in_line(net: Net) -> None:
    """More than a thread has stacks for: all are served, and each signature is asked for once."""
    if not net.is_native:
        pytest.skip("one driver suffices")
    count = KEY_LIMIT + 150
    signer = HeldSigner(pki.localhost().key)
    async with net.serve(key=signer, handshake_timeout=None, hook_timeout=None) as server:
        tasks = [asyncio.create_task(net.connect(server, handshake_timeout=None)) for _ in range(count)]
        await until(lambda: not has_room_to_sign())
        await asyncio.sleep(0.2)
        assert len(signer.calls) == KEY_LIMIT
        tasks[0].cancel()
        signer.released.set()
        done = await asyncio.gather(*tasks[1:])
        assert len(done) == count - 1
        for sock in done:
            sock.destroy()
        await asyncio.gather(*(sock.wait_closed() for sock in done))
    assert KEY_LIMIT <= len(signer.calls) <= count


# ---- in memory, after a fork, at the end


def test_pair_signs_at_once() -> None:
    """A SecurePair has no loop."""
    signer = Signer(pki.localhost().key)
    context = tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=signer)
    server = tlsio.create_secure_pair(context, is_server=True)
    client = tlsio.create_secure_pair(servername="localhost", ca=pki.ca1().cert_pem)
    for _ in range(6):
        server.encrypted.write(client.encrypted.read() or b"")
        client.encrypted.write(server.encrypted.read() or b"")
    client.cleartext.write(b"hello")
    server.encrypted.write(client.encrypted.read() or b"")
    assert server.cleartext.read() == b"hello"
    assert len(signer.calls) == 1


def test_pair_cannot_wait() -> None:
    """The error says so."""
    context = tlsio.create_secure_context(cert=pki.localhost().cert_pem, key=AsyncSigner(pki.localhost().key))
    server = tlsio.create_secure_pair(context, is_server=True)
    client = tlsio.create_secure_pair(servername="localhost", ca=pki.ca1().cert_pem)
    server.encrypted.write(client.encrypted.read() or b"")
    with pytest.raises(tlsio.UsageTypeError, match=r"key\.sign\('ecdsa_secp256r1_sha256'\) must not be async"):
        server.cleartext.read()


PROGRAM = """
import asyncio, os, sys
import tlsio

class Never:
    async def sign(self, scheme, message):
        asked.set()
        await asyncio.Event().wait()

async def main():
    global asked
    asked = asyncio.Event()
    cert, ca = sys.stdin.read().split("|")
    server = tlsio.create_server(cert=cert, key=Never())
    await server.listen(0, "127.0.0.1")
    task = asyncio.create_task(tlsio.connect(server.port, "127.0.0.1", servername="localhost", ca=ca))
    await asked.wait()
    if sys.argv[1] == "fork":
        if not (child := os.fork()):
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
    sys.exit(0)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["fork", "exit"])
def test_process_ends_while_it_signs(how: str) -> None:
    """Parent and child end in good order."""
    run_program(PROGRAM, how)


# ---- random acts


class Moody(Signer):
    """Signs well, wrongly, late, never, or raises."""

    def __init__(self, key: Any, chance: random.Random) -> None:
        super().__init__(key)
        self.chance = chance

    async def sign(self, scheme: str, message: bytes) -> Any:
        """Return something."""
        signature = super().sign(scheme, message)
        mood = self.chance.randrange(8)
        if mood in {0, 1}:
            await asyncio.sleep(self.chance.random() / 20)
        if mood == 2:
            raise LookupError("a bad mood")
        if mood == 3:
            await asyncio.Event().wait()
        return {4: _wrong(signature), 5: None}.get(mood, signature)


@pytest.mark.slow
async def test_random_moods_leave_nothing(net: Net, loop_errors: list[Any]) -> None:
    """Whatever signers and clients do, each connection ends, and those with a good signature talk."""
    chance = random.Random(new_seed())  # noqa: S311 - no secret

    async def visit(server: tlsio.Server) -> None:
        async def talk() -> None:
            client = (
                {"cert": pki.agent1().cert_pem, "key": Moody(pki.agent1().key, chance), "hook_timeout": 0.1}
                if chance.random() < 0.5
                else {}
            )
            async with await net.connect(server, **client) as socket:
                await socket.read()

        task = asyncio.create_task(talk())
        if chance.random() < 0.2:
            await asyncio.sleep(chance.random() / 20)
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def greet_it(socket: tlsio.TLSSocket) -> None:
        socket.end(b"hello")

    server_options = SERVER | {"reject_unauthorized": False, "key": Moody(pki.localhost().key, chance), "hook_timeout": 0.1}
    async with net.serve(greet_it, **server_options) as server:
        server.on("tls_client_error", lambda *_: None)
        for _ in range(10):
            await asyncio.gather(*(visit(server) for _ in range(12)))
        server.set_secure_context(cert=pki.localhost().cert_pem, key=pki.localhost().key_pem)
        await leave(await net.connect(server))
    assert has_room_to_sign()
    loop_errors.clear()
