"""Certificates, keys and chains in files: reading, converting, verifying and describing them.

What `openssl x509`, `pkcs12`, `pkcs7` and `verify` are used for. Certificates and keys are objects
of `cryptography`; every error is one of `tlsio`.
"""

from tlsio.certs.bundle import Bundle, complete, read
from tlsio.certs.inspect import Finding, Item, inspect
from tlsio.certs.key_match import KeyMatch, match_key
from tlsio.certs.verify import Cause, ChainVerdict, verify

__all__ = ["Bundle", "Cause", "ChainVerdict", "Finding", "Item", "KeyMatch", "complete", "inspect", "match_key", "read", "verify"]
