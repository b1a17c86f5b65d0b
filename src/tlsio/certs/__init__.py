"""Certificates: keys, requests and authorities, in memory and on disk.

What `openssl`, `mkcert` and trustme are used for. Keys and certificates are objects of
`cryptography`; every option of `tlsio` that takes a certificate or a key takes these objects too.
"""

from .authority import Authority, AuthorityOptions
from .diffie_hellman import DH_GROUPS, dhparams
from .keys import KEY_KINDS, generate_key, key_kind, key_pem, load_key, write_key
from .leaf import Leaf, LeafOptions, self_signed
from .names import describe_name, parse_constraint, parse_name, parse_names
from .request import RequestFacts, create_request, load_request, request_facts, request_faults
from .status import Revocation

__all__ = [
    "DH_GROUPS",
    "KEY_KINDS",
    "Authority",
    "AuthorityOptions",
    "Leaf",
    "LeafOptions",
    "RequestFacts",
    "Revocation",
    "create_request",
    "describe_name",
    "dhparams",
    "generate_key",
    "key_kind",
    "key_pem",
    "load_key",
    "load_request",
    "parse_constraint",
    "parse_name",
    "parse_names",
    "request_facts",
    "request_faults",
    "self_signed",
    "write_key",
]
