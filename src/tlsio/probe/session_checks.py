"""Findings about what outlives or precedes a handshake: sessions, renegotiation, STARTTLS."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tlsio.model.errors import TLSError
from tlsio.probe.findings import found
from tlsio.probe.starttls import PIPELINED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlsio.probe.findings import Finding
    from tlsio.probe.resumption import Resumption
    from tlsio.probe.target import Target

__all__ = ["check_pipelining", "check_renegotiation", "check_sessions"]


def check_sessions(seen: Mapping[str, Resumption]) -> Iterator[Finding]:
    """Judge what `check_resumption` found, by version."""
    broken = [version for version, one in seen.items() if one.offer == "ticket" and one.resumed is False]
    if broken:
        yield found("resumption-broken", f"The server gives tickets and does not resume their sessions, in {', '.join(broken)}.")
    for version, kind in (("TLSv1.3", "tickets-never"), ("TLSv1.2", "no-resumption-tls12")):
        one = seen.get(version)
        # A session id alone promises nothing: RFC 5246 §F.1.4 lets servers forget it.
        if one is not None and one.supported and (one.offer is None or (one.offer == "session id" and one.resumed is False)):
            yield found(kind, f"The server gives no ticket and keeps no session in {version}.")


async def check_renegotiation(target: Target, *, patience: float) -> Finding | None:
    """Try to renegotiate a connection of TLS 1.2, and tell whether the server allows it.

    Raises:
        OSError: the server cannot be reached.
        Cancelled: the connection is closed.
    """
    tried = await target.attempt({"max_version": "TLSv1.2"})
    if tried.socket is None:
        return None
    try:
        async with asyncio.timeout(patience):
            await tried.socket.renegotiate()
    except (TLSError, OSError):
        return None
    finally:
        tried.socket.destroy()
    return found("client-renegotiation", "The server lets clients renegotiate in TLS 1.2.")


async def check_pipelining(target: Target, *, patience: float) -> Finding | None:
    """Send a command together with STARTTLS, and tell whether the server answers it under TLS.

    Raises:
        OSError: the server cannot be reached.
        Cancelled: the connection is closed.
    """
    try:
        tried = await target.attempt(trailing=PIPELINED[target.starttls or ""])
    except TLSError:
        return None  # the server refuses it
    if tried.socket is None:
        return None
    try:
        async with asyncio.timeout(patience):
            answer = await tried.socket.read()
    except (TLSError, OSError):
        return None
    finally:
        tried.socket.destroy()
    if not answer:
        return None
    return found("starttls-command-injection", "A command that was sent in plaintext with STARTTLS was answered under TLS.")
