"""Name constraints (RFC 5280 §4.2.1.10): may the authorities of a chain vouch for the host that was looked for?

OpenSSL compares them with the names *in* the certificate. That leaves ways around them: a name that ends in a dot is another
text than the one excluded, a wildcard stands for hosts that are excluded one by one, and a common name with a `*`, or of one
label, is not looked at. So the host itself is compared too, by the same rules.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from . import der
from .certificate import PeerCertificate

__all__ = ["NameConstraints", "may_constrain", "read_constraints"]

_NAME_CONSTRAINTS, _ENCODED = "2.5.29.30", bytes.fromhex("0603551d1e")
_PERMITTED, _EXCLUDED = 0xA0, 0xA1
_DNS, _IP = 0x82, 0x87  # [2] dNSName and [7] iPAddress of GeneralName


class NameConstraints(NamedTuple):
    """What one authority may vouch for, as tags of GeneralName with their content.

    Attributes:
        authority: Whose certificate says so, for messages.
        permitted, excluded: Subtrees. None permitted of one kind: all of that kind are.
    """

    authority: str
    permitted: tuple[tuple[int, bytes], ...]
    excluded: tuple[tuple[int, bytes], ...]

    def allows(self, host: str, address: IPv4Address | IPv6Address | None) -> bool:
        """Tell whether the host, a name in A-labels or an address, is within what is permitted and not within what is excluded."""
        kind, value = (_IP, address.packed) if address else (_DNS, host.lower().encode("ascii", "replace"))
        permitted = [base for tag, base in self.permitted if tag == kind]
        excluded = [base for tag, base in self.excluded if tag == kind]
        within = _is_address_within if address else _is_name_within
        return (not permitted or any(within(value, base) for base in permitted)) and not any(within(value, base) for base in excluded)


def may_constrain(certificate: bytes) -> bool:
    """Tell at little cost whether a certificate in DER may have name constraints."""
    return _ENCODED in certificate


def read_constraints(chain: Iterable[PeerCertificate]) -> Iterator[NameConstraints]:
    """Yield the constraints of the authorities in a chain; the first certificate is the peer's.

    Raises:
        ValueError: some are malformed.
    """
    authorities = iter(chain)
    next(authorities, None)
    for one in authorities:
        content = one.extension(_NAME_CONSTRAINTS)
        if content is not None:
            fields = list(content.expect(der.SEQUENCE).children())
            yield NameConstraints(one.subject_text, _subtrees(fields, _PERMITTED), _subtrees(fields, _EXCLUDED))


def _subtrees(fields: list[der.Element], tag: int) -> tuple[tuple[int, bytes], ...]:
    found = (subtree for field in fields if field.tag == tag for subtree in field.children())
    bases = (next(subtree.expect(der.SEQUENCE).children(), None) for subtree in found)
    return tuple((base.tag, base.content) for base in bases if base is not None)


def _is_name_within(name: bytes, base: bytes) -> bool:
    # As OpenSSL's nc_dns: "" holds every name; "example.com" itself and what is below it; ".example.com" only what is below.
    base = base.lower().removesuffix(b".")
    return not base or name == base or name.endswith(base if base.startswith(b".") else b"." + base)


def _is_address_within(address: bytes, base: bytes) -> bool:
    network, mask = base[: len(base) // 2], base[len(base) // 2 :]
    return len(base) == 2 * len(address) and all(a & m == n & m for a, n, m in zip(address, network, mask, strict=True))
