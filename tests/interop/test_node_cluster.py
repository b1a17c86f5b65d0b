"""One address served by Node and by us: with the same ticket keys each resumes the sessions of the other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

import pki
import tlsio
from foreign_peers import PEERS, Heard, Peer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from foreign_peers import Part
    from net import Net
    from node import Node

pytestmark = pytest.mark.only_loop("asyncio")

OLD, NEW = bytes(range(48)), bytes(range(100, 148))
LINE = b"who is it this time?\n"


class Ours(Peer):
    """Our own client."""

    async def resume(self, ports: Sequence[int], part: Part, data: bytes) -> list[Heard]:
        """See `Peer.resume`."""
        sessions: list[bytes] = []
        heard = []
        for port in ports:
            options: dict[str, Any] = {"ca": part.ca.cert_pem, "min_version": part.version, "max_version": part.version}
            if part.identity is not None:
                options |= {"cert": part.identity.chain_pem, "key": part.identity.key_pem}
            if sessions:
                options["session"] = sessions[-1]
            async with tlsio.connect(port, "127.0.0.1", servername="localhost", on={"session": sessions.append}, **options) as sock:
                await sock.send(data)
                heard.append(Heard(data=await sock.readexactly(len(data)), reused=sock.is_session_reused()))
        return heard

    talk = serve = None  # type: ignore[assignment]


CLIENTS: dict[str, Peer] = {"ours": Ours(), "openssl": PEERS["openssl"], "node": PEERS["node"], "python": PEERS["python"]}


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Peer:
    """Who comes."""
    return CLIENTS[request.param]


class Cluster:
    """Our server's listener, and the options of Node's server; `resumed` are the visits to ours."""

    def __init__(self, net: Net, node: Node) -> None:
        self.net, self.node = net, node
        self.resumed: list[bool] = []

    async def echo(self, sock: tlsio.TLSSocket) -> None:
        """Send back what comes."""
        self.resumed.append(sock.is_session_reused())
        async for chunk in sock:
            await sock.send(chunk)

    async def listen(self, **more: Any) -> int:
        """Have Node listen, with the same identity."""
        who = pki.localhost()
        options = {"minVersion": self.net.version, "maxVersion": self.net.version, "cert": who.chain_pem, "key": who.key_pem}
        return int(await self.node.listen(options | {"ticketKeys": OLD, "sessionIdContext": "cluster"} | more, {"echo": True}))


async def visit(client: Peer, ports: Sequence[int], part: Part) -> None:
    """Go to one after the other, and be heard everywhere."""
    heard = await client.resume(ports, part, LINE)
    assert [(one.data, one.error) for one in heard] == [(LINE, "")] * len(ports)


@pytest.mark.node("tls-ticket-cluster")
@pytest.mark.parametrize("first", ["ours", "Node's"])
async def test_sessions_are_resumed_at_the_other(client: Peer, net: Net, node: Node, part: Part, first: str) -> None:
    """There and back."""
    cluster = Cluster(net, node)
    theirs = await cluster.listen()
    async with net.serve(cluster.echo, ticket_keys=OLD, session_id_context="cluster") as server:
        ours = net.port(server)
        way = [ours, theirs, theirs, ours] if first == "ours" else [theirs, ours, ours, theirs]
        await visit(client, way, part)
        assert cluster.resumed + await node.resumed() == ([False, True, True, True] if first == "ours" else [True, True, False, True])


@pytest.mark.node("tls-ticket-cluster")
async def test_changed_keys_are_shared_too(client: Peer, net: Net, node: Node, part: Part) -> None:
    """Once both have them; Node has forgotten the old ones then, we read them on."""
    cluster = Cluster(net, node)
    theirs = await cluster.listen()
    async with net.serve(cluster.echo, ticket_keys=OLD, session_id_context="cluster") as server:
        ours = net.port(server)
        server.set_ticket_keys(NEW)
        await node.setTicketKeys(NEW)
        await visit(client, [ours, theirs, ours], part)
        assert (cluster.resumed, await node.resumed()) == ([False, True], [True])


async def test_old_tickets_after_a_change(net: Net, node: Node) -> None:
    """Ours are read for one `session_timeout` more, and given out anew; Node's are worth nothing at once."""
    cluster = Cluster(net, node)
    theirs = await cluster.listen()
    async with net.serve(cluster.echo, ticket_keys=OLD, session_id_context="cluster") as server:
        sessions: list[bytes] = []

        async def visit(port: int, **options: Any) -> bool:
            async with await net.reach(port, on={"session": sessions.append}, **options) as sock:
                await sock.send(LINE)
                assert await sock.readline() == LINE
                return sock.is_session_reused()

        await visit(theirs)
        old = sessions[-1]
        server.set_ticket_keys(NEW)
        await node.setTicketKeys(NEW)
        assert not await visit(theirs, session=old)
        assert await visit(net.port(server), session=old)
        assert await visit(theirs, session=sessions[-1])


@pytest.mark.parametrize("other", [{}, {"sessionIdContext": "another"}], ids=["Node's default", "another"])
async def test_another_session_id_context_is_a_full_handshake(net: Net, node: Node, part: Part, other: dict[str, str]) -> None:
    """The keys alone make no cluster: whoever gives no id context has one of his own. Nobody is refused for it."""
    cluster = Cluster(net, node)
    theirs = await cluster.listen(**(other or {"sessionIdContext": None}))
    async with net.serve(cluster.echo, ticket_keys=OLD, session_id_context="cluster") as server:
        await visit(CLIENTS["ours"], [theirs, net.port(server), theirs], part)
        assert (cluster.resumed, await node.resumed()) == ([False], [False, False])


STRANGERS = {"nobody": None, "self-signed": pki.self_signed()}


@pytest.mark.parametrize("unmarked", [False, True])
@pytest.mark.parametrize("who", [*STRANGERS, "a friend"])
async def test_client_that_node_let_pass_is_asked_again(net: Net, node: Node, part: Part, who: str, unmarked: bool) -> None:  # noqa: FBT001
    """Node's usual `rejectUnauthorized: false`, where the listener decides, opens no server of ours that insists.

    A friend resumes only by an option: Node does not say when and how it was verified.
    """
    cluster = Cluster(net, node)
    options: dict[str, Any] = {"request_cert": True, "ca": pki.ca1().cert_pem, "resume_unmarked": unmarked}
    theirs = await cluster.listen(requestCert=True, rejectUnauthorized=False, ca=pki.ca1().cert_pem)
    me = replace(part, identity=pki.client() if who == "a friend" else STRANGERS[who])
    async with net.serve(cluster.echo, ticket_keys=OLD, session_id_context="cluster", **options) as server:
        coming = CLIENTS["ours"].resume([theirs, net.port(server)], me, LINE)
        if who == "a friend":
            assert [one.reused for one in await coming] == [False, unmarked]
        else:
            with pytest.raises(tlsio.AlertReceived):
                await coming
        assert cluster.resumed == ([unmarked] if who == "a friend" else [])
