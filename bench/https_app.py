"""The applications that `bench/https.py` serves: a hello in plain ASGI, and files as Starlette serves them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from starlette.staticfiles import StaticFiles

BODY = b"x" * 100
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"100")]


FOLDER = Path(os.environ.get("FILES", "."))
files = StaticFiles(directory=FOLDER, check_dir=False)


async def hello(scope: Any, receive: Any, send: Any) -> None:
    """Answer with a hundred bytes."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


async def _lifespan(receive: Any, send: Any) -> None:
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
