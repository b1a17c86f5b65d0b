"""What the session tests share: a store in memory that can be told to misbehave, and clients that come back."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from asn1 import elements, tlv

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import tlsio
    from net import Net


TICKET = 0xAA  # the field of OpenSSL's session (ssl/ssl_asn1.c)


@dataclass
class Store:
    """A SessionStore. `later`: its methods are awaitable. `broken`: what each of them raises."""

    later: bool = False
    broken: Exception | None = None
    kept: dict[bytes, bytes] = field(default_factory=dict)
    lives: list[float] = field(default_factory=list)

    def get(self, session_id: bytes) -> Any:
        """As SessionStore says; so are the others."""
        return self._do(lambda: self.kept.get(session_id))

    def put(self, session_id: bytes, data: bytes, ttl: float) -> Any:
        """Keep."""
        self.lives.append(ttl)
        return self._do(lambda: self.kept.__setitem__(session_id, data))

    def delete(self, session_id: bytes) -> Any:
        """Forget."""
        return self._do(lambda: self.kept.pop(session_id, None))

    def _do(self, work: Callable[[], Any]) -> Any:
        async def do() -> Any:
            await asyncio.sleep(0)
            return now()

        def now() -> Any:
            if self.broken is not None:
                raise self.broken
            return work()

        return do() if self.later else now()


def retold(session: bytes, changes: Mapping[int, bytes]) -> bytes:
    """Change elements of a session in DER: contents by tag, of the first that has it."""
    left = dict(changes)
    return tlv(0x30, *(tlv(tag, left.pop(tag, content)) for tag, content in elements(session)))


def greet(sock: tlsio.TLSSocket) -> None:
    """Say something, so that the client sees the tickets before it, and end."""
    sock.end(b"hello")


@dataclass
class Visit:
    """What a client came back with."""

    reused: bool
    authorized: bool
    error: str | None
    sessions: list[bytes]

    @property
    def session(self) -> bytes:
        """The newest."""
        return self.sessions[-1]


async def visit(net: Net, server: tlsio.Server, **options: Any) -> Visit:
    """Connect, read to the end, close."""
    sessions: list[bytes] = []
    async with await net.connect(server, on={"session": sessions.append}, **options) as sock:
        assert await sock.readexactly(5) == b"hello"
        assert await sock.read() == b""
        return Visit(sock.is_session_reused(), sock.authorized, sock.authorization_error, sessions)
