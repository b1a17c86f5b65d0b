"""Certificates of many names: one context source made of several `FileSource`s."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from tlsio.model.errors import UsageTypeError
from tlsio.trust.certificate import parse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from tlsio.connection.context.file_source import FileSource
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["NamedFiles"]


class NamedFiles:
    """Chooses among `FileSource`s by the names in their certificates.

    A name that none of them has, and a client that sends none, gets the first one. If several have
    a name, the first of them serves it; an exact name goes before a wildcard.
    """

    def __init__(self, sources: Sequence[FileSource]) -> None:
        """Take the sources, the default first.

        Raises:
            UsageTypeError: there is none.
        """
        if not sources:
            raise UsageTypeError("NamedFiles needs at least one FileSource", code="ERR_MISSING_ARGS")
        self._sources = tuple(sources)
        self._names_of: dict[FileSource, tuple[str, ...]] = {}
        self._table: dict[str, FileSource] = {}
        for source in self._sources:
            source.on("changed", partial(self._changed, source))

    async def start(self) -> None:
        """Read all files. Raises as `FileSource.start`."""
        for source in self._sources:
            await source.start()
            if source not in self._names_of:
                self._changed(source, source.context_now())

    def context_for(self, server_name: str | None, /) -> SecureContext | Awaitable[SecureContext]:
        """Return the context whose certificate has a name."""
        return self._find(server_name).context_for(server_name)

    def context_now(self, server_name: str | None, /) -> SecureContext:
        """As `context_for`, without a loop."""
        return self._find(server_name).context_now(server_name)

    @property
    def published(self) -> Mapping[str, SecureContext] | None:
        """The contexts of all names; None: some files are being read."""
        tables = {source: source.published for source in self._sources}
        if None in tables.values():
            return None
        contexts = {source: table["*"] for source, table in tables.items() if table is not None}
        return {name: contexts[source] for name, source in self._table.items()} | {"*": contexts[self._sources[0]]}

    @property
    def published_for(self) -> float:
        """Seconds, as those of a `FileSource`."""
        return self._sources[0].published_for

    def on(self, event: str, function: Callable[..., Any]) -> None:
        """Report changes, as the contract of context sources asks."""
        for source in self._sources:
            source.on(event, function)

    def off(self, event: str, function: Callable[..., Any]) -> None:
        """End a report."""
        for source in self._sources:
            source.off(event, function)

    async def reload(self) -> None:
        """Read all files now. A set that cannot be used is left as it was.

        Raises:
            ExceptionGroup: the failures, one for each such set.
        """
        done = await asyncio.gather(*(source.reload() for source in self._sources), return_exceptions=True)
        failures = [one for one in done if isinstance(one, Exception)]
        if failures:
            raise ExceptionGroup("Some certificates could not be reloaded", failures)

    def _find(self, name: str | None) -> FileSource:
        table, found = self._table, None
        if name is not None:
            name = name.lower()
            found = table.get(name) or table.get(f"*.{name.partition('.')[2]}")
        return found or self._sources[0]

    def _changed(self, source: FileSource, context: SecureContext) -> None:
        self._names_of[source] = _names(context)
        table: dict[str, FileSource] = {}
        for one in self._sources:
            for name in self._names_of.get(one, ()):
                table.setdefault(name, one)
        self._table = table


def _names(context: SecureContext) -> tuple[str, ...]:
    """Return the DNS names of a context's certificates, in lower case."""
    certificates = (parse(data) for data, _issuer in context.native.identities)
    return tuple(name.text.lower() for one in certificates for name in one.general_names if name.kind == "DNS")
