"""`min_dh_size`: a client that finds the server's Diffie-Hellman group too small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import Net, once

if TYPE_CHECKING:
    from net import Driver

DHE = "DHE-RSA-AES128-GCM-SHA256"
# For a client that names groups of RFC 7919 a server takes one of those, from OpenSSL 4.0 on, and not its own parameters.
NO_NAMED_GROUP = "P-256"


@pytest.fixture
def old(driver: Driver) -> Net:
    """TLS 1.2, where a server makes its own groups."""
    return Net(driver, "TLSv1.2")


def dhe_server(bits: int, level: int = 2) -> dict[str, Any]:
    """Return a server whose group has so many bits."""
    who = pki.localhost_rsa()
    return {"cert": who.cert_pem, "key": who.key_pem, "dhparam": pki.dh_parameters(bits), "ciphers": f"{DHE}:@SECLEVEL={level}"}


@pytest.mark.node("tls-client-mindhsize")
@pytest.mark.parametrize("size", [2049, 3072])
async def test_smaller_group_is_refused(size: int, old: Net) -> None:
    """With the fitting alert, before anything of the client's but the hello has left: the server never opens."""
    async with old.serve(pytest.fail, **dhe_server(2048)) as server:
        refused = once(server, "tls_client_error")
        with pytest.raises(tlsio.HandshakeError, match="smaller than min_dh_size") as caught:
            await old.connect(server, ciphers=DHE, ecdh_curve=NO_NAMED_GROUP, min_dh_size=size)
        assert (caught.value.code, caught.value.alert) == ("ERR_TLS_DH_PARAM_SIZE", "handshake_failure")
        error, _ = await refused
        assert (type(error), error.alert) == (tlsio.AlertReceived, "handshake_failure")


@pytest.mark.node("tls-client-mindhsize")
@pytest.mark.parametrize(("bits", "size"), [(2048, 2048), (2048, 1), (3072, 2048), (2048, None)])
async def test_group_that_is_large_enough(bits: int, size: int | None, old: Net) -> None:
    """The bound itself is enough."""
    async with old.pair(server=dhe_server(bits), client={"ciphers": DHE, "ecdh_curve": NO_NAMED_GROUP, "min_dh_size": size}) as (
        client,
        _peer,
        _server,
    ):
        assert client.get_cipher()["name"] == DHE


async def test_security_level_still_holds(old: Net) -> None:
    """A low `min_dh_size` does not let in what the level refuses."""
    options = dhe_server(1024, level=0)
    with pytest.warns(UserWarning, match="1024 bits"):
        context = tlsio.create_secure_context(**options, min_version="TLSv1.2", max_version="TLSv1.2")
    async with old.serve(secure_context=context) as server:
        with pytest.raises(tlsio.HandshakeError) as caught:
            await old.connect(server, ciphers=f"{DHE}:@SECLEVEL=2", ecdh_curve=NO_NAMED_GROUP, min_dh_size=512)
        assert caught.value.code == "ERR_SSL_DH_KEY_TOO_SMALL"
        (await old.connect(server, ciphers=f"{DHE}:@SECLEVEL=0", ecdh_curve=NO_NAMED_GROUP, min_dh_size=1024)).destroy()


async def test_elliptic_curves_are_not_measured(old: Net) -> None:
    """256 bits of theirs are as strong as 3072 of these."""
    async with old.pair(client={"min_dh_size": 8192}) as (client, _peer, _server):
        assert client.authorized


@pytest.mark.parametrize(("size", "opened"), [(2048, True), (3072, False)])
async def test_named_groups_of_tls_1_3(size: int, opened: bool, driver: Driver) -> None:  # noqa: FBT001
    """The small ones are not offered: a server that has nothing else says so with an alert."""
    new = Net(driver, "TLSv1.3")
    async with new.serve(ecdh_curve="ffdhe2048") as server:
        if opened:
            (await new.connect(server, min_dh_size=size)).destroy()
        else:
            with pytest.raises(tlsio.AlertReceived) as caught:
                await new.connect(server, min_dh_size=size)
            assert caught.value.alert == "handshake_failure"
