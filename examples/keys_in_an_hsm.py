"""A server whose private key stays in a token of PKCS#11: an HSM, a smart card, or SoftHSM.

With SoftHSM (Debian: `apt install softhsm2`), after `pip install python-pkcs11` and `tlsio dev init`:

    softhsm2-util --init-token --free --label web --so-pin 5678 --pin 1234
    tlsio dev cert localhost
    softhsm2-util --import localhost-key.pem --token web --label server --id 01 --pin 1234
    rm localhost-key.pem
    TOKEN_PIN=1234 python keys_in_an_hsm.py /usr/lib/softhsm/libsofthsm2.so web server < localhost.pem
"""

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
    if not sys.argv[3:] or "TOKEN_PIN" not in os.environ:
        sys.exit("usage: TOKEN_PIN=pin python keys_in_an_hsm.py MODULE TOKEN LABEL < CERTIFICATE")
    asyncio.run(main(*sys.argv[1:4], sys.stdin.read()))
