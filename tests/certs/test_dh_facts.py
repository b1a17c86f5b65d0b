"""`certs.inspect` of Diffie-Hellman parameters: the group, its size, and what is wrong with it."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest

import pki
from tlsio import ConfigError, certs

if TYPE_CHECKING:
    from tlsio.certs.item import Item

SAFE = pki.SAFE_512
MERSENNE = 2**2203 - 1  # prime; 2^2202 - 1 is a multiple of 3
# RFC 5114 §2.1, whose prime has a subgroup of 160 bits.
GROUP_22 = ["openssl", "genpkey", "-genparam", "-algorithm", "DHX", "-pkeyopt", "dh_rfc5114:1"]


def parameters(*numbers: int) -> bytes:
    """Return DER of a sequence of numbers."""
    return pki._der(0x30, b"".join(map(pki._der_integer, numbers)))


def look(source: bytes) -> Item:
    """Describe parameters."""
    [item] = certs.inspect(source)
    return item


def codes(source: bytes) -> list[str]:
    """Return what is wrong with them."""
    return [finding.code for finding in look(source).findings]


@pytest.mark.parametrize("group", certs.DH_GROUPS)
def test_groups_of_the_rfc_are_recognised(group: str) -> None:
    """Nothing is wrong with them."""
    item = look(certs.dhparams(group))
    bits = int(group.removeprefix("ffdhe"))
    assert item.as_json() == {
        "kind": "Diffie-Hellman parameters",
        "title": group,
        "group": group,
        "bits": bits,
        "generator": 2,
        "safe_prime": True,
        "findings": [],
    }


def test_der_is_recognised() -> None:
    """Without a label, by its numbers."""
    pem = pki.dh_parameters(2048)
    assert look(base64.b64decode(b"".join(pem.splitlines()[1:-1]))).facts["group"] == "ffdhe2048"


def test_small_ones_are_an_error() -> None:
    """The prime of 1024 bits that most servers had (Logjam)."""
    item = look(pki.dh_parameters(1024))
    assert item.title == "1024 bits, no group of RFC 7919"
    assert (item.facts["group"], item.facts["safe_prime"]) == (None, True)
    assert [(one.code, one.level) for one in item.findings] == [("weak_dh", "error")]


@pytest.mark.parametrize(
    ("numbers", "is_safe", "expected"),
    [
        ((SAFE, 2), True, ["weak_dh"]),
        ((SAFE, 2, 160), True, ["weak_dh"]),
        ((SAFE + 2, 2), False, ["weak_dh", "not_prime"]),
        ((SAFE - 1, 2), False, ["weak_dh", "not_prime"]),
        ((23 * 47 * SAFE, 2), False, ["weak_dh", "not_prime"]),
        ((MERSENNE, 5), False, ["unsafe_prime"]),
        ((MERSENNE + 2, 5), False, ["not_prime"]),
        ((2**10_000 + 1, 2), None, ["large_dh"]),
    ],
)
def test_each_fault_of_a_modulus_is_found(numbers: tuple[int, ...], is_safe: bool | None, expected: list[str]) -> None:  # noqa: FBT001
    """Its size, whether it is prime, and whether its half is."""
    item = look(parameters(*numbers))
    assert item.facts["safe_prime"] is is_safe
    assert [finding.code for finding in item.findings] == expected


@pytest.mark.parametrize(("generator", "is_bad"), [(0, True), (1, True), (2, False), (SAFE - 2, False), (SAFE - 1, True)])
def test_generator_must_be_between(generator: int, is_bad: bool) -> None:  # noqa: FBT001
    """2 and p - 2; the others make every key known."""
    pem = b"-----BEGIN DH PARAMETERS-----\n%s-----END DH PARAMETERS-----\n" % base64.encodebytes(parameters(SAFE, generator))
    assert ("bad_generator" in codes(pem)) is is_bad


def test_unknown_group_is_a_note() -> None:
    """A good prime of one's own. RFC 3526 §3, the 2048-bit MODP group."""
    command = ["openssl", "genpkey", "-genparam", "-algorithm", "DH", "-pkeyopt", "group:modp_2048"]
    item = look(subprocess.run(command, check=True, capture_output=True).stdout)
    assert item.facts["safe_prime"] is True
    assert [(one.code, one.level) for one in item.findings] == [("unknown_group", "note")]


def test_prime_with_a_subgroup() -> None:
    """The form of X9.42 gives the order of the generator; its prime need not be a safe one."""
    item = look(subprocess.run(GROUP_22, check=True, capture_output=True).stdout)
    assert (item.facts["bits"], item.facts["safe_prime"], item.facts["generator"]) == (1024, False, None)
    assert [finding.code for finding in item.findings] == ["weak_dh"]


def test_wrong_order_of_a_subgroup_is_found() -> None:
    """It does not divide p - 1."""
    pem = b"-----BEGIN X9.42 DH PARAMETERS-----\n%s-----END X9.42 DH PARAMETERS-----\n"
    assert codes(pem % base64.encodebytes(parameters(2**521 - 1, 5, 2**512))) == ["weak_dh", "unsafe_prime"]


@pytest.mark.parametrize("content", [b"", parameters(), parameters(7), b"\x30\x03\x04\x01\x00"])
def test_damaged_ones_raise(content: bytes) -> None:
    """With the code of unreadable files."""
    pem = b"-----BEGIN DH PARAMETERS-----\n%s-----END DH PARAMETERS-----\n" % base64.encodebytes(content)
    with pytest.raises(ConfigError) as caught:
        certs.inspect(pem)
    assert caught.value.code == "ERR_TLS_UNREADABLE_FILE"


def test_negative_numbers_are_no_prime() -> None:
    """DER has signs."""
    assert "not_prime" in codes(
        b"-----BEGIN DH PARAMETERS-----\n%s-----END DH PARAMETERS-----\n" % base64.encodebytes(b"\x30\x06\x02\x01\xf1\x02\x01\x02")
    )


def test_a_bundle_leaves_them_out_and_says_so() -> None:
    """Some servers have them in the file of the certificate."""
    found = certs.read(pki.localhost().cert_pem + pki.dh_parameters(2048))
    assert "sources[0] has Diffie-Hellman parameters, which are not part of a bundle." in found.notes
