"""Certificates, keys and chains in files: reading, converting, verifying and describing them.

What `openssl x509`, `pkcs12`, `pkcs7` and `verify` are used for. Certificates and keys are objects
of `cryptography`; every error is one of `tlsio`.
"""

from tlsio.certs.bundle import Bundle, complete, read
from tlsio.certs.inspect import Finding, Item, inspect
from tlsio.certs.key_match import KeyMatch, match_key

__all__ = ["Bundle", "Finding", "Item", "KeyMatch", "complete", "inspect", "match_key", "read"]
