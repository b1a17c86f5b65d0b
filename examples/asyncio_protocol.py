"""A protocol of asyncio on tlsio: a server that answers lines in capitals, and a client on asyncio's streams."""

import asyncio

from certificates import Authority

import tlsio


class Capitals(asyncio.Protocol):
    """Answers each line in capitals, and ends after an empty one."""

    def connection_made(self, transport: tlsio.TLSTransport) -> None:
        """Greet the client by what its connection negotiated."""
        self.transport, self.rest = transport, b""
        transport.write(f"Welcome over {transport.get_extra_info('tls_socket').get_protocol()}\n".encode())

    def data_received(self, data: bytes) -> None:
        """Answer complete lines."""
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.transport.write(line.upper() + b"\n")
            if not line:
                self.transport.close()


async def main() -> None:
    """Serve, and talk to the server."""
    files = (authority := Authority()).issue("localhost")
    server = await tlsio.create_tls_server(Capitals, "localhost", 0, cert=files.cert, key=files.key)
    async with server:
        reader, writer = await tlsio.open_connection("localhost", server.sockets[0].getsockname()[1], ca=authority.cert)
        writer.write(b"one\ntwo\n\n")
        print((await reader.read()).decode())
        writer.close()


if __name__ == "__main__":
    asyncio.run(main())
