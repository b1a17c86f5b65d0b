"""A page that shows visitors their own connection, and this server's counters as they change.

python examples/your_connection.py [--host ADDRESS] [--port PORT]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
from collections import deque
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlsio.certs import dev
from tlsio.https import serve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tlsio.https import Server
    from tlsio.https.asgi import Receive, Scope, Send

PAGE = (Path(__file__).parent / "your_connection.html").read_text(encoding="utf-8")
GREASE = 0x0A0A  # the pattern of numbers that clients make up (RFC 8701)
GROUPS = {23: "P-256", 24: "P-384", 25: "P-521", 29: "X25519", 30: "X448", 4588: "X25519MLKEM768", 4587: "P256MLKEM768", 256: "ffdhe2048"}
SUITES = {
    0x1301: "TLS_AES_128_GCM_SHA256", 0x1302: "TLS_AES_256_GCM_SHA384", 0x1303: "TLS_CHACHA20_POLY1305_SHA256",
    0xC02B: "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", 0xC02C: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    0xC02F: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", 0xC030: "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    0xCCA8: "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", 0xCCA9: "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
}  # fmt: skip
COMMANDS = """
https://localhost:{port} shows you your own connection.

Until this machine trusts the development authority, browsers warn. Once:  tlsio dev trust
Other clients show it too:

  curl --cacert {ca} https://localhost:{port}/connection.json
  tlsio connect localhost:{port} --ca {ca}

Ctrl-C ends it."""


class Page:
    """The application. `server` is set when it serves."""

    def __init__(self) -> None:
        self.server: Server | None = None
        self.requests = 0
        self.counting: asyncio.Task[None] | None = None
        self.history = deque([0], maxlen=61)  # requests, counted each second

    async def count(self) -> None:
        """Write the history, as long as the server runs."""
        while True:
            await asyncio.sleep(1)
            self.history.append(self.requests)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        self.requests += 1
        if scope["path"] == "/live":
            await self.stream(receive, send)
        elif scope["path"] == "/connection.json":
            await respond(send, "application/json", json.dumps(facts(scope), indent=2) + "\n")
        elif scope["path"] == "/":
            await respond(send, "text/html; charset=utf-8", *render(scope))
        else:
            await respond(send, "text/plain; charset=utf-8", "There is nothing here.\n", status=404)

    async def stream(self, receive: Receive, send: Send) -> None:
        """Send the counters each second, as server-sent events, until the visitor goes."""
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")],
            }
        )
        gone = asyncio.create_task(self.wait_until_gone(receive))
        while not gone.done():
            stats = self.server.tls_server.stats()
            now = {
                "history": list(self.history),
                "open": stats.open_connections,
                "requests": self.requests,
                "full": stats.handshakes_full,
                "resumed": stats.handshakes_resumed,
            }
            await send({"type": "http.response.body", "body": f"data: {json.dumps(now)}\n\n".encode(), "more_body": True})
            await asyncio.wait((gone,), timeout=1)

    async def wait_until_gone(self, receive: Receive) -> None:
        """Read the request's end, and then that the client has gone."""
        while (await receive())["type"] != "http.disconnect":
            pass


def facts(scope: Scope) -> dict[str, Any]:
    """Return what is known of a connection."""
    tls = scope["extensions"]["tls"]
    socket, hello = tls.socket, tls.socket.client_hello
    key = socket.get_ephemeral_key_info() or {}
    return {
        "version": socket.get_protocol(),
        "cipher": socket.get_cipher()["standard_name"],
        "group": key.get("name") or key.get("type") or "none: the session's own key",
        "http": {"1.1": "HTTP/1.1", "2": "HTTP/2"}.get(scope["http_version"], scope["http_version"]),
        "alpn": socket.alpn_protocol,
        "server_name": socket.servername,
        "resumed": socket.is_session_reused(),
        "client": socket.remote_address,
        "chain": [{"subject": one.title, "issuer": one.issuer_text, "until": one["valid_to"]} for one in socket.get_certificate().chain()],
        "offered": None if hello is None else {
            "ja4": hello.ja4,
            "versions": list(hello.versions),
            "alpn": [name.decode("ascii", "replace") for name in hello.alpn_protocols],
            "groups": names(hello.groups, GROUPS),
            "ciphers": names(hello.cipher_suites, SUITES),
        },
    }  # fmt: skip


def names(numbers: Iterable[int], known: dict[int, str]) -> list[str]:
    """Return names for numbers of IANA; those that only test the server's patience (GREASE) are left out."""
    return [known.get(one, f"0x{one:04x}") for one in numbers if one & 0x0F0F != GREASE]


def render(scope: Scope) -> tuple[str, tuple[bytes, bytes]]:
    """Return the page, and headers for it."""
    found, nonce = facts(scope), secrets.token_urlsafe(16)
    rows = {
        "Version": found["version"], "Cipher suite": found["cipher"], "Key exchange": found["group"], "Application": f"{found['http']} (ALPN {found['alpn']})",
        "Server name": found["server_name"] or "none was sent", "Session": "resumed" if found["resumed"] else "new", "Your address": found["client"],
    }  # fmt: skip
    chain = (
        f"<li>{escape(one['subject'])}<br><small>issued by {escape(one['issuer'])}, until {escape(one['until'])}</small></li>"
        for one in found["chain"]
    )
    filled = {
        "host": escape(found["server_name"] or "this server"),
        "headline": f"<span>{escape(found['version'])}</span> over {escape(found['http'])}, keys by <span>{escape(found['group'])}</span>",
        "negotiated": "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in rows.items()),
        "chain": "".join(chain),
        "offered": offered(found),
        "nonce": nonce,
        "bytes": "one page",
    }
    page = PAGE
    for name, value in filled.items():
        page = page.replace("{{" + name + "}}", value)
    policy = (
        f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; connect-src 'self'; script-src 'nonce-{nonce}'; base-uri 'none'"
    )
    return page, (b"content-security-policy", policy.encode())


def offered(found: dict[str, Any]) -> str:
    """Return what the client offered, with what was chosen marked."""
    hello = found["offered"]
    if hello is None:
        return "<p class=soft>The hello was not recorded.</p>"
    used = {found["version"], found["alpn"], found["group"], found["cipher"]}
    parts = [f"<p><small>JA4</small><br><span class=mono>{escape(hello['ja4'])}</span></p>"]
    for title, values in (
        ("Versions", hello["versions"]),
        ("ALPN", hello["alpn"]),
        ("Groups", hello["groups"]),
        ("Cipher suites", hello["ciphers"]),
    ):
        tags = "".join(f"<span class='tag{' used' if value in used else ''}'>{escape(value)}</span>" for value in values)
        parts.append(f"<small>{title}</small><div>{tags or 'none'}</div>")
    return "".join(parts)


async def respond(send: Send, kind: str, text: str, *headers: tuple[bytes, bytes], status: int = 200) -> None:
    """Send a whole response."""
    body = text.encode()
    head = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body)), (b"cache-control", b"no-store"), *headers]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A page that shows visitors their own connection.")
    parser.add_argument("--host", default="localhost")
    parser.add_argument("--port", type=int, default=8443, help="0: a free one")
    arguments = parser.parse_args()
    page = Page()

    def started(server: Server) -> None:
        page.server = server
        page.counting = asyncio.get_running_loop().create_task(page.count())
        print(COMMANDS.format(port=server.port, ca=dev.where() / "root.pem"), flush=True)

    options = {"client_hello": True, "lifespan": "off", "graceful_timeout": 1.0}
    try:
        asyncio.run(serve(page, arguments.host, arguments.port, on_start=started, **options))
    except OSError as error:
        raise SystemExit("\n".join((str(error), *getattr(error, "__notes__", ())))) from None


if __name__ == "__main__":
    main()
