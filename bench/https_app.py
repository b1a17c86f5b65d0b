"""The applications that `bench/https.py` serves: a hello in plain ASGI, and a FastAPI one with a path parameter and a body."""

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


def fast() -> Any:
    """Return a FastAPI application: one path parameter, one body of pydantic, 1 KB of JSON back."""
    import fastapi  # noqa: PLC0415 - only for its own rows
    import pydantic  # noqa: PLC0415

    app = fastapi.FastAPI()

    class Order(pydantic.BaseModel):
        name: str
        count: int

    @app.post("/orders/{number}")
    async def order(number: int, given: Order) -> dict[str, Any]:
        return {"number": number, "name": given.name, "count": given.count, "text": "x" * 950}

    order.__annotations__["given"] = Order
    return app
