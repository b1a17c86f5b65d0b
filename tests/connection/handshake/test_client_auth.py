"""Client certificates by name, live: one server whose names want different things of their clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import once

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

CLIENTS: dict[str, Callable[[], pki.Identity | None]] = {
    "none": lambda: None,
    "agent1 of ca1": pki.agent1,
    "agent2, self-signed": pki.agent2,
    "agent3 of ca2": pki.agent3,
    "agent4 of ca2, revoked": pki.agent4,
    "expired, of ca1": pki.expired,
}

# What each name wants of its clients. The server itself insists on ca1; what a name leaves unset is the server's.
NAMES: dict[str, Callable[[], dict[str, Any]]] = {
    "default": dict,
    "open.test": lambda: {"request_cert": False},
    "soft.test": lambda: {"reject_unauthorized": False},
    "other.test": lambda: {"ca": pki.ca2().cert_pem},
    "other-soft.test": lambda: {"ca": pki.ca2().cert_pem, "reject_unauthorized": False},
    "crl.test": lambda: {"ca": pki.ca2().cert_pem, "crl": pki.ca2_crl()},
    "crl-soft.test": lambda: {"ca": pki.ca2().cert_pem, "crl": pki.ca2_crl(), "reject_unauthorized": False},
    "a.both.test": lambda: {"extra_ca": pki.ca2().cert_pem},
    "nobody.test": lambda: {"ca": []},
    "hook.test": lambda: {"ca": pki.ca2().cert_pem, "reject_unauthorized": False},
}
PATTERNS = {"a.both.test": "*.both.test"}

NO_CERT, NO_LEAF, SELF = "UNABLE_TO_GET_ISSUER_CERT", "UNABLE_TO_VERIFY_LEAF_SIGNATURE", "DEPTH_ZERO_SELF_SIGNED_CERT"
MISSING = "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"
EXPIRED, REVOKED, NO_CRL = "CERT_HAS_EXPIRED", "CERT_REVOKED", "UNABLE_TO_GET_CRL"

# By client, in the order of NAMES: "in" authorized; "as" a code, let in without being authorized; otherwise refused with that code.
# Of several things that speak against a certificate the last one found gives the code, as in Node.
RESULTS: dict[str, list[str]] = {
    "none": [MISSING, "open", *2 * [f"as {NO_CERT}", MISSING], f"as {NO_CERT}", MISSING, MISSING, f"as {NO_CERT}"],
    "agent1 of ca1": ["in", "open", "in", *2 * [NO_LEAF, f"as {NO_LEAF}"], "in", NO_LEAF, f"as {NO_LEAF}"],
    "agent2, self-signed": [SELF, "open", f"as {SELF}", SELF, f"as {SELF}", NO_CRL, f"as {NO_CRL}", SELF, SELF, f"as {SELF}"],
    "agent3 of ca2": [NO_LEAF, "open", f"as {NO_LEAF}", "in", "in", "in", "in", "in", NO_LEAF, "in"],
    "agent4 of ca2, revoked": [NO_LEAF, "open", f"as {NO_LEAF}", "in", "in", REVOKED, f"as {REVOKED}", "in", NO_LEAF, "in"],
    "expired, of ca1": [EXPIRED, "open", f"as {EXPIRED}", *2 * [EXPIRED, f"as {EXPIRED}"], EXPIRED, EXPIRED, f"as {EXPIRED}"],
}
# OpenSSL 3.6 asks for no list about a certificate that is signed by itself.
FROM_3_6_ON = {"agent2, self-signed": [SELF, "open", f"as {SELF}", *2 * [SELF, f"as {SELF}"], SELF, SELF, f"as {SELF}"]}


def show(who: pki.Identity | None) -> dict[str, Any]:
    """Return a client's options to show that certificate, and to take any server."""
    return {"reject_unauthorized": False, **({} if who is None else {"cert": who.cert_pem, "key": who.key_pem})}


def greet(sock: tlsio.TLSSocket) -> None:
    """Tell a client what is thought of it."""
    sock.end(f"{sock.authorized} {sock.authorization_error} {sock.get_peer_certificate() is not None}".encode())


def by_hook(name: str, _sock: tlsio.TLSSocket) -> dict[str, Any] | None:
    """Choose a context for the one name that is in no table."""
    return NAMES[name]() if name == "hook.test" else None


async def visit(net: Net, server: tlsio.Server, name: str, who: pki.Identity | None) -> str:
    """Connect to a name and return what came of it, in the words of RESULTS."""
    told = once(server, "tls_client_error")
    try:
        sock = await net.connect(server, servername="localhost" if name == "default" else name, **show(who))
    except tlsio.TLSError:
        return str((await told)[0].code)
    try:
        authorized, error, showed = (await sock.read()).decode().split()
    except tlsio.TLSError:  # in TLS 1.3 a client is done before the server has judged it
        return str((await told)[0].code)
    finally:
        sock.destroy()
        await sock.wait_closed()
    assert (showed == "True") is (who is not None and name != "open.test")
    if authorized == "True":
        assert error == "None"
        return "in"
    return "open" if error == "None" else f"as {error}"


@pytest.mark.only_loop("asyncio")
@pytest.mark.parametrize("client", CLIENTS)
async def test_each_name_wants_what_it_says(net: Net, client: str) -> None:
    """On one server, one client after the other: by table, pattern and hook."""
    async with net.serve(greet, request_cert=True, ca=pki.ca1().cert_pem, sni_callback=by_hook) as server:
        for name, wants in NAMES.items():
            if name not in {"default", "hook.test"}:
                server.add_context(PATTERNS.get(name, name), wants())
        found = [await visit(net, server, name, CLIENTS[client]()) for name in NAMES]
        assert found in (RESULTS[client], FROM_3_6_ON.get(client))
        refused = [result for result in found if not result.startswith(("in", "open", "as "))]
        assert sum(server.stats().handshakes_failed.values()) == len(refused)
        assert server.stats().handshakes_full == len(NAMES) - len(refused)


@pytest.mark.only_loop("asyncio")
async def test_names_that_want_different_things_are_visited_at_once(net: Net) -> None:
    """Nothing of one handshake reaches another."""
    async with net.serve(greet, request_cert=True, ca=pki.ca1().cert_pem, sni_callback=by_hook) as server:
        server.add_context("soft.test", NAMES["soft.test"]())
        server.add_context("open.test", NAMES["open.test"]())

        async def go(name: str, who: pki.Identity | None) -> str:
            try:
                sock = await net.connect(server, servername=name, **show(who))
                async with sock:
                    return (await sock.read()).decode()
            except tlsio.TLSError:
                return "refused"

        visits = [
            ("localhost", pki.agent1()),
            ("soft.test", pki.agent3()),
            ("open.test", None),
            ("hook.test", pki.agent3()),
            ("localhost", None),
        ]
        said = await asyncio.gather(*(go(name, who) for name, who in visits * 3))
        assert said == ["True None True", f"False {NO_LEAF} True", "False None False", "True None True", "refused"] * 3
