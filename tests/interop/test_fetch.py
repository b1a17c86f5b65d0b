"""The HTTP client, with Node's servers and proxy, uvicorn, and servers of odd or hostile answers."""

from __future__ import annotations

import asyncio
import json
import pickle
import random
import socket
import subprocess
import sys
import traceback
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h11
import pytest
from cryptography import x509

import http_peers
import pki
import tlsio
from foreign_peers import find_node
from ports import own_port
from seeds import new_seed
from tlsio.interop.fetch import Fetcher, fetch
from tlsio.interop.http_exchange import Exchange, Step
from tlsio.interop.http_request import make_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from net import Version

CA: Any = {"ca": pki.ca1().cert_pem}


@pytest.fixture(autouse=True)
def _kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep idle connections for ever: nothing here depends on how quick the machine is."""
    monkeypatch.setattr("tlsio.interop.http_exchange._KEPT_SECONDS", float("inf"))


class Web:
    """Node's servers, and the requests that they have seen."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.http, self.https, self.proxy = self.seen()

    def seen(self) -> Any:
        """Return the next request; the ports, to begin with."""
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def node_web() -> Iterator[Web]:
    """Run fetch_peer.js as localhost."""
    who = pki.localhost()
    script = str(Path(__file__).with_name("fetch_peer.js"))
    with subprocess.Popen([find_node(), script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        process.stdin.write(json.dumps({"cert": who.chain_pem.decode(), "key": who.key_pem.decode()}))
        process.stdin.close()
        try:
            yield Web(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def web() -> Iterator[Web]:
    """One Node for all tests here."""
    with node_web() as made:
        yield made


@asynccontextmanager
async def scripted(*answers: bytes, hold: bool = False) -> AsyncIterator[str]:
    """Answer each connection's requests with these bytes, then end it, or `hold` it open."""
    running: set[asyncio.Task[Any]] = set()
    arrived = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        arrived.add(writer.get_extra_info("peername"))
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            for answer in answers:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(answer)
                await writer.drain()
            if hold:
                await reader.read()
        writer.close()
        running.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        # CPython 3.11: what is accepted while the server closes is left open. So all arrive before.
        _, last = await asyncio.open_connection("127.0.0.1", port)
        while last.get_extra_info("sockname") not in arrived:  # noqa: ASYNC110 - a few passes of the loop
            await asyncio.sleep(0)
        last.close()
        server.close()
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def refusal(*answers: bytes, hold: bool = False, **options: Any) -> tlsio.FetchError:
    """Return the error of a request that gets these answers."""
    async with scripted(*answers, hold=hold) as url:
        with pytest.raises(tlsio.FetchError) as caught:
            await fetch(url, **options)
    assert caught.value.url == f"{url}/"
    assert caught.value.host == "127.0.0.1"
    return caught.value


# --- good servers ---


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_get_from_node(web: Web, scheme: str) -> None:
    """Status, headers that occur more than once, and the body."""
    response = await fetch(f"{scheme}://localhost:{getattr(web, scheme)}/a?b=c", headers={"Accept": "text/plain"}, **CA)
    assert (response.status, response.body) == (200, b"hello")
    assert response.header("replay-NONCE") == "n1"
    assert [value for name, value in response.headers if name == "link"] == ['<a>;rel="up"', '<b>;rel="index"']
    kind, method, url, headers, *_ = web.seen()
    assert (kind, method, url) == (scheme, "GET", "/a?b=c")
    assert headers == {"host": f"localhost:{getattr(web, scheme)}", "accept": "text/plain", "user-agent": "tlsio"}


async def test_post_head_and_chunks(web: Web) -> None:
    """Over one connection, in turn."""
    base = f"https://localhost:{web.https}"
    async with Fetcher(**CA) as fetcher:
        posted = await fetcher.fetch(f"{base}/p", body=b"{}", headers=[("Content-Type", "application/jose+json")])
        head = await fetcher.fetch(f"{base}/p", method="HEAD")
        chunks = await fetcher.fetch(f"{base}/chunks")
        missing = await fetcher.fetch(f"{base}/missing")
    assert (posted.body, head.status, head.body, chunks.body, missing.status) == (b"{}", 200, b"", b"hello", 404)
    requests = [web.seen() for _ in range(4)]
    assert requests[0][3]["content-type"] == "application/jose+json"
    assert [one[1] for one in requests] == ["POST", "HEAD", "GET", "GET"]
    assert len({one[5] for one in requests}) == 1


async def test_uvicorn(version: Version) -> None:
    """Large bodies in both directions, over our TLS and the standard library's."""
    for kind in ("ours", "stdlib"):
        async with http_peers.serve(kind, version) as site, Fetcher(**CA) as fetcher:  # type: ignore[arg-type]
            assert (await fetcher.fetch(site.url, body=bytes(2_000_000))).body == b"2000000"
            assert (await fetcher.fetch(f"{site.url}/large", max_bytes=http_peers.LARGE)).body == bytes(http_peers.LARGE)
            assert site.versions == [version]


async def test_requests_at_once(version: Version) -> None:
    """Each has its own connection, and later requests use these."""
    async with http_peers.serve("ours", version) as site, Fetcher(**CA) as fetcher:
        for _ in range(3):
            found = await asyncio.gather(*(fetcher.fetch(site.url, body=bytes(size)) for size in range(5)))
            assert [one.body for one in found] == [str(n).encode() for n in range(5)]
        assert len(site.versions) == 5


async def test_connection_that_ended_is_replaced(version: Version) -> None:
    """In order or not, before a GET and before a POST."""
    async with http_peers.serve("ours", version, close_timeout=0.05) as site, Fetcher(**CA) as fetcher:
        for number, end in enumerate((site.server.close_clients, site.server.abort_clients), start=1):
            assert (await fetcher.fetch(site.url, body=b"1")).body == b"1"
            end()
            await site.ended(number)
        assert (await fetcher.fetch(site.url, body=b"1")).body == b"1"
        assert len(site.versions) == 3


async def test_client_certificate(version: Version) -> None:
    """The options are those of connect."""
    who = pki.client()
    async with http_peers.serve("ours", version, request_cert=True) as site:
        await fetch(site.url, cert=who.cert_pem, key=who.key_pem, **CA)
        assert site.certificates == [who.cert_der]


async def test_ipv6() -> None:
    """An address in brackets, in the URL and in Host."""
    seen = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(connected, "::1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert (await fetch(f"http://[0::1]:{port}")).status == 204
    assert f"Host: [::1]:{port}".encode() in seen[0]


async def test_body_that_the_end_ends() -> None:
    """HTTP/1.0 has no other way."""
    async with scripted(b"HTTP/1.0 200 OK\r\n\r\nhello") as url:
        assert (await fetch(url)).body == b"hello"


async def test_informational_responses() -> None:
    """They come before the response."""
    async with scripted(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") as url:
        assert (await fetch(url)).body == b"x"


@pytest.mark.parametrize("revoked", [True, False])
async def test_lists_by_https(revoked: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """`get` as `fetch=` of a CrlCache; certificates name such URLs."""
    files: dict[bytes, bytes] = {}

    async def answer(sock: tlsio.TLSSocket) -> None:
        path = (await sock.readuntil(b"\r\n\r\n")).split()[1]
        body = files.get(path)
        await sock.send(b"HTTP/1.1 404 No\r\n\r\n" if body is None else b"HTTP/1.1 200 OK\r\n\r\n" + body)

    who = pki.localhost()
    async with tlsio.serve(answer, 0, "localhost", cert=who.cert_pem, key=who.key_pem) as server:
        place = x509.UniformResourceIdentifier(f"https://localhost:{server.port}/list")
        points = x509.CRLDistributionPoints([x509.DistributionPoint([place], None, None, None)])
        judged = pki.leaf("localhost", issuer=pki.ca1(), extensions=[points])
        pem = pki.revocation_list(pki.ca1(), revoked=[judged] if revoked else [])
        files[b"/list"] = x509.load_pem_x509_crl(pem).public_bytes(pki.DER)
        async with Fetcher(**CA) as fetcher:
            error = await tlsio.CrlCache("require", fetch=fetcher.get).check([judged.cert_der, pki.ca1().cert_der])
            with pytest.raises(tlsio.FetchError, match="status 404") as caught:
                await fetcher.get(f"https://localhost:{server.port}/other")
    assert (error and error.code) == ("CERT_REVOKED" if revoked else None)
    assert (caught.value.code, caught.value.host) == ("ERR_FETCH_STATUS", "localhost")


# --- proxies ---


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_of_node(web: Web, scheme: str) -> None:
    """Http is forwarded, https tunnelled; only the proxy sees the password."""
    proxy = f"http://me:pass%20word@localhost:{web.proxy}"
    port = getattr(web, scheme)
    async with Fetcher(proxy=proxy, **CA) as fetcher:
        for _ in range(2):
            assert (await fetcher.fetch(f"{scheme}://localhost:{port}/x")).body == b"hello"
    tunnels = 1 if scheme == "https" else 2
    seen = [web.seen() for _ in range(tunnels + 2)]
    proxied, served = [one for one in seen if one[0] == "proxy"], [one for one in seen if one[0] == scheme]
    target = f"localhost:{port}" if scheme == "https" else f"http://localhost:{port}/x"
    assert [one[2] for one in proxied] == [target] * tunnels
    assert [one[2] for one in served] == ["/x", "/x"]
    if scheme == "https":
        assert all("proxy-authorization" not in one[3] for one in served)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_proxy_that_wants_a_password(web: Web, scheme: str) -> None:
    """The tunnel fails with advice; a forwarded request has the proxy's response."""
    url = f"{scheme}://localhost:{web.https}"
    if scheme == "http":
        assert (await fetch(url, proxy=f"http://localhost:{web.proxy}")).status == 407
    else:
        with pytest.raises(tlsio.FetchError, match="status 407") as caught:
            await fetch(url, proxy=f"http://localhost:{web.proxy}", **CA)
        assert caught.value.code == "ERR_FETCH_PROXY"
        assert "USER:PASSWORD" in (caught.value.hint or "")
    web.seen()


async def test_proxy_of_https(web: Web) -> None:
    """TLS in TLS, each verified by its own options."""
    async with http_peers.tunnel(tls=True) as tunnels:
        options: Any = {"proxy_options": CA, "proxy": tunnels.url}
        async with Fetcher(**options, **CA) as fetcher:
            assert (await fetcher.fetch(f"https://localhost:{web.https}/x")).body == b"hello"
        web.seen()
        assert tunnels.requests == [f"localhost:{web.https}"]
        with pytest.raises(tlsio.FetchError) as caught:
            await Fetcher(proxy=tunnels.url, **CA).fetch(f"https://localhost:{web.https}/x")
        assert isinstance(caught.value.__cause__, tlsio.CertificateError)


async def test_proxy_that_speaks_first() -> None:
    """Bytes after its answer would be taken for the server's."""
    async with scripted(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03", hold=True) as proxy:
        with pytest.raises(tlsio.FetchError, match="sent data before the tunnel"):
            await fetch("https://localhost:1", proxy=proxy)


async def test_environment_is_not_read(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """As tlsio's other clients: a proxy is given."""
    monkeypatch.setenv("http_proxy", "http://localhost:1")
    assert (await fetch(f"http://localhost:{web.http}")).body == b"hello"
    web.seen()


# --- redirects ---


def redirect(web: Web, status: int, place: str, *, scheme: str = "https") -> str:
    """Return a URL that redirects to `place`."""
    return f"{scheme}://localhost:{getattr(web, scheme)}/to?{status},{place.replace('&', '%26')}"


async def test_redirects_are_responses_unless_asked_for(web: Web) -> None:
    """The caller sees the place."""
    response = await fetch(redirect(web, 302, "/x"), **CA)
    assert (response.status, response.header("Location"), response.body) == (302, "/x", b"moved")
    web.seen()


@pytest.mark.parametrize(
    ("status", "method", "body"), [(301, "GET", ""), (302, "GET", ""), (303, "GET", ""), (307, "POST", "b"), (308, "POST", "b")]
)
async def test_redirect_of_a_post(web: Web, status: int, method: str, body: str) -> None:
    """Within an origin, with the caller's headers; without a body, the headers about it go."""
    headers = {"Authorization": "secret", "Content-Type": "text/plain"}
    response = await fetch(redirect(web, status, "/x"), body=b"b", headers=headers, max_redirects=1, **CA)
    assert response.url == f"https://localhost:{web.https}/x"
    web.seen()
    seen = web.seen()
    assert (seen[1], seen[4]) == (method, body)
    assert seen[3]["authorization"] == "secret"
    assert ("content-type" in seen[3]) == (method == "POST")


async def test_redirect_to_another_origin(web: Web) -> None:
    """It gets no credentials: another port, or https after http, is another origin."""
    url = redirect(web, 308, f"https://localhost:{web.https}/x", scheme="http")
    headers = {"Authorization": "secret", "X-Key": "secret", "Cookie": "secret", "Accept": "text/plain"}
    assert (await fetch(url, headers=headers, max_redirects=1, **CA)).body == b"hello"
    web.seen()
    assert web.seen()[3] == {"host": f"localhost:{web.https}", "accept": "text/plain", "user-agent": "tlsio"}


async def test_redirect_to_another_origin_with_something_to_lose(web: Web) -> None:
    """A body, or a certificate of ours."""
    url = redirect(web, 307, f"https://localhost:{web.https}/x", scheme="http")
    who = pki.client()
    for options, why in (({"body": b"b"}, "a body"), ({"cert": who.cert_pem, "key": who.key_pem}, "certificate")):
        with pytest.raises(tlsio.FetchError, match=f"redirects .*{why}") as caught:
            await fetch(url, max_redirects=1, **options, **CA)  # type: ignore[arg-type]
        assert caught.value.code == "ERR_FETCH_REDIRECT"
        web.seen()


class ByName:
    """A source with a context of its own for each server; it has none for others."""

    def __init__(self, **contexts: tlsio.SecureContext) -> None:
        self._contexts = contexts

    def context_for(self, server_name: str | None) -> tlsio.SecureContext | None:
        """Return that of the name."""
        return self._contexts.get(server_name or "default")


@pytest.mark.parametrize("with_certificate", ["localhost", "default", None])
async def test_redirect_to_another_origin_with_a_source(web: Web, with_certificate: str | None) -> None:
    """The contexts of both origins must be without a certificate: one with a name, one an address."""
    who = pki.client()
    contexts = {name: tlsio.create_secure_context(**CA) for name in ("localhost", "default")}
    if with_certificate is not None:
        contexts[with_certificate] = tlsio.create_secure_context(cert=who.cert_pem, key=who.key_pem, **CA)
    url = redirect(web, 302, f"https://127.0.0.1:{web.https}/x")
    attempt = fetch(url, max_redirects=1, secure_context=ByName(**contexts))
    if with_certificate is None:
        assert (await attempt).body == b"hello"
        web.seen()
    else:
        with pytest.raises(tlsio.FetchError, match="certificate") as caught:
            await attempt
        assert caught.value.code == "ERR_FETCH_REDIRECT"
    web.seen()


async def test_redirect_with_a_source_from_http(web: Web) -> None:
    """The source is not asked about a connection without TLS; if it has nothing for the target, the call fails."""
    url = redirect(web, 302, f"https://localhost:{web.https}/x", scheme="http")
    known = ByName(localhost=tlsio.create_secure_context(**CA))
    assert (await fetch(url, max_redirects=1, secure_context=known)).body == b"hello"
    web.seen()
    web.seen()
    with pytest.raises(tlsio.FetchError) as caught:
        await fetch(url, max_redirects=1, secure_context=ByName())
    assert caught.value.code == "ERR_TLS_NO_CONTEXT"
    web.seen()


@pytest.mark.parametrize("place", ["http://localhost:1/", "file:///etc/passwd", "https://me:pw@localhost/", "https://[::x]/"])
async def test_redirect_that_is_not_followed(web: Web, place: str) -> None:
    """Out of encryption, to other schemes, to what is not a URL."""
    with pytest.raises(tlsio.FetchError) as caught:
        await fetch(redirect(web, 302, place), max_redirects=5, **CA)
    assert caught.value.code == "ERR_FETCH_REDIRECT"
    web.seen()


@pytest.mark.parametrize("redirects", [False, True])
async def test_host_that_cannot_be_a_name(web: Web, monkeypatch: pytest.MonkeyPatch, *, redirects: bool) -> None:
    """A label has 63 letters at most; a server may redirect to such a host."""
    known = socket.getaddrinfo

    def look(host: str, *args: Any, **options: Any) -> Any:
        """Encode the name as Python's own does, which tests do not call with foreign names."""
        host.encode("idna")
        return known(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look)
    url = f"http://{'a' * 64}.example/"
    with pytest.raises(tlsio.FetchError, match="Name or service not known") as caught:
        await fetch(redirect(web, 302, url, scheme="http") if redirects else url, max_redirects=1)
    assert isinstance(caught.value.__cause__, OSError)
    if redirects:
        web.seen()


async def test_redirects_are_bounded() -> None:
    """A server that redirects for ever."""
    moved = b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n"
    error = await refusal(moved, max_redirects=3)
    assert "more than 3 redirects" in error.message
    async with scripted(moved, moved, moved) as url, Fetcher() as fetcher:
        with pytest.raises(tlsio.FetchError):
            await fetcher.fetch(url, max_redirects=2)


# --- bad servers ---


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize(
    "head", [b"Content-Length: 6\r\n\r\nhello!", b"Transfer-Encoding: chunked\r\n\r\n6\r\nhello!\r\n0\r\n\r\n", b"\r\nhello!"]
)
async def test_size_of_the_body(head: bytes, size: int) -> None:
    """The limit itself, and one byte more."""
    answer = b"HTTP/1.1 200 OK\r\n" + head
    if size == 5:
        assert (await refusal(answer, max_bytes=size)).code == "ERR_FETCH_TOO_LARGE"
    else:
        async with scripted(answer) as url:
            assert (await fetch(url, max_bytes=size)).body == b"hello!"


async def test_size_of_a_body_that_is_not_sent() -> None:
    """The head of a large body is not large."""
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n") as url:
        response = await fetch(url, method="HEAD")
    assert (response.header("content-length"), response.body) == ("99999999", b"")


HOSTILE = {
    "endless header": b"HTTP/1.1 200 OK\r\nA: " + bytes([65]) * 300_000,
    "endless headers": b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50_000,
    "endless informational responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000,
    "chunks of one byte": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 50_000,
    "endless extension of a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=" + b"b" * 300_000,
    "long extensions of chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"b" * 999 + b"\r\nx\r\n") * 300,
    "endless trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 50_000,
    "length that no memory holds": b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "digits without end": b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 21 + b"\r\n\r\n",
    "too short": b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello",
    "chunks without an end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "negative chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    "chunk with another end": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxZZ0\r\n\r\n",
    "unknown encoding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nxx",
    "null in a header": b"HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n",
    "carriage return in a header": b"HTTP/1.1 200 OK\r\nA: b\rSet-Cookie: x\r\n\r\n",
    "space in a name": b"HTTP/1.1 200 OK\r\nA b: c\r\n\r\n",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n",
    "nothing": b"",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    "a status of no use": b"HTTP/1.1 999999 OK\r\n\r\n",
}


@pytest.mark.parametrize(("name", "received"), [("too short", "5 of 9 bytes"), ("chunks without an end", "5 bytes")])
async def test_body_that_is_cut_off(name: str, received: str) -> None:
    """It is HTTP, and how much of it arrived is said."""
    error = await refusal(HOSTILE[name])
    assert f"it is incomplete: {received} of its body were received" in error.message
    assert error.code == "ERR_FETCH_PROTOCOL"


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_hostile_responses(answer: bytes) -> None:
    """Each is refused after a bounded number of bytes, in bounded time."""
    error = await refusal(answer)
    assert error.code in {"ERR_FETCH_PROTOCOL", "ERR_FETCH_TOO_LARGE", "ECONNRESET"}


class Pieces:
    """A connection from which a response comes in pieces."""

    def __init__(self, data: bytes, cut: Callable[[], int]) -> None:
        self.data = data
        self.cut = cut

    async def read(self, size: int) -> bytes:
        """Return the next piece."""
        piece = self.data[: min(size, self.cut())]
        self.data = self.data[len(piece) :]
        return piece

    async def send(self, data: bytes) -> None:
        """Take the request."""


async def receive(data: bytes, cut: Callable[[], int]) -> Any:
    """Return status and body, or the class of the error."""
    exchange = Exchange(Pieces(data, cut), None)  # type: ignore[arg-type]
    try:
        response = await exchange.converse(make_request("http://a/", None, (), None), 1000, Step())
    except (OSError, tlsio.FetchError, h11.RemoteProtocolError) as error:
        return type(error)
    return response.status, response.body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nA: b\r\n\r\n"
GOOD = [CHUNKED, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 5\r\n\r\nabcde", b"HTTP/1.0 200 OK\r\n\r\nabcde"]


@pytest.fixture
def chance() -> random.Random:
    """Return a source of numbers."""
    return random.Random(new_seed())  # noqa: S311 - no secret


@pytest.mark.only_loop("asyncio")
async def test_pieces_do_not_matter(chance: random.Random) -> None:
    """Byte by byte, and at random places, a response is what it is in one piece."""
    for data in [*GOOD, *(one for one in HOSTILE.values() if len(one) < 1000)]:
        whole = await receive(data, lambda: 10_000)
        assert isinstance(whole, tuple) == (data in GOOD)
        assert await receive(data, lambda: 1) == whole
        for _ in range(5):
            assert await receive(data, lambda: chance.randrange(1, 20)) == whole


@pytest.mark.only_loop("asyncio")
async def test_random_changes_of_a_response(chance: random.Random) -> None:
    """Whatever comes is a response or one of three kinds of errors, and ends."""
    for _ in range(300):
        data = bytearray(chance.choice(GOOD))
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.choice(b"\r\n\0 :;0123456789abcdefABCDEF\xff")
        await receive(bytes(data), lambda: chance.randrange(1, 200))


async def test_tls_on_the_port_of_http() -> None:
    """An alert instead of a response."""
    error = await refusal(b"\x15\x03\x01\x00\x02\x02\x16")
    assert (error.code, error.hint) == ("ERR_FETCH_PROTOCOL", "The server speaks TLS on this port: the URL should begin with https.")


class Watch:
    """Sees how far a request is, and lets its time end there instead of after seconds."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.scopes: list[asyncio.Timeout] = []
        self._timeout = asyncio.timeout

    def step(self) -> Step:
        """Take the place of `Step`."""
        self.steps.append(Step())
        return self.steps[-1]

    def timeout(self, seconds: float | None) -> asyncio.Timeout:
        """Take the place of `asyncio.timeout`."""
        self.scopes.append(self._timeout(seconds))
        return self.scopes[-1]

    async def reached(self, step: str) -> None:
        """Wait until the request is there."""
        while not self.steps or self.steps[-1].name != step:  # noqa: ASYNC110 - a step is no event
            await asyncio.sleep(0)

    async def expire(self, step: str) -> None:
        """End the time when the request is there."""
        await self.reached(step)
        self.scopes[-1].reschedule(asyncio.get_running_loop().time())


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    """Watch the test's requests."""
    made = Watch()
    monkeypatch.setattr("tlsio.interop.fetch.Step", made.step)
    monkeypatch.setattr("asyncio.timeout", made.timeout)
    return made


@pytest.mark.parametrize(
    ("answer", "step"),
    [(b"", "the response"), (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "the body of the response (status 200)")],
)
async def test_time_is_bounded(answer: bytes, step: str, watch: Watch) -> None:
    """The message says what was missing."""
    async with asyncio.TaskGroup() as group:
        group.create_task(watch.expire(step))
        error = await refusal(answer, hold=True, timeout=20)
    assert isinstance(error, tlsio.FetchTimeoutError)
    assert isinstance(error, TimeoutError)
    assert error.message.endswith(f"within 20.0 seconds: {step} was not done")


async def test_drip_does_not_extend_the_time(watch: Watch) -> None:
    """A byte now and then is not enough: the bound is for the whole exchange."""
    stopped = asyncio.Event()

    async def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await watch.reached("the response")
        begin = watch.scopes[-1].when()
        with suppress(OSError):
            for _number in range(100):
                writer.write(b"H")
                await writer.drain()
            assert watch.scopes[-1].when() == begin
            await watch.expire("the response")
        writer.close()
        stopped.set()

    async with await asyncio.start_server(connected, "127.0.0.1", 0) as server:
        with pytest.raises(tlsio.FetchTimeoutError):
            await fetch(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", timeout=20)
        await stopped.wait()


async def test_server_that_cannot_be_reached() -> None:
    """The system's error is the cause, with its hint."""
    with own_port() as port, pytest.raises(tlsio.FetchError) as caught:
        await fetch(f"https://localhost:{port}")
    assert caught.value.code == "ECONNREFUSED"
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)
    assert "nothing listens there" in (caught.value.hint or "")
    with pytest.raises(tlsio.FetchError) as caught:
        await fetch("http://unknown.invalid")
    assert isinstance(caught.value.__cause__, socket.gaierror)


async def test_server_that_is_refused(web: Web) -> None:
    """The error of TLS is the cause, and gives its code."""
    with pytest.raises(tlsio.FetchError, match="localhost") as caught:
        await fetch(f"https://localhost:{web.https}", ca=pki.ca2().cert_pem)
    assert caught.value.code == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"
    assert isinstance(caught.value.__cause__, tlsio.CertificateError)


async def test_truncation_is_seen() -> None:
    """A body that the end of TLS ends needs close_notify."""

    async def answer(sock: tlsio.TLSSocket) -> None:
        await sock.readuntil(b"\r\n\r\n")
        await sock.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        sock.destroy()

    who = pki.localhost()
    async with tlsio.serve(answer, 0, "localhost", cert=who.cert_pem, key=who.key_pem) as server:
        with pytest.raises(tlsio.FetchError):
            await fetch(f"https://localhost:{server.port}", **CA)


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_cancellation_leaves_nothing(scheme: str, watch: Watch) -> None:
    """Neither a socket nor a task, whatever the exchange waits for; conftest looks."""
    if scheme == "http":
        async with scripted(b"", hold=True) as url:
            for step in ("connecting", "the response"):
                await cancel_at(url, step, watch)
    else:
        async with http_peers.serve("ours", "TLSv1.3") as site:
            for step in ("connecting", "the TLS handshake", "the response", "the body of the response (status 200)"):
                await cancel_at(f"{site.url}/held", step, watch)
            site.released.set()


async def cancel_at(url: str, step: str, watch: Watch) -> None:
    """Cancel a request that waits there."""
    watch.steps.clear()
    task = asyncio.create_task(fetch(url, **CA))
    await watch.reached(step)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# --- kept connections ---


async def test_get_is_repeated_when_a_kept_connection_is_reset() -> None:
    """The server had closed it as the request was sent; a POST is not repeated."""
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    async with scripted(good, b"") as url, Fetcher() as fetcher:
        assert (await fetcher.fetch(url)).body == b"ok"
        assert (await fetcher.fetch(url)).body == b"ok"
        with pytest.raises(tlsio.FetchError) as caught:
            await fetcher.fetch(url, body=b"x")
        assert caught.value.code == "ECONNRESET"


async def test_unexpected_data_ends_a_kept_connection() -> None:
    """It would be taken for the next response."""
    bad = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    async with scripted(bad, bad, hold=True) as url, Fetcher() as fetcher:
        assert [(await fetcher.fetch(url)).body for _ in range(3)] == [b"ok"] * 3


async def test_old_connections_are_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server will have closed them."""
    async with Fetcher() as fetcher:
        await fetcher.fetch(f"http://localhost:{web.http}")
        monkeypatch.setattr("tlsio.interop.http_exchange._KEPT_SECONDS", -1.0)
        await fetcher.fetch(f"http://localhost:{web.http}")
    assert web.seen()[5] != web.seen()[5]


# --- wrong calls ---


@pytest.mark.parametrize(
    "url",
    ["", "example.org", "ftp://a/", "http://", "http:///x", "http://a b/", "http://a/b c", "http://a/\r\nX: y", "http://a:99999/", "http://a:0/",
     "http://u:p@a/", "http://a/ä", "http://[::1%25lo]/", "http://[x]/", "http://a\\b/", "http://a\t/"],
)  # fmt: skip
async def test_wrong_urls(url: str) -> None:
    """They are refused before anything is sent."""
    with pytest.raises(tlsio.UsageError):
        await fetch(url)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"method": "PUT"}, "ERR_INVALID_ARG_VALUE"),
        ({"headers": 5}, "ERR_INVALID_ARG_TYPE"),
        ({"method": "GET", "body": b""}, "ERR_INCOMPATIBLE_OPTION_PAIR"),
        ({"body": "text"}, "ERR_INVALID_ARG_TYPE"),
        ({"headers": {"Host": "b"}}, "ERR_INVALID_ARG_VALUE"),
        ({"headers": {"transfer-encoding": "chunked"}}, "ERR_INVALID_ARG_VALUE"),
        ({"headers": {"A": "b\r\nC: d"}}, "ERR_INVALID_ARG_VALUE"),
        ({"headers": {"A\r\n": "b"}}, "ERR_INVALID_ARG_VALUE"),
        ({"headers": {"A": "ä"}}, "ERR_INVALID_ARG_VALUE"),
        ({"headers": {"A": b"b"}}, "ERR_INVALID_ARG_TYPE"),
        ({"headers": ["A: b"]}, "ERR_INVALID_ARG_TYPE"),
        ({"max_bytes": -1}, "ERR_OUT_OF_RANGE"),
        ({"max_redirects": True}, "ERR_INVALID_ARG_TYPE"),
        ({"timeout": 0}, "ERR_OUT_OF_RANGE"),
        ({"proxy": "socks5://localhost:1"}, "ERR_INVALID_ARG_VALUE"),
        ({"alpn_protocols": ["h2"]}, "ERR_INCOMPATIBLE_OPTION_PAIR"),
        ({"unknown": 1}, "ERR_TLS_UNKNOWN_OPTION"),
    ],
)
async def test_wrong_arguments(options: dict[str, Any], code: str) -> None:
    """Each is told before anything is sent."""
    with pytest.raises(tlsio.UsageError) as caught:
        await fetch("http://localhost:1", **options)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "proxy",
    [
        "me:hunter2@localhost:3128",
        "http:/me:hunter2@localhost:3128",
        "http:me:hunter2@localhost:3128",
        "socks5://me:hunter2@localhost:3128",
        "http://me:hunter2@localhost:99999",
        "http://me:hunter2@localhost:port",
        "http://me:hunter2@",
        "http://me:hunter2",
        "http://me:hunter2%40localhost:3128",
        "http://me:hun#hunter2@localhost:3128",
        "http://me:hun?hunter2@localhost:3128",
        "http://me:hunter2/hunter2@localhost:3128",
        "http://me:hunter2\n@localhost:3128",
        "http://me:hunter2@localhost:3128/path",
        "http://me:hunter2@local host:3128",
        "http://me:hunter2@[::x]:3128",
        "http://me:hunter2@\uff20localhost",
    ],
)
def test_wrong_proxy_is_refused_without_its_password(proxy: str) -> None:
    """A `#` does not cut off credentials silently, and no message shows them."""
    with pytest.raises(tlsio.UsageValueError) as caught:
        Fetcher(proxy=proxy)
    assert "hun" not in "".join(traceback.format_exception(caught.value)).partition("UsageValueError")[2]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://me:hunter2@localhost/",
        "https://me:hunter2@localhost:99999/",
        "https://me:hunter2@localhost:port/",
        "https://me:hunter2/@localhost/",
        "http:/me:hunter2@localhost/",
        "me:hunter2@localhost",
        "http://me:hunter2%40localhost/",
        "http://me:hunter2@\uff20localhost/",
        "http://me:hunter2@localhost/ x",
    ],
)
async def test_wrong_url_is_refused_without_its_password(url: str) -> None:
    """Its other parts are not shown either, since it is unclear where the password ends."""
    with pytest.raises(tlsio.UsageValueError) as caught:
        await fetch(url)
    assert "hunter2" not in str(caught.value)


async def test_wrong_url_is_shown() -> None:
    """When there is no sign of a password in it."""
    with pytest.raises(tlsio.UsageValueError, match="ftp://localhost/"):
        await fetch("ftp://localhost/")


def test_options_of_a_proxy_need_one() -> None:
    """One of https."""
    for proxy in (None, "http://localhost:1"):
        with pytest.raises(tlsio.UsageTypeError):
            Fetcher(proxy=proxy, proxy_options={})


def test_missing_package_is_named() -> None:
    """What to install."""
    source = "import sys; sys.modules['h11'] = None; import tlsio.interop.fetch"
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert "[ERR_TLS_MISSING_EXTRA]" in done.stderr
    assert "pip install 'tlsio[fetch]'" in done.stderr


def test_errors_can_be_pickled() -> None:
    """With all that they say."""
    for kind in (tlsio.FetchError, tlsio.FetchTimeoutError):
        copy = pickle.loads(pickle.dumps(kind("no", url="http://a/", host="a", hint="do")))  # noqa: S301
        assert (type(copy), copy.url, copy.host, copy.hint) == (kind, "http://a/", "a", "do")
