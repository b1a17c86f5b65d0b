"""The host of each request: it must be valid, and one that this connection may serve.

A client that has a connection to one name may send requests for another: browsers do so where one
certificate has both names (RFC 9113, section 9.1.1). If the other name asks for other client
certificates, such a request gets 421, and the client repeats it on a connection of its own.

Sources: RFC 9110, sections 7.2, 7.4 and 15.5.20; RFC 9112, section 3.2.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from tlsio.https.host import Host, parse_host

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tlsio.connection.server.entries import Entries
    from tlsio.https.asgi import Receive, Scope, Send
    from tlsio.https.protocols.connection import Connection, Handler

__all__ = ["HostCheck"]

_log = logging.getLogger("tlsio.https")

# Names of one connection for which its context source was asked. A client needs a few.
_MOST_ASKED = 32

_MISSING = "A request must have exactly one Host header.\n"
_INVALID = "The Host header is not valid.\n"
_MISDIRECTED = "This connection cannot be used for that host: open another one.\n"


class HostCheck:
    """The layer that checks the host of each request."""

    def __init__(self, entries: Entries, *, strict: bool = False) -> None:
        """Check requests.

        Args:
            entries: Those of the TLS server.
            strict: Refuse each name but the SNI name.
        """
        self._entries = entries
        self._strict = strict

    def __call__(self, handler: Handler) -> Handler:
        """Return `handler`, called only for the requests that may be served."""
        entries, strict = self._entries, self._strict

        def handle(connection: Connection, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
            values = [value for name, value in scope["headers"] if name == b"host"]
            if len(values) == 1:
                if (host := parse_host(values[0])) is None:
                    return _refuse(scope, send, 400, _INVALID)
            elif values or scope["http_version"] != "1.0":
                # RFC 9112, section 3.2: "A server MUST respond with a 400 (Bad Request) status code
                # to any HTTP/1.1 request message that lacks a Host header field and to any request
                # message that contains more than one".
                return _refuse(scope, send, 400, _MISSING)
            else:
                host = Host(connection.server_name, None)
            if strict and host.name is not None and host.name != connection.server_name:
                return _refuse(scope, send, 421, _MISDIRECTED)
            if not entries.may_request_cert or (may_serve := self._may_serve(connection, host)):
                return handler(connection, scope, receive, send)
            if may_serve is None:
                return self._ask_and_handle(handler, connection, host.name, (scope, receive, send))
            return _misdirect(connection, host, scope, send)

        return handle

    def _may_serve(self, connection: Connection, host: Host) -> bool | None:
        """Tell whether the host's entry has the policy about clients of this connection.

        None: the context source has to be asked.
        """
        entries = self._entries
        if host.name is not None and entries.has_hook:
            return _is_own(connection, host)  # what the hook would answer for another name is unknown
        try:
            entry = entries.find(host.name, _as_server_name(host))
        except Exception as error:  # noqa: BLE001  (the user's contexts: the request is refused)
            _log.warning("%s: the entry of %s cannot be used: %s", connection.client_text, host.name or host.address, error)
            return False
        if entry is not None:
            return entries.is_same_policy(connection.handshake, entry)
        return True if _is_own(connection, host) else None

    async def _ask_and_handle(
        self, handler: Handler, connection: Connection, name: str | None, request: tuple[Scope, Receive, Send]
    ) -> Any:
        if await self._ask(connection, name):
            return await handler(connection, *request)
        scope, _, send = request
        return await _refuse(scope, send, 421, _MISDIRECTED)

    async def _ask(self, connection: Connection, name: str | None) -> bool:
        """Ask the context source, as it would be asked for a ClientHello; once for a connection."""
        asked = connection.asked_names
        if name not in asked:
            if len(asked) >= _MOST_ASKED:
                return False
            try:
                asked[name] = await self._entries.ask(name)
            except Exception as error:  # noqa: BLE001  (the user's source, or its answer: the request is refused)
                _log.info("%s: there is no entry for the host %s: %s", connection.client_text, name, error)
                asked[name] = None
        entry = asked[name]
        return entry is not None and self._entries.is_same_policy(connection.handshake, entry)


def _is_own(connection: Connection, host: Host) -> bool:
    """Tell whether a host is the name of its connection, or an address and it has none."""
    own = connection.server_name
    return host.name == own if host.address is None else own in (None, host.address)


async def _misdirect(connection: Connection, host: Host, scope: Scope, send: Send) -> None:
    await _refuse(scope, send, 421, _MISDIRECTED)
    if _is_own(connection, host):
        connection.retire()  # the policy of its own name was replaced: it can serve nothing more


def _as_server_name(host: Host) -> str | None:
    """Return an IPv4 address: some clients send it as SNI, against RFC 6066, section 3."""
    return host.address if host.address is not None and ":" not in host.address else None


async def _refuse(scope: Scope, send: Send, status: int, text: str) -> None:
    """Refuse a request or a WebSocket."""
    kind = "http"
    if scope["type"] == "websocket":
        if "websocket.http.response" not in scope["extensions"]:
            await send({"type": "websocket.close"})
            return
        kind = "websocket.http"
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if scope["http_version"] != "2":
        headers.append((b"connection", b"close"))  # most clients keep to a connection that they have
    await send({"type": f"{kind}.response.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})
