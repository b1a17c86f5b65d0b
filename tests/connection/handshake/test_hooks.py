"""Hooks that answer the handshake's questions: sync, async, wrong, late, too late, and after the connection is gone."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import leave, once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from net import Net

HOOKS = ["sni_callback", "alpn_callback", "check_client"]
CLIENT = {"alpn_protocols": ["a", "b"]}
SERVER: dict[str, Any] = {"ca": pki.ca1().cert_pem, "request_cert": True, "reject_unauthorized": False}
GOOD: dict[str, Any] = {"sni_callback": None, "alpn_callback": "b", "check_client": None}


def answering(hook: str, how: str, value: Any) -> Callable[..., Any]:
    """Return a hook that answers `value` (raises it, when it is an exception), sync or async."""

    def answer(*args: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return value(*args) if callable(value) else value

    async def answer_later(*args: Any) -> Any:
        await asyncio.sleep(0)
        return answer(*args)

    return answer if how == "sync" else answer_later


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_answer_is_taken(net: Net, hook: str, how: str) -> None:
    """Whether it comes at once or later."""
    async with net.serve(**SERVER, **{hook: answering(hook, how, GOOD[hook])}) as server:
        opened = once(server, "secure_connection")
        sock = await net.connect(server, **CLIENT)
        peer = await opened
        peer.write(b"welcome")
        assert await sock.read() == b"welcome"
        assert sock.alpn_protocol == ("b" if hook == "alpn_callback" else None)
        sock.destroy()
        await sock.wait_closed()


async def test_all_hooks_are_asked_once_and_in_order(net: Net) -> None:
    """Each async, one after the other: name, protocol, client."""
    asked: list[Any] = []

    def hook(name: str, result: Any) -> Callable[..., Awaitable[Any]]:
        async def answer(*args: Any) -> Any:
            asked.append((name, args[:-1]))
            await asyncio.sleep(0)
            return result

        return answer

    hooks = {name: hook(name, GOOD[name]) for name in HOOKS}
    async with net.serve(**SERVER, **hooks) as server:
        sock = await net.connect(server, **CLIENT)
        await once(server, "secure_connection") if not server.stats().handshakes_full else None
        assert asked == [
            ("sni_callback", ("localhost",)),
            ("alpn_callback", ("localhost", ["a", "b"])),
            ("check_client", (None,)),
        ]
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("alert", ["close_notify", "user_canceled", "no_renegotiation"])
async def test_an_alert_that_reports_no_error_is_not_sent(net: Net, alert: str) -> None:
    """A refused client of TLS 1.3 would read it as an orderly end."""
    mistake = tlsio.HandshakeError(alert=alert)
    async with net.serve(request_cert=False, check_client=answering("", "sync", mistake)) as server:
        error, told = await net.refused(server, **CLIENT)
        assert told.alert == error.alert == "internal_error"
        assert any(alert in note for note in error.__notes__)


@pytest.mark.node("26: SNI callback that fails", "tls-psk-alpn-callback-exception-handling")
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_exception_refuses_the_client(net: Net, hook: str, how: str) -> None:
    """With internal_error, or bad_certificate where the client's certificate was judged; the exception is the cause of what is told."""
    mistake = LookupError("no such tenant")
    async with net.serve(**SERVER, **{hook: answering(hook, how, mistake)}) as server:
        error, alert = await net.refused(server, **CLIENT)
        checks = hook == "check_client"
        assert isinstance(error, tlsio.CertificateError if checks else tlsio.HandshakeError)
        assert (error.__cause__, error.alert) == (mistake, "bad_certificate" if checks else "internal_error")
        assert isinstance(alert, tlsio.AlertReceived)
        assert alert.alert == error.alert
        assert error.code == ("ERR_TLS_CERTIFICATE" if checks else "ERR_TLS_HOOK_FAILED")
        assert server.stats().handshakes_failed == {error.code: 1}


async def test_code_of_an_exception_is_kept(net: Net) -> None:
    """One that names its own kind is counted by it; what is not text is no code."""
    mistakes: list[Any] = [LookupError("a"), LookupError("b")]
    mistakes[0].code, mistakes[1].code = "ERR_TENANT", 404

    def choose(*_args: object) -> None:
        raise mistakes[0]

    async with net.serve(sni_callback=choose) as server:
        for code in ("ERR_TENANT", "ERR_TLS_HOOK_FAILED"):
            error, _alert = await net.refused(server)
            assert getattr(error, "code", None) == code
            mistakes.pop(0)
        assert server.stats().handshakes_failed == {"ERR_TENANT": 1, "ERR_TLS_HOOK_FAILED": 1}


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_handshake_error_picks_the_alert(net: Net, hook: str, how: str) -> None:
    """`raise HandshakeError(alert=...)`."""
    mistake = tlsio.HandshakeError("not here", alert="unrecognized_name")
    async with net.serve(**SERVER, **{hook: answering(hook, how, mistake)}) as server:
        error, alert = await net.refused(server, **CLIENT)
        assert error is mistake
        assert getattr(alert, "alert", None) == "unrecognized_name"


async def test_alert_that_does_not_exist_is_told_with_the_nearest(net: Net) -> None:
    """The client gets internal_error, the owner of the hook a note."""
    mistake = tlsio.HandshakeError(alert="unrecognised_name")
    async with net.serve(sni_callback=answering("", "sync", mistake)) as server:
        error, alert = await net.refused(server, **CLIENT)
        assert alert.alert == "internal_error"
        assert any("unrecognized_name" in note for note in error.__notes__)


@pytest.mark.node("26: SNI callback that fails", "tls-psk-alpn-callback-exception-handling")
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize(
    ("hook", "value", "code"),
    [
        ("sni_callback", "context", "ERR_INVALID_ARG_TYPE"),
        ("sni_callback", 3, "ERR_INVALID_ARG_TYPE"),
        ("sni_callback", {"requestCert": True}, "ERR_TLS_UNKNOWN_OPTION"),
        ("alpn_callback", "http/5", "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT"),
        ("alpn_callback", False, "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT"),
        ("alpn_callback", "", "ERR_TLS_ALPN_CALLBACK_INVALID_RESULT"),
        ("check_client", True, "ERR_INVALID_ARG_TYPE"),
        ("check_client", False, "ERR_INVALID_ARG_TYPE"),
    ],
)
async def test_answer_of_the_wrong_kind_refuses(net: Net, hook: str, value: Any, code: str, how: str) -> None:
    """Closed, with internal_error: nobody can tell what was meant."""
    async with net.serve(**SERVER, **{hook: answering(hook, how, value)}) as server:
        error, alert = await net.refused(server, **CLIENT)
        assert getattr(error, "code", None) == code
        assert alert.alert == getattr(error, "alert", None) == "internal_error"


@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_that_never_answers_is_timed_out(net: Net, hook: str) -> None:
    """`hook_timeout` bounds it."""

    async def never(*_args: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async with net.serve(hook_timeout=0.02, **SERVER, **{hook: never}) as server:
        error, alert = await net.refused(server, **CLIENT)
        assert getattr(error, "code", None) == "ERR_TLS_HOOK_TIMEOUT"
        assert alert.alert == "internal_error"


@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_of_a_connection_that_is_gone_is_cancelled(net: Net, hook: str) -> None:
    """The client leaves while the hook runs: one hang-up is told, no task stays."""
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(*_args: Any) -> Any:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    async with net.serve(**SERVER, **{hook: wait}) as server, net.relay(server) as relay:
        told = once(server, "tls_client_error")
        connecting = asyncio.create_task(net.connect(server, **CLIENT))
        await asked.wait()
        relay.reset()  # FIN alone would not do: what a client sent before its end counts
        error, sock = await told
        await cancelled.wait()
        await leave(connecting)
        assert isinstance(error, ConnectionError)
        assert sock.closed or not net.is_native


@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_of_a_server_that_is_closed_is_cancelled(net: Net, hook: str) -> None:
    """`close(0)` leaves nothing behind."""
    asked, cancelled = asyncio.Event(), asyncio.Event()

    async def wait(*_args: Any) -> Any:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            cancelled.set()

    async with net.serve(**SERVER, **{hook: wait}) as server:
        connecting = asyncio.create_task(net.connect(server, **CLIENT))
        await asked.wait()
        server.close(0)
        await cancelled.wait()
        await server.wait_closed()
        await leave(connecting)


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_may_destroy_the_connection(net: Net, hook: str, how: str) -> None:
    """And sees the addresses; its answer is dropped, no listener hears of that connection."""
    seen: list[Any] = []

    def destroy(*args: Any) -> Any:
        sock = args[-1]
        seen.append((sock.remote_address, sock.local_port))
        sock.destroy()
        return GOOD[hook]

    def secured(_sock: Any) -> None:
        pytest.fail("a destroyed connection was let in")

    async with net.serve(secured, **SERVER, **{hook: answering(hook, how, destroy)}) as server:
        connecting = asyncio.create_task(net.connect(server, **CLIENT))
        while not seen:
            await asyncio.wait([connecting], timeout=0.01)
        [result] = await asyncio.gather(connecting, return_exceptions=True)
        if isinstance(result, tlsio.TLSSocket):  # TLS 1.3: it was through
            with pytest.raises(tlsio.TLSError):
                await result.read()
            result.destroy()
            await result.wait_closed()
        else:
            assert isinstance(result, tlsio.TLSError)
        assert seen == [("127.0.0.1", net.port(server))]


@pytest.mark.parametrize("hook", HOOKS)
async def test_hook_that_cancels_itself_refuses(net: Net, hook: str) -> None:
    """A CancelledError that nobody sent to it is a mistake like another."""

    def cancel(*_args: Any) -> Any:
        raise asyncio.CancelledError

    for how in ("sync", "async"):
        async with net.serve(**SERVER, **{hook: answering(hook, how, cancel)}) as server:
            error, alert = await net.refused(server, **CLIENT)
            assert getattr(error, "code", None) == "ERR_TLS_HOOK_CANCELLED"
            assert alert.alert == "internal_error"


@pytest.mark.parametrize("kind", ["context", "options", "unknown"])
@pytest.mark.parametrize("how", ["sync", "async"])
async def test_sni_callback_gives_a_context_options_or_nothing(net: Net, how: str, kind: str) -> None:
    """Nothing: the table of add_context, then the default."""
    chosen, added = pki.leaf("chosen"), pki.wildcard()
    options = {"cert": chosen.cert_pem, "key": chosen.key_pem}
    value = {"context": tlsio.create_secure_context(**options), "options": options, "unknown": None}[kind]
    async with net.serve(sni_callback=answering("", how, value)) as server:
        server.add_context("a.example.com", {"cert": added.cert_pem, "key": added.key_pem})
        for name, fallback in (("a.example.com", added), ("elsewhere.org", pki.localhost())):
            sock = await net.connect(server, servername=name, reject_unauthorized=False)
            certificate = sock.get_peer_certificate()
            assert certificate is not None
            assert certificate["raw"] == (fallback if kind == "unknown" else chosen).cert_der
            sock.destroy()
            await sock.wait_closed()


async def test_sni_callback_is_not_asked_without_a_name(net: Net) -> None:
    """As in Node."""
    async with net.serve(sni_callback=answering("", "sync", LookupError())) as server:
        sock = await net.connect(server, servername="", reject_unauthorized=False)
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("hook", HOOKS)
def test_second_hook_raises(hook: str) -> None:
    """One question, one answer; taken away, another may come."""

    def first(*_args: Any) -> None: ...

    def second(*_args: Any) -> None: ...

    server = tlsio.create_server(**{hook: first}, request_cert=False)
    with pytest.raises(tlsio.UsageError):
        server.on(hook, second)
    server.off(hook, second)
    with pytest.raises(tlsio.UsageError):
        server.on(hook, second)
    server.off(hook, first)
    assert server.on(hook, second) is second


@pytest.mark.node("tls-snicallback-error")
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("value", ["str", 42, {}, []])
def test_hook_must_be_callable(hook: str, value: Any) -> None:
    """As an option and by on; and it answers always, not once."""
    with pytest.raises(TypeError) as caught:
        tlsio.create_server(**{hook: value})
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]
    server = tlsio.create_server()
    with pytest.raises(tlsio.UsageError):
        server.on(hook, value)
    with pytest.raises(tlsio.UsageError):
        server.once(hook, print)


async def test_hook_set_by_on_works_for_new_connections(net: Net) -> None:
    """Decorated, too."""
    async with net.serve() as server:

        @server.on("alpn_callback")  # type: ignore[untyped-decorator]
        async def choose(_name: str | None, protocols: list[str], _sock: tlsio.TLSSocket) -> str:
            return protocols[0]

        sock = await net.connect(server, **CLIENT)
        assert sock.alpn_protocol == "a"
        sock.destroy()
        await sock.wait_closed()
        server.off("alpn_callback", choose)
        sock = await net.connect(server, **CLIENT)
        assert sock.alpn_protocol is None
        sock.destroy()
        await sock.wait_closed()


# --- check_server_identity ---


@pytest.mark.parametrize("how", ["sync", "async"])
async def test_check_server_identity_accepts_by_none(net: Net, how: str) -> None:
    """It replaces the check of the name, and is given the name and the certificate."""
    asked: list[Any] = []

    def check(host: str, certificate: Any) -> None:
        asked.append((host, certificate["subject"]["CN"]))

    async with net.serve() as server:
        sock = await net.connect(server, servername="somewhere.else", check_server_identity=answering("", how, check))
        assert (asked, sock.authorized) == ([("somewhere.else", "localhost")], True)
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("does", ["raises", "returns"])
async def test_check_server_identity_refuses_by_an_exception(net: Net, how: str, does: str) -> None:
    """`connect` raises an error of ours whose cause it is; the server gets the alert."""
    mistake = LookupError("not my server")
    check = answering("", how, mistake if does == "raises" else lambda *_: mistake)
    async with net.serve() as server:
        told = once(server, "tls_client_error")
        with pytest.raises(tlsio.CertificateError, match="LookupError: not my server") as caught:
            await net.connect(server, check_server_identity=check)
        assert caught.value.__cause__ is mistake
        assert caught.value.code == "ERR_TLS_CERTIFICATE"
        error, _ = await told
        assert error.alert == "bad_certificate"


@pytest.mark.parametrize("value", [True, False, 0, "", "no", {}])
async def test_check_server_identity_refuses_by_anything_else(net: Net, value: Any) -> None:
    """True would be a plausible yes, and a plausible "yes, it is wrong"."""
    async with net.serve() as server:
        with pytest.raises(tlsio.UsageError):
            await net.connect(server, check_server_identity=lambda *_: value)


async def test_check_server_identity_is_timed_out(net: Net) -> None:
    """`hook_timeout` bounds it too."""

    async def never(*_args: Any) -> Any:
        await asyncio.get_running_loop().create_future()

    async with net.serve() as server:
        with pytest.raises(tlsio.TLSError) as caught:
            await net.connect(server, check_server_identity=never, hook_timeout=0.02)
        assert caught.value.code == "ERR_TLS_HOOK_TIMEOUT"


async def test_check_server_identity_does_not_replace_the_chain_nor_pins(net: Net) -> None:
    """Chain and pins are checked besides."""
    async with net.serve() as server:
        for options in ({"ca": pki.ca2().cert_pem}, {"pins": [bytes(32)]}):
            with pytest.raises(tlsio.CertificateError):
                await net.connect(server, check_server_identity=lambda *_: None, **options)


async def test_check_server_identity_of_a_connection_that_is_gone_is_cancelled(net: Net) -> None:
    """The server leaves while the client thinks; and the client's own cancellation ends the hook too."""
    asked, ended = asyncio.Event(), asyncio.Event()

    async def wait(*_args: Any) -> Any:
        asked.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async with net.serve() as server:
        connecting = asyncio.create_task(net.connect(server, check_server_identity=wait))
        await asked.wait()
        server.close(0)
        with pytest.raises(tlsio.ConnectionLostError):
            await connecting
        await ended.wait()
    asked.clear()
    ended.clear()
    async with net.serve() as server:
        connecting = asyncio.create_task(net.connect(server, check_server_identity=wait))
        await asked.wait()
        connecting.cancel()
        await asyncio.gather(connecting, return_exceptions=True)
        await ended.wait()


class _BrokenError(Exception):
    """A bug in the code of the user."""


ALL_HOOKS = [*HOOKS, "ocsp_request", "psk_callback"]
UNTOLD: dict[str, tuple[Callable[[], Any], bool]] = {
    "raised": (lambda: _BrokenError("bug"), True),
    "lookup": (lambda: KeyError("localhost"), True),
    "wrong answer": (object, True),
    "cancelled": (asyncio.CancelledError, True),
    "on purpose": (lambda: tlsio.HandshakeError(alert="access_denied"), False),
    "certificate": (lambda: tlsio.CertificateError("not today", code="CERT_REVOKED"), False),
}


def options_for(hook: str, function: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of a server and of a client that has the hook asked."""
    client: dict[str, Any] = dict(CLIENT)
    if hook == "ocsp_request":
        client["request_ocsp"] = True
    if hook == "psk_callback":
        client |= {"psk_callback": lambda _hint: ("me", bytes(32)), "ciphers": "TLS_AES_128_GCM_SHA256:PSK-AES128-GCM-SHA256"}
    server = dict(SERVER) | {hook: function}
    if hook == "psk_callback":
        server["ciphers"] = client["ciphers"]
    return server, client


async def knock(server: tlsio.Server, **options: Any) -> None:
    """Connect natively and be refused."""
    with pytest.raises(tlsio.TLSError):
        async with tlsio.connect(server.port, "localhost", **{"ca": pki.ca1().cert_pem} | options) as sock:
            await sock.read()


@pytest.mark.parametrize("heard", [None, "tls_client_error", "client_error"])
@pytest.mark.parametrize("what", UNTOLD)
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("hook", ALL_HOOKS)
async def test_mistake_of_a_hook_reaches_the_loop_unless_a_listener_takes_it(
    version: Any, hook: str, how: str, what: str, heard: str | None, loop_errors: list[dict[str, Any]]
) -> None:
    """What is raised to refuse a client is no mistake."""
    make, is_mistake = UNTOLD[what]
    value = make()
    if hook == "psk_callback" and how == "async":
        return
    server_options, client_options = options_for(hook, answering(hook, how, value))
    versions = {"min_version": version, "max_version": version}
    async with tlsio.serve(
        lambda _sock: None, 0, "127.0.0.1", cert=pki.localhost().cert_pem, key=pki.localhost().key_pem, **server_options | versions
    ) as server:
        told: list[BaseException] = []
        if heard is not None:
            server.on(heard, lambda error, _sock: told.append(error))  # type: ignore[call-overload]
        await knock(server, **client_options | versions)
        server.close()
        await server.wait_closed()
    reported = [context["exception"] for context in loop_errors]
    loop_errors.clear()
    assert len(told) == (heard is not None)
    assert len(reported) == (heard is None and is_mistake)
    if what in ("raised", "lookup"):
        assert (reported + told)[0].__cause__ is value


async def test_exception_that_check_client_returns_is_an_answer(net: Net, loop_errors: list[dict[str, Any]]) -> None:
    """Whatever it is."""
    async with net.serve(**SERVER, check_client=lambda *_: PermissionError("not on the list")) as server:
        with pytest.raises(tlsio.TLSError):  # noqa: PT012
            sock = await net.connect(server)
            await sock.read()
    assert not loop_errors


async def test_late_hook_is_a_mistake(loop_errors: list[dict[str, Any]]) -> None:
    """Otherwise a server whose hook hangs refuses everyone without a word."""

    async def never(*_args: Any) -> None:
        await asyncio.get_running_loop().create_future()

    who = pki.localhost()
    async with tlsio.serve(
        lambda _sock: None, 0, "127.0.0.1", cert=who.cert_pem, key=who.key_pem, sni_callback=never, hook_timeout=0.01
    ) as server:
        await knock(server)
    assert [context["exception"].code for context in loop_errors] == ["ERR_TLS_HOOK_TIMEOUT"]
    loop_errors.clear()


async def test_caller_of_upgrade_takes_the_mistake(net: Net, loop_errors: list[dict[str, Any]]) -> None:
    """Once is enough."""
    if net.is_native:
        return
    async with net.serve(sni_callback=answering("sni_callback", "async", _BrokenError("bug"))) as server:
        with pytest.raises(tlsio.TLSError):
            await net.connect(server)
    assert not loop_errors
