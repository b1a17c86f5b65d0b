"""An authority that is down, busy, slow or lying: Pebble behind a proxy that changes its answers.

Each test states what the caller gets, and that the authority is asked no more often than it should be.
"""

from __future__ import annotations

import asyncio
from base64 import urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509

import pki
import tlsio
from acme_clients import Sleeps, client_of, issuer_of, obtain, register
from acme_proxy import AuthorityProxy, Reply
from acme_solvers import Recorder
from pebble import Pebble
from ports import own_port
from tlsio.acme import AccountKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from acme_proxy import Request

    Change = Callable[[Request, Reply], None]

pytestmark = pytest.mark.slow
NAME = "faulty.example.test"


@pytest.fixture(scope="module")
def authority() -> Iterator[Pebble]:
    """Pebble that believes every challenge, and does not ask to wait."""
    with Pebble(retry_after=0, environment={"PEBBLE_VA_ALWAYS_VALID": "1"}) as running:
        yield running


class Anything(Recorder):
    """Answers nothing, which is enough here."""

    type = "http-01"


def on(kind: str, change: Change, *, times: int = 10**9) -> Change:
    """Change the replies to one kind of request, the first `times` of them."""
    left = times

    def maybe(request: Request, reply: Reply) -> None:
        nonlocal left
        if request.kind == kind and left:
            left -= 1
            change(request, reply)

    return maybe


def refuse(status: int, problem: str, **headers: str) -> Change:
    """Answer with a problem."""
    return lambda _request, reply: reply.refuse(status, problem, **headers)


async def issue(proxy: AuthorityProxy, **options: Any) -> Any:
    """Obtain a certificate for one name."""
    return await issuer_of(proxy, Anything(), **options).issue([NAME])


async def failure(authority: Pebble, change: Change, **options: Any) -> tuple[tlsio.ACMEError, AuthorityProxy]:
    """Return the error of an attempt."""
    async with AuthorityProxy(authority, change) as proxy:
        with pytest.raises(tlsio.ACMEError) as caught:
            await issue(proxy, **options)
    assert not isinstance(caught.value, tlsio.FetchError)
    return caught.value, proxy


# --- nonces ---


async def test_bad_nonces_without_end(authority: Pebble) -> None:
    """Ten tries, the later ones a second apart."""
    sleeps = Sleeps()
    error, proxy = await failure(authority, on("new_order", refuse(400, "badNonce")), sleep=sleeps)
    assert (error.code, error.problem) == ("ERR_ACME_BAD_NONCE", "badNonce")
    assert proxy.count("new_order") == 10
    assert sum(sleeps.waits) == 6.0


async def test_nine_bad_nonces(authority: Pebble) -> None:
    """The tenth one is good."""
    async with AuthorityProxy(authority, on("new_order", refuse(400, "badNonce"), times=9)) as proxy:
        await issue(proxy)
        assert proxy.count("new_order") == 10
        nonces = [one.protected["nonce"] for one in proxy.requests if one.kind == "new_order"]
        assert len(set(nonces)) == 10


@pytest.mark.parametrize("nonce", [None, "", "with space", "a+b/c=", "x" * 600])
async def test_nonces_that_are_none(authority: Pebble, nonce: str | None) -> None:
    """RFC 8555 §6.5.1: others than base64url are ignored; three tries for a good one."""

    def change(request: Request, reply: Reply) -> None:
        reply.headers.pop("replay-nonce", None)
        if nonce is not None:
            reply.headers["replay-nonce"] = nonce

    error, proxy = await failure(authority, change)
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert proxy.count("new_nonce") == 1
    assert proxy.count("new_account") == 0


async def test_answers_without_nonce(authority: Pebble) -> None:
    """A fresh one is fetched for each request."""

    def change(request: Request, reply: Reply) -> None:
        if request.kind != "new_nonce":
            reply.headers.pop("replay-nonce", None)

    async with AuthorityProxy(authority, change) as proxy:
        await issue(proxy)
        assert proxy.count("new_nonce") == sum(1 for one in proxy.requests if one.method == "POST")


# --- answers of the wrong form ---


def set_kind(text: str | None) -> Change:
    """Change the content type."""

    def change(_request: Request, reply: Reply) -> None:
        reply.headers.pop("content-type", None)
        if text is not None:
            reply.headers["content-type"] = text

    return change


def set_body(body: bytes) -> Change:
    """Change the body."""
    return lambda _request, reply: setattr(reply, "body", body)


KINDS = ["directory", "new_account", "new_order", "authorization", "challenge", "order", "finalize", "certificate"]
JUDGED = [kind for kind in KINDS if kind != "challenge"]  # whose answer may be lost: the state of the authorization tells


@pytest.mark.parametrize("kind", JUDGED)
@pytest.mark.parametrize("text", ["text/html", "application/octet-stream", None])
async def test_a_wrong_content_type(authority: Pebble, kind: str, text: str | None) -> None:
    """An error page of a proxy, for example."""
    error, proxy = await failure(authority, on(kind, set_kind(text)))
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert "content type" in error.message
    assert proxy.count(kind) <= 2


@pytest.mark.parametrize("kind", [kind for kind in JUDGED if kind != "certificate"])
@pytest.mark.parametrize(
    "body", [b"", b'{"status": "val', b"[]", b"null", b"[" * 100_000, b"\xff"], ids=["empty", "cut", "list", "null", "deep", "binary"]
)
async def test_json_that_is_none(authority: Pebble, kind: str, body: bytes) -> None:
    """Cut off, of another type, nested without end."""
    error, proxy = await failure(authority, on(kind, set_body(body)))
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert proxy.count(kind) <= 2


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "finalize"])
async def test_answers_without_end(authority: Pebble, kind: str) -> None:
    """More than half a megabyte is not read."""
    async with AuthorityProxy(authority, on(kind, set_body(b" " * 600_000))) as proxy:
        with pytest.raises(tlsio.FetchError) as caught:
            await issue(proxy)
    assert caught.value.code == "ERR_FETCH_TOO_LARGE"


@pytest.mark.parametrize("kind", ["directory", "new_order", "certificate"])
async def test_an_answer_byte_by_byte(authority: Pebble, kind: str) -> None:
    """Time is bounded for the whole answer, not for each byte."""
    sleeps = Sleeps()
    async with AuthorityProxy(authority, on(kind, lambda _request, reply: setattr(reply, "trickles", True))) as proxy:
        with pytest.raises(tlsio.FetchTimeoutError):
            await issue(proxy, timeout=1.5, sleep=sleeps)  # longer than a busy machine needs for the answers before
        # A POST-as-GET and a GET are repeated, a new order is not: it may have been made.
        assert proxy.count(kind) == (1 if kind == "new_order" else 3)


async def test_an_answer_that_never_ends(authority: Pebble) -> None:
    """The same for one that stalls."""
    async with AuthorityProxy(authority, on("new_order", lambda _request, reply: setattr(reply, "stalls", True))) as proxy:
        with pytest.raises(tlsio.FetchTimeoutError):
            await issue(proxy, timeout=1.5)
        assert proxy.count("new_order") == 1


@pytest.mark.parametrize(
    "raw", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", b"\x16\x03\x01 nonsense\r\n\r\n"], ids=["closed", "cut", "nonsense"]
)
@pytest.mark.parametrize("kind", ["directory", "order"])
async def test_connections_that_break(authority: Pebble, raw: bytes, kind: str) -> None:
    """Safe requests are repeated twice."""
    async with AuthorityProxy(authority, on(kind, lambda _request, reply: setattr(reply, "raw", raw), times=2)) as proxy:
        await issue(proxy)
    async with AuthorityProxy(authority, on(kind, lambda _request, reply: setattr(reply, "raw", raw))) as proxy:
        with pytest.raises(tlsio.FetchError):
            await issue(proxy)
        assert proxy.count(kind) == 3


async def test_an_authority_that_is_down() -> None:
    """Three tries, a second and two apart."""
    sleeps = Sleeps()
    with own_port() as port:
        client = tlsio.acme.Client(f"https://localhost:{port}/dir", sleep=sleeps)
        with pytest.raises(tlsio.FetchError) as caught:
            await client.directory()
    assert caught.value.code == "ECONNREFUSED"
    assert sleeps.waits == [1.0, 2.0]


async def test_many_calls_of_an_authority_that_is_down() -> None:
    """They fail together, with three requests, not one after the other."""
    sleeps = Sleeps()
    with own_port() as port:
        issuer = tlsio.acme.ACMEIssuer(f"https://localhost:{port}/dir", tlsio.acme.MemoryStorage(), [], terms_agreed=True, sleep=sleeps)
        errors = await asyncio.gather(*(issuer.issue([f"n{n}.example.test"]) for n in range(20)), return_exceptions=True)
    assert {type(error) for error in errors} == {tlsio.FetchError}
    assert sleeps.waits == [1.0, 2.0]


async def test_a_request_whose_answer_is_lost(authority: Pebble) -> None:
    """The certificate is fetched all the same: another order would count in the authority's limits."""
    lost: Change = on("finalize", lambda _request, reply: setattr(reply, "raw", b""))
    async with AuthorityProxy(authority, lost) as proxy:
        await issue(proxy)
        assert proxy.count("finalize") == proxy.count("new_order") == 1

    def never_came(request: Request) -> Reply | None:
        return Reply(200, {}, b"", raw=b"") if request.kind == "finalize" else None

    async with AuthorityProxy(authority, intercept=never_came) as proxy:
        with pytest.raises(tlsio.FetchError):
            await issue(proxy)
        assert proxy.count("finalize") == proxy.count("new_order") == 1


async def test_an_authority_that_is_not_trusted(authority: Pebble) -> None:
    """Its certificate is verified: nothing is sent to it."""
    async with AuthorityProxy(authority) as proxy:
        with pytest.raises(tlsio.FetchError) as caught:
            await client_of(proxy, ca=pki.ca2().cert_pem).directory()
        assert caught.value.code in {"UNABLE_TO_VERIFY_LEAF_SIGNATURE", "SELF_SIGNED_CERT_IN_CHAIN"}
        assert not proxy.requests


# --- redirects and URLs ---


def redirect(place: str, status: int = 307) -> Change:
    """Lead elsewhere."""

    def change(_request: Request, reply: Reply) -> None:
        reply.status = status
        reply.headers["location"] = place

    return change


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("kind", ["directory", "new_nonce", "new_order", "certificate"])
async def test_redirects_are_not_followed(authority: Pebble, kind: str, status: int) -> None:
    """Neither to the same server nor to another one."""
    for place in ("/dir", "http://127.0.0.1:1/", "https://elsewhere.invalid/"):
        error, proxy = await failure(authority, on(kind, redirect(place, status)))
        assert error.code == "ERR_ACME_REDIRECT"
        assert place in error.message
        assert proxy.count(kind) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/x",
        "ftp://localhost/x",
        "//localhost/x",
        "javascript:alert(1)",
        "https://u:secret@localhost/x",
        7,
        None,
        "x" * 3000,
    ],
)
async def test_urls_that_are_not_https(authority: Pebble, url: Any) -> None:
    """In the directory, in an order, in an authorization."""
    for kind, member in (("directory", "newOrder"), ("new_order", "finalize"), ("finalize", "certificate")):
        status = {} if kind != "finalize" else {"status": "valid"}
        error, _ = await failure(authority, on(kind, lambda _request, reply, new=status | {member: url}: reply.update(**new)))  # type: ignore[misc]
        assert error.code == "ERR_ACME_INVALID_RESPONSE"
        assert "secret" not in str(error)


async def test_a_directory_of_plain_http(authority: Pebble) -> None:
    """Only if that is allowed; its URLs may be plain too."""
    async with AuthorityProxy(authority, is_plain=True) as proxy:
        with pytest.raises(tlsio.UsageValueError):
            client_of(proxy, allow_http=False)
        found = await client_of(proxy).directory()
        assert found.new_order.startswith("http://localhost:")
        with pytest.raises(tlsio.ACMEError):  # Pebble wants URLs of https to be signed
            await register(client_of(proxy))


async def test_a_new_account_without_place(authority: Pebble) -> None:
    """Nothing can be asked for it."""
    error, _ = await failure(authority, on("new_account", lambda _request, reply: reply.headers.pop("location")))
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert "Location" in error.message


@pytest.mark.parametrize("status", ["deactivated", "revoked"])
async def test_an_account_that_is_of_no_use(authority: Pebble, status: str) -> None:
    """Nothing is ordered; another account is for a person to decide."""
    error, proxy = await failure(authority, on("new_account", lambda _request, reply: reply.update(status=status)))
    assert (error.code, error.problem) == ("ERR_ACME_UNAUTHORIZED", "unauthorized")
    assert status in error.message
    assert proxy.count("new_order") == 0


async def test_texts_for_people_are_bounded_and_printable(authority: Pebble) -> None:
    """Of the directory and of the account: they are shown by commands, and stored."""
    bad = "\x1b[31m" + "x" * 1500
    meta = {"termsOfService": bad, "website": bad, "caaIdentities": [bad] * 100, "profiles": {f"{bad}{n}": bad for n in range(100)}}
    change = {"directory": {"meta": meta}, "new_account": {"contact": [bad] * 100}}
    async with AuthorityProxy(
        authority, lambda request, reply: reply.update(**change[request.kind]) if request.kind in change else None
    ) as proxy:
        client = client_of(proxy)
        shown = f"{await client.directory()}{await register(client)}"
    assert shown.isprintable()
    assert len(shown) < 60_000


# --- limits, and an authority that is busy ---


async def test_a_busy_authority_is_asked_again_when_it_says(authority: Pebble) -> None:
    """503 with Retry-After in seconds, then as a date."""
    sleeps = Sleeps()

    def busy(request: Request, reply: Reply) -> None:
        if request.kind == "new_order" and proxy.count("new_order") < 3:
            later = datetime.now(UTC) + timedelta(seconds=20)
            reply.refuse(503, "serverInternal", Retry_After="7" if proxy.count("new_order") == 1 else f"{later:%a, %d %b %Y %H:%M:%S} GMT")

    async with AuthorityProxy(authority, busy) as proxy:
        await issue(proxy, sleep=sleeps)
    assert 7.0 in sleeps.waits
    assert any(10 <= one <= 21 for one in sleeps.waits)


@pytest.mark.parametrize(("status", "headers", "requests"), [(503, {}, 3), (502, {}, 3), (500, {}, 3), (503, {"Retry_After": "31"}, 1), (429, {}, 1), (429, {"Retry_After": "3600"}, 1), (429, {"Retry_After": "5"}, 3), (403, {}, 1), (404, {}, 1), (418, {}, 1)])  # fmt: skip
async def test_refusals_are_repeated_only_if_that_is_soon(authority: Pebble, status: int, headers: dict[str, str], requests: int) -> None:
    """Otherwise the caller decides, by `retry_after`."""
    error, proxy = await failure(authority, on("new_order", refuse(status, "rateLimited", **headers)))
    assert (error.code, error.status) == ("ERR_ACME_RATE_LIMITED", status)
    assert error.retry_after == (float(headers["Retry_After"]) if headers else None)
    assert proxy.count("new_order") == requests


async def test_a_refusal_without_problem_document(authority: Pebble) -> None:
    """The page of a proxy in front of the authority."""

    def change(_request: Request, reply: Reply) -> None:
        reply.status, reply.body = 503, b"<html>busy</html>"
        reply.headers.update({"content-type": "text/html", "retry-after": "120"})

    error, proxy = await failure(authority, on("directory", change))
    assert (error.code, error.status, error.retry_after, error.problem) == ("ERR_ACME_STATUS", 503, 120.0, None)
    assert proxy.count("directory") == 1


@pytest.mark.parametrize("document", ["[]", "{}", '{"type": 3}', "", "[" * 100_000])
async def test_a_problem_document_that_is_none(authority: Pebble, document: str) -> None:
    """Its status counts."""

    def change(_request: Request, reply: Reply) -> None:
        reply.refuse(400, "x")
        reply.body = document.encode()

    error, _ = await failure(authority, on("new_order", change))
    assert (error.code, error.status) == ("ERR_ACME_STATUS", 400)


# --- orders and authorizations ---


@pytest.mark.parametrize("kind", ["order", "authorization"])
@pytest.mark.parametrize("pause", [None, "0", "-1", "nonsense", "3"])
async def test_what_is_never_decided(authority: Pebble, kind: str, pause: str | None) -> None:
    """The wait is bounded, and so is the number of questions, whatever the authority says."""
    sleeps = Sleeps()

    def undecided(request: Request, reply: Reply) -> None:
        if request.kind == kind:
            reply.update(status="processing" if kind == "order" else "pending")
            reply.headers.pop("retry-after", None)
            if pause is not None:
                reply.headers["retry-after"] = pause

    error, proxy = await failure(authority, undecided, sleep=sleeps, poll_timeout=120.0)
    assert error.code == "ERR_ACME_TIMEOUT"
    assert sum(sleeps.waits) <= 120
    assert proxy.count(kind) <= (45 if pause == "3" else 32)


async def test_an_authority_that_wants_to_be_asked_tomorrow(authority: Pebble) -> None:
    """Nobody waits for that in a call; the error says when."""
    sleeps = Sleeps()

    def later(request: Request, reply: Reply) -> None:
        if request.kind == "order":
            reply.update(status="processing")
            reply.headers["retry-after"] = "86400"

    error, _ = await failure(authority, later, sleep=sleeps)
    assert (error.code, error.retry_after) == ("ERR_ACME_TIMEOUT", 86400.0)
    assert sum(sleeps.waits) < 10


@pytest.mark.parametrize("status", ["invalid", "expired", "revoked", "deactivated"])
async def test_an_authorization_that_ended_is_ordered_again_once(authority: Pebble, status: str) -> None:
    """It may have been another order's, from before."""
    async with AuthorityProxy(authority, on("authorization", lambda _request, reply: reply.update(status=status), times=1)) as proxy:
        await issue(proxy)
        assert proxy.count("new_order") == 2
    error, proxy = await failure(authority, on("authorization", lambda _request, reply: reply.update(status=status)))
    assert error.code == "ERR_ACME_AUTHORIZATION"
    assert proxy.count("new_order") == 2


async def test_an_order_that_turns_invalid(authority: Pebble) -> None:
    """Ordered again once; but not if the authority says why."""
    async with AuthorityProxy(authority, on("order", lambda _request, reply: reply.update(status="invalid"), times=1)) as proxy:
        await issue(proxy)
        assert proxy.count("new_order") == 2
    why = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA forbids it", "status": 403}
    error, proxy = await failure(authority, on("order", lambda _request, reply: reply.update(status="invalid", error=why)))
    assert (error.code, error.problem, error.detail) == ("ERR_ACME_ORDER_INVALID", "caa", "CAA forbids it")
    assert "CAA forbids it" in str(error)
    assert proxy.count("new_order") == 1


async def test_an_order_that_is_invalid_after_its_request(authority: Pebble) -> None:
    """That is a refusal: nothing is repeated."""

    def refuse_late(request: Request, reply: Reply) -> None:
        if request.kind == "finalize":
            reply.update(status="invalid", error={"type": "urn:ietf:params:acme:error:badCSR", "detail": "no"})

    error, proxy = await failure(authority, refuse_late)
    assert (error.code, error.problem) == ("ERR_ACME_ORDER_INVALID", "badCSR")
    assert proxy.count("new_order") == proxy.count("finalize") == 1


async def test_an_order_for_other_names(authority: Pebble) -> None:
    """No challenge is presented for it."""
    other = [{"type": "dns", "value": "victim.example.test"}]
    error, proxy = await failure(authority, on("new_order", lambda _request, reply: reply.update(identifiers=other)))
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert proxy.count("authorization") == 0


@pytest.mark.parametrize("identifier", [{"type": "dns", "value": "victim.example.test"}, {"type": "ip", "value": "192.0.2.1"}, {"type": "dns", "value": "../../etc"}, {"type": "dns", "value": "\x1b[31m"}, {"type": "email", "value": "x"}, {"type": "ip", "value": NAME}, {}, "x"])  # fmt: skip
async def test_an_authorization_for_another_name(authority: Pebble, identifier: Any) -> None:
    """The solver is never asked: it would publish, or write a file, for a name of the authority's choice."""
    solver = Anything()
    async with AuthorityProxy(authority, on("authorization", lambda _request, reply: reply.update(identifier=identifier))) as proxy:
        with pytest.raises(tlsio.ACMEError) as caught:
            await issuer_of(proxy, solver).issue([NAME])
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"
    assert str(caught.value).isprintable()
    assert not solver.seen


@pytest.mark.parametrize("token", ["../../etc/passwd", "", "a b", "x" * 300, 3, None, "ü"])
async def test_a_token_that_is_none(authority: Pebble, token: Any) -> None:
    """It becomes a path, and the name of a file."""
    solver = Anything()

    def change(_request: Request, reply: Reply) -> None:
        reply.update(challenges=[one | {"token": token} for one in reply.json["challenges"]])

    async with AuthorityProxy(authority, on("authorization", change)) as proxy:
        with pytest.raises(tlsio.ACMEError) as caught:
            await issuer_of(proxy, solver).issue([NAME])
    assert caught.value.code == "ERR_ACME_INVALID_RESPONSE"
    assert not solver.seen


async def test_more_authorizations_than_names(authority: Pebble) -> None:
    """A thousand URLs are not asked for."""

    def change(request: Request, reply: Reply) -> None:
        reply.update(authorizations=[f"{reply.json['authorizations'][0]}{n}" for n in range(999)])

    error, proxy = await failure(authority, on("new_order", change))
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert proxy.count("authorization") == 0


# --- certificates ---


def pem_of(*identities: pki.Identity) -> bytes:
    """Certificates without keys."""
    return b"".join(one.cert_pem for one in identities)


async def test_a_certificate_for_another_key(authority: Pebble) -> None:
    """It could not be served."""
    other = pki.leaf(NAME, issuer=pki.ca1(), names=[NAME])
    error, _ = await failure(authority, on("certificate", set_body(pem_of(other, pki.ca1()))))
    assert error.code == "ERR_ACME_WRONG_CERTIFICATE"
    assert "key" in error.message


@pytest.mark.parametrize(
    ("names", "dates", "word"),
    [
        ([NAME, "more.example.test"], {}, "instead of"),
        (["other.example.test"], {}, "instead of"),
        ([], {}, "instead of"),
        ([NAME], {"not_before": pki.NOW - 2 * pki.DAY, "not_after": pki.NOW - pki.DAY}, "clock"),
        ([NAME], {"not_before": pki.NOW + pki.DAY, "not_after": pki.NOW + 2 * pki.DAY}, "clock"),
    ],
    ids=["more-names", "other-name", "no-name", "expired", "future"],
)
async def test_a_certificate_that_was_not_ordered(authority: Pebble, names: list[str], dates: Any, word: str) -> None:
    """For our key, but wrong all the same."""
    sent: list[x509.CertificateSigningRequest] = []

    def change(request: Request, reply: Reply) -> None:
        if request.kind == "finalize":
            sent.append(x509.load_der_x509_csr(urlsafe_b64decode(request.payload["csr"] + "==")))
        if request.kind == "certificate":
            reply.body = _certify(sent[-1], names, **dates) + pki.ca1().cert_pem

    error, proxy = await failure(authority, change)
    assert error.code == "ERR_ACME_WRONG_CERTIFICATE"
    assert word in f"{error.message} {error.hint}"
    assert proxy.count("finalize") == 1


def _certify(request: x509.CertificateSigningRequest, names: list[str], **dates: Any) -> bytes:
    """Sign the key of a request with ca1."""
    begin, end = dates.get("not_before", pki.NOW), dates.get("not_after", pki.NOW + pki.DAY)
    issuer = pki.ca1().certificate.subject
    builder = x509.CertificateBuilder(issuer, x509.Name([]), request.public_key(), 77, begin, end)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(one) for one in names]), critical=True)
    return builder.sign(pki.ca1().key, pki.hashes.SHA256()).public_bytes(pki.PEM)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["empty", "html", "key", "cut", "order", "twice", "damaged", "many"])
async def test_a_chain_that_is_none(authority: Pebble, case: str) -> None:
    """Above all not with a private key in it (RFC 8555 §11.4)."""

    def change(_request: Request, reply: Reply) -> None:
        first, second = reply.body.split(b"-----END CERTIFICATE-----\n", 1)
        first += b"-----END CERTIFICATE-----\n"
        reply.body = {
            "empty": b"",
            "html": b"<html>",
            "key": reply.body + pki.agent1().key_pem,
            "cut": reply.body[:-40],
            "order": second + first,
            "twice": first + reply.body,
            "damaged": reply.body.replace(b"MII", b"AAA"),
            "many": reply.body + pki.ca1().cert_pem * 20,
        }[case]

    error, proxy = await failure(authority, on("certificate", change))
    assert error.code == "ERR_ACME_INVALID_RESPONSE"
    assert proxy.count("certificate") == 1


async def test_other_chains_without_end(authority: Pebble) -> None:
    """At most five are looked at."""

    def change(_request: Request, reply: Reply) -> None:
        reply.headers["link"] = ", ".join(f'<https://localhost:{proxy.port}/certZ/x{n}>;rel="alternate"' for n in range(100))

    async with AuthorityProxy(authority, on("certificate", change)) as proxy:
        await issue(proxy, preferred_chain="Some Root")  # they do not exist
        assert proxy.count("certificate") == 6

    def the_same(request: Request, reply: Reply) -> None:
        if request.kind == "certificate":
            first = next(one.path for one in proxy.requests if one.kind == "certificate")
            reply.headers["link"] = ", ".join(f'<https://localhost:{proxy.port}{first}#{n}>;rel="alternate"' for n in range(100))

    async with AuthorityProxy(authority, the_same) as proxy:
        await issue(proxy, preferred_chain="Some Root")
        assert proxy.count("certificate") == 6


@pytest.mark.parametrize(
    "link",
    ["/certZ/none", "http://localhost/certZ/none", "https://[none", "//user:password@localhost/x"],
    ids=["missing", "http", "no URL", "password"],
)
async def test_another_chain_that_cannot_be_had(authority: Pebble, link: str, caplog: pytest.LogCaptureFixture) -> None:
    """The certificate is there: the authority's own choice is used."""

    def change(_request: Request, reply: Reply) -> None:
        reply.headers["link"] = f'<{link}>;rel="alternate"'

    async with AuthorityProxy(authority, on("certificate", change)) as proxy:
        assert (await issue(proxy, preferred_chain="Some Root")).chain
    assert "Another chain" in caplog.text
    assert "password" not in caplog.text


async def test_a_relative_link_is_followed(authority: Pebble) -> None:
    """RFC 8288 §3.1."""

    def change(request: Request, reply: Reply) -> None:
        reply.headers["link"] = f'<{request.path.rpartition("/")[2]}?again>;rel="alternate"'

    async with AuthorityProxy(authority, on("certificate", change)) as proxy:
        await issue(proxy, preferred_chain="Some Root")
        assert proxy.requests[-1].path.endswith("?again")


@pytest.mark.parametrize("status", [500, 502, 504])
async def test_a_finalized_order_whose_answer_is_an_error(authority: Pebble, status: int) -> None:
    """The request is sent again, and the order is not ready any more: it is the certificate that was ordered."""
    errors = iter([status])

    def change(_request: Request, reply: Reply) -> None:
        if found := next(errors, None):
            reply.status, reply.body = found, b"<html>"
            reply.headers["content-type"] = "text/html"

    async with AuthorityProxy(authority, on("finalize", change)) as proxy:
        assert (await issue(proxy)).chain
        assert (proxy.count("finalize"), proxy.count("new_order")) == (2, 1)


async def test_a_notice_that_arrived_although_its_answer_is_an_error(authority: Pebble) -> None:
    """It is sent again, and refused, as the challenge is not pending any more: what the authority has found counts."""

    def change(_request: Request, reply: Reply) -> None:
        reply.status, reply.body = 502, b"<html>"

    async with AuthorityProxy(authority, on("challenge", change, times=1)) as proxy:
        assert (await issue(proxy, sleep=lambda _seconds: asyncio.sleep(0.5))).chain
        assert (proxy.count("challenge"), proxy.count("new_order")) == (2, 1)


@pytest.mark.parametrize("reached", ["authority", "proxy"])
async def test_a_key_change_that_is_refused(authority: Pebble, reached: str) -> None:
    """RFC 8555 §7.3.5: 409 if another account has the new key. Whatever the authority did, the account is found again."""

    def intercept(request: Request) -> Reply | None:
        return Reply(409, {"content-type": "text/plain"}, b"") if request.kind == "key_change" and reached == "proxy" else None

    async with AuthorityProxy(authority, on("key_change", refuse(409, "conflict")), intercept=intercept) as proxy:
        issuer = issuer_of(proxy)
        account = await issuer.account()
        with pytest.raises(tlsio.ACMEError) as caught:
            await issuer.change_account_key()
        assert caught.value.status == 409
        found = await issuer.account()
        assert found.url == account.url
        assert (found.key.thumbprint == account.key.thumbprint) is (reached == "proxy")


async def test_metadata_may_be_null_or_nonsense(authority: Pebble) -> None:
    """It is for people; what a client needs is elsewhere."""
    for meta in (
        None,
        {},
        {"termsOfService": None, "website": 3, "caaIdentities": [None, 5], "profiles": None},
        {"profiles": {"x": 3, "y": None}},
    ):
        async with AuthorityProxy(authority, on("directory", lambda _request, reply, meta=meta: reply.update(meta=meta))) as proxy:  # type: ignore[misc]
            found = await client_of(proxy).directory()
            assert found.terms_of_service is None
            assert found.caa_identities == ()
            client = client_of(proxy)
            await obtain(client, await client.new_account(AccountKey.generate(), terms_agreed=True), [NAME], Anything())
