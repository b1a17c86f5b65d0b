"""Certificates for development: your own authority, and trust for it in this machine's stores.

from tlsio.certs import dev

dev.init()
dev.cert("localhost", "127.0.0.1")     # localhost+1.pem, localhost+1-key.pem
dev.trust(dry_run=True)                # what would be done
"""

from tlsio.certs.dev.authority import Issued, cert, init, load, trust, untrust, where
from tlsio.certs.dev.store import Store, StoreKind
from tlsio.certs.dev.trust import STORE_KINDS, Outcome

__all__ = ["STORE_KINDS", "Issued", "Outcome", "Store", "StoreKind", "cert", "init", "load", "trust", "untrust", "where"]
