"""Resumed never admits what a full handshake would refuse: pairs of options, made of seeds; see `trust_pairs`.

`PAIR=17 pytest tests/search/test_trust_matrix.py -k test_pairs` plays one again.
"""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from tlsio.connection.handshake.start import make_side
from tlsio.model.options.context import CLIENT_CONTEXT_CHECKS, CONTEXT_CHECKS
from tlsio.model.options.parse import CONNECT_CHECKS, SERVER_CHECKS
from trust_pairs import CLIENT, SERVER, World, compose, expiring_pair, play

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trust_pairs import Pair

PAIRS = 800
MANY_PAIRS = int(os.environ.get("MANY", "20000"))
ROLES = ("server", "client")
TABLES = {"server": SERVER, "client": CLIENT}
ONE = os.environ.get("PAIR")  # to be played alone
FIRST = os.environ.get("FIRST")  # of the many, which are then the same in every run
SIZE = 200 if ONE is None else 1
PARTS = range(0, PAIRS, SIZE) if ONE is None else [int(ONE)]


@pytest.mark.parametrize("first", PARTS)
def test_pairs(first: int) -> None:
    """Pairs that are the same in every run."""
    look_at(map(compose, range(first, first + SIZE)))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(10))
def test_many_pairs(part: int) -> None:
    """Pairs that nobody has seen before, unless `FIRST` names them."""
    size = MANY_PAIRS // 10
    first = random.SystemRandom().randrange(1 << 40) if FIRST is None else int(FIRST) + part * size
    look_at(map(compose, range(first, first + size)))


@pytest.mark.slow
async def test_peers_that_expire() -> None:
    """A session ends with the certificates it was made by, however it is kept, and renewed or not."""
    kinds: list[tuple[Any, Any, Any]] = [("client", "TLSv1.2", "tickets"), ("client", "TLSv1.3", "tickets")]
    kinds += [("server", version, kept) for version in ("TLSv1.2", "TLSv1.3") for kept in ("tickets", "store")]
    kinds.append(("server", "TLSv1.2", "ids"))
    pairs = [expiring_pair(*kind, strict=strict) for kind in kinds for strict in (True, False)]
    outcomes = await asyncio.gather(*map(play, pairs))
    assert all(outcome is not None and outcome.first.admitted and outcome.first.authorized for outcome in outcomes)
    wrong = [f"{pair.describe()}\n  {outcome}" for pair, outcome in zip(pairs, outcomes, strict=True) if outcome and not outcome.is_right]
    assert not wrong, "\n".join(wrong)


def look_at(pairs: Iterable[Pair]) -> None:
    """Play all of them; fail with those whose resumption found out something else than a full handshake."""
    wrong: list[str] = []
    resumed = 0

    async def run() -> None:
        nonlocal resumed
        for pair in pairs:
            outcome = await play(pair)
            if outcome is None:
                continue
            resumed += bool(outcome.resumed and outcome.resumed.reused)
            if not outcome.is_right:
                wrong.append(f"{pair.describe()}\n  first: {outcome.first}\n  then: {outcome.resumed}\n  full handshake: {outcome.full}")

    asyncio.run(run())
    assert not wrong, f"{len(wrong)} pairs, of {resumed} resumed\n" + "\n".join(wrong[:10])
    assert resumed or ONE is not None


# ---- every option


class TestOptions:
    """Each option is in the digest, or in the list of those that cannot change a verdict."""

    def test_each_is_named_once(self) -> None:
        """A new option has to be put on one of the lists."""
        from tlsio.connection.context.trust_digest import CANNOT_DECIDE, DECIDES  # noqa: PLC0415 - the other tests do without

        every = set(CONTEXT_CHECKS) | set(SERVER_CHECKS) | set(CONNECT_CHECKS)
        assert not DECIDES & set(CANNOT_DECIDE)
        assert every - DECIDES - set(CANNOT_DECIDE) - {"secure_protocol"} == set()  # that one is two others

    @pytest.mark.parametrize("role", ROLES)
    def test_each_that_decides_is_among_the_pairs(self, role: str) -> None:
        """What no pair changes, no pair can find."""
        from tlsio.connection.context.trust_digest import DECIDES  # noqa: PLC0415

        options = CONTEXT_CHECKS | SERVER_CHECKS if role == "server" else CLIENT_CONTEXT_CHECKS | CONNECT_CHECKS
        assert DECIDES & set(options) - set(TABLES[role]) - ({"cert"} if role == "server" else set()) == set()

    @pytest.mark.parametrize(("role", "option"), [(role, option) for role in ROLES for option in TABLES[role]])
    def test_digest(self, role: str, option: str) -> None:
        """Two values that decide differently have two digests; values of other options have one."""
        from tlsio.connection.context.trust_digest import DECIDES  # noqa: PLC0415

        if option in {"ca", "pfx", "cert"}:
            found = {digest(role, {option: value}) for value in FILES[option]}
        else:
            found = {digest(role, {option: value}) for value in TABLES[role][option](World(role, "TLSv1.3"))}  # type: ignore[arg-type]
        decides = option in DECIDES and not (role == "server" and option == "cert")
        assert (len(found) > 1) == decides


FILES: dict[str, Any] = {
    "ca": [pki.ca1().cert_pem, pki.ca5().cert_pem],
    "pfx": [None, [{"buf": pki.chained().pfx(), "passphrase": "sample"}]],
    "cert": [None, pki.client().cert_pem],
}


def digest(role: str, options: dict[str, Any]) -> bytes:
    """Return what keeps sessions of different trust apart."""
    given = {name: value for name, value in options.items() if value is not None}
    if role == "server":
        server = tlsio.create_server(**{"request_cert": True, "ca": pki.ca1().cert_pem} | given)
        return server._policy.names.default.trust_digest
    if "cert" in given:
        given["key"] = pki.client().key_pem
    return make_side({"ca": pki.ca1().cert_pem, "servername": "localhost"} | given, is_server=False).trust  # type: ignore[attr-defined]
