"""The facts about a peer that the verdict is based on, as plain values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from tlsio.model.codes import UNTRUSTED
from tlsio.model.faults import Role


def _find_no_roots(_subject: bytes) -> Sequence[bytes]:
    return ()


def _describe_nothing() -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerFacts:
    """What OpenSSL found out about the peer, and the name the client expects.

    Attributes:
        role: The local side.
        now: The time of the verdict, aware.
        is_now: `now` was read from the local clock. Only for hints.
        chain: Certificates in DER as the peer sent them, its own first. On a resumed connection
            only the first, or none.
        verified_chain: The chain that OpenSSL built, leaf first, up to a trusted root; partial if
            none was found.
        verify_errors: Pairs of X509_V_ERR number and depth, in the order found.
        server_name: The host that the peer must be: an A-label or an IP address as text. None for
            clients whose name is not compared.
        resumed: The session was resumed, so no certificate was exchanged.
        spki_digests: If resumed: SHA-256 of the SPKI of each certificate of the chain verified in
            the full handshake, leaf first.
        certificate_requested: The peer was asked for a certificate. A server may not ask.
        psk: An external pre-shared key authenticated the connection instead of a certificate.
        ca_is_empty: The caller gave `ca=[]`, so nothing is trusted.
        describe_roots: Returns a sentence about where the trusted roots come from, "" if there is
            nothing to add. Only for hints.
        find_roots: Returns the DER of the trusted certificates with a given subject (a Name in
            DER). Only for hints.
    """

    role: Role
    now: datetime
    is_now: bool = True
    chain: tuple[bytes, ...] = ()
    verified_chain: tuple[bytes, ...] = ()
    verify_errors: tuple[tuple[int, int], ...] = ()
    server_name: str | None = None
    resumed: bool = False
    spki_digests: tuple[bytes, ...] = ()
    certificate_requested: bool = True
    psk: bool = False
    ca_is_empty: bool = False
    describe_roots: Callable[[], str] = _describe_nothing
    find_roots: Callable[[bytes], Sequence[bytes]] = _find_no_roots

    @property
    def ends_trusted(self) -> bool:
        """Whether the verified chain leads to a trusted certificate, whatever else is wrong."""
        return not any(number in UNTRUSTED for number, _ in self.verify_errors)

    @property
    def peer(self) -> str:
        """The other side, for messages."""
        return "server" if self.role == "client" else "client"

    @property
    def leaf(self) -> bytes | None:
        """The peer's own certificate."""
        return next(iter(self.chain or self.verified_chain), None)
