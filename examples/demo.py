"""Mutual TLS before your eyes: an echo server, a client that talks to it, and the commands to be a client yourself.

python examples/demo.py [--port PORT] [--once]
"""

import argparse
import asyncio

from certificates import Authority

import tlsio

COMMANDS = """
From another terminal, while this runs. What you type comes back:

  openssl s_client -quiet -connect localhost:{port} -CAfile {ca} -cert {cert} -key {key}

Node says hello:

  node -e 'const read = fs.readFileSync, s = tls.connect({{port: {port}, ca: read("{ca}"), cert: read("{cert}"), key: read("{key}")}}, \
() => s.end("Hello from Node\\n")); s.pipe(process.stdout)'

curl comes without a certificate and is refused:

  curl --cacert {ca} https://localhost:{port}/

Ctrl-C ends it."""


def describe(socket: tlsio.TLSSocket) -> str:
    """Say what was negotiated, and who the peer is."""
    peer = socket.get_peer_certificate()
    who = f"{peer['subject']['CN']!r}, vouched for by {peer['issuer']['CN']!r}"
    verdict = "verified" if socket.authorized else f"not verified ({socket.authorization_error})"
    return f"{socket.get_protocol()} with {socket.get_cipher()['name']}; the peer is {who}: {verdict}"


async def echo(socket: tlsio.TLSSocket) -> None:
    """Send back what comes."""
    print("server:", describe(socket))
    async for chunk in socket:
        await socket.send(chunk)


def refused(error: tlsio.TLSError, socket: tlsio.TLSSocket) -> None:
    """Say who was not let in, and why."""
    print(f"server: refused {socket.remote_address}. {error}\n        {error.hint}")


async def main(port: int, *, once: bool) -> None:
    """Serve, connect, and go on serving."""
    authority = Authority("demo authority")
    ours, yours = authority.issue("localhost"), authority.issue("demo client")
    async with tlsio.serve(echo, port, "localhost", cert=ours.cert, key=ours.key, ca=authority.cert, request_cert=True) as server:
        server.on("tls_client_error", refused)
        print(f"An echo server with mutual TLS listens on localhost:{server.port}.")
        async with tlsio.connect(server.port, "localhost", cert=yours.cert, key=yours.key, ca=authority.cert) as socket:
            print("client:", describe(socket))
            await socket.send(b"Hello, TLS!\n")
            print("client: back came", await socket.readline())
        if not once:
            print(COMMANDS.format(port=server.port, ca=authority.cert, cert=yours.cert, key=yours.key), flush=True)
            await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="An echo server with mutual TLS, and a client that talks to it.")
    parser.add_argument("--port", type=int, default=0, help="where to listen; a free one by default")
    parser.add_argument("--once", action="store_true", help="end after the first conversation")
    arguments = parser.parse_args()
    try:
        asyncio.run(main(arguments.port, once=arguments.once))
    except KeyboardInterrupt:
        print()
