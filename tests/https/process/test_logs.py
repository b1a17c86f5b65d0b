"""What the command logs, and where."""

from __future__ import annotations

import io
import logging
import sys
from typing import TYPE_CHECKING

import pytest

from tlsio.https.process import logs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Leave logging as it was."""
    loggers = [logging.getLogger(name) for name in ("", "tlsio", "uvicorn", "tlsio.access")]
    before = [(one, one.level, one.propagate, list(one.handlers)) for one in loggers]
    yield
    for one, level, propagate, handlers in before:
        one.setLevel(level)
        one.propagate = propagate
        one.handlers[:] = handlers


def test_errors_and_requests_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors on standard error, requests on standard output, each once, however often it is configured."""
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    logs.configure("debug")
    logs.configure("warning")
    logging.getLogger("tlsio.https").warning("a %s", "problem")
    logging.getLogger("tlsio.https").info("not printed")
    logging.getLogger("uvicorn.error").info("not printed")
    logging.getLogger("tlsio.access").info("GET /")
    assert err.getvalue() == "WARNING:  a problem\n"
    assert out.getvalue() == "GET /\n"


def test_a_client_cannot_forge_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control characters are escaped; an application's own log is its own."""
    err = io.StringIO()
    monkeypatch.setattr(sys, "stderr", err)
    logs.configure("info")
    logging.getLogger("tlsio.https").info("%s", "a\nERROR: b\x1b[0m")
    logging.getLogger("application").warning("two\nlines")
    assert err.getvalue() == "INFO:     a\\x0aERROR: b\\x1b[0m\nWARNING:  two\nlines\n"


def test_a_reader_of_the_log_that_has_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not disturb the server; another failure is reported as logging does."""

    class Broken(io.StringIO):
        def __init__(self, error: Exception) -> None:
            super().__init__()
            self.error = error

        def write(self, _: str) -> int:
            raise self.error

    reported: list[logging.LogRecord] = []
    monkeypatch.setattr(logging.StreamHandler, "handleError", lambda _, record: reported.append(record))
    for error, count in ((BrokenPipeError(), 0), (ValueError(), 1)):
        monkeypatch.setattr(sys, "stderr", Broken(error))
        logs.configure("info")
        logging.getLogger("tlsio.https").info("x")
        assert len(reported) == count
