"""tls-alpn-01: the certificate, the contexts, and the port of its own."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

import tlsio
from challenges import challenge
from tlsio.acme import MemoryStorage, TlsAlpn01
from tlsio.acme.solvers.challenge_certificate import make_certificate, read_identifier, server_name_of
from tlsio.model.errors import AlertReceived, StoreError, UsageStateError

if TYPE_CHECKING:
    from tlsio.acme import Challenge

ADDRESSES = ["127.0.0.1", "2001:db8::1"]
ASKED = challenge("tls-alpn-01", "a.example.test")


async def shown(port: int, name: str | None, protocols: tuple[str, ...] = ("acme-tls/1",), **options: Any) -> x509.Certificate:
    """Look at the certificate as an authority does."""
    options |= {"alpn_protocols": list(protocols), "reject_unauthorized": False}
    async with await tlsio.connect(port, "127.0.0.1", servername=name, **options) as sock:
        assert sock.alpn_protocol == (protocols[0] if protocols else None)
        return x509.load_der_x509_certificate(sock.get_peer_certificate()["raw"])


def proves(certificate: x509.Certificate, asked: Challenge) -> bool:
    """Tell whether a certificate answers a challenge, as RFC 8737 §3 says."""
    extension = certificate.extensions.get_extension_for_oid(x509.ObjectIdentifier("1.3.6.1.5.5.7.1.31"))
    return extension.critical and extension.value.public_bytes() == b"\x04\x20" + asked.digest


@pytest.mark.parametrize(("is_wildcard", "is_ip", "can"), [(False, False, True), (False, True, True), (True, False, False)])
def test_solves_names_and_addresses_but_no_wildcards(is_wildcard: bool, is_ip: bool, can: bool) -> None:  # noqa: FBT001 - a table
    """A handshake with one host does not prove all hosts below it."""
    assert TlsAlpn01().can_solve("a", is_wildcard=is_wildcard, is_ip=is_ip) is can


@pytest.mark.parametrize("identifier", ["a.example.test", f"{'a' * 60}.{'b' * 60}.example.test", *ADDRESSES])
def test_the_certificate_has_one_name_and_the_critical_extension(identifier: str) -> None:
    """Also for names that are longer than a common name may be, and an address as such."""
    asked = challenge("tls-alpn-01", identifier)
    pem = make_certificate(asked)
    certificate = x509.load_pem_x509_certificate(pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == [identifier]
    assert isinstance(next(iter(names)), x509.IPAddress if asked.is_ip else x509.DNSName)
    assert proves(certificate, asked)
    assert load_pem_private_key(pem, None).public_key() == certificate.public_key()


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("a.example.test", "a.example.test"),
        ("127.0.0.1", "1.0.0.127.in-addr.arpa"),
        ("2001:db8::1", "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_the_server_name_of_an_address_is_its_reverse_name(identifier: str, name: str) -> None:
    """And leads back to it."""
    assert server_name_of(challenge("tls-alpn-01", identifier)) == name
    assert read_identifier(name) == identifier


@pytest.mark.parametrize(
    "name", ["a.in-addr.arpa", "1.2.3.in-addr.arpa", "1.2.3.400.in-addr.arpa", "in-addr.arpa", "1.ip6.arpa", "zz." * 31 + "0.ip6.arpa"]
)
def test_other_names_of_the_reverse_zones_are_names(name: str) -> None:
    """Anyone may send them."""
    assert read_identifier(name) == name


async def test_gives_a_context_from_presenting_to_cleaning_up() -> None:
    """At once, and the same one each time."""
    solver = TlsAlpn01()
    assert solver.context_for_challenge("a.example.test") is None
    await solver.present(ASKED)
    assert isinstance(solver.context_for_challenge("a.example.test"), tlsio.SecureContext)
    assert solver.context_for_challenge("a.example.test") is solver.context_for_challenge("a.example.test")
    assert solver.context_for_challenge("b.example.test") is None
    await solver.clean_up(ASKED)
    assert solver.context_for_challenge("a.example.test") is None


async def test_the_clean_up_of_an_older_challenge_leaves_the_newer_one() -> None:
    """Two orders for one name, of different authorities."""
    storage = MemoryStorage()
    solver, other = TlsAlpn01(storage), challenge("tls-alpn-01", "a.example.test")
    await solver.present(ASKED)
    await solver.present(other)
    await solver.clean_up(ASKED)
    assert solver.context_for_challenge("a.example.test") is not None
    assert await storage.list("") == ["challenges/tls-alpn-01/a.example.test"]
    await solver.clean_up(other)
    assert await storage.list("") == []


@pytest.mark.parametrize("identifier", ["a.example.test", *ADDRESSES])
async def test_is_answered_on_its_own_port_also_for_another_process(identifier: str) -> None:
    """Which finds the certificate in the storage."""
    storage, asked = MemoryStorage(), challenge("tls-alpn-01", identifier)
    async with await TlsAlpn01(storage).listen("127.0.0.1", 0) as one, await TlsAlpn01(storage).listen("127.0.0.1", 0) as other:
        await one.present(asked)
        for solver in (one, other):
            assert solver.port is not None
            assert proves(await shown(solver.port, server_name_of(asked)), asked)
        await one.clean_up(asked)
        assert await storage.list("") == []


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
async def test_several_handshakes_at_once_are_answered(version: str) -> None:
    """An authority validates from several places."""
    async with await TlsAlpn01().listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        await solver.present(ASKED)
        found = await asyncio.gather(*(shown(solver.port, "a.example.test", min_version=version, max_version=version) for _ in range(5)))
        assert all(proves(one, ASKED) for one in found)


@pytest.mark.parametrize(
    ("name", "protocols"),
    [("b.example.test", ("acme-tls/1",)), ("a.example.test", ("h2", "http/1.1")), ("a.example.test", ("acme-tls/1", "h2"))],
    ids=["another name", "a browser", "both"],
)
async def test_others_are_refused(name: str, protocols: tuple[str, ...]) -> None:
    """By an alert."""
    async with await TlsAlpn01(MemoryStorage()).listen("127.0.0.1", 0) as solver:
        assert solver.port is not None
        await solver.present(ASKED)
        with pytest.raises(AlertReceived):
            await shown(solver.port, name, protocols)


async def test_strangers_cause_no_storage_reads() -> None:
    """The hook is asked with the name or the address."""
    asked: list[str] = []

    def is_pending(name: str) -> bool:
        asked.append(name)
        return False

    solver = TlsAlpn01(MemoryStorage(), is_pending=is_pending)
    for name in ("a.example.test", "1.0.0.127.in-addr.arpa"):
        assert solver.context_for_challenge(name) is None
    assert asked == ["a.example.test", "127.0.0.1"]


@pytest.mark.parametrize("name", ["a_/b", "..", "a b", ""])
async def test_a_name_that_is_no_key_is_not_looked_for(name: str) -> None:
    """No certificate is obtained for it."""
    assert TlsAlpn01(MemoryStorage()).context_for_challenge(name) is None


async def test_what_is_no_certificate_in_the_storage_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, without its content."""
    storage = MemoryStorage()
    await storage.store("challenges/tls-alpn-01/a.example.test", b"-----BEGIN SECRET-----")
    found = TlsAlpn01(storage).context_for_challenge("a.example.test")
    assert found is not None
    assert not isinstance(found, tlsio.SecureContext)
    with caplog.at_level(logging.WARNING):
        assert await found is None
    assert "tls-alpn-01 for a.example.test in the storage cannot be used" in caplog.text
    assert "SECRET" not in caplog.text


async def test_a_failing_clean_up_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """It does not hide the result."""

    class BrokenStorage(MemoryStorage):
        async def delete(self, key: str, *, lock: object = None) -> None:
            raise StoreError("The disk is gone")

    solver = TlsAlpn01(BrokenStorage())
    await solver.present(ASKED)
    with caplog.at_level(logging.WARNING):
        await solver.clean_up(ASKED)
    assert "was not removed: The disk is gone" in caplog.text
    assert repr(solver) == "<TlsAlpn01 answers=0>"


async def test_listening_twice_is_refused() -> None:
    """The first port stays; closing twice is fine."""
    async with await TlsAlpn01().listen("127.0.0.1", 0) as solver:
        with pytest.raises(UsageStateError):
            await solver.listen("127.0.0.1", 0)
        await solver.close()
        assert solver.port is None
        await solver.close()
