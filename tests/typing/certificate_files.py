"""What a type checker says of `tlsio.certs`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, assert_type

from cryptography import x509

import tlsio
from tlsio import certs


async def files() -> None:
    """Bundles in and out."""
    bundle = certs.read(Path("server.pem"), b"", "-----BEGIN", passphrase="secret")
    assert_type(bundle, certs.Bundle)
    assert_type(bundle.certificate, x509.Certificate)
    assert_type(bundle.chain, tuple[x509.Certificate, ...])
    assert_type(bundle.to_pem(key=True), bytes)
    assert_type(bundle.to_pfx("secret", friendly_name="server"), bytes)
    tlsio.create_secure_context(cert=bundle.to_pem(), key=bundle.key)

    async def fetch(url: str) -> bytes:
        return url.encode()

    assert_type(await certs.complete(bundle, fetch=fetch), certs.Bundle)
    match = certs.match_key(Path("server.key"), bundle.certificate)
    assert_type(match.explanation, str)
    certs.read(1)  # type: ignore[arg-type]


def looks() -> None:
    """Descriptions and verdicts."""
    for item in certs.inspect(Path("server.pem"), usage="client", at=datetime.now(UTC)):
        assert_type(item, certs.Item)
        assert_type(item.findings, tuple[certs.Finding, ...])
        assert_type(item.as_json(), dict[str, Any])
    verdict = certs.verify([Path("server.pem"), b""], "localhost", ca=[Path("ca.pem")], policy="strict")
    assert_type(verdict, certs.ChainVerdict)
    assert_type(verdict.causes, tuple[certs.Cause, ...])
    certs.inspect(b"", usage="both")  # type: ignore[arg-type]
    certs.verify(b"", policy="lax")  # type: ignore[arg-type]


async def identities() -> None:
    """URIs beside names."""
    await tlsio.connect(443, identity="spiffe://example.org/web", chain_policy="strict")
    await tlsio.connect(443, chain_policy="lax")  # type: ignore[arg-type]
    certificate = certs.read(b"").certificate
    assert_type(tlsio.check_uri_identity("spiffe://example.org/web", certificate), tlsio.CertificateAltNameError | None)
