"""What is known about a peer when the verdict over it is due. Plain values, without behaviour beyond reading them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tlsio.model.faults import Role


def _trusts_nobody(_subject: bytes) -> Sequence[bytes]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What OpenSSL found out about the peer, and what it was looked for under.

    Attributes:
        role: Our side.
        now: The time of the verdict, aware.
        chain: Certificates in DER as the peer sent them, its own first. On a resumed connection only the first, or none.
        verified_chain: The chain OpenSSL built, leaf first: down to a trusted root, or as far as it came.
        verify_errors: Pairs of X509_V_ERR number and depth, in the order found.
        server_name: Whom a client wanted to talk to: an A-label or an IP address as text.
        resumed: No certificate was exchanged this time.
        spki_digests: When resumed: SHA-256 of the SPKI of each certificate of the chain verified then, leaf first.
        asked: The peer was asked for a certificate; a server may not have done so.
        psk: An external pre-shared key stands for the certificate.
        explicit_ca: The caller named all the roots (`ca`) rather than adding to the default ones.
        find_roots: Returns the DER of the trusted certificates with a subject (a Name in DER). For hints alone.
    """

    role: Role
    now: datetime
    chain: tuple[bytes, ...] = ()
    verified_chain: tuple[bytes, ...] = ()
    verify_errors: tuple[tuple[int, int], ...] = ()
    server_name: str | None = None
    resumed: bool = False
    spki_digests: tuple[bytes, ...] = ()
    asked: bool = True
    psk: bool = False
    explicit_ca: bool = False
    find_roots: Callable[[bytes], Sequence[bytes]] = _trusts_nobody

    @property
    def peer(self) -> str:
        """The other side, for messages."""
        return "server" if self.role == "client" else "client"

    @property
    def leaf(self) -> bytes | None:
        """The peer's own certificate."""
        return next(iter(self.chain or self.verified_chain), None)
