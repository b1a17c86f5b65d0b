"""The native driver: one reactor of the engine for each event loop, made when needed and given back when idle.

Where the engine was built without one, there is the portable driver alone.
"""

import asyncio
import weakref

from tlsio.model.errors import UsageStateError
from tlsio.native._core import Reactor, has_reactor

__all__ = ["current_reactor"]

# Not settings but a registry: which loop already has its reactor. The loop's reader keeps it alive, and dies with the loop.
_reactors: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Reactor]" = weakref.WeakKeyDictionary()


def current_reactor() -> Reactor:
    """The reactor of the running loop.

    Raises:
        UsageStateError: this build has none.
    """
    if not has_reactor:
        raise UsageStateError(
            "This build of tlsio has no driver of its own for listening sockets: it needs epoll, and no TLSIO_PORTABLE=1 at the build",
            code="ERR_FEATURE_UNAVAILABLE_ON_PLATFORM",
            hint="Accept connections yourself, with asyncio.start_server for one, and hand each to server.upgrade((reader, writer)).",
        )
    loop = asyncio.get_running_loop()
    reactor = _reactors.get(loop)
    if reactor is None or reactor.is_closed or reactor.forked:
        reactor = _reactors[loop] = Reactor(loop)
    return reactor
