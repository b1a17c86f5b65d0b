"""The lifecycle of a socket: its states, their transitions, and events kept for later listeners.

A socket's state has three fields, because they change independently: a socket whose output has
ended can still read, and one whose input has ended can still write. Only `Lifecycle` changes them.
An impossible transition is a bug of ours and raises, so that the state stays valid.

    phase    IDLE -> HANDSHAKING -> OPEN -> CLOSED -> RELEASED   CLOSED follows any earlier phase
    output   WRITABLE -> FINISHED                                by `end`, `close` or `destroy`
    input    READABLE -> ENDED                                   by the peer's end
             READABLE or ENDED -> DROPPED                        by `close` or `destroy`

`PendingEvents` are the events that have happened but were not emitted, for lack of a listener:
`end`, `error` and `close` happen once, and may happen before the application has added its
listeners.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Final

from tlsio.connection.socket.facts import SocketFacts

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLOSED",
    "DROPPED",
    "ENDED",
    "FINISHED",
    "HANDSHAKING",
    "IDLE",
    "OPEN",
    "READABLE",
    "RELEASED",
    "WRITABLE",
    "Lifecycle",
    "PendingEvents",
]


class Phase(IntEnum):
    """The phase of the connection."""

    IDLE = 0
    HANDSHAKING = 1
    OPEN = 2
    CLOSED = 3  # no more data moves; the stream is being closed
    RELEASED = 4  # the stream is closed, or the driver closes it in the background


class Output(IntEnum):
    """Whether the application may still write."""

    WRITABLE = 0
    FINISHED = 1


class Input(IntEnum):
    """Whether data may still arrive from the peer."""

    READABLE = 0
    ENDED = 1  # the peer has ended, and all data before that was read from the engine
    DROPPED = 2  # the application has closed the socket: input is discarded


class PendingEvents:
    """Bits for events that wait for a listener; plain numbers, since an IntFlag is slow."""

    NONE: Final = 0
    END: Final = 1
    ERROR: Final = 2
    CLOSE: Final = 4


# Module names, since the data paths compare with them, and Python 3.11 looks up members of an Enum
# slowly.
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
    """A socket's three state fields, and the methods that change them."""

    __slots__ = ("_input", "_output", "_phase")

    _phase: Phase
    _output: Output
    _input: Input

    def _init_state(self, phase: Phase) -> None:
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
