"""Arguments that are no options: nonsense raises at the call, and the message says of which argument it speaks."""

from __future__ import annotations

import math
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

WORDS = ("", "x", "a\0b", "\udcff", "a" * 300, "a..b", b"x", b"")
NUMBERS = (0, -1, 2**40, 10**400, 1.5, math.nan, math.inf)
THINGS = (True, False, None, {}, [], [None], object(), len, int, Path("a\0b"), [{}], {1: 2})
NONSENSE = (*WORDS, *NUMBERS, *THINGS)


def server() -> tlsio.Server:
    """Return one that does not listen."""
    return tlsio.create_server(cert=pki.localhost().cert_pem, key=pki.localhost().key_pem)


def names_it(call: Callable[[Any], Any], name: str) -> int:
    """Give each nonsense to `call`; return how many were refused, each with `name`, a pattern, in its message."""
    told = []
    for value in NONSENSE:
        try:
            taken = call(value)
        except tlsio.UsageError as error:
            told.append(str(error))
        else:
            if hasattr(taken, "close") and not isinstance(taken, tlsio.Server):
                taken.close()
    assert [message for message in told if not re.search(name, message)] == []
    return len(told)


def connect(name: str, value: object) -> Any:
    """Call `connect` with one argument of that name, and what it needs besides."""
    others: dict[str, Any] = {"servername": "localhost"} if name in {"path", "socket"} else {"port": 1}
    return tlsio.connect(**{**others, name: value})


@pytest.mark.parametrize(("name", "at_least"), [("port", 22), ("host", 22), ("path", 21), ("socket", 25), ("on", 23), ("timeout", 22)])
def test_arguments_of_connect(name: str, at_least: int) -> None:
    """Before anything is awaited."""
    assert names_it(partial(connect, name), name) >= at_least


@pytest.mark.parametrize(
    ("method", "name", "at_least"),
    [
        ("add_context", "hostname", 20),
        ("remove_context", "hostname", 20),
        ("set_secure_context", "context|option", 23),
        ("set_ticket_keys", "keys", 27),
        ("close", "timeout", 21),
    ],
)
def test_arguments_of_servers(method: str, name: str, at_least: int) -> None:
    """A name, a context, keys, a time."""
    call = getattr(server(), method)
    assert names_it((lambda value: call(value, {})) if method == "add_context" else call, name) >= at_least


@pytest.mark.parametrize("name", ["max_connections", "drop_max_connection"])
def test_properties_of_servers(name: str) -> None:
    """Checked as the options are."""
    assert names_it(partial(setattr, server(), name), name) >= 22


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", ["port", "host", "path", "sock", "backlog", "reuse_port"])
async def test_arguments_of_listen(name: str) -> None:
    """No socket is left open. What could be an address or a path is Python's to refuse."""
    told = []
    for value in (*NUMBERS, *THINGS, "a\0b", b"x", "a..b" if name == "host" else b""):
        listening = server()
        try:
            await listening.listen(**{name: value})
        except tlsio.UsageError as error:
            told.append(str(error))
        listening.close(0)
        await listening.wait_closed()
    assert [message for message in told if name not in message] == []
    assert len(told) >= 18


@pytest.mark.parametrize("event", [*NONSENSE, "data", "Close"])
def test_events(event: Any) -> None:
    """What is no event of a server, whatever it is."""
    for method in ("on", "once", "off"):
        with pytest.raises(tlsio.UsageError) as caught:
            getattr(server(), method)(event, print)
        assert caught.value.code == "ERR_TLS_UNKNOWN_EVENT"


@pytest.mark.only_loop("asyncio")
async def test_streams() -> None:
    """What is no stream is neither wrapped nor upgraded."""
    for value in NONSENSE:
        with pytest.raises(tlsio.UsageError, match="stream must be a byte stream"):
            tlsio.TLSSocket(value, servername="localhost")
        with pytest.raises(tlsio.UsageError, match="stream must be a byte stream"):
            await server().upgrade(value)


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("is_server", [True, False])
async def test_contexts_of_streams(*, is_server: bool) -> None:
    """As with create_server and connect."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.TLSSocket((), is_server=is_server, secure_context={})
    assert caught.value.code == "ERR_TLS_INVALID_CONTEXT"


@pytest.mark.parametrize("name", ["handshake_timeout", "client_reneg_limit", "client_reneg_window", "ciphers", "ecdh_curve", "min_version"])
def test_defaults(name: str) -> None:
    """Checked when they are set; what is taken serves."""
    before = getattr(tlsio.defaults, name)

    def take(value: Any) -> None:
        setattr(tlsio.defaults, name, value)
        if name.startswith(("handshake", "client")):
            tlsio.create_server(allow_renegotiation=True)

    try:
        assert names_it(take, name) >= 20
    finally:
        setattr(tlsio.defaults, name, before)
