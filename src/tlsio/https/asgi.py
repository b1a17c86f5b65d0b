"""The types of ASGI applications, and what ours may ask of the server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

__all__ = ["GONE", "App", "Message", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[Any]]

# The key of a scope under which an application may put a function: it is called, perhaps again,
# when the client goes. `receive` would report that too, but takes a part of the body for each call.
GONE = "tlsio.gone"
