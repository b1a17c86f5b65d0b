"""Options that look as if they protected a server, and certificates of its own that fail: what is refused, what is logged."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

import pki
import tlsio

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Net

NOT_REQUESTED = "ERR_TLS_CERT_NOT_REQUESTED"
GUARDS: dict[str, Callable[[], Any]] = {
    "pins": lambda: [bytes(32)],
    "crl": pki.ca1_crl,
    "check_client": lambda: lambda *_: None,
    "fetch_crl": lambda: "check",
}


def identity(who: pki.Identity | None = None, **options: Any) -> dict[str, Any]:
    """Return the options of a server."""
    who = who or pki.localhost()
    return {"cert": who.chain_pem, "key": who.key_pem, **options}


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """Return what the logger `tlsio` has warned of since the last call."""
    caplog.set_level(logging.WARNING, logger="tlsio")

    def take() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == "tlsio"]
        caplog.clear()
        return found

    return take


# --- guards without a request ---


@pytest.mark.parametrize("guard", list(GUARDS))
def test_guard_without_a_request_is_refused(guard: str) -> None:
    """It could not refuse any client; the remedy is named."""
    given = identity(**{guard: GUARDS[guard]()}, ca=pki.ca1().cert_pem)
    with pytest.raises(tlsio.ConfigError, match=f"{guard}= was given") as caught:
        tlsio.create_server(**given)
    assert caught.value.code == NOT_REQUESTED
    assert "request_cert=True" in str(caught.value.hint)
    for request in (True, False):
        tlsio.create_server(**given, request_cert=request)


@pytest.mark.parametrize("guard", ["pins", "crl"])
def test_guard_of_a_given_context_is_judged_by_the_server(guard: str) -> None:
    """A client's context may have it; a server that takes the context may not."""
    context = tlsio.create_secure_context(**identity(**{guard: GUARDS[guard]()}, ca=pki.ca1().cert_pem))
    with pytest.raises(tlsio.ConfigError) as caught:
        tlsio.create_server(secure_context=context)
    assert caught.value.code == NOT_REQUESTED
    with pytest.raises(tlsio.ConfigError):
        tlsio.create_secure_pair(context, is_server=True)
    tlsio.create_secure_pair(context, is_server=True, request_cert=False)


def test_guard_of_a_pair_is_judged_too() -> None:
    """Its server requests no certificate either unless it is told to."""
    with pytest.raises(tlsio.ConfigError):
        tlsio.create_secure_pair(is_server=True, **identity(pins=[bytes(32)]))
    for request in (True, False):
        tlsio.create_secure_pair(is_server=True, request_cert=request, **identity(pins=[bytes(32)]))


def test_guard_of_a_name_is_judged_after_merging() -> None:
    """What the server says about requests holds for its names too."""
    silent, asking = tlsio.create_server(**identity()), tlsio.create_server(**identity(ca=pki.ca1().cert_pem, request_cert=True))
    asking.add_context("a.example", {"pins": [bytes(32)]})
    with pytest.raises(tlsio.ConfigError):
        silent.add_context("a.example", {"pins": [bytes(32)]})
    silent.add_context("a.example", {"pins": [bytes(32)], "request_cert": True, "ca": pki.ca1().cert_pem})


def test_reload_with_a_guard_changes_nothing() -> None:
    """The error comes before anything is replaced."""
    server = tlsio.create_server(**identity())
    key = server.get_ticket_keys()
    with pytest.raises(tlsio.ConfigError):
        server.set_secure_context(pins=[bytes(32)], ticket_keys=bytes(48))
    assert server.get_ticket_keys() == key
    server.set_secure_context(pins=[bytes(32)], request_cert=True, ca=pki.ca1().cert_pem)


def test_hook_that_is_set_later_is_judged_too() -> None:
    """`on("check_client")` is the same option."""
    server = tlsio.create_server(**identity())
    with pytest.raises(tlsio.ConfigError):
        server.on("check_client", lambda *_: None)
    server.set_secure_context(request_cert=False)
    server.on("check_client", lambda *_: None)


async def test_guard_in_the_answer_of_sni_callback_refuses_the_client(net: Net, warnings: Callable[[], list[str]]) -> None:
    """The handshake fails closed, and the log names the option, once."""
    given = net.server_options(sni_callback=lambda *_: {"pins": [bytes(32)]})
    del given["request_cert"]
    given["request_cert"] = None
    async with net.serve(**given) as server:
        for _ in range(2):
            ours, theirs = await net.refused(server)
            assert (getattr(ours, "code", None), theirs.alert) == (NOT_REQUESTED, "internal_error")
    found = warnings()
    assert len(found) == 1
    assert "pins= was given" in found[0]
    assert "this server's own fault" in found[0]


# --- trust ---


def test_ca_without_a_request_is_warned_of_once(warnings: Callable[[], list[str]]) -> None:
    """It may be meant for the server's own chain; an explicit False says so."""
    server = tlsio.create_server(**identity(ca=pki.ca1().cert_pem))
    server.add_context("a.example", {})
    server.set_secure_context(ca=[pki.ca1().cert_pem, pki.ca2().cert_pem])
    found = warnings()
    assert len(found) == 1
    assert "ca= was given to a server that requests no client certificate" in found[0]
    tlsio.create_server(**identity(ca=pki.ca1().cert_pem, request_cert=False))
    tlsio.create_server(**identity(ca=pki.ca1().cert_pem, request_cert=True))
    assert warnings() == []


def test_default_roots_for_clients_are_warned_of(warnings: Callable[[], list[str]]) -> None:
    """Any public CA could vouch for a client, unless a pin names its key."""
    tlsio.create_server(**identity(request_cert=True))
    assert "any public CA can vouch for a client" in warnings()[0]
    tlsio.create_server(**identity(request_cert=True, pins=[bytes(32)]))
    assert warnings() == []


# --- the server's own certificate ---


def lasting(begins: int, ends: int) -> pki.Identity:
    """Make a certificate whose validity begins and ends so many hours from now."""
    hour = pki.DAY / 24
    return pki.leaf("localhost", issuer=pki.ca1(), not_before=pki.NOW + begins * hour, not_after=pki.NOW + ends * hour)


@pytest.mark.parametrize(
    ("who", "text"),
    [
        (pki.expired, "expired on"),
        (pki.not_yet_valid, "is not valid before"),
        (lambda: lasting(-2000, 71), "expires on"),
        (lambda: lasting(-2000, 74), ""),
        (lambda: lasting(-24, 24), ""),
        (lambda: lasting(-20, 6), "expires on"),
        (pki.localhost, ""),
    ],
    ids=["expired", "not yet valid", "ends soon", "ends later", "short", "short, near its end", "good"],
)
def test_validity_of_the_own_certificate(warnings: Callable[[], list[str]], who: Callable[[], pki.Identity], text: str) -> None:
    """Clients refuse it, or soon will: the log has the date."""
    tlsio.create_server(**identity(who()))
    found = warnings()
    assert [text in one and " UTC" in one for one in found] == ([True] if text else [])


def places() -> x509.AuthorityInformationAccess:
    """Return where a public CA's certificate could be fetched."""
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.example/ca.cer"))]
    )


def test_chain_without_its_intermediate_is_warned_of(warnings: Callable[[], list[str]]) -> None:
    """Only where the certificate says that its issuer can be fetched, as those of public CAs do."""
    who = pki.leaf("localhost", issuer=pki.ca3(), extensions=[places()])
    alone = {"cert": who.cert_pem, "key": who.key_pem}
    tlsio.create_server(**alone)
    found = warnings()
    assert len(found) == 1
    assert '"O=tlsio tests, CN=ca3"' in found[0] or "ca3" in found[0]
    for fine in (identity(who), identity(pki.missing_intermediate()), identity(pki.self_signed())):
        tlsio.create_server(**fine)
    tlsio.create_server(**alone, ca=[pki.ca3().cert_pem, pki.ca1().cert_pem], request_cert=False)  # completed from ca=
    assert warnings() == []


def old_list() -> dict[str, Any]:
    """Return the options of a server whose list has expired."""
    old = pki.revocation_list(pki.ca1(), revoked=[], last_update=pki.NOW - 2 * pki.DAY, next_update=pki.NOW - pki.DAY)
    return identity(ca=pki.ca1().cert_pem, crl=old, request_cert=True)


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        (lambda: identity(pki.expired()), "Renew it, and have the source in secure_context= return the new one."),
        (lambda: identity(lasting(-2000, 71)), "Renew it, and have the source in secure_context= return the new one."),
        (old_list, "Have the source in secure_context= return the current one."),
    ],
    ids=["expired", "ends soon", "list"],
)
async def test_source_is_to_return_what_is_valid(
    net: Net, warnings: Callable[[], list[str]], options: Callable[[], dict[str, Any]], advice: str
) -> None:
    """`set_secure_context` raises on a server with a source."""
    made = tlsio.create_secure_context(**options())

    class Source:
        def context_for(self, _name: str | None, /) -> tlsio.SecureContext:
            return made

    async with net.serve(cert=None, key=None, secure_context=Source()) as server:
        with contextlib.suppress(tlsio.TLSError):
            sock = await net.connect(server)
            sock.on("error", lambda _error: None)  # the server may have refused already
            sock.destroy()
            await sock.wait_closed()
        found = warnings()
    assert [one for one in found if one.endswith(advice)]
    assert not [one for one in found if "set_secure_context" in one]


def test_reload_is_judged_too(warnings: Callable[[], list[str]]) -> None:
    """The certificate that is installed at run time, and that of a name."""
    server = tlsio.create_server(**identity())
    server.set_secure_context(**identity(pki.expired()))
    assert "expired on" in warnings()[0]
    server.add_context("a.example", identity(pki.not_yet_valid()))
    assert "is not valid before" in warnings()[0]


async def test_server_without_a_certificate(net: Net, warnings: Callable[[], list[str]]) -> None:
    """It is warned of when it starts; a client's failure is the server's fault, and logged once."""
    async with net.serve(cert=None, key=None) as server:
        for _ in range(2):
            with pytest.raises(tlsio.TLSError):
                await net.connect(server)
    found = warnings()
    assert [text for text in found if "This server has no certificate" in text]
    assert len([text for text in found if "no certificate is configured" in text]) == 1
    assert len(found) == 2


@pytest.mark.parametrize("source", ["sni_callback", "psk_callback", "add_context"])
async def test_other_sources_of_certificates_are_no_reason_to_warn(warnings: Callable[[], list[str]], source: str) -> None:
    """A hook, keys or a name may serve every client there is."""
    options: dict[str, Any] = {source: lambda *_: None} if source != "add_context" else {}
    server = tlsio.create_server(**options)
    if source == "add_context":
        server.add_context("a.example", identity())
    async with server:
        await server.listen(0, "127.0.0.1")
    assert warnings() == []


# --- while serving ---


async def test_exception_of_a_hook_is_logged_once(net: Net, warnings: Callable[[], list[str]]) -> None:
    """Each kind of it, although a listener hears every one."""
    errors: list[Exception] = [KeyError("no such tenant"), KeyError("no such tenant"), tlsio.UsageError("another kind")]

    def choose(*_args: object) -> None:
        raise errors.pop()

    async with net.serve(sni_callback=choose) as server:
        for _ in range(3):
            await net.refused(server)
    found = warnings()
    assert len(found) == 2
    assert "another kind" in found[0]
    assert "no such tenant" in found[1]
