"""Versions and ciphers: what two sides that want different things agree on, or how each of them fails."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

import expectation_tables
import pki
import tlsio
from net import Net, once

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Version

pytestmark = pytest.mark.only_loop("asyncio")


async def meet(server: dict[str, Any], client: dict[str, Any]) -> tuple[str, str, str]:
    """Let a client come to a server; return the version, the cipher and "", or "", "" and the error code of each."""
    who = pki.localhost_rsa()
    try:
        listening = tlsio.create_server(cert=who.cert_pem, key=who.key_pem, **server)
    except tlsio.UsageError as error:
        return "", "", f"client - / server {error.code}"
    refused = once(listening, "tls_client_error")
    accepted = once(listening, "secure_connection")
    async with listening:
        await listening.listen(0, "127.0.0.1")
        try:
            async with tlsio.connect(listening.port, "127.0.0.1", servername="localhost", ca=pki.ca1().cert_pem, **client) as socket:
                met = socket.get_protocol(), socket.get_cipher()["name"], ""
                peer = await accepted
                assert (peer.get_protocol(), peer.get_cipher()["name"], "") == met
                peer.destroy()
                await peer.wait_closed()
                return met
        except tlsio.UsageError as error:
            return "", "", f"client {error.code} / server -"
        except tlsio.TLSError as error:
            failure, _ = await refused
            # OpenSSL 3.2 has renamed the alerts of SSL 3.0, and 4.0 once more
            return "", "", f"client {re.sub('SSL_(SSL/)?TLS_ALERT', 'SSL_SSLV3_ALERT', error.code)} / server {failure.code}"


# --- versions ---

# Oldest first. `ALL@SECLEVEL=0` lets TLS 1.0 and 1.1 in: their signatures are made with SHA-1.
VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
OLD = {"ciphers": "ALL@SECLEVEL=0"}


@pytest.mark.node("tls-min-max-version", "tls-getprotocol")
@pytest.mark.parametrize(("client", "server", "outcome"), expectation_tables.versions())
async def test_versions_of_both_sides(client: dict[str, Any], server: dict[str, Any], outcome: str) -> None:
    """The newest version that both take, or Node's codes."""
    version, _, errors = await meet(server | OLD, client | OLD)
    assert (version or errors) == outcome


@pytest.mark.node("tls-cli-min-version-1.0", "tls-cli-min-version-1.1", "tls-cli-min-version-1.2")
@pytest.mark.parametrize("old_side", ["client", "server"])
@pytest.mark.parametrize("version", VERSIONS[:3])
@pytest.mark.parametrize("minimum", VERSIONS)
async def test_side_without_options_keeps_the_default_minimum(
    minimum: str, version: str, old_side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever says nothing accepts from `defaults.min_version` on."""
    monkeypatch.setattr(tlsio.defaults, "min_version", minimum)
    fixed = {"secure_protocol": f"{version.replace('.', '_')}_method"} | OLD
    met, _, errors = await (meet(OLD, fixed) if old_side == "client" else meet(fixed, OLD))
    if VERSIONS.index(version) >= VERSIONS.index(minimum):
        assert met == version
    else:
        assert errors in {
            "client ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION / server ERR_SSL_UNSUPPORTED_PROTOCOL",
            "client ERR_SSL_UNSUPPORTED_PROTOCOL / server ERR_SSL_WRONG_VERSION_NUMBER",
        }


# --- ciphers ---

AES_256, CHACHA, CCM = "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_CCM_SHA256"
NOTHING_SHARED = "client ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE / server ERR_SSL_NO_SHARED_CIPHER"


@pytest.mark.node("tls-set-ciphers")
@pytest.mark.parametrize(
    ("client", "server", "outcome"),
    [
        (None, None, AES_256),
        (AES_256, None, AES_256),
        (None, CHACHA, CHACHA),
        (f"{AES_256}:!{CHACHA}", None, AES_256),
        (f"!{AES_256}", None, CHACHA),
        (AES_256, CHACHA, NOTHING_SHARED),
        (f"AES256-SHA:{AES_256}", f"{CHACHA}:AES256-SHA256", NOTHING_SHARED),
        (f"AES256-SHA:{AES_256}", None, AES_256),
        (f"AES128-SHA:{CHACHA}", f"AES128-SHA:{CHACHA}", CHACHA),
        ("AES256-SHA", None, AES_256),
        (None, "AES256-SHA", AES_256),
        (CCM, CCM, CCM),
        (CCM, None, NOTHING_SHARED),
        (9, None, "client ERR_INVALID_ARG_TYPE / server -"),
        (None, 9, "client - / server ERR_INVALID_ARG_TYPE"),
        (":", None, "client ERR_INVALID_ARG_VALUE / server -"),
        (None, ":", "client - / server ERR_INVALID_ARG_VALUE"),
        ("", None, "client ERR_INVALID_ARG_VALUE / server -"),  # Node takes the default ciphers then
    ],
)
async def test_ciphers_of_both_sides(client: Any, server: Any, outcome: str) -> None:
    """TLS 1.3 comes before TLS 1.2 whatever the order, and its suites stay where only older ones are named."""
    _, cipher, errors = await meet({"ciphers": server}, {"ciphers": client})
    assert (cipher or errors) == outcome


@pytest.mark.node("tls-set-ciphers")
@pytest.mark.parametrize(
    ("client", "server", "outcome"),
    [
        ("AES256-SHA", None, "AES256-SHA"),
        (None, "AES256-SHA", "AES256-SHA"),
        ("AES128-SHA:AES256-SHA", "AES256-SHA:AES128-SHA", "AES256-SHA"),
        ("AES128-SHA256", "AES256-SHA256", NOTHING_SHARED),
    ],
)
async def test_ciphers_of_tls_1_2(client: str | None, server: str | None, outcome: str) -> None:
    """The server's order decides."""
    _, cipher, errors = await meet({"ciphers": server, "max_version": "TLSv1.2"}, {"ciphers": client, "max_version": "TLSv1.2"})
    assert (cipher or errors) == outcome


@pytest.mark.node("tls-set-ciphers-error")
@pytest.mark.parametrize("ciphers", ["FOOBARBAZ", "TLS_not_a_cipher"])
def test_unknown_cipher(ciphers: str) -> None:
    """A name that OpenSSL does not know is an error of the option."""
    with pytest.raises(tlsio.ConfigError, match="no cipher match") as caught:
        tlsio.create_secure_context(ciphers=ciphers)
    assert caught.value.code == "ERR_SSL_NO_CIPHER_MATCH"


# --- signatures and key exchange ---


@pytest.mark.node("tls-set-sigalgs")
@pytest.mark.parametrize(
    ("client", "server", "outcome"),
    [
        ("RSA-PSS+SHA384", None, ""),
        (None, "RSA-PSS+SHA384", ""),
        ("RSA-PSS+SHA256:RSA-PSS+SHA512:ECDSA+SHA256", "RSA-PSS+SHA256:ECDSA+SHA256", ""),
        ("RSA-PSS+SHA384:RSA-PSS+SHA256", "RSA-PSS+SHA256", ""),
        (
            "RSA-PSS+SHA384",
            "RSA-PSS+SHA256",
            "client ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE / server ERR_SSL_NO_SHARED_SIGNATURE_ALGORITHMS",
        ),
        ("", None, "client ERR_INVALID_ARG_VALUE / server -"),
        (None, 1, "client - / server ERR_INVALID_ARG_TYPE"),
    ],
)
async def test_sigalgs_of_both_sides(client: Any, server: Any, outcome: str) -> None:
    """One in common is enough."""
    _, _, errors = await meet({"sigalgs": server}, {"sigalgs": client})
    assert errors == outcome


DHE_FIRST = "DHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"


@pytest.mark.node("tls-dhe")
@pytest.mark.parametrize(
    ("dhparam", "expected"),
    [
        (lambda: None, {"type": "ECDH", "name": "prime256v1", "size": 256}),
        (lambda: "auto", {"type": "DH", "size": 2048}),
        (lambda: pki.dh_parameters(2048), {"type": "DH", "size": 2048}),
        (lambda: pki.dh_parameters(3072), {"type": "DH", "size": 3072}),
    ],
    ids=["unset", "auto", "2048", "3072"],
)
async def test_dhparam_decides_about_dhe(dhparam: Callable[[], Any], expected: dict[str, Any]) -> None:
    """Off unless given; "auto" fits the certificate's key."""
    who = pki.localhost_rsa()
    server = {"cert": who.cert_pem, "key": who.key_pem, "dhparam": dhparam(), "ciphers": DHE_FIRST, "ecdh_curve": "prime256v1"}
    curve = {"ecdh_curve": "prime256v1"}  # OpenSSL 4.0 takes a group of RFC 7919 where the client names one
    async with Net("native", "TLSv1.2").pair(server=server, client=curve) as (client, _peer, _server):
        assert client.get_ephemeral_key_info() == expected


@pytest.mark.node("tls-ecdh-multiple", "tls-ecdh")
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
@pytest.mark.parametrize(
    ("client", "server", "chosen"),
    [
        ("auto", "prime256v1", "prime256v1"),
        ("secp521r1", "secp384r1:prime256v1:secp521r1", "secp521r1"),
        ("prime256v1:secp384r1", "secp384r1:prime256v1", "secp384r1"),
    ],
)
async def test_curves_of_both_sides(client: str, server: str, chosen: str, version: Version) -> None:
    """The server's order decides, where the client left it the choice."""
    if version == "TLSv1.3" and ":" in client:
        chosen = client.split(":", maxsplit=1)[0]  # the key share of the hello saves a round trip
    who = pki.localhost_rsa()  # the curve of an EC certificate would have to be the client's too
    options = {"cert": who.cert_pem, "key": who.key_pem, "ecdh_curve": server}
    async with Net("native", version).pair(server=options, client={"ecdh_curve": client}) as (near, _far, _server):
        info = near.get_ephemeral_key_info()
        assert info is not None
        assert info["name"] == chosen


@pytest.mark.node("tls-ecdh-multiple")
@pytest.mark.parametrize("curves", ["no-such-curve", "prime256v1:bad", "secp256k1:bad:secp521r1"])
def test_unknown_curve(curves: str) -> None:
    """Node's words and code."""
    with pytest.raises(tlsio.ConfigError, match="Failed to set ECDH curve") as caught:
        tlsio.create_secure_context(ecdh_curve=curves)
    assert caught.value.code == "ERR_CRYPTO_OPERATION_FAILED"
