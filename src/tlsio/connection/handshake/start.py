"""The start of a handshake: a connection of the engine that knows what its side wants, and the side of a socket that stands alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SecureContext
from tlsio.connection.handshake.client_handshake import ClientHandshake
from tlsio.connection.handshake.server_handshake import ServerHandshake
from tlsio.model.errors import UsageTypeError
from tlsio.model.options.parse import parse_connect_options, parse_server_options
from tlsio.native._core import Connection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tlsio.native._core import Driver

__all__ = ["make_connection", "make_side"]


def make_connection(side: ClientHandshake | ServerHandshake, driver: Driver) -> Connection:
    """Make a connection that knows all but its owner."""
    context = side.names.default if isinstance(side, ServerHandshake) else side.context
    connection = Connection(context.native, side.is_server, driver)
    if isinstance(side, ServerHandshake):
        connection.set_wants(
            hello=side.asks_name,
            alpn=side.asks_protocol,
            client=side.asks_client,
            status=side.asks_status,
            psk=side.asks_key,
            alpn_continue=side.options.alpn_mismatch == "continue",
            sessions=side.session_wants,
        )
        connection.set_psk_hint(side.options.psk_identity_hint)
        connection.record(offer=side.asks_with_hello)
        connection.set_renegotiation(*side.renegotiation)
        connection.set_timeouts(side.options.handshake_timeout or 0.0, side.options.partial_record_timeout or 0.0)
    else:
        side.prepare(connection)
    return connection


def make_side(options: Mapping[str, Any], *, is_server: bool) -> ClientHandshake | ServerHandshake:
    """Check the options of a socket that stands alone."""
    if not isinstance(is_server, bool):
        raise UsageTypeError(f"is_server must be a bool, got {type(is_server).__name__}")
    if is_server:
        side = ServerHandshake(parse_server_options(options))
        if not isinstance(side.names.initial.options.ticket_keys, tuple | None):
            raise UsageTypeError("A source of ticket keys needs a server that asks it again: use create_server and upgrade")
        if side.options.stapling is True:
            raise UsageTypeError(
                "stapling=True needs a server that keeps the responses: use create_server and upgrade, or give its Stapler"
            )
        return side
    given = parse_connect_options(options)
    context = given.secure_context
    if context is not None and not isinstance(context, SecureContext):
        raise UsageTypeError("options.secure_context must be a SecureContext", code="ERR_TLS_INVALID_CONTEXT")
    return ClientHandshake(given, context or SecureContext(given.context), given.host)
