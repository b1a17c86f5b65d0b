"""The table of `add_context`: which context serves which server name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from tlsio.connection.context.secure_context import SecureContext, for_server
from tlsio.model.errors import (
    UsageTypeError,
    UsageValueError,
)
from tlsio.trust.identity import to_server_pattern

if TYPE_CHECKING:
    from typing import Literal

    from tlsio.connection.context.safeguards import Safeguards
    from tlsio.connection.context.trust_digest import ServerPolicy
    from tlsio.model.options.context import ContextOptions

__all__ = ["NamedContexts"]

# OpenSSL reads these from the context that the connection started with.
_SERVER_WIDE = ("ticket_keys", "session_timeout")


class NamedContexts:
    """Names and patterns with a context each. The match that was added last wins, as in Node.

    With a context source the default is a placeholder at first. Until `replace_by_source` nothing
    can be completed or judged.

    Changed by one thread at a time, under the server's lock; `find` may run concurrently. So no
    dict is iterated while it may change: the ones that are iterated are replaced as a whole.
    """

    def __init__(self, context: SecureContext, safeguards: Safeguards, *, is_placeholder: bool = False) -> None:
        """Start with the default `context`; `safeguards` judge it and all others."""
        if not is_placeholder:
            safeguards.check(context)
        self.safeguards = safeguards
        self.initial = self.default = context
        self.is_complete = not is_placeholder
        self._of_source: SecureContext | None = None  # the default, as the source gave it
        # What the source gave -> what is used; "given": the same object, which would keep itself
        # alive.
        self._sourced: WeakKeyDictionary[SecureContext, SecureContext | Literal["given"]] = WeakKeyDictionary()
        self._given: dict[str, SecureContext | ContextOptions] = {}
        self._exact: dict[str, tuple[int, SecureContext]] = {}
        self._patterns: dict[str, tuple[int, re.Pattern[str], SecureContext]] = {}
        self._added = 0

    def __bool__(self) -> bool:
        return bool(self._given)

    def add(self, hostname: str, given: SecureContext | ContextOptions) -> None:
        """Serve `hostname` with `given`, completed from the default; replaces an existing entry."""
        name = _table_name(hostname)
        context = self.complete(given) if self.is_complete else None
        self._given.pop(name, None)
        self._given[name] = given
        if context is not None:
            self._put(name, context)

    def complete(self, given: SecureContext | ContextOptions) -> SecureContext:
        """Return the context for a name: `given`, with unset options taken from the default.

        Raises:
            UsageTypeError: `given` contradicts the default about an option that holds for the whole
                server.
            ConfigError: as `Safeguards.check`.
        """
        _check_server_wide(given, self.default)
        made = for_server(given, current=self.default, initial=self.initial)
        self.safeguards.check(made)
        return made

    def complete_sourced(self, given: SecureContext) -> SecureContext:
        """Complete a context of the source, each one once. Raises as `complete`."""
        found = self._sourced.get(given)
        if found is None:
            made = self.default if given is self._of_source else self.complete(given)
            self._sourced[given] = "given" if made is given else made
            return made
        return given if found == "given" else found

    def _put(self, name: str, context: SecureContext) -> None:
        self._added += 1
        if "*" in name:
            # Node's rule: a star matches any part of a single label.
            pattern = re.compile("[^.]*".join(map(re.escape, name.split("*"))))
            self._patterns = {**self._patterns, name: (self._added, pattern, context)}
        else:
            self._exact[name] = (self._added, context)

    def remove(self, hostname: str) -> None:
        """Remove the entry of `hostname`, if there is one."""
        name = _table_name(hostname)
        self._given.pop(name, None)
        self._exact.pop(name, None)
        self._patterns = {other: found for other, found in self._patterns.items() if other != name}

    def derive_all(self, given: SecureContext | ContextOptions) -> tuple[SecureContext, dict[str, SecureContext]]:
        """Return a new default, and every name's context derived from it, for `replace_default`.

        Raises:
            ConfigError: as `Safeguards.check`.
        """
        return self._derive_names(for_server(given, current=self.default, initial=self.initial), self.initial)

    def _derive_names(self, default: SecureContext, initial: SecureContext) -> tuple[SecureContext, dict[str, SecureContext]]:
        named = {name: for_server(one, current=default, initial=initial) for name, one in self._given.items()}
        for context in (default, *named.values()):
            self.safeguards.check(context)
        return default, named

    def is_default_of_source(self, given: SecureContext) -> bool:
        """Whether the source gave this context as the present default."""
        return given is self._of_source

    def derive_from_source(self, given: SecureContext, policy: ServerPolicy) -> tuple[SecureContext, dict[str, SecureContext]]:
        """As `derive_all`, for a default of the source: it inherits nothing from the old one."""
        if self.is_complete:
            return self._derive_names(for_server(given, current=given, initial=self.initial), self.initial)
        first = given.with_policy(policy)
        for one in self._given.values():
            _check_server_wide(one, first)
        return self._derive_names(first, first)

    def replace_by_source(self, given: SecureContext, default: SecureContext, named: dict[str, SecureContext]) -> None:
        """Replace the default and the names' contexts by those of `derive_from_source`."""
        if not self.is_complete:
            self.initial, self.is_complete = default, True
        self.replace_default(default, named)
        self._of_source = given
        self._sourced = WeakKeyDictionary()

    def replace_default(self, default: SecureContext, named: dict[str, SecureContext]) -> None:
        """Replace the default and the names' contexts by those that `derive_all` has made."""
        self.default = default
        for name, one in named.items():
            self._put(name, one)

    def find(self, name: str) -> SecureContext | None:
        """Return the context of a name (lower case), or None: the default serves it."""
        added, found = self._exact.get(name, (0, None))
        for when, pattern, context in self._patterns.values():
            if when > added and pattern.fullmatch(name):
                added, found = when, context
        return found

    @property
    def any_has_alpn_callback(self) -> bool:
        """Whether any context has an `alpn_callback=` of its own."""
        return any(context.options.alpn_callback is not None for context in self._contexts())

    @property
    def any_requests_cert(self) -> bool:
        """Whether any context requests a client certificate."""
        return any(context.options.request_cert for context in self._contexts())

    @property
    def any_has_lists(self) -> bool:
        """Whether any context has CRLs that expire."""
        return any(context.lists_end for context in self._contexts())

    @property
    def identities(self) -> list[tuple[bytes, bytes | None]]:
        """The certificates of all contexts, each with its issuer if that is known; DER."""
        return [identity for context in self._contexts() for identity in context.native.identities]

    def _contexts(self) -> list[SecureContext]:
        return [self.default, *(context for _, context in self._exact.values()), *(found[2] for found in self._patterns.values())]


def _check_server_wide(given: SecureContext | ContextOptions, default: SecureContext) -> None:
    """Refuse what would have no effect for a single name."""
    options = given.options if isinstance(given, SecureContext) else given
    for option in _SERVER_WIDE:
        if getattr(options, option) not in (None, getattr(default.options, option)):
            raise UsageTypeError(
                f"{option}= cannot be set for a single name: a server has one for all its names",
                code="ERR_INCOMPATIBLE_OPTION_PAIR",
                hint=f"Give {option}= to the server, and leave it out here.",
            )


def _table_name(hostname: object) -> str:
    """Return a name or pattern in the form of a ClientHello: A-labels, lower case, no final dot."""
    if not isinstance(hostname, str):
        raise UsageTypeError(f"hostname must be a str, got {type(hostname).__name__}")
    if not hostname:
        raise UsageValueError("hostname must not be empty", code="ERR_TLS_REQUIRED_SERVER_NAME")
    return to_server_pattern(hostname)
