"""Certificates that a server obtains and renews by itself: what `acme=` of a server means.

Each process of a server has a manager of its own over the one storage: its locks let one of them
order, and the others find the certificate there. So workers need no connection to each other, and
it makes no difference on which of them, or on which machine, an authority knocks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.acme.client.account_key import ExternalAccount
from tlsio.acme.issuers.acme_issuer import ACMEIssuer
from tlsio.acme.issuers.authority_issuer import AuthorityIssuer
from tlsio.acme.manager.manager import Manager
from tlsio.acme.manager.names import parse_groups
from tlsio.acme.plans.places import STAGING, directory_of, open_storage
from tlsio.acme.plans.solvers import make_dns01
from tlsio.acme.plans.survey import survey
from tlsio.acme.solvers.http01 import Http01
from tlsio.acme.solvers.tls_alpn01 import TlsAlpn01
from tlsio.https.tls.acme import INTERNAL
from tlsio.model.checks import wrong_value
from tlsio.model.errors import ConfigError
from tlsio.model.options.context import ContextOptionsDict

if TYPE_CHECKING:
    from datetime import datetime

    from tlsio.acme.solvers.solver import Solver
    from tlsio.https.tls.acme import ACME

__all__ = ["Automatic"]

_IDENTITY = ("cert", "key", "pfx", "secure_context", "sni_callback")


class Automatic:
    """The certificates of one process.

    Attributes:
        http01: Answers authorities on port 80.
        manager: Obtains and renews; None before `take_options`.
    """

    def __init__(self, settings: ACME) -> None:
        """Open the storage; nothing is read yet.

        Raises:
            UsageError: a wrong value.
            ConfigError: a package or a secret is missing.
            OSError: a file cannot be read.
        """
        self.manager: Manager | None = None
        self._settings = settings
        self._storage = open_storage(settings.storage, settings.storage_secret_file)
        names = frozenset(name for group in parse_groups(settings.groups) for name in group)
        self.http01 = Http01(self._storage, is_pending=names.__contains__)
        self._tls_alpn01 = TlsAlpn01(self._storage, is_pending=names.__contains__)
        by_type: dict[str, Solver] = {"tls-alpn-01": self._tls_alpn01, "http-01": self.http01}
        self._solvers = [by_type[one] for one in (by_type if settings.challenges is None else settings.challenges)]
        if settings.dns is not None:
            self._solvers.append(make_dns01(settings.dns, settings.dns_settings))

    async def check(self) -> None:
        """Check what can be checked without an order.

        Raises:
            StoreError: the storage cannot be written.
            ConfigError: there is no account, and none may be made.
        """
        await self._storage.check()
        issuer = self._issuer(self._settings.server) if self.manager is None else self.manager.issuers[0]
        if self._settings.agree_tos or not isinstance(issuer, ACMEIssuer):
            return
        if await self._storage.load(f"accounts/{issuer.name}/key.pem") is None:
            raise ConfigError(
                f"A new account at {issuer.client.directory_url} needs your consent to its terms of service",
                code="ERR_ACME_TERMS_NOT_AGREED",
                hint="Read them, then give agree_tos=True. The storage has no account yet.",
            )

    def take_options(self, given: dict[str, Any]) -> Manager:
        """Return the context source of this process; takes the options of contexts out of `given`.

        Raises:
            UsageError: a wrong value, or a certificate is given too.
            ConfigError: an option of the contexts, or the key of the external account.
            OSError: a file cannot be read.
        """
        if taken := [name for name in _IDENTITY if given.get(name) is not None]:
            raise wrong_value(taken[0], "cannot be given with acme=", hint="The certificates come from the authority: leave it out.")
        context = {name: given.pop(name) for name in [*given] if name in ContextOptionsDict.__annotations__}
        server = self._settings.server
        staging = None if server == INTERNAL else STAGING.get(directory_of(server))
        self.manager = Manager(
            self._settings.groups,
            self._storage,
            [self._issuer(server)],
            staging=None if staging is None else self._issuer(staging),
            profile=self._settings.profile,
            context=context,
            challenges=self._tls_alpn01,
        )
        return self.manager

    async def stop(self) -> None:
        """End the manager's work, and close the connections of the storage."""
        if self.manager is not None:
            await self.manager.stop()
        if (close := getattr(self._storage, "aclose", None)) is not None:
            await close()

    async def status(self, now: datetime) -> list[dict[str, Any]]:
        """Return the state of each certificate in the storage, as plain data.

        Raises:
            StoreError: it cannot be read.
        """
        return [one.as_json() for one in await survey(self._storage, now)]

    def _issuer(self, server: str) -> ACMEIssuer | AuthorityIssuer:
        if server == INTERNAL:
            return AuthorityIssuer.for_development()
        settings = self._settings
        account = None
        if settings.eab_kid is not None and settings.eab_hmac_file is not None:
            # Not "strict": text that is not ASCII is refused as a secret, like any other.
            text = settings.eab_hmac_file.read_text(encoding="ascii", errors="replace")
            account = ExternalAccount(settings.eab_kid, text.partition("\n")[0].strip())
        trust: dict[str, Any] = {} if settings.server_ca is None else {"ca": settings.server_ca}
        return ACMEIssuer(
            directory_of(server), self._storage, self._solvers, contact=settings.email, terms_agreed=settings.agree_tos,
            external_account=account, profile=settings.profile, key_type=settings.key_type, **trust,
        )  # fmt: skip
