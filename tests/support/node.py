"""A Node that does as it is told: one process for many tests, asked by name and answered in JSON (tests/interop/node_agent.js)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import subprocess
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).parents[1] / "interop" / "node_agent.js"


class NodeError(Exception):
    """What Node said was wrong, by its code."""

    @property
    def code(self) -> str:
        """Node's code."""
        return str(self.args[0])


class Node:
    """One process of Node. It has one server and one socket at a time; `reset` takes them away."""

    def __init__(self, program: str) -> None:
        self._process = subprocess.Popen([program, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._waiting: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            number, result, *error = json.loads(line)
            told = self._waiting.pop(number)
            if error:
                told.set_exception(NodeError(error[0]))
            else:
                told.set_result(result)

    def ask(self, call: str, *arguments: Any) -> Future[Any]:
        """Have a function of the script called; bytes among the arguments become buffers."""
        number, told = next(self._numbers), Future[Any]()
        self._waiting[number] = told
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([number, call, *arguments], default=encode).encode() + b"\n")
        self._process.stdin.flush()
        return told

    def __getattr__(self, call: str) -> Any:
        """Return the script's function of that name, to be awaited."""
        return lambda *arguments: asyncio.wrap_future(self.ask(call, *arguments))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def encode(value: bytes) -> dict[str, str]:
    """Return bytes as the script reads them."""
    return {"base64": base64.b64encode(value).decode()}
