"""The life of a socket: its states, the table of their moves, and the events that are kept until a listener gets them.

A socket's state is three fields, because they move independently: a socket whose output has ended still reads, and one whose input
has ended still writes. `Lifecycle` is the one place that changes them. An impossible move is a bug of the caller and raises, so
that a socket stays in a state that exists.

    phase    IDLE -> HANDSHAKING -> OPEN -> CLOSED -> RELEASED      a socket may be closed in each of them
    output   WRITABLE -> FINISHED                                   by `end`, `close` or `destroy`
    input    READABLE -> ENDED, READABLE or ENDED -> DROPPED        by the peer's end; by `close` or `destroy`

`Kept` are the events that have happened and that no listener has got yet: `end`, `error` and `close` happen once, and may
happen before the application has added its listeners.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tlsio.connection.socket.facts import SocketFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CLOSED", "DROPPED", "ENDED", "FINISHED", "HANDSHAKING", "IDLE", "OPEN", "READABLE", "RELEASED", "WRITABLE", "Kept", "Lifecycle"]


class Phase(IntEnum):
    """How far the connection has come."""

    IDLE = 0
    HANDSHAKING = 1
    OPEN = 2
    CLOSED = 3  # nothing moves any more; the stream is being closed
    RELEASED = 4  # the stream is closed, or closes on its own


class Output(IntEnum):
    """Whether the application may still write."""

    WRITABLE = 0
    FINISHED = 1


class Input(IntEnum):
    """What may still come from the peer."""

    READABLE = 0
    ENDED = 1  # the peer has ended, and the engine has given out all that came before
    DROPPED = 2  # the application wants nothing any more


class Kept:
    """Events that wait for a listener: bits, and plain numbers: the operators of an IntFlag are slow."""

    NONE: Final = 0
    END: Final = 1
    ERROR: Final = 2
    CLOSE: Final = 4


# Names of their own: the paths that every byte takes compare with them, and Python 3.11 looks up members of an Enum slowly.
IDLE: Final = Phase.IDLE
HANDSHAKING: Final = Phase.HANDSHAKING
OPEN: Final = Phase.OPEN
CLOSED: Final = Phase.CLOSED
RELEASED: Final = Phase.RELEASED
WRITABLE: Final = Output.WRITABLE
FINISHED: Final = Output.FINISHED
READABLE: Final = Input.READABLE
ENDED: Final = Input.ENDED
DROPPED: Final = Input.DROPPED

_State = Phase | Output | Input

_PHASES: Final[Mapping[Phase, tuple[Phase, ...]]] = {
    IDLE: (HANDSHAKING, CLOSED),
    HANDSHAKING: (OPEN, CLOSED),
    OPEN: (CLOSED,),
    CLOSED: (RELEASED,),
    RELEASED: (),
}
_OUTPUTS: Final[Mapping[Output, tuple[Output, ...]]] = {WRITABLE: (FINISHED,), FINISHED: ()}
_INPUTS: Final[Mapping[Input, tuple[Input, ...]]] = {READABLE: (ENDED, DROPPED), ENDED: (DROPPED,), DROPPED: ()}


class Lifecycle(SocketFacts):
    """A socket's three fields, and the doors that move them."""

    __slots__ = ("_input", "_output", "_phase")

    _phase: Phase
    _output: Output
    _input: Input

    def _begin_life(self, phase: Phase) -> None:
        self._phase = phase
        self._output = WRITABLE
        self._input = READABLE

    def _move_phase(self, to: Phase) -> None:
        if to not in _PHASES[self._phase]:
            raise _impossible(self._phase, to)
        self._phase = to

    def _finish_output(self) -> None:
        if FINISHED not in _OUTPUTS[self._output]:
            raise _impossible(self._output, FINISHED)
        self._output = FINISHED

    def _move_input(self, to: Input) -> None:
        if to not in _INPUTS[self._input]:
            raise _impossible(self._input, to)
        self._input = to


def _impossible(state: _State, to: _State) -> AssertionError:
    return AssertionError(f"A socket cannot move from {state.name} to {to.name}")
