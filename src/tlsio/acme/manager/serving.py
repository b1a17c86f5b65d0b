"""What servers are given for a name: the published table, and what stands in for a certificate."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from tlsio.connection.context.secure_context import SecureContext
from tlsio.model.errors import TLSError
from tlsio.model.options.parse import parse_context_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from tlsio.acme.manager.managed import Managed

__all__ = ["Serving", "Table"]

_log = logging.getLogger("tlsio.acme")

# A temporary certificate lives for 90 days, by the system's clock, and is made anew after 30.
_TEMPORARY_DAYS, _TEMPORARY_USE = 90, timedelta(days=30)


class Serving:
    """Makes the contexts of one manager. A context is made when it is first asked for.

    Of ten thousand names most are never asked for in a process, and a context takes 27 kB.
    """

    def __init__(self, options: Mapping[str, Any], clock: Callable[[], datetime], broke: Callable[[Managed], None]) -> None:
        """Use `options` for each context.

        Args:
            options: Of `create_secure_context`, without a certificate.
            clock: Returns the time.
            broke: Called about a certificate that cannot be used.
        """
        self._options = options
        self._clock = clock
        self._broke = broke

    def find(self, managed: Managed) -> SecureContext | None:
        """Return the context of a certificate that is valid."""
        managed.was_used = True
        return self.find_any(managed) if managed.is_valid(self._clock()) else None

    def find_any(self, managed: Managed) -> SecureContext | None:
        """Return the context of the certificate, even if it is not in date."""
        if managed.context is None and managed.certificate is not None:
            try:
                managed.context = managed.certificate.make_context(self._options)
            except (TLSError, OSError, ValueError) as error:
                _log.error("The certificate for %s cannot be used, and a new one is obtained: %s", managed.name, error)
                managed.broken, managed.certificate = managed.facts.fingerprint, None
                self._broke(managed)
        return managed.context

    def find_temporary(self, managed: Managed) -> SecureContext:
        """Return a self-signed context: no client trusts it, and HSTS is not sent under it."""
        now = self._clock()
        if managed.temporary is not None and now < managed.temporary[1]:
            return managed.temporary[0]
        context = self._make_temporary(managed.names)
        _log.info("Until there is a certificate for %s, a temporary one is served, which clients refuse", managed.name)
        managed.temporary = context, now + _TEMPORARY_USE
        return context

    def _make_temporary(self, names: Sequence[str]) -> SecureContext:
        from tlsio.certs.leaf import self_signed  # noqa: PLC0415 - only until the first certificate is there

        leaf = self_signed(names, days=_TEMPORARY_DAYS)
        return SecureContext(parse_context_options({**self._options, "cert": leaf.chain_pem, "key": leaf.key_pem}))


class Table(Mapping[str, SecureContext]):
    """The published names: those with a certificate that is valid now.

    A name without one is missing, so a server asks `context_for`, which may look into the storage.
    """

    def __init__(self, managed: Mapping[str, Managed], serving: Serving) -> None:
        """Publish the names of `managed`, which is not changed any more."""
        self._managed = managed
        self._serving = serving

    def __getitem__(self, name: str) -> SecureContext:
        found = self._serving.find(self._managed[name])
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (name for name, managed in self._managed.items() if managed.certificate is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)
