"""The state of one connection's handshakes, shared by its side, its socket and its server.

It references the socket only while a question is open, so that no cycle keeps an unused socket
alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tlsio.connection.handshake.questions import INTERNAL_ERROR, as_tls_error, ask, failure_of, is_hook_failure, no_answer, reraise_later
from tlsio.connection.handshake.signing import leave_line, sign, wait_in_line
from tlsio.model.codes import alert_number
from tlsio.native._core import ASK_JOB, ASK_SIGN

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tlsio.connection.context.secure_context import SecureContext
    from tlsio.connection.handshake.questions import Answer, Question
    from tlsio.connection.handshake.side import HandshakeSide
    from tlsio.model.errors import TLSError
    from tlsio.native._core import Connection

__all__ = ["Handshake"]


class Handshake:
    """One connection's handshakes: the first and later ones.

    Attributes:
        checked_by: The `check_client` that accepted the client; None: there was none.
        connection: The engine's connection.
        context: The context chosen by server name; None: the side's default.
        is_done: Whether the first handshake is done.
        is_over: Whether the connection has ended.
        hook_failure: The exception of a hook that failed; if no listener handles it, the loop's
            exception handler must.
        refused: The exception for which we refused the peer.
        socket: The socket argument of hooks; None if no question is open.
        is_challenge: Whether it answers an ACME authority.
        tasks: The running tasks of the socket's async listeners; None if there were none.
    """

    __slots__ = (
        "_loop",
        "_question",
        "checked_by",
        "connection",
        "context",
        "hook_failure",
        "is_challenge",
        "is_done",
        "is_over",
        "refused",
        "socket",
        "tasks",
    )

    def __init__(self, connection: Connection, loop: asyncio.AbstractEventLoop | None, context: SecureContext | None = None) -> None:
        """Start one; without a loop, hooks must answer synchronously."""
        self.connection = connection
        self.context = context
        self.checked_by: Callable[..., Any] | None = None
        self.is_challenge = self.is_done = self.is_over = False
        self.hook_failure: TLSError | None = None
        self.refused: TLSError | None = None
        self.socket: Any = None
        self.tasks: set[asyncio.Task[Any]] | None = None
        self._loop = loop
        self._question: Question | None = None  # of an async hook

    def answer(self, side: HandshakeSide, question: int, socket: object) -> None:
        """Let `side` answer the engine's question, at once or later."""
        self.socket = socket
        if question == ASK_SIGN:
            sign(self, side.options.hook_timeout)
        elif question == ASK_JOB:
            wait_in_line(self, self._loop)
        else:
            side.on_question(self, question)
        if self._question is None:
            self.socket = None

    def ask(self, name: str, timeout: float | None, answer: Answer, hook: Callable[..., Any], *args: object) -> None:
        """Call a hook and pass its result to `answer(result, error)`.

        `answer` answers the engine's question, or calls the next hook. It is not called once the
        connection has ended.
        """
        later = False

        def take(result: object, error: BaseException | None) -> None:
            self._question = None
            if self.is_over:  # the hook itself may have destroyed the connection
                return
            try:
                answer(result, error)
            except BaseException as failure:  # noqa: BLE001  (the question must not stay open: the handshake fails closed)
                self.refused = self.hook_failure = no_answer(name, failure if error is None else error)
                self.connection.refuse(alert_number(INTERNAL_ERROR))
                reraise_later(self.connection.later, failure)
            if later and self._question is None:  # otherwise the next hook's answer resumes it
                self.socket = None
                self.connection.resume()

        question = ask(self._loop, name, timeout, take, hook, *args)
        if question is not None:
            self._question = question
        later = True

    @property
    def can_wait(self) -> bool:
        """Whether an async hook can be waited for."""
        return self._loop is not None

    @property
    def is_asking(self) -> bool:
        """Whether an async hook has yet to answer."""
        return self._question is not None

    def is_waited_for(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether the socket's end waits for this task: a listener's or the running hook's."""
        return bool(self.tasks and task in self.tasks) or (self._question is not None and self._question.is_run_by(task))

    def fail_psk(self, error: BaseException) -> None:
        """Record a failure of `psk_callback`, which fails the handshake."""
        failure = failure_of("psk_callback", error)
        self.refused = refused = as_tls_error("psk_callback", failure)
        refused.alert = None  # OpenSSL chooses it
        self.hook_failure = refused if is_hook_failure(failure) else None
        reraise_later(self.connection.later, error)

    def cancel(self) -> None:
        """Cancel the open question: the connection has ended."""
        self.is_over = True
        question, self._question, self.socket = self._question, None, None
        if question is not None:
            question.cancel()
        leave_line(self, self._loop)
