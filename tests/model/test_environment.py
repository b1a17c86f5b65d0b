"""Environment variables: which of them count, and for whom."""

import os
import struct
from pathlib import Path

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
    monkeypatch.setattr(environment, "_started_privileged", lambda: True)
    assert read_variable("TLSIO_TEST") is None


def vector(secure: int) -> bytes:
    """Return what the kernel hands a new program: pairs of numbers, AT_SECURE is 23, AT_NULL ends them."""
    return struct.pack("@LLLLLL", 6, 4096, 23, secure, 0, 0)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(vector(0), "value"), (vector(1), None), (PermissionError(), None), (FileNotFoundError(), "value"), (b"", "value")],
)
def test_kernel_is_asked(monkeypatch: pytest.MonkeyPatch, answer: bytes | OSError, expected: str | None) -> None:
    """Where a program may not look at itself it has more rights; without /proc the numbers of users and groups decide."""

    def read(path: Path) -> bytes:
        assert path == Path("/proc/self/auxv")
        if isinstance(answer, OSError):
            raise answer
        return answer

    monkeypatch.setenv("TLSIO_TEST", "value")
    monkeypatch.setattr(Path, "read_bytes", read)
    environment._started_privileged.cache_clear()
    assert read_variable("TLSIO_TEST") == expected
    environment._started_privileged.cache_clear()
