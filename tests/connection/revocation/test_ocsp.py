"""OCSP over live connections: what a server is asked and staples, what a client makes of it."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import pki
import tlsio
from asn1 import split
from net import Net, once
from responses import REVOKED, enclose, respond
from sessions import greet, visit
from tlsio.native._core import openssl_version
from tlsio.trust.ocsp import MAX_RESPONSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from net import Driver, Pair

ANY = enclose(b"any answer")
LONGEST = enclose(bytes(2 * MAX_RESPONSE - len(enclose(bytes(MAX_RESPONSE)))))

Asked = list[tuple[bytes, bytes | None, Any]]


def stapling(response: bytes | None, asked: Asked | None = None) -> Callable[..., bytes | None]:
    """Return a hook that answers with `response` and notes what it was asked."""

    def answer(certificate: bytes, issuer: bytes | None, sock: tlsio.TLSSocket) -> bytes | None:
        if asked is not None:
            asked.append((certificate, issuer, sock))
        return response

    return answer


def listen(heard: list[bytes | None]) -> dict[str, Any]:
    """Return client options that ask for a response and note what comes."""
    return {"request_ocsp": True, "on": {"ocsp_response": heard.append}}


class TestHook:
    """`ocsp_request` of servers."""

    async def test_staples_what_the_hook_gives(self, pair: Pair) -> None:
        """It is told the certificate that will be shown, its issuer, and the socket."""
        asked: Asked = []
        heard: list[bytes | None] = []
        who = pki.localhost()
        async with pair(server={"ocsp_request": stapling(ANY, asked), "ca": pki.ca1().cert_pem}, client=listen(heard)) as (
            client,
            peer,
            _,
        ):
            assert heard == [ANY]
            assert asked == [(who.cert_der, pki.ca1().cert_der, peer)]
            client.write(b"hello")
            assert await peer.read() == b"hello"

    async def test_async_hook(self, pair: Pair) -> None:
        """The handshake waits for it."""
        heard: list[bytes | None] = []

        async def answer(_certificate: bytes, _issuer: bytes | None, _socket: tlsio.TLSSocket) -> bytes:
            await asyncio.sleep(0)
            return ANY

        async with pair(server={"ocsp_request": answer}, client=listen(heard)):
            assert heard == [ANY]

    async def test_none_is_nothing(self, pair: Pair) -> None:
        """The client hears that there is none."""
        heard: list[bytes | None] = []
        async with pair(server={"ocsp_request": stapling(None)}, client=listen(heard)):
            assert heard == [None]

    async def test_client_that_does_not_want_one(self, pair: Pair) -> None:
        """Nobody is asked."""
        asked: Asked = []
        async with pair(server={"ocsp_request": stapling(ANY, asked)}):
            assert asked == []

    async def test_without_hook(self, pair: Pair) -> None:
        """The client is told of nothing."""
        heard: list[bytes | None] = []
        async with pair(client=listen(heard)):
            assert heard == [None]

    async def test_issuer_is_none_when_nobody_knows_it(self, pair: Pair) -> None:
        """Neither in the chain nor in `ca`, as in Node; and of a self-signed one."""
        asked: Asked = []
        async with pair(server={"ocsp_request": stapling(ANY, asked), "ca": []}, client={"request_ocsp": True}):
            assert asked[0][1] is None
        alone = pki.self_signed()
        options = {"ocsp_request": stapling(ANY, asked), "cert": alone.cert_pem, "key": alone.key_pem, "ca": alone.cert_pem}
        async with pair(server=options, client={"request_ocsp": True, "ca": alone.cert_pem}):
            assert asked[1][:2] == (alone.cert_der, None)

    async def test_issuer_from_the_chain(self, pair: Pair) -> None:
        """What is sent along is looked at first."""
        asked: Asked = []
        who = pki.chained()
        options = {"ocsp_request": stapling(ANY, asked), "cert": who.chain_pem, "key": who.key_pem}
        async with pair(server=options, client={"request_ocsp": True}):
            assert asked[0][:2] == (who.cert_der, pki.ca3().cert_der)

    async def test_several_identities(self, net: Net) -> None:
        """Each is asked about, since it is not known yet which the client is shown; it gets the one of that."""
        asked: Asked = []
        one, other = pki.localhost(), pki.localhost_rsa()
        responses = {one.cert_der: enclose(b"for EC"), other.cert_der: enclose(b"for RSA")}

        def answer(certificate: bytes, issuer: bytes | None, sock: tlsio.TLSSocket) -> bytes:
            asked.append((certificate, issuer, sock))
            return responses[certificate]

        async with net.serve(cert=[one.cert_pem, other.cert_pem], key=[one.key_pem, other.key_pem], ocsp_request=answer) as server:
            for sigalgs in (None, "RSA-PSS+SHA256"):
                heard: list[bytes | None] = []
                asked.clear()
                sock = await net.connect(server, sigalgs=sigalgs, **listen(heard))
                assert heard == [responses[sock.get_peer_certificate()["raw"]]]  # type: ignore[index]
                assert {one[0] for one in asked} == set(responses)
                assert len(asked) == 2
                sock.destroy()

    async def test_certificate_of_the_name(self, net: Net) -> None:
        """After the switch by SNI."""
        asked: Asked = []
        other = pki.wildcard()
        async with net.serve(ocsp_request=stapling(ANY, asked)) as server:
            server.add_context("*.example.com", {"cert": other.cert_pem, "key": other.key_pem})
            sock = await net.connect(server, servername="a.example.com", request_ocsp=True)
            assert asked[0][0] == other.cert_der
            sock.destroy()

    async def test_certificate_of_sni_callback(self, net: Net) -> None:
        """Both hooks are async: one after the other."""
        asked: Asked = []
        other = pki.wildcard()

        async def choose(_name: str, _socket: tlsio.TLSSocket) -> dict[str, Any]:
            await asyncio.sleep(0)
            return {"cert": other.cert_pem, "key": other.key_pem}

        async with net.serve(ocsp_request=stapling(ANY, asked), sni_callback=choose) as server:
            heard: list[bytes | None] = []
            sock = await net.connect(server, servername="a.example.com", **listen(heard))
            assert (asked[0][0], heard) == (other.cert_der, [ANY])
            sock.destroy()

    @pytest.mark.skipif(openssl_version >= "OpenSSL 4", reason="OpenSSL 4.0 does not support the group secp256k1")
    async def test_certificate_that_tls_1_3_does_not_know(self, driver: Driver) -> None:
        """The version is what it would be without the hook."""
        who = pki.leaf("localhost", issuer=pki.ca1(), key=ec.generate_private_key(ec.SECP256K1()), names=["localhost"])
        heard: list[bytes | None] = []
        groups = "X25519:secp256k1:P-256"
        net = Net(driver, "TLSv1.2")
        async with net.serve(
            cert=who.cert_pem, key=who.key_pem, max_version="TLSv1.3", ecdh_curve=groups, ocsp_request=stapling(ANY)
        ) as server:
            sock = await net.connect(server, max_version="TLSv1.3", ecdh_curve=groups, **listen(heard))
            assert (sock.get_protocol(), heard) == ("TLSv1.2", [ANY])
            sock.destroy()

    async def test_without_any_certificate(self, net: Net) -> None:
        """It fails as without the hook, which is not asked."""
        asked: Asked = []
        async with net.serve(cert=None, key=None, ocsp_request=stapling(ANY, asked)) as server:
            told, got = await net.refused(server, request_ocsp=True)
        assert told.hint == "Give cert= and key=."  # type: ignore[attr-defined]
        assert got.alert == {"TLSv1.2": "handshake_failure", "TLSv1.3": "protocol_version"}[net.version]
        assert asked == []

    async def test_set_and_taken_away_by_on_and_off(self, net: Net) -> None:
        """For later connections."""
        heard: list[bytes | None] = []
        hook = stapling(ANY)
        async with net.serve() as server:
            server.on("ocsp_request", hook)
            (await net.connect(server, **listen(heard))).destroy()
            server.off("ocsp_request", hook)
            (await net.connect(server, **listen(heard))).destroy()
        assert heard == [ANY, None]

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            ("text", "ERR_INVALID_ARG_TYPE"),
            (True, "ERR_INVALID_ARG_TYPE"),
            (b"", "ERR_OUT_OF_RANGE"),
            (bytes(MAX_RESPONSE + 1), "ERR_OUT_OF_RANGE"),
            (b"nonsense", "ERR_INVALID_ARG_VALUE"),
            (b64encode(respond(pki.localhost())), "ERR_INVALID_ARG_VALUE"),
            (split(respond(pki.localhost()))[0], "ERR_INVALID_ARG_VALUE"),
            (respond(pki.localhost()) + b"\n", "ERR_INVALID_ARG_VALUE"),
            (b"\x30\x80" + split(respond(pki.localhost()))[0] + b"\0\0", "ERR_INVALID_ARG_VALUE"),
        ],
        ids=["text", "bool", "empty", "too long", "nonsense", "base64", "content", "more behind it", "BER"],
    )
    async def test_wrong_answer(self, net: Net, answer: Any, code: str) -> None:
        """The handshake ends, closed, whatever this OpenSSL would make of it: from 3.6 on it sends only what it can read."""
        async with net.serve(ocsp_request=stapling(answer)) as server:
            told, got = await net.refused(server, request_ocsp=True)
            assert (told.code, told.alert) == (code, "internal_error")  # type: ignore[attr-defined]
            assert got.alert == "internal_error"

    async def test_longest_answer(self, net: Net) -> None:
        """In TLS 1.2 a byte more would be refused by OpenSSL's clients."""
        heard: list[bytes | None] = []
        async with net.serve(ocsp_request=stapling(LONGEST)) as server:
            (await net.connect(server, **listen(heard))).destroy()
        assert len(LONGEST) == MAX_RESPONSE
        assert heard == [LONGEST]

    async def test_hook_that_raises(self, net: Net) -> None:
        """With the alert it asks for."""

        async def answer(_certificate: bytes, _issuer: bytes | None, _socket: tlsio.TLSSocket) -> bytes:
            raise tlsio.HandshakeError("not today", alert="unrecognized_name")

        async with net.serve(ocsp_request=answer) as server:
            told, got = await net.refused(server, request_ocsp=True)
            assert (str(told), got.alert) == ("not today [ERR_TLS_HANDSHAKE]", "unrecognized_name")

    async def test_hook_that_takes_too_long(self, net: Net) -> None:
        """The handshake ends."""

        async def answer(_certificate: bytes, _issuer: bytes | None, _socket: tlsio.TLSSocket) -> bytes:
            return await asyncio.get_running_loop().create_future()

        async with net.serve(ocsp_request=answer, hook_timeout=0.01) as server:
            told, got = await net.refused(server, request_ocsp=True)
            assert (told.code, got.alert) == ("ERR_TLS_HOOK_TIMEOUT", "internal_error")  # type: ignore[attr-defined]

    async def test_client_that_goes_away(self, net: Net) -> None:
        """The hook is cancelled with it."""
        asked, cancelled = asyncio.Event(), asyncio.Event()

        async def answer(_certificate: bytes, _issuer: bytes | None, _socket: tlsio.TLSSocket) -> bytes:
            asked.set()
            try:
                return await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                cancelled.set()
                raise

        async with net.serve(ocsp_request=answer) as server:
            failed = once(server, "tls_client_error")
            connecting = asyncio.ensure_future(net.connect(server, request_ocsp=True))
            await asked.wait()
            connecting.cancel()
            await asyncio.gather(connecting, return_exceptions=True)
            assert (await failed)[0].code == "ECONNRESET"
            await cancelled.wait()

    async def test_hook_that_destroys_the_socket(self, net: Net) -> None:
        """Its answer is nothing any more."""

        def answer(_certificate: bytes, _issuer: bytes | None, sock: tlsio.TLSSocket) -> bytes:
            sock.destroy()
            return ANY

        async with net.serve(ocsp_request=answer) as server:
            with pytest.raises(tlsio.ConnectionLostError):
                await net.connect(server, request_ocsp=True)


class TestEvent:
    """`ocsp_response` of clients."""

    async def test_comes_before_the_server_is_let_in(self, net: Net) -> None:
        """So that a listener can refuse it; the server has nothing of ours then but the hello."""
        order: list[str] = []
        on = {name: lambda *_args, name=name: order.append(name) for name in ("ocsp_response", "secure", "secure_connect")}
        async with net.serve(ocsp_request=stapling(ANY)) as server:
            (await net.connect(server, request_ocsp=True, on=on)).destroy()
        assert order == ["ocsp_response", "secure", "secure_connect"]

    async def test_listener_that_destroys(self, net: Net) -> None:
        """As Node's users do."""
        opened: list[tlsio.TLSSocket] = []
        async with net.serve(opened.append, ocsp_request=stapling(ANY)) as server:
            failed = once(server, "tls_client_error")
            sock = tlsio.TLSSocket(await net.dial(server), request_ocsp=True, servername="localhost", ca=pki.ca1().cert_pem)
            sock.on("ocsp_response", lambda _response: sock.destroy(ValueError("no")))
            with pytest.raises(ValueError, match="no"):
                await sock.handshake()
            await failed
            assert opened == []

    async def test_listener_that_raises(self, net: Net) -> None:
        """The connection ends with that."""

        def refuse(_response: bytes | None) -> None:
            raise KeyError("mine")

        async with net.serve(ocsp_request=stapling(ANY)) as server:
            failed = once(server, "tls_client_error")
            with pytest.raises(KeyError):
                await net.connect(server, request_ocsp=True, on={"ocsp_response": refuse})
            await failed

    async def test_unasked(self, net: Net) -> None:
        """No event without the option."""
        heard: list[bytes | None] = []
        async with net.serve(ocsp_request=stapling(ANY)) as server:
            (await net.connect(server, on={"ocsp_response": heard.append})).destroy()
        assert heard == []


class TestPolicy:
    """`ocsp="check"` and `"require"`."""

    @pytest.mark.parametrize("policy", ["check", "require"])
    async def test_good(self, net: Net, policy: str) -> None:
        """Let in; the event comes too."""
        heard: list[bytes | None] = []
        response = respond(pki.localhost())
        async with net.serve(ocsp_request=stapling(response)) as server:
            sock = await net.connect(server, ocsp=policy, on={"ocsp_response": heard.append})
            assert sock.authorized
            sock.destroy()
        assert heard == [response]

    @pytest.mark.parametrize(
        ("response", "code", "alert"),
        [
            (respond(pki.localhost(), status=REVOKED), "CERT_REVOKED", "certificate_revoked"),
            (respond(pki.localhost(), signer=pki.ca2()), "OCSP_SIGNATURE_INVALID", "bad_certificate_status_response"),
            (ANY, "OCSP_RESPONSE_MALFORMED", "bad_certificate_status_response"),
        ],
        ids=["revoked", "forged", "malformed"],
    )
    async def test_bad(self, net: Net, response: bytes, code: str, alert: str) -> None:
        """Refused, with the alert that says so, before the server has anything of ours."""
        opened: list[tlsio.TLSSocket] = []
        async with net.serve(opened.append, ocsp_request=stapling(response)) as server:
            told, got = await net.refused(server, ocsp="check")
            assert isinstance(got, tlsio.CertificateError)
            assert (got.code, got.alert, got.reasons) == (code, alert, (code,))
            assert (type(told), told.alert) == (tlsio.AlertReceived, alert)  # type: ignore[attr-defined]
        assert opened == []

    async def test_missing(self, net: Net) -> None:
        """Passes where it is checked, not where it is required."""
        async with net.serve() as server:
            (await net.connect(server, ocsp="check")).destroy()
            _, got = await net.refused(server, ocsp="require")
            assert (got.code, got.alert) == ("OCSP_RESPONSE_MISSING", "bad_certificate_status_response")

    async def test_must_staple(self, net: Net) -> None:
        """The certificate itself requires it (RFC 7633), of those who check."""
        who = pki.must_staple()
        async with net.serve(cert=who.cert_pem, key=who.key_pem) as server:
            (await net.connect(server)).destroy()
            _, got = await net.refused(server, ocsp="check")
            assert got.code == "OCSP_RESPONSE_MISSING"
        async with net.serve(cert=who.cert_pem, key=who.key_pem, ocsp_request=stapling(respond(who))) as server:
            (await net.connect(server, ocsp="check")).destroy()

    async def test_resumed(self, net: Net) -> None:
        """No certificate, no response: what was found when the session was made still holds."""
        asked: Asked = []
        heard: list[bytes | None] = []
        async with net.serve(greet, ocsp_request=stapling(respond(pki.localhost()), asked)) as server:
            first = await visit(net, server, ocsp="require")
            again = await net.connect(server, ocsp="require", session=first.session, on={"ocsp_response": heard.append})
            assert (again.is_session_reused(), again.authorized) == (True, True)
            again.destroy()
        assert (len(asked), heard) == (1, [])

    async def test_let_in_all_the_same(self, net: Net) -> None:
        """With `reject_unauthorized=False` it is only said."""
        async with net.serve(ocsp_request=stapling(respond(pki.localhost(), status=REVOKED))) as server:
            sock = await net.connect(server, ocsp="check", reject_unauthorized=False)
            assert (sock.authorized, sock.authorization_error) == (False, "CERT_REVOKED")
            sock.destroy()
            sock = await net.connect(server, ocsp="check", reject_unauthorized=False, ca=pki.ca2().cert_pem)
            assert (sock.authorized, sock.authorization_error) == (False, "UNABLE_TO_VERIFY_LEAF_SIGNATURE")
            sock.destroy()

    async def test_delivered_by_an_intermediate(self, net: Net) -> None:
        """The certificate's own issuer has to sign, not the root."""
        who = pki.chained()
        for signer, code in ((pki.ca3(), None), (pki.ca1(), "OCSP_SIGNATURE_INVALID")):
            response = respond(who, issuer=pki.ca3(), signer=signer)
            async with net.serve(cert=who.chain_pem, key=who.key_pem, ocsp_request=stapling(response)) as server:
                if code is None:
                    (await net.connect(server, ocsp="require")).destroy()
                else:
                    assert (await net.refused(server, ocsp="require"))[1].code == code

    async def test_trusted_without_its_issuer(self, net: Net) -> None:
        """Nobody can have signed for it."""
        options = {"ca": pki.localhost().cert_pem, "allow_partial_trust_chain": True}
        async with net.serve(ocsp_request=stapling(respond(pki.localhost()))) as server:
            assert (await net.refused(server, ocsp="check", **options))[1].code == "OCSP_SIGNATURE_INVALID"

    async def test_with_a_client_certificate(self, net: Net) -> None:
        """It does not leave before the verdict: the server sees none of a client that refuses it."""
        seen: list[Any] = []
        me = pki.client()
        options = {"request_cert": True, "ca": pki.ca1().cert_pem, "check_client": lambda *args: seen.append(args)}
        async with net.serve(ocsp_request=stapling(ANY), **options) as server:
            await net.refused(server, ocsp="check", cert=me.cert_pem, key=me.key_pem)
            assert seen == []
        async with net.serve(ocsp_request=stapling(respond(pki.localhost())), **options) as server:
            let_in = once(server, "secure_connection")
            (await net.connect(server, ocsp="check", cert=me.cert_pem, key=me.key_pem)).destroy()
            await let_in
            assert len(seen) == 1


@pytest.mark.parametrize("value", ["on", True, 1])
def test_policy_is_one_of_three(value: Any) -> None:
    """Nothing else is taken for a yes."""
    with pytest.raises(tlsio.UsageError):
        tlsio.connect(1, ocsp=value)
