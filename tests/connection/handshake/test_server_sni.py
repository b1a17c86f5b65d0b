"""Contexts by name: which one a hello gets, and that it decides everything it sets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import stdlib_peer
import tlsio

if TYPE_CHECKING:
    from net import Net


def identity(who: pki.Identity, **options: Any) -> dict[str, Any]:
    """Return the options of a context with that certificate."""
    return {"cert": who.chain_pem, "key": who.key_pem, **options}


async def served(net: Net, server: tlsio.Server, name: str, **options: Any) -> bytes:
    """Return the certificate that `name` is served with."""
    sock = await net.connect(server, servername=name, reject_unauthorized=False, **options)
    try:
        certificate = sock.get_peer_certificate()
        assert certificate is not None
        return bytes(certificate["raw"])
    finally:
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.node("tls-sni-server-client")
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.example.com", "exact"),
        ("A.Example.COM", "exact"),
        ("b.test.com", "star"),
        ("a.b.test.com", "default"),  # one star, one label
        ("bar.part.example", "part"),
        ("foo.part.example", "default"),
        ("one.two.example", "two"),
        ("single", "single"),
        ("xn--mnchen-3ya.example", "idn"),
    ],
)
async def test_name_gets_the_context_that_matches(net: Net, name: str, found: str) -> None:
    """Exact names, a star for a part of one label, any case, and names beyond ASCII in the form that hellos have."""
    who = {name: pki.leaf(name) for name in ("exact", "star", "part", "two", "single", "idn")}
    patterns = {"exact": "a.example.com", "star": "*.test.com", "part": "b*.part.example", "two": "*.*.example", "single": "*"}
    async with net.serve() as server:
        for key, pattern in [*patterns.items(), ("part", "foo.part.example."), ("idn", "München.example")]:
            server.add_context(pattern, identity(who[key]))
        server.remove_context("FOO.part.example")
        server.remove_context("*.*.example")
        server.add_context("*.two.example", identity(who["two"]))
        expected = pki.localhost() if found == "default" else who[found]
        assert await served(net, server, name) == expected.cert_der


async def test_last_added_match_wins(net: Net) -> None:
    """As in Node: the order counts, not how exact a pattern is; adding again replaces and moves to the end."""
    exact, star, again = pki.leaf("exact"), pki.leaf("star"), pki.leaf("again")
    async with net.serve() as server:
        server.add_context("a.example.com", identity(exact))
        server.add_context("*.example.com", identity(star))
        assert await served(net, server, "a.example.com") == star.cert_der
        server.add_context("a.example.com", identity(again))
        assert await served(net, server, "a.example.com") == again.cert_der
        server.remove_context("a.example.com")
        assert await served(net, server, "a.example.com") == star.cert_der


@pytest.mark.node("tls-sni-server-client")
async def test_no_name_gets_the_default(net: Net) -> None:
    """Clients without SNI, and names that nobody added."""
    async with net.serve() as server:
        server.add_context("*.example.com", identity(pki.wildcard()))
        assert await served(net, server, "") == pki.localhost().cert_der
        assert await served(net, server, "elsewhere.org") == pki.localhost().cert_der


@pytest.mark.parametrize("kind", ["rsa", "ec"])
async def test_certificate_of_another_key_type_is_served(net: Net, kind: str) -> None:
    """In TLS 1.2 too, where the suite names the key type."""
    default, other = (pki.localhost(), pki.localhost_rsa()) if kind == "rsa" else (pki.localhost_rsa(), pki.localhost())
    async with net.serve(**identity(default)) as server:
        server.add_context("other.example", identity(other))
        assert await served(net, server, "other.example") == other.cert_der
        assert await served(net, server, "localhost") == default.cert_der


async def test_added_context_leaves_unset_what_the_server_has(net: Net) -> None:
    """A name that only sets a certificate asks for client certificates as the server does, under its trust."""
    async with net.serve(ca=pki.ca1().cert_pem, request_cert=True) as server:
        server.add_context("a.example.com", identity(pki.wildcard()))
        refused = await stdlib_peer.visit(server, stdlib_peer.client(version=net.version), "a.example.com") if net.is_native else None
        assert refused is None or "ALERT" in refused.reason
        who = pki.client()
        sock = await net.connect(server, servername="a.example.com", cert=who.cert_pem, key=who.key_pem)
        sock.destroy()
        await sock.wait_closed()


@pytest.mark.parametrize("hostname", [None, 3, b"a.example.com"])
def test_hostname_must_be_a_str(hostname: Any) -> None:
    """Of both calls that take one."""
    server = tlsio.create_server()
    for call in (lambda: server.add_context(hostname, {}), lambda: server.remove_context(hostname)):
        with pytest.raises(TypeError) as caught:
            call()
        assert caught.value.code == "ERR_INVALID_ARG_TYPE"  # type: ignore[attr-defined]


def test_empty_hostname_is_refused() -> None:
    """With Node's code."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server().add_context("", {})
    assert caught.value.code == "ERR_TLS_REQUIRED_SERVER_NAME"


@pytest.mark.parametrize("hostname", ["https://x/", "x.example:443", "x.example/path", "::1", "a b.example", "a..example", "x" * 256, "."])
def test_what_is_no_host_name_is_refused(hostname: str) -> None:
    """No client can send it, so its context would serve nobody."""
    server = tlsio.create_server()
    with pytest.raises(tlsio.UsageError, match="is not a host name") as caught:
        server.add_context(hostname, {})
    assert caught.value.code == "ERR_INVALID_ARG_VALUE"


@pytest.mark.parametrize(
    "hostname", ["x", "*", "127.0.0.1", "*.example", "a*b.example.", "_x.example", "bücher.example", "*.bücher.example"]
)
def test_host_names_and_patterns_are_accepted(hostname: str) -> None:
    """Stars only stand here, and only in ASCII labels."""
    tlsio.create_server().add_context(hostname, {})


@pytest.mark.parametrize("context", [None, 3, "context", object()])
def test_context_must_be_a_context_or_options(context: Any) -> None:
    """Anything else changes nothing."""
    with pytest.raises(tlsio.UsageError) as caught:
        tlsio.create_server().add_context("a.example.com", context)
    assert caught.value.code == "ERR_TLS_INVALID_CONTEXT"


async def test_broken_context_never_replaces_a_working_one(net: Net) -> None:
    """Of a name and of the server alike: what fails to load changes nothing."""
    good = pki.wildcard()
    async with net.serve() as server:
        server.add_context("a.example.com", identity(good))
        for broken in (
            {"cert": good.cert_pem, "key": pki.client().key_pem},
            {"cert": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"},
        ):
            with pytest.raises(tlsio.ConfigError):
                server.add_context("a.example.com", broken)
            with pytest.raises(tlsio.ConfigError):
                server.set_secure_context(**broken)
        assert await served(net, server, "a.example.com") == good.cert_der
        assert await served(net, server, "localhost") == pki.localhost().cert_der
