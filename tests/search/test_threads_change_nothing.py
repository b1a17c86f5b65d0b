"""Random servers and clients, with handshake threads and without: events, statistics and what clients see are the same.

The clients are the standard library's. `SEED=17 pytest tests/search/test_threads_change_nothing.py` runs one case again; `FIRST=`
and `MANY=` choose others.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import ssl
from dataclasses import astuple, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import dial, until
from tlsio.session.memory_store import MemorySessionStore

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

FIRST, MANY = int(os.environ.get("FIRST", "0")), int(os.environ.get("MANY", "40"))
SEEDS = range(FIRST, FIRST + MANY) if "SEED" not in os.environ else [int(os.environ["SEED"])]
SIZE = 5
VERSIONS = {2: "TLSv1.2", 3: "TLSv1.3"}
NOT_TLS = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"abcdefghijklmnopqrst",
    b"\x15\x03\x03\x00\x02\x02\x28",
    b"\x16\x03\x01\xff\xff",
    b"\x80\x2e\x01",
    b"",
)


@dataclass(frozen=True)
class Setting:
    """The server of a case."""

    versions: tuple[int, int]
    groups: str | None
    clients: str
    protocols: str
    mismatch: str
    names: str
    check: str
    store: str
    staple: str
    listens: frozenset[str]
    plain: bool
    limited: bool


@dataclass(frozen=True)
class Visit:
    """One client."""

    versions: tuple[int, int]
    name: str | None
    protocols: tuple[str, ...]
    certificate: str
    curve: str | None
    ciphers: str | None
    resumes: bool
    cut: int
    early: bool
    leaves_at: int
    stays: bool


Act = Visit | bytes | tuple[str, int]


def compose(seed: int) -> tuple[Setting, list[Act]]:
    """Make the case of a seed."""
    rng = random.Random(seed)  # noqa: S311 - a seeded choice
    setting = Setting(
        versions=rng.choice([(2, 3), (2, 3), (2, 2), (3, 3)]),
        groups=rng.choice([None, "X25519", "P-256", "P-384:X25519"]),  # those without X25519 need a HelloRetryRequest
        clients=rng.choice(["", "", "asked", "needed", "listed"]),
        protocols=rng.choice(["", "list", "sync", "async", "failing"]),
        mismatch=rng.choice(["alert", "continue"]),
        names=rng.choice(["", "table", "table", "sync", "async", "failing", "source", "async source"]),
        check=rng.choice(["", "", "sync", "async", "failing"]),
        store=rng.choice(["", "", "memory", "sync", "async"]),
        staple=rng.choice(["", "", "sync", "async"]),
        listens=frozenset(event for event in ("keylog", "connection", "tls_client_error") if rng.random() < 0.4),
        plain=rng.random() < 0.2,
        limited=rng.random() < 0.2,
    )
    return setting, [_act(rng) for _ in range(rng.randint(3, 9))]


def _act(rng: random.Random) -> Act:
    kind = rng.random()
    if kind < 0.1:
        return rng.choice(NOT_TLS)
    if kind < 0.25:
        return rng.choice(["rotate", "default", "add", "remove"]), rng.randrange(3)
    return Visit(
        versions=rng.choice([(2, 3), (2, 3), (2, 2), (3, 3)]),
        name=rng.choice(["localhost", "localhost", "other.example", "unknown.example", None]),
        protocols=rng.choice([(), ("h2",), ("http/1.1", "h2"), ("zz",)]),
        certificate=rng.choice(["", "client", "client", "revoked", "expired", "self_signed"]),
        curve=rng.choice([None, None, None, "prime256v1", "secp384r1"]),
        ciphers=rng.choice([None, None, None, None, "ECDHE-RSA-AES128-GCM-SHA256"]),
        resumes=rng.random() < 0.6,
        cut=rng.choice([1 << 20, 1 << 20, 500, 60, 7]),
        early=rng.random() < 0.5,
        leaves_at=rng.choice([0, 0, 0, 0, 0, 1, 5, 100, 300, 600]),
        stays=rng.random() < 0.15,
    )


@cache
def _contexts() -> tuple[tlsio.SecureContext, ...]:
    return tuple(
        tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem) for who in (pki.localhost(), pki.agent3(), pki.localhost_rsa())
    )


def _hook(manner: str, answer: Callable[..., Any]) -> Callable[..., Any]:
    """Return a hook that answers at once, later, or not at all."""

    async def later(*given: Any) -> Any:
        await asyncio.sleep(0)
        return answer(*given)

    def fail(*_given: Any) -> Any:
        raise KeyError("a hook's mistake")

    return {"async": later, "failing": fail}.get(manner.removesuffix(" source"), answer)


class Case:
    """One server, its clients one after the other, and what both have seen."""

    def __init__(self, setting: Setting, folder: Path) -> None:
        self.setting = setting
        self.seen: list[list[Any]] = [[]]
        self._folder = folder
        self._sessions: dict[bytes, bytes] = {}
        self._resumable: tuple[ssl.SSLContext, ssl.SSLSession | None] | None = None
        self._staying: list[socket.socket] = []
        self._dialled = self._begun = self._ended = 0

    def _note(self, *event: Any) -> None:
        self.seen[-1].append(event)

    def _noted(self, name: str, answer: Any = None) -> Callable[..., Any]:
        """Return a hook's function that notes what it is called with, but for sockets and certificates."""

        def call(*given: Any) -> Any:
            self._note(name, *(one for one in given if isinstance(one, str | list)))
            return answer(*given) if callable(answer) else answer

        return call

    # ---- the server

    def _options(self) -> dict[str, Any]:
        setting = self.setting
        context: dict[str, Any] = {
            "min_version": VERSIONS[setting.versions[0]],
            "max_version": VERSIONS[setting.versions[1]],
            "ecdh_curve": setting.groups or "auto",
            "request_cert": bool(setting.clients),
            "ticket_keys": bytes(48),
        }
        if setting.clients:
            context |= {"ca": pki.ca1().cert_pem, "reject_unauthorized": setting.clients != "asked"}
        if setting.clients == "listed":
            context["crl"] = pki.ca1_crl()
        if setting.protocols == "list":
            context["alpn_protocols"] = ["h2", "http/1.1"]
        others: dict[str, Any] = {"alpn_mismatch": setting.mismatch, "max_connections": 2 if setting.limited else None}
        if setting.protocols not in {"", "list"} and "source" not in setting.names:
            choose = self._noted("alpn_callback", lambda _name, offered, _sock: None if "zz" in offered else offered[-1])
            context["alpn_callback"] = _hook(setting.protocols, choose)
        if setting.check and setting.clients:
            others["check_client"] = _hook(setting.check, self._noted("check_client"))
        if setting.staple:
            others["ocsp_request"] = _hook(setting.staple, self._noted("ocsp_request"))
        if setting.plain:
            others["plain_http_answer"] = b"HTTP/1.1 400 Bad Request\r\n\r\n"
        return self._named(context) | self._stored() | others

    def _named(self, context: dict[str, Any]) -> dict[str, Any]:
        """Return the options of the contexts, and what chooses among them."""
        usual = context | {"cert": pki.localhost().cert_pem, "key": pki.localhost().key_pem}

        def choose(name: str | None, *_: Any) -> tlsio.SecureContext | None:
            return _contexts()[1] if name == "other.example" else None

        manner = self.setting.names
        if manner in {"sync", "async", "failing"}:
            return usual | {"sni_callback": _hook(manner, self._noted("sni_callback", choose))}
        if "source" in manner:
            default = tlsio.create_secure_context(**usual)

            class Source:
                context_for = staticmethod(_hook(manner, self._noted("context_for", lambda name: choose(name) or default)))

            return {"secure_context": Source()}
        return usual

    def _stored(self) -> dict[str, Any]:
        manner = self.setting.store
        if manner == "memory":
            return {"session_store": MemorySessionStore()}
        if not manner:
            return {}
        keep = _hook(manner, self._noted("new_session", self._sessions.__setitem__))
        find = _hook(manner, self._noted("resume_session", self._sessions.get))
        return {"new_session": keep, "resume_session": find}

    async def _serve(self, sock: tlsio.TLSSocket) -> None:
        self._begun += 1
        subject = (sock.get_peer_certificate() or {}).get("subject")
        facts = (sock.servername, sock.alpn_protocol, sock.get_protocol(), sock.is_session_reused(), sock.authorized, subject)
        self._note("secure_connection", *facts, str(sock.authorization_error))
        try:
            while data := await sock.read(100):
                self._note("data", data)
                await sock.send(data)
        except tlsio.TLSError as error:
            self._note("lost", error.code)
        self._ended += 1

    async def run(self, acts: list[Act], threads: int) -> None:
        """Do all acts, then close and note the statistics."""
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # hooks fail on purpose
        server = tlsio.create_server(self._serve, **self._options(), handshake_threads=threads)
        if self.setting.names == "table":
            server.add_context("other.example", _contexts()[1])
        for event in self.setting.listens | {"drop", "error"}:
            server.on(event, self._listener(event))
        await server.listen(0, "127.0.0.1")
        for act in acts:
            self.seen.append([])
            if isinstance(act, tuple):
                self._change(server, *act)
                continue
            with await dial(server.port or 0) as raw:
                await (self._be_nonsense(raw, act) if isinstance(act, bytes) else self._visit(raw, act))
                if isinstance(act, Visit) and act.stays and any(event[0] == "echo" for event in self.seen[-1]):
                    self._staying.append(raw.dup())
            self._dialled += 1
            await until(lambda: self._is_over(server))
        for raw in self._staying:
            raw.close()
        server.close()
        await server.wait_closed()
        self._note("statistics", astuple(replace(server.stats(), session_seconds=0.0)))

    def _is_over(self, server: tlsio.Server) -> bool:
        """Whether the server has noted the end of each client that does not stay."""
        stats = server.stats()
        done = stats.handshakes_full + stats.handshakes_resumed
        is_counted = stats.accepted + stats.dropped == self._dialled and done + sum(stats.handshakes_failed.values()) == stats.accepted
        return is_counted and self._begun == done and self._begun - self._ended == len(self._staying)

    def _listener(self, event: str) -> Callable[..., None]:
        def note(*given: Any) -> None:
            if event == "keylog":
                self._note(event, bytes(given[0]).split()[0])
            else:
                self._note(event, *((type(one), getattr(one, "code", None)) for one in given if isinstance(one, BaseException)))

        return note

    def _change(self, server: tlsio.Server, what: str, number: int) -> None:
        with contextlib.suppress(tlsio.UsageStateError):  # a source's contexts cannot be replaced
            if what == "rotate":
                server.set_ticket_keys(bytes([number]) * 48)
            elif what == "default":
                who = (pki.localhost(), pki.agent3(), pki.localhost_rsa())[number]
                server.set_secure_context(cert=who.cert_pem, key=who.key_pem)
            elif what == "add":
                server.add_context("other.example", _contexts()[number])
            else:
                server.remove_context("other.example")

    # ---- the clients

    async def _be_nonsense(self, raw: socket.socket, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(raw, data)
        self._note("answered", await rest_of(raw))

    def _client(self, visit: Visit) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version, context.maximum_version = (getattr(ssl.TLSVersion, f"TLSv1_{one}") for one in visit.versions)
        if visit.protocols:
            context.set_alpn_protocols(list(visit.protocols))
        if visit.certificate:
            who = getattr(pki, visit.certificate)()
            path = self._folder / f"{visit.certificate}.pem"
            path.write_bytes(who.cert_pem + who.key_pem)
            context.load_cert_chain(path)
        if visit.curve:
            context.set_ecdh_curve(visit.curve)
        if visit.ciphers:
            context.set_ciphers(visit.ciphers)
        return context

    async def _visit(self, raw: socket.socket, visit: Visit) -> None:
        context, session = (visit.resumes and self._resumable) or (self._client(visit), None)
        wire = Wire(raw, visit)
        client = context.wrap_bio(wire.into, wire.out, server_hostname=visit.name, session=session)
        try:
            await wire.until(client.do_handshake)
            cipher, certificate = client.cipher(), client.getpeercert(binary_form=True)
            self._note(
                "client", client.version(), cipher and cipher[0], client.selected_alpn_protocol(), client.session_reused, hash(certificate)
            )
            if not visit.early:
                await wire.flush()
            client.write(b"hello")  # early: in one segment with Finished
            self._note("echo", await wire.until(lambda: client.read(100)))
            self._resumable = (context, client.session)
        except ssl.SSLError as error:
            self._note("failed", error.reason)
            await wire.flush()
        except LeftError:
            await rest_of(raw)


class LeftError(Exception):
    """The client has left in the middle of its bytes."""


class Wire:
    """The connection of a client, which is sent in pieces."""

    def __init__(self, raw: socket.socket, visit: Visit) -> None:
        self.into, self.out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._raw, self._visit, self._sent = raw, visit, 0

    async def until(self, step: Callable[[], Any]) -> Any:
        """Repeat a step until it needs no input."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await self.flush()
                data = await receive(self._raw)
                self.into.write(data) if data else self.into.write_eof()

    async def flush(self) -> None:
        """Send what the client has written."""
        data, cut = self.out.read(), self._visit.cut
        leaves = 0 < self._visit.leaves_at < self._sent + len(data)
        data = data[: self._visit.leaves_at - self._sent] if leaves else data
        self._sent += len(data)
        with contextlib.suppress(OSError):  # the server has ended it: there is an alert to read
            for at in range(0, len(data), cut):
                await asyncio.get_running_loop().sock_sendall(self._raw, data[at : at + cut])
                await asyncio.sleep(0)
        if leaves:
            raise LeftError


async def receive(raw: socket.socket) -> bytes:
    """Return what has come; b"" at the end."""
    try:
        return await asyncio.get_running_loop().sock_recv(raw, 65536)
    except ConnectionResetError:
        return b""


async def rest_of(raw: socket.socket) -> bytes:
    """End our direction, and return what the server sends until it ends too."""
    got = b""
    with contextlib.suppress(OSError):  # it has reset the connection
        raw.shutdown(1)
    while data := await receive(raw):
        got += data
    return got


@pytest.mark.without_threads("it compares servers with and without them")
@pytest.mark.parametrize("first", range(SEEDS[0], SEEDS[-1] + 1, SIZE))
def test_threads_change_nothing(first: int, tmp_path: Path) -> None:
    """Each act has the same results, in the same order."""
    for seed in range(first, min(first + SIZE, SEEDS[-1] + 1)):
        setting, acts = compose(seed)
        seen = []
        for threads in (0, 2):
            case = Case(setting, tmp_path)
            asyncio.run(case.run(acts, threads))  # a case that waits without end is the watchdog's
            seen.append([sides_of(act) for act in case.seen])
        assert seen[0] == seen[1], f"SEED={seed} {setting}"


def sides_of(act: list[Any]) -> list[list[Any]]:
    """Return what the client has seen, and what the server: they take turns as they like."""
    of_client = [event for event in act if event[0] in {"client", "echo", "failed", "answered"}]
    return [of_client, [event for event in act if event not in of_client]]
