"""The issuer of one's own authority: short lives, any name, no network."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import tlsio
from tlsio import certs
from tlsio.acme import AuthorityIssuer, Limits
from virtual_time import BEGIN

if TYPE_CHECKING:
    from pathlib import Path

HOUR = timedelta(hours=1)


def issue(issuer: AuthorityIssuer, *names: str) -> x509.Certificate:
    """Return what is issued."""
    issued = asyncio.run(issuer.issue(names, replaces=b"old", profile="any"))
    assert tlsio.create_secure_context(cert=issued.chain, key=issued.key)
    return x509.load_pem_x509_certificate(issued.chain)


@pytest.mark.parametrize(("lifetime", "backdated"), [(43_200.0, HOUR), (20.0, timedelta(seconds=2)), (7200.0, HOUR / 5)])
def test_certificate_lives_from_now_on(lifetime: float, backdated: timedelta) -> None:
    """Dated back for clocks that are slow, by a part of a short life."""
    issuer = AuthorityIssuer(certs.Authority.create(clock=lambda: BEGIN), lifetime=lifetime, clock=lambda: BEGIN)
    made = issue(issuer, "a.internal", "127.0.0.1", "*.b.localhost")
    assert made.not_valid_after_utc == BEGIN + timedelta(seconds=lifetime)
    assert made.not_valid_before_utc == BEGIN - backdated


def test_certificate_ends_with_its_authority() -> None:
    """And one that has expired issues nothing."""
    authority = certs.Authority.create(clock=lambda: BEGIN, days=1)
    end = authority.certificate.not_valid_after_utc
    assert issue(AuthorityIssuer(authority, clock=lambda: end - HOUR), "a.example").not_valid_after_utc == end
    with pytest.raises(tlsio.ConfigError) as refused:
        issue(AuthorityIssuer(authority, clock=lambda: end + HOUR), "a.example")
    assert refused.value.code == "CERT_HAS_EXPIRED"


def test_development_authority_is_made_once(tmp_path: Path) -> None:
    """And found again."""
    folder = tmp_path / "dev"
    first, second = (issue(AuthorityIssuer.for_development(folder), "localhost") for _ in range(2))
    assert first.issuer == second.issuer
    assert first.issuer.rfc4514_string().startswith("CN=tlsio dev ")


def test_nothing_is_suggested_and_nothing_revoked() -> None:
    """It has neither ARI nor lists, nor limits."""
    issuer = AuthorityIssuer(certs.Authority.create())
    assert asyncio.run(issuer.renewal_info(b"")) is None
    assert issuer.limits is None
    with pytest.raises(tlsio.ConfigError) as refused:
        asyncio.run(issuer.revoke(b""))
    assert refused.value.code == "ERR_ACME_NOT_REVOCABLE"
    assert Limits() == Limits(burst=10, orders=300, failures=5)


@pytest.mark.parametrize(
    ("authority", "options"),
    [(3, {}), (None, {"lifetime": 0}), (None, {"lifetime": 1.9}), (None, {"lifetime": 398 * 86_400}), (None, {"name": 5})],
    ids=repr,
)
def test_wrong_arguments(authority: Any, options: dict[str, Any]) -> None:
    """As UsageError."""
    with pytest.raises(tlsio.UsageError):
        AuthorityIssuer(authority or certs.Authority.create(), **options)
