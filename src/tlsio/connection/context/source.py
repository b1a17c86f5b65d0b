"""Context sources: contexts that change while a program runs, for servers and clients.

`ContextSource` is the interface that users implement. `Source` is how the rooms above use one: it
finds the optional members, and checks each answer.
"""

from __future__ import annotations

import asyncio
import inspect
import weakref
from typing import TYPE_CHECKING, Any, Protocol

from tlsio.connection.context.secure_context import check_secure_context
from tlsio.connection.tasks import drop_awaitable, find_awaitable
from tlsio.model.checks import wrong_type
from tlsio.model.errors import ConfigError, HandshakeError, UsageStateError
from tlsio.model.exported import exported

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.model.options.connection import ConnectionOptions

__all__ = ["ContextSource", "Source", "given_source", "is_source"]


@exported
class ContextSource(Protocol):
    """An object that supplies contexts as `secure_context=`, in place of one SecureContext.

    A server asks it about each ClientHello, after `sni_callback` and the names of `add_context`; a
    client asks it about each connection. What live connections use never changes.

    One source may serve several servers and clients, in several threads, if it says so itself.
    These members are optional:

    `start()`: sync or async. `listen`, `upgrade` and `connect` call it each time, before they ask
    for a context; a call MUST be quick if nothing is left to do. If it raises, so do they.

    `published`: a mapping of server names to contexts, or None. A server reads it at each hello,
    and asks `context_for` only about names that it does not have; a hello without a name then gets
    the default. Names are A-labels in lower case; `*.example.org` has the place of one label, and
    `*` stands for every name. It MAY be replaced at any time, and MUST NOT be changed.

    `published_for`: seconds for which a server MAY use what it has read in `published` for the
    same name again, 0 if it is missing. Then hellos are answered without Python, in the handshake
    thread that reads them. When "changed" is reported, the server reads the table anew.

    `on(event, function)` and `off(event, function)`: a server adds a function for the event
    "changed", which the source MUST call when its default has changed, and SHOULD call when
    another entry of a table with `published_for` has. Any thread may call it.

    `context_now(server_name)`: as `context_for`, and MUST NOT be async. It is used where a call
    cannot wait, by `TLSSocket(stream, ...)` and SecurePair. Without it `context_for` is used there,
    and must be a plain function.

    `challenge_for(server_name)`: the context that answers an ACME authority (RFC 8737), sync or
    async. A server asks it, and nothing else, about each hello whose only protocol is
    `acme-tls/1`. None: no challenge is pending for this name, and the client is refused.
    """

    def context_for(self, server_name: str | None, /) -> SecureContext | Awaitable[SecureContext | None] | None:
        """Return the context for a server name; sync or async, and calls overlap.

        Args:
            server_name: An A-label in lower case. Servers: the name that the client sent. Clients:
                the name that is sent to the server. None: there is none, or a server asks for its
                default, which is the first context of each of its connections and the owner of
                tickets and sessions.

        Returns:
            A context. The same object as before, unless it has changed: contexts are completed once
            for each server. None: a server refuses the client with the alert `unrecognized_name`; a
            client's `connect` raises. For the default it is an error.
        """


def is_source(value: object) -> bool:
    """Tell whether `value` has what a context source must have."""
    return not isinstance(value, type) and callable(getattr(value, "context_for", None))


def given_source(options: ConnectionOptions) -> Source | None:
    """Return the source that was given as `secure_context=`; None: none was.

    Raises:
        UsageTypeError: its `published_for` is not a number.
    """
    if not is_source(options.secure_context):
        return None
    source = Source(options.secure_context)
    if not isinstance(source.published_for, int | float):
        raise wrong_type("published_for of the source in secure_context=", "a number of seconds", source.published_for)
    return source


class Source:
    """A context source with its optional members.

    Attributes:
        given: The user's object.
        is_async: Whether asking always needs a loop.
        answers_challenges: Whether it answers ACME authorities.
    """

    __slots__ = ("answers_challenges", "given", "is_async")

    def __init__(self, given: Any) -> None:
        self.given = given
        self.is_async = inspect.iscoroutinefunction(given.context_for)
        self.answers_challenges = callable(getattr(given, "challenge_for", None))

    async def start(self) -> None:
        """Start the source, or find that it runs."""
        if (start := getattr(self.given, "start", None)) is not None and (awaitable := find_awaitable(start())) is not None:
            await awaitable

    async def find_default(self, limit: float | None) -> SecureContext:
        """Start the source, and return the default of a server.

        Raises:
            ConfigError: there is none.
            HandshakeError: `limit` seconds have passed (ERR_TLS_HOOK_TIMEOUT).
            Exception: from the source.
        """
        return await self._find(None, limit, "it has no default: context_for(None) returned None")

    async def find_for_client(self, name: str | None, limit: float | None) -> SecureContext:
        """Start the source, and return the context for a connection to the server `name`.

        Raises:
            As `find_default`.
        """
        return await self._find(name, limit, _no_context(name))

    async def _find(self, name: str | None, limit: float | None, reason: str) -> SecureContext:
        scope = asyncio.timeout(limit)
        try:
            async with scope:
                await self.start()
                answer = self.ask(name)
                if (awaitable := find_awaitable(answer)) is not None:
                    answer = await awaitable
        except TimeoutError:
            if not scope.expired():
                raise
            raise HandshakeError(
                "The source in secure_context= did not answer within hook_timeout",
                code="ERR_TLS_HOOK_TIMEOUT",
                hint="Raise hook_timeout=, or make the source faster.",
            ) from None
        return _required(check_answer(answer), reason)

    def ask(self, name: str | None) -> object:
        """Return the answer of `context_for`, or an awaitable of it, unchecked."""
        return self.given.context_for(name)

    def ask_now(self, name: str | None) -> SecureContext | None:
        """Return the answer without waiting.

        Raises:
            UsageStateError: the source is async.
        """
        ask = getattr(self.given, "context_now", None) or self.given.context_for
        answer = ask(name)
        if (awaitable := find_awaitable(answer)) is not None:
            drop_awaitable(awaitable)
            raise UsageStateError(
                "The source in secure_context= is async, and this call cannot wait for it",
                hint="Use connect(socket=...) or server.upgrade(stream), which wait; or give the source a method context_now().",
            )
        return check_answer(answer)

    def find_now(self, name: str | None) -> SecureContext:
        """As `ask_now`; a missing context is an error too.

        Raises:
            ConfigError: there is none.
        """
        return _required(self.ask_now(name), _no_context(name))

    @property
    def published(self) -> Mapping[str, SecureContext] | None:
        """The table of names, if the source publishes one."""
        return getattr(self.given, "published", None)

    @property
    def published_for(self) -> float:
        """Seconds for which an entry of the table may be used again."""
        return getattr(self.given, "published_for", 0.0)

    def subscribe(self, changed: Callable[[], object]) -> Callable[[], object] | None:
        """Call the method `changed` when the source reports a change, as long as its object exists.

        Returns:
            A function that ends it; None: the source reports nothing.
        """
        on, off = getattr(self.given, "on", None), getattr(self.given, "off", None)
        if not callable(on) or not callable(off):
            return None
        method = weakref.WeakMethod(changed)

        def report(*_details: object) -> None:
            live = method()
            if live is None:
                off("changed", report)
            else:
                live()

        on("changed", report)
        return lambda: off("changed", report)


def check_answer(answer: object, asked: str = "context_for") -> SecureContext | None:
    """Return an answer of `context_for`, or of the method `asked`, if it is one."""
    return None if answer is None else check_secure_context(f"The result of {asked}()", answer)


def find_published(table: Mapping[str, SecureContext], name: str) -> SecureContext | None:
    """Return the context of a name in a published table: by itself, its wildcard, or `*`."""
    found = table.get(name)
    if found is None:
        found = table.get(f"*.{name.partition('.')[2]}")
    return table.get("*") if found is None else found


def _no_context(name: str | None) -> str:
    return f"context_for({name!r}) returned None"


def _required(found: SecureContext | None, reason: str) -> SecureContext:
    if found is None:
        raise ConfigError(
            f"The source in secure_context= cannot be used: {reason}",
            code="ERR_TLS_NO_CONTEXT",
            hint="Let context_for() return a SecureContext, such as one of tlsio.create_secure_context().",
        )
    return found
