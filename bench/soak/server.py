"""The server under soak: five servers of one process, which cover both drivers, every way to keep sessions, and the limits.

    store     native driver; sessions in Redis; an asynchronous hook chooses among names
    tickets   native driver; ticket keys from Redis; clients may show a certificate, an asynchronous hook judges it
    plain     native driver; no hooks; ticket keys are set by hand, sessions in memory
    upgrade   portable driver, by `upgrade`; ticket keys change every few seconds
    strict    native driver; short times and small limits, for peers that must be disconnected

The first byte of a connection chooses what the server does with it: see ORDERS, and `H` for a connection that is held.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import logging
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from probe import Complaints, count_tasks, obey, take_sample

import tlsio

CHUNK = bytes(65536)
# What peers do to us; whatever else is raised is a mistake, of ours or of the load.
FAULTS_OF_PEERS = (tlsio.PeerError, tlsio.ConnectionLostError, tlsio.HandshakeTimeoutError, tlsio.IncompleteReadError)
# Longer than any delay of a busy machine: times that end a healthy connection would make the verdict depend on speed.
PATIENT = {"handshake_timeout": 120.0, "close_timeout": 60.0, "hook_timeout": 60.0}
STRICT = {"handshake_timeout": 1.0, "partial_record_timeout": 1.0, "close_timeout": 1.0, "hook_timeout": 1.0}


async def echo(socket: tlsio.TLSSocket) -> None:
    """Answer with what comes."""
    async for data in socket:
        await socket.send(data)


async def echo_by_pipe(socket: tlsio.TLSSocket) -> None:
    """Answer with what comes."""
    await socket.pipe(socket)


async def echo_by_events(socket: tlsio.TLSSocket) -> None:
    """Answer with what comes, and read no more while the peer takes nothing."""

    def answer(data: bytes) -> None:
        if not socket.write(data):
            socket.pause()

    socket.on("error", lambda _error: None)
    socket.on("drain", socket.resume)
    socket.on("data", answer)


async def download(socket: tlsio.TLSSocket) -> None:
    """Send as many bytes as the peer asks for, 8 bytes big-endian."""
    owed = int.from_bytes(await socket.readexactly(8))
    while owed:
        chunk = CHUNK[:owed]
        await socket.send(chunk)
        owed -= len(chunk)


async def upload(socket: tlsio.TLSSocket) -> None:
    """Take as many bytes as the peer says, and answer with their SHA-256."""
    due, digest = int.from_bytes(await socket.readexactly(8)), hashlib.sha256()
    while due and (data := await socket.read(due)):
        digest.update(data)
        due -= len(data)
    await socket.send(digest.digest())


async def ask_certificate(socket: tlsio.TLSSocket) -> None:
    """Ask the open connection for a client certificate, and say whether there is a good one."""
    await socket.renegotiate(request_cert=True, reject_unauthorized=False)
    await socket.send(b"Y" if socket.authorized else b"N")


async def fail(_socket: tlsio.TLSSocket) -> None:
    """Raise what the library does not know."""
    raise Planned


async def end_first(socket: tlsio.TLSSocket) -> None:
    """End before the peer does, then read what it sends."""
    socket.end(b"bye")
    while await socket.read():
        pass


ORDERS = {
    b"E": echo,
    b"P": echo_by_pipe,
    b"F": echo_by_events,
    b"D": download,
    b"U": upload,
    b"K": ask_certificate,
    b"X": fail,
    b"B": end_first,
}


class Planned(Exception):  # noqa: N818 - part of the load
    """Raised by `fail`."""


class Servers:
    """The five, and what the soak has them do."""

    def __init__(self, folder: Path, redis_url: str, threads: int | None) -> None:
        """Take the certificates' folder, and the handshake threads of each server; None: some have one or two."""
        self._folder = folder
        self._threads = threads
        self._redis_url = redis_url
        self._redis_port = urlsplit(redis_url).port or 0
        self._complaints = Complaints()
        self._upgraded = self._turn = 0

    async def run(self) -> None:
        """Listen, and obey orders."""
        asyncio.get_running_loop().set_exception_handler(self._complain)
        self._leaving = asyncio.get_running_loop().create_future()
        secret = os.urandom(32)
        common = {"cert": self._folder / "ecdsa.pem", "key": self._folder / "ecdsa.key"}
        trust = {"ca": self._folder / "ca.pem", "request_cert": True, "reject_unauthorized": False}
        self._name = tlsio.create_secure_context(cert=self._folder / "wildcard.pem", key=self._folder / "wildcard.key")
        store = tlsio.RedisSessionStore(self._redis_url, secret=secret)
        self._store = tlsio.create_server(
            self._serve, **common, **PATIENT, session_store=store, sni_callback=self._choose, **self._threaded(0)
        )
        self._store.on("error", lambda _error: None)  # Redis is restarted: sessions that could not be kept
        keys = tlsio.RedisTicketKeys(self._redis_url, secret=secret, interval=60.0, overlap=60.0)
        self._tickets = tlsio.create_server(
            self._serve,
            **common,
            **PATIENT,
            **trust,
            ticket_keys=keys,
            check_client=self._judge,
            allow_renegotiation=True,
            alpn_protocols=["soak"],
            **self._threaded(2),
        )
        memory = tlsio.MemorySessionStore(max_entries=200)
        self._plain = tlsio.create_server(
            self._serve, **common, **PATIENT, ticket_keys=os.urandom(48), session_store=memory, **self._threaded(1)
        )
        ring = tlsio.TicketKeyRing(interval=5.0, overlap=20.0)
        self._upgrade = tlsio.create_server(None, **common, **PATIENT, **trust, ticket_keys=ring, allow_renegotiation=True)
        self._strict = tlsio.create_server(
            self._serve,
            **common,
            **STRICT,
            max_connections=200,
            max_handshakes=100,
            max_handshake_bytes=32768,
            sni_callback=self._hang,
            **self._threaded(2),
        )
        self._all = [self._store, self._tickets, self._plain, self._upgrade, self._strict]
        for server in self._all:
            server.add_context("a.example.com", self._name)
        accepting = await asyncio.start_server(self._take, "127.0.0.1", 0)
        ports = {"upgrade": accepting.sockets[0].getsockname()[1]}
        for name, server in {"store": self._store, "tickets": self._tickets, "plain": self._plain, "strict": self._strict}.items():
            await server.listen(0, "127.0.0.1")
            ports[name] = server.port or 0
        async with store, keys, accepting:
            print(" ".join(f"{name}={port}" for name, port in ports.items()), flush=True)
            await obey({"leave": self.leave, "state": self.state, "sample": self.sample, "reload": self.reload})

    def _threaded(self, usual: int) -> dict[str, int]:
        return {"handshake_threads": usual if self._threads is None else self._threads}

    async def leave(self) -> dict[str, Any]:
        """Let go of the connections that are held."""
        self._leaving.set_result(None)
        self._leaving = asyncio.get_running_loop().create_future()
        return {}

    async def state(self) -> dict[str, Any]:
        """Say what is still going on."""
        return {"connections": sum(server.connections for server in self._all), "tasks": count_tasks()}

    async def sample(self) -> dict[str, Any]:
        """Say what is held, what was served and what went wrong."""
        served = sum(server.stats().accepted for server in self._all) + self._upgraded
        seen = await take_sample(self._redis_port)
        return {**seen, **await self.state(), "served": served, "complaints": self._complaints.take()}

    async def reload(self) -> dict[str, Any]:
        """Change certificates, names and keys under load."""
        self._turn += 1
        kind = ("ecdsa", "rsa")[self._turn % 2]
        for server in self._all:
            server.set_secure_context(cert=self._folder / f"{kind}.pem", key=self._folder / f"{kind}.key")
            server.remove_context("b.example.com")
            server.add_context("b.example.com", {"cert": self._folder / "wildcard.pem", "key": self._folder / "wildcard.key"})
        self._plain.set_ticket_keys(os.urandom(48))
        try:
            self._plain.set_secure_context(cert=self._folder / "ecdsa.pem", key=self._folder / "rsa.key")
        except tlsio.ConfigError:
            return {}
        self._complaints.add("a certificate was taken with the key of another")
        return {}

    async def _serve(self, socket: tlsio.TLSSocket) -> None:
        """Do what the first byte says; a peer that breaks off is not an error of ours."""
        try:
            order = await socket.readexactly(1)
            await (self._hold if order == b"H" else ORDERS[order])(socket)
        except FAULTS_OF_PEERS:
            socket.destroy()

    async def _hold(self, socket: tlsio.TLSSocket) -> None:
        """Keep the connection after the peer's end, until `leave`: TCP does not show whether such a peer is still there."""
        socket.on("error", lambda _error: None)  # it may be reset before
        while await socket.read():
            pass
        await asyncio.wait({self._leaving})

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._upgraded += 1
        try:
            socket = await self._upgrade.upgrade((reader, writer))
        except FAULTS_OF_PEERS:
            return
        try:
            await self._serve(socket)
        except Planned:
            socket.destroy()
        if not socket.closed and not socket._has("data"):  # noqa: SLF001 - as an async listener of a server
            socket.close()
        await socket.wait_closed()

    async def _choose(self, servername: str, _socket: tlsio.TLSSocket) -> tlsio.SecureContext | None:
        await asyncio.sleep(0.001)
        if servername == "refused.example.com":
            raise tlsio.HandshakeError(alert="unrecognized_name")
        return self._name if servername == "hook.example.com" else None

    async def _judge(self, certificate: Any, _socket: tlsio.TLSSocket) -> None:
        await asyncio.sleep(0.001)
        if certificate is not None and certificate["subject"]["CN"] == "unwanted":
            raise tlsio.HandshakeError("unwanted", alert="access_denied")

    async def _hang(self, servername: str, _socket: tlsio.TLSSocket) -> None:
        if servername == "hang.example.com":
            await asyncio.get_running_loop().create_future()

    def _complain(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not isinstance(error, (Planned, *FAULTS_OF_PEERS)):
            self._complaints.add(f"{context['message']}: {error!r}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the certificates are")
    parser.add_argument("redis", help="URL")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    parser.add_argument("--threads", type=int, help="handshake_threads of each server that listens")
    arguments = parser.parse_args()
    logging.getLogger("tlsio").setLevel(logging.ERROR)  # it warns of each outage of Redis, and those are made
    servers = Servers(arguments.folder, arguments.redis, arguments.threads)
    if arguments.loop == "uvloop":
        import uvloop

        uvloop.run(servers.run())
    else:
        asyncio.run(servers.run())
