"""A demonstration of mutual TLS: an echo server, a client, and commands to be a client yourself.

python examples/demo.py [--port PORT] [--once]
"""

import argparse
import asyncio

from certificates import Authority

import tlsio

COMMANDS = """
From another terminal, while this runs (the server echoes what you type):

  openssl s_client -quiet -connect localhost:{port} -CAfile {ca} -cert {cert} -key {key}

With Node:

  node -e 'const read = fs.readFileSync, s = tls.connect({{port: {port}, ca: read("{ca}"), cert: read("{cert}"), key: read("{key}")}}, \
() => s.end("Hello from Node\\n")); s.pipe(process.stdout)'

curl without a certificate is rejected:

  curl --cacert {ca} https://localhost:{port}/

Ctrl-C ends it."""


def describe(socket: tlsio.TLSSocket) -> str:
    """Return what was negotiated, and the peer's name."""
    peer = socket.get_peer_certificate()
    name = f"{peer['subject']['CN']!r}, issued by {peer['issuer']['CN']!r}"
    verdict = "verified" if socket.authorized else f"not verified ({socket.authorization_error})"
    return f"{socket.get_protocol()} with {socket.get_cipher()['name']}; the peer is {name}: {verdict}"


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what the client sends."""
    print("server:", describe(socket))
    async for chunk in socket:
        await socket.send(chunk)


def report_failure(error: tlsio.TLSError, socket: tlsio.TLSSocket) -> None:
    """Print which client was rejected, and why."""
    print(f"server: rejected {socket.remote_address}. {error}\n        {error.hint}")


async def main(port: int, *, once: bool) -> None:
    """Serve, connect once, and continue serving."""
    authority = Authority("demo authority")
    ours, yours = authority.issue("localhost"), authority.issue_client("demo client")
    async with tlsio.serve(echo, port, "localhost", cert=ours.cert, key=ours.key, ca=authority.cert, request_cert=True) as server:
        server.on("tls_client_error", report_failure)
        print(f"An echo server with mutual TLS listens on localhost:{server.port}.")
        async with tlsio.connect(server.port, "localhost", cert=yours.cert, key=yours.key, ca=authority.cert) as socket:
            print("client:", describe(socket))
            await socket.send(b"Hello, TLS!\n")
            print("client: received", await socket.readline())
        if not once:
            print(COMMANDS.format(port=server.port, ca=authority.cert, cert=yours.cert, key=yours.key), flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server with mutual TLS, and a client.")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; a free one by default")
    parser.add_argument("--once", action="store_true", help="exit after the first connection")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.port, once=arguments.once))
    except KeyboardInterrupt:
        print()
