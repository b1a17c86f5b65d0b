"""Hints about versions and parameters that the sides do not share, as far as no handshake of ours shows them."""

import pytest

from tlsio.model.faults import ClientOffer, LocalSide, OwnCertificate
from tlsio.model.negotiation import hint_for_alpn, hint_for_parameters, hint_for_version

RSA = OwnCertificate(subject="s", issuer="i", key="RSA")
ED25519 = OwnCertificate(subject="s", issuer="i")


def offer(*suites: str, groups: tuple[str, ...] = (), signatures: tuple[int, ...] = ()) -> ClientOffer:
    """Return the offer of a client that speaks TLS 1.2 at least."""
    return ClientOffer(version=0x0303, suites=suites, groups=groups, signatures=signatures)


@pytest.mark.parametrize(
    ("local", "says"),
    [
        (LocalSide(offer=ClientOffer(version=0x0300)), "at most SSLv3, which is insecure. This server allows TLSv1.2 to TLSv1.3"),
        (LocalSide(offer=ClientOffer()), "This server allows TLSv1.2 to TLSv1.3: compare that"),
        (LocalSide(narrowed={"secure_options": "0x20000000"}), "less what secure_options=0x20000000 excludes"),
        (LocalSide(min_version="TLSv1.3"), "This server allows TLSv1.3: compare that"),
    ],
)
def test_versions_of_a_server(local: LocalSide, says: str) -> None:
    """Only what is known of the client's."""
    assert says in hint_for_version("server", local)


def test_versions_of_a_client_with_defaults() -> None:
    """Then the server is at fault; nothing that weakens the client is advised."""
    hint = hint_for_version("client", LocalSide())
    assert "the server has to be updated." in hint
    assert hint.endswith("If it cannot be, reach it through a TLS proxy next to it.")
    assert "SECLEVEL" not in hint


@pytest.mark.parametrize(
    ("local", "says"),
    [
        (LocalSide(offer=offer()), "offers none of this server's cipher suites, and this server uses the defaults"),
        (LocalSide(offer=offer(*"ABCDEFGH")), "the cipher suites A, B, C, D, E, F and 2 more"),
        (LocalSide(certificate=RSA, offer=offer("ECDHE-ECDSA-AES128-SHA")), "which need another key than the RSA key of cert="),
        (LocalSide(certificate=RSA, offer=offer(*["ECDHE-ECDSA-AES128-SHA"] * 64)), "SHA and more, and this server uses the defaults"),
        (LocalSide(certificate=RSA, offer=offer("ECDHE-RSA-AES128-SHA")), "this server uses the defaults"),
        (LocalSide(certificate=RSA, offer=offer(signatures=(0x0807, 0x1234))), "the signature algorithms ed25519, 0x1234, and the RSA key"),
        (LocalSide(certificate=ED25519, offer=offer("A", signatures=(0x0401,))), "the cipher suites A"),
        (LocalSide(narrowed={"ecdh_curve": "'auto'"}, offer=offer("A", groups=("x25519",))), "the cipher suites A"),
        (LocalSide(narrowed={"ecdh_curve": "'prime256v1'"}, offer=offer("A", groups=("secp256r1",))), "the cipher suites A"),
        (LocalSide(narrowed={"ecdh_curve": "'X448'"}, offer=offer("A", groups=("secp256r1",))), "the groups secp256r1"),
    ],
)
def test_parameters_of_a_server(local: LocalSide, says: str) -> None:
    """The likeliest cause is named, and only one."""
    assert says in hint_for_parameters("server", local)


@pytest.mark.parametrize(("number", "fits"), [(0x0401, True), (0x0804, True), (0x0809, False), (0x0403, False)])
def test_signatures_of_an_rsa_key(number: int, fits: bool) -> None:  # noqa: FBT001 - a column of the table
    """RSASSA-PSS with an OID of its own needs another key."""
    hint = hint_for_parameters("server", LocalSide(certificate=RSA, offer=offer("A", signatures=(number,))))
    assert ("the RSA key of cert=" not in hint) is fits


def test_alpn_without_names_of_ours() -> None:
    """A callback may have refused."""
    assert "alpn_protocols=[]" in hint_for_alpn("server", LocalSide())
