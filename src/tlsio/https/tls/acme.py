"""The settings of certificates that a server obtains and renews by itself: `acme=`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tlsio.acme.plans.dns_kinds import DNS_KINDS
from tlsio.model.checks import check_bool, check_choice, check_filled_text, check_path, wrong_type, wrong_value

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ACME", "INTERNAL"]

_CHALLENGES = ("tls-alpn-01", "http-01")
INTERNAL = "internal"  # the authority of this user, in place of one on the network


@dataclass(frozen=True, slots=True, kw_only=True)
class ACME:
    """Names whose certificates a server obtains and renews.

    Attributes:
        domains: Names and addresses, each of which gets a certificate of its own; names with commas
            between them share one. The first is served to clients that send no name.
        agree_tos: You agree to the authority's terms of service. Needed once, for a new account.
        email: Your e-mail addresses, for the authority; optional.
        server: The authority: `"letsencrypt"`, `"letsencrypt-staging"`, `"zerossl"`, `"google"`,
            `"google-staging"`, or the URL of a directory; `"internal"`: the development authority
            of this user, whose certificates live for hours.
        server_ca: Roots of the authority's own server; None: the default ones.
        storage: A folder, or the URL of Redis; None: `tlsio/acme` where the system keeps data, or
            in the state directory that systemd gives a service.
        storage_secret_file: Encrypts what is in Redis: 32 or more characters in its first line.
        challenges: The ways to answer the authority, in the order in which they are tried: on the
            server's port ("tls-alpn-01") and on the port of plain HTTP ("http-01"); None: both, as
            far as the server has these ports.
        dns: A kind of provider for a third way, by DNS, which wildcards need: "rfc2136", "hook" or
            "lexicon"; None: not by DNS.
        dns_settings: Its settings, TOML.
        profile: The kind of certificate, if the authority has several.
        key_type: `"p256"`, `"p384"`, `"rsa2048"` and so on.
        eab_kid: An account outside of ACME that the authority has given you: its identifier.
        eab_hmac_file: And its HMAC key, in the first line.
    """

    domains: Sequence[str]
    agree_tos: bool = False
    email: Sequence[str] = ()
    server: str = "letsencrypt"
    server_ca: Path | None = None
    storage: str | None = None
    storage_secret_file: Path | None = None
    challenges: Sequence[str] | None = None
    dns: Literal["rfc2136", "hook", "lexicon"] | None = None
    dns_settings: Path | None = None
    profile: str | None = None
    key_type: str = "p256"
    eab_kid: str | None = None
    eab_hmac_file: Path | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: one cannot be used.
        """
        from tlsio.acme.manager.names import parse_groups  # noqa: PLC0415 - most servers have certificates
        from tlsio.acme.plans.places import find_uncertified  # noqa: PLC0415
        from tlsio.certs.keys import check_kind  # noqa: PLC0415

        self._check_texts_and_paths()
        for name in ("domains", "email", "challenges"):
            if (value := getattr(self, name)) is not None:  # one text counts as one name
                object.__setattr__(self, name, _read_texts(name, value))
        if not self.domains:
            raise wrong_value("domains", "is empty", hint="Give the names of the server.")
        groups = parse_groups(self.groups)
        wildcards = [name for group in groups for name in group if name.startswith("*.")]
        if wildcards and self.dns is None and self.server != INTERNAL:
            raise wrong_value("dns", f"must be given for {wildcards[0]}", hint="Authorities validate wildcards by DNS alone.")
        check_bool("agree_tos", self.agree_tos)
        check_kind("key_type", self.key_type)
        if self.dns is not None:
            check_choice("dns", self.dns, DNS_KINDS)
        if wrong := [one for one in self.challenges or () if one not in _CHALLENGES]:
            raise wrong_value("challenges", f"must have {' and '.join(_CHALLENGES)} alone, got {wrong[0]!r}")
        if self.dns is None and self.challenges == ():
            raise wrong_value("challenges", "is empty", hint="Without dns= the authority cannot be answered.")
        if (self.eab_kid is None) != (self.eab_hmac_file is None):
            raise wrong_value("eab_kid", "must be given together with eab_hmac_file=", hint="The authority gives you both.")
        if self.server != INTERNAL and (private := find_uncertified(self.server, [name for group in groups for name in group])) is not None:
            hint = "Give a public name, or server='internal': the development authority certifies any name."
            raise wrong_value("domains", f"has {private!r}, which no public authority certifies", hint=hint)

    def _check_texts_and_paths(self) -> None:
        for name in ("profile", "eab_kid"):
            if (value := getattr(self, name)) is not None:
                check_filled_text(name, value)
        if self.storage is not None:
            object.__setattr__(self, "storage", check_path("storage", self.storage))
        for name in ("server_ca", "storage_secret_file", "dns_settings", "eab_hmac_file"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, Path(check_path(name, value)))

    @property
    def groups(self) -> list[list[str]]:
        """The names of each certificate."""
        return [[name.strip() for name in one.split(",") if name.strip()] for one in self.domains]

    def choose_challenges(self, *, has_http: bool) -> ACME:
        """Return the settings with the challenges that a server can answer, unless they are given.

        Args:
            has_http: It has a port of plain HTTP.
        """
        return self if self.challenges is not None else replace(self, challenges=_CHALLENGES[: 1 + has_http])

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it names."""
        return tuple(one for one in (self.server_ca, self.storage_secret_file, self.dns_settings, self.eab_hmac_file) if one is not None)


def _read_texts(name: str, value: object) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (None,)
    if not all(isinstance(one, str) for one in texts):
        raise wrong_type(name, "a text, or a list of texts", value)
    return texts
