"""The host that a Host header names."""

from __future__ import annotations

import pytest

from tlsio.https.host import Host, parse_host


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"a.example", Host("a.example", None)),
        (b"A.Example", Host("a.example", None)),
        (b"a.example.", Host("a.example", None)),
        (b"a.example:443", Host("a.example", None)),
        (b"a.example.:8443", Host("a.example", None)),
        (b"a.example:", Host("a.example", None)),
        (b"localhost", Host("localhost", None)),
        (b"my_service", Host("my_service", None)),
        (b"xn--bcher-kva.example", Host("xn--bcher-kva.example", None)),
        (b"127.0.0.1", Host(None, "127.0.0.1")),
        (b"127.0.0.1.:80", Host(None, "127.0.0.1")),
        (b"[::1]", Host(None, "::1")),
        (b"[0:0::1]:8443", Host(None, "::1")),
        (b"a.example:65535", Host("a.example", None)),
    ],
)
def test_hosts_are_normalized(value: bytes, host: Host) -> None:
    """Case, port and final dot are not part of the name."""
    assert parse_host(value) == host


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b".",
        b".a.example",
        b"a..example",
        b"a.example..",
        b"a.example:65536",
        b"a.example:http",
        b"a.example:8443:8443",
        b"a.example, b.example",
        b"user@a.example",
        b"https://a.example",
        b"a.example/path",
        b"a%2eexample",
        b"b\xc3\xbccher.example",
        b"a.example\t",
        b"-a.example",
        b"*.example",
        b"::1",
        b"[::1",
        b"[::1%25eth0]",
        b"[v1.a]",
        b"[1.2.3.4]",
        b"127.1",
        b"0x7f.0.0.1",
        b"a.0x7f",
        b"256.0.0.1",
        b"01.2.3.4",
        b"1.2.3.4.5",
        b"a" * 64,
        b".".join([b"a" * 60] * 5),
        b"a" * 300,
    ],
)
def test_what_is_not_a_host_is_refused(value: bytes) -> None:
    """Neither names that SNI cannot carry, nor spellings that clients read differently."""
    assert parse_host(value) is None


def test_a_name_of_255_characters_is_the_longest() -> None:
    """DNS and SNI have no longer ones."""
    name = ".".join(["a" * 63] * 3 + ["a" * 63])
    assert parse_host(name.encode()) == Host(name, None)
    assert len(name) == 255
    assert parse_host(f"{name[:-1]}.a".encode()) is None
