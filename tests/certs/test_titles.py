"""What messages call a certificate or request without a subject, and clients without names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tlsio import ConfigError, certs
from tlsio.trust.certificate import read_all

if TYPE_CHECKING:
    from pathlib import Path


def test_certificate_without_subject_is_called_by_its_first_name() -> None:
    """The certificates of servers have none."""
    authority = certs.Authority.create("Test CA")
    verdict = certs.verify(authority.server("localhost", "127.0.0.1").cert_pem, "localhost", ca=certs.Authority.create("Other").cert_pem)
    assert 'the issuer of "DNS:localhost"' in verdict.causes[0].text


def test_certificate_with_subject_is_called_by_it() -> None:
    """Also if it has names."""
    leaf = certs.Authority.create("Test CA").client("ada", "ada@plant.test")
    assert next(iter(read_all([leaf.certificate.public_bytes(Encoding.DER)]))).title == "CN=ada"


def test_leaf_is_named_where_an_authority_is_needed() -> None:
    """With its name, as it has no subject."""
    leaf = certs.Authority.create("Test CA").server("localhost")
    with pytest.raises(ConfigError, match='The certificate "localhost" is not that of an authority'):
        certs.Authority.load(cert=leaf.cert_pem, key=leaf.key_pem)


def test_request_of_a_client_is_recognised() -> None:
    """A subject without names is for clients."""
    request = certs.create_request(subject="CN=ada", key=certs.generate_key())
    with pytest.raises(ConfigError) as caught:
        certs.Authority.create("Test CA").sign(request)
    assert caught.value.hint.endswith('such as "ada" of its subject. If it is for a client, give usage="client".')


def test_strict_policy_says_what_a_client_without_names_needs() -> None:
    """A subject alone is enough for the other policy."""
    authority = certs.Authority.create("Test CA")
    verdict = certs.verify(authority.client("ada").cert_pem, ca=authority.cert_pem, usage="client", policy="strict")
    assert "needs an alternative name" in verdict.causes[0].hint
    assert certs.verify(authority.client("ada", "ada@plant.test").cert_pem, ca=authority.cert_pem, usage="client", policy="strict")


def test_verdict_has_the_root_on_top() -> None:
    """As `tlsio connect` draws a chain."""
    authority = certs.Authority.create("Test CA")
    lines = certs.verify(authority.server("localhost").cert_pem, "localhost", ca=authority.cert_pem).lines()
    assert lines == ["accepted", "  CN=Test CA", "    DNS:localhost"]


def test_authority_writes_its_certificate_alone(tmp_path: Path) -> None:
    """The file that peers get."""
    authority = certs.Authority.create("Test CA")
    authority.write(cert=tmp_path / "root.pem")
    assert [one.name for one in tmp_path.iterdir()] == ["root.pem"]
    assert (tmp_path / "root.pem").read_bytes() == authority.cert_pem
