"""The settings of certificates that a server obtains and renews by itself: `acme=`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tlsio.acme.manager.names import parse_groups
from tlsio.acme.plans.places import directory_of
from tlsio.model.checks import check_bool, wrong_value

__all__ = ["ACME", "INTERNAL"]

INTERNAL = "internal"  # the authority of this user, in place of one on the network


@dataclass(frozen=True, slots=True, kw_only=True)
class ACME:
    """Names whose certificates a server obtains and renews.

    Attributes:
        domains: Names and addresses, each of which gets a certificate of its own; names with commas
            between them share one. The first is served to clients that send no name.
        agree_tos: You agree to the authority's terms of service. Needed once, for a new account.
        email: Where the authority can reach you; it need not.
        server: The authority: `"letsencrypt"`, `"letsencrypt-staging"`, `"zerossl"`, `"google"`,
            `"google-staging"`, or the URL of a directory; `"internal"`: the development authority
            of this user, whose certificates live for hours.
        server_ca: Roots of the authority's own server; None: the default ones.
        storage: A folder, or the URL of Redis; None: `tlsio/acme` where the system keeps data, or
            in the state directory that systemd gives a service.
        storage_secret_file: Encrypts what is in Redis: 32 or more characters in its first line.
        profile: The kind of certificate, if the authority has several.
        key_type: `"p256"`, `"p384"`, `"rsa2048"` and so on.
        eab_kid: An account outside of ACME that the authority has given you: its identifier.
        eab_hmac_file: And its HMAC key, in the first line.
    """

    domains: tuple[str, ...]
    agree_tos: bool = False
    email: tuple[str, ...] = ()
    server: str = "letsencrypt"
    server_ca: Path | None = None
    storage: str | None = None
    storage_secret_file: Path | None = None
    profile: str | None = None
    key_type: str = "p256"
    eab_kid: str | None = None
    eab_hmac_file: Path | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: one cannot be used.
        """
        domains = (self.domains,) if isinstance(self.domains, str) else tuple(self.domains)
        object.__setattr__(self, "domains", domains)
        if not domains:
            raise wrong_value("domains", "is empty", hint="Give the names of the server.")
        parse_groups(self.groups)
        check_bool("agree_tos", self.agree_tos)
        if (self.eab_kid is None) != (self.eab_hmac_file is None):
            raise wrong_value("eab_kid", "and eab_hmac_file belong together")
        if self.server != INTERNAL:
            directory_of(self.server)

    @property
    def groups(self) -> list[list[str]]:
        """The names of each certificate."""
        return [[name.strip() for name in one.split(",") if name.strip()] for one in self.domains]

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it names."""
        return tuple(one for one in (self.server_ca, self.storage_secret_file, self.eab_hmac_file) if one is not None)
