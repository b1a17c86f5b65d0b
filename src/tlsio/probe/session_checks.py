"""Findings about resumption and renegotiation."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tlsio.model.errors import TLSError
from tlsio.probe.findings import found

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tlsio.probe.findings import Finding
    from tlsio.probe.resumption import Resumption
    from tlsio.probe.target import Target

__all__ = ["check_renegotiation", "check_sessions"]


def check_sessions(seen: Mapping[str, Resumption]) -> Iterator[Finding]:
    """Judge what `check_resumption` found, by version."""
    broken = [f"{version} ({one.offer})" for version, one in seen.items() if one.resumed is False]
    if broken:
        yield found("resumption-broken", f"The server gives sessions and does not resume them: {', '.join(broken)}.")
    for version, kind in (("TLSv1.3", "tickets-never"), ("TLSv1.2", "no-resumption-tls12")):
        one = seen.get(version)
        if one is not None and one.supported and one.offer is None:
            yield found(kind, f"The server gives nothing to resume a session of {version} with.")


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
