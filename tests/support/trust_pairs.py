"""Pairs of options: those a session was made under, and those it comes back under; and the verdicts of both.

One side of each visit is ours, the judge; the other is OpenSSL in memory, which shows any certificate and offers any session.
A pair is made of one seed. It is played in four visits: a full handshake under the first options, which makes the session; the
resumption under the second; a full handshake under the second, whose verdict is the right one; and the last two with a
certificate asked for after the handshake, where the pair says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import random
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from cryptography import x509

import pki
import tlsio
from tlsio.model.options.context import CONTEXT_CHECKS
from wire_peer import StreamWire, WirePeer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from net import Version

KEYS = bytes(range(48))
PLACE = "http://lists.example/ca1.crl"
PATIENCE = 5.0
OTHER_NAME = "other.example"

Role = Literal["server", "client"]


# ---- who comes


def _listed(name: str, **options: Any) -> pki.Identity:
    """Make a certificate by ca1 that names the place of its revocation list."""
    place = x509.DistributionPoint([x509.UniformResourceIdentifier(PLACE)], None, None, None)
    return pki.leaf(name, issuer=pki.ca1(), names=["localhost", "127.0.0.1"], extensions=[x509.CRLDistributionPoints([place])], **options)


@cache
def good() -> pki.Identity:
    """Nothing speaks against it."""
    return _listed("localhost")


@cache
def revoked() -> pki.Identity:
    """Every list says so."""
    return _listed("localhost")


@cache
def later_revoked() -> pki.Identity:
    """The lists say so from the second visit on."""
    return _listed("localhost")


@cache
def with_rsa() -> pki.Identity:
    """RSA 2048: too small from security level 3 on."""
    return pki.leaf("localhost", issuer=pki.ca1(), key=pki.rsa_key(), names=["localhost"])


@cache
def of_ca5() -> pki.Identity:
    """By an authority that only some trust."""
    return pki.leaf("localhost", issuer=pki.ca5(), names=["localhost"])


PEERS: dict[str, Callable[[], pki.Identity | None]] = {
    "good": good,
    "revoked": revoked,
    "later revoked": later_revoked,
    "rsa": with_rsa,
    "expired": pki.expired,
    "self-signed": pki.self_signed,
    "of another authority": of_ca5,
    "chained": pki.chained,
    "missing intermediate": pki.missing_intermediate,
    "name in CN": pki.name_in_cn_only,
    "must staple": pki.must_staple,
    "none": lambda: None,
}
WHO = tuple(PEERS)
# A certificate that ends between the visits; made when it is needed, since it does not last.
EXPIRING = "expiring"
SECONDS_LEFT = 6


@cache
def crl(*, late: bool) -> bytes:
    """ca1's list, as it is at first, or from the second visit on."""
    return pki.revocation_list(pki.ca1(), revoked=[pki.revoked(), revoked(), *([later_revoked()] if late else [])], encoding=pki.DER)


@cache
def crl_pem(*, empty: bool) -> bytes:
    """The same for the option `crl`."""
    return pki.revocation_list(pki.ca1(), revoked=[] if empty else [revoked(), later_revoked()])


def make_expiring() -> pki.Identity:
    """Make a certificate with a few seconds left."""
    end = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(seconds=SECONDS_LEFT)
    return pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], not_after=end)


# ---- options


@dataclass
class World:
    """What the options of one pair share: a clock, the places of lists, where sessions are kept."""

    role: Role
    version: Version
    late: bool = False
    hours: float = 0.0
    store: tlsio.MemorySessionStore = field(default_factory=tlsio.MemorySessionStore)
    caches: dict[str, tlsio.CrlCache] = field(default_factory=dict)

    def lists(self, policy: Literal["check", "require"]) -> tlsio.CrlCache:
        """Return the cache of a policy, with the lists it has."""
        if policy not in self.caches:
            self.caches[policy] = tlsio.CrlCache(policy, fetch=self._fetch, now=self._now)
        return self.caches[policy]

    async def _fetch(self, _url: str) -> bytes:
        return crl(late=self.late)

    def _now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC) + dt.timedelta(hours=self.hours)


def _refuse(*_args: object) -> Exception:
    return tlsio.CertificateError("not this one", code="ERR_TEST")


def _accept(*_args: object) -> None:
    return None


# The values that matter of each option that may decide; None is "not given". `world` is what the values share.
SHARED: dict[str, Callable[[World], Sequence[Any]]] = {
    "ca": lambda _: [pki.ca1().cert_pem, pki.ca5().cert_pem, [pki.ca1().cert_pem, pki.ca5().cert_pem], pki.ca3().cert_pem, []],
    "extra_ca": lambda _: [None, pki.ca5().cert_pem, pki.ca3().cert_pem],
    "crl": lambda _: [None, None, crl_pem(empty=True), crl_pem(empty=False)],
    "allow_partial_trust_chain": lambda _: [None, True],
    "reject_unauthorized": lambda _: [True, False],
    "pins": lambda _: [None, None, [good().spki_sha256], [pki.ca1().spki_sha256], [pki.self_signed().spki_sha256]],
    "ciphers": lambda _: [None, "DEFAULT:@SECLEVEL=0", "DEFAULT:@SECLEVEL=3", "DHE-RSA-AES256-GCM-SHA384"],
    "sigalgs": lambda _: [None, "ecdsa_secp256r1_sha256", "ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256:rsa_pkcs1_sha256"],
    "ecdh_curve": lambda _: [None, "P-256", "P-384:P-256"],
    "fetch_crl": lambda world: [None, world.lists("check"), world.lists("require")],
}
SERVER: dict[str, Callable[[World], Sequence[Any]]] = SHARED | {
    "request_cert": lambda _: [True, True, False],
    "check_client": lambda _: [None, _accept, _refuse],
    "session_id_context": lambda _: [None, "one"],
    "pfx": lambda _: [None],
}
CLIENT: dict[str, Callable[[World], Sequence[Any]]] = SHARED | {
    "check_server_identity": lambda _: [None, _accept, _refuse],
    "identity_policy": lambda _: [None, "rfc9525"],
    "ocsp": lambda _: [None, "check", "require"],
    "min_dh_size": lambda _: [None, 1024, 3072],
    "chain_policy": lambda _: [None, "strict"],
    "identity": lambda _: [None, None, "spiffe://example.org/server"],
    "servername": lambda _: ["localhost", "localhost", OTHER_NAME],
    "cert": lambda _: [None, pki.client().cert_pem],
    "pfx": lambda _: [None],
}
# Which options speak about which peer: so many of the pairs change one of these.
SPEAKING = 0.5
SPEAK: dict[str, tuple[str, ...]] = {
    "good": ("ca", "pins", "check_client", "check_server_identity", "cert", "identity", "chain_policy"),
    "revoked": ("crl", "fetch_crl"),
    "later revoked": ("crl", "fetch_crl"),
    "rsa": ("ciphers", "sigalgs", "min_dh_size"),
    "self-signed": ("pins", "reject_unauthorized"),
    "of another authority": ("ca", "extra_ca", "pins"),
    "chained": ("ca", "extra_ca", "allow_partial_trust_chain", "pins"),
    "missing intermediate": ("ca", "extra_ca", "allow_partial_trust_chain"),
    "name in CN": ("identity_policy", "servername", "check_server_identity", "chain_policy"),
    "must staple": ("ocsp", "reject_unauthorized"),
    "none": ("request_cert", "reject_unauthorized"),
}


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two sets of options, and the circumstances."""

    seed: int
    role: Role
    version: Version
    kept: Literal["tickets", "store", "ids"]
    way: Literal["other", "reload", "name"]
    peer: str
    asked_first: bool
    asked_later: str | None
    renewed: bool
    hours: float
    late: bool
    first: dict[str, Any]
    second: dict[str, Any]
    world: World = field(repr=False)

    def describe(self) -> str:
        """Everything but what both options have in common and what is not given."""
        changed = sorted(name for name in {*self.first, *self.second} if self.first.get(name) != self.second.get(name))
        common = {name: _short(value) for name, value in self.first.items() if name not in changed and value is not None}
        pairs = {name: (_short(self.first.get(name)), _short(self.second.get(name))) for name in changed}
        return (
            f"PAIR={self.seed}: {self.role} {self.version} by {self.kept}, {self.way}, peer {self.peer}, asked first {self.asked_first}, "
            f"later {self.asked_later}, renewed {self.renewed}, hours {self.hours}, late {self.late}\n  common {common}\n  changed {pairs}"
        )


def _short(value: object) -> str:
    for name, made in {"ca1": pki.ca1(), "ca3": pki.ca3(), "ca5": pki.ca5()}.items():
        if value == made.cert_pem:
            return name
    return getattr(value, "__name__", None) or repr(value)[:60]


def expiring_pair(role: Role, version: Version, kept: Any, *, strict: bool) -> Pair:
    """Make a pair of equal options whose peer expires between the visits."""
    world = World(role, version)
    options = {name: values(world)[0] for name, values in (SERVER if role == "server" else CLIENT).items()}
    options["reject_unauthorized"] = strict
    return Pair(
        seed=-1, role=role, version=version, kept=kept, way="other", peer=EXPIRING, asked_first=False, asked_later=None, renewed=True, hours=0.0,
        late=False,        first=options, second=options, world=world,
    )  # fmt: skip


def compose(seed: int) -> Pair:
    """Make the pair of a seed."""
    rng = random.Random(seed)  # noqa: S311 - a seeded choice
    role: Role = rng.choice(["server", "client"])
    version: Version = rng.choice(["TLSv1.2", "TLSv1.3"])
    world = World(role, version)
    table = SERVER if role == "server" else CLIENT
    who = [*WHO, "good", "revoked", "later revoked", "rsa", "rsa"]
    peer = rng.choice([name for name in who if role == "server" or name != "none"])
    speaking = [name for name in SPEAK.get(peer, ()) if name in table]
    first = {name: values(world)[0] for name, values in table.items()}
    for name in [*rng.sample(sorted(table), rng.choice([0, 1, 1, 2, 3])), *rng.sample(speaking, min(len(speaking), rng.choice([0, 1])))]:
        first[name] = rng.choice(table[name](world))
    way: Any = rng.choice(["other", "other", "reload", "name"]) if role == "server" else "other"
    changeable = sorted(name for name in table if way == "other" or name in CONTEXT_CHECKS)
    second = dict(first)
    wanted = [name for name in speaking if name in changeable]
    speaks = wanted and rng.random() < SPEAKING
    for name in [rng.choice(wanted)] if speaks else rng.sample(changeable, rng.choice([0, 1, 1, 2, 3])):
        second[name] = rng.choice(table[name](world))
    if way == "other" and first.get("session_id_context") == second.get("session_id_context") is not None:
        second["session_id_context"] = "two"  # a value that two servers share makes them one server, by its definition
    asks_first = role == "server" and version == "TLSv1.3" and rng.random() < 0.2
    if asks_first:
        first["request_cert"] = second["request_cert"] = False
    later = None if asks_first else rng.choice([None, None, *WHO]) if role == "server" and version == "TLSv1.3" else None
    return Pair(
        seed=seed,
        role=role,
        version=version,
        kept=rng.choice(["tickets", "store", "ids"] if version == "TLSv1.2" else ["tickets", "store"]) if role == "server" else "tickets",
        way=way,
        peer=peer,
        asked_first=asks_first,
        asked_later=later,
        renewed=rng.random() < 0.3,
        hours=rng.choice([0.0, 0.0, 2.0]) if role == "client" else 0.0,  # servers look at lists by the engine's own clock
        late=rng.random() < 0.5,
        first=first,
        second=second,
        world=world,
    )


# ---- visits


@dataclass(frozen=True)
class Verdict:
    """What came of one visit."""

    admitted: bool
    authorized: bool = False
    reused: bool = False
    error: str = ""

    def __str__(self) -> str:
        state = f"let in, authorized={self.authorized}" if self.admitted else "refused"
        return f"{state}{' resumed' if self.reused else ''} {self.error}"


@dataclass
class Outcome:
    """The verdicts of a pair; None for a visit that was not made."""

    first: Verdict
    resumed: Verdict | None = None
    full: Verdict | None = None
    asked: bool = False  # the full handshake was followed by a question for the certificate, the resumption was not

    @property
    def is_right(self) -> bool:
        """A resumption admits nobody whom a full handshake refuses, and finds out the same."""
        if self.resumed is None or self.full is None or not self.resumed.reused or not self.resumed.admitted:
            return True
        if self.asked:
            return not self.resumed.authorized or (self.full.admitted and self.full.authorized)
        return self.full.admitted and self.full.authorized == self.resumed.authorized


async def play(pair: Pair) -> Outcome | None:
    """Make the visits; None: the options exclude one another."""
    try:
        visits = _ServerVisits(pair) if pair.role == "server" else _ClientVisits(pair)
    except (tlsio.UsageError, tlsio.ConfigError):
        return None
    try:
        return await visits.play()
    except (tlsio.UsageError, tlsio.ConfigError) as error:
        if isinstance(error, tlsio.PeerError):
            raise
        return None
    finally:
        await visits.close()


class _Visits:
    """What both roles have in common."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.peer = make_expiring() if pair.peer == EXPIRING else PEERS[pair.peer]()

    async def move(self, task: asyncio.Task[Any], peer: WirePeer, wire: StreamWire, turns: int = 0) -> None:
        """Carry bytes until the task is done, and then for some turns of the loop."""
        async with asyncio.timeout(PATIENCE):
            while not task.done() or turns > 0:
                turns -= task.done()
                self.carry(peer, wire)
                await asyncio.sleep(0)

    @staticmethod
    def carry(peer: WirePeer, wire: StreamWire) -> None:
        """Carry bytes once."""
        peer.give(wire.receive(1 << 20))
        peer.handshake()
        peer.read()
        if data := peer.take():
            wire.send(data)

    async def time_passes(self) -> None:
        """Between the visits."""
        if self.pair.peer == EXPIRING and self.peer is not None:
            left = self.peer.certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
            await asyncio.sleep(left.total_seconds() + 1.1)  # notAfter is the last second that counts
        self.pair.world.hours += self.pair.hours
        self.pair.world.late = self.pair.late

    async def close(self) -> None:
        """Let everything go."""


class _ServerVisits(_Visits):
    """We are the server, and judge clients."""

    def __init__(self, pair: Pair) -> None:
        super().__init__(pair)
        self.servers = [self._make(pair.first)]
        self.session: int | None = None
        if pair.way == "other":
            self.servers.append(self._make(pair.second))
        elif pair.way == "name":
            self.servers[0].add_context(OTHER_NAME, self._context_options(pair.second))

    def _make(self, options: dict[str, Any]) -> tlsio.Server:
        given = {name: value for name, value in options.items() if value is not None}
        kept: dict[str, Any] = {"ticket_keys": KEYS} if self.pair.kept == "tickets" else {"session_store": self.pair.world.store}
        if given["request_cert"] is False:
            for name in ("pins", "crl", "fetch_crl", "check_client"):
                given.pop(name, None)
        who = pki.localhost()
        version = self.pair.version
        return tlsio.create_server(
            cert=who.cert_pem, key=who.key_pem, min_version=version, max_version=version, handshake_timeout=PATIENCE, **kept, **given
        )

    @staticmethod
    def _context_options(options: dict[str, Any]) -> Any:
        return {name: value for name, value in options.items() if name in CONTEXT_CHECKS and value is not None}

    async def play(self) -> Outcome:
        """Make the visits."""
        first, second = self.servers[0], self.servers[-1]
        outcome = Outcome(await self._visit(first, "localhost", keep=True, ask=self.pair.asked_first), asked=self.pair.asked_first)
        if self.pair.renewed and self.session is not None:
            await self._visit(first, "localhost", keep=True, session=self.session)
        if self.session is None or not outcome.first.admitted:
            return outcome
        await self.time_passes()
        if self.pair.way == "reload":
            first.set_secure_context(**self._context_options(self.pair.second))
        name = OTHER_NAME if self.pair.way == "name" else "localhost"
        later = self.pair.asked_later is not None
        outcome.resumed = await self._visit(second, name, session=self.session, ask=later)
        if outcome.resumed.reused:
            outcome.full = await self._visit(second, name, ask=later or self.pair.asked_first)
        return outcome

    async def _visit(
        self, server: tlsio.Server, name: str, *, session: int | None = None, keep: bool = False, ask: bool = False
    ) -> Verdict:
        peer = WirePeer(self.pair.version, identity=self.peer, name=name, tickets=self.pair.kept != "ids", session=session)
        wire = StreamWire(1 << 16)
        failed: list[BaseException] = []
        server.on("tls_client_error", lambda error, _socket: failed.append(error))
        opening = asyncio.ensure_future(server.upgrade(wire.stream))
        sock: Any = None
        try:
            await self.move(opening, peer, wire, turns=6)
            with contextlib.suppress(tlsio.PeerError, tlsio.TLSError):
                sock = opening.result()
            if sock is None:
                return Verdict(admitted=False, error=str(failed[-1:]))
            found = Verdict(admitted=True, authorized=sock.authorized, reused=sock.is_session_reused(), error=str(sock.authorization_error))
            if ask:
                found = await self._ask_later(sock, peer, wire, found)
            if keep and not peer.failed:
                for _ in range(6):
                    self.carry(peer, wire)
                    await asyncio.sleep(0)
                self._keep(peer.session())
            return found
        finally:
            opening.cancel()
            if sock is not None:
                sock.destroy()
            wire.close()
            await asyncio.sleep(0)
            peer.free()

    async def _ask_later(self, sock: tlsio.TLSSocket, peer: WirePeer, wire: StreamWire, found: Verdict) -> Verdict:
        """Ask for the certificate after the handshake: what the client shows then is judged in full."""
        if self.pair.asked_later is not None:
            peer.show(PEERS[self.pair.asked_later]())
        asking = asyncio.ensure_future(sock.renegotiate())
        reading = asyncio.ensure_future(sock.read())
        try:
            await self.move(asking, peer, wire)
            asking.result()
        except tlsio.TLSError as error:
            return Verdict(admitted=False, reused=found.reused, error=str(error))
        finally:
            for task in (asking, reading):
                task.cancel()
            await asyncio.wait([asking, reading])
            for task in (asking, reading):
                if not task.cancelled():
                    task.exception()
        if sock.closed:
            return Verdict(admitted=False, reused=found.reused)
        return Verdict(admitted=True, authorized=sock.authorized, reused=found.reused, error=str(sock.authorization_error))

    def _keep(self, session: int | None) -> None:
        if self.session is not None:
            WirePeer.forget(self.session)
        self.session = session

    async def close(self) -> None:
        """End the servers, and the session."""
        self._keep(None)
        for server in self.servers:
            server.close(0)
            await server.wait_closed()


class _ClientVisits(_Visits):
    """We are the client, and judge servers."""

    async def play(self) -> Outcome:
        """Make the visits."""
        sessions: list[bytes] = []
        outcome = Outcome(await self._visit(self.pair.first, sessions=sessions))
        if self.pair.renewed and sessions:
            await self._visit(self.pair.first, session=sessions[-1], sessions=sessions)
        if not sessions or not outcome.first.admitted:
            return outcome
        await self.time_passes()
        outcome.resumed = await self._visit(self.pair.second, session=sessions[-1])
        if outcome.resumed.reused:
            outcome.full = await self._visit(self.pair.second)
        return outcome

    async def _visit(self, options: dict[str, Any], *, session: bytes | None = None, sessions: list[bytes] | None = None) -> Verdict:
        given = {name: value for name, value in options.items() if value is not None}
        if "cert" in given:
            given["key"] = pki.client().key_pem
        version = self.pair.version
        peer = WirePeer(version, is_server=True, identity=self.peer)
        wire = StreamWire(1 << 16)
        sock = tlsio.TLSSocket(wire.stream, session=session, min_version=version, max_version=version, handshake_timeout=PATIENCE, **given)
        if sessions is not None:
            sock.on("session", sessions.append)
        opening = asyncio.ensure_future(sock.handshake())
        try:
            await self.move(opening, peer, wire, turns=6)
            try:
                opening.result()
            except tlsio.TLSError as error:
                return Verdict(admitted=False, reused=sock.is_session_reused(), error=str(error))
            return Verdict(admitted=True, authorized=sock.authorized, reused=sock.is_session_reused(), error=str(sock.authorization_error))
        finally:
            opening.cancel()
            sock.destroy()
            wire.close()
            await sock.wait_closed()
            await asyncio.sleep(0)
            peer.free()


__all__ = ["CLIENT", "SERVER", "Outcome", "Pair", "World", "compose", "expiring_pair", "play"]
