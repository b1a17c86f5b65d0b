"""Signatures over DER, which certificates, CRLs and OCSP responses have in common.

OpenSSL checks them with the parameters of their AlgorithmIdentifier; this module decides which
hashes are strong enough.
"""

from typing import NamedTuple

from tlsio.native._core import verify_signature

from . import der

__all__ = ["Signed"]

_RSA, _ECDSA, _NIST = "1.2.840.113549.1.1", "1.2.840.10045.4", "2.16.840.1.101.3.4"
_PSS = f"{_RSA}.10"
_PSS_HASH = 0xA0  # [0] of RSASSA-PSS-params (RFC 8017 A.2.3)

# By the last arcs of the algorithm: RFC 8017 A.2.4, RFC 5758, NIST's CSOR.
_HASHES = {
    **{f"{_RSA}.{arc}": name for arc, name in ((4, "md5"), (5, "sha1"), (14, "sha224"), (11, "sha256"), (12, "sha384"), (13, "sha512"))},
    **{f"{_RSA}.{arc}": name for arc, name in ((15, "sha512_224"), (16, "sha512_256"))},
    f"{_ECDSA}.1": "sha1",
    **{f"{_ECDSA}.3.{arc}": name for arc, name in enumerate(("sha224", "sha256", "sha384", "sha512"), 1)},
    "1.2.840.10040.4.3": "sha1",
    **{f"{_NIST}.3.{arc}": name for arc, name in enumerate(("sha224", "sha256", "sha384", "sha512"), 1)},  # DSA
    **{f"{_NIST}.3.{arc}": name for arc, name in enumerate(("sha3_224", "sha3_256", "sha3_384", "sha3_512"), 9)},  # ECDSA
    **{f"{_NIST}.3.{arc}": name for arc, name in enumerate(("sha3_224", "sha3_256", "sha3_384", "sha3_512"), 13)},  # RSA
}
_PLAIN_HASHES = {
    "1.2.840.113549.2.5": "md5",
    "1.3.14.3.2.26": "sha1",
    **{f"{_NIST}.2.{arc}": name for arc, name in ((4, "sha224"), (1, "sha256"), (2, "sha384"), (3, "sha512"))},
    **{f"{_NIST}.2.{arc}": name for arc, name in ((5, "sha512_224"), (6, "sha512_256"))},
    **{f"{_NIST}.2.{arc}": name for arc, name in enumerate(("sha3_224", "sha3_256", "sha3_384", "sha3_512"), 7)},
}
# Ed25519 and Ed448 (RFC 8410), ML-DSA-44, -65 and -87 (RFC 9881): their internal hash is strong and
# fixed.
_WITHOUT_HASH = {"1.3.101.112", "1.3.101.113", *(f"{_NIST}.3.{arc}" for arc in (17, 18, 19))}
_WEAK = {"md5", "sha1"}


class Signed(NamedTuple):
    """An element with the signature over it.

    Attributes:
        data: The signed element.
        algorithm: AlgorithmIdentifier.
        signature: BIT STRING.
    """

    data: der.Element
    algorithm: der.Element
    signature: der.Element

    def is_by(self, spki: bytes) -> bool:
        """Tell whether the signature was made with this key (a SubjectPublicKeyInfo)."""
        return verify_signature(spki, self.algorithm.encoded, self.data.encoded, self.signature.encoded)

    @property
    def hash_name(self) -> str | None:
        """`hashlib`'s name of the signed hash; None if the algorithm has none or is unknown.

        Raises:
            ValueError: the algorithm is malformed.
        """
        oid, *parameters = self.algorithm.expect(der.SEQUENCE).children()
        if oid.oid() != _PSS:
            return _HASHES.get(oid.oid())
        fields = parameters[0].expect(der.SEQUENCE).children() if parameters else ()
        given = next((field for field in fields if field.tag == _PSS_HASH), None)
        if given is None:
            return "sha1"  # the default of RSASSA-PSS-params
        return _PLAIN_HASHES.get(next(der.read(given.content).expect(der.SEQUENCE).children()).oid())

    def find_flaw(self) -> str | None:
        """Return why this signature must not be relied on even if it is valid, None if it may be.

        Raises:
            ValueError: the algorithm is malformed.
        """
        name = self.hash_name
        if name in _WEAK:
            return f"is signed with {name}, which can be forged"
        oid = next(self.algorithm.children()).oid()
        return None if name or oid in _WITHOUT_HASH else f"is signed with an unsupported algorithm ({oid})"
