"""What serves a server name, and for how long that may be relied upon."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tlsio.connection.context.secure_context import SecureContext

__all__ = ["Answer"]


class Answer(NamedTuple):
    """What a server's tables or its source say about a name.

    Attributes:
        context: What serves it; None: the default.
        lasts: Seconds for which the engine may serve the name so without asking again. 0: it must
            ask each time. Infinity: until `Gate.forget`.
    """

    context: SecureContext | None
    lasts: float
