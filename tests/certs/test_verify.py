"""`certs.verify`: chains as x509-limbo has them, each under both policies, with `openssl verify` and `cryptography` as second opinions."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import subprocess
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

import pki
from tlsio import CertificateError, ConfigError, UsageTypeError, UsageValueError, certs, openssl_version
from tlsio.model.constants import defaults
from tlsio.native._core import security_level

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

SERVER, CLIENT, ANY = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE
AT = dt.datetime(2026, 6, 1, 12, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOST = "www.example.com"

Extensions = dict[type[x509.ExtensionType], tuple[x509.ExtensionType, bool] | None]


@dataclass(frozen=True)
class Link:
    """A certificate with its key."""

    key: Any
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(pki.PEM)


def usage(*, sign: bool) -> x509.KeyUsage:
    """Return what a CA may, or a leaf."""
    return x509.KeyUsage(
        digital_signature=not sign, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def make(  # noqa: PLR0913 - each is one thing that a certificate says, all by keyword
    subject: str | None,
    issuer: Link | None,
    *,
    ca: bool = False,
    path_length: int | None = None,
    key: Any = None,
    changes: Extensions | None = None,
    not_before: dt.datetime = AT - 30 * DAY,
    not_after: dt.datetime = AT + 30 * DAY,
    algorithm: hashes.HashAlgorithm | None = None,
) -> Link:
    """Make a certificate that follows RFC 5280, except for the changes: an extension to set, or None to leave it out."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    signer = issuer or Link(key, None)  # type: ignore[arg-type]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)] if subject else [])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(issuer.certificate.subject if issuer else name)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(not_before).not_valid_after(not_after)
    extensions: Extensions = {
        x509.BasicConstraints: (x509.BasicConstraints(ca=ca, path_length=path_length), True),
        x509.KeyUsage: (usage(sign=ca), True),
        x509.SubjectKeyIdentifier: (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    }
    if issuer:
        extensions[x509.AuthorityKeyIdentifier] = (x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False)
    if not ca:
        extensions[x509.SubjectAlternativeName] = (x509.SubjectAlternativeName([x509.DNSName(HOST)]), not subject)
        extensions[x509.ExtendedKeyUsage] = (x509.ExtendedKeyUsage([SERVER]), False)
    for value in (extensions | (changes or {})).values():
        if value is not None:
            builder = builder.add_extension(value[0], critical=value[1])
    chosen = None if isinstance(signer.key, ed25519.Ed25519PrivateKey) else algorithm or hashes.SHA256()
    return Link(key, builder.sign(signer.key, chosen))


@cache
def root() -> Link:
    """The usual root."""
    return make("root", None, ca=True, not_after=AT + 3650 * DAY)


@cache
def middle() -> Link:
    """The usual intermediate."""
    return make("intermediate", root(), ca=True)


def constrain(permitted: Sequence[x509.GeneralName] | None = None, excluded: Sequence[x509.GeneralName] | None = None) -> Extensions:
    """Return name constraints as a change."""
    return {x509.NameConstraints: (x509.NameConstraints(permitted, excluded), True)}


def under(changed: Link, **more: Any) -> tuple[Link, ...]:
    """Return a leaf below an intermediate, the intermediate, and the root."""
    return (make("leaf", changed, **more), changed, root())


def leaf(**more: Any) -> tuple[Link, ...]:
    """Return a leaf below the usual intermediate."""
    return under(middle(), **more)


def names(*given: x509.GeneralName) -> Extensions:
    """Return a subjectAltName as a change."""
    return {x509.SubjectAlternativeName: (x509.SubjectAlternativeName(given), False)}


def eku(*given: x509.ObjectIdentifier) -> Extensions:
    """Return an extendedKeyUsage as a change."""
    return {x509.ExtendedKeyUsage: (x509.ExtendedKeyUsage(given), False)}


def deep(count: int) -> tuple[Link, ...]:
    """Return a chain with this number of intermediates."""
    chain = [root()]
    for index in range(count):
        chain.insert(0, make(f"intermediate {index}", chain[0], ca=True))
    return (make("leaf", chain[0]), *chain)


def tampered() -> tuple[Link, ...]:
    """Return a chain whose leaf was changed after it was signed."""
    good = make("leaf", middle())
    der = good.certificate.public_bytes(pki.DER)
    changed = x509.load_der_x509_certificate(der.replace(b"www.example.com", b"www.example.net"))
    return (Link(good.key, changed), middle(), root())


def short_path() -> tuple[Link, ...]:
    """Return a chain whose root allows no intermediate below it."""
    above = make("short root", None, ca=True, path_length=0)
    between = make("one too many", above, ca=True)
    return (make("leaf", between), between, above)


def expired_root() -> tuple[Link, ...]:
    """Return a chain whose root has expired."""
    old = make("old root", None, ca=True, not_after=AT - DAY)
    return (make("leaf", old), old)


def other_key() -> tuple[Link, ...]:
    """Return a chain whose leaf names another key as its issuer's."""
    wrong = x509.AuthorityKeyIdentifier.from_issuer_public_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    return leaf(changes={x509.AuthorityKeyIdentifier: (wrong, False)})


def with_identifier(kind: type[x509.ExtensionType], *, critical: bool) -> tuple[Link, ...]:
    """Return a chain whose leaf has a key identifier with another criticality."""
    key = ec.generate_private_key(ec.SECP256R1())
    value: x509.ExtensionType = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    if kind is x509.AuthorityKeyIdentifier:
        value = x509.AuthorityKeyIdentifier.from_issuer_public_key(middle().key.public_key())
    return leaf(key=key, changes={kind: (value, critical)})


BOTH, LENIENT, NEITHER = frozenset({"openssl", "strict"}), frozenset({"openssl"}), frozenset[str]()
UNKNOWN = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00")


@dataclass(frozen=True)
class Case:
    """A chain, leaf first and root last, and which policies accept it."""

    make: Callable[[], tuple[Link, ...]]
    accepted_by: frozenset[str]
    usage: str = "server"
    at: dt.datetime = AT
    trusted: Callable[[tuple[Link, ...]], list[Link]] = field(default=lambda chain: [chain[-1]])
    sent: slice = field(default_factory=lambda: slice(0, -1))


def intermediate(**more: Any) -> Callable[[], tuple[Link, ...]]:
    """Return a chain with an intermediate of that kind."""
    return lambda: under(make("intermediate", root(), **{"ca": True} | more))


def critical(extension: x509.ExtensionType, *, is_critical: bool = True) -> Extensions:
    """Return an extension as a change."""
    return {type(extension): (extension, is_critical)}


CASES = {
    "leaf below the root": Case(lambda: (make("leaf", root()), root()), BOTH),
    "one intermediate": Case(leaf, BOTH),
    "three intermediates": Case(lambda: deep(3), BOTH),
    "nine intermediates": Case(lambda: deep(9), LENIENT),
    "RSA 2048": Case(lambda: leaf(key=rsa.generate_private_key(65537, 2048)), BOTH),
    "RSA 1024": Case(lambda: leaf(key=rsa.generate_private_key(65537, 1024)), NEITHER),  # noqa: S505
    "P-384": Case(lambda: leaf(key=ec.generate_private_key(ec.SECP384R1())), BOTH),
    "Ed25519": Case(lambda: leaf(key=ed25519.Ed25519PrivateKey.generate()), BOTH),
    "intermediate with RSA 1024": Case(intermediate(key=rsa.generate_private_key(65537, 1024)), NEITHER),  # noqa: S505
    "SHA-512": Case(lambda: leaf(algorithm=hashes.SHA512()), BOTH),
    "changed after it was signed": Case(tampered, NEITHER),
    # --- basicConstraints ---
    "intermediate without basicConstraints": Case(intermediate(changes={x509.BasicConstraints: None}), NEITHER),
    "intermediate is not a CA": Case(intermediate(ca=False), NEITHER),
    "basicConstraints not critical": Case(
        intermediate(changes=critical(x509.BasicConstraints(ca=True, path_length=None), is_critical=False)), LENIENT
    ),
    "path length is kept": Case(intermediate(path_length=0), BOTH),
    "path length is exceeded": Case(short_path, NEITHER),
    "leaf is a CA": Case(lambda: leaf(changes=critical(x509.BasicConstraints(ca=True, path_length=None))), LENIENT),
    "leaf without basicConstraints": Case(lambda: leaf(changes={x509.BasicConstraints: None}), BOTH),
    # --- keyUsage ---
    "intermediate must not sign": Case(intermediate(changes=critical(usage(sign=False))), NEITHER),
    "intermediate without keyUsage": Case(intermediate(changes={x509.KeyUsage: None}), LENIENT),
    "leaf may sign certificates": Case(lambda: leaf(changes=critical(usage(sign=True))), NEITHER),
    "leaf without keyUsage": Case(lambda: leaf(changes={x509.KeyUsage: None}), BOTH),
    # --- extendedKeyUsage ---
    "leaf for clients": Case(lambda: leaf(changes=eku(CLIENT)), NEITHER),
    "leaf for both": Case(lambda: leaf(changes=eku(SERVER, CLIENT)), BOTH),
    "leaf without extendedKeyUsage": Case(lambda: leaf(changes={x509.ExtendedKeyUsage: None}), BOTH),
    "intermediate for clients": Case(intermediate(changes=eku(CLIENT)), NEITHER),
    "intermediate for servers": Case(intermediate(changes=eku(SERVER)), BOTH),
    "client": Case(lambda: leaf(changes=eku(CLIENT)), BOTH, "client"),
    "server's as a client": Case(leaf, NEITHER, "client"),
    # --- name constraints ---
    "permitted name": Case(intermediate(changes=constrain([x509.DNSName("example.com")])), BOTH),
    "name outside of the permitted ones": Case(intermediate(changes=constrain([x509.DNSName("example.org")])), NEITHER),
    "excluded name": Case(intermediate(changes=constrain(None, [x509.DNSName("example.com")])), NEITHER),
    "other name excluded": Case(intermediate(changes=constrain(None, [x509.DNSName("example.org")])), BOTH),
    "address outside of the permitted ones": Case(
        lambda: under(
            make("intermediate", root(), ca=True, changes=constrain([x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))])),
            changes=names(x509.IPAddress(ipaddress.ip_address("192.0.2.1"))),
        ),
        NEITHER,
    ),
    "permitted address": Case(
        lambda: under(
            make("intermediate", root(), ca=True, changes=constrain([x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))])),
            changes=names(x509.IPAddress(ipaddress.ip_address("10.1.2.3"))),
        ),
        BOTH,
    ),
    "URI outside of the permitted ones": Case(
        lambda: under(
            make("intermediate", root(), ca=True, changes=constrain([x509.UniformResourceIdentifier("example.org")])),
            changes=names(x509.DNSName(HOST), x509.UniformResourceIdentifier("spiffe://example.com/a")),
        ),
        NEITHER,
    ),
    # --- validity ---
    "expired leaf": Case(lambda: leaf(not_after=AT - DAY), NEITHER),
    "expired intermediate": Case(intermediate(not_after=AT - DAY), NEITHER),
    "leaf of the future": Case(lambda: leaf(not_before=AT + DAY), NEITHER),
    "last second": Case(lambda: leaf(not_after=AT + dt.timedelta(seconds=1)), BOTH),
    # RFC 5280 includes it, OpenSSL only since 4.0.
    "the very end": Case(lambda: leaf(not_after=AT), NEITHER if openssl_version < "OpenSSL 4" else BOTH),
    "a second later": Case(lambda: leaf(not_after=AT), NEITHER, at=AT + dt.timedelta(seconds=1)),
    "first second": Case(lambda: leaf(not_before=AT), BOTH),
    "a second earlier": Case(lambda: leaf(not_before=AT), NEITHER, at=AT - dt.timedelta(seconds=1)),
    # --- identifiers ---
    "leaf without AKI": Case(lambda: leaf(changes={x509.AuthorityKeyIdentifier: None}), LENIENT),
    "leaf without SKI": Case(lambda: leaf(changes={x509.SubjectKeyIdentifier: None}), BOTH),
    "intermediate without SKI": Case(intermediate(changes={x509.SubjectKeyIdentifier: None}), LENIENT),
    "intermediate without AKI": Case(intermediate(changes={x509.AuthorityKeyIdentifier: None}), LENIENT),
    "AKI of another key": Case(other_key, NEITHER),
    "critical AKI": Case(lambda: with_identifier(x509.AuthorityKeyIdentifier, critical=True), NEITHER),
    "critical SKI": Case(lambda: with_identifier(x509.SubjectKeyIdentifier, critical=True), NEITHER),
    # --- names ---
    "empty subject": Case(lambda: (make(None, middle()), middle(), root()), BOTH),
    "empty subject, names not critical": Case(lambda: (make(None, middle(), changes=names(x509.DNSName(HOST))), middle(), root()), LENIENT),
    "no names": Case(lambda: leaf(changes={x509.SubjectAlternativeName: None}), LENIENT),
    # --- other extensions ---
    "unknown critical extension": Case(lambda: leaf(changes=critical(UNKNOWN)), NEITHER),
    "unknown extension": Case(lambda: leaf(changes=critical(UNKNOWN, is_critical=False)), BOTH),
    # --- anchors ---
    "missing intermediate": Case(leaf, NEITHER, sent=slice(0, 1)),
    "root sent too": Case(leaf, BOTH, sent=slice(0, None)),
    "wrong order": Case(lambda: deep(3), BOTH, sent=slice(None)),
    "another root": Case(leaf, NEITHER, trusted=lambda _: [make("root", None, ca=True)]),
    "no root": Case(leaf, NEITHER, trusted=lambda _: []),
    "expired root": Case(expired_root, NEITHER),
    "self-signed": Case(lambda: (make("leaf", None),), NEITHER, trusted=lambda _: [root()], sent=slice(None)),
}
_CHAINS: dict[str, tuple[Link, ...]] = {}


def chain_of(name: str) -> tuple[Link, ...]:
    """Return the chain of a case, made once."""
    if name not in _CHAINS:
        _CHAINS[name] = CASES[name].make()
    return _CHAINS[name]


def pems(links: Sequence[Link]) -> bytes:
    """Return certificates in one file."""
    return b"".join(link.pem for link in links)


@cache
def is_command_of_library() -> bool:
    """Whether the `openssl` command is of the same major version as the library."""
    said = subprocess.run(["openssl", "version"], capture_output=True, text=True, check=True).stdout
    return said.split()[1].partition(".")[0] == openssl_version.split()[1].partition(".")[0]


def can_compare(name: str) -> bool:
    """Whether the command must agree about a case: not if its version judges it otherwise."""
    return name != "the very end" or is_command_of_library()


def ask_openssl(case: Case, chain: tuple[Link, ...], folder: Path, *, strict: bool) -> bool:
    """Return whether `openssl verify` accepts a chain, at the security level of our connections."""
    trusted = case.trusted(chain)
    for name, links in (("ca.pem", trusted), ("sent.pem", chain[case.sent][1:]), ("leaf.pem", chain[:1])):
        (folder / name).write_bytes(pems(links))
    command = ["openssl", "verify", "-no-CAfile", "-no-CApath", "-no-CAstore", "-purpose", f"ssl{case.usage}"]
    command += ["-attime", str(int(case.at.timestamp())), "-auth_level", str(security_level(defaults.ciphers))]
    command += ["-CAfile", str(folder / "ca.pem")] if trusted else []
    command += ["-untrusted", str(folder / "sent.pem")] if chain[case.sent][1:] else []
    command += ["-x509_strict"] if strict else []
    return subprocess.run([*command, str(folder / "leaf.pem")], capture_output=True, check=False).returncode == 0


def ask_cryptography(case: Case, chain: tuple[Link, ...]) -> bool:
    """Return whether `cryptography` accepts a chain, given everything that was sent and is trusted."""
    trusted = [link.certificate for link in case.trusted(chain)]
    if not trusted:
        return False
    builder = PolicyBuilder().store(Store(trusted)).time(case.at)
    others = [link.certificate for link in chain[case.sent][1:]]
    try:
        if case.usage == "client":
            builder.build_client_verifier().verify(chain[0].certificate, others)
        else:
            builder.build_server_verifier(host_of(chain[0].certificate)).verify(chain[0].certificate, others)
    except (VerificationError, ValueError):
        return False
    return True


def host_of(certificate: x509.Certificate) -> x509.DNSName | x509.IPAddress:
    """Return a host that the certificate is for."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.DNSName(HOST)
    addresses = found.get_values_for_type(x509.IPAddress)
    return x509.IPAddress(addresses[0]) if addresses else x509.DNSName(HOST)


def judged(of: str, policy: str, **more: Any) -> certs.ChainVerdict:
    """Return our verdict on the chain of a case."""
    case, chain = CASES[of], chain_of(of)
    trusted = [link.certificate for link in case.trusted(chain)]
    return certs.verify(pems(chain[case.sent]), ca=trusted, at=case.at, policy=policy, usage=case.usage, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", CASES)
class TestCases:
    """Each chain under each policy."""

    def test_openssl(self, name: str, tmp_path: Path) -> None:
        """What connections do by default is what `openssl verify` says."""
        verdict = judged(name, "openssl")
        assert verdict.accepted == ("openssl" in CASES[name].accepted_by), verdict.lines()
        if can_compare(name):
            assert ask_openssl(CASES[name], chain_of(name), tmp_path, strict=False) == ("openssl" in CASES[name].accepted_by)

    def test_strict(self, name: str, tmp_path: Path) -> None:
        """Strict is what both OpenSSL's strict flag and `cryptography` accept."""
        verdict = judged(name, "strict")
        assert verdict.accepted == ("strict" in CASES[name].accepted_by), verdict.lines()
        if can_compare(name):
            both = ask_openssl(CASES[name], chain_of(name), tmp_path, strict=True) and ask_cryptography(CASES[name], chain_of(name))
            assert both == ("strict" in CASES[name].accepted_by)

    def test_verdicts_have_causes(self, name: str) -> None:
        """A refusal has at least one, an acceptance none; both can be printed."""
        for policy in ("openssl", "strict"):
            verdict = judged(name, policy)
            assert bool(verdict) == (not verdict.causes) == (verdict.error is None)
            assert json.loads(json.dumps(verdict.as_json()))["accepted"] is verdict.accepted
            assert verdict.lines()[0] == ("accepted" if verdict else "refused")


def codes(verdict: certs.ChainVerdict) -> list[str]:
    """Return the codes of all causes."""
    return [cause.code for cause in verdict.causes]


class TestCauses:
    """Every cause is told, each for itself."""

    def test_several_causes(self) -> None:
        """Expired, for another name, and with a wrong pin."""
        made = leaf(not_after=AT - DAY)
        verdict = certs.verify(pems(made[:2]), "other.example", ca=made[2].pem, at=AT, pins=[b"x" * 32])
        assert codes(verdict) == ["CERT_HAS_EXPIRED", "ERR_TLS_CERT_ALTNAME_INVALID", "ERR_TLS_PIN_MISMATCH"]
        assert verdict.causes[0].depth == 0
        assert isinstance(verdict.error, CertificateError)
        assert verdict.error.reasons == tuple(codes(verdict))

    def test_strict_causes_have_openssls_names(self) -> None:
        """Node has no codes for them."""
        assert "MISSING_SUBJECT_KEY_IDENTIFIER" in codes(judged("intermediate without SKI", "strict"))
        assert "MISSING_AUTHORITY_KEY_IDENTIFIER" in codes(judged("leaf without AKI", "strict"))

    def test_the_profile_is_judged_beside_an_expiry(self) -> None:
        """`cryptography` reports its first fault only, which would be the expiry."""
        made = leaf(not_after=AT - DAY, changes={x509.SubjectAlternativeName: None})
        verdict = certs.verify(pems(made[:2]), ca=made[2].pem, at=AT, policy="strict")
        assert codes(verdict) == ["CERT_HAS_EXPIRED", "ERR_TLS_CERTIFICATE_PROFILE"]
        assert "subjectAltName" in verdict.causes[1].text
        assert '"CN=leaf"' in verdict.causes[1].text

    def test_a_chain_without_a_common_instant_is_told_as_expired(self) -> None:
        """There is none at which `cryptography` could judge the rest."""
        between = make("intermediate", root(), ca=True, not_after=AT - DAY)
        made = under(between, not_before=AT - dt.timedelta(hours=1))
        assert codes(certs.verify(pems(made[:2]), ca=made[2].pem, at=AT, policy="strict")) == ["CERT_HAS_EXPIRED"]

    def test_the_hint_does_not_doubt_the_clock_for_a_given_instant(self) -> None:
        """It was asked for."""
        made = leaf()
        verdict = certs.verify(pems(made[:2]), ca=made[2].pem, at=AT + 4000 * DAY)
        assert not any("clock" in cause.text + cause.hint for cause in verdict.causes)
        assert "the time of the verification is" in verdict.causes[0].text

    @pytest.mark.parametrize(
        "at", [dt.datetime(1, 1, 1, tzinfo=dt.timezone(23 * DAY / 24)), dt.datetime(9999, 12, 31, 23, tzinfo=dt.timezone(-23 * DAY / 24))]
    )
    def test_an_instant_outside_of_the_years_is_refused(self, at: dt.datetime) -> None:
        """Its time zone moves it there, so it cannot be printed in UTC."""
        pem = leaf()[0].pem
        for judge in (certs.verify, certs.inspect):
            with pytest.raises(UsageValueError, match="from year 1 to 9999 in UTC") as caught:
                judge(pem, at=at)
            assert caught.value.code == "ERR_OUT_OF_RANGE"
            assert judge(pem, at=at.replace(tzinfo=dt.UTC)) is not None

    def test_the_tree_shows_causes_where_they_are(self) -> None:
        """Below the certificate that is at fault."""
        verdict = judged("intermediate without SKI", "strict")
        lines = verdict.lines()
        at = next(index for index, line in enumerate(lines) if "CN=intermediate" in line)
        assert "MISSING_SUBJECT_KEY_IDENTIFIER" in lines[at + 1]


class TestNames:
    """Hosts and URIs."""

    @pytest.mark.parametrize(
        ("name", "accepted"),
        [(HOST, True), ("WWW.example.com.", True), ("example.com", False), ("127.0.0.1", False), (None, True)],
    )
    @pytest.mark.parametrize("policy", ["openssl", "strict"])
    def test_host(self, name: str | None, policy: str, accepted: bool) -> None:  # noqa: FBT001
        """Without a name only the chain counts."""
        assert judged("one intermediate", policy, name=name).accepted == accepted

    @pytest.mark.parametrize("policy", ["openssl", "strict"])
    @pytest.mark.parametrize(("pattern", "accepted"), [("*.example.com", True), ("w*.example.com", False)])
    def test_wildcards(self, pattern: str, policy: str, accepted: bool) -> None:  # noqa: FBT001
        """A partial one is accepted by Node's rules, and not by `cryptography`."""
        made = leaf(changes=names(x509.DNSName(pattern)))
        verdict = certs.verify(pems(made[:2]), HOST, ca=made[2].pem, at=AT, policy=policy)  # type: ignore[arg-type]
        assert verdict.accepted == (accepted or policy == "openssl")

    def test_rfc9525(self) -> None:
        """The stricter comparison of names."""
        made = leaf(changes={x509.SubjectAlternativeName: None})
        options: dict[str, Any] = {"ca": made[2].pem, "at": AT}
        assert certs.verify(pems(made[:2]), "leaf", **options)
        assert not certs.verify(pems(made[:2]), "leaf", identity_policy="rfc9525", **options)

    @pytest.mark.parametrize("policy", ["openssl", "strict"])
    def test_identity_beside_the_host(self, policy: Any) -> None:
        """Both must be there if both are given; a certificate may have only a URI."""
        uri = "spiffe://example.org/web"
        both = leaf(changes=names(x509.DNSName(HOST), x509.UniformResourceIdentifier(uri)))
        alone = leaf(changes=names(x509.UniformResourceIdentifier(uri)))
        options: dict[str, Any] = {"ca": root().pem, "at": AT, "policy": policy}
        assert certs.verify(pems(both[:2]), HOST, identity=uri, **options)
        assert certs.verify(pems(alone[:2]), identity=uri, **options)
        assert codes(certs.verify(pems(both[:2]), "x.test", identity=uri + "x", **options)) == ["ERR_TLS_CERT_ALTNAME_INVALID"] * 2
        assert not certs.verify(pems(alone[:2]), HOST, identity=uri, **options)

    def test_identity_of_a_client(self) -> None:
        """A server checks the same."""
        uri = "spiffe://example.org/web"
        made = leaf(changes=names(x509.UniformResourceIdentifier(uri)) | eku(CLIENT))
        options: dict[str, Any] = {"ca": root().pem, "at": AT, "usage": "client", "policy": "strict"}
        assert certs.verify(pems(made[:2]), identity=uri, **options)
        assert not certs.verify(pems(made[:2]), identity="spiffe://example.org/db", **options)

    @pytest.mark.parametrize("policy", ["openssl", "strict"])
    @pytest.mark.parametrize("identity_policy", ["node", "rfc9525"])
    def test_name_of_a_client(self, policy: Any, identity_policy: Any) -> None:
        """It is compared, although a server expects none."""
        made = leaf(changes=eku(CLIENT))
        options: dict[str, Any] = {"ca": root().pem, "at": AT, "usage": "client", "policy": policy, "identity_policy": identity_policy}
        assert certs.verify(pems(made[:2]), HOST, **options)
        assert certs.verify(pems(made[:2]), **options | {"identity_policy": "node"})
        verdict = certs.verify(pems(made[:2]), "wrong.example.com", **options)
        assert [cause.code for cause in verdict.causes] == ["ERR_TLS_CERT_ALTNAME_INVALID"]


class TestArguments:
    """What is given, and in which form."""

    def test_a_bundle(self) -> None:
        """What `read` returned."""
        made = leaf()
        bundle = certs.read(*(link.pem for link in made))
        assert certs.verify(bundle, HOST, ca=made[2].pem, at=AT)

    def test_files(self, tmp_path: Path) -> None:
        """A key among them is skipped."""
        (tmp_path / "server.pem").write_bytes(pki.localhost().key_pem + pki.localhost().cert_pem)
        (tmp_path / "ca.pem").write_bytes(pki.ca1().cert_pem)
        assert certs.verify(tmp_path / "server.pem", "localhost", ca=tmp_path / "ca.pem")

    def test_pfx_and_pkcs7(self) -> None:
        """With everything that is in them."""
        bundle = certs.read(pki.chained().chain_pem, pki.chained().key_pem)
        assert certs.verify(bundle.to_pfx("x"), "localhost", ca=pki.ca1().cert_pem, passphrase="x")
        assert certs.verify(bundle.to_pkcs7(), "localhost", ca=pki.ca1().cert_pem)

    def test_crl(self) -> None:
        """A revoked certificate is refused."""
        options: dict[str, Any] = {"ca": pki.ca1().cert_pem, "crl": pki.ca1_crl()}
        assert certs.verify(pki.localhost().cert_pem, "localhost", **options)
        assert codes(certs.verify(pki.revoked().cert_pem, "localhost", **options)) == ["CERT_REVOKED"]

    def test_partial_chain(self) -> None:
        """An intermediate may be the anchor, if that is asked for."""
        made = leaf()
        assert codes(certs.verify(made[0].pem, ca=made[1].pem, at=AT)) == ["UNABLE_TO_GET_ISSUER_CERT"]
        for policy in ("openssl", "strict"):
            assert certs.verify(made[0].pem, ca=made[1].pem, at=AT, allow_partial_trust_chain=True, policy=policy)  # type: ignore[arg-type]

    def test_extra_ca_and_default_roots(self) -> None:
        """Without `ca` the default roots are trusted."""
        assert not certs.verify(pki.localhost().cert_pem, "localhost")
        assert certs.verify(pki.localhost().cert_pem, "localhost", extra_ca=pki.ca1().cert_pem)

    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"policy": "lax"}, UsageValueError),
            ({"usage": "any"}, UsageValueError),
            ({"at": dt.datetime(2026, 1, 1)}, UsageTypeError),  # noqa: DTZ001
            ({"identity": "localhost"}, UsageValueError),
            ({"name": ""}, UsageValueError),
            ({"identity_policy": "any"}, UsageValueError),
            ({"identity_policy": "rfc9525"}, UsageTypeError),
            ({"identity_policy": "rfc9525", "identity": "spiffe://example.org/web"}, UsageTypeError),
            ({"pins": ["x"]}, UsageValueError),
        ],
    )
    def test_wrong_arguments_raise(self, options: dict[str, Any], error: type[Exception]) -> None:
        """They are no verdict."""
        with pytest.raises(error):
            certs.verify(pki.localhost().cert_pem, **options)

    def test_no_certificate(self) -> None:
        """A key alone."""
        with pytest.raises(ConfigError) as caught:
            certs.verify(pki.localhost().key_pem)
        assert caught.value.code == "ERR_TLS_NO_CERTIFICATE"


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [("chain_policy", "Meant: policy=."), ("servername", "Meant: name=."), ("pin", "Meant: pins=."), ("zzz", "There are name=, ca=, ")],
)
def test_other_names_are_answered_with_the_one_that_is_meant(wrong: str, expected: str) -> None:
    """Connections call some arguments otherwise."""
    with pytest.raises(UsageTypeError, match=f"verify has no argument '{wrong}'") as caught:
        certs.verify(pki.localhost().cert_pem, **{wrong: "strict"})  # type: ignore[arg-type]
    assert caught.value.code == "ERR_TLS_UNKNOWN_OPTION"
    assert (caught.value.hint or "").startswith(expected)


def test_a_name_only_in_the_subject_is_a_warning() -> None:
    """It is accepted, as by a connection; "rfc9525" refuses it, and without a name there is nothing to warn of."""
    who, roots = pki.leaf("host.test", issuer=pki.ca1()).cert_pem, pki.ca1().cert_pem
    seen = certs.verify(who, "host.test", ca=roots)
    assert seen.accepted
    assert seen.lines()[-1].startswith('warning: "host.test" is only in the subject of the certificate (CN)')
    assert seen.as_json()["warning"] == seen.warning
    assert certs.verify(who, ca=roots).warning is None
    assert certs.verify(who, "host.test", ca=roots, identity_policy="rfc9525").warning is None
    assert certs.verify(pki.leaf("host.test", names=["host.test"], issuer=pki.ca1()).cert_pem, "host.test", ca=roots).warning is None
