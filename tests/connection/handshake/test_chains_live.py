"""Chains between live ends: intermediates sent or forgotten, roots on both sides, and who may be an authority."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

# Node's cast: the client is ec10, by ca6 by ca5; the server is agent10, by ca4 by ca2.
NAME = {"servername": "agent10.example.com"}


def leaf_of(who: pki.Identity) -> dict[str, Any]:
    """Return that certificate without its intermediate, as options of either side."""
    return {"cert": who.cert_pem, "key": who.key_pem}


def chain_of(who: pki.Identity, *more: pki.Identity) -> dict[str, Any]:
    """Return that certificate with its intermediate, and more behind."""
    return {"cert": who.chain_pem + b"".join(other.cert_pem for other in more), "key": who.key_pem}


def text(*who: pki.Identity) -> str:
    """Return certificates one below the other."""
    return "\n".join(other.cert_pem.decode() for other in who)


def asking(*ca: Any) -> dict[str, Any]:
    """Return the options of a server that insists on certificates of these authorities."""
    return {"request_cert": True, "ca": [*ca]}


async def meet(net: Net, server: dict[str, Any], client: dict[str, Any]) -> None:
    """Let the two talk."""
    async with net.pair(server=server, client={"ca": None} | NAME | client) as (near, far, _server):
        await near.send(b"hello")
        assert await far.readexactly(5) == b"hello"
        assert near.authorized
        assert far.authorized is bool(server.get("request_cert"))


@pytest.mark.node("tls-client-auth")
@pytest.mark.parametrize("label", ["CERTIFICATE", "TRUSTED CERTIFICATE", "X509 CERTIFICATE"])
async def test_both_send_their_chains(net: Net, label: str) -> None:
    """Each has the other's root, under any label."""
    roots = [pki.ca5().cert_pem.decode().replace("CERTIFICATE", label), pki.ca2().cert_pem.decode().replace("CERTIFICATE", label)]
    await meet(net, chain_of(pki.agent10()) | asking(roots[0]), chain_of(pki.ec10()) | {"ca": roots[1]})


@pytest.mark.node("tls-client-auth", "tls-multiple-cas-as-string")
@pytest.mark.parametrize("form", ["list", "text", "list of texts"])
async def test_intermediates_that_were_not_sent_are_found_in_ca(net: Net, form: str) -> None:
    """As a list, in one text, or as a list of such."""

    def ca(*who: pki.Identity) -> Any:
        return {"list": [other.cert_pem for other in who], "text": text(*who), "list of texts": [text(*who)]}[form]

    server = leaf_of(pki.agent10()) | {"request_cert": True, "ca": ca(pki.ca5(), pki.ca6())}
    await meet(net, server, leaf_of(pki.ec10()) | {"ca": ca(pki.ca2(), pki.ca4())})


@pytest.mark.node("tls-multiple-cas-as-string")
@pytest.mark.parametrize("form", ["list", "text"])
async def test_authorities_of_a_name_come_in_both_forms(net: Net, form: str) -> None:
    """`add_context` takes them as the others do; each of the two is trusted."""
    both = [pki.ca1().cert_pem, pki.ca2().cert_pem] if form == "list" else text(pki.ca1(), pki.ca2())
    async with net.serve(lambda sock: sock.on("data", sock.write) and None) as server:
        server.add_context("localhost", leaf_of(pki.localhost()) | {"request_cert": True, "ca": both})
        for who in (pki.agent1(), pki.agent3()):
            sock = await net.connect(server, **leaf_of(who))
            await sock.send(b"hello")
            assert await sock.readexactly(5) == b"hello"
            sock.destroy()
            await sock.wait_closed()


@pytest.mark.node("tls-client-auth")
@pytest.mark.parametrize("sent", [(), (pki.ca2,)], ids=["chain", "chain and root"])
async def test_client_may_have_no_certificate_where_none_is_asked_for(net: Net, sent: tuple[Callable[[], pki.Identity], ...]) -> None:
    """It knows the server's root; a root that is sent along does no harm."""
    await meet(net, chain_of(pki.agent10(), *[root() for root in sent]), {"ca": pki.ca2().cert_pem})


@pytest.mark.node("tls-client-auth")
@pytest.mark.parametrize(
    ("server", "client", "code"),
    [
        (lambda: leaf_of(pki.agent10()), {"ca": pki.ca2}, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (lambda: chain_of(pki.agent10()), {}, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
        (lambda: chain_of(pki.agent10(), pki.ca2()), {}, "SELF_SIGNED_CERT_IN_CHAIN"),
    ],
    ids=["intermediate forgotten", "root unknown", "root sent"],
)
async def test_server_that_a_client_does_not_trust(net: Net, server: Any, client: dict[str, Any], code: str) -> None:
    """Node's codes."""
    async with net.serve(**server()) as made:
        ours, theirs = await net.refused(made, **NAME, ca=client["ca"]().cert_pem if client else None)
    assert (theirs.code, theirs.alert) == (code, "unknown_ca")
    assert isinstance(ours, tlsio.AlertReceived)
    assert ours.alert == "unknown_ca"


@pytest.mark.node("tls-client-auth")
@pytest.mark.parametrize(
    ("client", "ca", "code"),
    [
        (lambda: leaf_of(pki.ec10()), pki.ca5, "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (lambda: chain_of(pki.ec10()), None, "UNABLE_TO_GET_ISSUER_CERT_LOCALLY"),
        (dict, pki.ca5, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"),
    ],
    ids=["intermediate forgotten", "root unknown", "none"],
)
async def test_client_that_a_server_does_not_trust(net: Net, client: Any, ca: Any, code: str) -> None:
    """Node's client sees a reset in the first two; ours hears the alert."""
    asked = {"request_cert": True, "ca": ca and ca().cert_pem}
    async with net.serve(**chain_of(pki.agent10()), **asked) as server:
        ours, theirs = await net.refused(server, **NAME, ca=pki.ca2().cert_pem, **client())
    assert getattr(ours, "code", None) == code
    assert isinstance(theirs, tlsio.AlertReceived)
    if code.startswith("UNABLE"):
        assert theirs.alert == "unknown_ca"
    else:
        assert theirs.alert == {"TLSv1.2": "handshake_failure", "TLSv1.3": "certificate_required"}[net.version]


@pytest.mark.node("tls-client-verify")
@pytest.mark.parametrize(
    ("ca", "trusted"),
    [((), ()), ((pki.ca1,), (pki.agent1,)), ((pki.ca1, pki.ca2), (pki.agent1, pki.agent3))],
    ids=["nobody", "ca1", "ca1 and ca2"],
)
async def test_authorities_decide_who_is_authorized(net: Net, ca: Any, trusted: Any) -> None:
    """None of these servers has the right name, but only that speaks against those whose authority is trusted."""
    for who in (pki.agent1, pki.agent2, pki.agent3):
        client = {"ca": [authority().cert_pem for authority in ca], "reject_unauthorized": False} | leaf_of(pki.agent2())
        async with net.pair(server=leaf_of(who()), client=client) as (near, _far, _server):
            assert not near.authorized
            assert (near.authorization_error == "ERR_TLS_CERT_ALTNAME_INVALID") is (who in trusted)


@pytest.mark.node("tls-client-allow-partial-trust-chain")
async def test_trusted_intermediate_may_end_a_chain(net: Net) -> None:
    """When that is allowed; else its root is missing."""
    client = {"ca": pki.intermediate_ca().cert_pem}
    async with net.serve(**leaf_of(pki.leaf_from_intermediate())) as server:
        sock = await net.connect(server, **client, allow_partial_trust_chain=True)
        assert sock.authorized
        sock.destroy()
        await sock.wait_closed()
        _, theirs = await net.refused(server, **client)
        assert theirs.code == "UNABLE_TO_GET_ISSUER_CERT"


@pytest.mark.node("tls-startcom-wosign-whitelist")
@pytest.mark.parametrize("who", [pki.agent8, pki.agent9])
async def test_roots_of_ill_fame_are_roots_like_others(net: Net, who: Callable[[], pki.Identity]) -> None:
    """Once they had dates of their own; who trusts them does."""
    async with net.pair(server=leaf_of(who()), client={"ca": pki.fake_startcom_root().cert_pem}) as (near, _far, _server):
        assert near.authorized
