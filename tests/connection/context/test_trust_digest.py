"""The digest of trust: every option changes it, or is named as one that cannot change a verdict."""

from __future__ import annotations

import base64
import ssl
from contextlib import suppress
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

import pki
import responses
import tlsio
from asn1 import tlv
from memory import TLS_1_2, TLS_1_3, server_of, shake, std_client
from sessions import greet, visit
from tlsio.connection.context.secure_context import SecureContext, create_secure_context
from tlsio.connection.context.trust_digest import CANNOT_DECIDE, DECIDES
from tlsio.connection.handshake.client_handshake import ClientHandshake
from tlsio.connection.handshake.server_policy import HandshakePolicy
from tlsio.model.options.connect import ConnectOptions
from tlsio.model.options.context import ContextOptions
from tlsio.model.options.parse import parse_connect_options, parse_server_options
from tlsio.model.options.server import ServerOptions
from tlsio.native._core import security_level

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

OPTIONS = {field.name for kind in (ContextOptions, ServerOptions, ConnectOptions) for field in fields(kind)}

# Values that differ from what is there without the option, on a server and on a client.
SERVER: dict[str, Callable[[], list[Any]]] = {
    "ca": lambda: [pki.ca1().cert_pem, pki.ca2().cert_pem, []],
    "extra_ca": lambda: [pki.ca1().cert_pem],
    "pfx": lambda: [pki.chained().pfx()],
    "crl": lambda: [pki.ca1_crl()],
    "allow_partial_trust_chain": lambda: [True],
    "pins": lambda: [[bytes(32)], [b"p" * 32]],
    "request_cert": lambda: [True],
    "reject_unauthorized": lambda: [False],
    "ciphers": lambda: ["DEFAULT@SECLEVEL=0", "DEFAULT@SECLEVEL=3"],
    "sigalgs": lambda: ["ECDSA+SHA256"],
    "ecdh_curve": lambda: ["P-256"],
    "fetch_crl": lambda: ["check", "require"],
}
CLIENT: dict[str, Callable[[], list[Any]]] = {name: values for name, values in SERVER.items() if name != "request_cert"} | {
    "cert": lambda: [pki.client().cert_pem + pki.client().key_pem],
    "ocsp": lambda: ["check", "require"],
    "min_dh_size": lambda: [2048],
    "chain_policy": lambda: ["strict"],
    "identity": lambda: ["spiffe://example.org/a", "spiffe://example.org/b"],
}


def of_server(**options: Any) -> bytes:
    """Return the session id context of a server."""
    return HandshakePolicy(parse_server_options(options)).names.default.native.session_id_context


def of_client(**options: Any) -> bytes:
    """Return what a client's session is bound to."""
    given = parse_connect_options({"host": "localhost", "passphrase": pki.PASSPHRASE, **options})
    return ClientHandshake(given, SecureContext(given.context), None).trust


def test_every_option_is_named_once() -> None:
    """One that is added has to be thought about."""
    assert frozenset(CANNOT_DECIDE) | DECIDES == OPTIONS
    assert not DECIDES.intersection(CANNOT_DECIDE)
    assert set(SERVER) | set(CLIENT) == DECIDES


@pytest.mark.parametrize("name", SERVER)
def test_option_of_a_server_changes_the_digest(name: str) -> None:
    """To another one for each value."""
    extra: dict[str, Any] = {"passphrase": pki.PASSPHRASE} if name == "pfx" else {}
    if name != "request_cert":
        extra["request_cert"] = False
    if name == "crl":
        extra["ca"] = pki.ca1().cert_pem
    found = [of_server(**extra), *(of_server(**{name: value}, **extra) for value in SERVER[name]())]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("name", CLIENT)
def test_option_of_a_client_changes_the_digest(name: str) -> None:
    """To another one for each value."""
    extra = {"ca": pki.ca1().cert_pem} if name == "crl" else {}
    found = [of_client(**extra), *(of_client(**{name: value}, **extra) for value in CLIENT[name]())]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    "options", [{"ciphers": "HIGH"}, {"ciphers": "DEFAULT@SECLEVEL={level}"}, {"ecdh_curve": "auto"}, {"fetch_crl": "off"}]
)
def test_what_comes_to_the_same_does_not(options: dict[str, str]) -> None:
    """The effective level counts, the library's default included; ciphers alone judge nobody."""
    level = str(security_level("DEFAULT"))
    same = {name: value.replace("{level}", level) for name, value in options.items()}
    assert of_server(**same) == of_server()
    assert of_client(**same) == of_client()


def test_trust_settings_of_a_root_change_the_digest() -> None:
    """OpenSSL keeps them beside the certificate: the same root may be trusted for clients only."""
    plain = pki.ca1().certificate.public_bytes(Encoding.DER)
    # X509_CERT_AUX of <openssl/x509.h>: rejected usages are [0], here serverAuth.
    aux = tlv(0x30, tlv(0xA0, bytes.fromhex("06082b06010505070301")))
    text = base64.encodebytes(plain + aux).decode()
    pem = f"-----BEGIN TRUSTED CERTIFICATE-----\n{text}-----END TRUSTED CERTIFICATE-----\n"
    assert of_server(ca=pem) != of_server(ca=pki.ca1().cert_pem)


def test_policy_of_a_server_reaches_the_contexts_of_its_names() -> None:
    """Also those that were made before, and those that `sni_callback` gives."""
    context = create_secure_context(ca=pki.ca1().cert_pem, request_cert=True)
    policy = HandshakePolicy(parse_server_options({"fetch_crl": "require", "secure_context": context}))
    assert policy.names.default.trust_digest != context.trust_digest
    assert policy.names.complete(context).trust_digest == policy.names.default.trust_digest
    assert policy.names.complete(context) is policy.names.complete(context)  # made once


# --- the matrix: sessions that were made under one set of options and come back under another ---

SETS: dict[str, Callable[[], dict[str, Any]]] = {
    "strict": lambda: {"ca": pki.ca1().cert_pem},
    "another ca": lambda: {"ca": pki.ca2().cert_pem},
    "two": lambda: {"ca": [pki.ca1().cert_pem, pki.ca2().cert_pem]},
    "soft": lambda: {"ca": pki.ca2().cert_pem, "reject_unauthorized": False},
    "asks nobody": lambda: {"ca": pki.ca1().cert_pem, "request_cert": False},
    "pinned": lambda: {"ca": pki.ca1().cert_pem, "pins": [bytes(32)]},
    "crl": lambda: {"ca": pki.ca1().cert_pem, "crl": pki.revocation_list(pki.ca1(), revoked=[pki.client()])},
    "weak": lambda: {"ca": pki.ca1().cert_pem, "ciphers": "DEFAULT@SECLEVEL=0"},
}
CLIENTS: dict[str, Callable[[], pki.Identity | None]] = {
    "good": pki.client,
    "weak": lambda: pki.leaf("client", issuer=pki.ca1(), key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 - that is what makes it weak
    "none": lambda: None,
}


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize("given", [{}, {"session_id_context": "given"}], ids=["digest", "given id context"])
@pytest.mark.parametrize("who", CLIENTS)
def test_resumption_lets_in_nobody_whom_a_full_handshake_refuses(who: str, given: dict[str, str], version: int) -> None:
    """Every pair of servers that share their ticket keys, also when they share a given session id context."""
    usual = {"ticket_keys": bytes(range(48)), "request_cert": True} | given
    contexts = {name: server_of(pki.localhost(), **(usual | options())) for name, options in SETS.items()}
    client = std_client(ca=pki.ca1(), identity=CLIENTS[who](), version=version, ciphers="DEFAULT@SECLEVEL=0")
    alone = {name: shake(context, client) for name, context in contexts.items()}
    assert {True, False} == {one.opened for one in alone.values()}
    for made, first in alone.items():
        with suppress(ssl.SSLError):
            first.peer.read()  # the tickets of TLS 1.3
        resumed = [back for back, context in contexts.items() if first.opened and resumes(context, client, first)]
        assert all(alone[back].opened for back in resumed), made
        assert (made in resumed) == first.opened


def resumes(context: SecureContext, client: ssl.SSLContext, first: Any) -> bool:
    """Come back with a session."""
    again = shake(context, client, session=first.peer.session)
    return again.opened and again.peer.session_reused


# --- the same for clients ---


def wrong_name(_name: str, _certificate: Any) -> Exception:
    """Refuse every server."""
    return ValueError("not this one")


REVOKED = pki.leaf(
    "localhost",
    issuer=pki.ca1(),
    names=["localhost"],
    extensions=[
        x509.CRLDistributionPoints([x509.DistributionPoint([x509.UniformResourceIdentifier("http://lists.example/")], None, None, None)])
    ],
)


async def fetch(_url: str) -> bytes:
    """Return a list that names the server."""
    return pki.revocation_list(pki.ca1(), revoked=[REVOKED], encoding=pki.DER)


def client_sets() -> dict[str, dict[str, Any]]:
    """Return sets of options, some of which find the server good."""
    lists = tlsio.CrlCache(fetch=fetch)
    soft = {"reject_unauthorized": False}
    return {
        "strict": {},
        "soft": soft,
        "another ca": {"ca": pki.ca2().cert_pem},
        "another ca, soft": {"ca": pki.ca2().cert_pem, **soft},
        "ocsp": {"ocsp": "check"},
        "ocsp, soft": {"ocsp": "require", **soft},
        "lists": {"fetch_crl": lists},
        "lists, soft": {"fetch_crl": lists, **soft},
        "pins, soft": {"pins": [bytes(32)], **soft},
        "a check of the name, soft": {"check_server_identity": wrong_name, **soft},
        "a check of the name, ocsp, soft": {"check_server_identity": wrong_name, "ocsp": "check", **soft},
        "a good check, ocsp, soft": {"check_server_identity": lambda *_: None, "ocsp": "check", **soft},
        "rfc9525": {"identity_policy": "rfc9525"},
    }


async def result_of(net: Net, server: tlsio.Server, **options: Any) -> tuple[Any, list[bytes], bool]:
    """Connect; what was found, the sessions, and whether one was resumed."""
    try:
        back = await visit(net, server, **options)
    except tlsio.CertificateError as error:
        return error.code, [], False
    return (back.authorized, back.error), back.sessions, back.reused


@pytest.mark.slow
async def test_client_finds_by_resumption_what_it_finds_in_full(net: Net) -> None:
    """Every pair of option sets; but for a check of the name that refused before OCSP was looked at, which is then remembered."""
    sets = client_sets()
    bad = responses.respond(REVOKED, status=responses.REVOKED)
    resumed = 0
    async with net.serve(greet, cert=REVOKED.cert_pem, key=REVOKED.key_pem, ocsp_request=lambda *_: bad) as server:
        alone = {name: await result_of(net, server, **options) for name, options in sets.items()}
        assert len({str(found) for found, _, _ in alone.values()}) >= 5
        for made, (_, sessions, _) in alone.items():
            for back, options in sets.items() if sessions else ():
                found, _, reused = await result_of(net, server, session=sessions[-1], **options)
                authorized, expected = found[0] is True, alone[back][0][0] is True
                assert authorized == expected, (made, back)
                assert found == alone[back][0] or (reused and "a check of the name" in made), (made, back)
                resumed += reused
    assert resumed >= len(sets) // 2
