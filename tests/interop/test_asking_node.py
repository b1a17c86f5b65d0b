"""Node is asked what we claim of it: whom its identity check accepts, and by which codes it tells mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import matrices
import pki
import tlsio

if TYPE_CHECKING:
    from node import Node

pytestmark = pytest.mark.only_loop("asyncio")


# Hosts of which Nodes before 26, whose the table is, think otherwise: 20 of names beyond ASCII, 24 of IPv6.
DISPUTED = {"bücher.example.com", "BÜCHER.example.com", "fe80::1%eth0", "::1"}


@pytest.mark.node("tls-check-server-identity")
async def test_identity_table_is_nodes(node: Node) -> None:
    """Row by row, to the letter."""
    table = [(host, {} if name is None else {"CN": name}, names) for host, name, names, _ in matrices.IDENTITIES]
    said = await node.check(table)
    others = [(row, one) for row, one in zip(matrices.IDENTITIES, said, strict=True) if one != row[-1]]
    assert [(row, one) for row, one in others if row[0] not in DISPUTED] == []
    assert len(others) <= 2


ENCRYPTED = pki.localhost().encrypted_key_pem()
MISTAKES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    # what is called, with Node's options, with ours
    ("createSecureContext", {"ciphers": 9}, {"ciphers": 9}),
    ("createSecureContext", {"ciphers": ":"}, {"ciphers": ":"}),
    ("createSecureContext", {"ciphers": "no-such-cipher"}, {"ciphers": "no-such-cipher"}),
    ("createSecureContext", {"key": ENCRYPTED, "passphrase": 1}, {"key": ENCRYPTED, "passphrase": 1}),
    ("createSecureContext", {"key": ENCRYPTED, "passphrase": "x"}, {"key": ENCRYPTED, "passphrase": "x"}),
    ("createSecureContext", {"key": ENCRYPTED}, {"key": ENCRYPTED}),
    ("createSecureContext", {"key": pki.localhost().cert_pem}, {"key": pki.localhost().cert_pem}),
    ("createSecureContext", {"key": 1}, {"key": 1}),
    ("createSecureContext", {"cert": b"garbage"}, {"cert": b"garbage"}),
    ("createSecureContext", {"cert": True}, {"cert": True}),
    ("createSecureContext", {"ca": 1}, {"ca": 1}),
    ("createSecureContext", {"crl": b"garbage"}, {"crl": b"garbage"}),
    ("createSecureContext", {"ecdhCurve": 1}, {"ecdh_curve": 1}),
    ("createSecureContext", {"ecdhCurve": "no-such-curve"}, {"ecdh_curve": "no-such-curve"}),
    ("createSecureContext", {"sigalgs": ""}, {"sigalgs": ""}),
    ("createSecureContext", {"sigalgs": 1}, {"sigalgs": 1}),
    ("createSecureContext", {"minVersion": "fhqwhgads"}, {"min_version": "fhqwhgads"}),
    ("createSecureContext", {"maxVersion": "fhqwhgads"}, {"max_version": "fhqwhgads"}),
    ("createSecureContext", {"secureProtocol": "SSLv3_method"}, {"secure_protocol": "SSLv3_method"}),
    ("createSecureContext", {"secureProtocol": "%s_method"}, {"secure_protocol": "%s_method"}),
    (
        "createSecureContext",
        {"secureProtocol": "TLS_method", "minVersion": "TLSv1.2"},
        {"secure_protocol": "TLS_method", "min_version": "TLSv1.2"},
    ),
    ("createServer", {"ticketKeys": "x"}, {"ticket_keys": "x"}),
    ("createServer", {"ticketKeys": b"x"}, {"ticket_keys": b"x"}),
    ("createServer", {"handshakeTimeout": "x"}, {"handshake_timeout": "x"}),
    ("createServer", {"sessionTimeout": "x"}, {"session_timeout": "x"}),
    ("createServer", {"SNICallback": "x"}, {"sni_callback": "x"}),
]


@pytest.mark.node("tls-basic-validations", "tls-options-boolean-check", "tls-set-ciphers-error", "tls-no-sslv23", "tls-passphrase")
@pytest.mark.parametrize(
    ("call", "their_options", "options"), MISTAKES, ids=lambda value: next(iter(value)) if isinstance(value, dict) else ""
)
async def test_mistakes_have_nodes_codes(node: Node, call: str, their_options: dict[str, Any], options: dict[str, Any]) -> None:
    """The same option, the same value, the same code."""
    make: Any = {"createSecureContext": tlsio.create_secure_context, "createServer": tlsio.create_server}[call]
    with pytest.raises(tlsio.TLSError) as caught:
        make(**options)
    assert await node.refuse(call, their_options) == caught.value.code
