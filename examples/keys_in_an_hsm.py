"""A server whose private key stays in a token of PKCS#11: an HSM, a smart card, or SoftHSM."""

import asyncio
import hashlib
import os
import sys

import pkcs11
from pkcs11.util.ec import encode_ecdsa_signature

import tlsio


class TokenKey:
    """An EC key in a token."""

    def __init__(self, module: str, token: str, label: str, pin: str) -> None:
        """Open a session with the token and find the key."""
        session = pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)
        self._key = session.get_key(object_class=pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        self._lock = asyncio.Lock()  # a session does one thing at a time

    async def sign(self, scheme: str, message: bytes) -> bytes:
        """Sign in a thread, so that no connection waits for another; `scheme` is like ecdsa_secp256r1_sha256."""
        digest = hashlib.new(scheme.rpartition("_")[2], message).digest()
        async with self._lock:
            return encode_ecdsa_signature(await asyncio.to_thread(self._key.sign, digest, mechanism=pkcs11.Mechanism.ECDSA))


async def main(module: str, token: str, label: str, pem: str) -> None:
    """Serve. The PIN is not an argument, which `ps` would show."""
    key = TokenKey(module, token, label, os.environ["TOKEN_PIN"])
    async with tlsio.serve(lambda socket: socket.send(b"Signed in the token\n"), 0, "localhost", cert=pem.encode(), key=key) as server:
        print("listening on", server.port, flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], sys.stdin.read()))
