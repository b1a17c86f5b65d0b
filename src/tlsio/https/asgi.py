"""The types of ASGI applications."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from tlsio.https.connection import Connection

__all__ = ["App", "Handler", "Layer", "Message", "Receive", "Scope", "Send"]

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[Any]]

# What the server does around the application, for each request; it knows the connection too.
Handler: TypeAlias = "Callable[[Connection, Scope, Receive, Send], Awaitable[Any]]"
Layer: TypeAlias = "Callable[[Handler], Handler]"
