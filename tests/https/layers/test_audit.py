"""The audit log of client certificates."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

import pki
import tlsio
from https_names import VERSIONS, connected, own, serving, trusting

LOGGER = "tlsio.https.audit"
both = pytest.mark.parametrize("version", VERSIONS)


@pytest.fixture(autouse=True)
def _level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)


def lines(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """Return the records of the audit log."""
    return [record for record in caplog.records if record.name == LOGGER]


def facts(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """Return the facts of the only record."""
    [record] = lines(caplog)
    found: dict[str, Any] = vars(record)["audit"]
    return found


async def wait_for_line(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until there is one: the client learns of its refusal first or last."""
    while not lines(caplog):  # noqa: ASYNC110 - a log record is no event
        await asyncio.sleep(0.001)


@both
async def test_an_accepted_certificate_is_one_line_for_all_requests(version: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who it was, by every name, and which server was asked for."""
    agent = pki.leaf("alice", issuer=pki.ca1(), names=["alice.example", "192.0.2.1"], serial_number=0xABC)
    async with serving(**trusting()) as server, connected(server, version, cert=agent.cert_pem, key=agent.key_pem) as client:
        for _ in range(3):
            await client.get("a.example")
        address = f"127.0.0.1:{client.socket.local_port}"
        fingerprint = client.socket.get_certificate()["fingerprint256"].replace(":", "").lower()
    found = facts(caplog)
    assert found["decision"] == "accepted"
    assert found["client"] == address
    assert found["server_name"] == "a.example"
    assert found["subject"].startswith("CN=alice")
    assert found["names"] == ["DNS:alice.example", "IP Address:192.0.2.1"]
    assert found["serial"] == "abc"
    assert found["sha256"] == fingerprint
    assert (found["reason"], found["resumed"]) == (None, False)
    text = lines(caplog)[0].getMessage()
    assert all(part in text for part in ("was accepted", "CN=alice", "serial=abc", fingerprint, "server_name=a.example"))


@both
@pytest.mark.parametrize(
    ("agent", "reason"),
    [
        (pki.leaf("mallory", issuer=pki.ca5()), "UNABLE_TO_VERIFY_LEAF_SIGNATURE"),
        (pki.leaf("late", issuer=pki.ca1(), not_before=pki.NOW - 2 * pki.DAY, not_after=pki.NOW - pki.DAY), "CERT_HAS_EXPIRED"),
        (None, "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE"),
    ],
)
async def test_a_refused_certificate_is_one_line(
    version: str, agent: pki.Identity | None, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With the code of the reason, and what is known of the certificate."""
    options = {} if agent is None else {"cert": agent.cert_pem, "key": agent.key_pem}
    async with serving(**trusting()) as server:
        with pytest.raises((tlsio.TLSError, EOFError)):
            async with connected(server, version, **options) as client:
                await client.get("a.example")
        await wait_for_line(caplog)
    found = facts(caplog)
    assert (found["decision"], found["reason"], found["server_name"]) == ("refused", reason, "a.example")
    assert (found["subject"] is None) == (agent is None)


async def test_the_refusal_of_a_hook_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the code of its exception."""
    agent = pki.client()

    def refuse(_certificate: object, _socket: object) -> Exception:
        return tlsio.CertificateError("left the company", code="ERR_LEFT")

    async with serving(**trusting(check_client=refuse)) as server:
        with pytest.raises((tlsio.TLSError, EOFError)):
            async with connected(server, "2", cert=agent.cert_pem, key=agent.key_pem) as client:
                await client.get("a.example")
        await wait_for_line(caplog)
    found = facts(caplog)
    assert (found["decision"], found["reason"]) == ("refused", "ERR_LEFT")
    assert found["subject"].startswith("CN=client")


async def test_an_unverified_certificate_that_may_stay_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """`reject_unauthorized=False` leaves the decision to the application."""
    agent = pki.leaf("mallory", issuer=pki.ca5())
    options = {"cert": agent.cert_pem, "key": agent.key_pem}
    async with serving(**trusting(reject_unauthorized=False)) as server, connected(server, "2", **options) as client:
        assert await client.get("a.example") == (200, b"a.example")
    found = facts(caplog)
    assert (found["decision"], found["reason"]) == ("unverified", "UNABLE_TO_VERIFY_LEAF_SIGNATURE")


async def test_a_resumed_session_is_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    """It is another connection of that client."""
    agent = pki.client()
    options = {"cert": agent.cert_pem, "key": agent.key_pem}
    sessions: list[bytes] = []
    async with serving(**trusting()) as server:
        async with connected(server, "1.1", **options) as client:
            client.socket.on("session", sessions.append)
            await client.get("a.example")
        async with connected(server, "1.1", **options, session=sessions[-1]) as client:
            assert client.socket.is_session_reused()
            await client.get("a.example")
    assert [vars(one)["audit"]["resumed"] for one in lines(caplog)] == [False, True]
    assert {vars(one)["audit"]["subject"] for one in lines(caplog)} == {vars(lines(caplog)[0])["audit"]["subject"]}


async def test_no_certificate_can_forge_a_line(caplog: pytest.LogCaptureFixture) -> None:
    """Line breaks, control characters and other line separators of a name are escaped, and thousands of names cut."""
    agent = pki.leaf(
        "eve\r\nThe client certificate was accepted: \x1b[2J\u2028", issuer=pki.ca1(), names=[f"n{i}.example" for i in range(50)]
    )
    async with serving(**trusting()) as server, connected(server, "2", cert=agent.cert_pem, key=agent.key_pem) as client:
        await client.get("a.example")
    [record] = lines(caplog)
    assert record.getMessage().isprintable()
    assert facts(caplog)["subject"].isprintable()
    assert len(facts(caplog)["names"]) == 10


async def test_connections_without_certificates_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Where none is asked for, neither success nor failure is a decision."""
    async with serving(**own()) as server:
        async with connected(server, "2") as client:
            await client.get("a.example")
        with pytest.raises(tlsio.TLSError):
            async with connected(server, "2", ca=pki.ca5().cert_pem):
                pass
        while not server.tls_server.stats().handshakes_failed:  # noqa: ASYNC110 - a counter is no event
            await asyncio.sleep(0.001)
    assert not lines(caplog)


async def test_the_failure_is_still_reported_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    """The audit takes nothing from the log of failed handshakes, nor from a listener."""
    caplog.set_level(logging.DEBUG, "tlsio")
    async with serving(**trusting()) as server:
        with pytest.raises((tlsio.TLSError, EOFError)):
            async with connected(server, "2") as client:
                await client.get("a.example")
        await wait_for_line(caplog)
    assert [one for one in caplog.records if one.name == "tlsio" and "handshake failed" in one.getMessage()]


async def test_it_costs_nothing_when_nobody_reads_it(caplog: pytest.LogCaptureFixture) -> None:
    """At another level no socket is made for a failed handshake."""
    caplog.set_level(logging.WARNING, LOGGER)
    async with serving(**trusting()) as server:
        assert not server.tls_server._gate.wants_failures
        with pytest.raises((tlsio.TLSError, EOFError)):
            async with connected(server, "2") as client:
                await client.get("a.example")
    assert not lines(caplog)
