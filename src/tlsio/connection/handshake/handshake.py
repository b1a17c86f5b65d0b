"""What is known of one connection: shared by the side that decides, the socket that the application holds, and its server.

The socket refers to it, and it to the socket only while a question is open: so a socket that nobody holds is free at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.connection.handshake.questions import ask, failure_of, is_mistake, reraise_later
from tlsio.model.errors import TLSError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.questions import Answer, Question
    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.native._core import Connection

__all__ = ["Handshake"]


class Handshake:
    """One connection's handshakes, the first and those that follow.

    Attributes:
        connection: The engine's.
        context: Chosen by name; None: the side's default.
        is_done: The first handshake is done.
        is_over: The connection has ended.
        mistake: What a hook raised by mistake: when nothing takes it, the loop's handler must.
        refused: Why we refused the peer, in the words of whoever did.
        socket: What a hook is given as its socket; None when no question is open.
        tasks: Those of the socket's async listeners that still run; None when there was none.
    """

    __slots__ = ("_loop", "_question", "connection", "context", "is_done", "is_over", "mistake", "refused", "socket", "tasks")

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop | None, context: SecureContext | None = None) -> None:
        """Begin one; without a loop hooks have to answer at once."""
        self.connection = connection
        self.context = context
        self.is_done = self.is_over = False
        self.mistake: BaseException | None = None
        self.refused: BaseException | None = None
        self.socket: Any = None
        self.tasks: set[asyncio.Task[Any]] | None = None
        self._loop = loop
        self._question: Question | None = None  # to an async hook

    def answer(self, side: HandshakeSide, question: int, socket: object) -> None:
        """Have the engine's question answered by `side`, at once or later."""
        self.socket = socket
        side.on_question(self, question)
        if self._question is None:
            self.socket = None

    def ask(self, name: str, timeout: float | None, answer: Answer, hook: Callable[..., Any], *args: object) -> None:
        """Put one question to a hook. `answer(result, error)` tells the engine, or asks the next hook; not once the connection is over."""
        later = False

        def take(result: object, error: BaseException | None) -> None:
            self._question = None
            if self.is_over:  # the hook itself may have destroyed it
                return
            answer(result, error)
            if later and self._question is None:  # otherwise the next hook's answer goes on
                self.socket = None
                self.connection.resume()

        question = ask(self._loop, name, timeout, take, hook, *args)
        if question is not None:
            self._question = question
        later = True

    @property
    def is_asking(self) -> bool:
        """Whether an async hook has yet to answer."""
        return self._question is not None

    def is_waited_for(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether the socket ends only after this task: one of a listener, or of the hook that is asked."""
        return bool(self.tasks and task in self.tasks) or (self._question is not None and self._question.is_run_by(task))

    def fail_key(self, error: BaseException) -> None:
        """`psk_callback` has failed, and with it the handshake."""
        failure = failure_of("psk_callback", error)
        if isinstance(failure, TLSError):
            failure.alert = None  # OpenSSL picks it
        self.refused = failure
        self.mistake = failure if is_mistake(failure) else None
        reraise_later(self.connection.later, error)

    def cancel(self) -> None:
        """The connection has ended: nobody wants an answer any more."""
        self.is_over = True
        question, self._question, self.socket = self._question, None, None
        if question is not None:
            question.cancel()
