"""The access log of a TCP proxy: one line for each connection, when it is over."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from tlsio.https.address import client_text
from tlsio.https.tls.tls_extension import summarize
from tlsio.model.checks import check_choice

if TYPE_CHECKING:
    from collections.abc import Callable

    from tlsio.connection.socket.tls_socket import TLSSocket

__all__ = ["ConnectionLog", "Traffic"]

_log = logging.getLogger("tlsio.access")


@dataclass(slots=True)
class Traffic:
    """What a connection has come to.

    Attributes:
        received: Bytes of the client.
        sent: Bytes to the client.
        result: "closed" by both sides in order; "cut", when one of them failed; "idle", after
            `idle_timeout`; "unreachable", if there was no backend.
    """

    received: int = 0
    sent: int = 0
    result: str = "cut"


class ConnectionLog:
    """Writes to the logger `tlsio.access`, in the form "text" or "json"."""

    def __init__(self, form: str, backend: str) -> None:
        """Write about connections to a backend.

        Raises:
            UsageError: there is no such form.
        """
        self._is_json = check_choice("access_log", form, ("text", "json")) == "json"
        self._backend = backend

    def begin(self, client: TLSSocket, traffic: Traffic) -> Callable[[], None]:
        """Return a function that writes the line, to be called when the connection is over."""
        started = perf_counter()
        address = client_text(client)
        tls = summarize(client) if self._is_json else {}  # now: a closed socket has no facts

        def write() -> None:
            seconds = perf_counter() - started
            if self._is_json:
                self._write_json(address, traffic, seconds, tls)
            else:
                values = (address, self._backend, traffic.result, traffic.received, traffic.sent, seconds)
                _log.info('%s - "TCP %s" %s received=%d sent=%d seconds=%.3f', *values)

        return write

    def _write_json(self, address: str, traffic: Traffic, seconds: float, tls: dict[str, Any]) -> None:
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "client": address,
            "backend": self._backend,
            **asdict(traffic),
            "seconds": round(seconds, 6),
            "tls": tls,
        }
        _log.info("%s", json.dumps(line))
