"""The hello in plain ASGI that `bench/https.py` serves."""

from __future__ import annotations

from typing import Any

BODY = b"x" * 100
HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"100")]


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
