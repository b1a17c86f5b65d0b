"""A client's session in bytes: what was put in comes out, and nothing else does any harm."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tlsio.session.client_session import ClientSession

SHORT = st.integers(0, 0xFFFF)
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
SESSIONS = st.builds(
    ClientSession,
    name=st.text(st.characters(codec="utf-8"), max_size=40),
    trust=st.binary(min_size=32, max_size=32),
    verified_at=st.integers(-(2**63), 2**63 - 1),
    valid_until=st.integers(-(2**63), 2**63 - 1),
    spki_digests=st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    entries=st.binary(max_size=40),
    verify_errors=st.lists(st.tuples(SHORT, SHORT), max_size=4).map(tuple),
    objections=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
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
    session = ClientSession(name="n", trust=bytes(32), verified_at=0, valid_until=1, spki_digests=(), verify_errors=(), data=b"secret")
    assert "secret" not in repr(session)


def test_session_of_an_older_version_is_none() -> None:
    """It does not say when the server was verified."""
    session = ClientSession(name="n", trust=bytes(32), verified_at=0, valid_until=1, spki_digests=(), verify_errors=(), data=b"x")
    assert ClientSession.decode(session.encode().replace(b"session 2", b"session 1")) is None


def test_long_objection_is_cut() -> None:
    """A certificate may have a name of many kilobytes."""
    said = (("CERT_REVOKED", "\N{BULLET}" * 100_000),)
    session = ClientSession(
        name="n", trust=bytes(32), verified_at=0, valid_until=1, spki_digests=(), verify_errors=(), objections=said, data=b"x"
    )
    found = ClientSession.decode(session.encode())
    assert found is not None
    assert found.objections == (("CERT_REVOKED", "\N{BULLET}" * 1000),)
