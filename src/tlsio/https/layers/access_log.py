"""The access log: one line for each request, when it is over.

The text is uvicorn's, with its arguments, so that its formatter and tools that read its logs work.
JSON adds duration, bytes and facts about TLS. Whatever a client sends, it stays one line.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tlsio.https.layers.exchange import Exchange, watch, watch_refusals
from tlsio.model.checks import check_choice

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tlsio.https.asgi import Receive, Scope, Send
    from tlsio.https.protocols.connection import Connection, Handler

__all__ = ["AccessLog"]

_log = logging.getLogger("tlsio.access")

_UNPRINTABLE = re.compile(r"[^!#-\[\]-~]")  # nor what delimits a field, or escapes
_LONGEST = 8192  # characters of a target or header: a head may have 64 KiB


class AccessLog:
    """Writes to the logger `tlsio.access`, "text" or "json".

    If the program has configured neither this logger nor the root logger, it prints to stdout.
    """

    def __init__(self, form: str) -> None:
        """Prepare the logger.

        Raises:
            UsageError: there is no such form.
        """
        self._write = _write_json if check_choice("access_log", form, ("text", "json")) == "json" else _write_text
        if _log.level == logging.NOTSET:
            _log.setLevel(logging.INFO)
        if not _log.hasHandlers():
            printing = logging.StreamHandler(sys.stdout)
            printing.setFormatter(logging.Formatter("%(message)s"))
            _log.addHandler(printing)
        self.refused = watch_refusals(self._write)

    def layer(self, handler: Handler) -> Handler:
        """Return `handler`, with a line for each of its requests."""

        def handle(connection: Connection, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
            if not _log.isEnabledFor(logging.INFO):
                return handler(connection, scope, receive, send)
            return watch(handler, Exchange(connection, scope, receive, send), self._write)

        return handle


def _write_text(exchange: Exchange) -> None:
    scope = exchange.scope
    _log.info(
        '%s - "%s %s HTTP/%s" %d',
        _client(exchange),
        _method(scope),
        _target(scope),
        scope["http_version"],
        exchange.status,
    )


def _write_json(exchange: Exchange) -> None:
    scope = exchange.scope
    line = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": _client(exchange),
        "host": _header(scope, b"host"),
        "method": _method(scope),
        "target": _target(scope),
        "http_version": scope["http_version"],
        "status": exchange.status,
        "sent": exchange.sent,
        "received": exchange.received,
        "seconds": round(exchange.seconds, 6),
        "user_agent": _header(scope, b"user-agent"),
        "tls": exchange.connection.tls_facts,
    }
    _log.info("%s", json.dumps(line))


def _client(exchange: Exchange) -> str:
    """Return the client's address, which a trusted proxy may have named (`forwarded_allow_ips`)."""
    client = exchange.scope.get("client")
    return exchange.connection.client_text if client is None else _escape(f"{client[0]}:{client[1]}")


def _method(scope: Scope) -> str:
    return "WEBSOCKET" if scope["type"] == "websocket" else _escape(scope["method"])


def _target(scope: Scope) -> str:
    """Return path and query as the client sent them."""
    query = scope["query_string"]
    return _escape((scope["raw_path"] + (b"?" + query if query else b""))[:_LONGEST].decode("latin-1"))


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value[:_LONGEST].decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _escape(value: str) -> str:
    r"""Return text in which all but printable ASCII, quotes and backslashes is `\xNN`."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", value[:_LONGEST])
