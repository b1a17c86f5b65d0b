"""Two connected sockets in one process."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tlsio.certs import Authority
from tlsio.connection.socket.tls_socket import TLSSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

__all__ = ["connected_pair"]


@asynccontextmanager
async def connected_pair(
    authority: Authority | None = None,
    *,
    mutual: bool = False,
    client: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None,
) -> AsyncIterator[tuple[TLSSocket, TLSSocket]]:
    """Give two connected sockets, the client's first; they are destroyed after the block.

    The client has verified that the server is localhost.

    Args:
        authority: Issues the certificates. Default: a new one.
        mutual: The client presents a certificate, too, and the server verifies it.
        client: Options of the client, beside or instead of these.
        server: Options of the server, beside or instead of these.

    Raises:
        TLSError: the handshake failed.
    """
    issuer = authority or Authority.create("tlsio test authority")
    leaf, ca = issuer.server("localhost"), issuer.root_pem
    of_server: dict[str, Any] = {"cert": leaf.chain_pem, "key": leaf.key_pem}
    of_client: dict[str, Any] = {"servername": "localhost", "ca": ca}
    if mutual:
        own = issuer.client("test client")
        of_server |= {"ca": ca, "request_cert": True}
        of_client |= {"cert": own.chain_pem, "key": own.key_pem}
    here, there = socket.socketpair()
    with here, there:
        serving = TLSSocket(there, is_server=True, **{**of_server, **(server or {})})
        connecting = TLSSocket(here, **{**of_client, **(client or {})})
        try:
            await asyncio.gather(serving.handshake(), connecting.handshake())
            yield connecting, serving
        finally:
            for one in (connecting, serving):
                one.destroy()
                await one.wait_closed()
