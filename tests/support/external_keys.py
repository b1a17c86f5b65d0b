"""Keys that live elsewhere, for the tests: objects that sign with a true key, in the ways that users' objects do."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

import pki

if TYPE_CHECKING:
    from collections.abc import Callable

HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}


def sign(key: Any, scheme: str, message: bytes) -> bytes:
    """Sign by what the name of the scheme says."""
    digest = next((made() for name, made in HASHES.items() if scheme.endswith(name)), None)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        assert digest is not None
        return key.sign(message, ec.ECDSA(digest))
    if isinstance(key, rsa.RSAPrivateKey):
        assert digest is not None
        if scheme.startswith("rsa_pkcs1"):
            return key.sign(message, padding.PKCS1v15(), digest)
        return key.sign(message, padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH), digest)
    return bytes(key.sign(message))


def run_program(program: str, how: str) -> list[str]:
    """Run a program that reads "certificate|root" from its input; return the words that it printed."""
    text = f"{pki.localhost().cert_pem.decode()}|{pki.ca1().cert_pem.decode()}"
    done = subprocess.run([sys.executable, "-c", program, how], input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "Fatal" not in done.stderr
    return done.stdout.split()


class Signer:
    """Signs at once; counts the calls."""

    def __init__(self, key: Any) -> None:
        self.key = key
        self.calls: list[tuple[str, bytes]] = []

    def __repr__(self) -> str:
        raise AssertionError("printed a key")

    def sign(self, scheme: str, message: bytes) -> Any:
        """Return the signature."""
        self.calls.append((scheme, message))
        return sign(self.key, scheme, message)


class AsyncSigner(Signer):
    """Signs after some passes of the loop."""

    async def sign(self, scheme: str, message: bytes) -> bytes:
        """Return the signature."""
        self.calls.append((scheme, message))
        for _ in range(3):
            await asyncio.sleep(0)
        return sign(self.key, scheme, message)


class HeldSigner(Signer):
    """Signs when it is released."""

    def __init__(self, key: Any) -> None:
        super().__init__(key)
        self.released = asyncio.Event()
        self.asked = asyncio.Event()
        self.cancelled = 0

    async def sign(self, scheme: str, message: bytes) -> bytes:
        """Return the signature."""
        self.calls.append((scheme, message))
        self.asked.set()
        try:
            await self.released.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return sign(self.key, scheme, message)


class OddSigner(Signer):
    """Does something else with the true signature."""

    def __init__(self, key: Any, what: Callable[[bytes], Any]) -> None:
        super().__init__(key)
        self.what = what

    def sign(self, scheme: str, message: bytes) -> Any:
        """Return what is made of the signature."""
        return self.what(super().sign(scheme, message))
