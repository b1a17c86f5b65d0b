"""TLS without asyncio: a SecurePair on each of two blocking sockets, one of them in a thread."""

import socket
import threading

from certificates import Authority, Identity

import tlsio


def receive(sock: socket.socket, pair: tlsio.SecurePair) -> bytes:
    """Wait for plaintext and return it; b"" at the end."""
    try:
        while not (data := pair.cleartext.read()) and not pair.cleartext.eof:
            sock.sendall(pair.encrypted.read())
            if received := sock.recv(65536):
                pair.encrypted.write(received)
            else:
                pair.encrypted.write_eof()
        return data
    finally:
        sock.sendall(pair.encrypted.read())  # after an error this is the alert


def greet(sock: socket.socket, identity: Identity) -> None:
    """Serve one client."""
    pair = tlsio.create_secure_pair(is_server=True, cert=identity.cert, key=identity.key)
    pair.cleartext.end(b"Hello, " + receive(sock, pair))
    sock.sendall(pair.encrypted.read())


if __name__ == "__main__":
    authority = Authority()
    near, far = socket.socketpair()
    with near, far:
        threading.Thread(target=greet, args=(far, authority.issue("localhost"))).start()
        client = tlsio.create_secure_pair(ca=authority.cert, servername="localhost")
        client.cleartext.write(b"Ada")
        print(receive(near, client).decode(), f"({client.cleartext.get_protocol()})")
