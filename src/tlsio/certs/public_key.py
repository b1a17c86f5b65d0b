"""A public key in words: its algorithm, its size and its pin."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from tlsio.trust import der
from tlsio.trust.pins import print_pin

__all__ = ["PublicKeyFacts", "describe_spki"]

_RSA, _RSA_PSS, _EC = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10", "1.2.840.10045.2.1"
_CURVES = {
    "1.2.840.10045.3.1.1": ("P-192", 192),
    "1.3.132.0.33": ("P-224", 224),
    "1.2.840.10045.3.1.7": ("P-256", 256),
    "1.3.132.0.34": ("P-384", 384),
    "1.3.132.0.35": ("P-521", 521),
    "1.3.132.0.10": ("secp256k1", 256),
    "1.3.36.3.3.2.8.1.1.7": ("brainpoolP256r1", 256),
    "1.3.36.3.3.2.8.1.1.11": ("brainpoolP384r1", 384),
    "1.3.36.3.3.2.8.1.1.13": ("brainpoolP512r1", 512),
}
_OTHERS = {
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "1.2.840.10040.4.1": "DSA",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}


@dataclass(frozen=True, slots=True)
class PublicKeyFacts:
    """A public key.

    Attributes:
        algorithm: `RSA`, `RSA-PSS`, `EC`, `Ed25519`, ..., or the number of an unknown one.
        curve: The name of an elliptic curve, None for other keys.
        bits: The size of RSA and EC keys; None if it is unknown or says nothing.
        pin: `sha256/...`, the value for `pins=`.
    """

    algorithm: str
    curve: str | None
    bits: int | None
    pin: str

    def __str__(self) -> str:
        if self.curve:
            return f"EC {self.curve}"
        return f"{self.algorithm} {self.bits}" if self.bits else self.algorithm

    def as_json(self) -> dict[str, str | int | None]:
        """Return the fields for JSON."""
        return {"algorithm": self.algorithm, "curve": self.curve, "bits": self.bits, "pin": self.pin}


def describe_spki(spki: bytes) -> PublicKeyFacts:
    """Describe a SubjectPublicKeyInfo in DER. A malformed one has the algorithm "unknown"."""
    pin = print_pin(hashlib.sha256(spki).digest())
    try:
        algorithm, key = der.read(spki).expect(der.SEQUENCE).children()
        oid, *parameters = algorithm.expect(der.SEQUENCE).children()
        name = oid.oid()
        if name in {_RSA, _RSA_PSS}:
            modulus = next(der.read(key.bits()).expect(der.SEQUENCE).children()).integer()
            return PublicKeyFacts("RSA" if name == _RSA else "RSA-PSS", None, modulus.bit_length(), pin)
        if name == _EC and parameters:
            curve, bits = _CURVES.get(parameters[0].oid(), ("on an unknown curve", None))
            return PublicKeyFacts("EC", curve, bits, pin)
        return PublicKeyFacts(_OTHERS.get(name, name), None, None, pin)
    except (ValueError, StopIteration):
        return PublicKeyFacts("unknown", None, None, pin)
