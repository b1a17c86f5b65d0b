"""Every option: good values, bad values, unknown names, combinations."""

import math
import pickle
import re
import socket
import ssl
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any

import pytest

import tlsio
from explanations import check_harmless
from tlsio.model.constants import defaults
from tlsio.model.errors import UsageError, UsageTypeError, UsageValueError
from tlsio.model.options.connect import ConnectOptions, ConnectOptionsDict
from tlsio.model.options.context import CLIENT_CONTEXT_CHECKS, CONTEXT_CHECKS, ContextOptions, ContextOptionsDict
from tlsio.model.options.parse import CONNECT_CHECKS, SERVER_CHECKS, parse_connect_options, parse_context_options, parse_server_options
from tlsio.model.options.server import ServerOptions, ServerOptionsDict

KEY = b"k" * 48
PIN = bytes(range(32))
PIN_TEXT = "sha256/AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="


def test_nothing_given_is_nothing_set() -> None:
    """No options, and None for each, are the same."""
    assert parse_context_options({}) == ContextOptions()
    assert parse_context_options(dict.fromkeys(item.name for item in fields(ContextOptions))) == ContextOptions()
    assert ContextOptions().given == frozenset()


class Contrary:
    """An object that answers no question, as arrays do not answer whether they are equal to something."""

    def __eq__(self, _other: object) -> bool:
        """Refuse."""
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]


NONSENSE = (
    *(True, 1, -1, 2**64, 10**400, 1.5, math.nan, math.inf, 1j, ..., "", "x", "\0", "a\0b", "\udcff", "é", "x" * 70_000, b"", b"\xff"),
    *(bytearray(), memoryview(bytes(8))[::2], memoryview(bytes(8)).cast("I"), (), [], [None], [[]], [{}], ["x"], [b"\xff"], {}, {1: 2}),
    *({1}, int, len, print, iter(()), object(), Contrary(), Path("a\0b"), socket.AF_INET, ssl.TLSVersion.SSLv3),
)


OPTIONS = {item.name for kind in (ContextOptions, ServerOptions, ConnectOptions) for item in fields(kind)} - {"context"}


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_nonsense_is_taken_or_raises_with_the_options_name(name: str) -> None:
    """Whatever is given: no other exception comes out, and the message says of which option it speaks."""
    parse = next(parse for parse in (parse_context_options, parse_server_options, parse_connect_options) if _takes(parse, name))
    told = []
    for value in NONSENSE:
        try:
            parse({name: value})
        except UsageError as error:
            told.append(str(error))
    assert told or name in {"secure_context", "stapling", "fetch_crl"}  # judged where their classes are known
    assert [message for message in told if f"options.{name}" not in message or len(message) > 600] == []


def _takes(parse: object, name: str) -> bool:
    try:
        parse({name: None})
    except UsageTypeError:
        return False
    return True


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("ca", [], ()),
        ("extra_ca", [], ()),
        ("cert", [], ()),
        ("key", [], ()),
        ("pfx", [], ()),
        ("crl", [], ()),
        ("passphrase", "é", "é".encode()),
        ("ciphers", "HIGH:TLS_AES_128_GCM_SHA256", "HIGH:TLS_AES_128_GCM_SHA256"),
        ("min_version", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("max_version", "TLSv1.3", "TLSv1.3"),
        ("sigalgs", "RSA-PSS+SHA384", "RSA-PSS+SHA384"),
        ("ecdh_curve", "X25519:P-256", "X25519:P-256"),
        ("dhparam", "auto", "auto"),
        ("honor_cipher_order", False, False),
        ("alpn_protocols", ["h2", b"http/1.1"], (b"h2", b"http/1.1")),
        ("alpn_protocols", b"\x02h2\x08http/1.1", (b"h2", b"http/1.1")),
        ("alpn_protocols", [], ()),
        ("alpn_protocols", b"", ()),
        ("alpn_protocols", ["x" * 255], (b"x" * 255,)),
        ("npn_protocols", ["spdy/3.1", b"http/1.1"], (b"spdy/3.1", b"http/1.1")),
        ("alpn_callback", len, len),
        ("session_id_context", "x" * 32, b"x" * 32),
        ("secure_options", ssl.OP_NO_TICKET, int(ssl.OP_NO_TICKET)),
        ("allow_partial_trust_chain", True, True),
        ("request_cert", True, True),
        ("reject_unauthorized", False, False),
        ("pins", [PIN, PIN_TEXT, bytearray(PIN), f" {PIN_TEXT}\r\n"], (PIN, PIN, PIN, PIN)),
        ("ticket_keys", KEY, (KEY,)),
        ("ticket_keys", [KEY, bytearray(KEY)], (KEY, KEY)),
        ("ticket_keys", [KEY] * 16, (KEY,) * 16),
        ("session_timeout", 300, 300),
        ("certificate_compression", ["zstd", "zlib"], ("zstd", "zlib")),
        ("certificate_compression", [], ()),
    ],
)
def test_context_option_is_stored(name: str, value: object, stored: object) -> None:
    """In the form the floors above use, and named as given."""
    parsed = parse_context_options({name: value})
    assert getattr(parsed, name) == stored
    assert parsed.given == {name}


@pytest.mark.node("tls-basic-validations", "tls-certificate-compression", "26: ALPN as bytes")
@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("ca", "", "ERR_INVALID_ARG_VALUE"),
        ("ca", False, "ERR_INVALID_ARG_TYPE"),
        ("key", 5, "ERR_INVALID_ARG_TYPE"),
        ("passphrase", 1, "ERR_INVALID_ARG_TYPE"),
        ("ciphers", 9, "ERR_INVALID_ARG_TYPE"),
        ("ciphers", ":", "ERR_INVALID_ARG_VALUE"),
        ("min_version", "fhqwhgads", "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("max_version", 1.2, "ERR_TLS_INVALID_PROTOCOL_VERSION"),
        ("secure_protocol", 1, "ERR_INVALID_ARG_TYPE"),
        ("sigalgs", "", "ERR_INVALID_ARG_VALUE"),
        ("ecdh_curve", 1, "ERR_INVALID_ARG_TYPE"),
        ("honor_cipher_order", 1, "ERR_INVALID_ARG_TYPE"),
        ("alpn_protocols", "h2", "ERR_INVALID_ARG_TYPE"),
        ("alpn_protocols", [""], "ERR_INVALID_ARG_VALUE"),
        ("npn_protocols", [""], "ERR_INVALID_ARG_VALUE"),
        ("alpn_protocols", [1], "ERR_INVALID_ARG_TYPE"),
        ("alpn_protocols", ["x" * 256], "ERR_OUT_OF_RANGE"),
        ("alpn_protocols", ["x" * 255] * 256, "ERR_OUT_OF_RANGE"),
        ("alpn_protocols", b"\x00", "ERR_INVALID_ARG_VALUE"),
        ("alpn_protocols", b"h2", "ERR_INVALID_ARG_VALUE"),
        ("alpn_protocols", b"\x02h2\x03h", "ERR_INVALID_ARG_VALUE"),
        ("alpn_callback", "h2", "ERR_INVALID_ARG_TYPE"),
        ("session_id_context", "", "ERR_OUT_OF_RANGE"),
        ("session_id_context", "x" * 33, "ERR_OUT_OF_RANGE"),
        ("secure_options", "x", "ERR_INVALID_ARG_TYPE"),
        ("secure_options", -1, "ERR_OUT_OF_RANGE"),
        ("request_cert", 1, "ERR_INVALID_ARG_TYPE"),
        ("reject_unauthorized", "yes", "ERR_INVALID_ARG_TYPE"),
        ("pins", PIN_TEXT, "ERR_INVALID_ARG_TYPE"),
        ("pins", [], "ERR_INVALID_ARG_VALUE"),
        ("pins", [b"x" * 31], "ERR_INVALID_ARG_VALUE"),
        ("pins", [1], "ERR_INVALID_ARG_TYPE"),
        ("pins", ["sha256/AAAA"], "ERR_INVALID_ARG_VALUE"),
        ("pins", ["sha256/" + PIN.hex()], "ERR_INVALID_ARG_VALUE"),
        ("pins", [PIN.hex()], "ERR_INVALID_ARG_VALUE"),
        ("pins", [PIN_TEXT.replace("/", "//", 1)], "ERR_INVALID_ARG_VALUE"),
        ("pins", [PIN_TEXT.encode()], "ERR_INVALID_ARG_VALUE"),
        ("pins", ["sha256/é"], "ERR_INVALID_ARG_VALUE"),
        ("pins", ["sha1/" + PIN_TEXT[7:]], "ERR_INVALID_ARG_VALUE"),
        ("ticket_keys", "x", "ERR_INVALID_ARG_TYPE"),
        ("ticket_keys", b"x" * 47, "ERR_INVALID_ARG_VALUE"),
        ("ticket_keys", [], "ERR_INVALID_ARG_VALUE"),
        ("ticket_keys", [KEY] * 17, "ERR_OUT_OF_RANGE"),
        ("session_timeout", "x", "ERR_INVALID_ARG_TYPE"),
        ("session_timeout", 0, "ERR_OUT_OF_RANGE"),
        ("session_timeout", 2**31, "ERR_OUT_OF_RANGE"),
        ("certificate_compression", "zlib", "ERR_INVALID_ARG_TYPE"),
        ("certificate_compression", [1], "ERR_INVALID_ARG_TYPE"),
        ("certificate_compression", ["gzip"], "ERR_INVALID_ARG_VALUE"),
        ("certificate_compression", ["zlib", "zlib"], "ERR_INVALID_ARG_VALUE"),
    ],
)
def test_bad_context_option_raises(name: str, value: object, code: str) -> None:
    """With Node's code, and the option's name at the start."""
    with pytest.raises(UsageError, match=rf"^options\.{name}\b") as caught:
        parse_context_options({name: value})
    assert caught.value.code == code


@pytest.mark.node("tls-no-sslv23")
@pytest.mark.parametrize("side", ["", "client_", "server_"])
@pytest.mark.parametrize(
    ("family", "versions"),
    [
        ("TLS", ("TLSv1", "TLSv1.3")),
        ("SSLv23", (None, "TLSv1.2")),
        ("TLSv1", ("TLSv1", "TLSv1")),
        ("TLSv1_1", ("TLSv1.1", "TLSv1.1")),
        ("TLSv1_2", ("TLSv1.2", "TLSv1.2")),
    ],
)
def test_secure_protocol_stands_for_versions(family: str, versions: tuple[str | None, str], side: str) -> None:
    """The names of Node v4; nothing else is kept of them."""
    parsed = parse_context_options({"secure_protocol": f"{family}_{side}method"})
    assert parsed == ContextOptions(min_version=versions[0], max_version=versions[1])


@pytest.mark.node("tls-no-sslv23")
@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("SSLv2_method", "SSLv2 methods disabled"),
        ("SSLv2_client_method", "SSLv2 methods disabled"),
        ("SSLv3_method", "SSLv3 methods disabled"),
        ("SSLv3_server_method", "SSLv3 methods disabled"),
        ("blargh", "Unknown method: blargh"),
        ("%s_method", "Unknown method: %s_method"),
        ("tlsv1_method", "Unknown method: tlsv1_method"),
        ("", "Unknown method: "),
    ],
)
def test_unknown_secure_protocol(method: str, problem: str) -> None:
    """Node's code and words."""
    with pytest.raises(UsageError, match=f"^options.secure_protocol: {problem} ") as caught:
        parse_context_options({"secure_protocol": method})
    assert caught.value.code == "ERR_TLS_INVALID_PROTOCOL_METHOD"


@pytest.mark.parametrize("beside", ["min_version", "max_version"])
@pytest.mark.parametrize("method", ["TLSv1_2_method", "hokey-pokey"])
def test_secure_protocol_excludes_versions(method: str, beside: str) -> None:
    """Told before the name is looked at."""
    with pytest.raises(UsageError, match=beside) as caught:
        parse_context_options({"secure_protocol": method, beside: "TLSv1.2"})
    assert caught.value.code == "ERR_TLS_PROTOCOL_VERSION_CONFLICT"


@pytest.mark.node("tls-certificate-compression")
def test_certificate_compression_needs_tls_1_3(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS 1.2 has no message for it: by option or by default."""
    with pytest.raises(UsageError, match=r"^options\.certificate_compression needs TLS 1\.3"):
        parse_context_options({"certificate_compression": ["zlib"], "max_version": "TLSv1.2"})
    monkeypatch.setattr(defaults, "max_version", "TLSv1.2")
    with pytest.raises(UsageError, match="max_version") as caught:
        parse_context_options({"certificate_compression": ["zlib"]})
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"
    assert parse_context_options({"certificate_compression": []}).certificate_compression == ()


@pytest.mark.node("tls-basic-validations")
def test_ticket_keys_say_their_length() -> None:
    """Node's words; the key itself is never shown."""
    with pytest.raises(UsageError, match="must be exactly 48 bytes") as caught:
        parse_context_options({"ticket_keys": b"secret"})
    assert "secret" not in str(caught.value)


def test_alpn_options_exclude_each_other() -> None:
    """Both at once raise Node's error."""
    with pytest.raises(UsageTypeError) as caught:
        parse_server_options({"alpn_protocols": ["h2"], "alpn_callback": len})
    assert caught.value.code == "ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS"


def test_merged_lets_the_later_win() -> None:
    """What is not given keeps its value; an empty tuple is given."""
    old = parse_context_options({"ca": [], "ciphers": "HIGH", "request_cert": True})
    new = parse_context_options({"cert": [], "request_cert": False})
    assert old.merged(new) == parse_context_options({"ca": [], "ciphers": "HIGH", "request_cert": False, "cert": []})


def test_merged_replaces_one_alpn_option_by_the_other() -> None:
    """They never stand beside each other."""
    names, callback = parse_context_options({"alpn_protocols": ["h2"]}), parse_context_options({"alpn_callback": len})
    assert names.merged(callback) == callback
    assert callback.merged(names) == names
    assert names.merged(ContextOptions()) == names


def test_options_are_frozen_and_hide_secrets() -> None:
    """Nothing secret in the repr, nothing to change afterwards."""
    parsed = parse_server_options({"passphrase": "secret", "ticket_keys": b"secret" * 8, "session_id_context": "secret"})
    assert "secret" not in repr(parsed).replace("secret_", "")
    with pytest.raises(FrozenInstanceError):
        parsed.no_delay = False


@pytest.mark.node("tls-server-parent-constructor-options")
def test_server_defaults() -> None:
    """As the reference has them."""
    parsed = parse_server_options({})
    assert parsed == ServerOptions()
    assert (parsed.handshake_timeout, parsed.hook_timeout, parsed.close_timeout, parsed.shutdown_timeout) == (120.0, 30.0, 5.0, 10.0)
    assert (parsed.read_limit, parsed.high_water_mark, parsed.max_connections, parsed.max_handshakes) == (65536, None, None, None)
    assert (parsed.no_delay, parsed.keep_alive, parsed.allow_half_open, parsed.allow_truncation) == (True, False, False, False)
    assert parsed.partial_record_timeout == parse_connect_options({}).partial_record_timeout == 60.0
    assert (parsed.alpn_mismatch, parsed.alpn_callback, parsed.secure_context) == ("alert", None, None)


def test_connect_defaults() -> None:
    """As the reference has them."""
    parsed = parse_connect_options({})
    assert parsed == ConnectOptions()
    assert (parsed.handshake_timeout, parsed.timeout, parsed.identity_policy, parsed.family) == (120.0, None, "node", None)
    assert (parsed.servername, parsed.host) == (None, None)


def test_changed_default_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """The handshake timeout is looked up when options are parsed."""
    monkeypatch.setattr(defaults, "handshake_timeout", 7.0)
    assert parse_server_options({}).handshake_timeout == 7.0
    assert parse_connect_options({"handshake_timeout": 3}).handshake_timeout == 3.0


@pytest.mark.parametrize(
    "name",
    [
        "handshake_timeout",
        "hook_timeout",
        "close_timeout",
        "partial_record_timeout",
        "shutdown_timeout",
        "max_handshake_bytes",
        "max_connections",
    ],
)
def test_none_is_no_limit(name: str) -> None:
    """For times and limits None is a value."""
    assert getattr(parse_server_options({name: None}), name) is None


@pytest.mark.node("tls-basic-validations")
def test_none_is_not_given_elsewhere() -> None:
    """None leaves the default of any other option."""
    assert parse_server_options({"no_delay": None, "read_limit": None, "alpn_mismatch": None, "secure_context": None}) == ServerOptions()


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("sni_callback", len, len),
        ("check_client", len, len),
        ("alpn_callback", len, len),
        ("alpn_mismatch", "continue", "continue"),
        ("shutdown_timeout", 1, 1.0),
        ("read_limit", 1, 1),
        ("max_connections", 1, 1),
        ("max_handshakes", 2, 2),
        ("handshake_threads", 2, 2),
        ("handshake_threads", "auto", "auto"),
        ("max_connections_per_address", 2, 2),
        ("plain_http_answer", b"HTTP/1.1 400 Bad Request", b"HTTP/1.1 400 Bad Request"),
        ("max_handshake_bytes", 3, 3),
        ("allow_half_open", True, True),
        ("allow_truncation", True, True),
        ("no_delay", False, False),
        ("keep_alive", True, True),
        ("keep_alive_initial_delay", 0, 0.0),
        ("keep_alive_initial_delay", 30, 30.0),
        ("keep_alive_initial_delay", 32767, 32767.0),
        ("high_water_mark", 0, 0),
        ("secure_context", "anything", "anything"),
    ],
)
def test_server_option_is_stored(name: str, value: object, stored: object) -> None:
    """In the form the floors above use."""
    assert getattr(parse_server_options({name: value}), name) == stored


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("servername", "example.org", "example.org"),
        ("servername", "", ""),
        ("host", "::1", "::1"),
        ("check_server_identity", len, len),
        ("identity_policy", "rfc9525", "rfc9525"),
        ("min_dh_size", 1, 1),
        ("chain_policy", "strict", "strict"),
        ("identity", "spiffe://example.org/ns/prod/sa/web", "spiffe://example.org/ns/prod/sa/web"),
        ("identity", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
        ("timeout", 2, 2.0),
        ("family", 0, None),
        ("family", 4, 4),
        ("family", socket.AF_INET6, 6),
        ("local_address", "127.0.0.1", "127.0.0.1"),
        ("local_port", 0, 0),
    ],
)
def test_connect_option_is_stored(name: str, value: object, stored: object) -> None:
    """In the form the floors above use."""
    assert getattr(parse_connect_options({name: value}), name) == stored


@pytest.mark.node("tls-basic-validations", "tls-client-mindhsize")
@pytest.mark.parametrize(
    ("parse", "name", "value", "code"),
    [
        (parse_server_options, "sni_callback", "x", "ERR_INVALID_ARG_TYPE"),
        (parse_server_options, "alpn_mismatch", "ignore", "ERR_INVALID_ARG_VALUE"),
        (parse_server_options, "handshake_timeout", "x", "ERR_INVALID_ARG_TYPE"),
        (parse_server_options, "handshake_timeout", 120000, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "close_timeout", 0, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "max_connections", 0, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "handshake_threads", -1, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "handshake_threads", 257, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "handshake_threads", "many", "ERR_INVALID_ARG_VALUE"),
        (parse_server_options, "handshake_threads", True, "ERR_INVALID_ARG_TYPE"),
        (parse_server_options, "read_limit", 0, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "keep_alive_initial_delay", False, "ERR_INVALID_ARG_TYPE"),
        (parse_server_options, "keep_alive_initial_delay", -1, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "keep_alive_initial_delay", 32768, "ERR_OUT_OF_RANGE"),
        (parse_server_options, "high_water_mark", -1, "ERR_OUT_OF_RANGE"),
        (parse_connect_options, "servername", 1, "ERR_INVALID_ARG_TYPE"),
        (parse_connect_options, "servername", "127.0.0.1", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "servername", "[::1]", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "host", "", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "check_server_identity", False, "ERR_INVALID_ARG_TYPE"),
        (parse_connect_options, "identity_policy", "none", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "chain_policy", "rfc5280", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "localhost", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", 1, "ERR_INVALID_ARG_TYPE"),
        (parse_connect_options, "identity", "spiffe://example.org", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "spiffe://Example.org/a", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "SPIFFE://example.org/a", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "spiffe://example.org:443/a", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "spiffe://example.org/a/", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "spiffe://example.org/../a", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "spiffe://example.org/a?b", "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "identity", "spiffe://example.org/" + "a" * 2048, "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "min_dh_size", 0, "ERR_OUT_OF_RANGE"),
        (parse_connect_options, "min_dh_size", -1, "ERR_OUT_OF_RANGE"),
        (parse_connect_options, "min_dh_size", 2048.0, "ERR_INVALID_ARG_TYPE"),
        (parse_connect_options, "min_dh_size", "2048", "ERR_INVALID_ARG_TYPE"),
        (parse_connect_options, "family", 5, "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "family", False, "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "family", socket.AF_UNIX, "ERR_INVALID_ARG_VALUE"),
        (parse_connect_options, "local_address", "localhost", "ERR_INVALID_IP_ADDRESS"),
        (parse_connect_options, "local_port", 65536, "ERR_OUT_OF_RANGE"),
        (parse_connect_options, "ca", 1, "ERR_INVALID_ARG_TYPE"),
    ],
)
def test_bad_option_raises(parse: object, name: str, value: object, code: str) -> None:
    """With Node's code, and the option's name at the start."""
    with pytest.raises(UsageError, match=rf"^options\.{name} ") as caught:
        parse({name: value})
    assert caught.value.code == code


@pytest.mark.parametrize("name", ["alpnProtocols", "alpn_protocols"])
def test_options_that_are_decided_are_refused_and_not_named(name: str) -> None:
    """Those of a library that uses our connections."""
    decided = {"alpn_protocols": "HTTP/1.1 alone is spoken."}
    with pytest.raises(UsageTypeError) as caught:
        parse_connect_options({name: ["h2"]}, decided)
    assert (caught.value.code, caught.value.hint) == ("ERR_INCOMPATIBLE_OPTION_PAIR", "HTTP/1.1 alone is spoken.")
    with pytest.raises(UsageTypeError) as caught:
        parse_connect_options({"": 1}, decided)
    assert "alpn_protocols=" not in (caught.value.hint or "")
    assert "ca=" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("parse", "name", "text"),
    [
        (parse_server_options, "requestCert", "spelled request_cert"),
        (parse_server_options, "ALPNProtocols", "spelled alpn_protocols"),
        (parse_server_options, "SNICallback", "spelled sni_callback"),
        (parse_connect_options, "checkServerIdentity", "spelled check_server_identity"),
        (parse_connect_options, "reject_unauthorised", "closest name is reject_unauthorized="),
        (parse_connect_options, "sni_callback", "option of servers"),
        (parse_connect_options, "requestCert", "option of servers"),
        (parse_context_options, "servername", "option of client connections"),
        (parse_context_options, "", "No option has a similar name. There are allow_partial_trust_chain=, alpn"),
        (parse_connect_options, "minDHSize", "It is spelled min_dh_size=."),
        (parse_server_options, "timeout", "option of client connections"),
        (parse_server_options, "port", "Give it when the server listens"),
        (parse_connect_options, "checkHostname", "Meant: servername="),
        (parse_connect_options, "policy", "Meant: chain_policy="),
    ],
)
def test_unknown_option_names_what_was_meant(parse: object, name: str, text: str) -> None:
    """Also when its value is None."""
    with pytest.raises(UsageTypeError, match=re.escape(f"There is no option {name!r}")) as caught:
        parse({name: None})
    assert caught.value.code == "ERR_TLS_UNKNOWN_OPTION"
    assert text in (caught.value.hint or "")


OTHER_NAMES = {
    "verify": "Meant: reject_unauthorized=",
    "verify_mode": "request_cert=True",
    "verify_ssl": "Meant: reject_unauthorized=",
    "insecure": "Meant: reject_unauthorized=",
    "cert_reqs": "Meant: reject_unauthorized=",
    "check_hostname": "Meant: servername=",
    "cafile": "Meant: ca=",
    "ca_certs": "Meant: ca=",
    "capath": "ca=[*Path(folder).glob(",
    "cadata": "Meant: ca=",
    "certfile": "Meant: cert=",
    "keyfile": "Meant: key=",
    "ssl_certfile": "Meant: cert=",
    "ssl_keyfile": "Meant: key=",
    "ssl_keyfile_password": "Meant: passphrase=",
    "ssl_ca_certs": "Meant: ca=",
    "ssl_cert_reqs": "Meant: reject_unauthorized=",
    "keyPath": "Meant: key=",
    "certPath": "Meant: cert=",
    "ca_bundle": "Meant: ca=",
    "password": "Meant: passphrase=",
    "ssl": "Meant: secure_context=",
    "ssl_context": "Meant: secure_context=",
    "server_hostname": "Meant: servername=",
    "alpn": "Meant: alpn_protocols=",
    "sni": "Meant: servername=",
    "ssl_version": "Meant: min_version= and max_version=",
}


@pytest.mark.parametrize("parse", [parse_server_options, parse_connect_options, parse_context_options])
@pytest.mark.parametrize("name", OTHER_NAMES)
def test_names_of_other_libraries_are_understood(parse: object, name: str) -> None:
    """Python's `ssl` above all. A wish to turn the verification off is answered with how to stay safe."""
    with pytest.raises(UsageTypeError) as caught:
        parse({name: False})
    hint = caught.value.hint or ""
    assert OTHER_NAMES[name] in hint
    check_harmless(hint)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("1.2", "Write 'TLSv1.2'."),
        (1.3, "Write 'TLSv1.3'."),
        ("TLS1.2", "Write 'TLSv1.2'."),
        ("tlsv1.3", "Write 'TLSv1.3'."),
        ("TLSv1_2", "Write 'TLSv1.2'."),
        ("TLSv1.0", "Write 'TLSv1'."),
        (ssl.PROTOCOL_TLSv1_2, "Write 'TLSv1.2'."),
        ("SSLv3", "SSL is not supported"),
        ("TLSv1.4", "Write 'TLSv1.2' or 'TLSv1.3'"),
        (None.__class__, "Write 'TLSv1.2' or 'TLSv1.3'"),
    ],
)
def test_version_in_another_form_is_understood(given: object, meant: str) -> None:
    """`max_version="1.2"` is everybody's first attempt."""
    with pytest.raises(UsageError) as caught:
        parse_context_options({"max_version": given})
    assert caught.value.code == "ERR_TLS_INVALID_PROTOCOL_VERSION"
    assert meant in (caught.value.hint or "")


@pytest.mark.parametrize(
    "given",
    [
        PIN_TEXT.replace("/", "//", 1),
        PIN_TEXT.replace("/", ":", 1),
        PIN_TEXT.removeprefix("sha256/"),
        f'pin-sha256="{PIN_TEXT[7:]}"',
        PIN.hex(),
        PIN.hex(":").upper(),
        PIN.hex().encode(),
    ],
)
def test_pin_in_another_form_is_shown_in_the_right_one(given: object) -> None:
    """The forms of curl and of the header of HTTP; hexadecimal."""
    with pytest.raises(UsageValueError) as caught:
        parse_context_options({"pins": [given]})
    hint = caught.value.hint or ""
    assert f"'{PIN_TEXT}'" in hint.replace("write", "Write")
    assert ("the fingerprint of a certificate is not a pin" in hint) is ("hexadecimal" in hint)


def test_pin_may_have_a_line_end() -> None:
    """As a file of one line has."""
    assert parse_context_options({"pins": [f"{PIN_TEXT}\n"]}).pins == (PIN,)


@pytest.mark.parametrize("given", ["sha1/AAAA", "nonsense", b"short"])
def test_pin_that_is_none_is_answered_with_how_to_make_one(given: object) -> None:
    """With the tool that everybody has."""
    with pytest.raises(UsageValueError) as caught:
        parse_context_options({"pins": [given]})
    assert "openssl x509 -in cert.pem -noout -pubkey" in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["signal", "lookup", "hints", "onread", "pauseOnConnect", "privateKeyIdentifier", "client_cert_engine"])
def test_option_not_taken_from_node_says_what_to_use(name: str) -> None:
    """The hint is a sentence."""
    with pytest.raises(UsageTypeError, match=name) as caught:
        parse_connect_options({name: 1})
    assert str(caught.value.hint).endswith(".")


@pytest.mark.node("tls-socket-default-options")
@pytest.mark.parametrize("parse", [parse_server_options, parse_connect_options])
def test_secure_context_excludes_context_options(parse: object) -> None:
    """Node ignores them silently; here they raise, and the hint says replace."""
    with pytest.raises(UsageTypeError, match=r"cannot be combined with ca, min_version") as caught:
        parse({"secure_context": "any", "ca": [], "min_version": "TLSv1.2", "key": None})
    assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"
    assert "replace(ca=...)" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("typed", "parse", "own"),
    [
        (ContextOptionsDict, parse_context_options, set()),
        (ServerOptionsDict, parse_server_options, set()),
        (ConnectOptionsDict, parse_connect_options, {"host", "timeout"}),
    ],
)
def test_typed_dict_has_the_options(typed: type, parse: object, own: set[str]) -> None:
    """Each key is an option; `connect` has two of them as parameters of its own."""
    names = set(typed.__annotations__)
    assert parse(dict.fromkeys(names)) is not None
    checked = {ContextOptionsDict: CONTEXT_CHECKS, ServerOptionsDict: CONTEXT_CHECKS | SERVER_CHECKS}
    assert names | own == set(checked.get(typed, CLIENT_CONTEXT_CHECKS | CONNECT_CHECKS))


def test_ticket_keys_of_another_type_are_refused_with_what_a_source_needs() -> None:
    """An object that lacks a method of a source is not taken for bytes."""
    with pytest.raises(UsageTypeError, match="a source with snapshot, refresh and clock, got object"):
        parse_server_options({"ticket_keys": object()})


SECRET = "hunter2-hunter2"


@pytest.mark.parametrize(
    "options",
    [
        {"passphrase": [SECRET]},
        {"passphrase": f"{SECRET}\ud800"},
        {"key": SECRET},
        {"key": f"/{SECRET}"},
        {"key": {"pem": SECRET}},
        {"key": [{"pem": "x", "passphrase": [SECRET]}]},
        {"key": [{"pem": SECRET}]},
        {"key": [{SECRET: SECRET}]},
        {"pfx": SECRET},
        {"pfx": [{"buf": b"x", "passphrase": {SECRET}}]},
        {"ticket_keys": SECRET.encode()},
        {"ticket_keys": [SECRET]},
        {"session_id_context": SECRET * 9},
        {"session": SECRET},
        {"session_store": SECRET},
    ],
    ids=str,
)
def test_no_error_shows_a_secret(options: dict[str, object]) -> None:
    """Neither message nor hint, note, repr or cause."""
    parse = parse_connect_options if "session" in options else parse_server_options
    with pytest.raises(UsageError) as caught:
        parse(options)
    error: BaseException | None = caught.value
    while error is not None:
        assert SECRET not in f"{error} {error!r} {getattr(error, 'hint', '')} {getattr(error, '__notes__', '')}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("name", ["ConnectOptions", "ContextOptions", "ServerOptions"])
def test_options_have_their_public_name(name: str) -> None:
    """So that a repr can be followed, and pickle finds them."""
    options = getattr(tlsio, name)
    assert repr(options) == f"<class 'tlsio.{name}'>"
    assert pickle.loads(pickle.dumps(options)) is options  # noqa: S301


@pytest.mark.parametrize(("value", "shown"), [("many", "'many'"), (True, "bool"), (2.0, "float")])
def test_wrong_number_of_threads_says_all_forms(value: Any, shown: str) -> None:
    """A number would do as well as the word."""
    with pytest.raises(UsageError, match=rf"^options\.handshake_threads must be an int from 0 to 256, or 'auto', got {shown} "):
        parse_server_options({"handshake_threads": value})


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("alpn_protocols", "h2,http/1.1", 'Write ["h2", "http/1.1"].'),
        ("ticket_keys", "00" * 48, "bytes.fromhex("),
        ("ticket_keys", bytes(80), "the size of nginx's keys"),
    ],
    ids=["text of ALPN", "text of a key", "nginx"],
)
def test_usual_first_attempts_are_understood(name: str, given: object, meant: str) -> None:
    """As other programs take them."""
    with pytest.raises(UsageError) as caught:
        parse_context_options({name: given})
    assert meant in (caught.value.hint or "")
