"""Mistakes in calls, in events and before TLS begins: each made for real, its text asserted."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from explanations import check_words, error_of, identity
from net import once

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

Anything: Any = tlsio  # what no type checker would let pass

CALLS: dict[str, tuple[Callable[[], object], tuple[str, ...]]] = {
    "Node's createServer": (
        lambda: Anything.create_server({"cert": "x"}, print),
        ("create_server takes one positional argument, the listener", "create_server(listener, cert=..., key=...)"),
    ),
    "options alone": (lambda: Anything.create_server({"cert": "x"}), ("create_server(listener, **options)",)),
    "port to create_server": (lambda: Anything.create_server(port=443), ("There is no option 'port'", "await server.listen(443")),
    "context of ssl, client": (
        lambda: tlsio.connect(443, secure_context=ssl.create_default_context()),  # type: ignore[arg-type]
        ("must be a SecureContext, got SSLContext", "belongs to Python's own OpenSSL", "tlsio.create_secure_context("),
    ),
    "context of ssl, server": (
        lambda: Anything.create_server(secure_context=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
        ("must be a SecureContext, got SSLContext", "tlsio.create_secure_context("),
    ),
    "context of ssl for a name": (
        lambda: Anything.create_server().add_context("a.example", ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)),
        ("context must be a SecureContext or options", "Give tlsio.create_secure_context("),
    ),
    "host first": (lambda: Anything.connect("example.org", 443), ("port must be an int", "connect(443, 'example.org')")),
    "port as text": (lambda: Anything.connect("443", "example.org"), ("port must be an int", "Give it as a number: connect(443")),
    "Node's options": (lambda: Anything.connect({"port": 443}), ("got dict", 'connect(443, "example.org", ca=...)')),
    "URL as host": (lambda: tlsio.connect(443, "https://example.org/"), ("is not a host name", "without a port or a path")),
    "no place": (tlsio.connect, ("exactly one of port=, path= and socket=", 'connect(443, "example.org")')),
    "event on connect": (
        lambda: tlsio.connect(443, on={"secureConnect": print}), ("'secureConnect'", "It is spelled 'secure_connect'")
    ),
    "Node's event": (lambda: Anything.create_server().on("tlsClientError", print), ("There is no event", "It is spelled 'tls_client_error'")),
    "Node's other event": (lambda: Anything.create_server().on("OCSPRequest", print), ("It is spelled 'ocsp_request'",)),
    "misspelt event": (lambda: Anything.create_server().on("conection", print), ("The closest name is 'connection'",)),
    "list of lists": (lambda: Anything.create_server(crl_file="a.crl"), ("There is no option 'crl_file'", "Meant: crl=, which takes a file")),
    "file of pins": (lambda: Anything.connect(443, pins=Path("pins.txt")), ("must be a list of pins", "Pins are not read from files")),
    "versions the wrong way round": (
        lambda: tlsio.connect(443, min_version="TLSv1.3", max_version="TLSv1.2"),
        ("min_version='TLSv1.3' and max_version='TLSv1.2' leave no version", "Swap them."),
    ),
    "only a maximum": (lambda: tlsio.connect(443, max_version="TLSv1.1"), ("Only one was given; min_version='TLSv1.2' is from tlsio.defaults",)),
    "no event": (lambda: Anything.create_server().on("", print), ("The events are",)),
}  # fmt: skip


@pytest.mark.parametrize("name", list(CALLS))
def test_wrong_call_shows_the_right_one(name: str) -> None:
    """One sentence, with the call."""
    call, says = CALLS[name]
    error = error_of(call)
    assert isinstance(error, tlsio.UsageError)
    check_words(error, says)


async def _fails(awaitable: Awaitable[object]) -> BaseException:
    try:
        await awaitable
    except (tlsio.TLSError, OSError) as error:
        return error
    raise AssertionError("nothing was raised")


async def _serve(*arguments: Any, **options: Any) -> None:
    async with tlsio.serve(*arguments, **options):
        pass


PLACES: dict[str, tuple[Callable[[], Awaitable[object]], tuple[str, ...]]] = {
    "serve without a listener": (
        lambda: _serve(port=443), ("serve takes a listener first, got NoneType", 'serve(listener, 443, "127.0.0.1", cert=..., key=...)')
    ),
    "serve with the port first": (lambda: _serve(443, "localhost"), ("serve takes a listener first, got int", "serve(listener, 443")),
    "serve with the port by name": (lambda: _serve(print, port=443), ("There is no option 'port'", "serve(listener, 443")),
    "listen with the host first": (lambda: Anything.create_server().listen("localhost", 443), ("port must be an int", "listen(443,")),
    "listen with the port as text": (lambda: Anything.create_server().listen("443"), ("port must be an int", "Give it as a number: 443.")),
    "create_connection with the port first": (
        lambda: Anything.create_connection(asyncio.Protocol, 443, "localhost"),
        ("host must be a str, got int", 'create_connection(protocol_factory, "example.org", 443)'),
    ),
    "create_connection with the port as text": (
        lambda: Anything.create_connection(asyncio.Protocol, "localhost", "443"),
        ("port must be an int, got str", 'create_connection(protocol_factory, "example.org", 443)'),
    ),
    "create_connection without a port": (
        lambda: tlsio.create_connection(asyncio.Protocol, "localhost"), ("needs host and port, or sock=", "create_connection(protocol_factory")
    ),
    "open_connection with the port first": (
        lambda: Anything.open_connection(443, "localhost"), ("host must be a str", 'The host comes first: open_connection("example.org", 443)')
    ),
    "open_connection without a place": (tlsio.open_connection, ("open_connection(...) needs host and port", "sock=...")),
    "open_connection with ssl": (lambda: Anything.open_connection("localhost", 443, ssl=True), ("no option 'ssl'", "TLS is always on")),
    "start_server with the port first": (
        lambda: Anything.start_server(print, 443, "localhost"), ("port must be an int", 'start_server(callback, "127.0.0.1", 443)')
    ),
    "start_server with the port as text": (lambda: Anything.start_server(print, "localhost", "443"), ("Give it as a number: 443.",)),
}  # fmt: skip


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", list(PLACES))
async def test_wrong_place_shows_the_right_call(name: str) -> None:
    """Each function describes its own arguments."""
    call, says = PLACES[name]
    error = await _fails(call())
    assert isinstance(error, tlsio.UsageError)
    check_words(error, says)


class TestBeforeTls:
    """Python's own errors, each with a hint."""

    @pytest.mark.only_loop("asyncio")
    async def test_nothing_listens(self) -> None:
        """The usual one."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            error = await _fails(tlsio.connect(free.getsockname()[1], "127.0.0.1"))
        assert isinstance(error, ConnectionRefusedError)
        check_words(error, ("nothing listens there", "Is the server running", "on another address of that machine only", "UDP"))

    @pytest.mark.only_loop("asyncio")
    async def test_nothing_listens_on_a_path(self, tmp_path: Path) -> None:
        """There is no port, and no other address."""
        (tmp_path / "file").touch()
        error = await _fails(tlsio.connect(path=tmp_path / "file", servername="localhost"))
        assert isinstance(error, ConnectionRefusedError)
        check_words(error, ("nothing listens there", "a file of another kind"), never=("port", "UDP"))

    @pytest.mark.only_loop("asyncio")
    async def test_abstract_name_is_printed(self) -> None:
        """Without its null character."""
        error = await _fails(tlsio.connect(path="\0no such name", servername="localhost"))
        check_words(error, ("'\\x00no such name'", "nothing listens there"), never=("\0",))

    @pytest.mark.only_loop("asyncio")
    async def test_port_0(self) -> None:
        """Servers get another one."""
        check_words(await _fails(tlsio.connect(0, "127.0.0.1")), ("no server has the port 0", "see its port"), never=("UDP",))

    @pytest.mark.only_loop("asyncio")
    @pytest.mark.parametrize(
        ("host", "options", "says"),
        [
            ("127.0.0.1", {"family": 6}, "of the family that family= asks for"),
            ("127.0.0.1", {"local_address": "::1"}, "of the family that local_address= asks for"),
            ("fe80::1%none", {}, "the interface after the % must be one of this machine"),
            ("::1", {"local_address": "fe80::1%none"}, "the interface after the % of local_address= is not one of this machine"),
        ],
    )
    async def test_families_and_interfaces(self, host: str, options: dict[str, Any], says: str) -> None:
        """Neither spelling nor DNS is at fault."""
        check_words(await _fails(tlsio.connect(1, host, servername="localhost", **options)), (says,), never=("spelling", "firewall"))

    @pytest.mark.only_loop("asyncio")
    async def test_name_without_an_address(self) -> None:
        """Lookup."""
        error = await _fails(tlsio.connect(443, "nowhere.invalid"))
        assert isinstance(error, socket.gaierror)
        check_words(error, ("While looking up nowhere.invalid", "check the spelling", "DNS servers"))

    @pytest.mark.only_loop("asyncio")
    async def test_network_out_of_reach(self) -> None:
        """The tests leave this machine by no route."""
        check_words(await _fails(tlsio.connect(443, "192.0.2.1")), ("there is no route to this network", "Is this machine connected"))

    @pytest.mark.only_loop("asyncio")
    async def test_no_unix_socket(self, unix_path: Path) -> None:
        """The path is shown."""
        error = await _fails(tlsio.connect(path=unix_path, servername="localhost"))
        assert isinstance(error, FileNotFoundError)
        check_words(error, (str(unix_path), "the socket does not exist", "Is the server running"))

    @pytest.mark.only_loop("asyncio")
    async def test_port_in_use(self) -> None:
        """Who has it is looked up."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(port, "127.0.0.1"))
        assert isinstance(error, OSError)
        check_words(error, (f"127.0.0.1 port {port}: this process has the port. Close the other server first, or choose another port",))

    @pytest.mark.only_loop("asyncio")
    async def test_address_of_another_machine(self) -> None:
        """RFC 5737's are nobody's."""
        error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(0, "192.0.2.1"))
        check_words(error, ("this machine does not have the address", "leave host= out"))

    @pytest.mark.only_loop("asyncio")
    async def test_low_port(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Root may, so the refusal is played."""

        def refuse(_sock: socket.socket, _address: object) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(socket.socket, "bind", refuse)
        error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(443, "127.0.0.1"))
        assert isinstance(error, PermissionError)
        check_words(error, ("ports below 1024 need root or the capability CAP_NET_BIND_SERVICE", "sock="))

    @pytest.mark.only_loop("asyncio")
    async def test_unix_path_in_use(self, unix_path: Path) -> None:
        """Left by a server that was killed, mostly."""
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(str(unix_path))
            error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(path=unix_path))
        check_words(error, (str(unix_path), "if no other process listens there, remove the file first"))

    @pytest.mark.only_loop("asyncio")
    async def test_unix_path_of_a_file(self, tmp_path: Path) -> None:
        """A file that is not a socket must not be removed."""
        (tmp_path / "file").touch()
        error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(path=tmp_path / "file"))
        check_words(error, ("a file of another kind", "a path that does not exist yet"), never=("remove",))

    @pytest.mark.only_loop("asyncio")
    async def test_abstract_name_in_use(self) -> None:
        """It has no file."""
        name = f"\0tlsio-{os.getpid()}"
        with socket.socket(socket.AF_UNIX) as taken:
            taken.bind(name)
            error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(path=name))
        check_words(error, ("another process listens there",), never=("remove",))

    @pytest.mark.only_loop("asyncio")
    async def test_unix_path_without_a_directory(self, unix_path: Path) -> None:
        """Nothing to bind in."""
        error = await _fails(tlsio.create_server(**identity(pki.localhost())).listen(path=unix_path / "below"))
        check_words(error, ("check that its directory exists",))


CIPHERS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "of TLS 1.3 before it": (
        {"ciphers": "TLS_AES_128_GCM_SHA256", "max_version": "TLSv1.2"},
        ("contains only suites of TLS 1.3, which max_version='TLSv1.2' excludes", "Add others to ciphers="),
    ),
    "none of TLS 1.3": (
        {"ciphers": "DEFAULT:!TLS_AES_128_GCM_SHA256:!TLS_AES_256_GCM_SHA384:!TLS_CHACHA20_POLY1305_SHA256", "min_version": "TLSv1.3"},
        ("contains no suite of TLS 1.3, and min_version='TLSv1.3' allows nothing else", "Add one to ciphers=, or lower min_version="),
    ),
    "IANA's names": (
        {"ciphers": "TLS_AES_128_GCM_SHA256:TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
        ("'TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256'", "It is IANA's name: OpenSSL's is ECDHE-RSA-AES128-GCM-SHA256."),
    ),
    "IANA's names, excluded": (
        {"ciphers": "DEFAULT:!TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"},
        ("It is IANA's name: OpenSSL's is ECDHE-RSA-AES128-GCM-SHA256.",),
    ),
    "a name of no suite": ({"ciphers": "DEFAULT:-TLS_RSA_WITH_NOTHING"}, ("'TLS_RSA_WITH_NOTHING'", "tlsio.get_ciphers() lists the names")),
}
UNUSABLE: dict[str, dict[str, Any]] = {
    "no version": {"secure_options": tlsio.constants.SSL_OP_NO_TLSv1_2 | tlsio.constants.SSL_OP_NO_TLSv1_3},
    "not the only version": {"min_version": "TLSv1.3", "secure_options": tlsio.constants.SSL_OP_NO_TLSv1_3},
    "of a newer version": {"ciphers": "ECDHE-RSA-AES128-GCM-SHA256", "min_version": "TLSv1", "max_version": "TLSv1.1"},
}


@pytest.mark.parametrize("name", list(UNUSABLE))
def test_options_that_leave_no_cipher(name: str) -> None:
    """OpenSSL is asked, so whatever excludes the last suite is seen."""
    error = error_of(lambda: tlsio.create_secure_context(**UNUSABLE[name]))
    assert isinstance(error, tlsio.ConfigError)
    assert error.code == "ERR_SSL_NO_CIPHERS_AVAILABLE"
    check_words(error, ("No cipher suite is left", "min_version=", "secure_options=", "compare them with each other"))


def test_suites_with_a_key_count() -> None:
    """A context does not know whether it will have a `psk_callback`."""
    tlsio.create_secure_context(ciphers="PSK", max_version="TLSv1.2")


def test_versions_of_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message does not speak of options that were not given."""
    monkeypatch.setattr(tlsio.defaults, "min_version", "TLSv1.3")
    monkeypatch.setattr(tlsio.defaults, "max_version", "TLSv1.2")
    check_words(error_of(tlsio.create_secure_context), ("min_version='TLSv1.3'", "Both are from tlsio.defaults"))


@pytest.mark.only_loop("asyncio")
async def test_failure_is_explained_by_the_context_of_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Defaults that were changed since neither raise nor appear in the hint."""
    server = tlsio.create_server(**identity(pki.localhost()), max_version="TLSv1.2")
    options = {"ca": pki.ca1().cert_pem, "servername": "localhost", "secure_context": None, "min_version": "TLSv1.3"}
    await server.listen(0, "127.0.0.1")
    told = once(server, "tls_client_error")
    monkeypatch.setattr(tlsio.defaults, "min_version", "TLSv1.3")
    assert isinstance(await _fails(tlsio.connect(server.port, "127.0.0.1", **options)), tlsio.AlertReceived)
    error, _ = await told
    check_words(error, ("The client offers only TLS 1.3 or newer. This server allows TLSv1.2", "leave max_version='TLSv1.2' out"))
    server.close(0)
    await server.wait_closed()


@pytest.mark.parametrize("name", list(CIPHERS))
def test_ciphers_that_leave_nothing(name: str) -> None:
    """They are refused when the context is made, not in each handshake."""
    options, says = CIPHERS[name]
    error = error_of(lambda: tlsio.create_secure_context(**options))
    assert isinstance(error, tlsio.ConfigError)
    assert error.code == "ERR_SSL_NO_CIPHER_MATCH"
    check_words(error, says)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("getConnections", "use connections"),
        ("setSecureContext", "it is spelled set_secure_context"),
        ("is_serving", "use listening"),
        ("addListener", "use on()"),
        ("bogus", None),
        ("_getConnections", None),
    ],
)
def test_missing_attribute(name: str, says: str | None) -> None:
    """The names of Node and asyncio are recognised; others, and private ones, get Python's own sentence."""
    with pytest.raises(AttributeError) as caught:
        getattr(tlsio.create_server(), name)
    plain = f"'Server' object has no attribute {name!r}"
    assert str(caught.value) == (f"{plain}: {says}" if says else plain)
    assert caught.value.name == name


def test_other_names_are_no_attributes() -> None:
    """They are not listed, and a subclass or an instance may use them."""

    class Mine(tlsio.Server):
        def is_serving(self) -> bool:
            return True

    mine = Mine()
    mine.sockets = 3
    assert (mine.is_serving(), mine.sockets) == (True, 3)
    assert "getConnections" not in dir(mine)
    assert not hasattr(tlsio.Server, "getConnections")


def test_error_within_a_property_is_not_hidden() -> None:
    """The attribute exists: what is missing is another one."""

    class Mine(tlsio.Server):
        @property
        def info(self) -> object:
            return Anything.nothing_of_that_name

    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        _ = Mine().info


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("recv", "use read()"),
        ("getPeerCertificate", "it is spelled get_peer_certificate"),
        ("getpeercert", "use get_peer_certificate()"),
        ("version", "use get_protocol()"),
        ("getTLSTicket", "use get_tls_ticket()"),
    ],
)
@pytest.mark.only_loop("asyncio")
async def test_missing_attribute_of_a_socket(name: str, says: str) -> None:
    """Those of `ssl` are understood too."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sock = tlsio.TLSSocket(ours, servername="localhost")
        with pytest.raises(AttributeError, match=re.escape(says)):
            getattr(sock, name)
        sock.destroy()
        await sock.wait_closed()


def test_end_before_all_bytes() -> None:
    """What came is not lost."""
    says = ("ended after 2 bytes, before 5 bytes", "The peer ended its direction earlier", "partial has the bytes that came")
    check_words(tlsio.IncompleteReadError(b"ab", 5), says)
