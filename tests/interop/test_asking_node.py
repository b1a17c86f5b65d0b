"""Node is asked what we claim of it: whom its identity check accepts, and by which codes it tells mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import expectation_tables
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
    table = [(host, {} if name is None else {"CN": name}, names) for host, name, names, _ in expectation_tables.IDENTITIES]
    said = await node.check(table)
    others = [(row, one) for row, one in zip(expectation_tables.IDENTITIES, said, strict=True) if one != row[-1]]
    assert [(row, one) for row, one in others if row[0] not in DISPUTED] == []
    assert len(others) <= 2


def wrong_passphrase(key: bytes) -> str:
    """Return one that leaves a wrong padding. One of 256 leaves a right one, and Node then says that the key is of an unknown kind."""
    for passphrase in ("x", "xx", "xxx", "xxxx"):
        with pytest.raises(tlsio.ConfigError) as caught:
            tlsio.create_secure_context(key=key, passphrase=passphrase)
        if caught.value.reason == "bad decrypt":
            return passphrase
    raise AssertionError("no passphrase leaves a wrong padding")


ENCRYPTED = pki.localhost().encrypted_key_pem()
WRONG = wrong_passphrase(ENCRYPTED)
MISTAKES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # Node's options, and ours
    ({"ciphers": ":"}, {"ciphers": ":"}),
    ({"ciphers": "no-such-cipher"}, {"ciphers": "no-such-cipher"}),
    ({"key": ENCRYPTED, "passphrase": 1}, {"key": ENCRYPTED, "passphrase": 1}),
    ({"key": ENCRYPTED, "passphrase": WRONG}, {"key": ENCRYPTED, "passphrase": WRONG}),
    ({"key": ENCRYPTED}, {"key": ENCRYPTED}),
    ({"key": pki.localhost().cert_pem}, {"key": pki.localhost().cert_pem}),
    ({"cert": b"garbage"}, {"cert": b"garbage"}),
    ({"crl": b"garbage"}, {"crl": b"garbage"}),
    ({"ecdhCurve": "no-such-curve"}, {"ecdh_curve": "no-such-curve"}),
    ({"secureProtocol": "SSLv3_method"}, {"secure_protocol": "SSLv3_method"}),
    ({"secureProtocol": "%s_method"}, {"secure_protocol": "%s_method"}),
    ({"secureProtocol": "TLS_method", "minVersion": "TLSv1.2"}, {"secure_protocol": "TLS_method", "min_version": "TLSv1.2"}),
]


@pytest.mark.node("tls-set-ciphers-error", "tls-no-sslv23", "tls-passphrase", "tls-ecdh-multiple")
@pytest.mark.parametrize(("theirs", "ours"), MISTAKES, ids=lambda options: next(iter(options)))
async def test_mistakes_in_content_have_nodes_codes(node: Node, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
    """What is of the right type and still wrong."""
    with pytest.raises(tlsio.TLSError) as caught:
        tlsio.create_secure_context(**ours)
    assert await node.refuse(theirs) == caught.value.code
