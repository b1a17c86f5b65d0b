"""Random changes of an authority's answers, while a certificate is obtained, renewed and revoked.

Pebble stands behind a proxy that damages some answers: JSON members are replaced, removed and nested, bodies are cut off and exchanged,
statuses, headers and content types are wrong, connections break. The oracle: the issuer raises an `ACMEError`, a `FetchError` or a
`ConfigError`, or returns a certificate for its key and its name; the number of requests and the time that it wants to wait are
bounded; solvers are asked for the ordered name only, and present nothing afterwards.

`SEED=17 pytest tests/search/test_acme_answers.py` runs one case again; `FIRST=` and `MANY=` choose others.
"""

from __future__ import annotations

import copy
import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import pki
import tlsio
from acme_clients import Sleeps, issuer_of
from acme_proxy import AuthorityProxy
from acme_solvers import Recorder
from pebble import Pebble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from acme_proxy import Reply, Request

ONE = os.environ.get("SEED")
FIRST = int(os.environ.get("FIRST", "0"))
MANY = int(os.environ.get("MANY", "240"))
SIZE = 40 if ONE is None else 1
PARTS = range(FIRST, FIRST + MANY, SIZE) if ONE is None else [int(ONE)]
NAMES = ["search.example.test", "*.search.example.test", "192.0.2.7"]
# One issue() may order four times, with ten nonces and three tries for each request, and poll for five minutes for each of three
# names and of the order: far more than any case here needs, and far less than would be without end.
MAX_REQUESTS = 1000
MAX_WAIT = 2 * 4 * 4 * 300.0

VALUES: list[Any] = [
    None, True, False, 0, -1, 3.5, 10**30, "", "x", "valid", "invalid", "pending", "processing", "ready", "x" * 5000, "\ud800", "\x00\x1b[31m", [], [None], ["x"] * 3,
    [[[[]]]], {}, {"": {}}, {"type": "dns"}, "https://localhost:1/", "http://localhost/", "https://[", "//x", "../..", "2026-11-30T00:00:00Z", "9999-12-31T23:59:59-23:59", "urn:ietf:params:acme:error:badNonce",
]  # fmt: skip
STATUSES = [200, 201, 204, 301, 304, 307, 400, 401, 403, 404, 409, 429, 500, 503, 599]
HEADERS: dict[str, list[str | None]] = {
    "content-type": [
        None,
        "",
        "text/html",
        "application/json",
        "application/problem+json",
        "application/pem-certificate-chain; x=y",
        ";;;",
    ],
    "retry-after": [None, "0", "1", "99999999999999", "-1", "soon", "Mon, 30 Nov 2026 00:00:00 GMT", "Mon, 30 Nov 9999 00:00:00 GMT", ""],
    "location": [None, "", "/x", "http://localhost/", "https://localhost:1/x", "\\"],
    "replay-nonce": [None, "", "bad nonce", "AAAA", "x" * 2000],
    "link": [None, "<", '<https://localhost:1/>;rel="alternate"', '<x>;rel=alternate, <>;rel="alternate"', "," * 500],
    "date": [None, "nonsense", "Mon, 30 Nov 1999 00:00:00 GMT"],
}


class Anything(Recorder):
    """Answers nothing: this Pebble believes every challenge."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.type = kind

    def can_solve(self, identifier: str, *, is_wildcard: bool, is_ip: bool) -> bool:
        """As real ones."""
        return not is_ip if self.type == "dns-01" else not is_wildcard


@pytest.fixture(scope="module")
def authority() -> Iterator[Pebble]:
    """Pebble that believes everything."""
    with Pebble(retry_after=0, profiles={"default": 86400}, environment={"PEBBLE_VA_ALWAYS_VALID": "1"}) as running:
        yield running


class Damage:
    """Changes answers by chance; says what it did."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        # Some cases damage one answer in three, and some only a rare one, far into the exchange.
        self._rate = chance.choice([0.03, 0.1, 0.3])
        # Some do it always in the same way, for one kind of resource.
        self._kind = chance.choice(
            [None, None, "order", "authorization", "finalize", "certificate", "new_order", "challenge", "renewal_info"]
        )
        self.done: list[str] = []

    def __call__(self, request: Request, reply: Reply) -> None:
        """Damage a reply, or leave it."""
        if (request.kind == self._kind) if self._kind else (self._chance.random() < self._rate):
            ways: list[Callable[[Reply], str]] = [self._json, self._json, self._json, self._header, self._status, self._body, self._break]
            self.done.append(f"{request.kind}: {self._chance.choice(ways)(reply)}")

    def _json(self, reply: Reply) -> str:
        try:
            document = json.loads(reply.body)
        except ValueError:
            return self._body(reply)
        what = "nothing"
        for _ in range(self._chance.randint(1, 3)):
            what = self._change_member(document)
        reply.body = json.dumps(document).encode()
        return what

    def _change_member(self, document: Any) -> str:
        place, path = document, ""
        while isinstance(place, dict | list) and place:
            key: Any = self._chance.choice(list(place) if isinstance(place, dict) else range(len(place)))
            path += f"/{key}"
            if not isinstance(place[key], dict | list) or self._chance.random() < 0.4:
                if self._chance.random() < 0.2:
                    del place[key]
                    return f"without {path}"
                value = copy.deepcopy(self._chance.choice(VALUES))
                place[key] = value
                return f"{path} = {value!r:.40}"
            place = place[key]
        return "nothing"

    def _header(self, reply: Reply) -> str:
        name = self._chance.choice(list(HEADERS))
        value = self._chance.choice(HEADERS[name])
        reply.headers.pop(name, None)
        if value is not None:
            reply.headers[name] = value
        return f"{name}: {value!r:.40}"

    def _status(self, reply: Reply) -> str:
        reply.status = self._chance.choice(STATUSES)
        if reply.status in {204, 304}:
            reply.body = b""
        return f"status {reply.status}"

    def _body(self, reply: Reply) -> str:
        way = self._chance.choice(["empty", "cut", "flipped", "twice", "swapped", "deep", "binary"])
        data = bytearray(reply.body)
        if way == "flipped" and data:
            for _ in range(self._chance.randint(1, 8)):
                data[self._chance.randrange(len(data))] = self._chance.randrange(256)
        middle = self._chance.randrange(len(data) + 1)
        reply.body = {
            "empty": b"",
            "cut": bytes(data[:middle]),
            "flipped": bytes(data),
            "twice": bytes(data) * 2,
            "swapped": pki.agent1().cert_pem + pki.agent1().key_pem,
            "deep": b"[" * 50_000,
            "binary": self._chance.randbytes(200),
        }[way]
        return f"{way} body"

    def _break(self, reply: Reply) -> str:
        reply.raw = self._chance.choice([b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"\x00" * 50, b"HTTP/1.1 999 \r\n\r\n"])
        return "broken"


@pytest.mark.slow
@pytest.mark.only_loop("uvloop")
@pytest.mark.parametrize("first", PARTS)
async def test_damaged_answers(authority: Pebble, first: int) -> None:
    """Each seed is one case."""
    good = 0
    for seed in range(first, first + SIZE):
        good += await run_case(authority, seed)
    assert ONE is not None or good  # otherwise nothing behind the first steps was tried


async def run_case(authority: Pebble, seed: int) -> bool:
    """Run one case; True if a certificate came of it."""
    chance = random.Random(seed)  # noqa: S311 - a case that can be run again
    damage, sleeps, solvers = Damage(chance), Sleeps(), [Anything("http-01"), Anything("tls-alpn-01"), Anything("dns-01")]
    names = NAMES[: chance.randint(1, 3)]
    certificate: bytes | None = None
    message = ""
    async with AuthorityProxy(authority, damage) as proxy:
        issuer = issuer_of(proxy, *solvers, sleep=sleeps, timeout=20.0, preferred_chain="No Such Root", contact="ada@example.com")
        try:
            issued = await issuer.issue(names)
            leaf = x509.load_pem_x509_certificate(issued.chain)
            found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            assert {str(one.value) for one in found} == set(names)
            assert tlsio.create_secure_context(cert=issued.chain, key=issued.key)
            certificate = leaf.public_bytes(pki.DER)
            await issuer.renewal_info(certificate)
            await issuer.issue(names, replaces=certificate)
            await issuer.revoke(certificate)
            await issuer.change_account_key()
        except (tlsio.ACMEError, tlsio.FetchError, tlsio.ConfigError) as error:
            message = str(error)
        except BaseException as error:
            error.add_note(f"SEED={seed}: {damage.done}")
            raise
        assert len(proxy.requests) <= MAX_REQUESTS, f"SEED={seed}: {damage.done}"
        assert sum(sleeps.waits) <= MAX_WAIT, f"SEED={seed}: {damage.done}"
        assert message.isprintable(), f"SEED={seed}"
        assert len(message) < 5000, f"SEED={seed}"
        assert not any(solver.presented for solver in solvers), f"SEED={seed}"
        seen = {f"{'*.' if one.is_wildcard else ''}{one.identifier}" for solver in solvers for one in solver.seen}
        assert seen <= set(names), f"SEED={seed}"
    return certificate is not None
