"""Findings about chains that OpenSSL accepts and stricter verifiers reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tlsio.certs.verify import explain_verdict
from tlsio.native._core import verify_chain
from tlsio.probe.findings import found
from tlsio.trust.peer_facts import PeerFacts
from tlsio.trust.verdict import VerifyPolicy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tlsio.native._core import Roots
    from tlsio.probe.chain_checks import ChainFacts
    from tlsio.probe.findings import Finding

__all__ = ["check_strict"]


def check_strict(facts: ChainFacts, roots: Roots) -> Iterator[Finding]:
    """Judge an accepted chain once more by RFC 5280, as `chain_policy="strict"` does."""
    at = int(facts.now.timestamp())
    _, usual = verify_chain(roots, facts.sent, at=at, of_server=True, level=0)
    if usual:
        return  # refused anyway: that has findings of its own
    built, errors = verify_chain(roots, facts.sent, at=at, of_server=True, level=0, strict=True)
    seen = PeerFacts(
        role="client", now=facts.now, chain=facts.sent, verified_chain=built, verify_errors=errors, find_roots=facts.find_roots
    )
    for cause in explain_verdict(seen, VerifyPolicy(chain_policy="strict")).causes:
        yield found("strict", f"{cause.text}.")
