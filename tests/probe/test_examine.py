"""The doctor's manners: progress, order, options, cancellation, plain data."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.x509.oid import NameOID

import pki
import tlsio
from faulty_servers import good, leaf, ours, script, server_hello
from tlsio import probe
from tlsio.interop.fetch import Fetcher

if TYPE_CHECKING:
    from pathlib import Path

CA = pki.ca1().cert_pem


async def test_a_good_server_gives_no_findings() -> None:
    """But its versions, its look and its resumption."""
    steps: list[str] = []
    async with ours() as port:
        seen = await probe.examine("localhost", port, ca=CA, on_progress=steps.append)
    assert seen.findings == ()
    assert seen.versions == ("TLSv1.3", "TLSv1.2")
    assert seen.look is not None
    assert seen.look.socket is None
    assert {name: one.resumed for name, one in seen.resumption.items()} == {"TLSv1.3": True, "TLSv1.2": True}
    assert steps == ["handshake", "certificate", "protocols", "sessions"]


async def test_errors_come_first() -> None:
    """Then warnings, then notices."""
    who = leaf(names=["other.test"], not_after=pki.NOW + 500 * pki.DAY)
    async with ours(who, max_version="TLSv1.2") as port:
        seen = await probe.examine("localhost", port, ca=CA)
    assert [(one.id, one.severity) for one in seen.findings] == [("wrong-host", "error"), ("lifetime", "warning"), ("no-tls13", "notice")]
    assert all(one.reason.endswith(".") and one.remedy for one in seen.findings)


async def test_all_of_it_is_plain_data() -> None:
    """For JSON."""
    async with ours(pki.self_signed()) as port:
        seen = await probe.examine("localhost", port, ca=CA)
    data = json.loads(json.dumps(seen.as_json()))
    assert data["findings"][0]["id"] == "self-signed"
    assert data["look"]["chain"][0]["subject"].startswith("CN=localhost")


async def test_http_is_asked_for_when_it_was_agreed_on() -> None:
    """Not else: other protocols are left alone."""
    heard: list[bytes] = []

    async def listener(sock: tlsio.TLSSocket) -> None:
        async for chunk in sock:
            heard.append(chunk)
            await sock.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    who = good()
    async with tlsio.serve(
        listener, 0, "127.0.0.1", cert=who.chain_pem, key=who.key_pem, alpn_protocols=["h2", "http/1.1"], alpn_mismatch="continue"
    ) as server:
        assert server.port is not None
        seen = await probe.examine("localhost", server.port, ca=CA)
        assert (seen.findings, heard) == ((), [])
        seen = await probe.examine("localhost", server.port, ca=CA, alpn_protocols=["h2"])
    assert [one.id for one in seen.findings] == ["hsts-missing"]
    assert b"Host: localhost\r\n" in heard[0]


async def test_wrong_options_raise() -> None:
    """They are no findings about the server."""
    with pytest.raises(tlsio.UsageError):
        await probe.examine("localhost", 1, certificate="x")  # type: ignore[call-arg]
    with pytest.raises(tlsio.UsageError):
        await probe.examine("localhost", 1, starttls="gopher")
    with pytest.raises(tlsio.ConfigError):
        await probe.examine("localhost", 1, cert=good().cert_pem, key=leaf().key_pem)


@pytest.mark.parametrize("function", [probe.examine, probe.connect, probe.measure])
@pytest.mark.parametrize("value", ["1", None, 0, -1.0, float("nan"), True])
async def test_timeout_must_be_seconds(function: Any, value: Any) -> None:
    """Nothing connects: port 1 would be refused, which is an OSError or a finding."""
    with pytest.raises(tlsio.UsageError, match=r"^timeout must be"):
        await function("localhost", 1, timeout=value)


@pytest.mark.parametrize(
    ("function", "name", "value"),
    [
        (probe.examine, "at", pki.NOW.replace(tzinfo=None)),
        (probe.examine, "at", "2026-01-01"),
        (probe.examine, "fetch", 1),
        (probe.examine, "on_progress", 1),
        (probe.measure, "on_cancel", 1),
        (probe.measure, "on_progress", 1),
        (probe.measure, "seconds", None),
        (probe.measure, "seconds", "1"),
    ],
)
async def test_argument_of_the_wrong_type_is_a_usage_error(function: Any, name: str, value: Any) -> None:
    """It names the argument, before anything connects."""
    with pytest.raises(tlsio.UsageTypeError, match=rf"^{name} must be"):
        await function("localhost", 1, **{name: value})


@pytest.mark.parametrize("version", [0x0000, 0x0002, 0x0203])
async def test_a_version_that_does_not_exist_is_not_tls(version: int) -> None:
    """The server chose it, and every number is below those that were offered."""
    answer = server_hello()[:9] + version.to_bytes(2, "big") + server_hello()[11:]
    async with script(lambda _: answer) as port:
        seen = await probe.examine("localhost", port, ca=CA, timeout=1.0)
    assert ([one.id for one in seen.findings], seen.versions) == (["not-tls"], ())


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/crl", "http://user:password@127.0.0.1/crl", "ldap://127.0.0.1/crl"])
async def test_a_list_that_cannot_be_fetched_is_one_finding(url: str) -> None:
    """The certificate chose the address, and the examination goes on."""
    points = pki.x509.DistributionPoint([pki.x509.UniformResourceIdentifier(url)], None, None, None)
    who = pki.leaf("localhost", names=["localhost"], issuer=pki.ca1(), extensions=[pki.x509.CRLDistributionPoints([points])])
    async with ours(who) as port:
        seen = await probe.examine("localhost", port, ca=CA, fetch=Fetcher().get)
    assert [one.id for one in seen.findings if one.severity != "notice"] == ["lifetime", "crl-unavailable"]
    assert seen.versions == ("TLSv1.3", "TLSv1.2")


async def test_root_with_the_name_of_a_trusted_one_is_an_unknown_root() -> None:
    """As after `tlsio dev init` for the second time; no intermediate is wrong."""
    namesake = pki.authority(str(pki.ca1().certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value))
    async with ours(leaf(issuer=namesake)) as port:
        [error, *_] = (await probe.examine("localhost", port, ca=CA)).findings
    assert error.id == "unknown-root"
    assert "another authority of that name" in error.reason


async def test_untrusted_certificate_with_the_name_in_the_subject_is_for_the_host() -> None:
    """It is the right server with a certificate of an old form; nothing intercepts."""
    who = pki.leaf("localhost", names=[], issuer=pki.authority("other"))
    async with ours(who) as port:
        seen = await probe.examine("localhost", port, ca=CA)
    ids = {one.id for one in seen.findings}
    assert "name-only-in-cn" in ids
    assert "other-server" not in ids


async def test_authority_for_development_is_recognised() -> None:
    """Its root is not an intermediate that the server forgot."""
    who = leaf(issuer=pki.authority("tlsio dev ada@press"))
    async with ours(who, chain=who.cert_pem) as port:
        [error, *_] = (await probe.examine("localhost", port, ca=CA)).findings
    assert error.id == "unknown-root"
    assert "`tlsio dev where`" in error.remedy
    assert "ca=" in error.remedy


async def test_issuer_that_was_not_sent_may_be_a_private_root() -> None:
    """Only the user knows, so the remedy names both."""
    async with ours(chain=good().cert_pem) as port:
        [error, *_] = (await probe.examine("localhost", port, ca=CA)).findings
    assert error.id == "missing-intermediate"
    assert "trust it with ca=" in error.remedy
    assert "intermediate" in error.remedy


@pytest.mark.parametrize("option", ["ca", "extra_ca", "cert"])
async def test_missing_file_raises(option: str, tmp_path: Path) -> None:
    """It is not a finding about the server."""
    async with ours() as port:
        with pytest.raises(FileNotFoundError) as caught:
            await probe.examine("localhost", port, **{option: tmp_path / "nope.pem"})
    assert caught.value.filename == str(tmp_path / "nope.pem")


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.02, 0.05])
async def test_cancelling_leaves_nothing_open(delay: float) -> None:
    """Wherever it happens; the test's end looks for descriptors and tasks."""
    async with ours(request_cert=True, reject_unauthorized=False, ca=CA) as port:
        task = asyncio.create_task(probe.examine("localhost", port, ca=CA))
        await asyncio.sleep(delay)
        task.cancel()
        await asyncio.wait([task])


async def test_a_server_that_answers_by_script_is_no_trouble() -> None:
    """It says the same to everything."""
    async with script(lambda _: server_hello() * 3) as port:
        seen = await probe.examine("localhost", port, ca=CA, timeout=1.0)
    assert "secure-renegotiation" in {one.id for one in seen.findings}


async def test_an_identity_stands_for_the_host() -> None:
    """It may have no name of a host, as in `tlsio.connect`; and a custom check stands for both."""
    uri = "spiffe://plant.example/press"
    who = pki.leaf(
        "press", names=[], issuer=pki.ca1(), extensions=[pki.x509.SubjectAlternativeName([pki.x509.UniformResourceIdentifier(uri)])]
    )
    async with ours(who) as port:
        for options in ({"identity": uri}, {"check_server_identity": lambda _name, cert: tlsio.check_uri_identity(uri, cert)}):
            seen = await probe.examine("localhost", port, ca=CA, **options)
            assert "wrong-identity" not in {one.id for one in seen.findings}
            assert not [one for one in seen.findings if one.severity == "error"]
        [error, *_] = (await probe.examine("localhost", port, ca=CA, identity=uri + "2")).findings
    assert (error.id, error.severity) == ("wrong-identity", "error")
    assert f"{uri}2 is not in the cert's list: {uri}" in error.reason
    assert "identity=" in error.remedy


async def test_what_an_option_requires_is_a_finding() -> None:
    """`tlsio.connect` would refuse the server with the same options."""
    points = pki.x509.DistributionPoint([pki.x509.UniformResourceIdentifier("http://ca.test/crl")], None, None, None)
    who = pki.leaf("localhost", names=["localhost"], issuer=pki.ca1(), extensions=[pki.x509.CRLDistributionPoints([points])])

    async def fetch(_url: str) -> bytes:
        return pki.revocation_list(pki.ca1(), revoked=[who], encoding=pki.DER)

    cases: list[tuple[dict[str, Any], str]] = [
        ({"ocsp": "require"}, "not-trusted"),
        ({"fetch_crl": tlsio.CrlCache("require", fetch=fetch)}, "revoked"),
    ]
    async with ours(who) as port:
        for options, wanted in cases:
            seen = await probe.examine("localhost", port, ca=CA, **options)
            assert [one.id for one in seen.findings if one.severity == "error"] == [wanted]
        seen = await probe.examine("localhost", port, ca=CA)
        assert not [one for one in seen.findings if one.severity == "error"]
