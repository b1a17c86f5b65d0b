"""The application's lifespan: uvicorn's, with an end that leaves no task behind."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from uvicorn.lifespan.on import LifespanOn

from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from uvicorn import Config

__all__ = ["Lifespan"]

_log = logging.getLogger("tlsio.https")


class _Watched(LifespanOn):
    """uvicorn's lifespan, which remembers its task and why the application refused to start."""

    task: asyncio.Task[Any] | None = None
    reason = ""

    async def main(self) -> None:
        self.task = asyncio.current_task()
        await super().main()

    async def send(self, message: Any) -> None:
        if message["type"] == "lifespan.startup.failed":
            self.reason = message.get("message", "")
        await super().send(message)


class Lifespan:
    """Starts and stops one application."""

    def __init__(self, config: Config) -> None:
        """Take the application that `config` has loaded."""
        self._inner = _Watched(config) if issubclass(config.lifespan_class, LifespanOn) else None

    @property
    def state(self) -> dict[str, Any]:
        """What the application has set in its state."""
        return {} if self._inner is None else self._inner.state

    async def start(self) -> None:
        """Start the application. A cancellation ends its task.

        Raises:
            ConfigError: it refused to start, or raised.
        """
        inner = self._inner
        if inner is None:
            return
        try:
            await inner.startup()
        except BaseException:
            await self._end()
            raise
        if inner.should_exit:
            await self._end()
            lines = inner.reason.strip().splitlines()  # frameworks give a traceback
            raise ConfigError(
                f"The application failed to start{f': {lines[-1]}' if lines else ''}",
                code="ERR_HTTPS_APP",
                hint="The logger uvicorn.error has the reason in full.",
            )

    def cancel(self) -> None:
        """Cancel the application's task; `start` returns or raises then."""
        if self._inner is not None and self._inner.task is not None:
            self._inner.task.cancel()

    async def stop(self, limit: float | None) -> None:
        """Stop the application; after `limit` seconds, or when cancelled, cancel its task."""
        inner = self._inner
        if inner is None:
            return
        try:
            async with asyncio.timeout(limit):
                await inner.shutdown()
                if inner.task is not None:
                    await asyncio.wait([inner.task])  # its last lines come after its last message
        except TimeoutError:
            _log.warning("The application was cancelled: its shutdown took longer than graceful_timeout")
        finally:
            await self._end()

    async def _end(self) -> None:
        """End the application's task; uvicorn logs what it raises."""
        task = None if self._inner is None else self._inner.task
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])
