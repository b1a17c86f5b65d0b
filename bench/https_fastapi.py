"""The FastAPI application that `bench/https.py` serves: one path parameter, one body of pydantic, 1 KB of JSON back."""

from typing import Any

import fastapi
import pydantic

app = fastapi.FastAPI()


class Order(pydantic.BaseModel):
    """What is sent."""

    name: str
    count: int


@app.post("/orders/{number}")
async def order(number: int, given: Order) -> dict[str, Any]:
    """Answer with what was sent and a text."""
    return {"number": number, "name": given.name, "count": given.count, "text": "x" * 950}
