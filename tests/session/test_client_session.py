"""A client's session in bytes: what was put in comes out, and nothing else does any harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsio.session.client_session import ClientSession

SHORT = st.integers(0, 0xFFFF)
SESSIONS = st.builds(
    ClientSession,
    name=st.text(st.characters(codec="utf-8"), max_size=40),
    trust=st.binary(min_size=32, max_size=32),
    valid_until=st.integers(-(2**63), 2**63 - 1),
    spki_digests=st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    verify_errors=st.lists(st.tuples(SHORT, SHORT), max_size=4).map(tuple),
    data=st.binary(min_size=1, max_size=60),
)


@given(SESSIONS)
def test_what_was_put_in_comes_out(session: ClientSession) -> None:
    """Whatever it is."""
    assert ClientSession.decode(session.encode()) == session


@given(SESSIONS, st.data())
def test_spoilt_bytes_are_none_or_another_session(session: ClientSession, data: st.DataObject) -> None:
    """Cut anywhere there is nothing left to resume; changed anywhere nothing raises."""
    encoded = bytearray(session.encode())
    head = len(encoded) - len(session.data)
    assert ClientSession.decode(bytes(encoded[: data.draw(st.integers(0, head))])) is None
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    assert ClientSession.decode(bytes(encoded)) != session


def test_secret_stays_out_of_the_repr() -> None:
    """Whoever has the session's bytes can read its traffic."""
    session = ClientSession(name="n", trust=bytes(32), valid_until=1, spki_digests=(), verify_errors=(), data=b"secret")
    assert "secret" not in repr(session)
