"""Certificates: keys, requests, authorities and chains, in memory and on disk.

What `openssl`, `mkcert` and trustme are used for. Keys and certificates are objects of
`cryptography`; every option of `tlsio` that takes a certificate or a key takes these objects too.
"""

from tlsio.certs.authority import Authority, AuthorityOptions
from tlsio.certs.bundle import Bundle, complete, read
from tlsio.certs.diffie_hellman import DH_GROUPS, dhparams
from tlsio.certs.inspect import Finding, Item, inspect
from tlsio.certs.key_match import KeyMatch, match_key
from tlsio.certs.keys import KEY_KINDS, generate_key, key_kind, key_pem, load_key, write_key
from tlsio.certs.leaf import Leaf, LeafOptions, self_signed
from tlsio.certs.names import describe_name, parse_constraint, parse_name, parse_names
from tlsio.certs.pem import to_pem, write_pem
from tlsio.certs.request import RequestFacts, create_request, load_request, request_facts, request_faults
from tlsio.certs.status import Revocation
from tlsio.certs.verify import Cause, ChainVerdict, verify

__all__ = [
    "DH_GROUPS",
    "KEY_KINDS",
    "Authority",
    "AuthorityOptions",
    "Bundle",
    "Cause",
    "ChainVerdict",
    "Finding",
    "Item",
    "KeyMatch",
    "Leaf",
    "LeafOptions",
    "RequestFacts",
    "Revocation",
    "complete",
    "create_request",
    "describe_name",
    "dhparams",
    "generate_key",
    "inspect",
    "key_kind",
    "key_pem",
    "load_key",
    "load_request",
    "match_key",
    "parse_constraint",
    "parse_name",
    "parse_names",
    "read",
    "request_facts",
    "request_faults",
    "self_signed",
    "to_pem",
    "verify",
    "write_key",
    "write_pem",
]
