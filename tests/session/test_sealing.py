"""Sealed values."""

from __future__ import annotations

import pytest

from redis_server import SECRET
from tlsio.model.errors import UsageTypeError, UsageValueError
from tlsio.session.sealing import derive_key, seal, unseal

KEY = derive_key(SECRET, "tests")


def test_comes_back_as_it_was() -> None:
    """Also when there is nothing in it."""
    assert unseal(KEY, seal(KEY, b"data", b"here"), b"here") == b"data"
    assert unseal(KEY, seal(KEY, b"", b"here"), b"here") == b""


def test_shows_nothing_twice() -> None:
    """Each has a nonce of its own."""
    one, other = seal(KEY, b"data" * 4, b"here"), seal(KEY, b"data" * 4, b"here")
    assert one != other
    assert b"data" not in one


@pytest.mark.parametrize("at", range(12 + 4 + 16))
def test_altered_value_is_refused(at: int) -> None:
    """Whichever byte it is."""
    sealed = bytearray(seal(KEY, b"data", b"here"))
    sealed[at] ^= 1
    with pytest.raises(ValueError, match="altered"):
        unseal(KEY, bytes(sealed), b"here")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(12), bytes(27)])
def test_stump_is_refused(sealed: bytes) -> None:
    """Not even the frame is whole."""
    with pytest.raises(ValueError, match="altered"):
        unseal(KEY, sealed, b"here")


def test_moved_value_is_refused() -> None:
    """And one sealed with another key."""
    sealed = seal(KEY, b"data", b"here")
    for key, place in ((KEY, b"there"), (derive_key(SECRET, "other"), b"here")):
        with pytest.raises(ValueError, match="altered"):
            unseal(key, sealed, place)


def test_secret_may_be_text_or_bytes() -> None:
    """The same one gives the same key; another does not."""
    assert derive_key(SECRET, "tests") == derive_key(SECRET.encode(), "tests") == KEY
    assert derive_key(SECRET + ".", "tests") != KEY


@pytest.mark.parametrize(("secret", "error"), [("x" * 31, UsageValueError), (None, UsageTypeError), (32, UsageTypeError)])
def test_wrong_secret_raises(secret: object, error: type[Exception]) -> None:
    """And is not shown."""
    with pytest.raises(error) as caught:
        derive_key(secret, "tests")
    assert "xxx" not in str(caught.value)
    derive_key("x" * 32, "tests")
