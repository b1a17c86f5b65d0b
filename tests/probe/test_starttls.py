"""The dialogs before TLS: what they accept, what they refuse, how much they read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

import tlsio
from faulty_servers import ours
from tlsio import probe
from tlsio.probe.starttls import PROTOCOLS, ask_for_tls

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LDAP_OK = bytes.fromhex("300c02010178070a010004000400")
LDAP_LONG = bytes.fromhex("30840000001002010178840000 00070a01000400 0400".replace(" ", ""))
LDAP_REFUSED = bytes.fromhex("300c02010178070a013404000400")


def mysql(capabilities: int = 0xFFFF) -> bytes:
    """Return a greeting of MySQL."""
    packet = b"\x0a10.11.6-MariaDB\0" + bytes(4) + b"12345678\0" + capabilities.to_bytes(2, "little") + bytes(30)
    return len(packet).to_bytes(3, "little") + b"\0" + packet


FEATURES = b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:features>"
OPENING = b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'>"

# What a server says, by turns: first its greeting, then an answer to each thing that the client says.
TALKS: dict[str, list[bytes]] = {
    "smtp": [b"220-mail.test\r\n220 ESMTP\r\n", b"250-mail.test\r\n250-SIZE 1000\r\n250 starttls\r\n", b"220 go ahead\r\n"],
    "imap": [b"* OK ready\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\na OK done\r\n", b"b OK begin\r\n"],
    "pop3": [b"+OK ready\r\n", b"+OK\r\nUIDL\r\nSTLS\r\n.\r\n", b"+OK begin\r\n"],
    "ftp": [b"220-one\r\n two\r\n220 three\r\n", b"234 begin\r\n"],
    "ldap": [b"", LDAP_OK],
    "postgres": [b"", b"S"],
    "mysql": [mysql()],
    "xmpp": [b"", OPENING + FEATURES, b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"],
}


@asynccontextmanager
async def server(turns: list[bytes]) -> AsyncIterator[socket.socket]:
    """Give the client's end of a conversation; what is said is cut into single bytes."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    far.setblocking(False)  # noqa: FBT003
    loop = asyncio.get_running_loop()

    async def talk() -> None:
        for at, turn in enumerate(turns):
            if at and not await loop.sock_recv(far, 4096):
                return
            for start in range(len(turn)):
                await loop.sock_sendall(far, turn[start : start + 1])

    task = asyncio.create_task(talk())
    try:
        yield near
    finally:
        task.cancel()
        await asyncio.wait([task])
        near.close()
        far.close()


async def refusal(protocol: str, turns: list[bytes]) -> tlsio.TLSError:
    """Ask, and return why that failed."""
    async with server(turns) as near:
        with pytest.raises(tlsio.TLSError) as caught:
            await ask_for_tls(near, protocol, "host.test")
    return caught.value


def test_every_dialog_is_tested() -> None:
    """The table has them all."""
    assert set(TALKS) == set(PROTOCOLS)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_consent_is_understood(protocol: str) -> None:
    """Byte by byte, too."""
    async with server(TALKS[protocol]) as near:
        await ask_for_tls(near, protocol, "host.test")


async def test_ldap_reads_lengths_in_the_long_form() -> None:
    """Active Directory writes them so."""
    async with server([b"", LDAP_LONG]) as near:
        await ask_for_tls(near, "ldap", "host.test")


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_what_follows_the_consent_is_refused(protocol: str) -> None:
    """It would look like an answer under the protection of TLS."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    with near, far:
        *before, last = TALKS[protocol]
        far.sendall(b"".join(before) + last + b"injected\r\n")  # in one piece: it is read together
        with pytest.raises(tlsio.HandshakeError) as caught:
            await ask_for_tls(near, protocol, "host.test")
    assert caught.value.code == "ERR_TLS_STARTTLS_INJECTION"


@pytest.mark.parametrize(
    ("protocol", "turns"),
    [
        ("smtp", [b"220 mail\r\n", b"250-mail\r\n250 SIZE 1\r\n"]),
        ("imap", [b"* OK ready\r\n", b"* CAPABILITY IMAP4rev1\r\na OK done\r\n"]),
        ("pop3", [b"+OK ready\r\n", b"+OK\r\nUIDL\r\n.\r\n"]),
        ("postgres", [b"", b"N"]),
        ("mysql", [mysql(0xF7FF)]),
        ("xmpp", [b"", OPENING + b"<stream:features/>"]),
    ],
)
async def test_a_missing_offer_is_reported(protocol: str, turns: list[bytes]) -> None:
    """And nothing goes on in plaintext."""
    assert (await refusal(protocol, turns)).code == "ERR_TLS_STARTTLS_MISSING"


@pytest.mark.parametrize(
    ("protocol", "turns"),
    [
        ("smtp", [*TALKS["smtp"][:2], b"454 no certificate\r\n"]),
        ("smtp", [b"554 go away\r\n"]),
        ("imap", [b"* PREAUTH welcome\r\n"]),
        ("imap", [*TALKS["imap"][:2], b"b NO not now\r\n"]),
        ("pop3", [*TALKS["pop3"][:2], b"-ERR not now\r\n"]),
        ("pop3", [b"+OK\r\n", b"-ERR what\r\n", b"-ERR what\r\n"]),
        ("ftp", [b"220 hello\r\n", b"530 not implemented\r\n"]),
        ("ldap", [b"", LDAP_REFUSED]),
        ("mysql", [b"\x05\x00\x00\x00\xff\x10\x04no"]),
        ("xmpp", [b"", OPENING + FEATURES, b"<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"]),
        ("xmpp", [b"", OPENING + b"<stream:error><host-unknown/></stream:error>"]),
    ],
)
async def test_a_refusal_is_reported(protocol: str, turns: list[bytes]) -> None:
    """With the server's words."""
    assert (await refusal(protocol, turns)).code == "ERR_TLS_STARTTLS_REFUSED"


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_another_protocol_is_recognised(protocol: str) -> None:
    """Whatever is awaited, this is not it; PostgreSQL's consent, though, is any S."""
    error = await refusal(protocol, [b"SSH-2.0-OpenSSH_9.2>\r\n" + bytes(64)] * 2)
    ends = {"ERR_TLS_STARTTLS_INJECTION"} if protocol == "postgres" else {"ERR_TLS_STARTTLS_PROTOCOL", "ERR_TLS_STARTTLS_LIMIT"}
    assert error.code in ends


@pytest.mark.parametrize(
    "flood", [b"220-again and again\r\n", b"* OK and so on\r\n", b"+OK\r\n", b"<a>", b"x", b"\x30\x84\x7f\xff\xff\xff"]
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_hostile_server_is_read_no_further_than_the_limit(protocol: str, flood: bytes) -> None:
    """A million bytes are ready; the dialog ends long before."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    far.setblocking(False)  # noqa: FBT003
    with near:

        async def pour() -> int:
            sent = 0
            try:
                while sent < 1_000_000:
                    await asyncio.get_running_loop().sock_sendall(far, flood * 1000)
                    sent += 1000 * len(flood)
            except OSError:
                return sent
            finally:
                far.close()
            return sent

        pouring = asyncio.create_task(pour())
        with pytest.raises((tlsio.TLSError, OSError)):
            await ask_for_tls(near, protocol, "host.test")
        near.close()
        assert await pouring < 1_000_000


async def test_an_early_end_is_reported() -> None:
    """As a lost connection."""
    near, far = socket.socketpair()
    near.setblocking(False)  # noqa: FBT003
    with near:
        far.close()
        with pytest.raises(tlsio.ConnectionLostError):
            await ask_for_tls(near, "smtp", "host.test")


async def test_server_that_does_not_greet_may_use_tls_from_the_start() -> None:
    """It waits for the client, which waits for its greeting."""
    async with ours() as port:
        with pytest.raises(tlsio.HandshakeTimeoutError) as caught:
            await probe.connect("localhost", port, starttls="smtp", timeout=0.2)
        seen = await probe.examine("localhost", port, starttls="smtp", timeout=0.2)
    assert "leave starttls= out" in (caught.value.hint or "")
    assert [(one.id, "leave starttls= out" in one.remedy) for one in seen.findings] == [("silent", True)]
