"""WSGI applications, each request in a thread of a pool.

Threads ask the loop for parts of a request's body and give it parts of the response, one at a time:
so both stream, and a slow client slows its application down. What ends a request on the loop (the
client has gone, or the server stops) ends such a call with `ClientGoneError`, and so the thread.

a2wsgi is not used, for four things that it does (1.10.10): a thread waits forever when `send`
raises; an upload that breaks off looks complete; `readline(limit)` reports the end of a body that
has not arrived; a response without end goes on after its client has gone.
"""

from __future__ import annotations

import asyncio
import contextvars
import io
import sys
import threading
from collections import deque
from concurrent.futures import CancelledError, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from tlsio.model.checks import check_int

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable
    from concurrent.futures import Future
    from types import TracebackType

    from tlsio.https.asgi import Message, Receive, Scope, Send

    Environ = dict[str, Any]
    ExcInfo = tuple[type[BaseException], BaseException, TracebackType]
    WSGIApp = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]

__all__ = ["DEFAULT_THREADS", "MOST_THREADS", "WSGI", "ClientGoneError"]

DEFAULT_THREADS = 10  # a2wsgi's and uvicorn's number
MOST_THREADS = 1000
_INPUT_BUFFER = 16384


class ClientGoneError(ConnectionResetError):
    """The client has gone, or the server stops: nothing can be read or sent."""


class WSGI:
    """An ASGI application that is one of WSGI in threads."""

    def __init__(self, app: WSGIApp, *, threads: int = DEFAULT_THREADS) -> None:
        """Serve `app` in at most `threads` threads; further requests wait."""
        self._app = app
        self._threads = check_int("wsgi_threads", threads, 1, MOST_THREADS)
        self._pool: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None
        await send({"type": "lifespan.shutdown.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="wsgi")
        loop = asyncio.get_running_loop()
        exchange = _Exchange(loop, receive, send)
        response = _Response(exchange)
        environ = make_environ(scope, io.BufferedReader(_Input(exchange), _INPUT_BUFFER))
        context = contextvars.copy_context()
        try:
            await loop.run_in_executor(self._pool, context.run, response.run, self._app, environ)
        except ClientGoneError:
            if not exchange.is_over:
                raise
        finally:
            exchange.end()


def make_environ(scope: Scope, body: io.BufferedReader) -> Environ:
    """Return the environment of a request, as PEP 3333 and mod_ssl describe it.

    A header cannot set any of them: those of the request have the prefix `HTTP_`. One whose name
    has an underscore is left out, since it would be confused with one with a hyphen.
    """
    root = scope.get("root_path", "")
    raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
    server, port = scope.get("server") or ("localhost", 443)
    environ: Environ = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": _as_native(root),
        "PATH_INFO": unquote_to_bytes(raw_path).decode("latin-1")[len(root.encode()) :],
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "SERVER_NAME": server,
        "SERVER_PORT": str(port),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope["scheme"],
        "wsgi.input": body,
        "wsgi.input_terminated": True,  # bodies without content-length have an end too
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if scope.get("client"):
        environ["REMOTE_ADDR"], environ["REMOTE_PORT"] = scope["client"][0], str(scope["client"][1])
    for name, value in scope["headers"]:
        if b"_" not in name:
            key = name.decode("latin-1").upper().replace("-", "_")
            if key not in {"CONTENT_LENGTH", "CONTENT_TYPE"}:
                key = f"HTTP_{key}"
            text = value.decode("latin-1")
            environ[key] = f"{environ[key]}{'; ' if key == 'HTTP_COOKIE' else ','}{text}" if key in environ else text
    environ.update(scope["extensions"]["tls"].mod_ssl)
    return environ


def _as_native(text: str) -> str:
    return text.encode().decode("latin-1")


class _Exchange:
    """A request's `receive` and `send`, called from its thread.

    Servers ignore what is sent to a client that has gone. So the loop receives ahead of the
    application, but no more than one part of a body: after the last part, it learns of the end.

    Attributes:
        is_over: Nothing can be received or sent.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive, send: Send) -> None:
        self._loop = loop
        self._receive = receive
        self._send = send
        self._receiving: asyncio.Future[Message] | None = None
        self._messages: deque[Message] = deque()
        self._lock = threading.Lock()
        self._pending: Future[Any] | None = None
        self.is_over = False

    # In the thread:

    def receive(self) -> Message:
        """Return the next part of the request."""
        message: Message = self._call(self._next_message())
        return message

    def send(self, *messages: Message) -> None:
        """Send parts of the response, in order."""
        self._call(self._send_all(messages))

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        with self._lock:
            if self.is_over:
                coroutine.close()
                raise ClientGoneError("The client has gone, or the server stops")
            self._pending = pending = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return pending.result()
        except CancelledError:
            raise ClientGoneError("The client has gone, or the server stops") from None

    # On the loop:

    async def _next_message(self) -> Message:
        while not self._messages:
            await asyncio.wait([self._receive_ahead()])
        return self._messages.popleft()

    async def _send_all(self, messages: tuple[Message, ...]) -> None:
        is_last = not messages[-1].get("more_body", False)
        if is_last and self._receiving is not None:
            self._receiving.cancel()  # the end of the response ends the request too, in order
        for message in messages:
            await self._send(message)
        if not is_last and not self._messages:
            self._receive_ahead()  # not before: it would ask a client for the body that waits to be asked (100)

    def _receive_ahead(self) -> asyncio.Future[Message]:
        if self._receiving is None:
            self._receiving = asyncio.ensure_future(self._receive())
            self._receiving.add_done_callback(self._received)
        return self._receiving

    def _received(self, receiving: asyncio.Future[Message]) -> None:
        self._receiving = None
        if receiving.cancelled():
            return
        if receiving.exception() is not None or receiving.result()["type"] == "http.disconnect":
            self.end()
            return
        self._messages.append(receiving.result())
        if not receiving.result().get("more_body", False):
            self._receive_ahead()

    def end(self) -> None:
        """Let the thread's present call, and each later one, raise `ClientGoneError`."""
        with self._lock:
            self.is_over = True
            pending, self._pending = self._pending, None
        if pending is not None:
            pending.cancel()
        if self._receiving is not None:
            self._receiving.cancel()


class _Input(io.RawIOBase):
    """The body of a request, as it arrives."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._data = memoryview(b"")
        self._is_complete = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._data and not self._is_complete:
            message = self._exchange.receive()
            self._data = memoryview(message.get("body", b""))
            self._is_complete = not message.get("more_body", False)
        size = min(len(buffer), len(self._data))
        buffer[:size], self._data = self._data[:size], self._data[size:]
        return size


class _Response:
    """`start_response`, and what the application returns."""

    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange
        self._head: Message | None = None
        self._is_sent = False

    def run(self, app: WSGIApp, environ: Environ) -> None:
        """Run the application, in a thread."""
        parts = app(environ, self._start)
        try:
            only = len(parts) == 1 if isinstance(parts, list | tuple) else False
            is_ended = False
            for part in parts:
                if part:  # PEP 3333: the head waits for the first part that is not empty
                    self._send(part, more=not only)
                    is_ended = only
            if not is_ended:
                self._send(b"", more=False)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()

    def _start(self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self._is_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # PEP 3333: avoid a circular reference
        elif self._head is not None:
            raise RuntimeError("start_response was called twice")
        self._head = {
            "type": "http.response.start",
            "status": int(status.partition(" ")[0]),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }
        return self._write

    def _write(self, data: bytes) -> None:
        self._send(data, more=True)

    def _send(self, data: bytes, *, more: bool) -> None:
        body = {"type": "http.response.body", "body": data, "more_body": more}
        if self._is_sent:
            self._exchange.send(body)
            return
        if self._head is None:
            raise RuntimeError("The application returned before it called start_response")
        self._is_sent = True
        self._exchange.send(self._head, body)
