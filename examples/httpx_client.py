"""An httpx client over tlsio: it presents a certificate, verifies the server by a private CA, and resumes its session."""

import asyncio

import httpx
from certificates import Authority

import tlsio
from tlsio.interop.httpx import Transport


async def answer(socket: tlsio.TLSSocket) -> None:
    """Answer one request with the name in the client's certificate."""
    await socket.readuntil(b"\r\n\r\n")
    certificate = socket.get_peer_certificate()
    body = f"Hello, {certificate['subject']['CN']}".encode() if certificate else b"Who are you?"
    await socket.send(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))


async def main() -> None:
    """Serve, and visit the server twice."""
    authority = Authority()
    server_files, client_files = authority.issue("localhost"), authority.issue_client("alice")
    async with tlsio.serve(
        answer, 0, "localhost", cert=server_files.cert, key=server_files.key, ca=authority.cert, request_cert=True
    ) as server:
        cache = tlsio.ClientSessionCache()
        transport = Transport(ca=authority.cert, cert=client_files.cert, key=client_files.key, session_cache=cache)
        async with httpx.AsyncClient(transport=transport) as client:
            for _ in range(2):
                response = await client.get(f"https://localhost:{server.port}/")
                socket = response.extensions["network_stream"].get_extra_info("tls_socket")
                print(f"{response.text}: {'resumed' if socket.is_session_reused() else 'verified'}")


if __name__ == "__main__":
    asyncio.run(main())
