"""A real Redis (or Valkey), with its own folder, and one that only pretends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import redis

from ports import own_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

SECRET = "a secret of the tests, 32 bytes or more"


class RedisServer:
    """A server process on a port of the loopback; it keeps nothing when it ends."""

    def __init__(self, *options: str) -> None:
        self._options = options
        self._folder = tempfile.TemporaryDirectory(prefix="tlsio-redis-")
        self._process: subprocess.Popen[str] | None = None
        self._port = 0
        self._left = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as entered:
            entered.enter_context(self._folder)
            self._port = entered.enter_context(own_port())
            entered.callback(self.stop)
            self.start()
            self._left = entered.pop_all()
        return self

    @property
    def url(self) -> str:
        """Where it is, also after `restart`."""
        return f"redis://127.0.0.1:{self._port}/0"

    def __exit__(self, *_: object) -> None:
        self._left.close()

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        program = shutil.which("redis-server") or shutil.which("valkey-server")
        assert program, "redis-server is not installed: without it these tests prove nothing"
        command = [program, "--port", str(self._port), "--bind", "127.0.0.1", "--dir", self._folder.name, "--save", "", *self._options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert self._process.stdout is not None
        heard = ""
        for line in self._process.stdout:
            heard += line
            if "Ready to accept connections" in line:
                return
        self.stop()
        raise AssertionError(f"redis-server did not start: {heard}")

    def stop(self) -> None:
        """Kill it; what it held is gone."""
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.communicate()
            self._process = None

    def restart(self) -> None:
        """Kill it and start it on the same port, empty."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Let it take connections, and commands into the kernel's buffers, and answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def run(self, *command: Any) -> Any:
        """Run one command."""
        with redis.Redis.from_url(self.url) as client:
            return client.execute_command(*command)

    def contents(self) -> dict[bytes, bytes]:
        """Return all that it holds."""
        return {name: self.run("GET", name) for name in self.run("KEYS", "*")}

    @contextlib.contextmanager
    def overheard(self) -> Any:
        """Collect what clients say to it; at the end of the block the list is complete."""
        with socket.create_connection(("127.0.0.1", self._port)) as spy:
            spy.sendall(b"MONITOR\r\n")
            heard = [spy.recv(5)]
            yield heard
            self.run("ECHO", "the end of it")
            while b"the end of it" not in heard[-1]:
                heard.append(b"".join(heard[-1:]) + spy.recv(65536))


@asynccontextmanager
async def pretender(answer: Callable[[bytes], tuple[bytes, bool]]) -> AsyncIterator[str]:
    """Listen in the place of a Redis; gives its URL.

    Args:
        answer: Takes what was heard; returns what is said, and whether the talk goes on.
    """
    writers: list[asyncio.StreamWriter] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            goes_on = True
            while goes_on and (heard := await reader.read(65536)):
                said, goes_on = answer(heard)
                writer.write(said)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"
    finally:
        server.close()
        for writer in writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
