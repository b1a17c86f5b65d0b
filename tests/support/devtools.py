"""Browsers without a window, driven by their own protocols: Chromium by DevTools, Firefox by WebDriver BiDi."""

# ruff: noqa: ASYNC220, ASYNC230, ASYNC240 - files and the start of a browser block nobody here

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import re
import signal
import subprocess
import tempfile
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect

from foreign_peers import find

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from websockets.asyncio.client import ClientConnection

_MAX_MESSAGE = 64 << 20  # a screenshot
_START = 60.0  # seconds


class Remote:
    """A browser's WebSocket: commands with results, and events."""

    def __init__(self, socket: ClientConnection) -> None:
        self.events: list[dict[str, Any]] = []
        self._socket = socket
        self._numbers = itertools.count(1)

    async def call(self, method: str, params: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """Send a command; return its result. Events that come meanwhile are kept."""
        number = next(self._numbers)
        await self._socket.send(json.dumps({"id": number, "method": method, "params": params or {}, **more}))
        while True:
            message = await self._read()
            if message.get("id") == number:
                assert "error" not in message, message
                return message["result"]

    async def event(self, method: str) -> dict[str, Any]:
        """Return the parameters of the first event of a name."""
        while True:
            for found in self.events:
                if found["method"] == method:
                    return found["params"]
            await self._read()

    async def _read(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(await self._socket.recv())
        if "method" in message:
            self.events.append(message)
        return message


class Chromium:
    """A page of Chromium."""

    def __init__(self, remote: Remote, session: str) -> None:
        self._remote = remote
        self._session = session

    async def open(self, url: str) -> dict[str, Any]:
        """Open a page; return what DevTools says of its response: `protocol`, `securityDetails`."""
        await self._call("Network.enable")
        await self._call("Page.enable")
        await self._call("Page.navigate", url=url)
        response = (await self._remote.event("Network.responseReceived"))["response"]
        await self._remote.event("Page.loadEventFired")
        return response

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression, or of its promise."""
        return (await self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True))["result"].get("value")

    async def screenshot(self) -> bytes:
        """Return the page as a PNG."""
        return base64.b64decode((await self._call("Page.captureScreenshot"))["data"])

    async def _call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._remote.call(method, params, sessionId=self._session)


class Firefox:
    """A page of Firefox."""

    def __init__(self, remote: Remote, context: str) -> None:
        self._remote = remote
        self._context = context

    async def open(self, url: str) -> None:
        """Open a page."""
        await self._remote.call("browsingContext.navigate", {"context": self._context, "url": url, "wait": "complete"})

    async def evaluate(self, script: str) -> Any:
        """Return the value of an expression, or of its promise: a string or a number."""
        target = {"context": self._context}
        params = {"expression": script, "target": target, "awaitPromise": True}
        found = await self._remote.call("script.evaluate", params)
        return found["result"].get("value")

    async def screenshot(self) -> bytes:
        """Return the page as a PNG."""
        return base64.b64decode((await self._remote.call("browsingContext.captureScreenshot", {"context": self._context}))["data"])


@asynccontextmanager
async def chromium(root: Path) -> AsyncIterator[Chromium]:
    """Run Chromium, which trusts a root, and open an empty page."""
    with tempfile.TemporaryDirectory() as home:
        _trust(root, Path(home, ".local/share/pki/nssdb"))
        _trust(root, Path(home, ".pki/nssdb"))
        command = [find("chromium", "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"]
        command += ["--window-size=800,600", "--remote-debugging-port=0", f"--user-data-dir={home}/profile", "about:blank"]
        async with _browser(command, home, r"DevTools listening on (\S+)") as remote:
            target = (await remote.call("Target.createTarget", {"url": "about:blank"}))["targetId"]
            session = (await remote.call("Target.attachToTarget", {"targetId": target, "flatten": True}))["sessionId"]
            yield Chromium(remote, session)


@asynccontextmanager
async def firefox(root: Path) -> AsyncIterator[Firefox]:
    """Run Firefox, which trusts a root, and open an empty page."""
    with tempfile.TemporaryDirectory() as home:
        profile = Path(home, "profile")
        _trust(root, profile)
        command = [
            find("firefox-esr", "firefox-esr"),
            "--headless",
            "--no-remote",
            "--remote-debugging-port",
            "0",
            "--profile",
            str(profile),
        ]
        async with _browser(command, home, r"WebDriver BiDi listening on (\S+)", path="/session") as remote:
            await remote.call("session.new", {"capabilities": {}})
            context = (await remote.call("browsingContext.create", {"type": "tab"}))["context"]
            yield Firefox(remote, context)


def _trust(root: Path, database: Path) -> None:
    database.mkdir(parents=True, exist_ok=True)
    tool = find("certutil", "libnss3-tools")
    subprocess.run([tool, "-d", f"sql:{database}", "-N", "--empty-password"], check=True, capture_output=True)
    subprocess.run([tool, "-d", f"sql:{database}", "-A", "-t", "C,,", "-n", "root", "-i", str(root)], check=True, capture_output=True)


@asynccontextmanager
async def _browser(command: list[str], home: str, pattern: str, path: str = "") -> AsyncIterator[Remote]:
    """Run a browser, and connect to the address that it prints."""
    log = Path(home, "log")
    environment = {"HOME": home, "PATH": os.environ["PATH"], "MOZ_HEADLESS": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
    try:
        async with asyncio.timeout(_START):
            while (found := re.search(pattern, log.read_text(errors="replace"))) is None:
                assert process.poll() is None, log.read_text(errors="replace")
                await asyncio.sleep(0.05)
        async with connect(found[1] + path, max_size=_MAX_MESSAGE, proxy=None) as socket:
            yield Remote(socket)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
