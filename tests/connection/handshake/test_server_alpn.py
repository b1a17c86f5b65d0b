"""ALPN between server and client: the matrix of Node's test, and what happens when nothing is common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net, Pair


@pytest.mark.node("tls-alpn-server-client")
@pytest.mark.parametrize(
    ("server", "client", "chosen"),
    [
        (["a", "b", "c"], ["a", "b", "c"], "a"),
        (["a", "b", "c"], ["c", "b", "e"], "b"),  # the server's order
        (["a", "b", "c"], ["x", "y", "c"], "c"),
        (b"\1a\1b", [b"b"], "b"),
        (None, ["a", "b"], None),
        ([], ["a", "b"], None),
        (["a"], None, None),
        (None, None, None),
    ],
)
async def test_protocol_is_the_servers_choice(pair: Pair, server: Any, client: Any, chosen: str | None) -> None:
    """The first of its list that the client offers; none when one side has none."""
    async with pair(server={"alpn_protocols": server}, client={"alpn_protocols": client}) as (near, far, _):
        assert (near.alpn_protocol, far.alpn_protocol) == (chosen, chosen)


@pytest.mark.node("tls-alpn-server-client")
@pytest.mark.parametrize(("client", "chosen"), [(["a", "b", "c"], "b"), (None, None)])
async def test_callback_chooses(pair: Pair, client: Any, chosen: str | None) -> None:
    """It is not asked when the client offers nothing."""
    choose = {"alpn_callback": lambda _name, protocols, _sock: protocols[1]}
    async with pair(server=choose, client={"alpn_protocols": client}) as (near, far, _):
        assert (near.alpn_protocol, far.alpn_protocol) == (chosen, chosen)


@pytest.mark.node("tls-alpn-server-client")
@pytest.mark.parametrize("options", [{"alpn_protocols": ["h2"]}, {"alpn_callback": lambda *_: None}], ids=["list", "callback"])
async def test_nothing_in_common_is_refused(net: Net, options: dict[str, Any]) -> None:
    """With the alert that exists for it (RFC 7301 §3.2), and both sides told what to do."""
    async with net.serve(**options) as server:
        ours, theirs = await net.refused(server, alpn_protocols=["http/1.1"])
        assert isinstance(theirs, tlsio.AlertReceived)
        assert theirs.code == "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"
        assert isinstance(ours, tlsio.HandshakeError)
        assert ours.code == "ERR_SSL_NO_APPLICATION_PROTOCOL"
        assert ours.alert == theirs.alert == "no_application_protocol"
        assert "alpn_protocols" in (theirs.hint or "")


async def test_nothing_in_common_may_go_on(pair: Pair) -> None:
    """`alpn_mismatch="continue"`: without ALPN."""
    server = {"alpn_protocols": ["h2"], "alpn_mismatch": "continue"}
    async with pair(server=server, client={"alpn_protocols": ["http/1.1"]}) as (near, far, _):
        assert (near.alpn_protocol, far.alpn_protocol) == (None, None)


@pytest.mark.node("tls-alpn-server-client")
async def test_callback_may_answer_what_was_not_offered(net: Net) -> None:
    """By mistake: refused, with Node's code."""
    async with net.serve(alpn_callback=lambda *_: "http/5") as server:
        ours, theirs = await net.refused(server, alpn_protocols=["http/1", "h2"])
        assert (getattr(ours, "code", None), theirs.alert) == ("ERR_TLS_ALPN_CALLBACK_INVALID_RESULT", "internal_error")
        assert isinstance(ours, TypeError)


@pytest.mark.node("tls-alpn-server-client")
@pytest.mark.parametrize(
    "both",
    [
        lambda choose: tlsio.create_server(alpn_protocols=["a"], alpn_callback=choose),
        lambda choose: tlsio.create_server(alpn_protocols=["a"]).on("alpn_callback", choose),
        lambda choose: tlsio.create_secure_context(alpn_protocols=["a"], alpn_callback=choose),
    ],
    ids=["server", "on", "context"],
)
def test_callback_excludes_protocols(both: Callable[[Any], Any]) -> None:
    """Two answers to one question."""
    with pytest.raises(tlsio.UsageError) as caught:
        both(print)
    assert caught.value.code == "ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS"


async def test_reload_may_change_from_callback_to_protocols(net: Net) -> None:
    """`set_secure_context` replaces one by the other."""
    async with net.serve(alpn_callback=lambda _name, protocols, _sock: protocols[-1]) as server:
        for change, chosen in (({}, "b"), ({"alpn_protocols": ["a"]}, "a"), ({"alpn_callback": lambda *_: "b"}, "b")):
            server.set_secure_context(**change)  # type: ignore[arg-type]
            sock = await net.connect(server, alpn_protocols=["a", "b"])
            assert sock.alpn_protocol == chosen
            sock.destroy()
            await sock.wait_closed()
