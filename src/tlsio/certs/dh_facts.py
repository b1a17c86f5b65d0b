"""Diffie-Hellman parameters as plain data."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tlsio.certs.contents import read_blocks
from tlsio.certs.diffie_hellman import DH_GROUPS, dhparams
from tlsio.certs.item import Finding, Item
from tlsio.model.errors import ConfigError
from tlsio.trust import der

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.certs.item import Value

__all__ = ["describe_dh_parameters"]

_MIN_BITS = 2048  # RFC 9325 §4.5
_MAX_BITS = 10_000  # OPENSSL_DH_MAX_MODULUS_BITS; testing larger ones would take minutes
_PRINTED_BITS = 64  # of a generator: the usual ones are 2 and 5
# A composite passes one round with a probability of at most 1/4. The bases are random, because
# for fixed ones there are composites that pass (Albrecht et al., "Prime and Prejudice", CCS 2018).
_ROUNDS = 8
_REMEDY = "Use a group of RFC 7919 instead: tlsio.certs.dhparams()."
_UNKNOWN = Finding(
    code="unknown_group",
    level="note",
    text="It is not one of the groups of RFC 7919, and clients cannot know whether it is good",
    remedy=_REMEDY,
)


@dataclass(frozen=True, slots=True)
class _Parameters:
    """What the file says.

    Attributes:
        prime: The modulus.
        generator: The base.
        order: Of the subgroup, in the form of X9.42; None in that of PKCS#3.
    """

    prime: int
    generator: int
    order: int | None


def describe_dh_parameters(data: bytes, source: str) -> Item:
    """Describe Diffie-Hellman parameters in DER, of PKCS#3 or X9.42.

    Raises:
        ConfigError: they are malformed.
    """
    try:
        found = _read(data)
    except (ValueError, IndexError):
        raise ConfigError(
            f"Cannot read the Diffie-Hellman parameters of {source}", code="ERR_TLS_UNREADABLE_FILE", hint=f"They are damaged. {_REMEDY}"
        ) from None
    group, bits = _find_group(found), found.prime.bit_length()
    is_small_enough = bits <= _MAX_BITS
    is_safe = group is not None or (_is_safe_prime(found.prime) if is_small_enough else None)
    facts: dict[str, Value] = {
        "group": group,
        "bits": bits,
        "generator": found.generator if found.generator.bit_length() <= _PRINTED_BITS else None,
        "safe_prime": is_safe,
    }
    findings = () if group else (*_find_faults(found, is_safe),) or (_UNKNOWN,)
    return Item(kind="Diffie-Hellman parameters", title=group or f"{bits} bits, no group of RFC 7919", facts=facts, findings=findings)


def _read(data: bytes) -> _Parameters:
    prime, generator, *others = [one.integer() for one in der.read(data).expect(der.SEQUENCE).children() if one.tag == der.INTEGER]
    # PKCS#3: then the length of private values, in bits. X9.42 (RFC 3279 §2.3.3): the order.
    order = others[0] if others and others[0] > prime.bit_length() else None
    return _Parameters(prime, generator, order)


def _find_group(found: _Parameters) -> str | None:
    """Return the name of a group of RFC 7919."""
    name = f"ffdhe{found.prime.bit_length()}"
    if name not in DH_GROUPS:
        return None
    [known] = [_read(block.data) for block in read_blocks(dhparams(name))]
    return name if (found.prime, found.generator) == (known.prime, known.generator) else None


def _find_faults(found: _Parameters, is_safe: bool | None) -> Iterator[Finding]:  # noqa: FBT001 - a fact
    bits = found.prime.bit_length()
    if bits < _MIN_BITS:
        yield Finding(
            code="weak_dh",
            level="error",
            text=f"{bits} bits are too few: the key exchange can be broken, and many clients refuse it",
            remedy=_REMEDY,
        )
    if bits > _MAX_BITS:
        yield Finding(code="large_dh", level="error", text=f"{bits} bits are more than OpenSSL accepts ({_MAX_BITS})", remedy=_REMEDY)
    elif not is_safe and not _is_prime(found.prime):
        yield Finding(code="not_prime", level="error", text="The modulus is not prime: the key exchange is not secure", remedy=_REMEDY)
    elif not is_safe and not _has_prime_order(found):
        yield Finding(
            code="unsafe_prime",
            level="warning",
            text="The prime is not a safe one ((p - 1) / 2 is not prime), so a peer can find out parts of a key that is used again",
            remedy=_REMEDY,
        )
    if not 1 < found.generator < found.prime - 1:
        yield Finding(code="bad_generator", level="error", text="The generator is not between 2 and p - 2", remedy=_REMEDY)


def _has_prime_order(found: _Parameters) -> bool:
    """Tell whether the generator has the prime order that is given with it."""
    order = found.order
    return order is not None and (found.prime - 1) % order == 0 and _is_prime(order) and pow(found.generator, order, found.prime) == 1


def _is_safe_prime(number: int) -> bool:
    """Tell whether p and (p - 1) / 2 are prime.

    If the half is, one power of 2 shows that p is (Pocklington's theorem).
    """
    return number % 4 == 3 and _is_prime(number // 2) and number % 3 != 0 and pow(2, number - 1, number) == 1  # noqa: PLR2004


def _is_prime(number: int) -> bool:
    """Tell whether a number is prime: the test of Miller and Rabin with random bases."""
    if number < 5 or number % 2 == 0:  # noqa: PLR2004
        return number in {2, 3}
    twos = ((number - 1) & (1 - number)).bit_length() - 1
    return all(_passes(number, twos, 2 + secrets.randbelow(number - 3)) for _ in range(_ROUNDS))


def _passes(number: int, twos: int, base: int) -> bool:
    power = pow(base, (number - 1) >> twos, number)
    if power in {1, number - 1}:
        return True
    return any((power := power * power % number) == number - 1 for _ in range(twos - 1))
