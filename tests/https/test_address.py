"""Addresses as applications and logs have them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

import pki
import tlsio
from https_names import own
from tlsio.https import Server
from tlsio.https.address import endpoint


@pytest.mark.parametrize(
    ("address", "port", "found"),
    [
        ("192.0.2.7", 1, ("192.0.2.7", 1)),
        ("::ffff:192.0.2.7", 1, ("192.0.2.7", 1)),
        ("2001:db8::7", 1, ("2001:db8::7", 1)),
        ("::ffff:0:7", 1, ("::ffff:0:7", 1)),
        (None, None, None),
    ],
)
def test_ipv4_is_ipv4(address: str | None, port: int | None, found: tuple[str, int] | None) -> None:
    """Whatever the listening socket is."""
    assert endpoint(address, port) == found


async def test_a_server_of_all_addresses_knows_clients_of_ipv4(caplog: pytest.LogCaptureFixture) -> None:
    """By the address that they have, in the scope and in the log."""
    caplog.set_level(logging.INFO, "tlsio.access")
    seen: list[Any] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        seen.extend((scope["client"], scope["server"]))
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    server = Server(app, lifespan="off", access_log="json", **own())
    listening = (await server.start("::", 0)).port
    try:
        async with tlsio.connect(server.port, "127.0.0.1", ca=pki.ca1().cert_pem, servername="a.example") as client:
            client.write(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
            assert (await client.read()).startswith(b"HTTP/1.1 204")
            port = client.local_port
    finally:
        await server.stop()
    assert seen == [("127.0.0.1", port), ("127.0.0.1", listening)]
    [line] = [record.getMessage() for record in caplog.records if record.name == "tlsio.access"]
    assert json.loads(line)["client"] == f"127.0.0.1:{port}"
