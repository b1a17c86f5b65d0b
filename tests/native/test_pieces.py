"""Certificates, keys, CRLs and PKCS#12 in every form; each mistake with its code and its hint."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from itertools import permutations
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat, PublicFormat

import pki
from memory import TLS_1_2, TLS_1_3, server_of, shake, std_client, std_server
from tlsio.connection.context.secure_context import create_secure_context
from tlsio.model.errors import ConfigError, TLSError, UsageValueError
from tlsio.native._core import Context, Roots
from tlsio.native.context_spec import ContextSpec, LabelledMaterial
from tlsio.trust import roots

if TYPE_CHECKING:
    from collections.abc import Callable

SECLEVEL_0 = "DEFAULT:@SECLEVEL=0"
SUITE = "TLS_AES_128_GCM_SHA256"


# --- mistakes: class, code, and a hint that says what it is ---

MISTAKES: dict[str, tuple[Callable[[], dict[str, Any]], str, str]] = {
    "cert is a key": (
        lambda: {"cert": pki.localhost().key_pem},
        "ERR_OSSL_PEM_NO_START_LINE",
        "private key, not a certificate. Were cert= and key= swapped",
    ),
    "cert is a CSR": (lambda: {"cert": csr()}, "ERR_OSSL_PEM_NO_START_LINE", "certificate request"),
    "cert is a public key": (lambda: {"cert": public_key()}, "ERR_OSSL_PEM_NO_START_LINE", "public key"),
    "cert is a CRL": (lambda: {"cert": pki.ca2_crl()}, "ERR_OSSL_PEM_NO_START_LINE", "Give it with crl="),
    "cert is PKCS#7": (lambda: {"cert": pem("PKCS7")}, "ERR_OSSL_PEM_NO_START_LINE", "openssl pkcs7"),
    "cert is PKCS#12": (lambda: {"cert": pki.localhost().pfx()}, "ERR_OSSL_ASN1_WRONG_TAG", "Give it with pfx="),
    "cert is garbage": (lambda: {"cert": b"garbage"}, "ERR_OSSL_PEM_NO_START_LINE", ""),
    "cert is spoilt": (lambda: {"cert": pem("CERTIFICATE")}, "ERR_OSSL_ASN1_WRONG_TAG", ""),
    "cert is cut": (lambda: {"cert": pki.localhost().cert_pem[:-40]}, "ERR_OSSL_PEM_BAD_END_LINE", ""),
    "cert is cut DER": (lambda: {"cert": pki.localhost().cert_der[:-1]}, "ERR_OSSL_ASN1_TOO_LONG", ""),
    "cert is longer DER": (lambda: {"cert": pki.localhost().cert_der + b"\0"}, "ERR_CRYPTO_OPERATION_FAILED", ""),
    "cert is indented": (
        lambda: {"cert": b"  " + pki.localhost().cert_pem.replace(b"\n", b"\n  ")},
        "ERR_OSSL_PEM_NO_START_LINE",
        "textwrap.dedent",
    ),
    "second certificate is spoilt": (lambda: {"cert": pki.localhost().cert_pem + pem("CERTIFICATE")}, "ERR_OSSL_ASN1_WRONG_TAG", ""),
    "key is a certificate": (lambda: {"key": pki.localhost().cert_pem}, "ERR_OSSL_UNSUPPORTED", "Were cert= and key= swapped"),
    "key is a public key": (lambda: {"key": public_key()}, "ERR_OSSL_UNSUPPORTED", "public key, not a private key"),
    "key is OpenSSH's": (lambda: {"key": openssh_key()}, "ERR_OSSL_UNSUPPORTED", "ssh-keygen -p"),
    "key is PKCS#12": (lambda: {"key": pki.localhost().pfx()}, "ERR_OSSL_ASN1_WRONG_TAG", "Give it with pfx="),
    "key is DH parameters": (lambda: {"key": pki.dh_parameters(2048)}, "ERR_OSSL_UNSUPPORTED", "Give them with dhparam="),
    "key is garbage": (lambda: {"key": b"garbage"}, "ERR_OSSL_UNSUPPORTED", ""),
    "key is spoilt": (lambda: {"key": pem("PRIVATE KEY")}, "ERR_OSSL_UNSUPPORTED", ""),
    "passphrase is missing": (lambda: {"key": pki.localhost().encrypted_key_pem()}, "ERR_OSSL_BAD_DECRYPT", "set passphrase="),
    "passphrase is wrong": (
        lambda: {"key": pki.localhost().encrypted_key_pem(), "passphrase": "x"},
        "ERR_OSSL_BAD_DECRYPT",
        "is not the one",
    ),
    "key's own passphrase wins": (
        lambda: {"key": [{"pem": pki.localhost().encrypted_key_pem(), "passphrase": "x"}], "passphrase": pki.PASSPHRASE},
        "ERR_OSSL_BAD_DECRYPT",
        "is not the one",
    ),
    "cert without key": (lambda: {"cert": pki.localhost().cert_pem}, "ERR_TLS_CERT_WITHOUT_KEY", "PEM that contains both"),
    "one of two without key": (
        lambda: {"cert": [pki.localhost().cert_pem + pki.localhost().key_pem, pki.localhost_rsa().cert_pem]},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "",
    ),
    "cert with another key": (
        lambda: {"cert": pki.localhost().cert_pem + pki.client().key_pem},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "are not a pair",
    ),
    "cert with an encrypted key": (
        lambda: {"cert": pki.localhost().cert_pem + pki.localhost().encrypted_key_pem()},
        "ERR_OSSL_BAD_DECRYPT",
        "set passphrase=",
    ),
    "key of another certificate": (
        lambda: {"cert": pki.localhost().cert_pem, "key": pki.client().key_pem},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "are not a pair",
    ),
    "key of another kind": (
        lambda: {"cert": pki.localhost().cert_pem, "key": pki.localhost_rsa().key_pem},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "are not a pair",
    ),
    "leaf is not the first": (
        lambda: {"cert": pki.ca3().cert_pem + pki.chained().cert_pem, "key": pki.chained().key_pem},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "Certificate 2 of options.cert fits the key: put the leaf first",
    ),
    "intermediate as an identity": (
        lambda: {"cert": [pki.chained().cert_pem, pki.ca3().cert_pem], "key": pki.chained().key_pem},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "put intermediates after their leaf",
    ),
    "key without its certificate": (
        lambda: {"cert": pki.localhost().cert_pem, "key": [pki.localhost().key_pem, pki.client().key_pem]},
        "ERR_OSSL_X509_KEY_VALUES_MISMATCH",
        "Every key needs its certificate",
    ),
    "certificate below the security level": (
        lambda: {"cert": weak_rsa().cert_pem, "key": weak_rsa().key_pem},
        "ERR_SSL_EE_KEY_TOO_SMALL",
        "too small: create a new one",
    ),
    "pfx without passphrase": (lambda: {"pfx": pki.localhost().pfx()}, "ERR_OSSL_PKCS12_MAC_VERIFY_FAILURE", "set passphrase="),
    "pfx with a wrong passphrase": (
        lambda: {"pfx": pki.localhost().pfx(), "passphrase": "x"},
        "ERR_OSSL_PKCS12_MAC_VERIFY_FAILURE",
        "The passphrase is wrong",
    ),
    "pfx without MAC, wrong passphrase": (
        lambda: {"pfx": pki.pfx_without_mac(), "passphrase": "x"},
        "ERR_OSSL_BAD_DECRYPT",
        "The passphrase is wrong",
    ),
    "pfx without MAC or passphrase": (lambda: {"pfx": pki.pfx_without_mac()}, "ERR_OSSL_BAD_DECRYPT", "set passphrase="),
    "pfx is garbage": (lambda: {"pfx": b"garbage"}, "ERR_OSSL_ASN1_TOO_LONG", ""),
    "pfx is PEM": (lambda: {"pfx": pki.localhost().cert_pem}, "ERR_OSSL_ASN1_WRONG_TAG", "Give it with cert= or ca="),
    "pfx under RC2": (
        lambda: {"pfx": pki.legacy_pfx(), "passphrase": pki.PASSPHRASE},
        "ERR_CRYPTO_UNSUPPORTED_OPERATION",
        "openssl pkcs12 -legacy",
    ),
    "pfx without a key": (
        lambda: {"pfx": pki.cert_without_key_pfx(), "passphrase": pki.PASSPHRASE},
        "ERR_CRYPTO_OPERATION_FAILED",
        "with its private key",
    ),
    "ca is a key's DER": (lambda: {"ca": pki.localhost().key_der}, "ERR_OSSL_ASN1_WRONG_TAG", "ca= needs certificates"),
    "ca is spoilt": (lambda: {"ca": pem("CERTIFICATE")}, "ERR_OSSL_ASN1_WRONG_TAG", ""),
    "extra_ca is spoilt": (lambda: {"extra_ca": pem("CERTIFICATE")}, "ERR_OSSL_ASN1_WRONG_TAG", ""),
    "crl is garbage": (lambda: {"crl": b"garbage"}, "ERR_CRYPTO_OPERATION_FAILED", ""),
    "crl is spoilt": (lambda: {"crl": pem("X509 CRL")}, "ERR_CRYPTO_OPERATION_FAILED", ""),
    "crl is spoilt DER": (lambda: {"crl": b"\x30\x03\x02\x01\x07"}, "ERR_CRYPTO_OPERATION_FAILED", ""),
    "crl is a certificate": (lambda: {"crl": pki.ca2().cert_pem}, "ERR_CRYPTO_OPERATION_FAILED", "not a certificate revocation list"),
    "cipher unknown": (lambda: {"ciphers": "FOOBARBAZ"}, "ERR_SSL_NO_CIPHER_MATCH", "in upper case"),
    "suite unknown": (lambda: {"ciphers": "TLS_not_a_cipher"}, "ERR_SSL_NO_CIPHER_MATCH", "in upper case"),
    "nothing but a level": (lambda: {"ciphers": "@SECLEVEL=1"}, "ERR_SSL_NO_CIPHER_MATCH", "put DEFAULT"),
    "everything excluded": (lambda: {"ciphers": f"{SUITE}:!{SUITE}"}, "ERR_SSL_NO_CIPHER_MATCH", ""),
    "sigalgs unknown": (lambda: {"sigalgs": "nothing+SHA256"}, "ERR_CRYPTO_OPERATION_FAILED", "ECDSA+SHA256"),
    "curve unknown": (lambda: {"ecdh_curve": "nothing"}, "ERR_CRYPTO_OPERATION_FAILED", "X25519:P-256"),
    "dhparam of 1024 bits": (lambda: {"dhparam": pki.dh_parameters(1024)}, "ERR_CRYPTO_OPERATION_FAILED", "dhparam='auto'"),
    "dhparam is spoilt": (lambda: {"dhparam": pki.DH_GARBAGE}, "ERR_OSSL_UNSUPPORTED", ""),
    "dhparam is garbage": (lambda: {"dhparam": b"garbage"}, "ERR_OSSL_UNSUPPORTED", ""),
    "dhparam is a key": (lambda: {"dhparam": pki.localhost().key_pem}, "ERR_OSSL_UNSUPPORTED", "Give it with key="),
}


@pytest.mark.node("tls-passphrase", "tls-error-stack", "tls-dhe")
@pytest.mark.parametrize(("options", "code", "hint"), list(MISTAKES.values()), ids=list(MISTAKES))
def test_mistake_is_told_with_code_and_hint(options: Callable[[], dict[str, Any]], code: str, hint: str) -> None:
    """The owner of the configuration is at fault; the error says how, and OpenSSL's reason stays whole."""
    with pytest.raises(ConfigError) as caught:
        create_secure_context(**options())
    assert caught.value.code == code
    assert hint in (caught.value.hint or "")
    assert caught.value.reason is None or caught.value.reason in caught.value.openssl_errors[0]


def test_wrong_passphrases_of_a_pfx_without_mac_have_one_code() -> None:
    """Of 256, one leaves a padding that is right, and contents that are not."""
    pfx = pki.pfx_without_mac("-iter", "1", "-nomac")  # -iter alone would bring a MAC back
    for number in range(1000):
        with pytest.raises(ConfigError) as caught:
            create_secure_context(pfx=pfx, passphrase=f"wrong {number}")
        assert (caught.value.code, caught.value.hint) == ("ERR_OSSL_BAD_DECRYPT", "The passphrase is wrong.")


def test_message_names_option_and_place_in_the_list() -> None:
    """Among several the guilty one is told."""
    with pytest.raises(ConfigError, match=r"options\.key\[1\]"):
        create_secure_context(key=[pki.localhost().key_pem, b"garbage"])


def test_curve_error_reads_as_nodes() -> None:
    """Programs look for the words."""
    with pytest.raises(ConfigError, match="Failed to set ECDH curve"):
        create_secure_context(ecdh_curve="X25519:nothing")


@pytest.mark.node("tls-dhe")
def test_small_dh_parameters_are_refused() -> None:
    """A value that cannot be used, whatever the security level."""
    with pytest.raises(UsageValueError, match="DH parameter is less than 1024 bits") as caught:
        create_secure_context(dhparam=pki.dh_parameters(512), ciphers="ALL:@SECLEVEL=0")
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.node("tls-dhe")
def test_middling_dh_parameters_warn() -> None:
    """Allowed by a lower security level, and said aloud."""
    with pytest.warns(UserWarning, match="1024 bits is less than 2048"):
        create_secure_context(dhparam=pki.dh_parameters(1024), ciphers="DEFAULT:@SECLEVEL=1")


def test_error_of_one_context_does_not_reach_the_next() -> None:
    """The error queue is read to its end."""
    for options in (value[0] for value in MISTAKES.values()):
        with suppress(TLSError):
            create_secure_context(**options())
        create_secure_context(ca=[])


@pytest.mark.slow
def test_failing_contexts_leave_no_memory_behind() -> None:
    """What was made before the failure is freed: the process does not grow."""

    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123 - a file of the kernel
            return int(statm.read().split()[1])

    who, other = pki.chained(), pki.localhost_rsa()
    sizes = []
    for _ in range(3):
        for _ in range(200):
            with pytest.raises(ConfigError):
                create_secure_context(cert=[who.chain_pem, other.cert_pem], key=who.key_pem, ca=pki.ca1().cert_pem, crl=pki.ca1_crl())
        sizes.append(resident())
    assert sizes[2] - sizes[1] < 100  # pages; one leaked SSL_CTX each would be 600 and more


# --- certificates and keys ---


@pytest.mark.node("tls-multi-key")
@pytest.mark.parametrize("order", list(permutations(range(4))), ids=str)
def test_identities_come_in_any_order(order: tuple[int, ...]) -> None:
    """Certificates and keys are matched by public key; a client gets the kind its ciphers ask for."""
    ecdsa, rsa_ = pki.localhost(), pki.localhost_rsa()
    parts = [("cert", ecdsa.chain_pem), ("cert", rsa_.chain_pem), ("key", ecdsa.key_pem), ("key", rsa_.key_pem)]
    chosen = [parts[index] for index in order]
    options = {kind: [data for name, data in chosen if name == kind] for kind in ("cert", "key")}
    context = create_secure_context(**options)
    for ciphers, who in (("ECDHE-ECDSA-AES128-GCM-SHA256", ecdsa), ("ECDHE-RSA-AES128-GCM-SHA256", rsa_)):
        outcome = shake(context, std_client(ca=pki.ca1(), ciphers=ciphers, version=TLS_1_2))
        assert outcome.peer.getpeercert(binary_form=True) == who.cert_der


@pytest.mark.parametrize("form", ["pem", "der", "object", "crlf", "bom", "text around"])
def test_forms_of_certificate_and_key(form: str) -> None:
    """Content in every form that one meets."""
    who = pki.localhost()
    forms: dict[str, tuple[Any, Any]] = {
        "pem": (who.cert_pem.decode(), who.key_pem.decode()),
        "der": (who.cert_der, who.key_der),
        "object": (who.certificate, who.key),
        "crlf": (who.cert_pem.replace(b"\n", b"\r\n"), who.key_pem.replace(b"\n", b"\r\n")),
        "bom": (b"\xef\xbb\xbf" + who.cert_pem, b"\xef\xbb\xbf" + who.key_pem),
        "text around": (b"subject=localhost\n" + who.cert_pem + b"\nend\n", b"Bag Attributes\n" + who.key_pem),
    }
    cert, key = forms[form]
    assert shake(create_secure_context(cert=cert, key=key), std_client(ca=pki.ca1())).opened


@pytest.mark.node("tls-client-auth")
@pytest.mark.parametrize("label", ["CERTIFICATE", "X509 CERTIFICATE", "TRUSTED CERTIFICATE"])
def test_labels_of_certificates(label: str) -> None:
    """OpenSSL's older labels are read too."""
    who = pki.localhost()
    cert = who.cert_pem.replace(b" CERTIFICATE-", f" {label}-".encode())
    assert shake(create_secure_context(cert=cert, key=who.key_pem), std_client(ca=pki.ca1())).opened


def test_certificate_and_key_in_one_pem() -> None:
    """Each option takes its own block out of a file that holds both."""
    both = pki.chained().key_pem + pki.chained().chain_pem
    assert shake(create_secure_context(cert=both, key=both), std_client(ca=pki.ca1())).opened


@pytest.mark.parametrize("encoded", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL], ids=["PKCS#8", "older"])
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_formats_of_keys(kind: str, encoded: PrivateFormat) -> None:
    """PKCS#8 and the older SEC1 and PKCS#1."""
    who = {"ec": pki.localhost, "rsa": pki.localhost_rsa}[kind]()
    key = who.key.private_bytes(Encoding.PEM, encoded, NoEncryption())
    assert shake(create_secure_context(cert=who.cert_pem, key=key), std_client(ca=pki.ca1())).opened


def test_ed25519_key() -> None:
    """A third kind of key beside RSA and EC."""
    key = ed25519.Ed25519PrivateKey.generate()
    name = pki.localhost().certificate.subject
    cert = x509.CertificateBuilder(name, name, key.public_key(), 1, pki.NOW - pki.DAY, pki.NOW + pki.DAY).sign(key, None)
    assert shake(create_secure_context(cert=cert, key=key), std_client()).opened


@pytest.mark.node("tls-passphrase")
@pytest.mark.parametrize("passphrase", [pki.PASSPHRASE, pki.PASSPHRASE.decode()], ids=["bytes", "str"])
@pytest.mark.parametrize("own", [False, True], ids=["option", "own"])
def test_encrypted_key(*, passphrase: str | bytes, own: bool) -> None:
    """By the option, or by the key's own passphrase, which wins over the option."""
    who = pki.localhost()
    key = who.encrypted_key_pem()
    options: dict[str, Any] = (
        {"key": [{"pem": key, "passphrase": passphrase}], "passphrase": "x"} if own else {"key": key, "passphrase": passphrase}
    )
    assert shake(create_secure_context(cert=who.cert_pem, **options), std_client(ca=pki.ca1())).opened


def test_encrypted_der_key() -> None:
    """PKCS#8 under a passphrase, without PEM around it."""
    who = pki.localhost()
    key = who._key_bytes(Encoding.DER, BestAvailableEncryption(pki.PASSPHRASE))
    assert shake(create_secure_context(cert=who.cert_pem, key=key, passphrase=pki.PASSPHRASE), std_client(ca=pki.ca1())).opened
    with pytest.raises(ConfigError) as caught:
        create_secure_context(cert=who.cert_pem, key=key)
    assert caught.value.code == "ERR_OSSL_BAD_DECRYPT"


@pytest.mark.node("tls-passphrase")
def test_passphrase_of_an_unencrypted_key_is_ignored() -> None:
    """As in Node."""
    assert server_of(pki.localhost(), passphrase="x")


@pytest.mark.parametrize("options", [{"key": lambda who: who.key_pem}, {}], ids=["key", "neither"])
def test_missing_certificate_fails_the_handshake_only(options: dict[str, Any]) -> None:
    """Legal, as in Node: a replace may bring the other half."""
    context = create_secure_context(**{name: of(pki.localhost()) for name, of in options.items()})
    assert shake(context, std_client()).code == "ERR_SSL_NO_SHARED_CIPHER" or not shake(context, std_client()).opened
    assert context.replace(cert=pki.localhost().cert_pem, key=pki.localhost().key_pem)


def test_security_level_is_set_before_the_certificate_is_loaded() -> None:
    """A weak certificate is taken at the level that allows it, wherever `ciphers` stands among the options."""
    weak = weak_rsa()
    assert create_secure_context(cert=weak.cert_pem, key=weak.key_pem, ciphers=SECLEVEL_0)
    assert create_secure_context(ciphers=SECLEVEL_0, key=weak.key_pem, cert=weak.cert_pem)


# --- the native objects ---


def test_roots_share_and_extend() -> None:
    """The base stays what it is."""
    base = Roots([LabelledMaterial("one", pki.ca1().cert_pem)])
    more = Roots([LabelledMaterial("two", pki.ca2().cert_pem)], base=base)
    assert (len(base), len(more)) == (1, 2)
    assert base.digest != more.digest
    assert more.subject_names == (pki.ca1().certificate.subject.public_bytes(), pki.ca2().certificate.subject.public_bytes())


def test_all_bundled_roots_are_parsed() -> None:
    """Each PEM of the bundle is one certificate."""
    assert len(Roots([LabelledMaterial("bundled", "".join(roots.bundled()).encode())])) == len(roots.bundled())


def test_too_many_ticket_keys_are_refused() -> None:
    """The engine's ring remembers sixteen."""
    spec = ContextSpec(roots=Roots(), min_version=TLS_1_2, max_version=TLS_1_3, ticket_keys=(bytes(48),) * 17)
    with pytest.raises(UsageValueError, match="ticket_keys"):
        Context(spec)


def test_ticket_keys_are_shared_by_contexts() -> None:
    """A ticket of one is taken by another with the same keys, and by none with others."""
    keys = bytes(range(48))
    client = std_client(ca=pki.ca1(), version=TLS_1_2)
    session = shake(server_of(pki.localhost(), ticket_keys=keys), client).peer.session
    for other, reused in (([b"n" * 48, keys], True), (b"n" * 48, False)):
        outcome = shake(server_of(pki.localhost(), ticket_keys=other), client, session=session)
        assert outcome.peer.session_reused is reused


# --- what is given in place of the right thing ---


def pem(label: str, content: str = "AAAA") -> bytes:
    """Return a PEM block of which only the label is right."""
    return f"-----BEGIN {label}-----\n{content}\n-----END {label}-----\n".encode()


def csr() -> bytes:
    """Return a certificate request in PEM."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(pki.localhost().certificate.subject)
    return builder.sign(pki.localhost().key, hashes.SHA256()).public_bytes(Encoding.PEM)


def public_key() -> bytes:
    """Return localhost's public key in PEM."""
    return pki.localhost().key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def openssh_key() -> bytes:
    """Return localhost's private key as OpenSSH keeps it."""
    return pki.localhost().key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


@cache
def weak_rsa() -> pki.Identity:
    """Return a self-signed identity with an RSA key of 1024 bits."""
    return pki.leaf("localhost", key=rsa.generate_private_key(65537, 1024))  # noqa: S505 - what is refused has to be made first


@pytest.mark.parametrize(
    ("pfx", "passphrase"),
    [
        (pki.pfx_without_mac, "sample"),
        (lambda: pki.pfx_without_mac("-keypbe", "NONE", "-certpbe", "NONE"), None),
        (lambda: pki.pfx_without_mac("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", passphrase=""), None),
        (lambda: pki.pfx_without_mac("-keypbe", "PBE-SHA1-3DES", "-certpbe", "PBE-SHA1-3DES", passphrase=""), ""),
    ],
    ids=["encrypted", "open", "empty passphrase, not given", "empty passphrase"],
)
def test_pfx_without_mac(pfx: Callable[[], bytes], passphrase: str | None) -> None:
    """RFC 7292 makes it optional."""
    context = create_secure_context(pfx=pfx(), passphrase=passphrase)
    assert shake(context, std_client()).opened


def test_settings_of_a_trusted_certificate_stay() -> None:
    """They decide what it is trusted for, and so which trust this is; the least trusting copy counts, whatever the order."""
    plain, rejected = pki.ca1().cert_pem, pki.with_settings(pki.ca1(), "-addreject", "serverAuth")
    digests = {
        Roots([LabelledMaterial("ca", data)]).digest
        for data in (plain, rejected, pki.with_settings(pki.ca1(), "-addtrust", "emailProtection"))
    }
    assert len(digests) == 3
    assert Roots([LabelledMaterial("ca", pki.with_settings(pki.ca1()))]).digest == Roots([LabelledMaterial("ca", plain)]).digest
    for ca in (rejected, [plain, rejected], [rejected, plain], plain + rejected):
        assert not shake(create_secure_context(ca=ca), std_server(pki.localhost()), is_server=False).opened


def test_certificates_are_found_by_subject() -> None:
    """As OpenSSL compares names."""
    trusted = Roots([LabelledMaterial("ca", pki.ca1().cert_pem + pki.ca2().cert_pem)])
    assert trusted.find(pki.ca1().certificate.subject.public_bytes()) == (pki.ca1().cert_der,)
    assert trusted.find(pki.ca3().certificate.subject.public_bytes()) == ()
    assert trusted.find(b"nonsense") == ()
