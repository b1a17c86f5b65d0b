"""The typed face of the native module."""

from collections.abc import Iterable
from typing import final

from tlsio.native.spec import ContextSpec, Piece

# --- contexts (context.pxi, pieces.pxi) ---

@final
class Pfx:
    """One opened PKCS#12: a private key, its certificate, and the certificates beside it.

    Raises:
        ConfigError: not PKCS#12, another passphrase, an algorithm that OpenSSL no longer has, no key or no certificate.
    """

    def __init__(self, piece: Piece) -> None: ...
    @property
    def label(self) -> str: ...
    @property
    def authorities(self) -> tuple[Piece, ...]:
        """The certificates beside the identity, DER each. They are sent as its chain and, as in Node, trusted."""

@final
class Roots:
    """Parsed trust: certificates and CRLs, shared by reference between contexts and never changed.

    Args:
        pieces: Certificates to trust: PEM with at least one, or DER.
        crls: With any, every issuer in a chain needs its own here: the whole chain is checked.
        base: What is trusted besides; it stays as it is.

    Raises:
        ConfigError: a piece that cannot be read.
    """

    def __init__(self, pieces: Iterable[Piece] = (), *, crls: Iterable[Piece] = (), base: Roots | None = None) -> None: ...
    def __len__(self) -> int: ...
    @property
    def digest(self) -> bytes:
        """SHA-256, equal for the same certificates and CRLs in whatever order and encoding."""
    @property
    def subject_names(self) -> tuple[bytes, ...]:
        """DER of the subjects, without repetition, in the order given."""

@final
class Context:
    """One SSL_CTX and its row, for connections of either role and of any thread; never changed.

    Raises:
        ConfigError: OpenSSL refused something; the code is Node's, `reason` and `openssl_errors` are OpenSSL's own.
        UsageValueError: Diffie-Hellman parameters below 1024 bits.
    """

    def __init__(self, spec: ContextSpec) -> None: ...
    @property
    def min_version(self) -> int: ...
    @property
    def max_version(self) -> int: ...
    @property
    def session_id_context(self) -> bytes: ...
    @property
    def dh_bits(self) -> int:
        """Size of the Diffie-Hellman parameters that were given, 0 without."""
