"""Strict-Transport-Security: only where it does no harm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import https_curl
import pki
import tlsio
from https_curl import VERSIONS
from tlsio.certs import dev
from tlsio.https import HSTS

if TYPE_CHECKING:
    from pathlib import Path

NAME = "strict-transport-security"
SITE = "app.example.com"


async def app(scope: Any, _receive: Any, send: Any) -> None:
    """Say hello; under /own with a header of its own."""
    headers = [(b"content-length", b"5")]
    if scope["path"] == "/own":
        headers.append((b"Strict-Transport-Security", b"max-age=1"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"hello"})


def site_of(*names: str) -> pki.Identity:
    """A certificate of a public authority, as far as the server knows."""
    return pki.leaf(SITE, issuer=pki.ca1(), names=[SITE, "localhost", "127.0.0.1", *names])


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("hsts", "value"),
    [
        (True, "max-age=31536000"),
        (HSTS(max_age=300), "max-age=300"),
        (HSTS(max_age=0), "max-age=0"),
        (HSTS(include_subdomains=True), "max-age=31536000; includeSubDomains"),
        (HSTS(63072000, include_subdomains=True, preload=True), "max-age=63072000; includeSubDomains; preload"),
    ],
    ids=str,
)
async def test_it_is_sent_if_asked_for(hsts: Any, value: str, version: str) -> None:
    """Once."""
    async with https_curl.serving(app, who=site_of(), hsts=hsts) as site:
        assert (await site.get(host=SITE, version=version))[NAME] == value


async def test_it_says_once_why_it_is_not_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise a first try, at localhost, would look like a fault."""
    caplog.set_level("INFO", "tlsio.https.hsts")
    for who, reason in ((site_of(), "for an address or a private name"), (pki.self_signed(), "under a certificate")):
        async with https_curl.serving(app, who=who, hsts=True) as site:
            for _ in range(2):
                assert NAME not in (await site.get(host="localhost")).headers
        [message] = [record.getMessage() for record in caplog.records]
        assert message.startswith(f"HSTS: the header is not sent {reason}")
        caplog.clear()


@pytest.mark.parametrize("hsts", [None, False])
async def test_it_is_off_by_default(hsts: Any) -> None:
    """It binds browsers for a long time."""
    async with https_curl.serving(app, who=site_of(), hsts=hsts) as site:
        assert NAME not in (await site.get(host=SITE)).headers


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_applications_own_stays(version: str) -> None:
    """RFC 6797, section 7.1: one field only."""
    async with https_curl.serving(app, who=site_of(), hsts=True) as site:
        assert (await site.get("/own", host=SITE, version=version))[NAME] == "max-age=1"


@pytest.mark.parametrize(
    "host",
    [
        "localhost", "a.localhost", "LOCALHOST.", "a.test", "a.example", "printer.local", "x.internal", "intranet", "127.0.0.1",
        "127.0.0.1:8443", "10.1", "0x7f.1", "1.2.3.0x4", "[::1]", "[::1]:8443", "a.b@c.d", ".", "..",
    ],
)  # fmt: skip
async def test_not_for_names_of_this_machine_or_network(host: str) -> None:
    """Other programs serve them by plain HTTP; and RFC 6797 excludes addresses."""
    async with https_curl.serving(app, who=site_of(), hsts=True) as site:
        assert NAME not in (await site.get("/", "-H", f"Host: {host}", host=SITE)).headers


@pytest.mark.parametrize("host", [SITE, f"{SITE}:8443", f"{SITE}.", "APP.EXAMPLE.COM", "xn--bcher-kva.example.org", "test.com", "1.2.com"])
async def test_for_public_names(host: str) -> None:
    """However they are written."""
    async with https_curl.serving(app, who=site_of(), hsts=True) as site:
        assert (await site.get("/", "-H", f"Host: {host}", host=SITE))[NAME] == "max-age=31536000"


async def test_not_under_a_certificate_that_signs_itself() -> None:
    """Such as a temporary one: browsers would allow no way past the error (RFC 6797, section 8.4)."""
    async with https_curl.serving(app, who=pki.leaf(SITE, names=[SITE]), hsts=True) as site:
        assert NAME not in (await site.get(host=SITE)).headers


@pytest.mark.parametrize("name", [None, "Our workshop"])
async def test_not_under_a_certificate_of_development(name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of this machine, whatever its name is; or one with the usual name."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    dev.init(name=name)
    issued = dev.cert(SITE, into=tmp_path)
    server = tlsio.https.Server(app, cert=issued.cert, key=issued.key, hsts=True)
    async with await server.start("127.0.0.1", 0):
        to_here = f"{SITE}:{server.port}:127.0.0.1"
        root = str(dev.where() / "root.pem")
        answer = await https_curl.curl(f"https://{SITE}:{server.port}/", "--resolve", to_here, "--cacert", root)
    assert (answer.text, NAME in answer.headers) == ("hello", False)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"preload": True}, "include_subdomains=True"),
        ({"preload": True, "include_subdomains": True, "max_age": 31535999}, "at least 31536000"),
        ({"max_age": -1}, "max_age"),
        ({"max_age": 1.5}, "max_age"),
        ({"max_age": 2**31}, "max_age"),
        ({"include_subdomains": 1}, "include_subdomains"),
    ],
)
def test_mistakes(options: Any, problem: str) -> None:
    """Each names the option."""
    with pytest.raises(tlsio.UsageError, match=problem):
        HSTS(**options)


def test_the_option_takes_a_value_of_its_own() -> None:
    """A number would be unclear."""
    with pytest.raises(tlsio.UsageError, match="hsts"):
        tlsio.https.Server(app, hsts=31536000)  # type: ignore[arg-type]


def test_far_reaching_choices_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With what they mean."""
    tlsio.https.Server(app, hsts=True)
    assert not caplog.records
    tlsio.https.Server(app, hsts=HSTS(include_subdomains=True, preload=True))
    subdomains, preload = caplog.messages
    assert "every subdomain" in subdomains
    assert "months" in preload
