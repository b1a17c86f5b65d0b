"""Plays: random acts of a peer, a network and an application on one socket, and what has to be true of every one of them.

A play is a setting and a list of acts, both made of one seed. The peer is OpenSSL's own (`wire_peer`), in memory, so the test
decides when each byte of the wire moves. After the acts comes the quiet: the test does nothing and counts the iterations of
the loop. Then comes the curtain: the peer, the hooks and the application become cooperative, everything ends in order, and
what remains is compared with what went in.

What has to be true (`Fault` says what was not):
- what one side reads is a prefix of what the other wrote, and all of it when the connection ended in order;
- data that was lost was reported, and each error once: by the `error` event, by a call, or by the loop's handler;
- `close` is the last event, and comes once;
- the loop is silent while nobody acts;
- every call returns; no task and no descriptor remains.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import pki
import tlsio
from wire_peer import StreamWire, TcpWire, WirePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from net import Driver, Version

Act = tuple[Any, ...]

# What is written, by offset: any other byte, hole or repetition shows at once. A prime length, so that nothing aligns.
_SOURCE = random.Random(1)  # noqa: S311 - test data
_UP = _SOURCE.randbytes(8_388_593)
_DOWN = _SOURCE.randbytes(8_388_593)

_ALL = 1 << 30
_QUIET = 0.01  # seconds; a loop that spins makes hundreds of iterations in it
_QUIET_AGAIN = 0.1
_MAX_TURNS = 40
_PATIENCE = 1.5  # seconds without any progress until something counts as stalled; TCP probes a closed window every 0.2 s
_TURNS = 100  # without progress, too: a busy machine may not let this process run for seconds
_LINGERING = 10.0  # seconds for last words and for what the engine drains: up to two, more on a busy machine
_NARROW = 150_000  # bytes each way: where the kernel waits with each window for its timer, one second carries 10,000
_SIZES = (1, 2, 10, 100, 1000, 5000, 16384, 16385, 40_000, 70_000, 300_000)


class Fault(AssertionError):  # noqa: N818 - of the program, not of the test
    """Something that must be true of every play was not. `kind` is equal for equal faults."""

    def __init__(self, kind: str, detail: object = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail != "" else kind)
        self.kind = kind


class Boom(Exception):  # noqa: N818 - it is raised by a listener
    """What a listener raises."""


class Crash(BaseException):
    """What a listener raises that is not an Exception."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The circumstances of a play. `role` is our socket's; the peer has the other one."""

    seed: int
    version: Version
    driver: Driver
    role: Literal["server", "client"]
    store: Literal["none", "memory", "slow", "failing"]
    hook: Literal["none", "sync", "async", "late", "told"]
    peer_shows: bool
    asks: bool
    narrow: bool
    resumes: bool
    hears_errors: bool
    half_open: bool
    cut: int
    close_timeout: float
    high_water: int
    renegotiation: bool


def compose(seed: int) -> tuple[Setting, list[Act]]:
    """Make the play of a seed."""
    rng = random.Random(seed)  # noqa: S311 - a seeded choice
    role: Any = rng.choice(["server", "server", "client"])
    setting = Setting(
        seed=seed,
        version=rng.choice(["TLSv1.2", "TLSv1.3"]),
        driver=rng.choice(["native", "threads", "portable"]),
        role=role,
        store=rng.choice(["none", "none", "memory", "slow", "failing"]) if role == "server" else "none",
        hook=rng.choice(["none", "none", "sync", "async", "late", "told"]),
        peer_shows=rng.random() < 0.6,
        asks=rng.random() < 0.5,
        narrow=rng.random() < 0.2,
        resumes=rng.random() < 0.3,
        hears_errors=rng.random() < 0.7,
        half_open=rng.random() < 0.5,
        cut=rng.choice([_ALL, _ALL, _ALL, 1000, 100, 7]),
        close_timeout=rng.choice([0.05, 0.5]),
        high_water=rng.choice([0, 1000, 65536, 262144]),
        renegotiation=rng.random() < 0.7,
    )
    # Each play knows about half of the acts: rare ones meet, and some things go on for long.
    kinds = [kind for kind in _ACTS if rng.random() < 0.5] or list(_ACTS)
    chosen = rng.choices(kinds, [_ACTS[kind][0] for kind in kinds], k=rng.randint(1, 16))
    if rng.random() < 0.4:
        at = rng.randint(0, len(chosen))
        chosen[at:at] = rng.choice(_SCENES)
    return setting, [(kind, *_ACTS[kind][1](rng, setting), rng.choice([0, 0, 1, 2, 4])) for kind in chosen]


# What seldom comes together by chance: both sides busy with one another's questions, or with their own ends.
_SCENES = (
    ("renegotiate", "fetch", "peer_write", "flush"),
    ("read", "renegotiate", "fetch", "peer_write", "flush"),
    ("flow", "renegotiate", "fetch", "peer_write", "flush"),
    ("renegotiate", "write", "fetch", "write", "flush"),
    ("write", "peer_renegotiate", "flush", "fetch", "peer_write", "flush"),
    ("peer_renegotiate", "flush", "renegotiate", "fetch", "peer_write", "flush", "write"),
    ("peer_renegotiate", "flush", "turn", "renegotiate", "end", "fetch", "flush"),
    ("peer_renegotiate", "flush", "turn", "renegotiate", "cancel", "renegotiate", "fetch", "flush"),
    ("write", "update_key", "flush", "update_key", "flush"),
    ("write", "write", "update_key", "flush", "renegotiate", "flush"),
    ("peer_write", "flush", "peer_end", "flush", "read", "flow"),
    ("readline", "peer_write", "flush", "fin", "flow"),
    ("write", "end", "peer_write", "flush", "reset"),
    ("write", "close", "fetch"),
    ("flow", "raise_next", "peer_write", "flush", "peer_write", "flush"),
    ("write", "write", "write", "drain", "end"),
)


def _size(rng: random.Random, setting: Setting) -> int:
    """Return how much is written at once; little where the network is narrow."""
    if not setting.narrow and rng.random() < 0.06:
        return 2_000_000
    return rng.choice(_SIZES[:9] if setting.narrow else _SIZES)


def _nothing(_rng: random.Random, _setting: Setting) -> Act:
    return ()


# How often each act is chosen among those of a play, and its arguments.
_ACTS: dict[str, tuple[int, Callable[[random.Random, Setting], Act]]] = {
    "peer_write": (8, lambda rng, setting: (_size(rng, setting),)),
    "flush": (8, lambda rng, _: (rng.choice([1, 4, 100, 5000, 20_000, _ALL, _ALL, _ALL]),)),
    "fetch": (8, lambda rng, _: (rng.choice([1, 100, 5000, 20_000, _ALL, _ALL, _ALL]),)),
    "pump": (3, lambda rng, _: (rng.randint(1, 6),)),
    "update_key": (4, lambda rng, _: (rng.randint(1, 4), rng.random() < 0.8)),
    "peer_renegotiate": (3, _nothing),
    "peer_ask_certificate": (2, _nothing),
    "peer_ticket": (2, _nothing),
    "peer_end": (2, _nothing),
    "fin": (1, _nothing),
    "cut": (1, lambda rng, _: (rng.randint(1, 40),)),
    "reset": (1, _nothing),
    "garbage": (1, lambda rng, _: (rng.randint(0, 400),)),
    "write": (8, lambda rng, setting: (_size(rng, setting), rng.choice([1, 1, 1, 3, 36]))),
    "send": (4, lambda rng, setting: (_size(rng, setting),)),
    "drain": (3, _nothing),
    "read": (6, lambda rng, _: (rng.choice([-1, 1, 10, 5000, 100_000]),)),
    "readline": (3, _nothing),
    "readexactly": (3, lambda rng, setting: (_size(rng, setting),)),
    "iterate": (3, lambda rng, _: (rng.randint(1, 5),)),
    "cancel": (4, lambda rng, _: (rng.randint(0, 3),)),
    "flow": (5, lambda rng, _: (rng.choice(["sync", "sync", "async", "told"]),)),
    "no_flow": (3, _nothing),
    "pause": (3, _nothing),
    "resume": (3, _nothing),
    "renegotiate": (3, lambda rng, _: (rng.choice([None, None, True]),)),
    "end": (2, lambda rng, _: (rng.choice([0, 0, 1, 50_000]),)),
    "close": (1, _nothing),
    "destroy": (1, lambda rng, _: (rng.random() < 0.5,)),
    "raise_next": (
        2,
        lambda rng, _: (rng.choice(["data", "data", "end", "drain", "error", "close"]), rng.choice(["boom", "cancel", "crash"])),
    ),
    "tell": (3, _nothing),
    "close_server": (1, lambda rng, _: (rng.random() < 0.5,)),
    "pipe": (1, _nothing),
    "turn": (4, lambda rng, _: (rng.randint(1, 8),)),
}


# ---- what the socket is given


class Store:
    """A SessionStore that answers later, or fails."""

    def __init__(self, *, failing: bool) -> None:
        self._failing = failing
        self._kept: dict[bytes, bytes] = {}

    async def get(self, session_id: bytes) -> bytes | None:
        """As SessionStore says; so are the others."""
        await self._wait()
        return self._kept.get(session_id)

    async def put(self, session_id: bytes, data: bytes, ttl: float) -> None:
        """Keep."""
        await self._wait()
        self._kept[session_id] = data

    async def delete(self, session_id: bytes) -> None:
        """Forget."""
        await self._wait()
        self._kept.pop(session_id, None)

    async def _wait(self) -> None:
        await asyncio.sleep(0)
        if self._failing:
            raise ConnectionError("the store is away")


@cache
def _server_context(version: Version, *, asks: bool) -> tlsio.SecureContext:
    who = pki.localhost()
    return tlsio.create_secure_context(
        cert=who.cert_pem,
        key=who.key_pem,
        ca=pki.ca1().cert_pem,
        request_cert=asks,
        reject_unauthorized=False,
        min_version=version,
        max_version=version,
    )


@cache
def _client_context(version: Version, *, shows: bool) -> tlsio.SecureContext:
    who = pki.client()
    shown: dict[str, Any] = {"cert": who.cert_pem, "key": who.key_pem} if shows else {}
    return tlsio.create_secure_context(ca=pki.ca1().cert_pem, min_version=version, max_version=version, **shown)


class CountingLoop(asyncio.SelectorEventLoop):
    """An event loop that counts its iterations."""

    turns = 0

    def _run_once(self) -> None:
        self.turns += 1
        super()._run_once()  # type: ignore[misc]


@dataclass
class Heard:
    """What the application was told."""

    events: list[str] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)  # of `error` events
    had_error: bool | None = None  # of `close`
    raised: list[BaseException] = field(default_factory=list)  # by calls
    booms: list[BaseException] = field(default_factory=list)  # what our listeners raised
    asked_for: list[BaseException] = field(default_factory=list)  # of those: raised while a call waited, which is then told
    failed: list[BaseException] = field(default_factory=list)  # of `tls_client_error`, or raised by `connect`


class Play:
    """One play, as far as it has got."""

    def __init__(self, setting: Setting, loop: CountingLoop) -> None:
        self.setting = setting
        self.loop = loop
        self.heard = Heard()
        self.most = _NARROW if setting.narrow else len(_DOWN)  # that either side writes
        self.handler: list[dict[str, Any]] = []
        self.sock: tlsio.TLSSocket | None = None
        self.server: tlsio.Server | None = None
        self.session: int | None = None  # that the peer resumes
        self.peer = self._make_peer()
        self.wire: TcpWire | StreamWire
        self.wire_out = bytearray()  # what the peer has produced, and the wire has not taken
        self.got = 0  # plaintext the application read
        self.written = 0  # plaintext the application wrote
        self.peer_wrote = 0
        self.clean_end = False  # the application was told the end
        self.gave_up = self.closed_by_us = False  # destroyed, or closed, by the application
        self.spoilt = self.changed = False  # the wire was cut or changed; some byte was changed
        self.fin_sent = self.reset_sent = False
        self.taken = self.flushed = 0  # bytes that came from the peer, and that the network has taken
        self.end_at: int | None = None  # where the peer's close_notify ends
        self.tasks: list[asyncio.Task[None]] = []
        self.told = asyncio.Event()  # hooks and listeners that wait to be told
        self.listener: Any = None
        self.raise_in: dict[str, str] = {}
        self.owes_report = False  # data was lost
        self.forgiven = 0  # bytes that the application wrote, whose loss nobody can know

    def _make_peer(self) -> WirePeer:
        setting = self.setting
        if setting.role == "client":
            return WirePeer(setting.version, is_server=True, identity=pki.localhost())
        return WirePeer(setting.version, identity=pki.client() if setting.peer_shows else None, session=self.session)

    # ---- the stage

    async def run(self, acts: Sequence[Act]) -> None:
        """Play it, and judge."""
        await self._open()
        if self.setting.seed % 5:
            await self._pump(12)
        for act in acts:
            name, *args, turns = act
            getattr(self, f"do_{name}")(*args)
            await self._turn(turns)
            self._check_events()
        await self._listen_for_spinning()
        await self._end_in_order()
        self._judge()

    async def _open(self) -> None:
        if self.setting.role == "server":
            await self._open_server()
        else:
            await self._open_client()

    async def _open_server(self) -> None:
        setting = self.setting
        options: dict[str, Any] = {"secure_context": _server_context(setting.version, asks=setting.asks)}
        options |= self._common_options()
        if setting.store != "none":
            options["session_store"] = (
                tlsio.MemorySessionStore() if setting.store == "memory" else Store(failing=setting.store == "failing")
            )
        if setting.hook != "none" and setting.asks:
            options["check_client"] = self._hook(None)
        elif setting.hook != "none":
            options["sni_callback"] = self._hook(None)
        threads = 2 if setting.driver == "threads" else 0
        server = self.server = tlsio.create_server(
            self._adopt, handshake_threads=threads, allow_renegotiation=setting.renegotiation, **options
        )
        server.on("tls_client_error", lambda error, _sock: self.heard.failed.append(error))
        server.on("error", lambda _error: None)
        if setting.driver != "portable":
            await server.listen(sock=self._narrowed())
        self._reach = lambda: self._reach_server(server)
        await self._come_before()
        self.wire = await self._reach_server(server)

    async def _reach_server(self, server: tlsio.Server) -> TcpWire | StreamWire:
        """Connect to our server, without TLS."""
        if self.setting.driver != "portable":
            near = self._narrowed(bind=False)
            near.connect(("127.0.0.1", server.port or 0))
            return TcpWire(near)
        wire = StreamWire(4096 if self.setting.narrow else 65536)
        self._spawn("upgrade", self._upgrade, server, wire)
        return wire

    async def _upgrade(self, server: tlsio.Server, wire: StreamWire) -> None:
        sock = await server.upgrade(wire.stream)
        if self.sock is None:  # the listener was not called for it
            self._adopt(sock)

    async def _open_client(self) -> None:
        setting = self.setting
        options: dict[str, Any] = {"secure_context": _client_context(setting.version, shows=setting.asks), "servername": "localhost"}
        options |= self._common_options()
        if setting.hook != "none":
            options["check_server_identity"] = self._hook(None)
        sessions: list[bytes] = []
        self._reach = lambda: self._reach_client(options | {"on": {"session": sessions.append}})
        await self._come_before()
        if sessions:
            options["session"] = sessions[-1]
        self.wire = await self._reach_client(options)

    async def _reach_client(self, options: dict[str, Any]) -> TcpWire | StreamWire:
        """Let our client connect, without TLS."""
        if self.setting.driver == "portable":
            wire = StreamWire(4096 if self.setting.narrow else 65536)
            self._spawn("connect", self._connect, tlsio.connect(socket=wire.stream, **options))
            return wire
        with self._narrowed() as listening:
            listening.listen(1)
            self._spawn("connect", self._connect, tlsio.connect(listening.getsockname()[1], "127.0.0.1", **options))
            accepted, _ = await self.loop.sock_accept(listening)
            return TcpWire(accepted)

    def _narrowed(self, *, bind: bool = True) -> socket.socket:
        made = socket.socket()
        if self.setting.narrow:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        if bind:
            made.bind(("127.0.0.1", 0))
            made.setblocking(False)  # noqa: FBT003
        return made

    async def _come_before(self) -> None:
        """Let an earlier connection make the session that the play's own one resumes."""
        if not self.setting.resumes:
            return
        wire, peer = await self._reach(), self.peer
        idle = 0
        while idle < 10:
            self.do_tell()
            peer.give(wire.receive(_ALL))
            peer.handshake()
            peer.read()
            wire.send(peer.take())
            idle = idle + 1 if peer.done and self.sock is not None else 0
            await asyncio.sleep(0.0002)
        if self.sock is not None:
            self.session = peer.session()
            self.sock.destroy()
            await self.sock.wait_closed()
        wire.close()
        peer.free()
        await asyncio.gather(*self.tasks)
        self.sock, self.heard = None, Heard()
        self.tasks.clear()
        self.peer = self._make_peer()

    async def _connect(self, connecting: Any) -> None:
        try:
            sock = await connecting
        except tlsio.TLSError as error:
            self.heard.failed.append(error)
            return
        self._adopt(sock)

    def _common_options(self) -> dict[str, Any]:
        setting = self.setting
        return {
            "close_timeout": setting.close_timeout,
            "handshake_timeout": 5.0,
            "hook_timeout": 5.0,
            "allow_half_open": setting.half_open,
            "high_water_mark": setting.high_water,
            "read_limit": 3000,
        }

    def _hook(self, answer: object) -> Callable[..., Any]:
        kind = self.setting.hook

        async def later(*_args: object) -> object:
            if kind == "late":
                await asyncio.sleep(0.002)
            elif kind == "told":
                await self.told.wait()
            return answer

        return (lambda *_args: answer) if kind == "sync" else later

    def _adopt(self, sock: tlsio.TLSSocket) -> None:
        if self.sock is not None:
            raise Fault("a second socket")
        self.sock = sock
        for event in ("end", "drain", "session", "timeout"):
            sock.on(event, lambda *_args, event=event: self._heard(event))  # type: ignore[call-overload]
        if self.setting.hears_errors:
            sock.on("error", self._hear_error)
        sock.on("close", self._hear_close)

    # ---- the application's ears

    def _heard(self, event: str) -> None:
        self.heard.events.append(event)
        if event == "end":
            self._note_end(given=self.sock.bytes_read if self.sock is not None else 0)  # a call may still hold some of it
        self._maybe_raise(event)

    def _hear_error(self, error: BaseException) -> None:
        self.heard.errors.append(error)
        self.heard.events.append("error")
        self._maybe_raise("error")

    def _hear_close(self, had_error: bool) -> None:  # noqa: FBT001 - the event's way to call
        if self.heard.had_error is None:
            self.heard.had_error = had_error
        self.heard.events.append("close")
        self._maybe_raise("close")

    def _maybe_raise(self, event: str) -> None:
        kind = self.raise_in.pop(event, None)
        if kind is None:
            return
        made = {"boom": Boom, "cancel": asyncio.CancelledError, "crash": Crash}[kind](f"in {event}")
        self.heard.booms.append(made)
        if self._waiting:
            self.heard.asked_for.append(made)
        raise made

    def _take(self, data: bytes) -> None:
        """Look at plaintext that the application was given."""
        if data != _UP[self.got : self.got + len(data)]:
            raise Fault("the application read what was not sent", f"{len(data)} bytes at {self.got}")
        self.got += len(data)
        if self.got > self.peer_wrote:
            raise Fault("the application read more than was sent", f"{self.got} of {self.peer_wrote}")

    def _note_end(self, given: int | None = None) -> None:
        self.clean_end = True
        given = self.got if given is None else given
        if not self.end_on_wire:
            raise Fault("an end was reported that the peer has not sent")
        if given != self.peer.wrote and not self.gave_up and not self.closed_by_us:
            raise Fault("the end came before the data", f"{given} of {self.peer.wrote}")

    def _check_events(self) -> None:
        events = self.heard.events
        if "close" in events and events[-1] != "close":
            raise Fault("an event after close", events)
        for name in ("close", "error", "end"):
            if events.count(name) > 1:
                raise Fault(f"{name} was emitted twice", events)
        for context in self.handler:
            error = context.get("exception")
            if isinstance(error, Fault):
                raise error
            if not str(context.get("message")).startswith("tlsio:"):
                raise Fault("the loop's handler was called", f"{context.get('message')} {error!r}")

    # ---- acts of the peer and the network

    def do_peer_write(self, n: int) -> None:
        """The peer writes."""
        if self.peer.done and not self.peer.end_sent and not self.peer.failed and self.peer_wrote + n < self.most:
            self.peer.write(_UP[self.peer_wrote : self.peer_wrote + n])
            self.peer_wrote += n

    def do_flush(self, n: int) -> None:
        """Bytes of the peer reach the network."""
        self._note_peer_end()
        self._take_from_peer()
        chunk = bytes(self.wire_out[:n])
        if chunk and not self.fin_sent and not self.reset_sent:
            sent = self.wire.send(chunk)
            self.flushed += sent
            del self.wire_out[:sent]

    def _take_from_peer(self) -> None:
        data = self.peer.take()
        self.wire_out += data
        self.taken += len(data)

    @property
    def end_on_wire(self) -> bool:
        """The network has the peer's close_notify, and all before it, as they were."""
        return self.end_at is not None and self.flushed >= self.end_at and not self.changed

    def do_fetch(self, n: int) -> None:
        """Bytes of the network reach the peer."""
        while n > 0 and not self.reset_sent and (data := self.wire.receive(min(n, 65536))):
            self.peer.give(data)
            n -= len(data)
        self.peer.handshake()
        self.peer.read()
        self.peer.push()
        self._look_at_received()

    def _look_at_received(self) -> None:
        found = self.peer.received
        if found != _DOWN[: len(found)]:
            raise Fault("the peer read what was not written", f"{len(found)} bytes")
        if len(found) > self.written:
            raise Fault("the peer read more than was written", f"{len(found)} of {self.written}")

    def do_pump(self, times: int) -> None:
        """Both, as often; without turns of the loop between."""
        for _ in range(times):
            self.peer.handshake()
            self.do_flush(_ALL)
            self.do_fetch(_ALL)

    def do_update_key(self, times: int, requested: bool) -> None:  # noqa: FBT001
        """The peer changes its keys."""
        if self.setting.version == "TLSv1.3":
            for _ in range(times):
                self.peer.update_key(requested=requested)

    def do_peer_renegotiate(self) -> None:
        """The peer begins another handshake."""
        if self.setting.version == "TLSv1.2" and not self._is_asking:
            self.peer.renegotiate()

    def do_peer_ask_certificate(self) -> None:
        """A server asks our client for its certificate."""
        if self.setting.version == "TLSv1.3":
            self.peer.ask_certificate()

    def do_peer_ticket(self) -> None:
        """A server sends another ticket."""
        if self.setting.version == "TLSv1.3":
            self.peer.send_ticket()

    def do_peer_end(self) -> None:
        """close_notify. After it OpenSSL can answer nothing any more."""
        if self.peer.done and not self._is_asking and not self.peer.is_shaking:
            self.peer.end()
            self._note_peer_end()

    def _note_peer_end(self) -> None:
        if self.peer.end_sent and self.end_at is None:
            self._take_from_peer()
            self.end_at = self.taken

    def do_fin(self) -> None:
        """FIN, behind what was flushed."""
        if not self.fin_sent and not self.reset_sent:
            self.spoilt = self.spoilt or bool(self.wire_out) or not self.peer.end_sent
            self.fin_sent = True
            self.wire.fin()

    def do_cut(self, n: int) -> None:
        """FIN in the middle of a record."""
        self.do_flush(n)
        self.do_fin()

    def do_reset(self) -> None:
        """RST."""
        if not self.reset_sent:
            self.spoilt = self.reset_sent = True
            # Both directions have ended: what the kernel has taken cannot be reported as lost any more.
            sock = self.sock
            both_ended = self.clean_end or (self.end_at is not None and self.flushed >= self.end_at and not self.closed_by_us)
            all_sent = sock is not None and both_ended and not sock.writable and not sock.writable_length
            self.gave_up = self.gave_up or self._is_closed or all_sent
            if isinstance(self.wire, StreamWire) and sock is not None and both_ended and not sock._driver.count_undelivered():
                self.forgiven = self.written  # sent is what a stream has taken; only a later write finds that it broke
            self.wire.reset()

    def do_garbage(self, at: int) -> None:
        """A byte changes on its way."""
        self._take_from_peer()
        if self.wire_out:
            at %= len(self.wire_out)
            self.wire_out[at] = (self.wire_out[at] + 0x55) % 256  # not `^`: twice at one place it would undo itself
            self.spoilt = self.changed = True

    # ---- acts of the application

    def _call(self, call: Callable[..., Any], *args: Any) -> bool:
        """Call the socket; whether it raised nothing."""
        try:
            call(*args)
        except tlsio.UsageError:
            return False
        except tlsio.TLSError as error:
            self.heard.raised.append(error)
            return False
        return True

    def do_write(self, n: int, times: int) -> None:
        """Many writes in one turn."""
        if self.sock is None:
            return
        for _ in range(times):
            if n * times > 4_000_000 or self.written + n > self.most:
                return
            if self._call(self.sock.write, _DOWN[self.written : self.written + n]):
                self.written += n

    def do_send(self, n: int) -> None:
        """Write and drain."""
        if self.sock is not None:
            self._spawn("send", self._send, self.sock, n)

    async def _send(self, sock: tlsio.TLSSocket, n: int) -> None:
        if self.written + n > self.most:
            return
        data = _DOWN[self.written : self.written + n]
        self.written += n
        try:
            await sock.send(data)
        except tlsio.UsageError:
            self.written -= n  # raised before anything else could run
            raise

    def do_drain(self) -> None:
        """Wait for room."""
        if self.sock is not None:
            self._spawn("drain", self.sock.drain)

    def do_read(self, n: int) -> None:
        """Read once."""
        if self.sock is not None:
            self._spawn("read", self._read, self.sock, n)

    async def _read(self, sock: tlsio.TLSSocket, n: int) -> None:
        data = await sock.read(n)
        self._take(data)
        if not data:
            self._note_end()

    def do_readline(self) -> None:
        """Read a line."""
        if self.sock is not None:
            self._spawn("readline", self._pull, self.sock.readline)

    def do_readexactly(self, n: int) -> None:
        """Read so many bytes."""
        if self.sock is not None:
            self._spawn("readexactly", self._pull, self.sock.readexactly, n)

    async def _pull(self, read: Callable[..., Coroutine[Any, Any, bytes]], *args: int) -> None:
        try:
            self._take(await read(*args))
        except tlsio.IncompleteReadError as error:
            self._take(error.partial)

    def do_iterate(self, n: int) -> None:
        """Take so many chunks."""
        if self.sock is not None:
            self._spawn("iterate", self._iterate, self.sock, n)

    async def _iterate(self, sock: tlsio.TLSSocket, n: int) -> None:
        async for chunk in sock:
            self._take(chunk)
            n -= 1
            if not n:
                return
        self._note_end()

    def do_pipe(self) -> None:
        """Pipe it all to an end of ours."""
        if self.sock is not None:
            self._spawn("pipe", self._pipe, self.sock)

    async def _pipe(self, sock: tlsio.TLSSocket) -> None:
        await sock.pipe(_Sink(self), end=True)
        self._note_end()

    def do_cancel(self, index: int) -> None:
        """Cancel a call that waits."""
        if waiting := self._waiting:
            waiting[index % len(waiting)].cancel()

    @property
    def _waiting(self) -> list[asyncio.Task[None]]:
        """The calls of the socket that have not returned."""
        return [task for task in self.tasks if not task.done() and task.get_name() not in ("connect", "upgrade")]

    def do_flow(self, kind: str) -> None:
        """Listen to data."""
        if self.sock is None or self.listener is not None:
            return

        def listen(chunk: bytes) -> Any:
            self._take(chunk)
            self._maybe_raise("data")
            return None if kind == "sync" else wait()

        async def wait() -> None:
            if kind == "told":
                await self.told.wait()
            await asyncio.sleep(0)

        if self._call(self.sock.on, "data", listen):
            self.listener = listen

    def do_no_flow(self) -> None:
        """Listen no more."""
        if self.sock is not None and self.listener is not None:
            self.sock.off("data", self.listener)
            self.listener = None

    def do_pause(self) -> None:
        """Pause."""
        if self.sock is not None:
            self.sock.pause()

    def do_resume(self) -> None:
        """Resume."""
        if self.sock is not None:
            self.sock.resume()

    def do_renegotiate(self, request_cert: bool | None) -> None:  # noqa: FBT001
        """Another handshake: renegotiation, or post-handshake authentication. A server may ask while the client renegotiates."""
        sock, is_server = self.sock, self.setting.role == "server"
        if sock is not None and not self.peer.end_sent and (is_server or not self.peer.is_shaking):
            self._spawn("renegotiate", lambda: sock.renegotiate(request_cert=request_cert if is_server else None))

    @property
    def _is_asking(self) -> bool:
        """Our side has asked for another handshake. An OpenSSL client that begins one at the same time waits for ever."""
        return any(task.get_name() == "renegotiate" and not task.done() for task in self.tasks)

    def do_end(self, n: int) -> None:
        """End our direction, with some last data."""
        if self.sock is None:
            return
        if self._call(self.sock.end, _DOWN[self.written : self.written + n] if n else None):
            self.written += n

    def do_close(self) -> None:
        """Close."""
        if self.sock is not None:
            self.closed_by_us = True
            self.sock.close()

    def do_destroy(self, with_error: bool) -> None:  # noqa: FBT001
        """Destroy."""
        if self.sock is not None:
            self.gave_up = True
            self.sock.destroy(Boom("destroyed") if with_error else None)

    def do_raise_next(self, event: str, kind: str) -> None:
        """Let the next listener of an event raise."""
        self.raise_in[event] = kind

    def do_tell(self) -> None:
        """Let those go on who wait to be told."""
        self.told.set()
        self.told = asyncio.Event()

    def do_close_server(self, now: bool) -> None:  # noqa: FBT001
        """Close the server, at once or in order."""
        if self.server is not None and self.setting.role == "server" and self.sock is not None:
            if now:
                self.gave_up = True
            self.server.close(0 if now else None)

    def do_turn(self, times: int) -> None:
        """Let nothing happen but time, in which the kernel may move bytes."""
        self.do_tell() if times > 7 else None

    def _spawn(self, name: str, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        self.tasks.append(self.loop.create_task(self._watch(work, *args), name=name))

    async def _watch(self, work: Callable[..., Coroutine[Any, Any, Any]], *args: Any) -> None:
        try:
            await work(*args)
        except Fault:
            raise
        except tlsio.UsageError:
            return
        except tlsio.TLSError as error:
            self.heard.raised.append(error)
        except Boom as error:  # what `destroy` was given
            self.heard.raised.append(error)
        except (asyncio.CancelledError, Crash) as error:
            if isinstance(error, Crash) or any(isinstance(boom, asyncio.CancelledError) for boom in self.heard.booms):
                self.heard.raised.append(error)
            else:
                raise

    # ---- time

    async def _turn(self, times: int) -> None:
        for _ in range(times):
            await asyncio.sleep(0)

    async def _pump(self, times: int) -> None:
        """Let both sides go on, with as large pieces as the setting has it; stops when nothing moves."""
        idle = 0
        while times and idle < 3:
            before = self._progress()
            self.peer.handshake()
            self.peer.push()
            self.do_flush(self.setting.cut)
            await asyncio.sleep(0)
            self.do_fetch(_ALL)
            await asyncio.sleep(0)
            if self.setting.hook == "late":
                await asyncio.sleep(0.0005)
            self._check_events()
            if self.wire_out:
                continue
            times -= 1
            idle = idle + 1 if self._progress() == before else 0

    def _progress(self) -> object:
        sock = self.sock
        moved = (sock.bytes_read, sock.bytes_written, sock.writable_length) if sock is not None else ()
        return (len(self.wire_out), len(self.peer.received), self.got, self.peer.done, self.wire.eof, len(self.heard.events), moved)

    async def _listen_for_spinning(self) -> None:
        """Do nothing, and count the loop's iterations."""
        await asyncio.sleep(0.002)
        for seconds in (_QUIET, _QUIET_AGAIN, _QUIET_AGAIN):
            before = self.loop.turns
            await asyncio.sleep(seconds)
            turns = self.loop.turns - before
            if turns <= _MAX_TURNS:
                return
        raise Fault("the loop spins", f"{turns} iterations in {seconds} s of quiet")

    async def _until(self, reached: Callable[[], bool]) -> bool:
        """Go on in order until something is reached; False when nothing moves any more."""
        last, since, turns = None, self.loop.time(), 0
        while not reached():
            self.do_tell()
            self.peer.handshake()
            self.peer.push()
            self.do_flush(_ALL)
            self.do_fetch(_ALL)
            now = self._progress()
            if now != last:
                last, since, turns = now, self.loop.time(), 0
                await asyncio.sleep(0)
            elif turns > _TURNS and self.loop.time() - since > _PATIENCE:
                return False
            else:
                turns += 1
                await asyncio.sleep(0 if self.loop.time() - since < 0.0005 else 0.0005)
            self._check_events()
        return True

    # ---- the curtain

    async def _end_in_order(self) -> None:
        self.raise_in.clear()

        def decided() -> bool:
            # A peer that is done may have ended while the hook was asked: the socket, or the failure, is still to come.
            never = (self.fin_sent or self.reset_sent) and not self.peer.done
            return self.sock is not None or bool(self.heard.failed) or self.wire.eof or never

        if not await self._until(decided) and not self.spoilt:
            raise Fault("the handshake stalls", self._describe())
        reader = None
        if self.sock is not None:
            reader = self.loop.create_task(self._read_all(self.sock), name="read all")
            self.tasks.append(reader)
            await self._deliver()
        await self._until(
            lambda: self.peer.done or bool(self.peer.failed or self.heard.failed) or self.fin_sent or self.reset_sent or self.wire.eof
        )
        await self._until(
            lambda: (
                not (self._is_asking or self.peer.is_shaking) or bool(self.peer.failed) or self.fin_sent or self.reset_sent or self.wire.eof
            )
        )
        self.do_peer_end()
        await self._until(lambda: not self.peer.done or self.peer.end_sent or bool(self.peer.failed) or self._is_closed)
        self.do_flush(_ALL)
        if not self.wire_out:
            self.do_fin()
        if self.sock is not None and not self._is_closed:
            if not await self._until(lambda: self.clean_end or self._is_closed or self._is_told or self.closed_by_us):
                raise Fault("the end of the input is never reported", self._describe())
            self._call(self.sock.end)
            if not await self._until(lambda: self._is_closed):
                raise Fault("no close after both directions have ended", self._describe())
        self.do_fetch(_ALL)
        if not self.reset_sent:
            self.wire.close()
        await self._wait_for_calls()
        if self.server is not None:
            self.server.close(0)
            async with asyncio.timeout(_LINGERING):
                await self.server.wait_closed()
        await asyncio.sleep(0)

    async def _deliver(self) -> None:
        """What was written arrives, as long as nothing is broken."""
        sock = self.sock
        assert sock is not None

        def arrived() -> bool:
            return len(self.peer.received) == self.written or self._is_closed or self._is_told or bool(self.peer.failed) or self.reset_sent

        if not await self._until(arrived) and not self.fin_sent:
            raise Fault("what was written does not arrive", f"{len(self.peer.received)} of {self.written}; {self._describe()}")
        if self.spoilt or self.closed_by_us or self.fin_sent:
            return

        def consumed() -> bool:
            stuck = self.peer.wrote < self.peer_wrote and not self.peer.ended
            return (
                (sock.bytes_read == self.peer.wrote and not stuck)
                or self.clean_end
                or self._is_closed
                or self._is_told
                or bool(self.peer.failed)
            )

        if not await self._until(consumed):
            raise Fault("what the peer wrote does not arrive", f"{self.got} of {self.peer_wrote}; {self._describe()}")

    async def _read_all(self, sock: tlsio.TLSSocket) -> None:
        """Read to the end, as soon as nobody else does."""
        sock.resume()
        while not self._is_closed:
            try:
                while data := await sock.read():
                    self._take(data)
            except tlsio.UsageError:
                await asyncio.sleep(0.0005)  # somebody reads still, or listens
                continue
            except tlsio.TLSError as error:
                self.heard.raised.append(error)
                return
            except (Boom, Crash, asyncio.CancelledError) as error:
                self.heard.raised.append(error)
                return
            self._note_end()
            return

    async def _wait_for_calls(self) -> None:
        deadline = self.loop.time() + _LINGERING
        if self.sock is not None:
            self.tasks.append(self.loop.create_task(self.sock.wait_closed(), name="wait_closed"))
        while (waiting := [task for task in self.tasks if not task.done()]) and self.loop.time() < deadline:
            self.do_tell()
            await asyncio.wait(waiting, timeout=0.01)
        if waiting:
            raise Fault("a call never returns", sorted(task.get_name() for task in waiting))
        for task in self.tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error if isinstance(error, Fault) else Fault(f"{task.get_name()} raised {type(error).__name__}", repr(error))

    # ---- the verdict

    @property
    def _is_closed(self) -> bool:
        return "close" in self.heard.events

    @property
    def _is_told(self) -> bool:
        """The application knows of an error."""
        return bool(self.heard.errors or self.heard.raised or self._reported)

    @property
    def _reported(self) -> list[BaseException]:
        return [context["exception"] for context in self.handler if context.get("exception") is not None]

    def _judge(self) -> None:
        self._check_events()
        heard = self.heard
        if self.sock is None:
            if self.setting.role == "client" and len(heard.failed) != 1:
                raise Fault("connect ended without an error", heard.failed)
            if len(heard.failed) > 1:
                raise Fault("a failed handshake was reported twice", heard.failed)
            return
        if heard.events.count("close") != 1:
            raise Fault("there is not one close", heard.events)
        self._judge_errors()
        self._judge_loss()

    def _judge_errors(self) -> None:
        heard = self.heard
        by_event, by_handler = [id(error) for error in heard.errors], [id(error) for error in self._reported]
        if len(set(by_event + by_handler)) != len(by_event) + len(by_handler):
            raise Fault("an error was reported twice", [*heard.errors, *self._reported])
        # A call that waited, or was about to return, raises it, and nothing else reports it then.
        by_call = [id(error) for error in heard.raised if error in heard.asked_for]
        for boom in heard.booms:
            if isinstance(boom, Boom) and id(boom) not in by_event + by_handler + by_call:
                raise Fault("what a listener raised was not reported", repr(boom))
        if heard.booms and not (heard.errors or self._reported or heard.had_error):
            raise Fault("a listener failed and nothing was reported", heard.booms)
        if heard.errors and not heard.had_error:
            raise Fault("an error, and close(False)", heard.errors)

    def _judge_loss(self) -> None:
        heard = self.heard
        lost = self.written - len(self.peer.received)
        taken = self.closed_by_us and self.reset_sent  # the peer's kernel has acknowledged it, and its program did not read it
        if self.written > self.forgiven and lost and not self.gave_up and not taken and not self.peer.failed and not heard.had_error:
            raise Fault("data was lost and close(False) emitted", f"{lost} of {self.written}; {self._describe()}")
        # After its own close() a program need not take the error: only `error` listeners and close(True) tell it.
        is_excused = self.setting.role == "server" or self.gave_up or self.closed_by_us
        self.owes_report = bool(self.written > self.forgiven and lost and not self.peer.failed and not is_excused)
        if not self.clean_end and not self.gave_up and not self.closed_by_us and not heard.had_error:
            raise Fault("neither an end nor an error", self._describe())

    def _describe(self) -> str:
        heard = self.heard
        if self.sock is None:
            return f"{heard}"
        queued = f"read={self.sock.bytes_read} wrote={self.sock.bytes_written} waiting={self.sock.writable_length}"
        state = f"{self.sock!r} {queued} peer wrote={self.peer.wrote}/{self.peer_wrote} got={len(self.peer.received)} state={self.peer.state()!r} done={self.peer.done} failed={self.peer.failed!r} end_sent={self.peer.end_sent} ended={self.peer.ended}"
        return f"{state} wire eof={self.wire.eof} broken={self.wire.broken} events={heard.events} errors={heard.errors} raised={heard.raised} handler={self._reported}"

    def judge_last_report(self) -> None:
        """What nobody has asked for is reported when the socket is collected."""
        self.sock = self.listener = None
        self.tasks.clear()
        if self.owes_report and not self._is_told:
            gc.collect()
            if not self._is_told:
                raise Fault("data was lost and nothing reported")
        self._judge_errors()
        self._check_events()

    def free(self) -> None:
        """Let go of what is not Python's."""
        self.peer.free()
        if self.session is not None:
            WirePeer.forget(self.session)
        if hasattr(self, "wire"):
            self.wire.close()
        self.sock = self.server = self.listener = None


class _Sink:
    """Where `pipe` writes to."""

    def __init__(self, play: Play) -> None:
        self._play = play

    def write(self, data: bytes) -> None:
        """Look at it."""
        self._play._take(data)

    async def drain(self) -> None:
        """Take a moment."""
        await asyncio.sleep(0)

    def end(self) -> None:
        """Nothing is to be ended."""


class Theatre:
    """One loop for many plays."""

    def __init__(self) -> None:
        self.loop = CountingLoop()
        self._runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.plays = 0

    def play(self, setting: Setting, acts: Sequence[Act]) -> None:
        """Play once.

        Raises:
            Fault: what was wrong.
        """
        self.plays += 1
        play = Play(setting, self.loop)
        self._runner.get_loop().set_exception_handler(lambda _loop, context: play.handler.append(context))
        descriptors = count_descriptors()
        try:
            self._runner.run(self._watched(play, acts, descriptors))
        finally:
            self._runner.run(self._clean(play))
            self._runner.get_loop().set_exception_handler(None)  # it holds the play, and that its errors with their frames

    async def _watched(self, play: Play, acts: Sequence[Act], descriptors: int) -> None:
        try:
            async with asyncio.timeout(60):
                await play.run(acts)
        except TimeoutError:
            raise Fault("the play never ends", play._describe()) from None
        deadline = self.loop.time() + _LINGERING
        mine = asyncio.current_task()
        while self.loop.time() < deadline and (len(asyncio.all_tasks()) > 1 or count_descriptors() > descriptors):
            play.do_tell()
            await asyncio.sleep(0.001)  # a descriptor's end is no event
        if tasks := [task for task in asyncio.all_tasks() if task is not mine]:
            raise Fault("a task was left", tasks)
        if count_descriptors() > descriptors:
            raise Fault("a descriptor was left", play._describe())
        play.judge_last_report()

    async def _clean(self, play: Play) -> None:
        """After a fault, too: nothing of a play reaches the next."""
        if play.sock is not None:
            play.sock.destroy()
        if play.server is not None:
            play.server.close(0)
        play.free()
        mine = asyncio.current_task()
        if tasks := [task for task in asyncio.all_tasks() if task is not mine]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)
        await asyncio.sleep(0)

    def close(self) -> None:
        """End the loop."""
        self._runner.close()


def count_descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - called often


def shrink(theatre: Theatre, setting: Setting, acts: list[Act], fault: Fault, tries: int = 60) -> tuple[list[Act], list[int]]:
    """Leave out acts as long as the play has the same fault; return the rest, and their places."""
    kept = list(range(len(acts)))
    step = max(1, len(kept) // 2)
    while tries:
        changed = False
        for at in range(0, len(kept), step):
            without = kept[:at] + kept[at + step :]
            tries -= 1
            try:
                theatre.play(setting, [acts[index] for index in without])
            except Fault as again:
                if again.kind == fault.kind:
                    kept, changed = without, True
                    break
            if not tries:
                break
        if not changed:
            if step == 1:
                break
            step = max(1, step // 2)
    return [acts[index] for index in kept], kept


def live_connections() -> int:
    """Return how many connections the engine's binding holds, after a collection."""
    gc.collect()
    return sum(type(one).__name__ in ("Connection", "TLSSocket") for one in gc.get_objects())


__all__ = ["Fault", "Theatre", "compose", "count_descriptors", "live_connections", "replace", "shrink"]
