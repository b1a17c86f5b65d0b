"""The native driver: one reactor of the engine per event loop, made on demand, freed when idle.

A build without it has the portable driver only.
"""

import weakref
from typing import TYPE_CHECKING

from tlsio.connection.tasks import running_loop
from tlsio.model.errors import UsageStateError
from tlsio.native._core import Reactor, has_reactor

if TYPE_CHECKING:
    import asyncio

__all__ = ["current_reactor"]

# A registry, not settings: the reactor of each loop. The loop's reader callback keeps it alive, and
# is dropped with the loop.
_reactors: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Reactor]" = weakref.WeakKeyDictionary()


def current_reactor() -> Reactor:
    """Return the reactor of the running loop.

    Raises:
        UsageStateError: this build has no reactor.
    """
    if not has_reactor:
        raise UsageStateError(
            "This build of tlsio cannot listen: its native driver needs Linux (epoll), and a build without TLSIO_PORTABLE=1",
            code="ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            hint="Accept connections yourself, for example with asyncio.start_server, and call server.upgrade((reader, writer)) for each.",
        )
    loop = running_loop()
    reactor = _reactors.get(loop)
    if reactor is None or reactor.is_closed or reactor.forked:
        reactor = _reactors[loop] = Reactor(loop)
    return reactor
