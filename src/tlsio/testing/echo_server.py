"""A TLS server that sends back what it receives, in a thread of its own.

So tests of any style can connect to it, blocking ones too, and with any TLS library.
"""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from tlsio.certs import Authority
from tlsio.connection.server.server import create_server
from tlsio.model.errors import UsageStateError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, Unpack

    from tlsio.certs import Leaf
    from tlsio.connection.socket.tls_socket import TLSSocket
    from tlsio.model.options.server import ServerOptionsDict

__all__ = ["EchoServer"]


class EchoServer:
    """A context manager: the server listens on 127.0.0.1 as long as its block runs.

    Attributes:
        authority: Issued its certificate.
        leaf: Its certificate, for localhost, 127.0.0.1 and ::1 by default.
        host: The name to connect to, `"localhost"`.
        errors: What `tls_client_error` has reported: why clients failed, oldest first.
    """

    def __init__(self, authority: Authority | None = None, leaf: Leaf | None = None, /, **options: Unpack[ServerOptionsDict]) -> None:
        """Prepare a server.

        Args:
            authority: Issues the certificate, and is `ca=` if `request_cert` is given. Default: a
                new one.
            leaf: The certificate. Default: a new one of the authority.
            options: Options of `tlsio.create_server`, beside or instead of `cert` and `key`.
        """
        self.authority = authority or Authority.create("tlsio test authority")
        self.leaf = leaf or self.authority.server("localhost", "127.0.0.1", "::1")
        self.host = "localhost"
        self.errors: list[Exception] = []
        self._options: dict[str, Any] = {"cert": self.leaf.chain_pem, "key": self.leaf.key_pem, **options}
        if options.get("request_cert"):
            self._options.setdefault("ca", self.ca_pem)
        self._port: Future[int] = Future()
        self._thread: threading.Thread | None = None
        self._end: Future[None] = Future()

    @property
    def ca_pem(self) -> bytes:
        """The root in PEM: what `ca=` of the clients takes."""
        return self.authority.root_pem

    @property
    def port(self) -> int:
        """The port, chosen by the system.

        Raises:
            UsageStateError: the server does not run.
        """
        if not self._port.done():
            raise UsageStateError("The echo server does not run", hint="Use it in a with statement.")
        return self._port.result()

    def __enter__(self) -> Self:
        """Start to listen.

        Raises:
            TLSError: an option is wrong.
            UsageStateError: it was started before.
            OSError: there are no descriptors left, or it cannot listen.
        """
        if self._thread:
            raise UsageStateError("An echo server can be started once")
        self._thread = threading.Thread(target=self._serve, name="tlsio echo server", daemon=True)
        self._thread.start()
        try:
            self._port.result()
        except BaseException:  # also Ctrl-C, while the server starts
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Close all connections and end the thread."""
        self._stop()

    def _stop(self) -> None:
        if self._thread:
            if not self._end.done():
                self._end.set_result(None)
            self._thread.join()

    def _serve(self) -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._run())
        except BaseException as error:
            if self._port.done():
                raise
            self._port.set_exception(error)  # __enter__ raises it in the caller's thread

    async def _run(self) -> None:
        server = create_server(_echo, **self._options)
        server.on("tls_client_error", lambda error, _socket: self.errors.append(error))
        await server.listen(0, "127.0.0.1")
        self._port.set_result(server.port or 0)
        await asyncio.wrap_future(self._end)
        server.close(0)
        await server.wait_closed()


async def _echo(socket: TLSSocket) -> None:
    async for chunk in socket:
        await socket.send(chunk)
