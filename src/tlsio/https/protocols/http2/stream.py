"""One stream: the task of its application, and flow control of what it sends.

What an application sends goes into a queue, from which it leaves as the client and the transport
have room. `send` waits until the queue is empty, so one message is kept at most for each task that
sends, and messages of several tasks never mix.

A stream ends once, in one of three ways: both directions have ended in order; one side resets it;
or the connection is lost. From then on `is_gone` or `is_answered` is set, and nothing is sent.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any

from tlsio.connection.tasks import ends_task
from tlsio.connection.waiters import wait_in, wake
from tlsio.https.asgi import GONE
from tlsio.https.protocols.http2.fields import response_head

if TYPE_CHECKING:
    from tlsio.connection.waiters import Waiters
    from tlsio.https.asgi import App, Message, Scope
    from tlsio.https.protocols.http2.engine import Header
    from tlsio.https.protocols.http2.protocol import Http2Protocol

__all__ = ["ClientDisconnectedError", "Stream"]


class ClientDisconnectedError(OSError):
    """The client has gone: nothing can be sent to it."""


class Stream(ABC):
    """What requests and WebSockets have in common.

    Attributes:
        stream_id: The stream's number.
        scope: The ASGI scope.
        is_gone: A reset or the end of the connection has ended the stream.
        is_answered: Our direction has ended in order.
        is_request_ended: The client's direction has ended in order.
        is_reset: One side has reset the stream.
    """

    def __init__(self, protocol: Http2Protocol, stream_id: int, scope: Scope) -> None:
        """Take a request of a connection."""
        self.stream_id = stream_id
        self.scope = scope
        self.is_gone = self.is_answered = self.is_request_ended = self.is_reset = False
        self._protocol = protocol
        self._engine = protocol.engine
        self._outgoing: deque[bytes | memoryview] = deque()
        self._ends = False  # after `_outgoing`, and `_trailers`
        self._trailers: list[Header] = []
        self._sent: Waiters = {}

    @property
    def is_open(self) -> bool:
        """Whether something can be sent."""
        return not (self.is_gone or self.is_answered)

    # ---- the connection calls

    @abstractmethod
    def take_data(self, data: bytes, *, is_ended: bool) -> None:
        """Take a part of the client's data; `_engine.consumed` is owed its length."""

    @abstractmethod
    def end_request(self) -> None:
        """Take the end of the client's direction."""

    def shutdown(self) -> None:  # noqa: B027  (only WebSockets, which have no end of their own, act)
        """The server stops."""

    def end(self) -> None:
        """End at once: the application learns of it when it next receives."""
        if not self.is_gone:
            self.is_gone = True
            self._outgoing.clear()
            wake(self._sent)
            self._ended()
            if GONE in self.scope:
                self.scope[GONE]()
            self._protocol.stream_ended(self)

    @abstractmethod
    def _ended(self) -> None:
        """Release what the application will not read, and wake its receivers."""

    # ---- sending

    def _send_head(self, status: int, headers: Any, *, is_ended: bool = False) -> None:
        """Send a response's head without looking at its content-length."""
        head, _ = response_head(status, headers, self._protocol.default_headers)
        self._engine.send_headers(self.stream_id, head, is_ended=is_ended)
        if is_ended:
            self._finish()

    def _write(self, data: bytes | memoryview, *, ends: bool = False) -> None:
        """Queue data, and the end, and send what there is room for."""
        if data:
            self._outgoing.append(data)
        self._ends = ends
        if data or ends:
            self.pump()

    def pump(self) -> bool:
        """Send what there is room for; False: the stream waits for more room."""
        if self.is_gone:
            return True
        protocol, outgoing = self._protocol, self._outgoing
        has_sent = False
        while outgoing:
            data = outgoing[0]
            room = protocol.room(self.stream_id)
            if room <= 0:
                protocol.wait_for_room(self, goes_last=has_sent)
                return False
            if len(data) > room:
                data = memoryview(data)
                outgoing[0], data = data[room:], data[:room]
            else:
                outgoing.popleft()
            is_ended = self._ends and not outgoing and not self._trailers
            self._engine.send_data(self.stream_id, data, is_ended=is_ended)
            protocol.body_sent(len(data))
            has_sent = True
            if is_ended:
                self._finish()
        if self._ends and not self.is_answered:
            if self._trailers:
                self._engine.send_headers(self.stream_id, self._trailers, is_ended=True)
            else:
                self._engine.send_data(self.stream_id, b"", is_ended=True)
            self._finish()
        wake(self._sent)
        protocol.flush()
        return True

    def _finish(self) -> None:
        """Note that our direction has ended."""
        self.is_answered = True
        if not self.is_request_ended:
            self._stop_client()
        self._ended()

    def _stop_client(self) -> None:
        """Let go of a client that still sends."""
        self._protocol.linger(self.stream_id)

    async def _drained(self) -> None:
        """Wait until all that was written has been sent, or cannot be."""
        while self._outgoing and not self.is_gone:
            await wait_in(self._sent)

    # ---- the application

    async def run(self, app: App) -> None:
        """Run the application, and end the stream in order, whatever it does."""
        protocol = self._protocol
        try:
            if self.is_reset:  # before its application was called
                return
            returned: object = await app(self.scope, self.receive, self.send)
            if returned is not None:
                protocol.log.error("The ASGI application returned %r instead of None", type(returned).__name__)
            await self._app_returned()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # which ends the request: the others of this process go on
            is_cancelled = not isinstance(error, SystemExit) and ends_task(error)
            if not (is_cancelled or _is_caused_by_disconnect(error)):
                protocol.log.exception("Exception in ASGI application")
            self._fail()
            if is_cancelled:
                raise
        finally:
            self.end()
            protocol.stream_finished(self)

    @abstractmethod
    async def receive(self) -> Message:
        """Return the next message to the application."""

    @abstractmethod
    async def send(self, message: Message) -> None:
        """Take a message of the application."""

    @abstractmethod
    async def _app_returned(self) -> None:
        """End the stream in order, if the application has not."""

    @abstractmethod
    def _fail(self) -> None:
        """End the stream after an error of the application."""


def _is_caused_by_disconnect(error: BaseException | None) -> bool:
    seen = 0
    while error is not None and seen < _LONGEST_CHAIN:
        if isinstance(error, ClientDisconnectedError):
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False


_LONGEST_CHAIN = 16
