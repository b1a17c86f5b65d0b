"""WebSockets over HTTP/2 (RFC 8441), as an ASGI application sees them.

The frames are those of the websockets library, without its handshake: a stream that was opened by
an extended CONNECT and answered with 200 carries them in DATA, both ways. END_STREAM stands for the
end of a TCP connection.

What the client sends is kept as it came, within the stream's window, and parsed a slice at a time
when the application has taken the message before: compressed messages would otherwise unfold
without a bound. So a client's PING waits for the messages before it. What is parsed and waits for
the application, or for the rest of its message, is bounded for each connection.

Source: the ASGI specification, "HTTP & WebSocket ASGI Message Format", and its extension "WebSocket
Denial Response".
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader, InvalidState
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from tlsio.connection.waiters import wait_in, wake
from tlsio.https.deadline import Deadline
from tlsio.https.protocols.http2.engine import ErrorCodes
from tlsio.https.protocols.http2.stream import ClientDisconnectedError, Stream
from tlsio.https.protocols.refusals import NOT_A_HANDSHAKE, SERVER_ERROR, RefusedError
from tlsio.https.protocols.response import check_body, check_status, has_body

if TYPE_CHECKING:
    from collections.abc import Iterable

    from uvicorn import Config
    from websockets.frames import Frame

    from tlsio.connection.waiters import Waiters
    from tlsio.https.asgi import Message, Scope
    from tlsio.https.protocols.http2.engine import Header
    from tlsio.https.protocols.http2.protocol import Http2Protocol

__all__ = ["WebSocketStream"]

_VERSION = b"13"  # RFC 6455, section 4.1
_OK, _FORBIDDEN = 200, 403
_SLICE = 4096  # bytes that are parsed at once; deflate makes a thousand times as many of them at most
_MAX_REPLIES = 65536  # bytes of PONG that wait for the client's window; above it, no more is parsed
_CLOSE_TIMEOUT = 10.0  # seconds for the client's answer to our Close, as in uvicorn
_PING_BYTES = 4
_TOO_MUCH = "too much data waits on this connection"
# uvicorn's: 4 KiB windows take a sixth of zlib's usual memory for each connection.
_WINDOW_BITS, _COMPRESSION = 12, {"memLevel": 5}


class WebSocketStream(Stream):
    """ASGI's `receive` and `send` for one WebSocket.

    Attributes:
        kept: Bytes of messages that the application has not taken.
    """

    def __init__(self, protocol: Http2Protocol, stream_id: int, scope: Scope) -> None:
        """Take a request to open a WebSocket.

        Raises:
            RefusedError: its headers are wrong.
        """
        super().__init__(protocol, stream_id, scope)
        config = protocol.service.config
        self._extensions, self._frames = _negotiate(scope["headers"], config)
        scope["subprotocols"] = _subprotocols(scope["headers"])
        scope["extensions"]["websocket.http.response"] = {}
        self._is_connect_given = self._is_accepted = self._is_denied = False
        self._is_closed = self._has_app_closed = False
        self._has_body = True  # a response in place of the WebSocket
        self._incoming = bytearray()  # not parsed
        self._reply_bytes = 0
        self._message = bytearray()  # the fragments of a message that has not ended
        self._is_text = False
        self._messages: deque[tuple[Message, int]] = deque()  # with their sizes
        self.kept = 0
        self._disconnect: Message | None = None
        self._news: Waiters = {}
        self._close_deadline = Deadline(protocol.loop, self._close_is_late)
        self._ping_interval, self._ping_timeout = config.ws_ping_interval, config.ws_ping_timeout
        self._ping_deadline = Deadline(protocol.loop, self._ping_is_due)
        self._ping: bytes | None = None  # the payload that the client owes

    # ---- the connection calls

    def take_data(self, data: bytes, *, is_ended: bool) -> None:
        """Take bytes of WebSocket frames."""
        if not self.is_open or self._is_denied:
            self._engine.consumed(self.stream_id, len(data))
        else:
            self._incoming += data
            self._parse()
        if is_ended:
            self.end_request()

    def end_request(self) -> None:
        """Take the end of the client's direction: without a Close, the connection was cut."""
        self.is_request_ended = True
        self._parse()
        wake(self._news)
        if self._is_accepted and not self._incoming:
            self._end_with(CloseCode.ABNORMAL_CLOSURE, "")

    def shutdown(self) -> None:
        """Close, as uvicorn does: the client may connect again."""
        if self._is_accepted and self._frames.state is State.OPEN:
            self._close(CloseCode.SERVICE_RESTART, "")

    def _ended(self) -> None:
        self._drop_incoming()
        self._close_deadline.end()
        self._ping_deadline.end()
        if self._disconnect is None:
            self._disconnect = _disconnect(CloseCode.ABNORMAL_CLOSURE, "")
        wake(self._news)

    def _drop_incoming(self) -> None:
        self._engine.consumed(self.stream_id, len(self._incoming))
        self._incoming.clear()

    def _stop_client(self) -> None:
        """Reset the stream: after its Close the client has nothing to send."""
        self._engine.reset(self.stream_id, ErrorCodes.NO_ERROR)

    # ---- frames of the client

    def _parse(self) -> None:
        """Parse what came, until there is a message for the application."""
        frames = self._frames
        while self._is_accepted and self._incoming and not self._messages and self._reply_bytes <= _MAX_REPLIES and not self.is_gone:
            part = bytes(self._incoming[:_SLICE])
            del self._incoming[:_SLICE]
            self._engine.consumed(self.stream_id, len(part))
            frames.receive_data(part)
            for frame in frames.events_received():
                self._take_frame(frame)
            if frames.parser_exc is not None and frames.close_sent is not None:
                self._end_with(frames.close_sent.code, frames.close_sent.reason)
            self._transmit(is_reply=True)
        self._protocol.flush()

    def _take_frame(self, frame: Any) -> None:
        opcode = frame.opcode
        closed = self._frames.close_rcvd
        if opcode is Opcode.CLOSE and closed is not None:
            self._end_with(closed.code, closed.reason)
        elif opcode is Opcode.PONG:
            self._take_pong(bytes(frame.data))
        elif opcode is not Opcode.PING:  # the library answers it
            self._take_fragment(frame)

    def _take_fragment(self, frame: Frame) -> None:
        fragment, frame.data = frame.data, b""  # the library's parser keeps the frame until the next one
        if self._is_closed:
            return  # the application does not expect a message after its Close
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        self._message += fragment
        self._keep(len(fragment))
        if not frame.fin or self._is_closed:
            return
        data = bytes(self._message)
        self._message.clear()
        if self._is_text:
            try:
                self._messages.append(({"type": "websocket.receive", "text": data.decode()}, len(data)))
            except UnicodeDecodeError:
                self._frames.fail(CloseCode.INVALID_DATA, "a text message is not UTF-8")
                self._end_with(CloseCode.INVALID_DATA, "")
        else:
            self._messages.append(({"type": "websocket.receive", "bytes": data}, len(data)))
        wake(self._news)

    def _keep(self, count: int) -> None:
        """Count bytes of messages; less than 0: they are not kept any more."""
        self.kept += count
        self._protocol.count_kept(count)

    def drop_messages(self) -> None:
        """Close: all WebSockets of the connection keep too much together, and this one the most."""
        self.forget_messages()
        if self.is_open and not self._is_closed:
            self._frames.fail(CloseCode.TRY_AGAIN_LATER, _TOO_MUCH)
            self._end_with(CloseCode.TRY_AGAIN_LATER, _TOO_MUCH)

    def forget_messages(self) -> None:
        """Release what the application has not taken."""
        self._message.clear()
        self._messages.clear()
        self._keep(-self.kept)

    def _end_with(self, code: int, reason: str) -> None:
        """Note why the WebSocket is over; the first reason counts."""
        self._is_closed = True
        if self._disconnect is None:
            self._disconnect = _disconnect(code, reason)
        self._transmit()
        if not self._ends:
            self._write(b"", ends=True)
        if self.is_open:  # it waits for the client's window
            self._close_deadline.set(_CLOSE_TIMEOUT)
        wake(self._news)

    # ---- frames to the client

    def _transmit(self, *, is_reply: bool = False) -> None:
        """Send what the library has; an empty item is its mark for the end of the connection."""
        chunks = self._frames.data_to_send()
        data = b"".join(chunks)
        if is_reply:
            self._reply_bytes += len(data)
        if (data or b"" in chunks) and self.is_open and not self._ends:
            self._write(data, ends=b"" in chunks)

    def pump(self) -> bool:
        """Send what there is room for; parse on when the replies are sent."""
        if not super().pump():
            return False
        if self._reply_bytes:
            self._reply_bytes = 0
            if self._incoming:
                self._protocol.loop.call_soon(self._parse)
        return True

    def _close(self, code: int, reason: str) -> None:
        self._is_closed = True
        self._disconnect = _disconnect(code, reason)
        self._frames.send_close(code, reason)
        self._transmit()
        self.forget_messages()
        self._close_deadline.set(_CLOSE_TIMEOUT)
        self._ping_deadline.clear()
        wake(self._news)
        self._parse()

    def _close_is_late(self) -> None:
        # RFC 8441, section 5: what would reset a TCP connection is RST_STREAM with CANCEL.
        self._protocol.reset(self, ErrorCodes.CANCEL)

    # ---- keeping alive

    def _watch_pings(self) -> None:
        if self._ping_interval:
            self._ping_deadline.set(self._ping_interval)

    def _ping_is_due(self) -> None:
        if self._ping is None:
            self._ping = os.urandom(_PING_BYTES)
            self._frames.send_ping(self._ping)
            self._transmit()
            self._ping_deadline.set(self._ping_timeout)
        elif self._incoming:
            self._watch_pings()  # the answer may be there: the application has not read so far
        else:
            self._frames.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._end_with(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")

    def _take_pong(self, payload: bytes) -> None:
        if payload == self._ping:
            self._ping = None
            self._watch_pings()

    # ---- the application

    async def receive(self) -> Message:
        """Return `websocket.connect`, the next message, or `websocket.disconnect`."""
        if not self._is_connect_given:
            self._is_connect_given = True
            return {"type": "websocket.connect"}
        while True:
            self._parse()
            if self._messages:
                message, size = self._messages.popleft()
                self._keep(-size)
                return message
            if self._disconnect is not None:
                return self._disconnect
            if self.is_request_ended and self._is_accepted and not self._incoming:
                self._end_with(CloseCode.ABNORMAL_CLOSURE, "")
                continue
            await wait_in(self._news)

    async def send(self, message: Message) -> None:
        """Take a message of the application.

        Raises:
            ClientDisconnectedError: the WebSocket is over.
        """
        kind = message["type"]
        if self.is_gone or (self._is_accepted and self._frames.close_rcvd is not None):
            raise ClientDisconnectedError("The client has closed the WebSocket")
        if self._is_denied:
            self._send_denial(message, kind)
        elif self._is_accepted:
            self._send_message(message, kind)
        elif kind == "websocket.accept":
            self._accept(message)
        elif kind == "websocket.close":
            self._deny(_FORBIDDEN, (), is_ended=True)
        elif kind == "websocket.http.response.start":
            self._deny(check_status(message["status"]), _without_length(message.get("headers")), is_ended=False)
        else:
            raise RuntimeError(f"{kind!r} is out of order: the WebSocket has not been accepted")
        if self._outgoing:
            await self._drained()

    def _accept(self, message: Message) -> None:
        headers = _without_length(message.get("headers"))
        if subprotocol := message.get("subprotocol"):
            headers.append((b"sec-websocket-protocol", subprotocol.encode("ascii")))
        if self._extensions is not None:
            headers.append((b"sec-websocket-extensions", self._extensions.encode("ascii")))
        self._send_head(_OK, headers)
        self._is_accepted = True
        self._watch_pings()
        self._protocol.flush()
        if self.is_request_ended and not self._incoming:
            self._end_with(CloseCode.ABNORMAL_CLOSURE, "")

    def _send_message(self, message: Message, kind: str) -> None:
        if self._has_app_closed:
            raise RuntimeError(f"The WebSocket is closed; {kind!r} came after it")
        if self._is_closed:
            raise ClientDisconnectedError("The WebSocket is over")
        if kind == "websocket.close":
            self._has_app_closed = True
            self._close(message.get("code") or CloseCode.NORMAL_CLOSURE, message.get("reason") or "")
            return
        if kind != "websocket.send":
            raise RuntimeError(f"{kind!r} is out of order: the WebSocket has been accepted")
        try:
            if (data := message.get("bytes")) is not None:
                self._frames.send_binary(check_body(data))
            else:
                self._frames.send_text(message["text"].encode())
        except InvalidState as error:
            raise ClientDisconnectedError("The WebSocket is closed") from error
        self._transmit()

    def _deny(self, status: int, headers: Iterable[Header], *, is_ended: bool) -> None:
        """Refuse the WebSocket with an ordinary response."""
        self._send_head(status, headers, is_ended=is_ended)
        self._is_denied, self._has_body = True, has_body(status)
        self._drop_incoming()
        self._disconnect = _disconnect(CloseCode.ABNORMAL_CLOSURE, "")
        self._protocol.flush()

    def _send_denial(self, message: Message, kind: str) -> None:
        if kind != "websocket.http.response.body" or self._ends or self.is_answered:
            raise RuntimeError(f"{kind!r} is out of order: the WebSocket has been refused")
        body = check_body(message.get("body")) if self._has_body else b""
        self._write(body, ends=not message.get("more_body", False))

    # ---- the end

    async def _app_returned(self) -> None:
        if not self.is_open:
            return
        if self._is_accepted:
            if not self._is_closed:
                self._close(CloseCode.NORMAL_CLOSURE, "")
            while self.is_open:
                await wait_in(self._sent)
        elif not self._ends:
            self._protocol.log.error("The ASGI application returned before it accepted or refused a WebSocket")
            self._fail()
        await self._drained()

    def _fail(self) -> None:
        if not self.is_open:
            return
        if self._is_accepted:
            self._frames.fail(CloseCode.INTERNAL_ERROR)
            self._end_with(CloseCode.INTERNAL_ERROR, "")
            if self.is_open:
                self._protocol.reset(self, ErrorCodes.INTERNAL_ERROR)
        elif self._is_denied:
            self._protocol.reset(self, ErrorCodes.INTERNAL_ERROR)
        else:
            self._protocol.answer(self.stream_id, SERVER_ERROR, is_request_ended=True)
            self._finish()


def _disconnect(code: int, reason: str) -> Message:
    return {"type": "websocket.disconnect", "code": int(code), "reason": reason}


def _without_length(headers: Iterable[Header] | None) -> list[Header]:
    """Return headers without a length: of a WebSocket's stream, or of a body that may differ.

    RFC 9110, section 8.6: "A server MUST NOT send a Content-Length header field in any 2xx
    (Successful) response to a CONNECT request".
    """
    return [(name, value) for name, value in headers or () if bytes(name).lower() != b"content-length"]


def _subprotocols(headers: Iterable[Header]) -> list[str]:
    values = [value.decode("latin-1") for name, value in headers if name == b"sec-websocket-protocol"]
    return [token.strip() for value in values for token in value.split(",") if token.strip()]


def _negotiate(headers: Iterable[Header], config: Config) -> tuple[str | None, ServerProtocol]:
    """Return the response's Sec-WebSocket-Extensions, and a parser that has them.

    Raises:
        RefusedError: the version or the extensions cannot be used.
    """
    if (b"sec-websocket-version", _VERSION) not in headers:
        raise RefusedError(NOT_A_HANDSHAKE, [(b"sec-websocket-version", _VERSION)])
    offered = Headers()
    for name, value in headers:
        if name == b"sec-websocket-extensions":
            offered["Sec-WebSocket-Extensions"] = value.decode("latin-1")
    factories = [_DEFLATE] if config.ws_per_message_deflate else []
    frames = ServerProtocol(extensions=factories, state=State.OPEN, max_size=config.ws_max_size)
    try:
        answer, frames.extensions = frames.process_extensions(offered)
    except InvalidHeader:
        raise RefusedError(NOT_A_HANDSHAKE) from None
    return answer, frames


_DEFLATE = ServerPerMessageDeflateFactory(
    server_max_window_bits=_WINDOW_BITS, client_max_window_bits=_WINDOW_BITS, compress_settings=_COMPRESSION
)
