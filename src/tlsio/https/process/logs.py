"""Logging of the command: errors to standard error, requests to standard output."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Literal, TypeAlias

from uvicorn.logging import ColourizedFormatter

from tlsio.model.environment import read_variable

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

__all__ = ["LogLevel", "configure", "drop_warnings", "pass_on"]

LogLevel: TypeAlias = Literal["debug", "info", "warning", "error"]

_REQUESTS = "tlsio.access"


def configure(level: LogLevel) -> None:
    """Print what is logged from a level on, and every request that is logged.

    What was configured before by this function is replaced.
    """
    # Of other packages, a level below WARNING is theirs: an application configures it.
    logging.getLogger("tlsio").setLevel(level.upper())
    logging.getLogger("uvicorn").setLevel(level.upper())
    _install(logging.getLogger(), sys.stderr, "%(levelprefix)s %(message)s")
    requests = logging.getLogger(_REQUESTS)
    requests.setLevel(logging.INFO)
    requests.propagate = False
    _install(requests, sys.stdout, "%(message)s")


def drop_warnings(name: str) -> None:
    """Leave the warnings of a logger to the parent, which has logged them."""
    logging.getLogger(name).addFilter(_is_no_warning)


def _is_no_warning(record: logging.LogRecord) -> bool:
    return record.levelno < logging.WARNING


def pass_on(name: str, report: Callable[[str, str], object]) -> None:
    """Give what a logger logs to `report`, with its name; it is not printed here."""
    logger = logging.getLogger(name)
    logger.propagate = False
    logger.addHandler(_Reporter(report))


class _Reporter(logging.Handler):
    """Gives messages to a function."""

    def __init__(self, report: Callable[[str, str], object]) -> None:
        super().__init__()
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        self._report(record.name, record.getMessage())


def _install(logger: logging.Logger, stream: TextIO, form: str) -> None:
    for one in tuple(logger.handlers):
        if isinstance(one, _Handler):
            logger.removeHandler(one)
    handler = _Handler(stream)
    handler.setFormatter(_Formatter(form, use_colors=stream.isatty() and not read_variable("NO_COLOR")))
    logger.addHandler(handler)


class _Handler(logging.StreamHandler["TextIO"]):
    """One of ours."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's
        """Drop what cannot be written: the reader of the log has gone, and the server goes on."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


class _Formatter(ColourizedFormatter):
    """uvicorn's; control characters of clients, which our messages may have, forge no line."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.name.startswith("tlsio") and not message.isprintable():
            record = logging.makeLogRecord(record.__dict__)
            record.msg, record.args = "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in message), None
        return super().format(record)
