"""An authority of your own as an issuer: for development, internal names, and without Internet."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tlsio.acme.issuers.issuer import Issued
from tlsio.certs import dev
from tlsio.certs.profile import MAX_LEAF_DAYS, system_clock
from tlsio.model.checks import check_duration, check_text, out_of_range, wrong_type
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from tlsio.acme.client.renewal_info import RenewalInfo
    from tlsio.certs.authority import Authority

__all__ = ["AuthorityIssuer"]

_LIFETIME = 43_200.0  # seconds; 12 hours, as Caddy's internal authority
_SHORTEST = 2.0  # certificates have whole seconds
# For clients whose clock is slow; a longer part of a short life would be lost.
_BACKDATED, _BACKDATED_SHARE = timedelta(hours=1), 10


class AuthorityIssuer:
    """Issues short-lived certificates from a `tlsio.certs.Authority`, without any network.

    Clients trust them if they trust the authority's root: for development, that of
    `tlsio.certs.dev`. Nothing is revoked, since a certificate ends by itself within a day.

    Attributes:
        name: Its name in storage.
    """

    limits = None
    is_local = True

    def __init__(
        self,
        authority: Authority,
        *,
        name: str = "local",
        lifetime: float = _LIFETIME,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        """Issue from an authority.

        Args:
            authority: A root or an intermediate.
            name: Names it in storage.
            lifetime: Seconds that a certificate lives from now on. It ends with the authority's.
            clock: Returns the time, an aware datetime. Default: the system's clock.

        Raises:
            UsageError: an argument is of the wrong type, or out of range.
        """
        if not callable(getattr(authority, "server", None)):
            raise wrong_type("authority", "a tlsio.certs.Authority", authority)
        self.name = check_text("name", name)
        seconds = check_duration("lifetime", lifetime)
        if not _SHORTEST <= seconds < MAX_LEAF_DAYS * 86_400:
            raise out_of_range("lifetime", f"from {_SHORTEST:g} seconds to {MAX_LEAF_DAYS} days", lifetime)
        self._authority = authority
        self._life = timedelta(seconds=seconds)
        self._clock = clock or system_clock

    @classmethod
    def for_development(cls, folder: str | os.PathLike[str] | None = None, *, lifetime: float = _LIFETIME) -> AuthorityIssuer:
        """Issue from the development authority of this user, which is made if there is none.

        Args:
            folder: Where the authority is kept. Default: `tlsio.certs.dev.where()`.
            lifetime: As above.

        Raises:
            OSError: a file cannot be read or written.
            ConfigError: its files are damaged, or other users can read or replace them.
        """
        try:
            authority = dev.load(folder)
        except FileNotFoundError:
            try:
                authority = dev.init(folder=folder)
            except FileExistsError:  # another process was faster
                authority = dev.load(folder)
        return cls(authority, name="development", lifetime=lifetime)

    async def issue(self, names: Sequence[str], *, replaces: bytes | None = None, profile: str | None = None) -> Issued:  # noqa: ARG002 - the contract
        """Issue a certificate with a new key; `replaces` and `profile` mean nothing here.

        Raises:
            UsageError: a name is wrong, or outside the authority's name constraints.
            ConfigError: the authority has expired.
        """
        now = self._clock().replace(microsecond=0)
        end = min(now + self._life, self._authority.certificate.not_valid_after_utc)
        start = now - min(_BACKDATED, self._life / _BACKDATED_SHARE)
        if end <= now:
            raise ConfigError(
                f"The authority of the issuer {self.name!r} has expired",
                code="CERT_HAS_EXPIRED",
                hint="Make a new authority, and have its root trusted.",
            )
        leaf = self._authority.server(*names, not_before=start, not_after=end)
        return Issued(leaf.chain_pem, leaf.key_pem)

    async def renewal_info(self, certificate: bytes) -> RenewalInfo | None:  # noqa: ARG002 - the contract
        """Return None: it has no opinion."""
        return None

    async def revoke(self, certificate: bytes, reason: str | None = None) -> None:  # noqa: ARG002 - the contract
        """Refuse: nothing looks at revocations of such an authority.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"The issuer {self.name!r} revokes nothing",
            code="ERR_ACME_NOT_REVOCABLE",
            hint="Its certificates end within hours. If the key of the authority is known to others, make a new authority.",
        )

    def __repr__(self) -> str:
        return f"<AuthorityIssuer {self.name} lifetime={self._life.total_seconds():g}>"
