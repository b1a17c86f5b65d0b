"""When the watch over a closing connection ends."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

from tlsio.connection.socket.close_watch import CloseWatch


async def test_watch_that_is_stopped_by_its_own_check_keeps_nothing() -> None:
    """It finds a reset, and the socket closes; the timer would keep it for the rest of close_timeout."""
    found, ended = asyncio.get_running_loop().create_future(), []

    class Wire:
        acknowledged = 0
        stop: Any = None

        def count_undelivered(self) -> int:
            return 1

        def look_for_reset(self) -> None:
            self.stop()
            found.set_result(None)

    class Connection:
        output_ended = input_ended = True
        writable_length = out_error = 0

    class Handshake:
        is_asking = False

    connection: Any = Connection()
    handshake: Any = Handshake()
    wire = Wire()
    watch = CloseWatch(asyncio.get_running_loop(), connection, wire, handshake, is_local=False, timeout=60.0, ended=ended.append)
    wire.stop = watch.stop
    await found
    kept = weakref.ref(connection)
    del wire, watch, connection
    gc.collect()
    assert kept() is None
    assert not ended
