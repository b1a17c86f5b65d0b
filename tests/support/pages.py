"""Runs the code of a page of the documentation as a reader would who copies it, from the first block to the last.

A page gets a folder with the files that it names, and the names that it takes for granted (`STAND_INS`). Every host is this machine.
Port 8443 and the well-known ones are one free port: an echo server answers there for blocks that connect, and a client visits what
a block serves. What a block only makes, a server or `tlsio.connect(...)` as an example of options, is started too.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import hashlib
import logging
import os
import re
import secrets
import socket
import subprocess
import sys
import textwrap
import time
from base64 import b64encode
from collections.abc import Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tlsio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

# The commands of the tutorial, for the files that pages name.
FILES = """
set -e
make() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $1.key -out $1.csr -subj "$2"
    printf "$3authorityKeyIdentifier=keyid\\n" > $1.ext
    openssl x509 -req -in $1.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile $1.ext -days 30 -out $1.pem
}
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=playground -days 30 \
    -addext keyUsage=critical,keyCertSign,cRLSign
names='subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:example.com,DNS:*.example.com,DNS:*.internal.example.com,DNS:api.example,DNS:gateway'
make server /CN=localhost "$names\\n"
make me /CN=me/OU=operators 'extendedKeyUsage=clientAuth\\n'
for name in cert new shop internal; do cp server.pem $name.pem; cp server.key $name.key; done
cp server.key key.pem
cp me.pem client.pem
cp me.key client.key
cat server.pem ca.pem > fullchain.pem
cp server.key privkey.pem
cp ca.pem clients-ca.pem
cp ca.key clients-ca.key
"""

SERVES = re.compile(r"\b(serve|start_server|create_tls_server|listen)\(")
PROGRAM = re.compile(r"(asyncio|trio)\.run\(|run_forever|^with socket\.create_connection|^import socket$", re.MULTILINE)


def blocks(text: str, language: str) -> list[str]:
    """Return the code of a page in one language."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(code) for _, code in found]


async def echo(sock: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    async for chunk in sock:
        await sock.send(chunk)


class Lookup:
    """Any database that a page asks: it knows every name."""

    async def lookup(self, _name: object) -> None:
        """No context of its own."""

    async def site(self, _name: object) -> Lookup:
        """Every site."""
        return self

    @property
    def context(self) -> tlsio.SecureContext:
        """The context of a site."""
        return tlsio.create_secure_context(cert=Path("server.pem"), key=Path("server.key"))

    async def knows(self, _fingerprint: object) -> bool:
        """Every account."""
        return True

    async def get(self, _key: object) -> None:
        """No OCSP response."""


def stand_ins() -> dict[str, Any]:
    """Return what pages take for granted, made anew for each."""
    pin = _pin("server.pem")
    return {
        "asyncio": asyncio, "contextlib": contextlib, "os": os, "secrets": secrets, "Path": Path, "tlsio": tlsio, "sha256": hashlib.sha256,
        "log": logging.getLogger("a page"), "listener": echo, "echo": echo, "answer": echo, "contexts": Lookup(), "database": Lookup(),
        "accounts": Lookup(), "store": Lookup(), "challenges": {}, "secret": secrets.token_urlsafe(32),
        "cert": Path("server.pem"), "key": Path("server.key"), "ca": Path("ca.pem"), "clients_ca": Path("ca.pem"), "staff_ca": Path("ca.pem"),
        "my_cert": Path("me.pem"), "my_key": Path("me.key"), "shop_cert": Path("shop.pem"), "shop_key": Path("shop.key"),
        "internal_cert": Path("internal.pem"), "internal_key": Path("internal.key"),
        "old_pin": pin, "new_pin": pin, "device_pin": pin, "current_pin": pin, "following_pin": pin,
    }  # fmt: skip


def _pin(name: str) -> str:
    command = f"openssl x509 -in {name} -noout -pubkey | openssl pkey -pubin -outform DER"
    key = subprocess.run(command, shell=True, check=True, capture_output=True).stdout  # noqa: S602
    return "sha256/" + b64encode(hashlib.sha256(key).digest()).decode()


@dataclass
class Page:
    """One page while it is run.

    Attributes:
        port: Takes the place of the ports of the page.
        names: The names that its blocks see, and define.
        visitor: Options of the client that visits what the page serves.
        answering: Options of the server that the page connects to.
        answer: Its listener.
        replaced: Text of the page and what takes its place, such as a Redis.
        ports: Other services, by the port that the page names.
        visit_stream: Visits a server of asyncio's that the page starts, by its port.
    """

    port: int
    names: dict[str, Any]
    visitor: dict[str, Any] = field(default_factory=dict)
    answering: dict[str, Any] = field(default_factory=dict)
    answer: Callable[[tlsio.TLSSocket], Awaitable[None]] = echo
    replaced: dict[str, str] = field(default_factory=dict)
    ports: dict[int, int] = field(default_factory=dict)
    visit_stream: Callable[[int], Awaitable[None]] | None = None

    async def run(self, source: str) -> None:
        """Run one block."""
        for there, here in self.replaced.items():
            source = source.replace(there, here)
        source = re.sub(r"\b(8443|443)\b", str(self.port), source)
        _resolve_here(self.ports)
        if PROGRAM.search(source):
            await self._run_program(source)
        else:
            await self._run_fragment(source)

    async def _run_program(self, source: str) -> None:
        async with self._echo_server(wanted=not SERVES.search(source)) as is_client:
            process = await asyncio.create_subprocess_exec(sys.executable, "-W", "error::ResourceWarning", "-c", source)
            try:
                if is_client:
                    assert await asyncio.wait_for(process.wait(), 20) == 0
                else:
                    await self._visit_soon(self.port)
            finally:
                if process.returncode is None:
                    process.terminate()
                    await process.wait()

    async def _run_fragment(self, source: str) -> None:
        made: list[Any] = []
        known = {id(value) for value in self.names.values()}
        code = compile(_note_results(source), "a block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        async with self._echo_server(wanted=not SERVES.search(source)):
            task = asyncio.ensure_future(self._evaluate(code, made))
            if "serve_forever" in source:
                await self._visit_soon(self.port)
                task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await self._start(made)
            for value in list(self.names.values()):
                if isinstance(value, tlsio.Server) and id(value) not in known and ".upgrade(" not in source:
                    await self._try_server(value)
                elif isinstance(value, tlsio.AsyncioServer):
                    value.close()
                elif isinstance(value, tlsio.TLSSocket) and not value.closed:
                    value.destroy()
                elif isinstance(value, asyncio.StreamWriter):
                    value.transport.abort()
                elif isinstance(value, tlsio.RedisTicketKeys | tlsio.RedisSessionStore):
                    await value.aclose()
            await asyncio.sleep(0.05)  # the destroyed ones

    @contextlib.asynccontextmanager
    async def _echo_server(self, *, wanted: bool) -> AsyncIterator[bool]:
        """Answer on the port if that is wanted; return whether it is."""
        if not wanted:
            yield False
            return
        options = {"cert": Path("fullchain.pem"), "key": Path("server.key"), "ca": Path("ca.pem"), "request_cert": True, **self.answering}
        async with tlsio.serve(self.answer, self.port, reject_unauthorized=False, shutdown_timeout=1.0, **options):
            yield True

    async def _evaluate(self, code: Any, made: list[Any]) -> None:
        self.names["__note__"] = made.append
        result = eval(code, self.names)  # noqa: S307 - our own pages
        if result is not None:
            await result

    async def _start(self, made: list[Any]) -> None:
        """Enter what a block made without using it, in its order; a server runs until the next one starts."""
        async with contextlib.AsyncExitStack() as stack:
            for item in made:
                if isinstance(item, tlsio.Server):
                    await self._try_server(item)
                elif isinstance(item, asyncio.Server):
                    port = (await stack.enter_async_context(item)).sockets[0].getsockname()[1]
                    await (self.visit_stream or self._visit)(port)
                elif isinstance(item, contextlib.AbstractAsyncContextManager):
                    if not isinstance(item, Awaitable):  # what serve() returns: two would want the same port
                        await stack.aclose()
                    entered = await stack.enter_async_context(item)
                    if isinstance(entered, tlsio.Server):
                        await self._visit(entered.port)

    async def _try_server(self, server: tlsio.Server) -> None:
        await server.listen(0, "127.0.0.1")
        try:
            await self._visit(server.port)
        finally:
            server.close(1.0)
            await server.wait_closed()

    async def _visit_soon(self, port: int) -> None:
        """Visit a server that a program is about to start."""
        end = time.monotonic() + 15
        while True:
            try:
                return await self._visit(port)
            except OSError:
                assert time.monotonic() < end, "the program does not serve"
                await asyncio.sleep(0.05)

    async def _visit(self, port: int | None) -> None:
        given = {"ca": Path("ca.pem"), "cert": Path("me.pem"), "key": Path("me.key"), "servername": "localhost", **self.visitor}
        async with asyncio.timeout(10), tlsio.connect(port, "127.0.0.1", **given) as sock:
            await sock.send(b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            assert await sock.read()


def _note_results(source: str) -> ast.Module:
    """Parse a block in which the values of its own expressions are noted: `tlsio.serve(...)` that nothing uses."""
    tree = ast.parse(source)
    for node in tree.body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call | ast.Await):
            call = ast.Call(ast.Name("__note__", ast.Load()), [node.value], [])
            node.value = ast.copy_location(call, node.value)
    return ast.fix_missing_locations(tree)


def _resolve_here(ports: Mapping[int, int]) -> None:
    """Let every name be this machine."""
    loop: Any = asyncio.get_running_loop()

    async def getaddrinfo(host: Any, port: Any, **_: Any) -> list[Any]:
        here = ports.get(port, port) if host else 0 if port in ports else port
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", here))]

    loop.getaddrinfo = getaddrinfo


def make_files() -> None:
    """Fill the working directory."""
    subprocess.run(["bash", "-c", FILES], check=True, capture_output=True)
