"""WebSockets over HTTP/1.1: uvicorn's protocol, with its faults corrected."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode

from tlsio.https.protocols.http1_response import FRAMING, check_headers, error_response
from tlsio.https.protocols.refusals import INVALID
from tlsio.https.protocols.response import check_body, check_status, has_body

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from uvicorn import Config
    from websockets.frames import Frame

    from tlsio.https.asgi import Receive, Scope, Send
    from tlsio.https.protocols.connection import Connection
    from tlsio.https.protocols.http1_response import Headers

__all__ = ["asks_for_websocket", "hand_over"]

_log = logging.getLogger("tlsio.https.websockets")

_MOST_EARLY = 65536  # bytes before a WebSocket is accepted: a client must wait for that


def asks_for_websocket(headers: Headers) -> bool:
    """Tell whether a request with `Connection: Upgrade` asks for a WebSocket."""
    upgrade, tokens = b"", []
    for name, value in headers:
        if name == b"connection":
            tokens += [token.strip() for token in value.lower().split(b",")]
        elif name == b"upgrade":
            upgrade = value.lower()
    return upgrade == b"websocket" and b"upgrade" in tokens


def hand_over(connection: Connection, transport: asyncio.Transport, url: bytes, headers: Headers, rest: bytes) -> int | None:
    """Give a connection to uvicorn's WebSocket protocol, which has limits of its own.

    Args:
        connection: The connection.
        transport: That of the connection.
        url: The path and query of the handshake.
        headers: Those of the handshake.
        rest: What the client sent after it.

    Returns:
        The status of the answer, if the handshake was refused; None: the application is asked.
    """
    service = connection.service
    config: Any = _ConnectionConfig(service.config, connection)
    websocket = _WebSocketProtocol(config, service.state, service.lifespan_state)
    websocket.connection_made(transport)
    lines = [b"GET %b HTTP/1.1\r\n" % url, *(b"%b: %b\r\n" % header for header in headers), b"\r\n"]
    websocket.data_received(b"".join(lines))
    transport.set_protocol(websocket)
    if websocket.close_sent:  # its head was refused
        response = getattr(websocket, "response", None)  # none: websockets could not read it
        return INVALID.status if response is None else response.status_code
    if rest:
        websocket.data_received(rest)
    return None


class _ConnectionConfig:
    """uvicorn's Config, with the application as one connection sees it."""

    __slots__ = ("_config", "_connection")

    def __init__(self, config: Config, connection: Connection) -> None:
        self._config = config
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def loaded_app(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Call the application."""
        connection = self._connection
        scope["extensions"]["tls"] = connection.tls
        # uvicorn asks the kernel, which knows only the proxy if there is one.
        scope["client"], scope["server"] = connection.client, connection.server
        return connection(scope, receive, send)


def _is_no_cancellation(record: logging.LogRecord) -> bool:
    """Drop uvicorn's (0.54) traceback of a cancelled request: the stop logs how many there are."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


_log.addFilter(_is_no_cancellation)
# uvicorn and websockets log each WebSocket at INFO, which the access log has.
_log.addFilter(lambda record: record.levelno > logging.INFO)


class _WebSocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's, of which 0.54 has these faults.

    It logs an error for each `websocket.http.response`, as if the application had returned without
    an answer, and for text that is not UTF-8. So clients could fill the log. It parses frames
    before the application has accepted the WebSocket, which websockets cannot do if one is not
    valid, and answers a ping before the handshake. It waits for ever after a head that websockets
    refuses. It answers each PING of a client that does not read, keeps an object for each fragment
    of a message, and reports a connection that was cut as one without a code. And it sends the
    application's headers as they are.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = _log
        self._early = bytearray()  # what the client sent before the handshake was answered
        self._is_full = False  # the client does not read what it is sent
        self._has_body = True  # of a response in place of the handshake

    def data_received(self, data: bytes) -> None:
        """Parse what came, or keep it until the handshake is answered."""
        if self.handshake_initiated and not self.handshake_complete:
            self._early += data
            if len(self._early) > _MOST_EARLY and not self.read_paused:
                self.read_paused = True
                self.transport.pause_reading()
            return
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.transport.is_closing():
            answer = b"".join(self.conn.data_to_send())
            self.handshake_complete = self.close_sent = True
            self.transport.write(answer or error_response(INVALID, self.default_headers))
            self.transport.close()

    def shutdown(self) -> None:
        """Close, because the server stops."""
        if not self.transport.is_closing():  # websockets raises an error then
            super().shutdown()

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end to the application: without a Close, the connection was cut."""
        if self.handshake_complete and not self.close_sent and self.conn.close_rcvd is None:
            self.queue.put_nowait({"type": "websocket.disconnect", "code": int(CloseCode.ABNORMAL_CLOSURE), "reason": ""})
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Let the application wait, and the client too."""
        super().pause_writing()
        self._is_full = True
        self._pause_if_full()

    def resume_writing(self) -> None:
        """Let both go on."""
        super().resume_writing()
        self._is_full = False
        if not self.read_paused:
            self.transport.resume_reading()

    def _pause_if_full(self) -> None:
        """Read nothing: each PING would be answered. uvicorn resumes when the application reads."""
        if self._is_full:
            self.transport.pause_reading()

    def handle_cont(self, event: Frame) -> None:
        """Take a fragment."""
        message: Any = self.frames[0]
        if not isinstance(message, bytearray):  # one buffer: an object for each byte would be 40 times the message
            message = bytearray(message)
        message += event.data
        self.frames = [bytes(message) if event.fin else message]
        if event.fin:
            self.send_receive_event_to_app()

    async def receive(self) -> Any:
        """Return the next message to the application."""
        message = await super().receive()
        self._pause_if_full()
        return message

    def send_receive_event_to_app(self) -> None:
        """Give the application a message, if it is valid."""
        if self.curr_msg_data_type == "text" and not _is_utf8(self.frames):
            self.conn.fail(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
        else:
            super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Take a message of the application.

        Raises:
            RuntimeError: it cannot be sent.
        """
        await super().send(self._checked(message))
        self._pause_if_full()
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True
        elif message["type"] == "websocket.accept" and self.handshake_complete:
            self._take_early()

    def _checked(self, message: Any) -> Any:
        """Return a message as it can be sent.

        Raises:
            RuntimeError: it cannot.
        """
        kind = message["type"]
        if kind == "websocket.accept":
            protocol = message.get("subprotocol") or ""
            check_headers([(b"sec-websocket-protocol", protocol.encode("latin-1"))])
            return {**message, "headers": _without_framing(message)}
        if kind == "websocket.http.response.start":
            self._has_body = has_body(check_status(message["status"]))
            # The response is sent when it is complete: its length is known.
            return {**message, "headers": _without_framing(message)}
        if kind == "websocket.http.response.body":
            return {**message, "body": bytes(check_body(message.get("body"))) if self._has_body else b""}
        if kind == "websocket.send" and message.get("bytes") is not None:
            return {**message, "bytes": check_body(message["bytes"])}
        return message

    def _take_early(self) -> None:
        """Parse what came before the handshake was answered."""
        early = bytes(self._early)
        self._early.clear()
        if early:
            self.data_received(early)
        if self.read_paused and self.queue.empty():
            self.read_paused = False
            self.transport.resume_reading()


def _without_framing(message: Any) -> list[tuple[bytes, bytes]]:
    return [one for one in check_headers(message.get("headers") or ()) if one[0] not in FRAMING]


def _is_utf8(parts: list[bytes]) -> bool:
    try:
        b"".join(parts).decode()
    except UnicodeDecodeError:
        return False
    return True
