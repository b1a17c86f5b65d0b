"""Environment variables: which of them count, and for whom."""

import ctypes
import os

import pytest

from tlsio.model import environment
from tlsio.model.environment import read_variable


def test_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set, empty, not set."""
    monkeypatch.setenv("TLSIO_TEST", "value")
    assert read_variable("TLSIO_TEST") == "value"
    monkeypatch.setenv("TLSIO_TEST", "")
    assert read_variable("TLSIO_TEST") == ""
    monkeypatch.delenv("TLSIO_TEST")
    assert read_variable("TLSIO_TEST") is None


@pytest.mark.parametrize("name", ["geteuid", "getegid"])
def test_setuid_program_reads_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whoever starts it must not choose whom it trusts."""
    monkeypatch.setenv("TLSIO_TEST", "value")
    monkeypatch.setattr(os, name, lambda: os.getuid() + os.getgid() + 1)
    assert read_variable("TLSIO_TEST") is None


def test_program_with_file_capabilities_reads_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its users and groups are as usual; the kernel marks it all the same (AT_SECURE)."""
    monkeypatch.setenv("TLSIO_TEST", "value")
    monkeypatch.setattr(environment, "_started_with_more_rights", lambda: True)
    assert read_variable("TLSIO_TEST") is None


@pytest.mark.parametrize(("answer", "expected"), [(0, "value"), (1, None)])
def test_kernel_is_asked(monkeypatch: pytest.MonkeyPatch, answer: int, expected: str | None) -> None:
    """For AT_SECURE, number 23."""

    class Library:
        def __init__(self, _name: None) -> None:
            self.getauxval = Asked()

    class Asked:
        def __call__(self, number: int) -> int:
            return answer if number == 23 else 0

    monkeypatch.setenv("TLSIO_TEST", "value")
    monkeypatch.setattr(ctypes, "CDLL", Library)
    environment._started_with_more_rights.cache_clear()
    assert read_variable("TLSIO_TEST") == expected
    environment._started_with_more_rights.cache_clear()


def test_system_without_such_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of users and groups decide."""
    monkeypatch.setenv("TLSIO_TEST", "value")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: object())
    environment._started_with_more_rights.cache_clear()
    assert read_variable("TLSIO_TEST") == "value"
    environment._started_with_more_rights.cache_clear()
