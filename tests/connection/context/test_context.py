"""SecureContext: each option with its effect on a handshake."""

from __future__ import annotations

import copy
import pickle
import ssl
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, pkcs12

import pki
from memory import CERTIFICATE_REQUEST, TLS_1_2, TLS_1_3, server_of, shake, std_client, std_server
from tlsio.connection.context.secure_context import create_secure_context, get_ciphers
from tlsio.model.constants import SSL_OP_NO_TLSv1_3, defaults
from tlsio.model.errors import ConfigError, UsageTypeError
from tlsio.model.options.context import ContextOptions
from tlsio.native._core import openssl_version

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from memory import Outcome

SUITES = ("TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256")

# --- the object ---


def test_defaults_are_tls_1_2_and_1_3() -> None:
    """Nothing given: Node's versions."""
    native = create_secure_context().native
    assert (native.min_version, native.max_version) == (TLS_1_2, TLS_1_3)


def test_unknown_option_names_the_nearest() -> None:
    """The door is the model's."""
    with pytest.raises(UsageTypeError, match="request_cert"):
        create_secure_context(requestCert=True)  # type: ignore[call-arg]


@pytest.mark.node("tls-connect-secure-context")
def test_none_is_the_same_as_not_given() -> None:
    """Every option may be None."""
    nothing: dict[str, Any] = dict.fromkeys(ContextOptions.__dataclass_fields__)
    assert create_secure_context(**nothing).options == ContextOptions()


def test_options_are_what_was_given() -> None:
    """The frozen options stay readable."""
    assert create_secure_context(min_version="TLSv1.3").options.min_version == "TLSv1.3"


@pytest.mark.parametrize("name", ["options", "min_version"])
def test_attributes_cannot_be_set(name: str) -> None:
    """Live connections use it."""
    with pytest.raises(AttributeError):
        setattr(create_secure_context(), name, None)


def test_repr_tells_names_and_no_secrets() -> None:
    """Neither key nor passphrase shows, nor in the options."""
    who = pki.localhost()
    context = create_secure_context(cert=who.cert_pem, key=who.encrypted_key_pem(), passphrase=pki.PASSPHRASE, ticket_keys=b"T" * 48)
    assert repr(context) == "<SecureContext of cert, key, passphrase, ticket_keys>"
    for text in (repr(context.options), str(context)):
        assert pki.PASSPHRASE.decode() not in text
        assert "PRIVATE" not in text
        assert "TTTT" not in text


def test_repr_without_options() -> None:
    """No option: the defaults."""
    assert repr(create_secure_context()) == "<SecureContext of defaults>"


@pytest.mark.parametrize("duplicate", [pickle.dumps, copy.copy, copy.deepcopy], ids=lambda function: function.__name__)
def test_is_neither_pickled_nor_copied(duplicate: Callable[[object], object]) -> None:
    """It holds private keys."""
    with pytest.raises(UsageTypeError, match="cannot be pickled or copied"):
        duplicate(create_secure_context())


def test_replace_makes_a_changed_copy() -> None:
    """The original stays what it is."""
    first = server_of(pki.localhost())
    second = first.replace(min_version="TLSv1.3")
    assert (first.native.min_version, second.native.min_version) == (TLS_1_2, TLS_1_3)
    assert second.options.cert == first.options.cert
    assert shake(second, std_client(ca=pki.ca1())).opened


def test_replace_that_fails_leaves_the_original_usable() -> None:
    """An error makes nothing."""
    context = server_of(pki.localhost())
    with pytest.raises(ConfigError):
        context.replace(key=pki.client().key_pem)
    assert shake(context, std_client(ca=pki.ca1())).opened


def test_second_default_context_shares_the_parsed_roots() -> None:
    """Parsing the bundle costs a hundred times what the rest of a context costs."""
    first, second = create_secure_context(), create_secure_context(min_version="TLSv1.3")
    assert first is not second
    tracemalloc.start()
    kept = [create_secure_context() for _ in range(3)]
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == 3
    assert size < 20_000  # the owners of 140 parsed certificates alone take more


# --- names of ciphers ---


def test_ciphers_are_listed_in_lower_case() -> None:
    """Each once, sorted, TLS 1.3's that are off by default included; a list of the caller's own."""
    names = get_ciphers()
    assert names == sorted({name.lower() for name in names})
    assert {"tls_aes_256_gcm_sha384", "tls_aes_128_ccm_8_sha256", "ecdhe-ecdsa-aes128-gcm-sha256", "aes256-sha"} <= set(names)
    names.clear()
    assert get_ciphers() != []


def test_listed_ciphers_are_taken_in_upper_case() -> None:
    """Each listed name is accepted in upper case. Lower case is rejected, as in Node, before OpenSSL 4.0."""
    create_secure_context(ciphers=":".join(name.upper() for name in get_ciphers()))
    if openssl_version < "OpenSSL 4":
        with pytest.raises(ConfigError) as caught:
            create_secure_context(ciphers="aes256-sha")
        assert caught.value.code == "ERR_SSL_NO_CIPHER_MATCH"
        assert "in upper case" in (caught.value.hint or "")


# --- the chain that is sent ---


def sent_chain(**options: Any) -> list[str]:
    """Return the names of the chain a server with these options sends."""
    return shake(create_secure_context(**options), std_client(version=TLS_1_2)).chain


def test_intermediates_of_cert_are_sent() -> None:
    """The usual file: leaf, then intermediates."""
    assert sent_chain(cert=pki.chained().chain_pem, key=pki.chained().key_pem) == ["localhost", "ca3"]


@pytest.mark.node("tls-cert-chains-in-ca")
def test_missing_intermediate_is_completed_from_ca_without_the_root() -> None:
    """Node's auto-chain, built once; who verifies has the root."""
    leaf, ca = pki.chained(), [pki.ca1().cert_pem, pki.ca3().cert_pem]
    assert sent_chain(cert=leaf.cert_pem, key=leaf.key_pem, ca=ca) == ["localhost", "ca3"]


def test_missing_intermediate_is_completed_from_extra_ca() -> None:
    """Added trust completes too."""
    leaf = pki.chained()
    assert sent_chain(cert=leaf.cert_pem, key=leaf.key_pem, extra_ca=pki.ca3().cert_pem) == ["localhost", "ca3"]


def test_unknown_intermediate_is_left_out() -> None:
    """Nothing is looked for elsewhere."""
    assert sent_chain(cert=pki.chained().cert_pem, key=pki.chained().key_pem) == ["localhost"]


def test_given_root_is_sent() -> None:
    """What the owner put into the file goes out."""
    chain = pki.chained().chain_pem + pki.ca1().cert_pem
    assert sent_chain(cert=chain, key=pki.chained().key_pem) == ["localhost", "ca3", "ca1"]


def test_intermediates_in_disorder_are_sent_in_order() -> None:
    """RFC 5246 §7.4.2: "Each following certificate MUST directly certify the one preceding it."."""
    chain = pki.chained().cert_pem + pki.ca1().cert_pem + pki.ca3().cert_pem
    assert sent_chain(cert=chain, key=pki.chained().key_pem) == ["localhost", "ca3", "ca1"]


def test_given_certificate_that_fits_nowhere_is_sent_last() -> None:
    """Another path for another verifier, perhaps: not ours to drop."""
    chain = pki.chained().cert_pem + pki.ca5().cert_pem + pki.ca3().cert_pem
    assert sent_chain(cert=chain, key=pki.chained().key_pem) == ["localhost", "ca3", "ca5"]


def test_authorities_that_certify_each_other_end() -> None:
    """A ring of cross-signed authorities has no root to stop at."""
    one, other = pki.authority("one"), pki.authority("other")
    crossed_one = pki.leaf("one", issuer=other, key=one.key, extensions=[x509.BasicConstraints(ca=True, path_length=None)])
    crossed_other = pki.leaf("other", issuer=one, key=other.key, extensions=[x509.BasicConstraints(ca=True, path_length=None)])
    leaf = pki.leaf("localhost", issuer=one)
    chain = sent_chain(cert=leaf.cert_pem, key=leaf.key_pem, ca=[crossed_one.cert_pem, crossed_other.cert_pem])
    assert chain == ["localhost", "one", "other"]


def test_client_sends_its_chain() -> None:
    """One context serves both roles."""
    who = pki.ec10()
    context = server_of(who, ca=pki.ca1().cert_pem)
    outcome = shake(context, std_server(pki.localhost(), client_ca=pki.ca5(), version=TLS_1_2), is_server=False)
    assert outcome.chain == ["agent10.example.com", "ca6"]


# --- PKCS#12 ---


def test_pfx_is_an_identity_with_its_chain() -> None:
    """Key, certificate and intermediates in one."""
    assert sent_chain(pfx=pki.chained().pfx(), passphrase=pki.PASSPHRASE) == ["localhost", "ca3"]


@pytest.mark.parametrize("passphrase", [None, ""], ids=["none", "empty"])
def test_pfx_without_passphrase(passphrase: str | None) -> None:
    """Not encrypted: none is needed."""
    assert create_secure_context(pfx=pki.chained().pfx(None), passphrase=passphrase)


def test_several_pfx_with_passphrases_of_their_own() -> None:
    """Two kinds of key, two files, two secrets."""
    ecdsa, rsa_ = pki.localhost(), pki.localhost_rsa()
    context = create_secure_context(pfx=[{"buf": ecdsa.pfx(b"one"), "passphrase": "one"}, {"buf": rsa_.pfx(b"two"), "passphrase": "two"}])
    for ciphers, who in (("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa), ("ECDHE-RSA-AES128-GCM-SHA256", rsa_)):
        outcome = shake(context, std_client(ca=pki.ca1(), ciphers=ciphers, version=TLS_1_2))
        assert outcome.peer.getpeercert(binary_form=True) == who.cert_der


def test_pfx_beside_cert_and_key() -> None:
    """As in Node; v4 had them exclude each other."""
    ecdsa, rsa_ = pki.localhost(), pki.localhost_rsa()
    context = create_secure_context(pfx=ecdsa.pfx(), passphrase=pki.PASSPHRASE, cert=rsa_.cert_pem, key=rsa_.key_pem)
    outcome = shake(context, std_client(ca=pki.ca1(), ciphers="ECDHE-RSA-AES128-GCM-SHA256", version=TLS_1_2))
    assert outcome.peer.getpeercert(binary_form=True) == rsa_.cert_der


def test_certificates_beside_the_identity_of_a_pfx_are_trusted_and_named_to_clients() -> None:
    """Node adds them to the trust and to the names in CertificateRequest."""
    who = pki.leaf("localhost", issuer=pki.ca2())
    bundle = pkcs12.serialize_key_and_certificates(None, who.key, who.certificate, [pki.ca1().certificate], NoEncryption())
    context = create_secure_context(pfx=bundle, request_cert=True)
    outcome = shake(context, std_client(identity=pki.client(), version=TLS_1_2))
    assert outcome.opened
    assert names_asked_for(outcome) == [pki.ca1()]


# --- ciphers ---


@pytest.mark.parametrize(
    ("ciphers", "versions"),
    [
        ("TLS_AES_128_GCM_SHA256", (TLS_1_3, TLS_1_3)),
        ("TLS_AES_128_GCM_SHA256:@SECLEVEL=1", (TLS_1_3, TLS_1_3)),
        ("!TLS_AES_128_GCM_SHA256", (TLS_1_3, TLS_1_3)),
        ("AES128-SHA", (TLS_1_2, TLS_1_3)),
        ("AES128-SHA:TLS_AES_128_GCM_SHA256", (TLS_1_2, TLS_1_3)),
        (":".join(f"!{suite}" for suite in SUITES) + ":AES128-SHA", (TLS_1_2, TLS_1_2)),
        ("DEFAULT@SECLEVEL=1", (TLS_1_2, TLS_1_3)),
    ],
)
def test_ciphers_narrow_the_versions(ciphers: str, versions: tuple[int, int]) -> None:
    """Only TLS 1.3 names leave only TLS 1.3; older names alone keep the default suites on."""
    native = create_secure_context(ciphers=ciphers).native
    assert (native.min_version, native.max_version) == versions


@pytest.mark.parametrize(
    ("ciphers", "chosen"),
    [
        ("TLS_AES_256_GCM_SHA384:!TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"),
        ("TLS_CHACHA20_POLY1305_SHA256", "TLS_CHACHA20_POLY1305_SHA256"),
        ("!TLS_AES_256_GCM_SHA384:!TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_128_GCM_SHA256"),
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "TLS_AES_256_GCM_SHA384"),
        ("TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256"),
    ],
)
def test_ciphers_choose_the_suite(ciphers: str, chosen: str) -> None:
    """TLS 1.3 comes first whatever else is named, and the server's order counts."""
    outcome = shake(server_of(pki.localhost(), ciphers=ciphers), std_client(ca=pki.ca1()))
    assert outcome.peer.cipher()[0] == chosen


@pytest.mark.parametrize(
    ("honor", "chosen"),
    [(None, "ECDHE-ECDSA-AES256-GCM-SHA384"), (True, "ECDHE-ECDSA-AES256-GCM-SHA384"), (False, "ECDHE-ECDSA-AES128-GCM-SHA256")],
)
def test_honor_cipher_order(*, honor: bool | None, chosen: str) -> None:
    """The server's order unless it says otherwise."""
    ours = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256"
    theirs = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384"
    context = server_of(pki.localhost(), ciphers=ours, honor_cipher_order=honor)
    assert shake(context, std_client(ca=pki.ca1(), ciphers=theirs, version=TLS_1_2)).peer.cipher()[0] == chosen


def test_no_common_cipher() -> None:
    """Appendix E of Node's matrix: never from 1.3 down to 1.2."""
    context = server_of(pki.localhost(), ciphers="ECDHE-ECDSA-AES128-GCM-SHA256", max_version="TLSv1.2")
    client = std_client(ca=pki.ca1(), ciphers="ECDHE-ECDSA-AES256-GCM-SHA384", version=TLS_1_2)
    assert shake(context, client).code == "ERR_SSL_NO_SHARED_CIPHER"


def test_default_ciphers_are_read_when_a_context_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tlsio.defaults` reaches contexts made later."""
    monkeypatch.setattr(defaults, "ciphers", SUITES[1])
    assert create_secure_context().native.min_version == TLS_1_3


# --- versions, options, groups, algorithms ---


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (None, "TLSv1.2", (0x0303, 0x0303)),
        ("TLSv1.3", None, (0x0304, 0x0304)),
        ("TLSv1", "TLSv1.1", (0x0301, 0x0302)),
        (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2, (0x0303, 0x0303)),
    ],
)
def test_versions(low: Any, high: Any, expected: tuple[int, int]) -> None:
    """Both bounds."""
    native = create_secure_context(min_version=low, max_version=high, ciphers="DEFAULT@SECLEVEL=0").native
    assert (native.min_version, native.max_version) == expected


@pytest.mark.node("tls-cli-max-version-1.2")
def test_default_versions_are_read_when_a_context_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tlsio.defaults` reaches contexts made later."""
    monkeypatch.setattr(defaults, "min_version", "TLSv1.1")
    monkeypatch.setattr(defaults, "max_version", "TLSv1.2")
    native = create_secure_context().native
    assert (native.min_version, native.max_version) == (0x0302, 0x0303)


@pytest.mark.parametrize(("version", "opened"), [(TLS_1_2, False), (TLS_1_3, True)])
def test_minimum_is_kept_by_the_handshake(*, version: int, opened: bool) -> None:
    """An older client is refused."""
    assert shake(server_of(pki.localhost(), min_version="TLSv1.3"), std_client(ca=pki.ca1(), version=version)).opened is opened


def test_secure_options() -> None:
    """OpenSSL's bits are set besides ours."""
    outcome = shake(server_of(pki.localhost(), secure_options=SSL_OP_NO_TLSv1_3), std_client(ca=pki.ca1()))
    assert outcome.peer.version() == "TLSv1.2"


@pytest.mark.node("tls-ecdh", "tls-ecdh-auto")
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize(("curves", "opened"), [("auto", True), ("prime256v1", True), ("secp521r1:prime256v1", True), ("secp521r1", False)])
def test_ecdh_curve(*, curves: str, opened: bool, version: int) -> None:
    """The groups we speak, beside a client that speaks P-256 only."""
    client = std_client(ca=pki.ca1(), version=version)
    client.set_ecdh_curve("prime256v1")
    assert shake(server_of(pki.localhost(), ecdh_curve=curves), client).opened is opened


def test_default_curve_is_read_when_a_context_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tlsio.defaults` reaches contexts made later."""
    monkeypatch.setattr(defaults, "ecdh_curve", "nothing")
    with pytest.raises(ConfigError, match="ECDH curve"):
        create_secure_context()


@pytest.mark.parametrize(("sigalgs", "opened"), [("ECDSA+SHA256", True), ("RSA-PSS+SHA256", False)])
def test_sigalgs(*, sigalgs: str, opened: bool) -> None:
    """An EC certificate cannot sign with RSA."""
    assert shake(server_of(pki.localhost(), sigalgs=sigalgs), std_client(ca=pki.ca1())).opened is opened


@pytest.mark.node("tls-dhe")
@pytest.mark.parametrize(
    ("dhparam", "opened"),
    [(None, False), ("auto", True), (pki.dh_parameters(2048), True), (pki.dh_parameters(3072), True)],
    ids=["unset", "auto", "2048", "3072"],
)
def test_dhparam_turns_dhe_on(*, dhparam: Any, opened: bool) -> None:
    """Off unless asked for."""
    client = std_client(ca=pki.ca1(), ciphers="DHE-RSA-AES128-GCM-SHA256", version=TLS_1_2)
    assert shake(server_of(pki.localhost_rsa(), dhparam=dhparam), client).opened is opened


def test_alpn_protocols_are_negotiated() -> None:
    """The server's order wins."""
    client = std_client(ca=pki.ca1())
    client.set_alpn_protocols(["c", "b"])
    outcome = shake(server_of(pki.localhost(), alpn_protocols=["a", "b", "c"]), client)
    assert outcome.peer.selected_alpn_protocol() == "b"


# --- trust ---


def names_asked_for(outcome: Outcome) -> list[pki.Identity]:
    """Return which of the authorities the server named in its CertificateRequest."""
    [body] = outcome.messages(CERTIFICATE_REQUEST)
    return [who for who in (pki.ca1(), pki.ca2(), pki.ca3()) if who.certificate.subject.public_bytes() in body]


@pytest.mark.node("internet/tls-add-ca-cert")
@pytest.mark.parametrize(
    ("options", "client", "code"),
    [
        ({}, pki.client, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ({"ca": pki.ca1}, pki.client, ""),
        ({"ca": pki.ca2}, pki.client, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        ({"extra_ca": pki.ca1}, pki.client, ""),
        ({"ca": pki.ca2, "extra_ca": pki.ca1}, pki.client, ""),
        ({"ca": pki.ca1}, None, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"),
        ({"ca": pki.ca1, "reject_unauthorized": False}, None, ""),
        ({"ca": pki.ca2, "reject_unauthorized": False}, pki.client, ""),
    ],
)
def test_clients_are_judged_by_the_trust(options: dict[str, Any], client: Callable[[], pki.Identity] | None, code: str) -> None:
    """`ca` instead of the default roots, `extra_ca` besides."""
    options = {name: value().cert_pem if callable(value) else value for name, value in options.items()}
    context = server_of(pki.localhost(), request_cert=True, **options)
    outcome = shake(context, std_client(identity=client() if client else None, version=TLS_1_2))
    assert (outcome.code, outcome.opened) == (code, not code)


def test_no_certificate_is_asked_for_by_default() -> None:
    """`ca` alone asks nobody."""
    outcome = shake(server_of(pki.localhost(), ca=pki.ca1().cert_pem), std_client(version=TLS_1_2))
    assert outcome.messages(CERTIFICATE_REQUEST) == []


def test_names_of_given_authorities_are_sent_to_clients() -> None:
    """So that a client with several certificates takes the right one; `extra_ca` belongs to them."""
    context = server_of(pki.localhost(), ca=[pki.ca1().cert_pem + pki.ca3().cert_pem], extra_ca=pki.ca2().cert_pem, request_cert=True)
    assert names_asked_for(shake(context, std_client(version=TLS_1_2))) == [pki.ca1(), pki.ca2(), pki.ca3()]


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize(("beyond", "sent"), [(0, True), (1, False)])
def test_names_that_fill_a_message(version: int, beyond: int, sent: bool) -> None:  # noqa: FBT001
    """As many as one message holds; none of more, so that clients can still come."""
    one = pki.leaf("0000", units=[f"{unit:02}" * 32 for unit in range(12)])
    size = len(one.certificate.subject.public_bytes()) + 2
    room = 2**16 - 4096 - len(pki.ca1().certificate.subject.public_bytes()) - 2
    named = [
        pki.leaf(f"{number:04}", key=one.key, units=[f"{unit:02}" * 32 for unit in range(12)]) for number in range(room // size + beyond)
    ]
    context = server_of(pki.localhost(), ca=[pki.ca1().cert_pem, *(who.cert_pem for who in named)], request_cert=True)
    outcome = shake(context, std_client(ca=pki.ca1(), identity=pki.client(), version=version))
    assert outcome.opened
    if version == TLS_1_2:
        assert names_asked_for(outcome) == ([pki.ca1()] if sent else [])


def test_names_of_default_roots_are_not_sent() -> None:
    """They would be long; an empty list leaves it to the client."""
    context = server_of(pki.localhost(), extra_ca=pki.ca1().cert_pem, request_cert=True)
    assert names_asked_for(shake(context, std_client(version=TLS_1_2))) == []


def test_empty_ca_trusts_nobody() -> None:
    """Not the same as leaving it out."""
    outcome = shake(create_secure_context(ca=[]), std_server(pki.localhost()), is_server=False)
    assert not outcome.opened


@pytest.mark.node("tls-ca-concat")
def test_several_authorities_in_one_pem_with_others_between() -> None:
    """A bundle may hold what is not needed."""
    bundle = pki.ca2().cert_pem + b"# a comment\n" + pki.agent2().cert_pem + pki.ca1().cert_pem
    assert shake(create_secure_context(ca=bundle), std_server(pki.localhost()), is_server=False).opened


@pytest.mark.parametrize("form", ["pem", "der", "object"])
def test_forms_of_authorities(form: str) -> None:
    """As of certificates."""
    ca: Any = {"pem": pki.ca1().cert_pem.decode(), "der": pki.ca1().cert_der, "object": pki.ca1().certificate}[form]
    assert shake(create_secure_context(ca=ca), std_server(pki.localhost()), is_server=False).opened


@pytest.mark.node("tls-client-allow-partial-trust-chain")
@pytest.mark.parametrize(("partial", "opened"), [(None, False), (True, True)])
def test_partial_chain_ends_at_a_trusted_intermediate(*, partial: bool | None, opened: bool) -> None:
    """Without it only a root ends a chain."""
    context = create_secure_context(ca=pki.intermediate_ca().cert_pem, allow_partial_trust_chain=partial)
    assert shake(context, std_server(pki.leaf_from_intermediate()), is_server=False).opened is opened


@pytest.mark.parametrize(
    ("crl", "who", "code"),
    [
        (pki.ca1_crl, pki.revoked, "CERT_REVOKED"),
        (pki.ca1_crl, pki.localhost, ""),
        (pki.ca1_crl, pki.chained, "UNABLE_TO_GET_CRL"),
    ],
    ids=["revoked", "good", "of the root only"],
)
def test_crl_is_checked_for_the_whole_chain(crl: Callable[[], bytes], who: Callable[[], pki.Identity], code: str) -> None:
    """An issuer without a CRL fails, as in Node."""
    context = create_secure_context(ca=pki.ca1().cert_pem, crl=crl())
    assert shake(context, std_server(who()), is_server=False).code == code


@pytest.mark.parametrize(
    "options",
    [
        lambda: {"ca": pki.ca1().cert_pem, "crl": pki.ca2_crl()},
        lambda: {"ca": pki.ca1().cert_pem, "crl": [pki.ca2_crl(), pki.revocation_list(pki.ca3(), revoked=[])]},
        lambda: {"ca": pki.ca1().cert_pem, "crl": pki.revocation_list(pki.ca1(), revoked=[], signer=pki.ca5())},
        lambda: {"ca": [], "crl": pki.ca1_crl()},
        lambda: {"crl": pki.ca1_crl()},
    ],
    ids=["another CA", "only an intermediate", "another key", "no CA", "default roots"],
)
def test_crl_of_no_trusted_ca_is_refused(options: Callable[[], dict[str, Any]]) -> None:
    """The last certificate of every chain would have no list, so every peer would be refused."""
    with pytest.raises(ConfigError, match="every peer would be refused") as caught:
        create_secure_context(**options())
    assert caught.value.code == "ERR_TLS_CRL_ISSUER_UNKNOWN"
    assert "ca=" in str(caught.value.hint)


def test_crls_come_as_a_list_and_in_every_form() -> None:
    """One for each issuer of the chain."""
    crl3 = x509.load_pem_x509_crl(pki.revocation_list(pki.ca3(), revoked=[]))
    for second in (crl3, crl3.public_bytes(Encoding.DER), crl3.public_bytes(Encoding.PEM).decode()):
        context = create_secure_context(ca=pki.ca1().cert_pem, crl=[pki.ca1_crl(), second])
        assert shake(context, std_server(pki.chained()), is_server=False).opened


def test_revoked_client_is_refused() -> None:
    """On the server's side too."""
    context = server_of(pki.localhost(), ca=pki.ca2().cert_pem, crl=pki.ca2_crl(), request_cert=True)
    assert shake(context, std_client(identity=pki.agent4(), version=TLS_1_2)).code == "CERT_REVOKED"
    assert shake(context, std_client(identity=pki.agent3(), version=TLS_1_2)).opened


@pytest.mark.parametrize(
    "options", [{"extra_ca": pki.ca1}, {"extra_ca": pki.ca1, "crl": pki.ca1_crl}, {"pfx": pki.chained}], ids=["extra_ca", "crl", "pfx"]
)
def test_default_roots_are_never_changed_by_a_context(options: dict[str, Any]) -> None:
    """They are shared: what one adds must not reach the others."""
    before = create_secure_context().trust_digest
    given: dict[str, Any] = {
        name: value().pfx(None) if name == "pfx" else value() if name == "crl" else value().cert_pem for name, value in options.items()
    }
    assert create_secure_context(**given).trust_digest != before
    assert not shake(create_secure_context(), std_server(pki.localhost()), is_server=False).opened
    assert create_secure_context().trust_digest == before


def test_pins_are_enforced_on_servers() -> None:
    """Any certificate of the verified chain; besides the other checks."""
    right, wrong = pki.ca1().spki_sha256, bytes(32)
    for pins, opened in (([right], True), ([wrong, right], True), ([wrong], False)):
        context = server_of(pki.localhost(), ca=pki.ca1().cert_pem, request_cert=True, pins=pins)
        assert shake(context, std_client(identity=pki.client(), version=TLS_1_2)).opened is opened


# --- files ---


def test_files_are_read(tmp_path: Path) -> None:
    """A path is read, whatever it holds."""
    for name, data in (("cert", pki.localhost().cert_der), ("key", pki.localhost().key_pem), ("ca", pki.ca1().cert_pem)):
        (tmp_path / name).write_bytes(data)
    context = create_secure_context(cert=tmp_path / "cert", key=tmp_path / "key", ca=[tmp_path / "ca"])
    assert shake(context, std_client(ca=pki.ca1())).opened


def test_copies_are_made_of_the_bytes_that_were_read(tmp_path: Path) -> None:
    """A file that changed, or may no longer be read, does not matter to a context that lives."""
    path = tmp_path / "both.pem"
    path.write_bytes(pki.localhost().key_pem + pki.localhost().cert_pem)
    context = create_secure_context(cert=path, key=path)
    path.unlink()
    assert shake(context.replace(min_version="TLSv1.3"), std_client(ca=pki.ca1())).opened


@pytest.mark.parametrize("option", ["ca", "extra_ca", "cert", "key", "pfx", "crl", "dhparam"])
def test_missing_file_is_an_oserror_that_names_the_option(option: str, tmp_path: Path) -> None:
    """Python's own error, with its path."""
    options: dict[str, Any] = {option: tmp_path / "nothing"}
    with pytest.raises(FileNotFoundError, match="nothing") as caught:
        create_secure_context(**options)
    assert f"was given as {option}=, and does not exist" in caught.value.__notes__[0]


def test_missing_file_of_several_options_is_the_first_ones(tmp_path: Path) -> None:
    """The same in each process, whatever its hash seed: a file that is certificate and key was given as `cert=`."""
    names = ["ca", "extra_ca", "cert", "key", "pfx", "crl"]
    for index, first in enumerate(names):
        options: dict[str, Any] = dict.fromkeys(names[index:], tmp_path / "nothing")
        with pytest.raises(FileNotFoundError) as caught:
            create_secure_context(**options)
        assert f"was given as {first}=" in caught.value.__notes__[0]


@pytest.mark.parametrize("option", ["ca", "cert", "key", "pfx", "crl", "dhparam"])
def test_empty_file_is_told(option: str, tmp_path: Path) -> None:
    """The usual end of a copy that failed."""
    path = tmp_path / "empty.pem"
    path.touch()
    options: dict[str, Any] = {option: path}
    with pytest.raises(ConfigError, match=r"empty\.pem") as caught:
        create_secure_context(**options)
    assert (caught.value.hint or "").startswith("It is empty: check the path")
