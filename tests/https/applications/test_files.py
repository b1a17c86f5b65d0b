"""A folder over HTTPS, asked by curl over both versions of HTTP."""

from __future__ import annotations

import gzip
import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest

import https_curl
from https_curl import VERSIONS
from tlsio.https import Files

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = b"console.log('hello')\n" * 100


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a bit of everything."""
    public = tmp_path / "public"
    for name in ("docs", "empty", ".git", ".well-known"):
        (public / name).mkdir(parents=True)
    (public / "index.html").write_text("<p>home")
    (public / "docs" / "index.html").write_text("<p>docs")
    (public / "app.js").write_bytes(SCRIPT)
    (public / "app.js.gz").write_bytes(gzip.compress(SCRIPT))
    (public / "app.js.br").write_bytes(b"as if it were brotli")
    (public / "letters.txt").write_bytes(b"abcdefghij")
    (public / ".env").write_text("SECRET=1")
    (public / ".git" / "config").write_text("secret")
    (public / ".well-known" / "security.txt").write_text("contact")
    (tmp_path / "outside.txt").write_text("outside")
    (public / "link.txt").symlink_to(tmp_path / "outside.txt")
    (public / "inside.txt").symlink_to(public / "letters.txt")
    return public


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_file_has_type_length_and_validators(folder: Path, version: str) -> None:
    """And the content."""
    async with https_curl.serving(folder) as site:
        answer = await site.get("/letters.txt", version=version)
    assert (answer.status, answer.version, answer.text) == (200, version, "abcdefghij")
    assert answer["content-type"] == "text/plain; charset=utf-8"
    assert answer["content-length"] == "10"
    assert answer["accept-ranges"] == "bytes"
    assert answer["etag"].startswith('"')
    assert "GMT" in answer["last-modified"]
    assert "vary" not in answer.headers


EARLY, LATE = "Thu, 01 Jan 1970 00:00:01 GMT", "Fri, 01 Jan 2100 00:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["if-match: ETAG"], 206),
        (['if-match: "old", ETAG'], 206),
        (["if-match: *"], 206),
        (['if-match: "old"'], 412),
        (["if-match: W/ETAG"], 412),
        ([f"if-unmodified-since: {LATE}"], 206),
        ([f"if-unmodified-since: {EARLY}"], 412),
        (["if-unmodified-since: yesterday"], 206),
        (["if-match: ETAG", f"if-unmodified-since: {EARLY}"], 206),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
async def test_the_rest_of_another_state(folder: Path, headers: list[str], status: int) -> None:
    """RFC 9110, section 13.2.2: it is refused, since a client would put it after what it has."""
    async with https_curl.serving(folder) as site:
        etag = (await site.get("/letters.txt"))["etag"]
        given = [part for one in headers for part in ("-H", one.replace("ETAG", etag))]
        answer = await site.get("/letters.txt", "-H", "range: bytes=5-", *given)
    assert answer.status == status


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_folder_is_its_index(folder: Path, version: str) -> None:
    """With a slash at the end, to which a relative redirect leads."""
    async with https_curl.serving(folder) as site:
        assert (await site.get("/", version=version)).text == "<p>home"
        assert (await site.get("/docs/", version=version)).text == "<p>docs"
        answer = await site.get("/docs?a=b%20c", version=version)
        assert (answer.status, answer["location"]) == (307, "./docs/?a=b%20c")
        followed = await site.get("/docs", "--location", version=version)
        assert followed.body.endswith(b"<p>docs")


async def test_a_redirect_leads_to_no_other_host(folder: Path) -> None:
    """Whatever is in front of the folder's name."""
    async with https_curl.serving(folder) as site:
        for path in ("//docs", "///docs", "/%5c/docs", "//evil.example/..//docs"):
            answer = await site.get(path)
            assert answer.status in {307, 404}
            assert answer.headers.get("location", ["./docs/"]) == ["./docs/"]


@pytest.mark.parametrize("path", ["/docs/.", "/docs/%2e", "/./docs", "/docs/../docs", "/docs?a=b"])
async def test_a_redirect_leads_to_the_folder(folder: Path, path: str) -> None:
    """Also if the path ends with a dot segment, as no browser sends it."""
    async with https_curl.serving(folder) as site:
        location = (await site.get(path, "--path-as-is"))["location"]
    assert urljoin(f"https://localhost{path}", location).partition("?")[0] == "https://localhost/docs/"


@pytest.mark.parametrize("version", VERSIONS)
async def test_names_that_are_not_utf8(folder: Path, version: str) -> None:
    """What a listing links to can be fetched."""
    name = folder / os.fsdecode(b"caf\xe9")
    name.mkdir()
    (name / os.fsdecode(b"\xff.txt")).write_text("odd")
    async with https_curl.serving(Files(folder, listing=True)) as site:
        assert (await site.get("/caf%e9", version=version))["location"] == "./caf%E9/"
        page = (await site.get("/caf%e9/", version=version)).text
        assert '<a href="./%FF.txt">' in page
        assert "<title>/caf\ufffd/</title>" in page
        assert (await site.get("/caf%E9/%FF.txt", version=version)).text == "odd"
        assert (await site.get("/caf%E9/%FE.txt", version=version)).status == 404


@pytest.mark.parametrize("version", VERSIONS)
async def test_head_has_no_body(folder: Path, version: str) -> None:
    """But the length of one, also if it asks for a range."""
    async with https_curl.serving(folder) as site:
        answer = await site.get("/letters.txt", "--head", "-H", "range: bytes=0-3", version=version)
    assert (answer.status, answer["content-length"], answer.body) == (200, "10", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
async def test_other_methods_are_not_allowed(folder: Path, method: str) -> None:
    """The answer names those that are."""
    async with https_curl.serving(folder) as site:
        answer = await site.get("/letters.txt", "-X", method)
    assert (answer.status, answer["allow"]) == (405, "GET, HEAD")


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_file_that_the_client_has_is_not_sent(folder: Path, version: str) -> None:
    """By entity tag, or by date."""
    async with https_curl.serving(folder) as site:
        first = await site.get("/app.js", version=version)
        for header in (
            f"if-none-match: {first['etag']}",
            f"if-modified-since: {first['last-modified']}",
            'if-none-match: "x", W/' + first["etag"],
        ):
            answer = await site.get("/app.js", "-H", header, version=version)
            assert (answer.status, answer.body) == (304, b"")
            assert answer["etag"] == first["etag"]
            assert answer["vary"] == "accept-encoding"
        assert (await site.get("/app.js", "-H", 'if-none-match: "other"', version=version)).status == 200


@pytest.mark.parametrize(
    ("asked", "status", "body"),
    [
        ("bytes=2-4", 206, b"cde"),
        ("bytes=7-", 206, b"hij"),
        ("bytes=-2", 206, b"ij"),
        ("BYTES=0-0", 206, b"a"),
        ("bytes=8-100", 206, b"ij"),
        ("bytes=0-1, 100-200", 206, b"ab"),  # one of them is there
        ("bytes=10-", 416, None),
        ("bytes=-0", 416, None),
        ("items=0-1", 200, b"abcdefghij"),  # RFC 9110, section 14.2: ignored
        ("bytes=4-2", 200, b"abcdefghij"),
        ("bytes=-", 200, b"abcdefghij"),
        ("bytes=0x1-2", 200, b"abcdefghij"),
        ("bytes=" + "9" * 5000, 200, b"abcdefghij"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_ranges(folder: Path, asked: str, status: int, body: bytes | None) -> None:
    """Those that are valid and there are sent; invalid ones are ignored."""
    async with https_curl.serving(folder) as site:
        answer = await site.get("/letters.txt", "-H", f"range: {asked}")
    assert answer.status == status
    assert body is None or answer.body == body
    if status == 416:
        assert answer["content-range"] == "bytes */10"


async def test_several_ranges_are_parts(folder: Path) -> None:
    """In one response."""
    async with https_curl.serving(folder) as site:
        answer = await site.get("/letters.txt", "-H", "range: bytes=0-1,8-9", version="2")
    assert answer.status == 206
    assert answer["content-type"].startswith("multipart/byteranges")
    assert b"\r\n\r\nab\r\n" in answer.body
    assert b"\r\n\r\nij\r\n" in answer.body


async def test_a_range_of_another_version_is_not_sent(folder: Path) -> None:
    """If-Range compares."""
    async with https_curl.serving(folder) as site:
        etag = (await site.get("/letters.txt"))["etag"]
        assert (await site.get("/letters.txt", "-H", "range: bytes=0-1", "-H", f"if-range: {etag}")).body == b"ab"
        assert (await site.get("/letters.txt", "-H", "range: bytes=0-1", "-H", 'if-range: "old"')).status == 200


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("gzip, br", "br"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0.5, gzip;q=0.8", "gzip"),
        ("br;q=0, gzip", "gzip"),
        ("GZIP ; Q=1.0", "gzip"),
        ("*", "br"),
        ("*;q=0.5, br;q=0", "gzip"),
        ("identity, br;q=0.5", None),
        ("identity;q=0.5, gzip;q=0.8", "gzip"),
        ("identity;q=0, gzip;q=0.001", "gzip"),
        ("br;q=0.001", "br"),
        ("br;q=2, gzip;q=x", None),
        ("deflate, *;q=0", None),
        (",,;=,", None),
    ],
)
async def test_a_variant_is_chosen_by_quality(folder: Path, accepted: str | None, chosen: str | None) -> None:
    """Each has a tag of its own, and the type of the file."""
    async with https_curl.serving(folder) as site:
        arguments = () if accepted is None else ("-H", f"accept-encoding: {accepted}" if accepted else "accept-encoding;")
        answer = await site.get("/app.js", *arguments)
        plain = await site.get("/app.js")
    contents = {None: SCRIPT, "gzip": gzip.compress(SCRIPT), "br": b"as if it were brotli"}
    assert len(answer.body) == len(contents[chosen])
    assert answer.headers.get("content-encoding", [None]) == [chosen]
    assert answer["content-type"] == "text/javascript; charset=utf-8"
    assert answer["vary"] == "accept-encoding"
    assert answer["etag"] == (plain["etag"] if chosen is None else answer["etag"])
    assert (answer["etag"] != plain["etag"]) == (chosen is not None)


async def test_curl_unpacks_a_variant(folder: Path) -> None:
    """And a range of it is one of the packed bytes."""
    async with https_curl.serving(folder) as site:
        assert (await site.get("/app.js", "--compressed", "-H", "accept-encoding: gzip", version="2")).body == SCRIPT
        part = await site.get("/app.js", "-H", "accept-encoding: gzip", "-H", "range: bytes=0-1", version="2")
        assert (part.status, part.body) == (206, b"\x1f\x8b")


@pytest.mark.parametrize(
    "path",
    [
        "/.env", "/.git/config", "/docs/../.env", "/%2eenv", "/../outside.txt", "/..%2foutside.txt", "/docs/%2e%2e/%2e%2e/outside.txt",
        "//etc/passwd", "/link.txt", "/letters.txt%00.html", "/letters.txt/", "/letters.txt/x", "/empty/", "/empty", "/nothing", f"/{'a' * 300}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", VERSIONS)
async def test_what_is_not_for_visitors_is_not_there(folder: Path, path: str, version: str) -> None:
    """Names with a dot, what is outside, and links that lead there."""
    async with https_curl.serving(folder) as site:
        answer = await site.get(path, version=version)
    assert (answer.status, answer.text) == (404, "Not Found\n")


async def test_the_page_for_what_is_not_there(folder: Path) -> None:
    """Is the folder's own, with the status."""
    (folder / "404.html").write_text("<p>lost")
    async with https_curl.serving(folder) as site:
        for path in ("/nothing", "/.env", "/empty/"):
            answer = await site.get(path)
            assert (answer.status, answer.text, answer["content-type"]) == (404, "<p>lost", "text/html; charset=utf-8")


async def test_links_and_the_well_known_folder_are_served(folder: Path) -> None:
    """A link that stays inside; one that leads out, if it is asked for."""
    async with https_curl.serving(folder) as site:
        assert (await site.get("/inside.txt")).text == "abcdefghij"
        assert (await site.get("/.well-known/security.txt")).text == "contact"
    async with https_curl.serving(Files(folder, follow_symlinks=True)) as site:
        assert (await site.get("/link.txt")).text == "outside"


async def test_a_link_is_no_variant(folder: Path, tmp_path: Path) -> None:
    """It could lead out."""
    (folder / "letters.txt.gz").symlink_to(tmp_path / "outside.txt")
    async with https_curl.serving(folder) as site:
        assert (await site.get("/letters.txt", "-H", "accept-encoding: gzip")).text == "abcdefghij"


async def test_a_file_that_cannot_be_read_is_forbidden(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the response begins; as root, tests can read all."""
    may_read = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "letters" not in str(path) and may_read(path, mode))
    async with https_curl.serving(folder) as site:
        assert (await site.get("/letters.txt")).status == 403


async def test_no_pipe_is_read(folder: Path) -> None:
    """It would never end."""
    os.mkfifo(folder / "pipe")
    async with https_curl.serving(folder) as site:
        assert (await site.get("/pipe")).status == 404


async def test_a_listing_is_asked_for(folder: Path) -> None:
    """It shows what could be fetched, escaped."""
    (folder / "empty" / "<b>&.txt").write_text("odd")
    (folder / "empty" / "sub").mkdir()
    (folder / "empty" / ".hidden").touch()
    (folder / "empty" / "out").symlink_to("/etc")
    (folder / "404.html").write_text("<p>lost")
    async with https_curl.serving(Files(folder, listing=True)) as site:
        assert (await site.get("/empty"))["location"] == "./empty/"
        page = (await site.get("/empty/")).text
        assert '<a href="./%3Cb%3E%26.txt">&lt;b&gt;&amp;.txt</a>' in page
        assert '<a href="./sub/">sub/</a>' in page
        assert '<a href="../">' in page
        assert "hidden" not in page
        assert "out" not in page
        assert (await site.get("/empty/%3Cb%3E%26.txt")).text == "odd"
        assert (await site.get("/")).text == "<p>home"
        assert (await site.get("/.git/")).text == "<p>lost"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.mjs", "text/javascript; charset=utf-8"),
        ("a.CSS", "text/css; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.wasm", "application/wasm"),
        ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"),
        ("a.tar.gz", "application/gzip"),
        ("a.unknown", "application/octet-stream"),
        ("LICENSE", "application/octet-stream"),
    ],
)
async def test_types_are_the_same_on_each_machine(folder: Path, name: str, kind: str) -> None:
    """And what is packed is not taken for what is in it."""
    (folder / name).write_bytes(b"x")
    async with https_curl.serving(folder) as site:
        answer = await site.get(f"/{name}")
    assert answer["content-type"] == kind
    assert "content-encoding" not in answer.headers


async def test_a_large_file_arrives_whole(folder: Path) -> None:
    """Through flow control."""
    content = os.urandom(3_000_000)
    (folder / "large.bin").write_bytes(content)
    async with https_curl.serving(folder) as site:
        for version in VERSIONS:
            assert (await site.get("/large.bin", version=version)).body == content


async def test_a_file_that_grows_is_sent_as_it_was(folder: Path) -> None:
    """A response that is longer than announced would break the connection."""
    path = folder / "growing.log"
    path.write_bytes(b"x" * 100_000)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)
        with path.open("ab") as file:
            file.write(b"y" * 100_000 if len(sent) < 5 else b"")

    scope = {"type": "http", "method": "GET", "path": "/growing.log", "headers": [], "query_string": b"", "asgi": {"spec_version": "2.4"}}
    await Files(folder)(scope, None, send)  # type: ignore[arg-type]
    assert dict(sent[0]["headers"])[b"content-length"] == b"100000"
    assert b"".join(message["body"] for message in sent[1:]) == b"x" * 100_000
    assert not sent[-1]["more_body"]


async def test_a_websocket_is_refused(folder: Path) -> None:
    """There is none."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await Files(folder)({"type": "websocket"}, None, send)  # type: ignore[arg-type]
    assert sent[0]["type"] == "websocket.close"
