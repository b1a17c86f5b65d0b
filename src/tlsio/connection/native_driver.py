"""The native driver: one reactor of the engine for each event loop, made when needed and given back when idle."""

import asyncio
import weakref

from tlsio.native._core import Reactor

__all__ = ["current_reactor"]

# Not settings but a registry: which loop already has its reactor. The loop's reader keeps it alive, and dies with the loop.
_reactors: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Reactor]" = weakref.WeakKeyDictionary()


def current_reactor() -> Reactor:
    """The reactor of the running loop."""
    loop = asyncio.get_running_loop()
    reactor = _reactors.get(loop)
    if reactor is None or reactor.is_closed or reactor.forked:
        reactor = _reactors[loop] = Reactor(loop)
    return reactor
