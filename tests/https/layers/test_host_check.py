"""The host of each request: valid, one, and one that the connection may serve."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import pki
import tlsio
from https_names import VERSIONS, Http1Client, Http2Client, connected, own, serving, trusting

both = pytest.mark.parametrize("version", VERSIONS)
BAD, MISDIRECTED = 400, 421


@pytest.mark.parametrize("hosts", [[], ["a.example", "a.example"], ["a.example", "b.example"], ["a b"], ["a.example:x"]])
async def test_http1_needs_one_valid_host(hosts: list[str]) -> None:
    """RFC 9112, section 3.2: none, two and invalid ones get 400, and the connection ends."""
    async with serving() as server, connected(server, "1.1") as client:
        status, _ = await client.get(hosts)
        assert status == BAD
        assert await client.socket.read() == b""


async def test_http10_needs_no_host() -> None:
    """There the connection's own name is meant, and a second Host is still wrong."""
    async with serving() as server:
        async with connected(server, "1.1") as client:
            assert isinstance(client, Http1Client)
            assert await client.send(b"GET / HTTP/1.0\r\n\r\n") == (200, b"-")
        async with connected(server, "1.1") as client:
            assert isinstance(client, Http1Client)
            status, _ = await client.send(b"GET / HTTP/1.0\r\nHost: a.example\r\nHost: b.example\r\n\r\n")
            assert status == BAD


async def test_the_target_in_absolute_form_names_the_host() -> None:
    """RFC 9112, section 3.2.2: it counts, not the Host header, for the application and for 421."""
    async with serving(**own()) as server:
        server.tls_server.add_context("b.example", trusting())
        for target, host, expected in [
            ("https://c.example/x", "a.example", (200, b"c.example")),
            ("HTTPS://a.example:8443/?x", "b.example", (200, b"a.example:8443")),
        ]:
            async with connected(server, "1.1") as client:
                assert await client.get(host, target) == expected
        for target, status in [("https://b.example/", MISDIRECTED), ("https://user@a.example/", BAD), ("https:///x", BAD)]:
            async with connected(server, "1.1") as client:
                assert (await client.get("a.example", target))[0] == status
        async with connected(server, "1.1") as client:
            assert (await client.get([], "https://a.example/"))[0] == BAD


async def test_http2_needs_a_valid_authority() -> None:
    """The stream is refused, and the next one is served."""
    async with serving() as server, connected(server, "2") as client:
        assert isinstance(client, Http2Client)
        assert (await client.get("user@a.example"))[0] in {BAD, -1}
        headers = [(":method", "GET"), (":scheme", "https"), (":path", "/")]
        assert (await client.ask([*headers, ("host", "a b")]))[0] in {BAD, -1}
        assert await client.ask([*headers, ("host", "a.example")]) == (200, b"a.example")
        assert await client.get("b.example") == (200, b"b.example")


# ---- client certificates


@both
async def test_a_host_that_requires_certificates_is_not_reached_without(version: str) -> None:
    """The case for which all this exists: each request gets 421, the connection serves its own name."""
    async with serving(**own()) as server:
        server.tls_server.add_context("b.example", trusting())
        async with connected(server, version) as client:
            assert await client.get("a.example") == (200, b"a.example")
            assert await client.get("c.example") == (200, b"c.example")
            for host in ("b.example", "B.EXAMPLE", "b.example.", "b.example:443") if version == "2" else ("B.example.:443",):
                status, body = await client.get(host)
                assert status == MISDIRECTED
                assert body.startswith(b"This connection cannot be used")
            if version == "2":
                assert await client.get("a.example") == (200, b"a.example")
        agent = pki.agent1()
        async with connected(server, version, "b.example", cert=agent.cert_pem, key=agent.key_pem) as client:
            assert await client.get("b.example") == (200, b"b.example")
            assert (await client.get("a.example"))[0] == MISDIRECTED


@both
async def test_equal_policies_share_a_connection(version: str) -> None:
    """Another certificate is not another policy."""
    other = pki.leaf("b.example", issuer=pki.ca1(), names=["b.example"])
    agent = pki.agent1()
    async with serving(**trusting()) as server:
        server.tls_server.add_context("b.example", {"cert": other.cert_pem, "key": other.key_pem})
        server.tls_server.add_context("c.example", trusting(pki.ca2()))
        async with connected(server, version, cert=agent.cert_pem, key=agent.key_pem) as client:
            assert await client.get("b.example") == (200, b"b.example")
            assert (await client.get("c.example"))[0] == MISDIRECTED


@both
@pytest.mark.parametrize("changed", ["certificate", "trust", "check"])
async def test_a_reload_changes_what_its_policy_changes(version: str, changed: str) -> None:
    """A renewed certificate keeps connections; another trust or check ends them, with 421 for the next request."""
    agent = pki.agent1()
    async with serving(**trusting(check_client=lambda _cert, _socket: None)) as server:
        check = server.tls_server._policy.hooks["check_client"]
        async with connected(server, version, cert=agent.cert_pem, key=agent.key_pem) as client:
            assert await client.get("a.example") == (200, b"a.example")
            if changed == "certificate":
                renewed = pki.leaf("a.example", issuer=pki.ca1(), names=["a.example"])
                server.tls_server.set_secure_context(cert=renewed.cert_pem, key=renewed.key_pem)
                assert await client.get("a.example") == (200, b"a.example")
                return
            if changed == "trust":
                server.tls_server.set_secure_context(ca=pki.ca2().cert_pem)
            else:
                server.tls_server.off("check_client", check)
                server.tls_server.on("check_client", lambda _cert, _socket: None)
            assert (await client.get("a.example"))[0] == MISDIRECTED
            if isinstance(client, Http2Client):
                await client.until_closed()
                assert client.goaway


@both
async def test_a_handshake_that_a_reload_overtakes_is_not_of_the_new_policy(version: str) -> None:
    """The ClientHello came under the old trust, the end of the handshake after the new one."""
    agent = pki.agent1()
    async with serving(**trusting()) as server:

        def change(_host: str, _cert: object) -> None:
            server.tls_server.set_secure_context(ca=[pki.ca1().cert_pem, pki.ca2().cert_pem])

        async with connected(server, version, cert=agent.cert_pem, key=agent.key_pem, check_server_identity=change) as client:
            assert (await client.get("a.example"))[0] == MISDIRECTED


@both
async def test_resumed_sessions_are_of_their_own_name(version: str) -> None:
    """A session that was resumed has the policy of the name under which it was."""
    agent = pki.agent1()
    async with serving(**own()) as server:
        server.tls_server.add_context("b.example", trusting())
        async with connected(server, version, "b.example", cert=agent.cert_pem, key=agent.key_pem) as client:
            assert await client.get("b.example") == (200, b"b.example")
            session = client.socket.get_session()  # its ticket came before the answer
        async with connected(server, version, "b.example", cert=agent.cert_pem, key=agent.key_pem, session=session) as client:
            assert client.socket.is_session_reused()
            assert (await client.get("a.example"))[0] == MISDIRECTED
            if version == "2":
                assert await client.get("b.example") == (200, b"b.example")


@both
async def test_addresses_and_missing_names_are_of_the_default(version: str) -> None:
    """SNI has no addresses: their entry is the default, as for clients without SNI."""
    async with serving(**own()) as server:
        server.tls_server.add_context("b.example", trusting())
        for name in ("a.example", None):
            async with connected(server, version, name) as client:
                assert await client.get("127.0.0.1") == (200, b"127.0.0.1")
                assert await client.get("[::1]:8443") == (200, b"[::1]:8443")
                assert await client.get("a.example") == (200, b"a.example")
                assert (await client.get("b.example"))[0] == MISDIRECTED
    async with serving(**trusting()) as server:
        server.tls_server.add_context("a.example", own(request_cert=False))
        async with connected(server, version) as client:
            assert await client.get("a.example") == (200, b"a.example")
            assert (await client.get("127.0.0.1"))[0] == MISDIRECTED


async def test_an_address_that_has_an_entry_is_found_by_it() -> None:
    """Some clients send an IPv4 address as SNI, so `add_context` takes one."""
    async with serving(**own()) as server:
        server.tls_server.add_context("127.0.0.1", trusting())
        async with connected(server, "2") as client:
            assert (await client.get("127.0.0.1"))[0] == MISDIRECTED


@pytest.mark.parametrize("has_third", [False, True])
async def test_a_certificate_requested_later_stays_with_its_trust(has_third: bool) -> None:  # noqa: FBT001
    """Neither name asks, but the application has asked on this connection: a certificate of ca1 is none of ca2."""

    async def ask(scope: Any, _receive: Any, send: Any) -> None:
        if scope["path"] == "/private":
            await scope["extensions"]["tls"].socket.renegotiate(request_cert=True)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    agent = pki.agent1()
    async with serving(ask, **own(ca=pki.ca1().cert_pem, request_cert=False)) as server:
        server.tls_server.add_context("b.example", own(ca=pki.ca2().cert_pem))
        if has_third:
            server.tls_server.add_context("c.example", trusting())
        async with connected(server, "1.1", cert=agent.cert_pem, key=agent.key_pem) as client:
            assert await client.get("b.example") == (200, b"")
            assert await client.get("a.example", "/private") == (200, b"")
            assert await client.get("a.example") == (200, b"")
            assert (await client.get("b.example"))[0] == MISDIRECTED


async def test_websockets_are_refused_with_the_same_status(caplog: pytest.LogCaptureFixture) -> None:
    """The status is that of a request, before anything is accepted; the name's own client is served."""
    agent = pki.agent1()
    async with serving(**own()) as server:
        server.tls_server.add_context("b.example", trusting())
        for name, certificate, status in (
            ("a.example", {}, MISDIRECTED),
            ("b.example", {"cert": agent.cert_pem, "key": agent.key_pem}, 101),
        ):
            async with connected(server, "1.1", name, **certificate) as client:
                lines = ["GET / HTTP/1.1", "Host: b.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
                client.socket.write("\r\n".join([*lines, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", ""]).encode())
                assert (await client.socket.read()).startswith(b"HTTP/1.1 %d " % status)
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


async def test_a_websocket_without_the_extension_is_closed() -> None:
    """A server that cannot send a response there closes before it accepts: 403."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async with serving(**own()) as server:
        [check] = [one for one in server._layers if type(one).__name__ == "HostCheck"]
        handle = check(None)
        await handle(None, {"type": "websocket", "http_version": "1.1", "headers": [], "extensions": {}}, None, send)
        assert sent == [{"type": "websocket.close"}]


# ---- sources and hooks


class Source:
    """A context source; its table and its answers are apart."""

    def __init__(self, *, is_async: bool, **named: Any) -> None:
        self.default = tlsio.create_secure_context(**own())
        self.named = {name: tlsio.create_secure_context(**options) for name, options in named.items()}
        self.asked: list[str | None] = []
        if is_async:
            self.context_for = self._wait  # type: ignore[method-assign]

    def context_for(self, name: str | None) -> Any:
        """Return the context of a name, or none for names that begin with x."""
        self.asked.append(name)
        if name is not None and name.startswith("x"):
            return None
        if name == "broken.example":
            raise ValueError("a bug")
        return self.named.get(f"{name}", self.default)

    async def _wait(self, name: str | None) -> Any:
        await asyncio.sleep(0)
        return type(self).context_for(self, name)


@both
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_source_is_asked_as_for_a_hello(version: str, is_async: bool) -> None:  # noqa: FBT001
    """Sync or async, once for each other name of a connection; an error refuses."""
    source = Source(is_async=is_async, **{"b.example": trusting(), "c.example": own()})
    async with serving(secure_context=source) as server:
        async with connected(server, version) as client:
            assert await client.get("a.example") == (200, b"a.example")
            assert await client.get("c.example") == (200, b"c.example")
            before = list(source.asked)
            assert await client.get("c.example") == (200, b"c.example")
            assert await client.get("a.example") == (200, b"a.example")
            assert source.asked == before
        for host in ("b.example", "x.example", "broken.example"):
            async with connected(server, version) as client:
                assert (await client.get(host))[0] == MISDIRECTED
                if version == "2":
                    assert (await client.get(host))[0] == MISDIRECTED
        assert source.asked.count("b.example") == 1


async def test_a_source_is_not_asked_for_any_number_of_names() -> None:
    """One connection makes it look up a few names, not as many as it has requests."""
    source = Source(is_async=True)
    async with serving(secure_context=source) as server, connected(server, "2") as client:
        results = [(await client.get(f"n{number}.example"))[0] for number in range(40)]
        assert results == [200] * 32 + [MISDIRECTED] * 8
        assert len([name for name in source.asked if name and name.startswith("n")]) == 32


@both
async def test_a_published_table_is_read_at_each_request(version: str) -> None:
    """What it has at that moment counts; a name that it does not have is asked for."""
    source: Any = Source(is_async=False)
    source.published = {"a.example": source.default, "*.b.example": tlsio.create_secure_context(**trusting())}
    async with serving(secure_context=source) as server:
        async with connected(server, version) as client:
            assert await client.get("a.example") == (200, b"a.example")
            assert (await client.get("x.b.example"))[0] == MISDIRECTED
        async with connected(server, version) as client:
            assert await client.get("a.example") == (200, b"a.example")
            source.published = {"a.example": tlsio.create_secure_context(**trusting())}
            assert (await client.get("a.example"))[0] == MISDIRECTED


@both
async def test_a_hook_cannot_be_asked_so_only_its_own_name_is_served(version: str) -> None:
    """`sni_callback` needs a ClientHello; an address is of the default, which it does not decide."""
    asked: list[str] = []

    def choose(name: str, _socket: object) -> Any:
        asked.append(name)
        return trusting() if name == "b.example" else None

    async with serving(**own(sni_callback=choose)) as server:
        for host in ("b.example", "c.example"):
            async with connected(server, version) as client:
                assert await client.get("a.example") == (200, b"a.example")
                assert await client.get("127.0.0.1") == (200, b"127.0.0.1")
                assert (await client.get(host))[0] == MISDIRECTED
        async with connected(server, version, None) as client:
            assert (await client.get("a.example"))[0] == MISDIRECTED
        assert set(asked) == {"a.example"}


# ---- strict


@both
async def test_strict_host_serves_the_sni_name_alone(version: str) -> None:
    """Without any client certificate in sight; addresses pass."""
    async with serving(strict_host=True, **own()) as server:
        async with connected(server, version) as client:
            assert await client.get("A.example.:8443") == (200, b"A.example.:8443")
            assert await client.get("127.0.0.1") == (200, b"127.0.0.1")
            assert (await client.get("c.example"))[0] == MISDIRECTED
        async with connected(server, version, None) as client:
            assert await client.get("[::1]") == (200, b"[::1]")
            assert (await client.get("a.example"))[0] == MISDIRECTED


def test_strict_host_is_a_bool() -> None:
    """As all options are checked."""
    from tlsio.https import Server  # noqa: PLC0415

    with pytest.raises(tlsio.UsageError, match="strict_host"):
        Server(lambda scope, receive, send: None, strict_host="yes", **own())  # type: ignore[arg-type]


async def test_it_is_off_where_no_entry_asks() -> None:
    """The lookup is not made: the table is not even read."""
    async with serving(**own()) as server:
        [check] = [one for one in server._layers if type(one).__name__ == "HostCheck"]
        assert not check._entries.may_request_cert
        server.tls_server.add_context("b.example", trusting())
        assert check._entries.may_request_cert
        server.tls_server.remove_context("b.example")
        assert not check._entries.may_request_cert
