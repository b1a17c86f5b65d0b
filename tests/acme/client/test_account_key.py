"""Keys of accounts: their thumbprints and signatures, with josepy (certbot's) as the judge."""

from __future__ import annotations

import json

import josepy
import pytest
from acme import jws as acme_jws
from acme import messages
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import pki
import tlsio
from tlsio.acme import AccountKey, ExternalAccount
from tlsio.acme.client.account_key import encode_base64url

URL = "https://ca.example/new-order"
# RFC 7638 §3.1
RSA_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W"
    "-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08q"
    "NLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)
EAB_KEY = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"


def keys() -> dict[str, AccountKey]:
    """One of each kind."""
    return {
        "ES256": AccountKey.generate(),
        "ES384": AccountKey(ec.generate_private_key(ec.SECP384R1())),
        "RS256": AccountKey(pki.rsa_key()),
    }


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "RS256"])
@pytest.mark.parametrize("kid", [None, "https://ca.example/account/1"])
def test_certbots_library_verifies_what_is_signed(algorithm: str, kid: str | None) -> None:
    """The header has the key or its account, never both; payload, URL and nonce are signed."""
    key = keys()[algorithm]
    signed = key.sign(URL, {"a": [1, "ü"]}, kid=kid, nonce="abc_-1")
    read = acme_jws.JWS.from_json(signed)
    public = josepy.JWK.from_json(key.jwk)
    assert read.verify(public)
    header = read.signature.combined
    assert (header.alg.name, header.url, header.kid) == (algorithm, URL, kid)
    assert (header.jwk is None) == (kid is not None)
    assert json.loads(read.payload) == {"a": [1, "ü"]}


def test_a_post_as_get_has_an_empty_payload() -> None:
    """RFC 8555 §6.3: the empty text, not the JSON of an empty object."""
    signed = AccountKey.generate().sign(URL, None, kid="https://ca.example/1", nonce="n")
    assert signed["payload"] == ""
    assert AccountKey.generate().sign(URL, {}, nonce="n")["payload"] == encode_base64url(b"{}")


def test_the_signatures_of_a_curve_have_a_fixed_length() -> None:
    """RFC 7518 §3.4: leading zeros stay; of 400 signatures, about three have some."""
    key = AccountKey.generate()
    assert {len(key.sign(URL, None)["signature"]) for _ in range(400)} == {86}


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "RS256"])
def test_the_thumbprint_is_certbots(algorithm: str) -> None:
    """And with it the key authorization."""
    key = keys()[algorithm]
    assert key.thumbprint == encode_base64url(josepy.JWK.from_json(key.jwk).thumbprint())
    assert key.authorize("tok") == f"tok.{key.thumbprint}"


def test_the_thumbprint_of_the_standards_example() -> None:
    """RFC 7638 §3.1; the private key is not known, so only the public part is put in place."""
    key = AccountKey(pki.rsa_key())
    key.jwk = {"kty": "RSA", "n": RSA_N, "e": "AQAB"}
    assert key.thumbprint == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_a_key_survives_its_pem() -> None:
    """As it is stored."""
    key = AccountKey.generate()
    assert AccountKey(key.pem).thumbprint == key.thumbprint
    assert key.pem.startswith(b"-----BEGIN PRIVATE KEY-----")


@pytest.mark.parametrize(
    "make",
    [
        ed25519.Ed25519PrivateKey.generate,
        lambda: ec.generate_private_key(ec.SECP521R1()),
        lambda: rsa.generate_private_key(65537, 1024),  # noqa: S505 - refused
        lambda: rsa.generate_private_key(65537, 4104),
    ],
    ids=["Ed25519", "P-521", "RSA-1024", "RSA-4104"],
)
def test_other_kinds_of_keys_are_refused(make: object) -> None:
    """No authority accepts them."""
    with pytest.raises(tlsio.UsageValueError, match="is of the kind"):
        AccountKey(make())  # type: ignore[operator]


def test_nothing_shows_a_private_key() -> None:
    """Neither the repr nor that of the binding."""
    private = ec.generate_private_key(ec.SECP256R1())
    number = str(private.private_numbers().private_value)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key = AccountKey(pem)
    shown = f"{key!r} {key} {tlsio.acme.Account('https://ca.example/1', key)!r} {ExternalAccount('kid', EAB_KEY)!r}"
    assert number not in shown
    assert EAB_KEY not in shown
    assert "PRIVATE" not in shown


def test_a_binding_is_certbots() -> None:
    """RFC 8555 §7.3.4: HS256 over our public key, for the same URL."""
    key = AccountKey.generate()
    ours = ExternalAccount("kid-1", EAB_KEY).bind(key, URL)

    class Directory(dict[str, str]):
        pass

    theirs = messages.ExternalAccountBinding.from_data(
        josepy.JWK.from_json(key.jwk), "kid-1", EAB_KEY, messages.Directory({"newAccount": URL})
    )
    secret = josepy.JWKOct(key=josepy.b64decode(EAB_KEY))
    for binding in (ours, theirs):
        read = josepy.JWS.from_json(binding) if binding is theirs else acme_jws.JWS.from_json(binding)
        assert read.verify(secret)
    assert json.loads(josepy.b64decode(ours["payload"])) == json.loads(josepy.b64decode(theirs["payload"]))
    header = json.loads(josepy.b64decode(ours["protected"]))
    assert header == {"alg": "HS256", "kid": "kid-1", "url": URL}


@pytest.mark.parametrize("text", [EAB_KEY + "==", EAB_KEY.replace("-", "+").replace("_", "/"), f" {EAB_KEY}\n"])
def test_a_secret_may_be_padded_or_plain_base64(text: str) -> None:
    """Authorities show it in these ways."""
    key = AccountKey.generate()
    assert ExternalAccount("k", text).bind(key, URL)["signature"] == ExternalAccount("k", EAB_KEY).bind(key, URL)["signature"]


@pytest.mark.parametrize("text", ["not base64!", "abcde", "ü"])
def test_a_secret_that_is_none_is_refused_unseen(text: str) -> None:
    """The message does not show it."""
    with pytest.raises(tlsio.UsageValueError, match="base64url") as caught:
        ExternalAccount("k", text)
    assert text not in str(caught.value)
