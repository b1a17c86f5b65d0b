"""An echo server over Python's own `ssl`, which `bench/storm.py` compares with; the first byte of a connection is not echoed.

python bench/ssl_server.py LOOP --cert FILE --key FILE
"""

import argparse
import asyncio
import ssl


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the command, as bench/server.py does; here it is always echo."""
        self.transport = transport
        self.begun = False

    def data_received(self, data: bytes) -> None:
        """Echo all but the command."""
        if not self.begun:
            self.begun, data = True, data[1:]
        self.transport.write(data)


async def main(cert: str, key: str) -> None:
    """Listen until killed."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda *_: None)  # clients that leave while their tickets are written
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    server = await loop.create_server(Echo, "127.0.0.1", 0, ssl=context, backlog=4096)
    print("READY", server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("loop", choices=["asyncio", "uvloop"])
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    arguments = parser.parse_args()
    run = asyncio.run
    if arguments.loop == "uvloop":
        import uvloop

        run = uvloop.run
    run(main(arguments.cert, arguments.key))
