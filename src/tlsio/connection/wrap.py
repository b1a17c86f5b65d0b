"""Sockets over streams that exist already."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tlsio.connection.client_side import ClientSide
from tlsio.connection.context import SecureContext
from tlsio.connection.portable_driver import PortableDriver
from tlsio.connection.server_side import ServerSide
from tlsio.model.errors import UsageTypeError
from tlsio.model.options import parse_connect_options, parse_server_options
from tlsio.native._core import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.connection.tls_socket import TLSSocket
    from tlsio.native._core import Gate

__all__ = ["accept_stream", "wrap_stream"]


def wrap_stream(
    made: TLSSocket, stream: object, *, is_server: bool, options: Mapping[str, Any] | None = None, side: ClientSide | ServerSide | None = None
) -> None:
    """Set up a new socket over `stream`, which it owns from now on."""
    if not isinstance(is_server, bool):
        raise UsageTypeError(f"is_server must be a bool, got {type(is_server).__name__}")
    if side is None:
        side = ServerSide(parse_server_options(options or {})) if is_server else _client_side(options or {})
    context = side.names.default if isinstance(side, ServerSide) else side.context
    driver = PortableDriver(asyncio.get_running_loop(), stream)
    connection = Connection(context._native, is_server, driver)  # noqa: SLF001
    if isinstance(side, ServerSide):
        connection.set_wants(
            "sni_callback" in side.hooks or bool(side.names),
            "alpn_callback" in side.hooks,
            "check_client" in side.hooks,
            side.options.alpn_mismatch == "continue",
        )
    elif side.server_name is not None:
        connection.set_server_name(side.server_name)
    made._set_up(connection, side, asyncio.get_running_loop())  # noqa: SLF001
    made._driver = driver  # noqa: SLF001
    made._address = driver.addresses  # noqa: SLF001
    driver.connection = connection


def accept_stream(stream: object, side: ServerSide, gate: Gate) -> TLSSocket:
    """A server's socket over `stream`: tickets are those of the server."""
    from tlsio.connection.tls_socket import TLSSocket  # noqa: PLC0415  (it knows this module)

    made = TLSSocket.__new__(TLSSocket)
    wrap_stream(made, stream, is_server=True, side=side)
    made._connection.use_ring(gate)  # noqa: SLF001
    return made


def _client_side(given: Mapping[str, Any]) -> ClientSide:
    options = parse_connect_options(given)
    context = options.secure_context
    if context is not None and not isinstance(context, SecureContext):
        raise UsageTypeError("options.secure_context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
    return ClientSide(options, context or SecureContext(options.context), options.host)
