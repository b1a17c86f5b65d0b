"""Certificates around a chosen instant, for tests of what has expired or is not valid yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from tlsio.certs import Authority
from tlsio.certs.profile import MAX_LEAF_DAYS, check_instant
from tlsio.connection.context.secure_context import create_secure_context
from tlsio.model.checks import out_of_range, wrong_type

if TYPE_CHECKING:
    from tlsio.certs import Leaf
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["DatedCertificates", "certificates_at"]

_SPAN = timedelta(days=1)
_MAX_SPAN = timedelta(days=MAX_LEAF_DAYS)
_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class DatedCertificates:
    """Certificates that are valid around one instant, below a root that is valid today as well.

    Attributes:
        authority: The root. Its clock stands at the instant.
        leaf: The certificate of a server.
    """

    authority: Authority
    leaf: Leaf

    @cached_property
    def server_context(self) -> SecureContext:
        """What a server at that instant uses, as `secure_context=`."""
        return create_secure_context(cert=self.leaf.chain_pem, key=self.leaf.key_pem)

    @cached_property
    def client_context(self) -> SecureContext:
        """What its clients use: they trust the root."""
        return create_secure_context(ca=self.authority.cert_pem)


def certificates_at(instant: datetime, *names: str, span: timedelta = _SPAN) -> DatedCertificates:
    """Make certificates that are valid around an instant.

    An instant of last week gives a server whose certificate has expired; one of next week a
    certificate that is not valid yet; now one that ends soon.

    Args:
        instant: The middle of the life of the leaf, an aware datetime.
        names: What the leaf is for. Default: localhost, 127.0.0.1 and ::1.
        span: The length of its life, at most 398 days.

    Raises:
        UsageError: a name or a time is wrong.
    """
    instant = check_instant("instant", instant)
    if not isinstance(span, timedelta):
        raise wrong_type("span", "a timedelta", span)
    if not timedelta(0) < span <= _MAX_SPAN:
        raise out_of_range("span", f"above 0 and at most {_MAX_SPAN.days} days", span)
    half, now = span / 2, datetime.now(UTC)
    start, end = min(instant, now) - span, max(instant, now) + 10 * span
    authority = Authority.create("tlsio test authority", not_before=start, not_after=end, clock=lambda: instant)
    leaf = authority.server(*(names or _NAMES), not_before=instant - half, not_after=instant + half - timedelta(seconds=1))
    return DatedCertificates(authority, leaf)
