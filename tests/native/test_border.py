"""Sizes that C would take on faith: each is refused before it goes down, with an error that names it."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from tlsio.native._core import Connection, Context, Gate, Pfx, Ring, Roots
from tlsio.native.context_spec import ContextSpec, LabelledMaterial

if TYPE_CHECKING:
    from collections.abc import Callable

KEY, OTHER = b"k" * 48, b"o" * 48


@cache
def spec() -> ContextSpec:
    """Return what a context is made from, with nothing in it."""
    return ContextSpec(roots=Roots(), min_version=0x0303, max_version=0x0304)


@cache
def context() -> Context:
    """Return a context that several tests share."""
    return Context(spec())


def client() -> Connection:
    """Make a connection that has not begun."""
    return Connection(context(), False)  # noqa: FBT003


def gate(**options: Any) -> Gate:
    """Make a gate."""
    usual: dict[str, Any] = {
        "handshake_timeout": 0.0,
        "max_connections": None,
        "max_handshakes": None,
        "max_handshake_bytes": None,
        "no_delay": True,
        "keep_alive": -1,
        "alpn_continue": False,
        "renegotiation_limit": 0,
        "renegotiation_window": 0.0,
    }
    return Gate(None, context(), Ring(), **usual | options)  # type: ignore[arg-type]


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "ring: short key": (lambda: Ring().set([KEY, b"x" * 32]), "Ticket key 2 must be exactly 48 bytes, got 32"),
    "ring: long key": (lambda: Ring().set([b"x" * 49]), "exactly 48 bytes, got 49"),
    "ring: keys that add up": (lambda: Ring().set([b"x" * 32, b"x" * 64]), "Ticket key 1 must be exactly 48 bytes, got 32"),
    "ring: wrong key after the last that counts": (lambda: Ring().set([KEY] * 16 + [b""]), "Ticket key 17"),
    "ring: no key": (lambda: Ring().set([]), "is empty"),
    "ring: text": (lambda: Ring().set(["x" * 48]), "must be bytes-like"),  # type: ignore[list-item]
    "ring: one key": (lambda: Ring().set(KEY), "must be a list"),  # type: ignore[arg-type]
    "ring: short push": (lambda: Ring().push(b"x" * 47), "exactly 48 bytes, got 47"),
    "ring: empty push": (lambda: Ring().push(b""), "exactly 48 bytes, got 0"),
    "ring: negative life": (lambda: Ring(-1.0), "keep must be from 0"),
    "ring: endless life": (lambda: Ring(math.inf), "keep must be from 0"),
    "ring: no life": (lambda: Ring(math.nan), "keep must be from 0"),
    "gate: endless handshakes": (lambda: gate(handshake_timeout=math.inf), "handshake_timeout must be from 0"),
    "gate: window": (lambda: gate(renegotiation_window=1e10), "renegotiation_window must be from 0"),
    "gate: long hint": (lambda: gate(psk_hint=b"x" * 257), "from 1 to 256 bytes"),
    "gate: hint with a NUL": (lambda: gate(psk_hint=b"x\0y"), "must not contain a NUL character"),
    "context: ticket key": (lambda: Context(replace(spec(), ticket_keys=(b"x" * 47,))), "exactly 48 bytes, got 47"),
    "context: pin": (lambda: Context(replace(spec(), pins=(b"x" * 32, b"x" * 20))), "A pin must be exactly 32 bytes, got 20"),
    "context: id context": (lambda: Context(replace(spec(), session_id_context=b"x" * 33)), "from 0 to 32 bytes, got 33 bytes"),
    "context: cut ALPN": (lambda: Context(replace(spec(), alpn=b"\x02h2\x08http")), "length byte before it"),
    "context: empty ALPN name": (lambda: Context(replace(spec(), alpn=b"\x00\x02h2")), "length byte before it"),
    "context: compression twice": (lambda: Context(replace(spec(), compression=("zlib",) * 4)), "contains an algorithm twice"),
    "pfx: passphrase with a NUL": (lambda: Pfx(LabelledMaterial("pfx", pki.localhost().pfx(), b"secret\0more")), "null character"),
    "connection: negative read": (lambda: client().read(-1), "limit must be 1 or more, got -1"),
    "connection: read of the lowest number": (lambda: client().read(-(2**63)), "limit must be 1 or more"),
    "connection: long name": (lambda: client().set_server_name("x" * 256), "from 1 to 255 bytes, got 256 bytes"),
    "connection: name with a NUL": (lambda: client().set_server_name("a\0b"), "must not contain a NUL character"),
    "connection: name in Unicode": (lambda: client().set_server_name("stra\u00dfe.example"), "must be ASCII"),
    "connection: long hint": (lambda: client().set_psk_hint(b"x" * 257), "from 1 to 256 bytes"),
    "connection: long protocol": (lambda: client().answer_hello(None, b"x" * 256), "from 1 to 255 bytes"),
    "connection: empty protocol": (lambda: client().answer_hello(None, b""), "from 1 to 255 bytes"),
    "connection: long response": (lambda: client().answer_status([bytes(2**24)]), "from 1 to 16777215 bytes"),
    "connection: window": (lambda: client().set_renegotiation(1, math.nan), "must be from 0"),
    "connection: export too early": (lambda: client().export_keying_material(32, b"label"), "before the handshake"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_size_is_refused(name: str) -> None:
    """With an error of ours, which says what was wrong and never holds the bytes."""
    call, message = WRONG[name]
    with pytest.raises(tlsio.UsageError, match=message) as caught:
        call()
    assert b"xxxx".decode() not in str(caught.value)


@pytest.mark.parametrize("alert", [-1, 256])
def test_alert_that_is_no_byte_is_refused(alert: int) -> None:
    """As every number that does not fit."""
    with pytest.raises(OverflowError):
        client().refuse(alert)


def test_refused_keys_leave_the_old_ones() -> None:
    """Neither the first key nor any other is lost."""
    ring = Ring()
    ring.set([KEY])
    for keys in ([OTHER, b"x"], [], ["x" * 48]):
        with pytest.raises(tlsio.UsageError):
            ring.set(keys)  # type: ignore[arg-type]
    assert ring.first() == KEY


def test_ring_keeps_the_first_of_too_many() -> None:
    """A source may know more than a server has room for; the one that encrypts is the first."""
    ring = Ring()
    ring.set([bytes([number]) * 48 for number in range(100)])
    assert ring.first() == bytes(48)


def test_ring_copies_what_the_caller_may_change() -> None:
    """A bytearray is bytes too."""
    key = bytearray(KEY)
    ring = Ring()
    ring.set([key])
    key[:] = OTHER
    assert ring.first() == KEY


@pytest.mark.parametrize("size", [0, 262145, 2**22])
def test_session_of_a_size_that_none_has_is_not_opened(size: int) -> None:
    """All of a session came in one handshake."""
    assert not client().set_session(bytes(size))
    assert not client().answer_session(bytes(size))
