"""Environment variables: which of them count, and for whom."""

import os

import pytest

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
