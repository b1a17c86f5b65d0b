"""Name constraints (RFC 5280 §4.2.1.10): whether the CAs of a chain may certify the requested host.

OpenSSL compares the constraints with the names *in* the certificate, which can be circumvented: a
name that ends in a dot differs from the excluded one, a wildcard covers hosts that are excluded
individually, and common names with a `*` or with one label are not compared at all. So the host
itself is compared too, by the same rules.
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
    """The names that one CA may certify, as GeneralName tags with their content.

    Attributes:
        authority: Subject of the CA's certificate, for messages.
        permitted: Subtrees. A kind of name without a permitted subtree is not restricted.
        excluded: Subtrees.
    """

    authority: str
    permitted: tuple[tuple[int, bytes], ...]
    excluded: tuple[tuple[int, bytes], ...]

    def allows(self, host: str, address: IPv4Address | IPv6Address | None) -> bool:
        """Tell whether the host is permitted and not excluded.

        Args:
            host: The name in A-labels; unused if there is an `address`.
            address: The address, if the host is one.
        """
        kind, value = (_IP, address.packed) if address else (_DNS, host.lower().encode("ascii", "replace"))
        permitted = [base for tag, base in self.permitted if tag == kind]
        excluded = [base for tag, base in self.excluded if tag == kind]
        within = _is_address_within if address else _is_name_within
        return (not permitted or any(within(value, base) for base in permitted)) and not any(within(value, base) for base in excluded)


def may_constrain(certificate: bytes) -> bool:
    """Tell quickly, by a search for the OID, whether a certificate may have name constraints."""
    return _ENCODED in certificate


def read_constraints(chain: Iterable[PeerCertificate]) -> Iterator[NameConstraints]:
    """Yield the constraints of the CAs in a chain; the first certificate is the peer's.

    Raises:
        ValueError: constraints are malformed.
    """
    authorities = iter(chain)
    next(authorities, None)
    for one in authorities:
        content = one.extension(_NAME_CONSTRAINTS)
        if content is not None:
            fields = list(content.expect(der.SEQUENCE).children())
            yield NameConstraints(one.title, _subtrees(fields, _PERMITTED), _subtrees(fields, _EXCLUDED))


def _subtrees(fields: list[der.Element], tag: int) -> tuple[tuple[int, bytes], ...]:
    found = (subtree for field in fields if field.tag == tag for subtree in field.children())
    bases = (next(subtree.expect(der.SEQUENCE).children(), None) for subtree in found)
    return tuple((base.tag, base.content) for base in bases if base is not None)


def _is_name_within(name: bytes, base: bytes) -> bool:
    # Like OpenSSL's nc_dns: "" contains every name, "example.com" itself and its subdomains,
    # ".example.com" only subdomains.
    base = base.lower().removesuffix(b".")
    return not base or name == base or name.endswith(base if base.startswith(b".") else b"." + base)


def _is_address_within(address: bytes, base: bytes) -> bool:
    network, mask = base[: len(base) // 2], base[len(base) // 2 :]
    return len(base) == 2 * len(address) and all(a & m == n & m for a, n, m in zip(address, network, mask, strict=True))
