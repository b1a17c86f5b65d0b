"""Node's table of names, its known traps, and the stricter policy."""

from __future__ import annotations

import pickle
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import expectation_tables
import pki
from asn1 import extension
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.trust.certificate import parse
from tlsio.trust.identity import check_rfc9525, check_server_identity, to_server_name

if TYPE_CHECKING:
    from tlsio.model.errors import CertificateAltNameError

NO_NAME = "Cert does not contain a DNS name"


def mapping(common_name: str | list[str] | None, alt_text: str | None) -> dict[str, Any]:
    """Return a plain mapping of the shape of Node's legacy object."""
    subject = {} if common_name is None else {"CN": common_name}
    return {"subject": subject} | ({} if alt_text is None else {"subjectaltname": alt_text})


def reason(error: CertificateAltNameError | None) -> str:
    """Return "OK" or why not, as the tables say it."""
    return "OK" if error is None else error.reason


@pytest.mark.node("tls-check-server-identity", "x509-escaping")
@pytest.mark.parametrize(("host", "common_name", "alt_text", "expected"), expectation_tables.IDENTITIES)
def test_agrees_with_node(host: str, common_name: str | list[str] | None, alt_text: str | None, expected: str) -> None:
    """Every row says what Node says, to the letter."""
    assert reason(check_server_identity(host, mapping(common_name, alt_text))) == expected


# Node reads each of these as another host than the text says; a resolver may read it as a third one.
@pytest.mark.parametrize(
    ("host", "alt_text"),
    [
        ("a\u3002a.com", "DNS:*.a.com"),
        ("a\u3002a.com", "DNS:a.a.com"),
        ("a\uff0ea.com", "DNS:a.a.com"),
        ("a\uff61a.com", "DNS:a.a.com"),
        ("ex%61mple.com", "DNS:example.com"),
        ("127.1", "DNS:127.1"),
        ("127.0x1", "DNS:127.0x1"),
        ("\uff11\uff12\uff17.0.0.1", "DNS:127.0.0.1, IP Address:127.0.0.1"),
        ("a\tb.com", "DNS:ab.com"),
        ("a.com\n", "DNS:a.com"),
        ("a.com/x", "DNS:a.com"),
        ("\u2100.com", "DNS:a"),
        ("a.com..", "DNS:a.com"),
        ("a\0.com", 'DNS:"a\\u0000.com"'),
        ("a\x7f.com", 'DNS:"a\\u007f.com"'),
        ("\u200d.com", "DNS:xn--1ug.com"),
        ("\u2603.net", "DNS:snow.net"),
        ("\ud800.com", "DNS:*.com"),
    ],
)
@pytest.mark.parametrize("check", [check_server_identity, check_rfc9525])
def test_doubtful_host_matches_nothing(check: Any, host: str, alt_text: str) -> None:
    """Where a host can be read in two ways nobody guesses."""
    assert check(host, mapping(host, alt_text)) is not None


@pytest.mark.node("x509-escaping")
@pytest.mark.parametrize(
    "quoted",
    [
        r'"\a x"',
        r'"\v x"',
        '"\\\' x"',
        r'"\x42 x"',
        r'"\u202 x"',
        r'"\012 x"',
        '"Unterminated',
        r'"Unterminated\"',
        r'"Unterminated\\\"',
        '"\0"',
        '"\x1e"',
        '"\x1f"',
    ],
)
def test_malformed_quoting_raises(quoted: str) -> None:
    """A text that is no JSON string may mean anything, so it means an error."""
    with pytest.raises(UsageValueError) as caught:
        check_server_identity("a.com", mapping(None, f"DNS:{quoted}"))
    assert caught.value.code == "ERR_TLS_CERT_ALTNAME_FORMAT"


def test_every_json_escape_is_read() -> None:
    """Escapes stand for their character."""
    assert check_server_identity("a/b", mapping(None, r'DNS:"\u0061.com", DNS:b.com')) is not None
    assert check_server_identity("a.com", mapping(None, r'DNS:"\u0061.com", DNS:b.com')) is None


@pytest.mark.parametrize("hostname", [None, 1, True, b"a.com", ip_address("::1")])
def test_host_of_another_type_raises(hostname: Any) -> None:
    """Node would compare with the text "undefined"."""
    with pytest.raises(UsageTypeError) as caught:
        check_server_identity(hostname, mapping("a.com", None))
    assert caught.value.code == "ERR_INVALID_ARG_TYPE"


@pytest.mark.parametrize("cert", [None, "a.com", b"", {"subjectaltname": 1}])
def test_certificate_of_another_type_raises(cert: Any) -> None:
    """Something that is no certificate is a mistake of the caller, not of the peer."""
    with pytest.raises(UsageTypeError):
        check_server_identity("a.com", cert)


@pytest.mark.parametrize("cert", [{}, {"subject": None}, {"subject": {"CN": 7}}, {"subject": {"CN": []}}])
def test_mapping_without_names_has_none(cert: dict[str, Any]) -> None:
    """Whatever is missing names nobody."""
    assert reason(check_server_identity("a.com", cert)) == NO_NAME


def test_error_tells_host_and_certificate() -> None:
    """The error has Node's properties, and survives pickling."""
    cert = mapping("b.com", None)
    error = check_server_identity("a.com.", cert)
    assert error is not None
    assert (error.code, error.host, error.cert) == ("ERR_TLS_CERT_ALTNAME_INVALID", "a.com", cert)
    assert error.message == "Hostname/IP does not match certificate's altnames: Host: a.com. is not cert's CN: b.com"
    assert pickle.loads(pickle.dumps(error)).reason == error.reason  # noqa: S301  (just made)


def test_three_forms_of_a_certificate_agree() -> None:
    """Parsed names, the object of `cryptography` and the printed text give the same answer."""
    identity = pki.leaf("x.com", names=["a.com", "*.b.com", "10.0.0.1", "::1"])
    parsed = parse(identity.cert_der)
    forms = [parsed, identity.certificate, {"subject": parsed["subject"], "subjectaltname": parsed["subjectaltname"]}]
    for host, expected in [("a.com", True), ("c.b.com", True), ("10.0.0.1", True), ("::1", True), ("x.com", False), ("::2", False)]:
        assert {check_server_identity(host, form) is None for form in forms} == {expected}


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("a.com", "a.com"),
        ("A.com.", "a.com"),
        ("bücher.de", "xn--bcher-kva.de"),
        ("_x.a", "_x.a"),
        (f"{'a' * 251}.com", f"{'a' * 251}.com"),
    ],
)
def test_server_name(host: str, name: str) -> None:
    """As it goes into SNI."""
    assert to_server_name(host) == name


@pytest.mark.parametrize("host", ["", ".", "a..b", ".a", "a/b", "a:1", "a\u3002b", "127.1", "\u2603.net", "a\n", f"{'a' * 252}.com"])
def test_what_is_no_server_name_raises(host: str) -> None:
    """Before anything is sent."""
    with pytest.raises(UsageValueError) as caught:
        to_server_name(host)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.node("x509-escaping")
def test_name_with_a_comma_is_one_name() -> None:
    """A dNSName that looks like two in print must not become two (CVE-2021-44532)."""
    parsed = parse(pki.leaf("x.com", names=["a.com, DNS:evil.com"]).cert_der)
    assert parsed["subjectaltname"] == 'DNS:"a.com\\u002c DNS:evil.com"'
    assert check_server_identity("evil.com", parsed) is not None
    assert check_server_identity("evil.com", {"subjectaltname": parsed["subjectaltname"]}) is not None


# --- RFC 9525 ---


@pytest.mark.parametrize(
    ("host", "common_name", "alt_text", "accepted"),
    [
        ("a.com", None, "DNS:a.com", True),
        ("A.com.", None, "DNS:a.COM", True),
        ("b.a.com", None, "DNS:*.a.com", True),
        ("xn--bcher-kva.a.com", None, "DNS:*.a.com", True),
        ("127.0.0.1", None, "IP Address:127.0.0.1", True),
        ("127.0.0.1", None, "DNS:127.0.0.1", False),
        ("a.com", "a.com", None, False),
        ("a.com", "a.com", "IP Address:127.0.0.1", False),
        ("b.a.com", None, "DNS:*b.a.com", False),
        ("foo.a.com", None, "DNS:f*o.a.com", False),
        ("c.b.a.com", None, "DNS:c.*.a.com", False),
        ("c.b.a.com", None, "DNS:*.a.com", False),
        (".a.com", None, "DNS:*.a.com", False),
        ("a.com", None, "DNS:*.com", False),
        ("a.com", None, "DNS:*", False),
        ("a.com", None, "DNS:b.com", False),
        ("a.com", None, "DNS:", False),
    ],
)
def test_rfc9525(host: str, common_name: str | None, alt_text: str | None, accepted: bool) -> None:  # noqa: FBT001
    """No CN, no wildcard but a whole left-most label."""
    assert (check_rfc9525(host, mapping(common_name, alt_text)) is None) is accepted


# --- hints ---


def hint(error: CertificateAltNameError | None) -> str:
    """Return the hint of a refusal."""
    assert error is not None
    return error.hint or ""


def test_hint_lists_the_names_within_bounds() -> None:
    """Who mistyped a name sees which there are; a certificate with thousands does not flood the screen."""
    names = [f"n{number}.com" for number in range(9)] + ["x" * 1000]
    text = hint(check_server_identity("a.com", mapping(None, ", ".join(f"DNS:{name}" for name in reversed(names)))))
    assert '"n8.com"' in text
    assert "and 5 more" in text
    assert len(text) < 500


def test_hint_shows_control_characters_harmless() -> None:
    """A name from the wire does not write to the terminal."""
    assert "\x1b" not in hint(check_server_identity("a.com", mapping("\x1b[2J", None)))


@pytest.mark.parametrize(
    "cert",
    [mapping("a\nb\x1b[31m\x9b\u202e", None), mapping(["x" * 900, "\u202e" * 900], None), mapping(None, "DNS:x\u202e" + ", DNS:y" * 900)],
    ids=["control characters", "overlong common names", "overlong list"],
)
def test_message_shows_names_harmless_and_bounded(cert: dict[str, Any]) -> None:
    """The message goes to logs and terminals, so it is one line without control characters, as the hint is."""
    error = check_server_identity("host.example", cert)
    assert error is not None
    assert str(error).isprintable()
    assert len(error.reason) < 10_000


def test_hint_for_a_name_only_in_the_common_name() -> None:
    """The usual mistake with certificates made by hand."""
    assert "RFC 9525" in hint(check_rfc9525("a.com", mapping("a.com", None)))
    assert "the common name does not count" in hint(check_server_identity("a.com", mapping("a.com", "DNS:b.com")))


def test_hint_for_a_certificate_without_names() -> None:
    """Nothing to list."""
    assert "contains no host name" in hint(check_server_identity("a.com", mapping(None, None)))


def test_hint_for_a_list_of_names_that_cannot_be_read() -> None:
    """The common name would match, but does not count any more."""
    parsed = parse(pki.leaf("a.com", extensions=[extension("2.5.29.17", b"\x30\x05ab")]).cert_der)
    error = check_server_identity("a.com", parsed)
    assert reason(error) == NO_NAME
    assert "malformed" in hint(error)


@given(st.text(), st.text(), st.text(alphabet='DNS:"\\u0a, .*', max_size=20))
def test_any_text_is_judged(host: str, common_name: str, alt_text: str) -> None:
    """Whatever comes, the answer is an error, None, or Node's complaint about quoting."""
    for check in (check_server_identity, check_rfc9525):
        try:
            check(host, mapping(common_name, alt_text))
        except UsageValueError as error:
            assert error.code == "ERR_TLS_CERT_ALTNAME_FORMAT"  # noqa: PT017
