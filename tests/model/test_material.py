"""Certificates, keys, CRLs and PKCS#12 in every form a user may give."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, load_der_private_key
from cryptography.x509 import load_pem_x509_crl

import pki
from tlsio.model import material
from tlsio.model.errors import UsageError, UsageTypeError
from tlsio.model.material import Material

DH_PARAMETERS = "-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n"


class FakePath:
    """A path whose file system form is bytes."""

    def __fspath__(self) -> bytes:
        return b"/etc/k.pem"


class FakeParameters:
    """Stands for `DHParameters`, whose module warns on import."""

    def parameter_bytes(self, encoding: object, parameter_format: object) -> bytes:
        """Return PEM."""
        return DH_PARAMETERS.encode()


@pytest.mark.node("tls-options-boolean-check")
def test_certificate_in_every_form() -> None:
    """Text and bytes of PEM, DER, a path, an object, and lists of them."""
    agent = pki.agent1()
    pem, der, path = Material("pem", agent.cert_pem), Material("der", agent.cert_der), Material("path", path="/etc/c.pem")
    for given, expected in [
        (agent.cert_pem, (pem,)),
        (agent.cert_pem.decode(), (pem,)),
        (bytearray(agent.cert_pem), (pem,)),
        (memoryview(agent.cert_der), (der,)),
        (agent.certificate, (der,)),
        (Path("/etc/c.pem"), (path,)),
        ([agent.cert_pem, agent.certificate, Path("/etc/c.pem")], (pem, der, path)),
        ((agent.cert_pem,), (pem,)),
        ([], ()),
    ]:
        assert material.parse_certificates("options.cert", given) == expected


@pytest.mark.node("tls-options-boolean-check")
def test_key_in_every_form() -> None:
    """As certificates, and dicts with a passphrase of their own within a list."""
    agent = pki.agent1()
    encrypted = agent.encrypted_key_pem()
    (from_object,) = material.parse_keys("options.key", agent.key)
    assert from_object.kind == "der"
    assert load_der_private_key(from_object.data, None).public_key() == agent.key.public_key()
    assert material.parse_keys("options.key", FakePath()) == (Material("path", path="/etc/k.pem"),)
    assert material.parse_keys(
        "options.key", [{"pem": encrypted, "passphrase": "é"}, {"pem": Path("/k"), "passphrase": b"x"}, {"pem": agent.key_pem}]
    ) == (
        Material("pem", encrypted, passphrase="é".encode()),
        Material("path", path="/k", passphrase=b"x"),
        Material("pem", agent.key_pem),
    )


def test_pfx_in_every_form() -> None:
    """Bytes stay bytes, whatever is in them; a str can only be a mistaken path."""
    assert material.parse_pfx("options.pfx", b"0\x01") == (Material("der", b"0\x01"),)
    assert material.parse_pfx("options.pfx", pki.agent1().cert_pem) == (Material("der", pki.agent1().cert_pem),)
    assert material.parse_pfx("options.pfx", Path("/p")) == (Material("path", path="/p"),)
    assert material.parse_pfx("options.pfx", [{"buf": b"0", "passphrase": "p"}, b"1"]) == (
        Material("der", b"0", passphrase=b"p"),
        Material("der", b"1"),
    )
    with pytest.raises(UsageTypeError) as caught:
        material.parse_pfx("options.pfx", "/etc/p.pfx")
    assert "pathlib.Path" in str(caught.value.hint)


def test_revocation_list_in_every_form() -> None:
    """PEM or an object."""
    pem = pki.ca2_crl()
    loaded = load_pem_x509_crl(pem)
    assert material.parse_revocations("options.crl", [pem, loaded]) == (
        Material("pem", pem),
        Material("der", loaded.public_bytes(Encoding.DER)),
    )


def test_dh_parameters_in_every_form() -> None:
    """The word auto, PEM, a path or an object."""
    assert material.parse_dh_parameters("options.dhparam", "auto") == "auto"
    for given in (DH_PARAMETERS, FakeParameters()):
        assert material.parse_dh_parameters("options.dhparam", given) == Material("pem", DH_PARAMETERS.encode())
    assert material.parse_dh_parameters("options.dhparam", Path("/d")) == Material("path", path="/d")
    with pytest.raises(UsageTypeError, match="'auto'"):
        material.parse_dh_parameters("options.dhparam", 2048)


@pytest.mark.parametrize(
    "value",
    [
        "",
        b"",
        "no pem",
        [
            "",
        ],
        [b""],
    ],
)
def test_authority_without_certificate_raises(value: object) -> None:
    """Nobody means "trust nothing" by an empty file."""
    with pytest.raises(UsageError) as caught:
        material.parse_authorities("options.ca", value)
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


def test_authority_that_is_a_key_says_so() -> None:
    """The labels found are named."""
    with pytest.raises(UsageError, match=r"options\.ca\[1\] contains no certificate, but PRIVATE KEY"):
        material.parse_authorities("options.ca", [pki.ca1().cert_pem, pki.ca1().key_pem])


def test_authority_forms() -> None:
    """An empty list trusts nothing; paths and DER are judged by whoever reads them."""
    ca = pki.ca1()
    assert material.parse_authorities("options.ca", []) == ()
    assert material.parse_authorities("options.ca", [ca.certificate, ca.cert_pem.decode(), Path("/c")]) == (
        Material("der", ca.cert_der),
        Material("pem", ca.cert_pem),
        Material("path", path="/c"),
    )


@pytest.mark.node("tls-options-boolean-check")
@pytest.mark.parametrize(
    ("parse", "value", "code", "text"),
    [
        (material.parse_keys, "/etc/key.pem", "ERR_INVALID_ARG_VALUE", "options.x is a str that is not PEM"),
        (material.parse_keys, True, "ERR_INVALID_ARG_TYPE", "options.x must be PEM as str or bytes"),
        (material.parse_keys, [b"x", 1], "ERR_INVALID_ARG_TYPE", "options.x[1] must be"),
        (material.parse_keys, {"pem": b"x"}, "ERR_INVALID_ARG_TYPE", "options.x must be"),
        (material.parse_keys, [{}], "ERR_INVALID_ARG_VALUE", "options.x[0] must be a dict with 'pem'"),
        (material.parse_keys, [{"pem": b"x", "password": "y"}], "ERR_INVALID_ARG_VALUE", "options.x[0] must be a dict with 'pem'"),
        (material.parse_keys, [{"pem": {"pem": b"x"}}], "ERR_INVALID_ARG_VALUE", "options.x[0] must be a dict with 'pem'"),
        (material.parse_keys, [{"pem": b"x", "passphrase": 1}], "ERR_INVALID_ARG_TYPE", "options.x[0]['passphrase'] must be"),
        (material.parse_pfx, {"buf": b"x"}, "ERR_INVALID_ARG_TYPE", "options.x must be bytes"),
        (material.parse_pfx, [{"pem": b"x"}], "ERR_INVALID_ARG_VALUE", "options.x[0] must be a dict with 'buf'"),
        (material.parse_certificates, {}, "ERR_INVALID_ARG_TYPE", "options.x must be PEM"),
        (material.parse_certificates, None, "ERR_INVALID_ARG_TYPE", "got None"),
    ],
)
def test_wrong_forms_raise_and_name_the_option(parse: object, value: object, code: str, text: str) -> None:
    """The index within a list is named too."""
    with pytest.raises(UsageError) as caught:
        parse("options.x", value)
    assert caught.value.code == code
    assert text in str(caught.value)


def test_repr_hides_content_and_passphrase() -> None:
    """A key never reaches a log by way of repr."""
    assert repr(Material("pem", b"secret", passphrase=b"secret")) == "Material(kind='pem', path=None)"


def test_labels_in_order() -> None:
    """All PEM blocks, also behind other text."""
    agent = pki.agent1()
    assert material.pem_labels(b"text\n" + agent.key_pem + agent.cert_pem) == ("PRIVATE KEY", "CERTIFICATE")
    assert material.holds_certificate(agent.key_pem + agent.cert_pem)
    assert not material.holds_certificate(agent.key_pem)
