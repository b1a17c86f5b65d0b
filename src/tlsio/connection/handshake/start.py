"""The start of a handshake: makes the engine's connection, and the side of a single socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import for_client
from tlsio.connection.context.source import given_source
from tlsio.connection.drivers.portable import PortableDriver
from tlsio.connection.handshake.client_handshake import ClientHandshake, find_server_name
from tlsio.connection.handshake.server_handshake import ServerHandshake
from tlsio.connection.handshake.server_policy import HandshakePolicy
from tlsio.model.errors import UsageTypeError
from tlsio.model.options.parse import parse_connect_options, parse_server_options
from tlsio.native._core import Connection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping

    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.native._core import Driver

__all__ = ["make_connection", "make_side", "open_driver"]


def make_connection(side: HandshakeSide, driver: Driver | None = None) -> Connection:
    """Make a connection that is prepared except for its owner."""
    connection = Connection(side.context.native, side.is_server, driver)
    side.prepare(connection)
    return connection


def open_driver(stream: object, side: HandshakeSide, loop: asyncio.AbstractEventLoop) -> PortableDriver:
    """Make a connection over `stream`, which its driver owns from now on."""
    driver = PortableDriver(loop, stream)
    driver.connection = make_connection(side, driver)
    return driver


def make_side(options: Mapping[str, Any], *, is_server: bool) -> HandshakeSide:
    """Check the options of a socket without a server or `connect`, and make its side."""
    if not isinstance(is_server, bool):
        raise UsageTypeError(f"is_server must be a bool, got {type(is_server).__name__}")
    if is_server:
        policy = HandshakePolicy(parse_server_options(options))
        if policy.source is not None:
            given_default = policy.source.find_now(None)
            policy.names.replace_by_source(given_default, *policy.derive_from_source(given_default))
        if not isinstance(policy.names.initial.options.ticket_keys, tuple | None):
            raise UsageTypeError(
                "ticket_keys= can be a source of keys only for a server, which polls it: use create_server() and upgrade()"
            )
        if policy.options.stapling is True:
            raise UsageTypeError(
                "stapling=True needs a server, which keeps the responses: use create_server() and upgrade(), or give a Stapler"
            )
        return ServerHandshake(policy)
    given = parse_connect_options(options)
    source = given_source(given)
    context = for_client(given) if source is None else source.find_now(find_server_name(given, given.host))
    return ClientHandshake(given, context, given.host)
