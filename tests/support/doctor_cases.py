"""More than sixty misconfigurations, each built as a server, a client or files, with the findings that the doctor may give."""

from __future__ import annotations

import datetime as dt
import tempfile
from dataclasses import dataclass
from email.utils import format_datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

import pki
import tlsio
from faulty_servers import (
    CLIENTS,
    LIFE,
    SERVERS,
    alert,
    good,
    good_rsa,
    intolerant,
    leaf,
    nothing,
    obeying,
    openssl,
    ours,
    pem,
    script,
    server_hello,
    small_key,
    unequal,
    with_sha1,
)
from responder import with_responder
from responses import REVOKED, UNKNOWN, enclose, respond

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

DAY, NOW, HOUR = pki.DAY, pki.NOW, dt.timedelta(hours=1)
LOW = "DEFAULT:@SECLEVEL=0"
# OpenSSL 4.0 supports no curve of 192 bits: the handshake fails before there is a certificate to look at.
WEAK_CURVE = "weak-ec" if tlsio.openssl_version < "OpenSSL 4" else "handshake-failed"


# ---- certificates ----


@cache
def deeper() -> pki.Identity:
    """An intermediate under ca3."""
    return pki.authority("deeper", issuer=pki.ca3())


@cache
def deep() -> pki.Identity:
    """For localhost, under two intermediates."""
    return leaf(issuer=deeper())


def authority(name: str, *extensions: x509.ExtensionType, issuer: pki.Identity | None = None, **fields: Any) -> pki.Identity:
    """Make an authority with these extensions and dates."""
    given = [pki._key_usage(certificates=True), *extensions]
    if not any(isinstance(one, x509.BasicConstraints) for one in given):
        given.append(x509.BasicConstraints(ca=True, path_length=None))
    return pki.leaf(name, issuer=issuer, extensions=given, **fields)


@cache
def old_root() -> pki.Identity:
    """A root that expired yesterday."""
    return authority("old root", not_before=NOW - 400 * DAY, not_after=NOW - DAY)


@cache
def narrow_root() -> pki.Identity:
    """A root that may issue for example.test alone."""
    return authority("narrow root", x509.NameConstraints(permitted_subtrees=[x509.DNSName("example.test")], excluded_subtrees=None))


@cache
def short_root() -> pki.Identity:
    """A root that allows no intermediates."""
    return authority("short root", x509.BasicConstraints(ca=True, path_length=0))


@cache
def inspector() -> pki.Identity:
    """The root of a product that intercepts TLS."""
    return pki.authority("Zscaler Root CA")


def flipped() -> pki.Identity:
    """A certificate whose signature was damaged."""
    who = leaf()
    der = who.cert_der[:-1] + bytes((who.cert_der[-1] ^ 1,))
    return pki.Identity(who.key, x509.load_der_x509_certificate(der), who.intermediates)


def raw_name() -> pki.Identity:
    """A certificate whose name is written in UTF-8."""
    name = pki._der(0x30, pki._der(0x82, "bücher.example".encode()))
    return leaf(names=[], extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), name)])


def address_as_name() -> pki.Identity:
    """A certificate with an address as DNS name."""
    name = pki._der(0x30, pki._der(0x82, b"127.0.0.1"))
    return leaf(names=[], extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), name)])


def unknown_extension() -> pki.Identity:
    """A certificate with a critical extension that nobody knows."""
    return rebuilt(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x05\x00"))


def rebuilt(*odd: x509.ExtensionType, without: type | None = None, name: x509.Name | None = None) -> pki.Identity:
    """Make a good certificate anew, with critical extensions besides or without one of its own."""
    who = leaf()
    builder = x509.CertificateBuilder().subject_name(who.certificate.subject if name is None else name).issuer_name(who.certificate.issuer)
    builder = builder.public_key(who.key.public_key()).serial_number(7).not_valid_before(NOW - DAY).not_valid_after(NOW + LIFE)
    for one in who.certificate.extensions:
        if without is None or not isinstance(one.value, without):
            builder = builder.add_extension(one.value, critical=one.critical)
    for extra in odd:
        builder = builder.add_extension(extra, critical=True)
    made = builder.sign(pki.ca3().key, pki.hashes.SHA256())
    return pki.Identity(who.key, made, who.intermediates)


def client(*, alone: bool = False, **fields: Any) -> dict[str, Any]:
    """Return the options of a client with a certificate."""
    who = pki.leaf("client", **{"issuer": pki.ca1(), "usages": [CLIENTS], "not_after": NOW + LIFE} | fields)
    return {"cert": who.cert_pem if alone else who.chain_pem, "key": who.key_pem}


def asking(**options: Any) -> Callable[[], AbstractAsyncContextManager[int]]:
    """Return a server that wants certificates of ca1."""
    return lambda: ours(request_cert=True, ca=pki.ca1().cert_pem, **options)


# ---- OCSP and lists ----


@cache
def stapling_leaf() -> pki.Identity:
    """For localhost by ca1, with the address of a responder."""
    return with_responder_of("http://ocsp.test/")


def with_responder_of(url: str, *, must_staple: bool = False) -> pki.Identity:
    """Make a certificate that names a responder."""
    made = with_responder(url, must_staple=must_staple).certificate.extensions
    extensions = [one.value for one in made if isinstance(one.value, x509.AuthorityInformationAccess | x509.TLSFeature)]
    return leaf(issuer=pki.ca1(), extensions=extensions)


def stapled(**fields: Any) -> Callable[[], AbstractAsyncContextManager[int]]:
    """Return a server that staples a response with these fields."""
    return lambda: ours(stapling_leaf(), ocsp_request=lambda *_: respond(stapling_leaf(), **fields))


@cache
def listed() -> pki.Identity:
    """For localhost by ca1, with the address of a list."""
    point = x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl.test/")], None, None, None)
    return leaf(issuer=pki.ca1(), extensions=[x509.CRLDistributionPoints([point])])


def fetching(answer: Callable[[], bytes]) -> Callable[[], dict[str, Any]]:
    """Return the options of a doctor who fetches this."""

    async def fetch(_url: str) -> bytes:
        return answer()

    return lambda: {"fetch": fetch}


def crl(**fields: Any) -> bytes:
    """Make a list of ca1's."""
    return pki.revocation_list(pki.ca1(), **{"revoked": [], "encoding": pki.DER, "next_update": NOW + DAY} | fields)


def unreachable() -> bytes:
    """Fail as a network does."""
    raise OSError(111, "Connection refused")


# ---- HTTP ----


def page(*headers: str, status: str = "200 OK", date: dt.datetime | None = None, hsts: str | None = "max-age=31536000") -> bytes:
    """Return the head of a page."""
    lines = [f"HTTP/1.1 {status}", f"Date: {format_datetime(date or dt.datetime.now(dt.UTC), usegmt=True)}", *headers]
    if hsts is not None:
        lines.append(f"Strict-Transport-Security: {hsts}")
    return "\r\n".join([*lines, "Content-Length: 0", "", ""]).encode()


def web(answer: Callable[[], bytes], who: Callable[[], pki.Identity] = good) -> Callable[[], AbstractAsyncContextManager[int]]:
    """Return a server of one page, which has the time of its start."""
    return lambda: ours(who(), page=answer())


HTTP: Callable[[], dict[str, Any]] = lambda: {"http": True}  # noqa: E731


def refuse_name(_name: str, _socket: object) -> None:
    """Know no name."""
    raise tlsio.HandshakeError(alert="unrecognized_name")


def weak_dh() -> AbstractAsyncContextManager[int]:
    """Serve with a Diffie-Hellman group of 1024 bits alone."""
    path = Path(tempfile.gettempdir(), "tlsio-tests-dh1024.pem")
    path.write_bytes(pki.dh_parameters(1024))
    return openssl("-tls1_2", "-dhparam", str(path), "-cipher", "DHE-RSA-AES128-GCM-SHA256:@SECLEVEL=0", who=good_rsa())


@dataclass(frozen=True)
class Case:
    """A fault.

    Attributes:
        server: Makes the server.
        findings: All that the doctor may say.
        host: What is asked for.
        options: Of `examine`.
    """

    server: Callable[[], AbstractAsyncContextManager[int]]
    findings: set[str]
    host: str = "localhost"
    options: Callable[[], dict[str, Any]] = dict


GREETINGS = {
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SMTP": b"220 mail.test ESMTP\r\n",
    "IMAP": b"* OK ready\r\n",
    "MySQL": b"\x4a\x00\x00\x00\x0a8.0.36\x00" + bytes(64),
    "Redis": b"-ERR unknown command\r\n",
}
EMS = b"\x00\x17\x00\x00"
RENEGOTIATION = b"\xff\x01\x00\x01\x00"

REACHING: dict[str, Case] = {
    "unknown name": Case(ours, {"name-not-found"}, host="nowhere.test"),
    "closed port": Case(nothing, {"port-closed"}),
    "no route": Case(ours, {"unreachable"}, host="192.0.2.1"),
    "silence": Case(lambda: script(lambda _: None, hold=True), {"silent"}, options=lambda: {"timeout": 0.1}),
    "reset": Case(lambda: script(lambda _: None, reset=True), {"reset-at-hello"}),
    "closed": Case(lambda: script(lambda _: None), {"closed-at-hello"}),
    "plain HTTP": Case(lambda: script(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n"), {"plain-http"}),
    "captive portal without TLS": Case(lambda: script(lambda _: b"HTTP/1.1 302 Found\r\n\r\n"), {"captive-portal"}),
    **{
        name: Case(lambda greeting=greeting: script(lambda _: None, greeting=greeting), {"other-protocol"})  # type: ignore[misc]
        for name, greeting in GREETINGS.items()
    },
    "noise": Case(lambda: script(lambda _: b"\x00\x01\x02\x03\xfe\xff"), {"not-tls"}),
    "silence before STARTTLS": Case(
        lambda: script(lambda _: None, hold=True), {"silent"}, options=lambda: {"starttls": "smtp", "timeout": 0.1}
    ),
    "STARTTLS not offered": Case(
        lambda: script(lambda _: b"250 mail\r\n", greeting=b"220 mail\r\n"), {"starttls-missing"}, options=lambda: {"starttls": "smtp"}
    ),
    "STARTTLS refused": Case(
        lambda: script(lambda _: b"a OK\r\n", greeting=b"* PREAUTH\r\n"), {"starttls-refused"}, options=lambda: {"starttls": "imap"}
    ),
    "TLS where STARTTLS is awaited": Case(ours, {"starttls-protocol"}, options=lambda: {"starttls": "postgres"}),
    "commands taken over into TLS": Case(obeying, {"starttls-command-injection"}, options=lambda: {"starttls": "smtp"}),
    "plaintext after the consent": Case(
        lambda: script(lambda _: b"SR\x00\x00\x00\x08"), {"starttls-injection"}, options=lambda: {"starttls": "postgres"}
    ),
}  # fmt: skip

HANDSHAKES: dict[str, Case] = {
    "fails always": Case(lambda: script(lambda _: alert(80)), {"handshake-failed"}),
    "refuses all suites": Case(lambda: script(lambda _: alert(40)), {"no-common-suite"}),
    "unknown server name": Case(lambda: ours(sni_callback=refuse_name), {"sni-unknown"}),
    "TLS 1.1 only": Case(lambda: openssl("-tls1_1", "-cipher", LOW), {"only-old-versions"}),
    "TLS 1.0 only": Case(lambda: openssl("-tls1", "-cipher", LOW), {"only-old-versions"}),
    "TLS 1.0 too": Case(lambda: openssl("-min_protocol", "TLSv1", "-cipher", LOW), {"old-versions"}),
    "no TLS 1.3": Case(lambda: ours(max_version="TLSv1.2"), {"no-tls13"}),
    "drops TLS 1.3": Case(intolerant, {"version-intolerant", "no-tls13"}),
    "CBC only": Case(lambda: openssl("-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA"), {"only-cbc-suites", "no-tls13"}),
    "NULL and anonymous": Case(lambda: openssl("-tls1_2", "-cipher", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"), {"weak-suites", "no-tls13"}),
    "RSA key exchange": Case(
        lambda: openssl("-tls1_2", "-cipher", "AES128-GCM-SHA256", who=good_rsa()), {"no-forward-secrecy", "no-tls13"}
    ),
    "Diffie-Hellman of 1024 bits": Case(weak_dh, {"weak-dh", "no-tls13"}),
    "P-521 only": Case(lambda: openssl("-groups", "secp521r1", who=good_rsa()), {"unusual-groups"}),
    "compression": Case(
        lambda: script(lambda _: server_hello(compression=1, extensions=EMS + RENEGOTIATION)), {"compression", "no-tls13"}
    ),
    "old renegotiation": Case(lambda: script(lambda _: server_hello(extensions=EMS)), {"secure-renegotiation", "no-tls13"}),
    "no extended master secret": Case(
        lambda: script(lambda _: server_hello(extensions=RENEGOTIATION)), {"no-extended-master-secret", "no-tls13", "handshake-failed"}
    ),
    "clients renegotiate": Case(lambda: openssl("-client_renegotiation"), {"client-renegotiation"}),
    "ALPN: nothing common": Case(lambda: ours(alpn_protocols=["imap"]), {"alpn-refused"}, options=lambda: {"alpn_protocols": ["h2"]}),
    "ALPN: none": Case(ours, {"alpn-ignored"}, options=lambda: {"alpn_protocols": ["h2"]}),
    "ALPN: the second": Case(
        lambda: ours(alpn_protocols=["http/1.1"]), {"alpn-second"}, options=lambda: {"alpn_protocols": ["h2", "http/1.1"]}
    ),
    "two processes, two ticket keys": Case(unequal, {"resumption-broken"}),
    "no tickets": Case(lambda: openssl("-num_tickets", "0"), {"tickets-never"}),
    "no sessions in TLS 1.2": Case(lambda: openssl("-tls1_2", "-no_ticket", "-no_cache"), {"no-resumption-tls12", "no-tls13"}),
}  # fmt: skip

CLIENT: dict[str, Case] = {
    "no client certificate": Case(asking(), {"client-certificate-required"}),
    "no client certificate, TLS 1.2": Case(asking(max_version="TLSv1.2"), {"client-certificate-required", "no-tls13"}),
    "good client certificate": Case(asking(), set(), options=client),
    "certificate requested, not required": Case(asking(reject_unauthorized=False), set()),
    "client of another authority": Case(asking(), {"client-certificate-authority"}, options=lambda: client(issuer=pki.ca6())),
    "client without its intermediate": Case(
        asking(), {"client-certificate-chain"}, options=lambda: client(issuer=pki.ca3(), alone=True)
    ),
    "client with a server's certificate": Case(asking(), {"client-certificate-usage"}, options=lambda: client(usages=[SERVERS])),
    "expired client": Case(
        asking(), {"client-certificate-expired"}, options=lambda: client(not_before=NOW - LIFE, not_after=NOW - DAY)
    ),
    "client refused by the application": Case(
        asking(check_client=lambda *_: tlsio.CertificateError("not this one")), {"client-certificate-refused"}, options=client
    ),
}  # fmt: skip

CERTIFICATES: dict[str, Case] = {
    "good": Case(ours, set()),
    "good with RSA": Case(lambda: ours(good_rsa()), set()),
    "good under two intermediates": Case(lambda: ours(deep()), set()),
    "wrong host": Case(lambda: ours(leaf(names=["example.test"])), {"wrong-host"}),
    "www only": Case(lambda: ours(leaf(names=["www.localhost"])), {"wrong-host-www"}),
    "wildcard without the name itself": Case(lambda: ours(leaf(names=["*.localhost"])), {"wrong-host-wildcard"}),
    "wildcard for two labels": Case(
        lambda: ours(leaf(names=["*.example.test"])), {"wrong-host-wildcard"}, options=lambda: {"servername": "a.b.example.test"}
    ),
    "common name only": Case(lambda: ours(leaf(names=[])), {"name-only-in-cn"}),
    "address as DNS name": Case(lambda: ours(address_as_name()), {"address-as-dns-name"}, host="127.0.0.1"),
    "address not in the certificate": Case(ours, {"address-not-in-certificate"}, host="127.0.0.1"),
    "name in UTF-8": Case(lambda: ours(raw_name()), {"name-in-unicode"}, options=lambda: {"servername": "xn--bcher-kva.example"}),
    "another workload": Case(ours, {"wrong-identity"}, options=lambda: {"identity": "spiffe://plant.example/press"}),
    "refused by the client's own check": Case(
        ours, {"wrong-identity"}, options=lambda: {"check_server_identity": lambda _name, _cert: tlsio.CertificateError("not this one")}
    ),
    "another server": Case(lambda: ours(leaf(names=["router.test"], issuer=None)), {"other-server"}),
    "self-signed": Case(lambda: ours(leaf(issuer=None)), {"self-signed"}),
    "unknown root": Case(lambda: ours(under(pki.ca6())), {"unknown-root"}),
    "intercepting proxy": Case(
        lambda: ours(under(inspector()), chain=pem(under(inspector()), inspector())), {"unknown-root", "intercepting-proxy", "root-sent"}
    ),
    "missing intermediate": Case(lambda: ours(chain=good().cert_pem), {"missing-intermediate"}),
    "intermediate with another key": Case(
        lambda: openssl(chain=pki.authority("ca3", issuer=pki.ca1()).cert_pem), {"wrong-intermediate"}
    ),
    "wrong order": Case(lambda: openssl(who=deep(), chain=pem(pki.ca3(), deeper())), {"chain-order"}),
    "root sent": Case(lambda: openssl(chain=pem(pki.ca3(), pki.ca1())), {"root-sent"}),
    "foreign certificate": Case(lambda: openssl(chain=pem(pki.ca3(), pki.ca6())), {"chain-foreign"}),
    "sent twice": Case(lambda: openssl(chain=pem(pki.ca3(), pki.ca3())), {"chain-duplicate"}),
    "for clients": Case(lambda: ours(leaf(usages=[CLIENTS])), {"not-a-server-certificate"}),
    "an authority as server": Case(
        lambda: ours(leaf(extensions=[pki._key_usage(certificates=True), x509.BasicConstraints(ca=True, path_length=None)])),
        {"authority-as-server"},
    ),
    "issued by a server": Case(lambda: ours(leaf(issuer=good())), {"not-an-authority"}),
    "too long a path": Case(
        lambda: ours(leaf(issuer=authority("inner", issuer=short_root()))), {"path-too-long"}, options=lambda: {"ca": short_root().cert_pem}
    ),
    "name constraints": Case(lambda: ours(leaf(issuer=narrow_root())), {"name-constraints"}, options=lambda: {"ca": narrow_root().cert_pem}),
    "damaged signature": Case(lambda: ours(flipped()), {"bad-signature"}),
    "critical extension": Case(lambda: ours(unknown_extension()), {"unreadable-certificate"}),
    "no authority key identifier": Case(lambda: ours(rebuilt(without=x509.AuthorityKeyIdentifier)), {"strict"}),
    "empty subject, names not critical": Case(lambda: ours(rebuilt(name=x509.Name([]))), {"strict"}),
    "distrusted root": Case(
        ours, {"not-trusted"}, options=lambda: {"ca": pki.with_settings(pki.ca1(), "-addreject", "serverAuth")}
    ),
    "expired": Case(lambda: ours(leaf(not_before=NOW - LIFE, not_after=NOW - DAY)), {"expired"}),
    "expires soon": Case(lambda: ours(leaf(not_before=NOW - LIFE, not_after=NOW + DAY)), {"expires-soon"}),
    "not yet valid": Case(lambda: ours(leaf(not_before=NOW + DAY)), {"not-yet-valid"}),
    "long life": Case(lambda: ours(leaf(not_after=NOW + 400 * DAY)), {"lifetime"}),
    "expired intermediate": Case(
        lambda: ours(leaf(issuer=authority("old", issuer=pki.ca1(), not_before=NOW - LIFE, not_after=NOW - DAY))), {"expired-intermediate"}
    ),
    "expired root": Case(lambda: ours(leaf(issuer=old_root())), {"expired-root"}, options=lambda: {"ca": old_root().cert_pem}),
    "clock never set": Case(ours, {"clock"}, options=lambda: {"at": dt.datetime(2000, 1, 1, tzinfo=dt.UTC)}),
    "SHA-1": Case(lambda: ours(with_sha1(), ciphers=LOW), {"sha1"}),
    "RSA of 1024 bits": Case(lambda: ours(leaf(key=small_key()), ciphers=LOW), {"weak-rsa"}),
    "192-bit curve": Case(lambda: openssl("-tls1_2", "-cipher", LOW, who=leaf(key=ec.generate_private_key(ec.SECP192R1()))), {WEAK_CURVE, "no-tls13"}),
}  # fmt: skip

REVOCATION: dict[str, Case] = {
    "stapled": Case(stapled(), set()),
    "responder named, nothing stapled": Case(lambda: ours(stapling_leaf()), {"staple-missing"}),
    "must staple, and does not": Case(lambda: ours(with_responder_of("http://ocsp.test/", must_staple=True)), {"must-staple"}),
    "revoked": Case(stapled(status=REVOKED), {"revoked"}),
    "expired response": Case(stapled(this_update=NOW - 48 * HOUR, next_update=NOW - HOUR), {"staple-expired"}),
    "response about to expire": Case(stapled(this_update=NOW - 48 * HOUR, next_update=NOW + HOUR), {"staple-expiring"}),
    "unknown to the responder": Case(stapled(status=UNKNOWN), {"staple-unknown"}),
    "response of another authority": Case(stapled(signer=pki.ca5()), {"staple-bad"}),
    "response that is none": Case(lambda: ours(stapling_leaf(), ocsp_request=lambda *_: enclose(b"noise")), {"staple-bad"}),
    "list": Case(lambda: ours(listed()), set(), options=fetching(crl)),
    "list names the certificate": Case(lambda: ours(listed()), {"revoked"}, options=fetching(lambda: crl(revoked=[listed()]))),
    "list cannot be fetched": Case(lambda: ours(listed()), {"crl-unavailable"}, options=fetching(unreachable)),
    "expired list": Case(
        lambda: ours(listed()), {"crl-bad"}, options=fetching(lambda: crl(last_update=NOW - 2 * DAY, next_update=NOW - DAY))
    ),
    "no list and no responder": Case(lambda: ours(leaf(issuer=pki.ca1())), {"no-revocation"}, options=fetching(crl)),
}  # fmt: skip

WEB: dict[str, Case] = {
    "good page": Case(web(page), set(), options=HTTP),
    "no HTTP": Case(ours, set(), options=HTTP),
    "no HSTS": Case(web(lambda: page(hsts=None)), {"hsts-missing"}, options=HTTP),
    "short HSTS": Case(web(lambda: page(hsts="max-age=86400")), {"hsts-short"}, options=HTTP),
    "malformed HSTS": Case(web(lambda: page(hsts="includeSubDomains")), {"hsts-malformed"}, options=HTTP),
    "redirect to http": Case(web(lambda: page("Location: http://localhost/", status="301 Moved")), {"redirect-to-http"}, options=HTTP),
    "server's clock": Case(web(lambda: page(date=NOW - DAY)), {"server-clock"}, options=HTTP),
    "this machine's clock": Case(
        web(lambda: page(date=NOW + 2 * DAY), lambda: leaf(not_before=NOW + DAY)), {"not-yet-valid", "clock"}, options=HTTP
    ),
    "captive portal with TLS": Case(
        web(lambda: page("Location: http://login.test/", status="302 Found"), lambda: leaf(names=["portal.test"], issuer=None)),
        {"other-server", "captive-portal"},
        options=HTTP,
    ),
}  # fmt: skip


def under(issuer: pki.Identity) -> pki.Identity:
    """Return the one leaf of an authority."""
    return _leaf_of(issuer)


@cache
def _leaf_of(issuer: pki.Identity) -> pki.Identity:
    return leaf(issuer=issuer)


CASES = REACHING | HANDSHAKES | CLIENT | CERTIFICATES | REVOCATION | WEB
