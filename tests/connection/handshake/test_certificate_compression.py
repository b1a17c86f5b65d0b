"""`certificate_compression`: smaller handshakes where the library has it, a clear error where it has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from net import Net

if TYPE_CHECKING:
    from net import Driver

ALL = ("zlib", "brotli", "zstd")
HAVE = tlsio.get_certificate_compression_algorithms()

with_compression = pytest.mark.skipif(not HAVE, reason="this OpenSSL compresses no certificates")


def test_algorithms_are_a_list_of_the_callers_own() -> None:
    """A part of Node's three, in their order."""
    assert [name for name in ALL if name in HAVE] == HAVE
    tlsio.get_certificate_compression_algorithms().append("xz")
    assert tlsio.get_certificate_compression_algorithms() == HAVE


@pytest.mark.parametrize("name", ALL)
def test_algorithm_that_the_library_lacks(name: Any) -> None:
    """The error names the library, the algorithm and what there is; the others are taken."""
    if name in HAVE:
        assert tlsio.create_secure_context(certificate_compression=[name]).options.certificate_compression == (name,)
        return
    with pytest.raises(tlsio.ConfigError, match=rf"^options\.certificate_compression: OpenSSL .* does not support {name} ") as caught:
        tlsio.create_secure_context(certificate_compression=[name])
    assert caught.value.code == "ERR_CRYPTO_UNSUPPORTED_OPERATION"


def test_empty_list_is_none() -> None:
    """Whatever the library has."""
    assert tlsio.create_secure_context(certificate_compression=[]).options.certificate_compression == ()


@pytest.mark.node("tls-certificate-compression")
@with_compression
@pytest.mark.parametrize("sides", ["both", "server", "client"])
async def test_certificates_are_smaller_when_both_sides_say_so(sides: str, driver: Driver) -> None:
    """And verified as ever; off is the default of both."""
    who = pki.agent10()
    server = {"cert": who.chain_pem, "key": who.key_pem}
    client = {"ca": pki.ca2().cert_pem, "servername": "agent10.example.com"}
    net = Net(driver, "TLSv1.3")
    sizes = []
    for asked in ("", sides):
        of_server = server | ({"certificate_compression": HAVE} if asked in {"both", "server"} else {})
        of_client = client | ({"certificate_compression": HAVE} if asked in {"both", "client"} else {})
        async with net.pair(server=of_server, client=of_client) as (near, _far, _server):
            assert near.authorized
            assert near.get_verified_chain()[0].public_bytes(pki.PEM) == who.cert_pem
            sizes.append(near.wire_bytes_read)
    plain, other = sizes
    assert (other < plain - 100) is (sides == "both")


@pytest.mark.node("tls-certificate-compression")
@with_compression
async def test_certificates_of_a_name_are_compressed(driver: Driver) -> None:
    """A context chosen by name compresses though the server's own does not."""
    who = pki.agent10()
    chosen = {"cert": who.chain_pem, "key": who.key_pem}
    client = {"ca": pki.ca2().cert_pem, "servername": "agent10.example.com", "certificate_compression": HAVE}
    net = Net(driver, "TLSv1.3")
    sizes = []
    for options in (chosen, chosen | {"certificate_compression": HAVE}):
        async with net.serve(sni_callback=lambda *_, answer=options: answer) as server:
            near = await net.connect(server, **client)
            sizes.append(near.wire_bytes_read)
            near.destroy()
            await near.wait_closed()
    plain, compressed = sizes
    assert compressed < plain - 100


@with_compression
async def test_certificates_of_clients_are_compressed_too(driver: Driver) -> None:
    """Mutual TLS works on with it."""
    who = pki.client()
    server = {"ca": pki.ca1().cert_pem, "request_cert": True, "certificate_compression": HAVE}
    client = {"cert": who.chain_pem, "key": who.key_pem, "certificate_compression": HAVE}
    async with Net(driver, "TLSv1.3").pair(server=server, client=client) as (_near, far, _server):
        assert far.authorized
