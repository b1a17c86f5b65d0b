"""What a user's type checker accepts of `tlsio.certs` and `tlsio.testing`."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

from cryptography import x509

import tlsio
from tlsio import certs
from tlsio.testing import EchoServer, certificates_at, connected_pair


def made() -> None:
    """Keys, requests, an authority and what it issues."""
    key = certs.generate_key("P-384")
    certs.write_key(Path("my.key"), key, passphrase="secret", overwrite=True)
    assert_type(certs.key_kind(certs.load_key(Path("my.key"), b"secret")), str)
    request = certs.create_request(["localhost", "::1"], key=key, usages=["server"], must_staple=True)
    assert_type(request, x509.CertificateSigningRequest)

    authority = certs.Authority.create("CA", kind="Ed25519", permitted=["example.com"], clock=lambda: datetime.now(UTC))
    below = authority.intermediate("below", days=100)
    leaf = below.server("a.example.com", key=key, not_after=datetime.now(UTC) + timedelta(days=1))
    assert_type(leaf.chain_pem, bytes)
    assert_type(below.sign(request, usage="client"), certs.Leaf)
    assert_type(below.crl(leaf, number=1), x509.CertificateRevocationList)
    assert_type(below.ocsp(leaf, revoked=True), bytes)
    tlsio.create_secure_context(cert=leaf.certificate, key=leaf.key, crl=below.crl())
    assert_type(certs.self_signed("localhost"), certs.Leaf)
    assert_type(certs.dhparams(2048, progress=print), bytes)


async def tested() -> None:
    """The parts behind the fixtures."""
    with EchoServer(request_cert=True) as server:
        assert_type(server.port, int)
    async with connected_pair(mutual=True) as (client, _accepted):
        assert_type(client, tlsio.TLSSocket)
    assert_type(certificates_at(datetime.now(UTC)).server_context, tlsio.SecureContext)


certs.Authority.create(unknown=True)  # type: ignore[call-arg]
certs.self_signed("localhost", days="a year")  # type: ignore[arg-type]
certs.Authority.create().sign(b"", usage="mail")  # type: ignore[arg-type]
