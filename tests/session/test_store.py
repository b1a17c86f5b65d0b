"""Names of sessions in a store."""

from __future__ import annotations

from tlsio.session.store import entry_id


def test_name_differs_by_id_and_context() -> None:
    """Also where their bytes, one behind the other, are the same."""
    names = {entry_id(*pair) for pair in [(b"ab", b"c"), (b"b", b"ca"), (b"ab", b""), (b"abc", b""), (b"ab", b"d")]}
    assert len(names) == 5
    assert {len(name) for name in names} == {32}


def test_name_is_the_same_everywhere() -> None:
    """Nodes of a cluster find each other's sessions; a change here would end them all."""
    assert entry_id(b"id", b"context").hex() == "093708f22570c6851f2b49dadf3a84848ab3f0073dac51597b5c2cfb18b03a79"
