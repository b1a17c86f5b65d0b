"""`chain_policy="strict"` and `identity=`, live: what a client accepts beside OpenSSL's defaults and host names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

WEB = "spiffe://example.org/web"


def workload(uri: str = WEB, usages: Any = (), issuer: pki.Identity | None = None) -> pki.Identity:
    """Make a certificate with a URI and no host name, by ca1."""
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
    return pki.leaf("workload", issuer=issuer or pki.ca1(), usages=usages, extensions=[names])


def greet(sock: tlsio.TLSSocket) -> None:
    """Send one line."""
    sock.end(b"hello\n")


async def code_of(net: Net, who: pki.Identity, **options: Any) -> str | None:
    """Return the code of the error with which a client refuses a server, None if it does not."""
    async with net.serve(greet, cert=who.chain_pem, key=who.key_pem) as made:
        try:
            sock = await net.connect(made, **options)
        except tlsio.CertificateError as error:
            return error.code
        assert await sock.readline() == b"hello\n"
        sock.destroy()
        await sock.wait_closed()
        return None


def root_without_ski() -> pki.Identity:
    """Make a chain whose intermediate has no subjectKeyIdentifier."""
    key = pki.ec.generate_private_key(pki.ec.SECP256R1())
    builder = x509.CertificateBuilder().subject_name(pki._subject("no ski", ())).issuer_name(pki.ca1().certificate.subject)
    builder = builder.public_key(key.public_key()).serial_number(9).not_valid_before(pki.NOW).not_valid_after(pki.NOW + 30 * pki.DAY)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(pki._key_usage(certificates=True), critical=True)
    above = x509.AuthorityKeyIdentifier.from_issuer_public_key(pki.ca1().key.public_key())
    made = builder.add_extension(above, critical=False).sign(pki.ca1().key, pki.hashes.SHA256())
    return pki.leaf("localhost", issuer=pki.Identity(key, made), names=["localhost", "127.0.0.1"])


@pytest.mark.parametrize(
    ("make", "strict"),
    [
        (pki.localhost, None),
        (pki.chained, None),
        (root_without_ski, "UNSPECIFIED"),  # OpenSSL's: Node has no code for it
        (pki.name_in_cn_only, "ERR_TLS_CERTIFICATE_PROFILE"),  # only cryptography's
    ],
)
async def test_strict_refuses_what_either_refuses(net: Net, make: Callable[[], pki.Identity], strict: str | None) -> None:
    """By default all of these are accepted."""
    assert await code_of(net, make()) is None
    assert await code_of(net, make(), chain_policy="strict") == strict


async def test_strict_error_names_the_fault(net: Net) -> None:
    """And the certificate."""
    who = root_without_ski()
    async with net.serve(greet, cert=who.chain_pem, key=who.key_pem) as made:
        with pytest.raises(tlsio.CertificateError, match='Missing Subject Key Identifier: "CN=no ski') as caught:
            await net.connect(made, chain_policy="strict")
        assert "ERR_TLS_CERTIFICATE_PROFILE" in caught.value.reasons or caught.value.reasons == ("UNSPECIFIED",)
        assert "has to be reissued" in (caught.value.hint or "")


async def test_strict_without_verification_reports(net: Net) -> None:
    """`reject_unauthorized=False` accepts, and says why it would not have."""
    who = pki.name_in_cn_only()
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as made:
        sock = await net.connect(made, chain_policy="strict", reject_unauthorized=False)
        assert (sock.authorized, sock.authorization_error) == (False, "ERR_TLS_CERTIFICATE_PROFILE")
        sock.destroy()
        await sock.wait_closed()


async def test_session_of_another_policy_is_not_resumed(net: Net) -> None:
    """Its chain was not judged so strictly."""
    who, cache = pki.localhost(), tlsio.ClientSessionCache()
    async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as made:
        resumed = []
        for policy in ("openssl", "openssl", "strict", "strict"):
            sock = await net.connect(made, chain_policy=policy, session_cache=cache)
            await sock.read()
            resumed.append(sock.is_session_reused())
            sock.destroy()
            await sock.wait_closed()
        assert resumed == [False, True, False, True]


class TestIdentity:
    """A URI in the place of the host name."""

    async def test_the_right_workload_is_accepted(self, net: Net) -> None:
        """Its certificate has no host name at all."""
        assert await code_of(net, workload(), identity=WEB) is None
        assert await code_of(net, workload()) == "ERR_TLS_CERT_ALTNAME_INVALID"

    async def test_another_workload_is_refused(self, net: Net) -> None:
        """And so is a host of the right name."""
        assert await code_of(net, workload("spiffe://example.org/db"), identity=WEB) == "ERR_TLS_CERT_ALTNAME_INVALID"
        assert await code_of(net, pki.localhost(), identity=WEB) == "ERR_TLS_CERT_ALTNAME_INVALID"

    async def test_the_chain_is_verified_as_ever(self, net: Net) -> None:
        """Anyone can write a URI into a certificate."""
        assert await code_of(net, workload(issuer=pki.ca5()), identity=WEB) == "UNABLE_TO_VERIFY_LEAF_SIGNATURE"

    async def test_with_the_strict_policy(self, net: Net) -> None:
        """`cryptography` knows no URIs, and judges the rest."""
        server = workload(usages=[ExtendedKeyUsageOID.SERVER_AUTH])
        assert await code_of(net, server, identity=WEB, chain_policy="strict") is None
        client = workload(usages=[ExtendedKeyUsageOID.CLIENT_AUTH])
        assert await code_of(net, client, identity=WEB, chain_policy="strict") == "INVALID_PURPOSE"

    async def test_a_session_belongs_to_one_identity(self, net: Net) -> None:
        """Another one is not resumed."""
        who, cache = workload(), tlsio.ClientSessionCache()
        async with net.serve(greet, cert=who.cert_pem, key=who.key_pem) as made:
            resumed = []
            for _ in range(2):
                sock = await net.connect(made, identity=WEB, session_cache=cache)
                await sock.read()
                resumed.append(sock.is_session_reused())
                sock.destroy()
                await sock.wait_closed()
            assert resumed == [False, True]
            with pytest.raises(tlsio.CertificateAltNameError):
                await net.connect(made, identity="spiffe://example.org/db", session_cache=cache)

    async def test_a_server_checks_clients(self, net: Net) -> None:
        """With the same function, in `check_client`."""

        def check(certificate: Any, _socket: tlsio.TLSSocket) -> Exception | None:
            return tlsio.check_uri_identity(WEB, certificate)

        who = pki.localhost()
        options = {"ca": pki.ca1().cert_pem, "request_cert": True, "check_client": check}
        async with net.serve(greet, cert=who.cert_pem, key=who.key_pem, **options) as made:
            right, wrong = workload(), workload("spiffe://example.org/db")
            sock = await net.connect(made, cert=right.cert_pem, key=right.key_pem)
            assert await sock.readline() == b"hello\n"
            sock.destroy()
            await sock.wait_closed()
            told, heard = await net.refused(made, cert=wrong.cert_pem, key=wrong.key_pem)
            assert isinstance(told, tlsio.CertificateAltNameError)
            assert isinstance(heard, tlsio.AlertReceived)

    @pytest.mark.parametrize("left_out", ["identity", "identity_policy", "check_server_identity"])
    def test_with_another_comparison_raises(self, left_out: str) -> None:
        """One of them would be ignored. The policy that is the default anyway may be given."""
        options: dict[str, Any] = {"identity": WEB, "identity_policy": "rfc9525", "check_server_identity": lambda _host, _cert: None}
        del options[left_out]
        with pytest.raises(tlsio.UsageTypeError) as caught:
            tlsio.connect(443, "localhost", **options)
        assert caught.value.code == "ERR_INCOMPATIBLE_OPTION_PAIR"
