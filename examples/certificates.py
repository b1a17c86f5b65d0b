"""Temporary certificates for the examples, in memory files that disappear with the process.

Yours come from an authority and are on disk; tlsio takes them the same way, as `pathlib.Path`.
While the process runs, other programs of the same user can open these files by their path,
/proc/PID/fd/NUMBER (memfd_create(2)).
"""

import os
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from tlsio import certs


class Identity(NamedTuple):
    """The files of a certificate and its private key."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates; peers that have its file `cert` as a root trust them."""

    def __init__(self, name: str = "temporary authority") -> None:
        self._authority = certs.Authority.create(name, days=1)
        self.cert = _put(name, self._authority.cert_pem)

    def issue(self, *names: str) -> Identity:
        """Issue a certificate for a server at DNS names and IP addresses, with a new key."""
        return _put_both(names[0], self._authority.server(*names, subject=f"CN={names[0]}"))

    def issue_client(self, name: str) -> Identity:
        """Issue a certificate for a client, with a new key."""
        return _put_both(name, self._authority.client(name))

    def respond(self, certificate: bytes, *, revoked: bool) -> bytes:
        """Make an OCSP response, in DER, about a certificate issued here, given in DER."""
        return self._authority.ocsp(x509.load_der_x509_certificate(certificate), revoked=revoked)


def _put_both(name: str, leaf: certs.Leaf) -> Identity:
    return Identity(_put(f"{name} certificate", leaf.chain_pem), _put(f"{name} key", leaf.key_pem))


def _put(name: str, content: bytes) -> Path:
    """Make a file in memory; it stays until the process ends."""
    descriptor = os.memfd_create(name)
    os.write(descriptor, content)
    return Path(f"/proc/{os.getpid()}/fd/{descriptor}")
