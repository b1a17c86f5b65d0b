"""Each capability with Node at the other end: its client at our server, our client at its server, Node 20 and 24."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING, Any

import pytest

import pki
import responses
import tlsio
from foreign_peers import find_node_24
from net import once
from node import NodeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from net import Net, Version
    from node import Node

pytestmark = pytest.mark.only_loop("asyncio")

BOTH_WAYS = pytest.mark.parametrize("ours", ["client", "server"])


def theirs(version: Version, who: pki.Identity | None = None, **more: Any) -> dict[str, Any]:
    """Return the options of either side as Node takes them."""
    identity = {} if who is None else {"cert": who.chain_pem, "key": who.key_pem}
    return {"minVersion": version, "maxVersion": version, **identity, **more}


def shown(who: pki.Identity) -> dict[str, Any]:
    """Return a certificate as options of ours."""
    return {"cert": who.chain_pem, "key": who.key_pem}


class Meeting:
    """A connection between Node and us, which of the two the client is being a parameter of the test."""

    def __init__(self, net: Net, node: Node, ours: str) -> None:
        self.net, self.node, self.ours = net, node, ours
        self.mine: Any = None
        self.said: Any = None

    async def hold(
        self,
        *,
        server: dict[str, Any] | None = None,
        client: dict[str, Any] | None = None,
        node: dict[str, Any] | None = None,
        talk: Callable[[Meeting], Awaitable[None]],
    ) -> None:
        """Connect and talk; `server` and `client` are our options on that side, `node` those of Node on the other."""
        version, node = self.net.version, node or {}
        if self.ours == "server":
            who = node.pop("who", None)
            accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
            async with self.net.serve(accepted.set_result, **(server or {})) as made:
                given = {"ca": pki.ca1().cert_pem, "servername": "localhost", "port": made.port} | node
                self.said = await self.node.connect(theirs(version, who, **given))
                self.mine = await accepted
                await self._talk(talk)
        else:
            port = await self.node.listen(theirs(version, node.pop("who", pki.localhost()), **node))
            given = self.net.client_options(**{"servername": "localhost"} | (client or {}))
            self.mine = await tlsio.connect(port, "127.0.0.1", **given)
            self.said = await self.node.accepted()
            await self._talk(talk)

    async def _talk(self, talk: Callable[[Meeting], Awaitable[None]]) -> None:
        try:
            await talk(self)
        finally:
            self.mine.destroy()
            await self.mine.wait_closed()


@pytest.fixture(params=["client", "server"], ids=["our client", "our server"])
def meeting(request: pytest.FixtureRequest, net: Net, node: Node) -> Meeting:
    """Both ways."""
    return Meeting(net, node, request.param)


MUTUAL: dict[str, Any] = {"requestCert": True, "ca": pki.ca1().cert_pem}


@pytest.mark.node("tls-finished", "tls-exportkeyingmaterial", "tls-client-getephemeralkeyinfo")
@pytest.mark.parametrize("groups", ["P-256", "X25519:P-256"])
async def test_both_know_the_same(meeting: Meeting, groups: str) -> None:
    """Of the handshake: version, suite, protocol, name, Finished, exported keys, key exchange, who is authorized."""
    us, them = pki.client(), pki.client()

    async def compare(met: Meeting) -> None:
        mine, said = met.mine, met.said
        assert said["protocol"] == mine.get_protocol() == met.net.version
        assert said["cipher"] == mine.get_cipher()["standard_name"]
        assert said["alpn"] == mine.alpn_protocol == "echo/1"
        assert said["servername"] == mine.servername == "localhost"
        assert (said["authorized"], said["authorizationError"]) == (mine.authorized, mine.authorization_error) == (True, None)
        assert base64.b64decode(said["finished"]) == mine.get_peer_finished()
        assert base64.b64decode(said["peerFinished"]) == mine.get_finished()
        for exported, context in zip(said["exported"], (None, b"", b"context"), strict=True):
            assert base64.b64decode(exported) == mine.export_keying_material(128, "EXPERIMENTAL parity", context)
        assert said["reused"] is mine.is_session_reused() is False
        info = mine.get_ephemeral_key_info()
        assert info["name"] == {"P-256": "prime256v1", "X25519:P-256": "X25519"}[groups]
        assert said["key"] == (info if met.ours == "server" else None)  # Node's servers do not tell

    common = {"alpn_protocols": ["echo/1"], "ecdh_curve": groups}
    their_part = {"who": them} if meeting.ours == "server" else MUTUAL
    await meeting.hold(
        server=common | {"ca": pki.ca1().cert_pem, "request_cert": True},
        client=common | shown(us),
        node={"ALPNProtocols": ["echo/1"], "ecdhCurve": groups} | their_part,
        talk=compare,
    )


# --- certificates ---

WORDS = {
    "infoAccess": "info_access",
    "asn1Curve": "asn1_curve",
    "nistCurve": "nist_curve",
    "serialNumber": "serial_number",
    "ext_key_usage": "ext_key_usage",
    **{name: name for name in ("subject", "issuer", "subjectaltname", "ca", "modulus", "bits", "exponent", "valid_from", "valid_to")},
    **{name: name for name in ("fingerprint", "fingerprint256", "fingerprint512")},
}
CERTIFICATES = {
    "EC": pki.localhost,
    "RSA": pki.localhost_rsa,
    "chained": pki.chained,
    "odd": lambda: pki.leaf("Ádám Lippai", issuer=pki.ca1(), names=["localhost", "::1"], units=["One", "Two"]),
    "with places": pki.agent1,
}


@pytest.mark.node("tls-peer-certificate-encoding", "tls-peer-certificate-multi-keys", "crypto-x509")
@pytest.mark.parametrize("kind", list(CERTIFICATES))
async def test_certificates_have_the_same_words(net: Net, node: Node, kind: str) -> None:
    """Node's client tells of our server's certificate what we tell of it ourselves; what it leaves out we have as None."""
    async with net.serve(lambda sock: None, **shown(CERTIFICATES[kind]())) as server:
        accepted = once(server, "secure_connection")
        options = {"port": server.port, "ca": pki.ca1().cert_pem, "servername": "localhost", "rejectUnauthorized": False}
        said = await node.connect(theirs(net.version, **options))
        ours = (await accepted).get_certificate()
        told = await node.certificate()
        (await accepted).destroy()
    for their_word, our_word in WORDS.items():
        assert told.get(their_word) == ours[our_word], their_word
    assert base64.b64decode(told["raw"]) == ours["raw"]
    assert base64.b64decode(told["pubkey"]) == ours["pubkey"]
    assert said["chain"][0] == ours["fingerprint256"]


@BOTH_WAYS
async def test_chains_are_the_same(net: Net, node: Node, ours: str) -> None:
    """Leaf, intermediate, root, as `detailed` links them."""
    who = pki.chained()
    meeting = Meeting(net, node, ours)

    async def compare(met: Meeting) -> None:
        chain, one = [], met.mine.get_peer_certificate(detailed=True) if met.ours == "client" else None
        while one is not None and one["fingerprint256"] not in chain:
            chain.append(one["fingerprint256"])
            one = one["issuer_certificate"]
        wanted = [tlsio_fingerprint(certificate) for certificate in (who, pki.ca3(), pki.ca1())]
        assert (chain or met.said["chain"]) == wanted

    await meeting.hold(server=shown(who), node={"who": who} if ours == "client" else {}, talk=compare)


def tlsio_fingerprint(who: pki.Identity) -> str:
    """Return a certificate's SHA-256 as both print it."""
    return ":".join(f"{byte:02X}" for byte in who.certificate.fingerprint(pki.hashes.SHA256()))


@pytest.mark.node("tls-multi-key")
@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_identity_that_the_client_can_verify(meeting: Meeting, kind: str) -> None:
    """A server with two; the client's suite or signatures leave one."""
    both = [pki.ec10(), pki.agent10()]
    version = meeting.net.version
    suites = {"ec": "ECDHE-ECDSA-AES256-GCM-SHA384", "rsa": "ECDHE-RSA-AES256-GCM-SHA384"}
    signatures = {"ec": "ecdsa_secp256r1_sha256", "rsa": "rsa_pss_rsae_sha256"}
    wants = {"ciphers": suites[kind]} if version == "TLSv1.2" else {"sigalgs": signatures[kind]}
    roots = {"ca": [pki.ca2().cert_pem, pki.ca5().cert_pem], "servername": "agent10.example.com"}
    identities = {"cert": [who.chain_pem for who in both], "key": [who.key_pem for who in both]}
    wanted = both[0] if kind == "ec" else both[1]

    async def compare(met: Meeting) -> None:
        if met.ours == "client":
            assert met.mine.get_peer_certificate()["raw"] == wanted.cert_der
        else:
            assert met.said["chain"][0] == tlsio_fingerprint(wanted)

    await meeting.hold(
        server=identities,
        client=wants | roots,
        node=wants | roots if meeting.ours == "server" else {"who": None} | identities,
        talk=compare,
    )


# --- names ---


@pytest.mark.node("tls-sni-server-client")
@pytest.mark.parametrize(
    ("name", "served"),
    [
        ("a.example.com", "exact"),
        ("A.EXAMPLE.com", "exact"),
        ("b.test.com", "star"),
        ("a.b.test.com", "default"),
        ("c.wrong.com", "default"),
        ("chain.example.com", "chain"),
        (None, "default"),
    ],
)
async def test_name_gets_the_same_certificate(net: Net, node: Node, name: str | None, served: str) -> None:
    """From our server, asked by Node, and from Node's, asked by us."""
    people = {"exact": pki.wildcard(), "star": pki.client(), "default": pki.localhost(), "chain": pki.chained()}
    table = {"a.example.com": "exact", "*.test.com": "star", "chain.example.com": "chain"}
    contexts = {pattern: shown(people[who]) for pattern, who in table.items()}
    wanted = tlsio_fingerprint(people[served])
    async with net.serve(lambda sock: None) as server:
        for pattern, context in contexts.items():
            server.add_context(pattern, context)
        accepted = once(server, "secure_connection")
        options = {"port": server.port, "rejectUnauthorized": False, "ca": pki.ca1().cert_pem} | ({"servername": name} if name else {})
        said = await node.connect(theirs(net.version, **options))
        sock = await accepted
        assert (said["chain"][0], sock.servername) == (wanted, name and name.lower())
        if served == "chain":
            assert len(said["chain"]) == 3
        sock.destroy()
    await node.reset()
    port = await node.listen(theirs(net.version, people["default"]), {"contexts": contexts})
    sock = await tlsio.connect(port, "127.0.0.1", **net.client_options(servername=name or "", reject_unauthorized=False))
    said = await node.accepted()
    assert (sock.get_peer_certificate()["fingerprint256"], (said["servername"] or "").lower()) == (wanted, (name or "").lower())
    sock.destroy()
    await sock.wait_closed()


# --- protocols ---

NO_COMMON_PROTOCOL = "ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL"


@pytest.mark.node("tls-alpn-server-client")
@pytest.mark.parametrize(
    ("server", "client", "chosen"),
    [
        (["a", "b", "c"], ["a", "b", "c"], "a"),
        (["a", "b", "c"], ["c", "b", "e"], "b"),
        (["a", "b", "c"], ["x", "y", "c"], "c"),
        (["a", "b", "c"], ["first-priority-unsupported"], NO_COMMON_PROTOCOL),
        (None, ["a", "b"], None),
        (["a", "b"], None, None),
        (None, None, None),
    ],
)
async def test_protocol_is_the_same(net: Net, node: Node, server: list[str] | None, client: list[str] | None, chosen: str | None) -> None:
    """Node's matrix, each side once ours."""
    their_server = {"ALPNProtocols": server} if server else {}
    their_client = {"ALPNProtocols": client} if client else {}
    async with net.serve(lambda sock: None, alpn_protocols=server) as made:
        options = {"port": made.port, "ca": pki.ca1().cert_pem, "servername": "localhost"}
        try:
            met = (await node.connect(theirs(net.version, **options, **their_client)))["alpn"]
        except NodeError as error:
            met = error.code
        assert met == chosen
    await node.reset()
    port = await node.listen(theirs(net.version, pki.localhost(), **their_server))
    try:
        async with tlsio.connect(port, "127.0.0.1", **net.client_options(servername="localhost", alpn_protocols=client)) as sock:
            met = sock.alpn_protocol
    except tlsio.AlertReceived as error:
        met = error.code
    if chosen == NO_COMMON_PROTOCOL and await node.release() < 20:  # which goes on without one
        chosen = None
    assert met == chosen


# --- revocation ---


@pytest.mark.node("tls-server-verify")
async def test_revoked_client_is_refused_by_both(net: Net, node: Node) -> None:
    """Ours says it by the alert; Node's closes without one."""
    asked = {"ca": pki.ca2().cert_pem, "crl": pki.ca2_crl()}
    async with net.serve(lambda sock: None, request_cert=True, **asked) as server:
        refused = once(server, "tls_client_error")
        options = {"port": server.port, "ca": pki.ca1().cert_pem, "servername": "localhost"}
        try:
            await node.connect(theirs(net.version, pki.agent4(), **options))
        except NodeError as error:  # in TLS 1.3 it is told later
            assert "CERTIFICATE_REVOKED" in error.code  # noqa: PT017
        else:
            assert "CERTIFICATE_REVOKED" in await node.error()
        assert (await refused)[0].code == "CERT_REVOKED"
    await node.reset()
    port = await node.listen(theirs(net.version, pki.localhost(), requestCert=True, **asked))
    with pytest.raises(tlsio.TLSError):
        async with tlsio.connect(port, "127.0.0.1", **net.client_options(servername="localhost", **shown(pki.agent4()))) as sock:
            await sock.read()
    assert await node.failed() in {"CERT_REVOKED", "ECONNRESET"}


async def test_revoked_server_is_refused_by_both(net: Net, node: Node) -> None:
    """With the same code, and the other side hears the alert."""
    asked = {"ca": pki.ca1().cert_pem, "crl": pki.ca1_crl(), "servername": "localhost"}
    async with net.serve(lambda sock: None, **shown(pki.revoked())) as server:
        with pytest.raises(NodeError) as told:
            await node.connect(theirs(net.version, port=server.port, **asked))
        assert told.value.code == "CERT_REVOKED"
    await node.reset()
    port = await node.listen(theirs(net.version, pki.revoked()))
    with pytest.raises(tlsio.CertificateError) as caught:
        await tlsio.connect(port, "127.0.0.1", **net.client_options(**asked))
    assert caught.value.code == "CERT_REVOKED"
    assert "CERTIFICATE_REVOKED" in await node.failed()


@pytest.mark.parametrize("response", [b"", responses.enclose(b"what the responder said")], ids=["none", "one"])
@BOTH_WAYS
async def test_ocsp_responses_are_stapled(net: Net, node: Node, ours: str, response: bytes) -> None:
    """To clients that ask; what is in them is none of TLS's business."""
    if ours == "server":
        async with net.serve(lambda sock: None, ocsp_request=lambda *_: response or None) as server:
            options = {"port": server.port, "ca": pki.ca1().cert_pem, "servername": "localhost", "requestOCSP": True}
            await node.connect(theirs(net.version, **options))
            assert await node.responses() == [base64.b64encode(response).decode() or None]
        return
    heard: list[bytes | None] = []
    port = await node.listen(theirs(net.version, pki.localhost()), {"response": response} if response else {})
    options = net.client_options(servername="localhost", request_ocsp=True, on={"ocsp_response": heard.append})
    async with tlsio.connect(port, "127.0.0.1", **options):
        assert heard == [response or None]


@pytest.mark.parametrize("process", [find_node_24], indirect=True, ids=["node24"])
@pytest.mark.parametrize(
    ("response", "code"),
    [
        (b"what the responder said", "OCSP_RESPONSE_MALFORMED"),
        (b"0\x05hello", "OCSP_RESPONSE_MALFORMED"),
        (responses.respond(pki.localhost_rsa()), "OCSP_RESPONSE_MISMATCH"),
    ],
    ids=["text", "a sequence", "foreign"],
)
async def test_response_that_says_nothing_is_refused(net: Net, node: Node, response: bytes, code: str) -> None:
    """This Node, over its own OpenSSL 3.5, sends what it is given; over 3.6 a server would not. There a client's OpenSSL refuses it."""
    port = await node.listen(theirs(net.version, pki.localhost()), {"response": response})
    with pytest.raises(tlsio.CertificateError) as caught:
        await tlsio.connect(port, "127.0.0.1", **net.client_options(servername="localhost", ocsp="check"))
    assert (caught.value.code, caught.value.alert) == (code, "bad_certificate_status_response")


# --- renegotiation ---


@pytest.mark.node("tls-client-renegotiation-limit", "tls-disable-renegotiation")
@pytest.mark.parametrize("version", ["TLSv1.2"])
async def test_nodes_client_renegotiates_with_us(net: Net, node: Node) -> None:
    """As often as allowed; then the connection ends."""

    async def spam(met: Meeting) -> None:
        reading = asyncio.ensure_future(met.mine.read())
        for _ in range(tlsio.defaults.client_reneg_limit):
            assert await node.renegotiate({}) is True
        once_more = node.renegotiate({})
        with pytest.raises(tlsio.PeerError) as caught:
            await reading
        assert caught.value.code == "ERR_TLS_SESSION_ATTACK"
        try:
            assert await once_more == "closed"
        except NodeError as error:
            assert "NO_RENEGOTIATION" in error.code  # noqa: PT017

    await Meeting(net, node, "server").hold(server={"allow_renegotiation": True}, talk=spam)


@pytest.mark.node("tls-disable-renegotiation")
@pytest.mark.parametrize("version", ["TLSv1.2"])
async def test_our_client_renegotiates_with_node(net: Net, node: Node) -> None:
    """And the connection goes on."""

    async def again(met: Meeting) -> None:
        before = met.mine.get_finished()
        reading = asyncio.ensure_future(met.mine.read())
        await met.mine.renegotiate()
        assert met.mine.get_finished() != before
        await node.write("still here")
        assert await reading == b"still here"

    await Meeting(net, node, "client").hold(talk=again)


# Without it Node's renegotiation is an abbreviated handshake, in which nobody shows a certificate.
NO_SESSION_RESUMPTION = tlsio.constants.SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION


@pytest.mark.node("tls-server-verify")
@pytest.mark.parametrize("version", ["TLSv1.2"])
async def test_certificate_is_asked_for_later(meeting: Meeting) -> None:
    """By our server of Node's client, and by Node's server of ours."""
    us, authority = pki.client(), pki.ca1().cert_pem

    async def ask(met: Meeting) -> None:
        if met.ours == "server":
            assert not met.mine.authorized
            await met.mine.renegotiate(request_cert=True)
            assert (met.mine.authorized, met.mine.get_peer_certificate()["subject"]["CN"]) == (True, "client")
        else:
            assert met.said["subject"] is None
            reading = asyncio.ensure_future(met.mine.read())
            assert await met.node.renegotiate({"requestCert": True, "rejectUnauthorized": False}) is True
            assert (await met.node.facts())["subject"]["CN"] == "client"
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    node = {"who": us} if meeting.ours == "server" else {"ca": authority, "secureOptions": NO_SESSION_RESUMPTION}
    await meeting.hold(server={"ca": authority}, client=shown(us), node=node, talk=ask)


# --- what is recorded ---


@pytest.mark.node("tls-enable-keylog-cli")
async def test_key_logs_are_the_same(meeting: Meeting) -> None:
    """Line by line, whoever the client is."""
    lines: list[str] = []

    async def compare(met: Meeting) -> None:
        assert sorted(await met.node.lines()) == sorted(lines)
        assert lines

    if meeting.ours == "client":
        return await meeting.hold(client={"on": {"keylog": lambda line: lines.append(line.decode())}}, talk=compare)
    port_of: dict[str, Any] = {}
    async with meeting.net.serve(lambda sock: port_of.setdefault("sock", sock)) as server:
        server.on("keylog", lambda line, _sock: lines.append(line.decode()))
        accepted = once(server, "secure_connection")
        options = {"port": server.port, "ca": pki.ca1().cert_pem, "servername": "localhost"}
        await meeting.node.connect(theirs(meeting.net.version, **options))
        (await accepted).destroy()
        await compare(meeting)
    return None


# --- streams ---


@pytest.mark.node("tls-max-send-fragment")
async def test_records_are_as_small_as_was_said(meeting: Meeting) -> None:
    """By either side: the other gets no chunk that is larger."""

    async def talk(met: Meeting) -> None:
        assert await met.node.setMaxSendFragment(768) is True
        await met.node.end("x" * 10_000)
        sizes = [len(chunk) async for chunk in met.mine]
        assert (sum(sizes), max(sizes)) == (10_000, 768)
        assert met.mine.set_max_send_fragment(512)
        met.mine.end(b"y" * 5_000)
        assert await met.node.read(5_000) == "y" * 5_000
        assert max(await met.node.chunks()) <= 512

    await meeting.hold(node={"allowHalfOpen": True}, talk=talk)


@pytest.mark.node("tls-connect-allow-half-open-option")
@pytest.mark.parametrize("first", ["we", "Node"])
async def test_one_half_ends_first(meeting: Meeting, first: str) -> None:
    """The other goes on for as long as it likes."""

    async def talk(met: Meeting) -> None:
        if first == "we":
            met.mine.end(b"the question")
            assert await met.node.rest() == "the question"
            await met.node.end("the answer")
            assert await met.mine.readexactly(10) == b"the answer"
            assert await met.mine.read() == b""
        else:
            await met.node.end("the question")
            assert await met.mine.readexactly(12) == b"the question"
            assert await met.mine.read() == b""
            met.mine.end(b"the answer")
            assert await met.node.rest() == "the answer"
        await met.mine.wait_closed()

    await meeting.hold(node={"allowHalfOpen": True}, talk=talk)


@pytest.mark.node("tls-connect-pipe")
@BOTH_WAYS
async def test_over_a_unix_socket(net: Net, node: Node, unix_path: Path, ours: str) -> None:
    """By its path."""
    if ours == "client":
        await node.listen(theirs(net.version, pki.localhost()), {"path": str(unix_path)})
        async with tlsio.connect(path=unix_path, **net.client_options(host="localhost")) as sock:
            await node.accepted()
            await sock.send(b"hello")
            assert await node.read(5) == "hello"
        return
    accepted: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()
    async with tlsio.serve(accepted.set_result, path=unix_path, **net.server_options()):
        options = {"path": str(unix_path), "ca": pki.ca1().cert_pem, "servername": "localhost"}
        await node.connect(theirs(net.version, **options))
        await node.write("hello")
        assert await (await accepted).readexactly(5) == b"hello"
        (await accepted).destroy()


@pytest.mark.node("tls-delayed-attach")
@BOTH_WAYS
async def test_plain_connection_turns_to_tls(net: Net, node: Node, ours: str) -> None:
    """After a line each way, as STARTTLS does."""
    if ours == "client":
        port = await node.listen(theirs(net.version, pki.localhost()), {"starttls": True})
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"please\n")
        assert await reader.readline() == b"go ahead\n"
        async with tlsio.connect(socket=(reader, writer), **net.client_options(servername="localhost")) as sock:
            await node.accepted()
            await sock.send(b"hello")
            assert await node.read(5) == "hello"
        return
    server = tlsio.create_server(**net.server_options())
    upgraded: asyncio.Future[tlsio.TLSSocket] = asyncio.get_running_loop().create_future()

    async def turn(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"please\n"
        writer.write(b"go ahead\n")
        upgraded.set_result(await server.upgrade((reader, writer)))

    async with await asyncio.start_server(turn, "127.0.0.1", 0) as plain:
        options = {"port": plain.sockets[0].getsockname()[1], "ca": pki.ca1().cert_pem, "servername": "localhost"}
        await node.connect(theirs(net.version, **options), {"starttls": True})
        await node.write("hello")
        sock = await upgraded
        assert await sock.readexactly(5) == b"hello"
        await sock.aclose()
    server.close(0)
    await server.wait_closed()
