"""Whether a server resumes its sessions, for one version of TLS."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.probe.target import Target

__all__ = ["TICKET_PATIENCE", "Resumption", "SessionRecorder", "check_resumption", "find_refusal"]

# Seconds that a server of TLS 1.3 has for its first ticket after the handshake. Servers send it at
# once; a second is more than the longest way there and back.
TICKET_PATIENCE = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumption:
    """How sessions are resumed.

    Attributes:
        supported: The server speaks this version, and accepted the handshake.
        offer: What the server gave for later: a "ticket", a "session id", or nothing.
        resumed: It resumed the session. None: that could not be tried, for instance because its
            certificate has expired, so that the session may not be used.
    """

    supported: bool
    offer: Literal["ticket", "session id"] | None = None
    resumed: bool | None = None


class SessionRecorder:
    """A session cache that keeps the newest session.

    Attributes:
        session: It; None so far.
        arrived: Set with the first one.
    """

    def __init__(self) -> None:
        self.session: bytes | None = None
        self.arrived = asyncio.Event()

    def take(self, _key: Hashable) -> bytes | None:
        """Offer nothing."""

    def put(self, _key: Hashable, data: bytes, **_facts: object) -> None:
        """Keep a session."""
        self.session = data
        self.arrived.set()

    def forget(self, _key: Hashable) -> None:
        """Keep it: this connection was to give a session, not to use one."""


async def find_refusal(socket: TLSSocket, patience: float) -> Exception | None:
    """Wait for the server to judge the client: in TLS 1.3 that comes after the client's handshake.

    A ticket shows that the client is accepted. Servers without tickets get `patience` seconds.
    """
    if socket.get_protocol() != "TLSv1.3":
        return None
    judged: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    @socket.on("session")
    def accept(_: bytes) -> None:
        if not judged.done():
            judged.set_result(None)

    @socket.on("error")
    def refuse(error: Exception) -> None:
        if not judged.done():
            judged.set_result(error)

    try:
        await asyncio.wait({judged}, timeout=patience)
    finally:
        socket.off("session", accept)
        socket.off("error", refuse)
    return judged.result() if judged.done() else None


async def check_resumption(target: Target, version: Literal["TLSv1.2", "TLSv1.3"]) -> Resumption:
    """Connect, take the session, and connect again with it.

    Raises:
        OSError: the server cannot be reached.
        Cancelled: the connections are closed.
    """
    recorder = SessionRecorder()
    only = {"min_version": version, "max_version": version}
    try:
        socket, _ = await target.secure(only, session=None, session_cache=recorder)
    except TLSError:
        return Resumption(supported=False)
    try:
        if version == "TLSv1.3":
            with suppress(TimeoutError):
                await asyncio.wait_for(recorder.arrived.wait(), min(TICKET_PATIENCE, target.timeout))
        is_ticket = version == "TLSv1.3" or socket.get_tls_ticket() is not None
    finally:
        await socket.aclose()
    if recorder.session is None:
        return Resumption(supported=True)
    offer: Literal["ticket", "session id"] = "ticket" if is_ticket else "session id"
    try:
        socket, side = await target.secure(only, session=recorder.session, session_cache=None)
    except TLSError:
        return Resumption(supported=True, offer=offer, resumed=False)
    resumed = None if side.session is None else socket.is_session_reused()
    await socket.aclose()
    return Resumption(supported=True, offer=offer, resumed=resumed)
