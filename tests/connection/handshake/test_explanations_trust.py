"""Mistakes with certificates, trust, names, dates and revocation: each made for real, its text asserted."""

from __future__ import annotations

import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import pki
import tlsio
from explanations import Mistake, check_words, error_of, identity, make
from responses import REVOKED, UNKNOWN, delegate, enclose, refuse_to_answer, respond

if TYPE_CHECKING:
    from collections.abc import Callable

DAY, NOW = pki.DAY, pki.NOW
CLIENTS, SERVERS = pki.ExtendedKeyUsageOID.CLIENT_AUTH, pki.ExtendedKeyUsageOID.SERVER_AUTH


@cache
def signed_with_sha1() -> pki.Identity:
    """For localhost by ca1, with a signature that only the command line still makes."""
    key = pki.rsa_key()
    request = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(pki.NameOID.COMMON_NAME, "localhost")]))
    pem = request.sign(key, pki.hashes.SHA256()).public_bytes(pki.PEM)
    with tempfile.TemporaryDirectory() as folder:
        authority = Path(folder, "ca.pem")
        authority.write_bytes(pki.ca1().cert_pem + pki.ca1().key_pem)
        command = ["openssl", "x509", "-req", "-sha1", "-CA", str(authority), "-set_serial", "1", "-days", "20"]
        made = subprocess.run(command, check=True, capture_output=True, input=pem)
    return pki.Identity(key, x509.load_pem_x509_certificate(made.stdout))


def asking() -> dict[str, Any]:
    """Return the options of a server that demands a certificate of ca1."""
    return {"request_cert": True, "ca": pki.ca1().cert_pem}


def root(name: str, *extensions: x509.ExtensionType, not_before: Any = NOW - 400 * DAY, not_after: Any = NOW + DAY) -> pki.Identity:
    """Return a root with these extensions and dates."""
    usage = pki._key_usage(certificates=True)
    basic = x509.BasicConstraints(ca=True, path_length=None)
    return pki.leaf(name, extensions=[usage, basic, *extensions], not_before=not_before, not_after=not_after)


@cache
def expired_root() -> pki.Identity:
    """Over since two days."""
    return root("old root", not_after=NOW - 2 * DAY)


@cache
def constrained_root() -> pki.Identity:
    """May issue for example.com alone, and not for b.example.com."""
    permitted, excluded = [x509.DNSName("example.com")], [x509.DNSName("b.example.com")]
    return root("narrow root", x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=excluded))


def raw_name() -> pki.Identity:
    """Return a certificate whose name is written in UTF-8, where IA5String is demanded."""
    name = pki._der(0x30, pki._der(0x82, "bücher.example".encode()))
    return pki.leaf("x", issuer=pki.ca1(), extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("2.5.29.17"), name)])


def lists(issuer: pki.Identity, **fields: Any) -> dict[str, Any]:
    """Return a CRL that revokes nothing, as an option."""
    return {"crl": pki.revocation_list(issuer, revoked=[], **fields)}


def other_key() -> bytes:
    """Return a chain whose intermediate has the right name and another key."""
    return pki.chained().cert_pem + pki.authority("ca3", issuer=pki.ca1()).cert_pem


def stapled(response: Callable[[], bytes], says: tuple[str, ...]) -> Mistake:
    """Return the mistake of a server that staples this response."""

    def server() -> dict[str, Any]:
        made = response()  # a new RSA key may take seconds
        return {"ocsp_request": lambda *_: made}

    return Mistake("client", says, server, lambda: {"ocsp": "check"})


@cache
def unauthorized() -> pki.Identity:
    """Of ca1, but not for signing responses."""
    return delegate(may_sign=False)


MISTAKES: dict[str, Mistake] = {
    "signed with SHA-1": Mistake(
        "client",
        ("signed with SHA-1", "The key is fine", "it must be reissued with SHA-256", 'The server has to have "CN=localhost" reissued'),
        lambda: identity(signed_with_sha1()) | {"ciphers": "DEFAULT@SECLEVEL=0"},
        never=("larger key", "stronger key"),
    ),
    "key too small": Mistake(
        "client",
        ("too weak", "is too small: it needs a new one (RSA with 2048 bits, or EC P-256)", "The server has to have"),
        lambda: identity(pki.leaf("localhost", issuer=pki.ca1(), key=small_key(), names=["localhost"])) | {"ciphers": "DEFAULT@SECLEVEL=0"},
    ),
    "wrong name": Mistake(
        "client",
        ('The certificate is for "localhost"', "If that is the host you meant, connect to it by that name", "another server answered"),
        client=lambda: {"servername": "other.example"},
        never=("servername=", "ca="),
    ),
    "wildcard for two labels": Mistake(
        "client",
        ('The certificate is for "*.example.com"', '"*" covers exactly one label', "another server answered"),
        lambda: identity(pki.wildcard()),
        lambda: {"servername": "a.b.example.com"},
        never=("servername=",),
    ),
    "wildcard for the domain itself": Mistake(
        "client",
        ('"*" covers exactly one label, and "example.com" has',),
        lambda: identity(pki.wildcard()),
        lambda: {"servername": "example.com"},
    ),
    "address, but the certificate has names": Mistake(
        "client",
        (
            "IP: 127.0.0.1",
            "An address is compared only with IP addresses in the certificate, and it has none",
            "connect to it by that name",
        ),
        lambda: identity(pki.wildcard()),
        lambda: {"servername": None},
    ),
    "name, but the certificate has addresses": Mistake(
        "client", ('The certificate is for "127.0.0.1", "::1"', "connect to it by that name"), lambda: identity(pki.ip_only())
    ),
    "name in the common name only": Mistake(
        "client",
        ("Only the common name", "the server needs it reissued", "as subjectAltName"),
        lambda: identity(pki.name_in_cn_only()),
        lambda: {"identity_policy": "rfc9525"},
    ),
    "name written in UTF-8": Mistake(
        "client",
        ('writes the name "bücher.example" in UTF-8', "the server needs it reissued with DNS:xn--bcher-kva.example"),
        lambda: identity(raw_name()),
        lambda: {"servername": "bücher.example"},
        never=("Ã", "connect to it by that name"),
    ),
    "outside of name constraints": Mistake(
        "client",
        (
            "permitted subtree violation",
            '"CN=narrow root,O=tlsio tests" may issue only for names within "example.com" except "b.example.com"',
            "The server needs a certificate",
        ),
        lambda: identity(pki.leaf("localhost", issuer=constrained_root(), names=["localhost"])),
        lambda: {"ca": constrained_root().cert_pem},
    ),
    "excluded by name constraints": Mistake(
        "client",
        ("excluded subtree violation", 'except "b.example.com"', "The server needs a certificate"),
        lambda: identity(pki.leaf("localhost", issuer=constrained_root(), names=["b.example.com"])),
        lambda: {"ca": constrained_root().cert_pem, "servername": "b.example.com"},
    ),
    "unknown authority and another name": Mistake(
        "client",
        ("The certificate is for another name as well, so probably another server answered", "captive portal", "Do not add"),
        client=lambda: {"ca": None, "servername": "other.example"},
        never=("add its root",),
    ),
    "self-signed and another name": Mistake(
        "client",
        ("is self-signed", "another server answered", "check host, port and servername=", "Do not add this certificate"),
        lambda: identity(pki.self_signed()),
        lambda: {"servername": "other.example"},
        never=("with ca=",),
    ),
    "self-signed": Mistake(
        "client",
        ("is self-signed", "If it is your own server, compare the certificate", "with ca=", "Otherwise another server may have answered"),
        lambda: identity(pki.self_signed()),
    ),
    "unknown authority, default roots": Mistake(
        "client",
        (
            "was neither sent nor is it trusted",
            "add it with ca= or extra_ca=",
            "TLSIO_USE_SYSTEM_CA",
            "TLSIO_EXTRA_CA_CERTS",
            "SSL_CERT_FILE",
        ),
        client=lambda: {"ca": None},
    ),
    "unknown authority, explicit ca": Mistake(
        "client",
        (
            '"CN=ca1,O=tlsio tests" was neither sent nor is it trusted',
            "add it with ca=",
            "if it is an intermediate, the server has to send",
        ),
        client=lambda: {"ca": pki.ca5().cert_pem},
        never=("did not send the intermediate",),
    ),
    "ca is empty": Mistake(
        "client", ("ca= is empty, so no server is trusted", "add the root of the server's CA"), client=lambda: {"ca": []}
    ),
    "ca is empty, root sent": Mistake(
        "client",
        ("ca= is empty, so no server is trusted",),
        lambda: {"cert": pki.localhost().cert_pem + pki.ca1().cert_pem},
        lambda: {"ca": []},
    ),
    "missing intermediate": Mistake(
        "client",
        ('"CN=ca3,O=tlsio tests", the issuer of "CN=localhost,O=tlsio tests", was not sent', "the server has to send it", "fullchain"),
        lambda: identity(pki.missing_intermediate()),
    ),
    "intermediate with another key": Mistake(
        "client",
        ("was sent, but is not the issuer", "another key of that name signed", "the server has to send the matching one"),
        lambda: {"cert": other_key(), "key": pki.chained().key_pem},
        never=("was not sent", "did not send"),
    ),
    "root renewed with another key": Mistake(
        "client",
        ("is trusted, but is not the issuer", "has another key", "that CA was renewed", "another CA uses the same name"),
        client=lambda: {"ca": pki.authority("ca1").cert_pem},
    ),
    "leaf as ca": Mistake(
        "client",
        ("it is not a root", "ca= has the server's own certificate, but it needs the root of its CA", 'add "CN=ca1,O=tlsio tests"'),
        client=lambda: {"ca": pki.localhost().cert_pem},
    ),
    "intermediate as ca": Mistake(
        "client",
        ('"CN=ca3,O=tlsio tests" is trusted, but it is not a root', 'Add "CN=ca1,O=tlsio tests"', "allow_partial_trust_chain=True"),
        lambda: identity(pki.chained()),
        lambda: {"ca": pki.ca3().cert_pem},
    ),
    "trusted root expired": Mistake(
        "client",
        ("certificate has expired", "is one of the trusted roots: replace it with its successor"),
        lambda: identity(pki.leaf("localhost", issuer=expired_root(), names=["localhost"])),
        lambda: {"ca": expired_root().cert_pem},
        never=("The server has to renew",),
    ),
    "whole chain expired": Mistake(
        "client",
        ("This machine's clock says", "several certificates of the chain have expired: check the clock first", "The server has to renew"),
        lambda: identity(pki.leaf("localhost", issuer=expired_root(), names=["localhost"], not_before=NOW - 9 * DAY, not_after=NOW - DAY)),
        lambda: {"ca": expired_root().cert_pem},
    ),
    "whole chain not yet valid": Mistake(
        "client",
        ("several certificates of the chain are not valid yet: check the clock first",),
        lambda: identity(pki.leaf("localhost", issuer=future_root(), names=["localhost"], not_before=NOW + DAY, not_after=NOW + 9 * DAY)),
        lambda: {"ca": future_root().cert_pem},
    ),
    "certificate expired": Mistake(
        "client", ("certificate has expired", "and the local clock says", "The server has to renew"), lambda: identity(pki.expired())
    ),
    "intermediate expired": Mistake(
        "client",
        ("certificate has expired", 'The server has to renew "CN=old intermediate,O=tlsio tests"'),
        lambda: identity(pki.leaf("localhost", issuer=old_intermediate(), names=["localhost"])),
    ),
    "certificate not valid yet": Mistake(
        "client",
        ("certificate is not yet valid", "check the clocks of this machine and of the CA"),
        lambda: identity(pki.not_yet_valid()),
    ),
    "server with a certificate for clients": Mistake(
        "client",
        ("unsuitable certificate purpose", "The server needs a certificate whose extendedKeyUsage allows serverAuth"),
        lambda: identity(pki.leaf("localhost", issuer=pki.ca1(), names=["localhost"], usages=[CLIENTS])),
    ),
    "client with a certificate for servers": Mistake(
        "server",
        ("unsuitable certificate purpose", "The client needs a certificate whose extendedKeyUsage allows clientAuth"),
        asking,
        lambda: identity(pki.localhost()),
    ),
    "client of an unknown authority": Mistake(
        "server",
        ('"CN=ca2,O=tlsio tests" was neither sent', "normal for a stranger", "add it with ca=", "the client has to send it"),
        asking,
        lambda: identity(pki.agent3()),
        never=("extra_ca=",),
    ),
    "self-signed client": Mistake(
        "server",
        ("is self-signed", "normal for a stranger", "If it is one of your clients, add its certificate with ca="),
        asking,
        lambda: identity(pki.self_signed()),
        never=("extra_ca=",),
    ),
    "client without a certificate": Mistake(
        "server", ("The client sent no certificate", "Give the client a certificate and key", "and then check socket.authorized"), asking
    ),
    "client certificate expired": Mistake("server", ("has expired", "The client has to renew"), asking, lambda: identity(pki.expired())),
    "revoked": Mistake(
        "client",
        ("certificate revoked", '"CN=ca1,O=tlsio tests" has revoked this certificate: the server needs a new one'),
        lambda: identity(pki.revoked()),
        lambda: {"crl": pki.ca1_crl()},
    ),
    "CRL of another authority": Mistake(
        "client",
        ("no list that a trusted CA has signed", 'only of "CN=ca5,O=tlsio tests"', "Give the list of the CA in ca="),
        client=lambda: lists(pki.ca5()),
    ),
    "CRL of the intermediate missing": Mistake(
        "client",
        ("unable to get certificate CRL", "crl= checks the whole chain", 'add the CRL of "CN=ca3,O=tlsio tests"'),
        lambda: identity(pki.chained()),
        lambda: lists(pki.ca1()),
    ),
    "CRL expired": Mistake(
        "client", ("CRL has expired", 'Give the current CRL of "CN=ca1'), client=lambda: lists(pki.ca1(), next_update=NOW - DAY / 2)
    ),
    "CRL not valid yet": Mistake(
        "client", ("CRL is not yet valid", "check the clock of this machine"), client=lambda: lists(pki.ca1(), last_update=NOW + DAY)
    ),
    "CRL signed by another key": Mistake(
        "client",
        ("no list that a trusted CA has signed", "has the name of a trusted CA, but is not signed with its key", "get the current list"),
        client=lambda: lists(pki.ca1(), signer=pki.ca5()),
    ),
    "no OCSP response": Mistake(
        "client",
        ('ocsp="require" needs one', "The server has to staple OCSP responses", "stapling=True"),
        client=lambda: {"ocsp": "require"},
    ),
    "must-staple without a response": Mistake(
        "client",
        ("the certificate requires one", "The server has to staple OCSP responses"),
        lambda: identity(pki.must_staple()),
        lambda: {"ocsp": "check"},
    ),
    "response of an unknown certificate": stapled(
        lambda: respond(pki.localhost(), status=UNKNOWN),
        ("the responder does not know the certificate", "The server asks the responder of another"),
    ),
    "revoked, says the response": stapled(
        lambda: respond(pki.localhost(), status=REVOKED), ("was revoked by its issuer", "The server needs a new certificate with a new key")
    ),
    "response of yesterday": stapled(
        lambda: respond(pki.localhost(), this_update=NOW - 2 * DAY, next_update=NOW - DAY),
        ("expired at", "The server staples an old response"),
    ),
    "response of tomorrow": stapled(
        lambda: respond(pki.localhost(), this_update=NOW + DAY, next_update=NOW + 2 * DAY),
        ("is not valid before", "Check this machine's clock"),
    ),
    "response about another certificate": stapled(
        lambda: respond(pki.localhost_rsa()), ("is about another certificate", "for its previous certificate: it has to fetch a new one")
    ),
    "response by a stranger": stapled(
        lambda: respond(pki.localhost(), signer=pki.ca5()), ("was signed neither by", "which its CA, or a responder of the CA, has signed")
    ),
    "response by a responder that may not": stapled(
        lambda: respond(pki.localhost(), signer=unauthorized(), certificates=[unauthorized().certificate]),
        ("may not sign responses", "The CA has to certify its responder for this"),
    ),
    "response that is a refusal": stapled(refuse_to_answer, ("the responder's refusal to answer", "it has to fetch a good response")),
    "response that cannot be read": stapled(lambda: enclose(b"\x30\x00"), ("cannot be read", "unchanged, in DER")),
    "no CRL to be fetched": Mistake(
        "client",
        (
            "There is no CRL for the certificate",
            "The CA puts no CRL URL into its certificates",
            'the CRL of "CN=ca1,O=tlsio tests" as crl=',
        ),
        client=lambda: {"fetch_crl": "require"},
    ),
    "pin of another key": Mistake(
        "client",
        ("None of the pinned keys is in the server's chain", "found: sha256/", "after you have confirmed it with the peer's owner"),
        client=lambda: {"pins": [b"p" * 32]},
    ),
    "fingerprint as a pin": Mistake(
        "client",
        (
            "None of the pinned keys is in the server's chain",
            "is the SHA-256 fingerprint of a whole certificate",
            "give one of those above",
        ),
        client=lambda: {"pins": [pki.localhost().certificate.fingerprint(pki.hashes.SHA256())]},
    ),
}


@cache
def small_key() -> pki.rsa.RSAPrivateKey:
    """Return a key of 1024 bits."""
    return pki.rsa.generate_private_key(public_exponent=65537, key_size=1024)


@cache
def future_root() -> pki.Identity:
    """From tomorrow on."""
    return root("new root", not_before=NOW + DAY, not_after=NOW + 9 * DAY)


@cache
def old_intermediate() -> pki.Identity:
    """Of ca1, over since yesterday."""
    usage, basic = pki._key_usage(certificates=True), x509.BasicConstraints(ca=True, path_length=None)
    dates = {"not_before": NOW - 30 * DAY, "not_after": NOW - DAY}
    return pki.leaf("old intermediate", issuer=pki.ca1(), extensions=[usage, basic], **dates)


if tlsio.openssl_version >= "OpenSSL 3.6":  # a server of that version does not send it
    del MISTAKES["response about another certificate"]


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("name", list(MISTAKES))
async def test_says_cause_side_and_remedy(name: str) -> None:
    """A stranger can act on it without the documents."""
    MISTAKES[name].check(await make(MISTAKES[name]))


@pytest.mark.parametrize("option", ["servername", "host"])
def test_pattern_as_a_host(option: str) -> None:
    """It would be compared with itself in the certificate."""
    error = error_of(lambda: tlsio.connect(1, **{option: "*.example.test"}))
    check_words(error, ('"*.example.test" is not a host name: it has a star', "Give the name of one host"))
