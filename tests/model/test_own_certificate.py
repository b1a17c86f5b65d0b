"""Hints about alerts that concern our certificate: what can be seen in it, and when nothing can."""

from datetime import UTC, datetime, timedelta

import pytest

from tlsio.model.faults import LocalSide, OwnCertificate
from tlsio.model.own_certificate import hint_for_refusal

NOW = datetime(2030, 1, 1, tzinfo=UTC)
BAD_CERTIFICATE, EXPIRED, UNKNOWN_CA = 42, 45, 48


def side(*, intermediates: int = 0, not_after: datetime | None = NOW + timedelta(days=1)) -> LocalSide:
    """Return a side with a valid certificate."""
    own = OwnCertificate(subject="CN=a", issuer="CN=b", not_before=NOW, not_after=not_after, intermediates=intermediates)
    return LocalSide(now=NOW, certificate=own)


@pytest.mark.parametrize("local", [LocalSide(), LocalSide(now=NOW), LocalSide(certificate=side().certificate)])
def test_nothing_known(local: LocalSide) -> None:
    """No certificate, or no time to compare with."""
    assert hint_for_refusal(BAD_CERTIFICATE, "server", local) is None


def test_nothing_wrong_to_be_seen() -> None:
    """The general hint about the alert stays."""
    assert hint_for_refusal(BAD_CERTIFICATE, "server", side()) is None


def test_dates_that_cannot_be_read() -> None:
    """No claim about them."""
    assert hint_for_refusal(EXPIRED, "server", side(not_after=None)) is None


@pytest.mark.parametrize(("intermediates", "says"), [(1, "and 1 more is sent"), (2, "and 2 more are sent"), (0, "without an intermediate")])
def test_intermediates(intermediates: int, says: str) -> None:
    """How many are sent is half of the answer."""
    assert says in str(hint_for_refusal(UNKNOWN_CA, "client", side(intermediates=intermediates)))
