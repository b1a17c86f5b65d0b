"""What an authority issues, judged by OpenSSL, GnuTLS, Node, Java and Python's `ssl` with its strict flags."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa, x25519
from cryptography.hazmat.primitives.serialization import Encoding

import tlsio
from foreign_peers import find
from tlsio.certs import (
    KEY_KINDS,
    Authority,
    Revocation,
    create_request,
    generate_key,
    key_pem,
    load_key,
    load_request,
    parse_names,
    self_signed,
    verify,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tlsio.certs import Leaf

# OpenSSL has ML-DSA from 3.5 on.
KINDS = [kind for kind in KEY_KINDS if not kind.startswith("ML-DSA")]
# Python's default since 3.13.
STRICT = ssl.VerifyFlags.VERIFY_X509_STRICT | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
EAST = timezone(timedelta(hours=23))


def days(count: float) -> timedelta:
    """A span."""
    return timedelta(days=count)


def run(*command: str, data: bytes = b"") -> str:
    """Run a program, which must succeed; return all that it printed."""
    done = subprocess.run(command, input=data, check=False, capture_output=True)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return (done.stdout + done.stderr).decode()


def openssl_verify(authority: Authority, leaf: Leaf, folder: Path, *options: str) -> str:
    """Return what `openssl verify -x509_strict` says; it must accept the leaf."""
    (folder / "ca.pem").write_bytes(authority.root_pem)
    (folder / "chain.pem").write_bytes(leaf.chain_pem)
    files = ["-CAfile", str(folder / "ca.pem"), "-untrusted", str(folder / "chain.pem"), str(folder / "chain.pem")]
    return run("openssl", "verify", "-x509_strict", *options, *files)


def shake_hands(server: Leaf, ca: bytes, name: str, client: Leaf | None, folder: Path) -> dict[str, Any]:
    """Shake hands by Python's `ssl` with its strict flags on both sides; return the certificate that the client has seen."""
    contexts = []
    for side, leaf, protocol in (("server", server, ssl.PROTOCOL_TLS_SERVER), ("client", client, ssl.PROTOCOL_TLS_CLIENT)):
        context = ssl.SSLContext(protocol)
        context.verify_flags |= STRICT
        context.load_verify_locations(cadata=ca.decode())
        if leaf:
            leaf.write(cert=folder / f"{side}.pem", key=folder / f"{side}.key", overwrite=True)
            context.load_cert_chain(folder / f"{side}.pem", folder / f"{side}.key")
        contexts.append(context)
    serving, connecting = contexts
    serving.verify_mode = ssl.CERT_REQUIRED if client else ssl.CERT_NONE
    (to_client, from_client), (to_server, from_server) = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    here = connecting.wrap_bio(to_client, from_client, server_hostname=name)
    there = serving.wrap_bio(to_server, from_server, server_side=True)
    waiting = {here, there}
    for _ in range(10):
        for side in tuple(waiting):
            try:
                side.do_handshake()
                waiting.discard(side)
            except ssl.SSLWantReadError:
                pass
        to_server.write(from_client.read())
        to_client.write(from_server.read())
    assert not waiting
    return here.getpeercert() or {}


class TestMistakes:
    """Calls that `cryptography` would refuse in its own words, or not at all."""

    @pytest.mark.parametrize(
        ("options", "code"),
        [
            ({"path_length": -1}, "ERR_OUT_OF_RANGE"),
            ({"path_length": "0"}, "ERR_INVALID_ARG_TYPE"),
            ({"days": 10**9}, "ERR_OUT_OF_RANGE"),
            ({"days": -1}, "ERR_OUT_OF_RANGE"),
            ({"days": "a year"}, "ERR_INVALID_ARG_TYPE"),
            ({"not_before": datetime(1949, 1, 1, tzinfo=UTC)}, "ERR_OUT_OF_RANGE"),
            ({"not_after": datetime(9999, 12, 31, tzinfo=UTC)}, "ERR_OUT_OF_RANGE"),
            ({"clock": lambda: datetime(2026, 1, 1)}, "ERR_INVALID_ARG_VALUE"),  # noqa: DTZ001 - the mistake itself
            ({"clock": lambda: 5, "not_before": NOW}, "ERR_INVALID_ARG_TYPE"),
            ({"key": 5}, "ERR_INVALID_ARG_TYPE"),
            ({"key": [generate_key()]}, "ERR_INVALID_ARG_TYPE"),
            ({"key": rsa.generate_private_key(65537, 1024)}, "ERR_INVALID_ARG_VALUE"),  # noqa: S505 - the mistake itself
            ({"key": x25519.X25519PrivateKey.generate()}, "ERR_CRYPTO_UNSUPPORTED_OPERATION"),
            ({"permitted": ["10.0.0.1/8"]}, "ERR_INVALID_ARG_VALUE"),
        ],
    )
    def test_an_option_of_an_authority(self, options: dict[str, Any], code: str) -> None:
        """With the code for the kind of mistake."""
        with pytest.raises(tlsio.TLSError) as caught:
            Authority.create(**options)
        assert caught.value.code == code

    @pytest.mark.parametrize("option", ["crl_url", "ocsp_url", "issuer_url"])
    def test_an_address_that_is_none(self, option: str) -> None:
        """It would end up in every certificate."""
        authority = Authority.create(**{option: "not an address"})  # type: ignore[arg-type]
        with pytest.raises(tlsio.UsageValueError, match="URI"):
            authority.server("localhost")

    @pytest.mark.parametrize(
        ("call", "code"),
        [
            (lambda authority: authority.crl(5), "ERR_INVALID_ARG_TYPE"),
            (lambda authority: authority.crl(days=0), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.crl(number=-1), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.crl(Revocation(1, datetime(2026, 1, 1))), "ERR_INVALID_ARG_VALUE"),  # noqa: DTZ001
            (lambda authority: authority.crl(Revocation(0, NOW)), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.crl(Revocation(-1, NOW)), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.crl(Revocation(2**159, NOW)), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.crl(Revocation("1", NOW)), "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
            (lambda authority: authority.crl(Revocation(1, NOW, "superseded")), "ERR_INVALID_ARG_TYPE"),  # type: ignore[arg-type]
            (lambda authority: authority.server("a", not_before=datetime(1950, 1, 1, tzinfo=EAST)), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.ocsp(authority.certificate, request="x"), "ERR_INVALID_ARG_TYPE"),
            (lambda authority: authority.ocsp(5), "ERR_INVALID_ARG_TYPE"),
            (lambda authority: authority.ocsp(authority.certificate, days=-1), "ERR_OUT_OF_RANGE"),
            (lambda authority: authority.ocsp(authority.certificate, revoked=Revocation(1, NOW)), "ERR_INVALID_ARG_VALUE"),
            (lambda authority: authority.sign(create_request("a", key=generate_key()), usage="mail"), "ERR_INVALID_ARG_VALUE"),
            (lambda authority: authority.server(["a", "b"]), "ERR_INVALID_ARG_TYPE"),
            (lambda authority: authority.client(""), "ERR_INVALID_ARG_VALUE"),
            (lambda authority: Authority.load(cert=[], key=authority.key), "ERR_INVALID_ARG_VALUE"),
        ],
    )
    def test_an_argument(self, call: Callable[[Authority], Any], code: str) -> None:
        """Of the other calls."""
        with pytest.raises(tlsio.UsageError) as caught:
            call(Authority.create())
        assert caught.value.code == code


class TestStrict:
    """All that is issued passes the strict checks."""

    @pytest.mark.parametrize("kind", [pytest.param(kind, marks=pytest.mark.slow if "RSA" in kind else ()) for kind in KINDS])
    @pytest.mark.parametrize("below", [0, 1, 2])
    def test_openssl_accepts_a_server_and_a_client(self, kind: str, below: int, tmp_path: Path) -> None:
        """With each kind of key, below a root and below intermediates."""
        authority = Authority.create("a root", kind=kind)
        for left in range(below, 0, -1):
            authority = authority.intermediate(f"intermediate {left}", kind=kind, path_length=left - 1)
        server, client = authority.server("localhost", kind=kind), authority.client("Ada", kind=kind)
        assert len(server.intermediates) == below
        openssl_verify(authority, server, tmp_path, "-purpose", "sslserver", "-verify_hostname", "localhost")
        openssl_verify(authority, client, tmp_path, "-purpose", "sslclient")

    def test_python_accepts_both_sides(self, tmp_path: Path) -> None:
        """Mutual TLS with the flags of Python 3.13."""
        root = Authority.create()
        issuing = root.intermediate("issuing")
        seen = shake_hands(issuing.server("localhost", "127.0.0.1"), root.cert_pem, "localhost", issuing.client("Ada"), tmp_path)
        assert seen["subjectAltName"] == (("DNS", "localhost"), ("IP Address", "127.0.0.1"))

    @pytest.mark.parametrize("kind", ["P-256", "ML-DSA-65"])
    def test_cryptography_accepts_a_server(self, kind: str) -> None:
        """Its verifier follows the web's profile."""
        from cryptography.x509 import verification  # noqa: PLC0415

        root = Authority.create(kind=kind, permitted=["localhost"])
        leaf = root.intermediate("issuing", kind=kind).server("localhost", kind=kind)
        builder = verification.PolicyBuilder().store(verification.Store([root.certificate]))
        verifier = builder.build_server_verifier(x509.DNSName("localhost"))
        assert len(verifier.verify(leaf.certificate, list(leaf.intermediates))) == 3

    def test_usages_are_apart(self, tmp_path: Path) -> None:
        """A client's certificate is not accepted from a server, nor the other way round."""
        authority = Authority.create()
        for leaf, purpose in ((authority.client("Ada"), "sslserver"), (authority.server("localhost"), "sslclient")):
            with pytest.raises(AssertionError, match=r"unsuitable certificate purpose|unsupported certificate purpose"):
                openssl_verify(authority, leaf, tmp_path, "-purpose", purpose)

    def test_certtool_accepts_a_chain(self, tmp_path: Path) -> None:
        """GnuTLS, in any version."""
        root = Authority.create()
        leaf = root.intermediate("issuing").server("localhost")
        (tmp_path / "ca.pem").write_bytes(root.cert_pem)
        command = ["certtool", "--verify", "--load-ca-certificate", str(tmp_path / "ca.pem"), "--verify-hostname", "localhost"]
        assert "Verified" in run(*command, data=leaf.chain_pem)

    @pytest.mark.slow
    def test_node_finds_the_names(self) -> None:
        """`X509Certificate`, in any version."""
        root = Authority.create()
        leaf = root.server("localhost", "*.example.com", "::1")
        program = """
            const {X509Certificate} = require('crypto'), data = JSON.parse(require('fs').readFileSync(0))
            const leaf = new X509Certificate(data.leaf), root = new X509Certificate(data.root)
            console.log(leaf.checkHost('shop.example.com'), leaf.checkIP('::1'), leaf.checkHost('example.com'), leaf.ca, root.ca,
                leaf.checkIssued(root) && leaf.verify(root.publicKey))
        """
        data = f'{{"leaf": {leaf.cert_pem.decode()!r}, "root": {root.cert_pem.decode()!r}}}'.replace("'", '"').encode()
        assert run(find("node", "nodejs"), "-e", program, data=data).split() == [
            "*.example.com",
            "::1",
            "undefined",
            "false",
            "true",
            "true",
        ]

    @pytest.mark.slow
    def test_keytool_imports_a_root_and_reads_a_leaf(self, tmp_path: Path) -> None:
        """Java's, in any version."""
        root, keytool = Authority.create("Plant CA"), str(shutil.which("keytool"))
        (tmp_path / "ca.pem").write_bytes(root.cert_pem)
        store = ["-keystore", str(tmp_path / "trust.p12"), "-storepass", "changeit"]
        run(keytool, "-importcert", "-noprompt", "-alias", "plant", "-file", str(tmp_path / "ca.pem"), *store)
        assert "CN=Plant CA" in run(keytool, "-list", "-v", *store)
        assert "DNSName: localhost" in run(keytool, "-printcert", data=root.server("localhost").cert_pem)


@pytest.mark.parametrize(
    "call",
    [
        lambda: Authority.create("a", validity=3),  # type: ignore[call-arg]
        lambda: Authority.create("a").intermediate("b", validity=3),  # type: ignore[call-arg]
        lambda: Authority.create("a").server("b", validity=3),  # type: ignore[call-arg]
        lambda: Authority.create("a").client("b", validity=3),  # type: ignore[call-arg]
        lambda: self_signed("a", validity=3),  # type: ignore[call-arg]
    ],
)
def test_unknown_argument_is_answered_with_those_there_are(call: Callable[[], object]) -> None:
    """Not with the name of a private function."""
    with pytest.raises(tlsio.UsageTypeError, match="has no argument 'validity'") as caught:
        call()
    assert caught.value.code == "ERR_TLS_UNKNOWN_OPTION"
    assert "days=" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        (lambda made: verify(made.server("a"), ca=made.cert_pem), "Give its .chain_pem or .cert_pem."),
        (lambda made: verify(made.server("a").chain_pem, ca=made), "Give its .cert_pem."),
        (lambda made: tlsio.create_secure_context(key=[made.server("a")]), "Give its .key_pem."),
        (lambda _made: load_request("press.csr"), "It looks like a path: give a path as pathlib.Path."),
    ],
)
def test_likely_mistake_gets_a_hint(call: Callable[[Authority], object], hint: str) -> None:
    """A noun in place of its PEM, and a path as str."""
    with pytest.raises(tlsio.UsageError) as caught:
        call(Authority.create("a"))
    assert caught.value.hint == hint


class TestContents:
    """What stands in a certificate."""

    def test_a_server_has_an_empty_subject_and_critical_names(self) -> None:
        """RFC 5280 §4.2.1.6; clients do not read the common name."""
        certificate = Authority.create().server("localhost").certificate
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert (certificate.subject.rfc4514_string(), names.critical) == ("", True)

    def test_a_subject_can_be_given(self) -> None:
        """Then the names need not be critical."""
        certificate = Authority.create().server("localhost", subject="CN=gateway,O=Plant").certificate
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert (certificate.subject.rfc4514_string(), names.critical) == ("CN=gateway,O=Plant", False)

    def test_a_client_is_its_common_name_and_more(self) -> None:
        """Such as a SPIFFE ID."""
        certificate = Authority.create().client("Ada", "ada@example.com", "spiffe://example.org/ada").certificate
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert certificate.subject.rfc4514_string() == "CN=Ada"
        assert list(names) == parse_names(["ada@example.com", "spiffe://example.org/ada"])

    def test_must_staple_is_put_in(self) -> None:
        """RFC 7633."""
        certificate = Authority.create().server("localhost", must_staple=True).certificate
        assert x509.TLSFeatureType.status_request in certificate.extensions.get_extension_for_class(x509.TLSFeature).value

    def test_it_says_where_status_and_issuer_are(self) -> None:
        """Those of the authority that issued it."""
        authority = Authority.create(issuer_url="http://a.example/ca", ocsp_url="http://a.example/ocsp", crl_url="http://a.example/crl")
        for certificate in (authority.server("localhost").certificate, authority.intermediate("below").certificate):
            said = run("openssl", "x509", "-noout", "-text", data=certificate.public_bytes(Encoding.PEM))
            for line in ("OCSP - URI:http://a.example/ocsp", "CA Issuers - URI:http://a.example/ca", "URI:http://a.example/crl"):
                assert line in said

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("CN=a, O=Bar Inc.", "CN=a,O=Bar Inc."),
            (" CN = a + UID = 1 ,O=b", "CN=a+UID=1,O=b"),
            ("CN=a = b, O=x", "CN=a = b,O=x"),
            (r"O=Foo\, Inc., CN=a", r"O=Foo\, Inc.,CN=a"),
            (r"O=Foo\ , CN=a", r"O=Foo\ ,CN=a"),
        ],
    )
    def test_blanks_around_the_signs_of_a_subject_do_not_count(self, text: str, meant: str) -> None:
        """Openssl prints them; those of a value stay."""
        assert self_signed("a.example", subject=text).certificate.subject == x509.Name.from_rfc4514_string(meant)

    @pytest.mark.parametrize(("subject", "hint"), [("/CN=a/O=b", "with commas"), ("a", "RFC 4514")])
    def test_a_subject_is_written_as_in_rfc_4514(self, subject: str, hint: str) -> None:
        """Not as for `openssl`."""
        with pytest.raises(tlsio.UsageValueError) as caught:
            Authority.create().server("localhost", subject=subject)
        assert hint in (caught.value.hint or "")

    def test_a_subject_of_cryptography_is_taken(self) -> None:
        """And another type is not."""
        name = x509.Name.from_rfc4514_string("CN=a")
        assert Authority.create().server("localhost", subject=name).certificate.subject == name
        with pytest.raises(tlsio.UsageTypeError, match="subject"):
            Authority.create().server("localhost", subject=b"CN=a")  # type: ignore[arg-type]

    def test_a_common_name_has_64_characters(self) -> None:
        """X.509's limit."""
        assert Authority.create().client("a" * 64)
        with pytest.raises(tlsio.UsageValueError, match="65 characters"):
            Authority.create().client("a" * 65)

    def test_a_known_key_is_certified(self, tmp_path: Path) -> None:
        """Instead of a new one: an object, content or a file."""
        key, authority = generate_key(), Authority.create()
        assert authority.server("localhost", key=key).key is key
        (tmp_path / "key.pem").write_bytes(key_pem(key))
        assert authority.server("localhost", key=tmp_path / "key.pem").key_pem == key_pem(key) == self_signed("a", key=key_pem(key)).key_pem

    def test_serial_numbers_are_long_and_different(self) -> None:
        """CA/Browser Forum: at least 64 random bits; RFC 5280: at most 20 octets, above zero."""
        authority = Authority.create()
        found = {authority.server("localhost").certificate.serial_number for _ in range(20)}
        assert len(found) == 20
        assert all(2**64 < one < 2**159 for one in found)

    def test_no_repr_shows_a_key(self) -> None:
        """Authorities and leaves end up in logs."""
        authority = Authority.create()
        assert "key" not in repr(authority)
        assert "key" not in repr(authority.server("localhost"))


class TestLife:
    """From when, and until when."""

    def test_a_clock_sets_all_lives(self) -> None:
        """Of the root, an intermediate, a leaf."""
        root = Authority.create(clock=lambda: NOW)
        below = root.intermediate("below")
        ends = [one.not_valid_after_utc for one in (root.certificate, below.certificate, below.server("localhost").certificate)]
        start = NOW - timedelta(hours=1)
        assert ends == [
            start + days(3650) - timedelta(seconds=1),
            start + days(1825) - timedelta(seconds=1),
            start + days(365) - timedelta(seconds=1),
        ]

    def test_a_leaf_can_be_expired(self) -> None:
        """For tests: both ends are free."""
        root = Authority.create(clock=lambda: NOW)
        leaf = root.server("localhost", not_before=NOW - days(30), not_after=NOW - days(1)).certificate
        assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (NOW - days(30), NOW - days(1))

    def test_398_days_are_the_limit(self) -> None:
        """However the life is said."""
        root = Authority.create(clock=lambda: NOW)
        assert root.server("localhost", days=398)
        assert root.server("localhost", not_before=NOW, not_after=NOW + days(398) - timedelta(seconds=1))
        for options in ({"days": 398.1}, {"not_before": NOW, "not_after": NOW + days(398)}):
            with pytest.raises(tlsio.UsageValueError, match="at most 398") as caught:
                root.server("localhost", **options)  # type: ignore[arg-type]
            assert caught.value.code == "ERR_OUT_OF_RANGE"

    def test_a_leaf_ends_with_its_authority(self) -> None:
        """A longer life would be a promise that nobody can keep; asked for, it is refused."""
        root = Authority.create(days=100, clock=lambda: NOW)
        assert root.server("localhost").certificate.not_valid_after_utc == root.certificate.not_valid_after_utc
        with pytest.raises(tlsio.UsageValueError, match="when the authority ends"):
            root.server("localhost", days=200)

    def test_an_expired_authority_issues_nothing(self) -> None:
        """Peers would refuse it."""
        now = [NOW]
        root = Authority.create(days=1, clock=lambda: now[0])
        now[0] += days(2)
        with pytest.raises(tlsio.ConfigError, match="has expired on 2026-11-30"):
            root.server("localhost")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"days": 0}, "above 0"),
            ({"not_after": NOW - timedelta(hours=2)}, "after 2026"),
            ({"not_after": datetime(2027, 1, 1)}, "no time zone"),  # noqa: DTZ001 - the mistake itself
        ],
    )
    def test_a_wrong_time_is_refused(self, options: dict[str, Any], said: str) -> None:
        """With what is wrong with it."""
        with pytest.raises(tlsio.UsageValueError, match=said):
            Authority.create(clock=lambda: NOW).server("localhost", **options)

    def test_a_length_and_an_end_exclude_each_other(self) -> None:
        """One of them would have no effect."""
        with pytest.raises(tlsio.UsageTypeError) as caught:
            self_signed("localhost", days=1, not_after=NOW)
        assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"

    def test_a_date_as_text_is_refused(self) -> None:
        """Its form would be a guess."""
        with pytest.raises(tlsio.UsageTypeError, match="datetime"):
            Authority.create().server("localhost", not_after="2027-01-01")  # type: ignore[arg-type]


class TestConstraints:
    """Names that an authority may certify."""

    def test_openssl_accepts_names_inside(self, tmp_path: Path) -> None:
        """Of all kinds, constrained at the root and at an intermediate."""
        root = Authority.create(permitted=["example.com", "10.0.0.0/8", "@example.com", "URI:.example.com"])
        below = root.intermediate("shop", permitted=["shop.example.com", "10.1.0.0/16", "ada@example.com", "URI:a.example.com"])
        leaf = below.server("shop.example.com", "*.shop.example.com", "10.1.2.3", "ada@example.com", "https://a.example.com/")
        openssl_verify(root, leaf, tmp_path)

    @pytest.mark.parametrize("name", ["example.org", "badexample.com", "11.0.0.1", "::1", "bob@example.org", "https://example.com/"])
    def test_names_outside_are_not_certified(self, name: str) -> None:
        """So nothing is issued that peers refuse."""
        root = Authority.create(permitted=["example.com", "10.0.0.0/8", "@example.com", "URI:.example.com"], excluded=["::/0"])
        with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
            root.server(name)

    def test_those_of_the_root_hold_below(self) -> None:
        """For intermediates without any."""
        below = Authority.create(excluded=["secret.example.com"]).intermediate("below")
        with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
            below.server("a.secret.example.com")

    def test_a_wildcard_for_an_excluded_name_is_not_certified(self) -> None:
        """Python's `ssl` would accept it for that name; a deeper name it would not match."""
        root = Authority.create(excluded=["secret.example.com"])
        for issue in (root.server, root.intermediate("below").server):
            with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
                issue("*.example.com")
        assert Authority.create(excluded=["a.secret.example.com"]).server("*.example.com")

    @pytest.mark.parametrize(
        "name",
        [
            "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            "https://%73ecret.example.com/",
            "https://secret.example.com./",
            "https://SECRET.example.com/",
            "https://ada@example.com/",
            "https://192.0.2.1/",
            "https://[2001:db8::1]/",
            x509.UniformResourceIdentifier("https://[x/"),
            x509.RFC822Name("ada@secret.example.com."),
        ],
        ids=str,
    )
    def test_a_host_that_cannot_be_compared_is_excluded(self, name: str | x509.GeneralName) -> None:
        """RFC 5280 §4.2.1.10 has verifiers refuse it. Without a constraint on URIs they do not."""
        excluded = ["URI:secret.example.com", "@secret.example.com"]
        with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
            Authority.create(excluded=excluded).server("example.com", name)
        assert Authority.create(excluded=["example.org"]).server("example.com", name)
        assert Authority.create(excluded=excluded).server("https://www.example.com/")

    @pytest.mark.parametrize("permitted", ["example.com", "10.0.0.0/8", "@example.com", "URI:example.com"])
    def test_kinds_that_do_not_occur_are_not_permitted(self, permitted: str, tmp_path: Path) -> None:
        """A constraint of one kind says nothing about the others, which OpenSSL would accept."""
        inside = {"10.0.0.0/8": "10.1.2.3", "@example.com": "ada@example.com", "URI:example.com": "https://example.com/"}
        root = Authority.create(permitted=[permitted])
        names = ["example.com", *inside.values()]
        openssl_verify(root, root.server(inside.get(permitted, permitted)), tmp_path)
        for name in set(names) - {inside.get(permitted, permitted)}:
            with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
                root.server(name)
            with pytest.raises(AssertionError, match=r"permitted subtree violation|excluded subtree violation"):
                openssl_verify(root, Authority.create(key=root.key).server(name), tmp_path)

    @pytest.mark.parametrize(("subject", "inside"), [("a.example.com", True), ("a.example.org", False), ("Ada", True), ("Dr. Ada", True)])
    def test_a_common_name_that_looks_like_dns_is_compared(self, subject: str, *, inside: bool, tmp_path: Path) -> None:
        """As OpenSSL does if there are no DNS names."""
        root = Authority.create(permitted=["example.com"])
        if inside:
            openssl_verify(root, root.client(subject), tmp_path)
        else:
            with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
                root.client(subject)
            with pytest.raises(AssertionError, match="permitted subtree violation"):
                openssl_verify(root, Authority.create(key=root.key).client(subject), tmp_path)

    def test_an_address_in_the_subject_is_compared(self, tmp_path: Path) -> None:
        """The attribute emailAddress."""
        subject = x509.Name([x509.NameAttribute(x509.NameOID.EMAIL_ADDRESS, "ada@example.org")])
        root = Authority.create(permitted=["@example.com"])
        with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
            root.client("Ada", subject=subject)
        with pytest.raises(AssertionError, match="permitted subtree violation"):
            openssl_verify(root, Authority.create(key=root.key).client("Ada", subject=subject), tmp_path)

    def test_certtool_honours_them(self, tmp_path: Path) -> None:
        """GnuTLS, in any version."""
        root = Authority.create(permitted=["example.com"])
        (tmp_path / "ca.pem").write_bytes(root.cert_pem)
        command = ["certtool", "--verify", "--load-ca-certificate", str(tmp_path / "ca.pem")]
        run(*command, data=root.server("a.example.com").chain_pem)
        with pytest.raises(AssertionError, match="constraints"):
            run(*command, data=Authority.create(key=root.key).server("a.example.org").chain_pem)

    def test_openssl_refuses_what_was_signed_against_them(self, tmp_path: Path) -> None:
        """With the same key and without the constraints in its copy."""
        root = Authority.create(permitted=["example.com"])
        free = Authority.create("tlsio authority", key=root.key)
        with pytest.raises(AssertionError, match="permitted subtree violation"):
            openssl_verify(root, free.server("example.org"), tmp_path)

    def test_an_intermediate_may_have_none_below(self) -> None:
        """Unless it was made for that."""
        root = Authority.create()
        assert root.intermediate("a", path_length=1).intermediate("b")
        with pytest.raises(tlsio.UsageStateError, match="may not have authorities below it"):
            root.intermediate("a").intermediate("b")

    def test_the_path_length_of_the_root_counts_all_below(self, tmp_path: Path) -> None:
        """Not only the authority next to it."""
        root = Authority.create(path_length=2)
        with pytest.raises(tlsio.UsageValueError, match="at most 1") as caught:
            root.intermediate("a", path_length=2)
        assert caught.value.code == "ERR_OUT_OF_RANGE"
        last = root.intermediate("a", path_length=1).intermediate("b")
        openssl_verify(root, last.server("localhost"), tmp_path)
        last.write(cert=tmp_path / "b.pem", key=tmp_path / "b.key")
        with pytest.raises(tlsio.UsageStateError, match="may not have authorities below it"):
            Authority.load(cert=tmp_path / "b.pem", key=tmp_path / "b.key").intermediate("c")

    def test_an_authority_too_far_below_is_not_used(self, tmp_path: Path) -> None:
        """As another program may have made it: no peer accepts what it would issue."""
        root = Authority.create("root", path_length=0)
        below = Authority.create("root", key=root.key).intermediate("below")
        with pytest.raises(AssertionError, match="path length"):
            openssl_verify(root, below.server("localhost"), tmp_path)
        with pytest.raises(tlsio.ConfigError, match="more authorities"):
            Authority.load(cert=[below.certificate, root.certificate], key=below.key)


class TestSign:
    """Foreign requests."""

    def test_a_request_of_openssl_is_signed(self, tmp_path: Path) -> None:
        """And the result belongs to its key."""
        config = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=gateway"]
        names = ["-addext", "subjectAltName=DNS:gateway,IP:192.0.2.7"]
        run(*config, *names, "-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "gateway.csr"))
        root = Authority.create()
        leaf = root.sign(tmp_path / "gateway.csr")
        openssl_verify(root, leaf, tmp_path, "-purpose", "sslserver", "-verify_ip", "192.0.2.7")
        assert load_key(tmp_path / "key.pem").public_key() == leaf.certificate.public_key()

    def test_a_request_of_certtool_is_signed(self, tmp_path: Path) -> None:
        """GnuTLS puts usages in."""
        (tmp_path / "template").write_text('cn = "gateway"\ndns_name = "gateway"\ntls_www_server\nsigning_key\n')
        (tmp_path / "key.pem").write_bytes(key_pem(generate_key()))
        command = ["certtool", "--generate-request", "--template", str(tmp_path / "template"), "--load-privkey", str(tmp_path / "key.pem")]
        run(*command, "--outfile", str(tmp_path / "gateway.csr"))
        root = Authority.create()
        openssl_verify(root, root.sign(tmp_path / "gateway.csr"), tmp_path, "-purpose", "sslserver", "-verify_hostname", "gateway")

    @pytest.mark.slow
    def test_a_request_of_keytool_is_signed(self, tmp_path: Path) -> None:
        """Java's, in any version."""
        keytool, store = str(shutil.which("keytool")), ["-keystore", str(tmp_path / "keys.p12"), "-storepass", "changeit"]
        run(keytool, "-genkeypair", "-alias", "me", "-keyalg", "EC", "-groupname", "secp256r1", "-dname", "CN=gateway", *store)
        run(keytool, "-certreq", "-alias", "me", "-ext", "san=dns:gateway", "-file", str(tmp_path / "gateway.csr"), *store)
        root = Authority.create()
        openssl_verify(root, root.sign(tmp_path / "gateway.csr"), tmp_path, "-purpose", "sslserver", "-verify_hostname", "gateway")

    def test_names_and_staple_are_taken_and_nothing_else(self) -> None:
        """Neither a server's subject nor an unknown extension."""
        request = create_request(["gateway"], key=generate_key(), subject="CN=Root,O=Bank", must_staple=True)
        certificate = Authority.create().sign(request).certificate
        assert certificate.subject.rfc4514_string() == ""
        assert certificate.extensions.get_extension_for_class(x509.TLSFeature)

    def test_a_client_keeps_its_subject(self) -> None:
        """It is who the client is."""
        leaf = Authority.create().sign(create_request(key=generate_key(), subject="CN=Ada"), usage="client")
        assert leaf.certificate.subject.rfc4514_string() == "CN=Ada"

    def test_its_key_is_not_known(self, tmp_path: Path) -> None:
        """It stayed with the sender."""
        leaf = Authority.create().sign(create_request("gateway", key=generate_key()))
        with pytest.raises(tlsio.UsageStateError, match="not known"):
            _ = leaf.key_pem
        leaf.write(cert=tmp_path / "gateway.pem")
        with pytest.raises(tlsio.UsageStateError):
            leaf.write(cert=tmp_path / "another.pem", key=tmp_path / "another.key")
        assert not (tmp_path / "another.pem").exists()

    def test_other_names_can_be_certified(self) -> None:
        """Those of the operator, whatever the request says."""
        leaf = Authority.create().sign(create_request("*.example.com", key=generate_key()), names=["a.example.com"], days=7)
        assert list(leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == parse_names("a.example.com")

    def test_names_of_the_operator_replace_those_of_the_request(self, tmp_path: Path) -> None:
        """Also where it has none, or has some that would not be certified."""
        root = Authority.create(permitted=["localhost"])
        bare = (
            x509.CertificateSigningRequestBuilder()
            .subject_name(x509.Name([]))
            .sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        )
        for request in (bare, create_request("example.org", key=generate_key())):
            openssl_verify(root, root.sign(request, names=["localhost"]), tmp_path)
        with pytest.raises(tlsio.ConfigError, match="neither a name nor a subject"):
            root.sign(bare, names=[])

    def test_the_subject_of_the_authority_is_not_given_to_others(self) -> None:
        """Verifiers would take the certificate for a self-signed one."""
        authority = Authority.create("Plant CA").intermediate("Line 4")
        for name in ("Plant CA", "Line 4", "plant ca", "PLANT  CA", " Plant CA ", "\uff2cine 4"):
            with pytest.raises(tlsio.UsageValueError, match="that of the authority"):
                authority.client(name)
            with pytest.raises(tlsio.ConfigError, match="that of the authority"):
                authority.sign(
                    create_request(key=generate_key(), subject=x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])),
                    usage="client",
                )
        with pytest.raises(tlsio.UsageValueError, match="authority above it"):
            Authority.create("Plant CA").intermediate("plant  CA ")
        assert authority.client("PlantCA")

    def test_what_our_own_check_refuses_is_not_signed(self) -> None:
        """Whether a request asks for it or the operator."""
        root = Authority.create()
        two, control = ["spiffe://example.org/a", "spiffe://example.org/b"], "admin\0.evil"
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, control)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        request = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
        for names in (None, ["ada@example.org"]):
            with pytest.raises(tlsio.ConfigError, match="control characters") as caught:
                root.sign(request, usage="client", names=names)
            assert caught.value.message.count("control characters") == 1
        with pytest.raises(tlsio.ConfigError, match="exactly one"):
            root.sign(create_request("localhost", key=generate_key()), names=two)
        for call in (lambda: root.client("Ada", *two), lambda: root.client("Ada", subject=subject), lambda: root.client(control + "\r")):
            with pytest.raises(tlsio.UsageValueError, match=r"exactly one|control characters|null character"):
                call()

    @pytest.mark.parametrize(
        ("make", "said"),
        [
            (lambda authority: create_request("localhost", key=authority.key), "its key is that of the authority"),
            (lambda authority: create_request("example.org", key=generate_key()), "outside the name constraints"),
            (lambda authority: create_request("localhost", key=generate_key(), usages=["client"]), "other usages"),
            (lambda authority: create_request(key=generate_key(), subject="CN=localhost"), "no alternative name"),
            (lambda authority: wants_to_be_an_authority(), "certificate of an authority"),
        ],
    )
    def test_what_must_not_be_signed_is_refused(self, make: Callable[[Authority], x509.CertificateSigningRequest], said: str) -> None:
        """With the reason."""
        authority = Authority.create(permitted=["localhost"])
        with pytest.raises(tlsio.ConfigError, match=said) as caught:
            authority.sign(make(authority))
        assert caught.value.code == "ERR_TLS_REQUEST_REFUSED"


def wants_to_be_an_authority() -> x509.CertificateSigningRequest:
    """A request that OpenSSL's `copy_extensions` would turn into an authority."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    return builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())


class TestFiles:
    """Written and read again."""

    def test_an_authority_is_used_again(self, tmp_path: Path) -> None:
        """With its chain, its constraints and an encrypted key."""
        root = Authority.create("Plant CA", permitted=["example.com"])
        root.intermediate("issuing").write(cert=tmp_path / "ca.pem", key=tmp_path / "ca.key", passphrase="a secret")
        again = Authority.load(cert=tmp_path / "ca.pem", key=tmp_path / "ca.key", passphrase="a secret")
        openssl_verify(root, again.server("example.com"), tmp_path)
        assert again.root_pem == root.cert_pem
        listed = Authority.load(cert=[again.certificate, tmp_path / "ca.pem"], key=again.key)
        assert listed.root_pem == root.cert_pem
        with pytest.raises(tlsio.UsageValueError, match="outside the name constraints"):
            again.server("example.org")

    def test_an_authority_of_openssl_is_used(self, tmp_path: Path) -> None:
        """Made by the commands of the documentation."""
        cert, key = str(tmp_path / "plant-ca.pem"), str(tmp_path / "plant-ca.key")
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=Plant"]
        usage = ["-addext", "keyUsage=critical,keyCertSign,cRLSign"]
        run(*command, "-days", "30", "-keyout", key, "-out", cert, *usage)
        authority = Authority.load(cert=tmp_path / "plant-ca.pem", key=tmp_path / "plant-ca.key")
        openssl_verify(authority, authority.server("localhost"), tmp_path)

    def test_files_that_do_not_belong_together_are_refused(self) -> None:
        """With Node's code."""
        one, other = Authority.create(), Authority.create()
        with pytest.raises(tlsio.ConfigError) as caught:
            Authority.load(cert=one.certificate, key=other.key)
        assert caught.value.code == "ERR_OSSL_X509_KEY_VALUES_MISMATCH"

    def test_a_leaf_is_no_authority(self) -> None:
        """What it signed would be refused everywhere."""
        leaf = self_signed("localhost")
        with pytest.raises(tlsio.ConfigError, match='"localhost" is not that of an authority'):
            Authority.load(cert=leaf.cert_pem, key=leaf.key_pem)

    @pytest.mark.parametrize("content", [b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
    def test_what_is_no_certificate_is_refused(self, content: bytes, tmp_path: Path) -> None:
        """With the file's name."""
        (tmp_path / "ca.pem").write_bytes(content)
        with pytest.raises(tlsio.ConfigError, match=r"ca\.pem") as caught:
            Authority.load(cert=tmp_path / "ca.pem", key=generate_key())
        assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"

    def test_a_leaf_is_what_a_server_reads(self, tmp_path: Path) -> None:
        """The chain in one file, the key in the other."""
        leaf = Authority.create().intermediate("issuing").server("localhost")
        leaf.write(cert=tmp_path / "server.pem", key=tmp_path / "server.key", passphrase="a secret")
        assert tlsio.create_secure_context(cert=tmp_path / "server.pem", key=tmp_path / "server.key", passphrase="a secret")
        assert tlsio.create_secure_context(cert=leaf.chain_pem, key=leaf.key_pem)


class TestSelfSigned:
    """One call."""

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if "RSA" not in kind])
    def test_it_is_trusted_by_itself(self, kind: str, tmp_path: Path) -> None:
        """By OpenSSL and by Python, strictly."""
        leaf = self_signed(["localhost", "127.0.0.1"], kind=kind)
        (tmp_path / "leaf.pem").write_bytes(leaf.cert_pem)
        file = str(tmp_path / "leaf.pem")
        run("openssl", "verify", "-x509_strict", "-verify_hostname", "localhost", "-CAfile", file, file)
        assert shake_hands(leaf, leaf.cert_pem, "localhost", leaf, tmp_path)["subject"] == ((("commonName", "localhost"),),)

    def test_a_long_name_is_no_common_name(self) -> None:
        """X.509 allows 64 characters there, and an issuer must have a name."""
        name = f"{'a' * 60}.example.com"
        assert self_signed(name).certificate.subject.rfc4514_string() == "CN=self-signed"

    def test_a_weak_key_is_not_certified(self) -> None:
        """Peers would refuse it."""
        with pytest.raises(tlsio.UsageValueError, match="secp256k1"):
            self_signed("localhost", key=ec.generate_private_key(ec.SECP256K1()))

    def test_it_needs_a_name(self) -> None:
        """Nobody could connect to it."""
        with pytest.raises(tlsio.UsageValueError, match="names is empty"):
            self_signed([])
        with pytest.raises(tlsio.UsageValueError, match="names is empty"):
            Authority.create().server()


async def test_a_connection_over_what_was_made() -> None:
    """Ours on both sides, without a file."""
    authority = Authority.create()
    server, client = authority.server("localhost"), authority.client("Ada")
    here, there = socket.socketpair()
    ca = authority.cert_pem
    serving = tlsio.TLSSocket(there, is_server=True, cert=server.chain_pem, key=server.key, ca=ca, request_cert=True)
    connecting = tlsio.TLSSocket(here, servername="localhost", cert=client.certificate, key=client.key, ca=ca)
    await asyncio.gather(serving.handshake(), connecting.handshake())
    peer = serving.get_peer_certificate()
    assert peer
    assert peer["subject"] == {"CN": "Ada"}
    serving.destroy()
    connecting.destroy()
