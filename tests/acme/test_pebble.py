"""The authority of these tests starts with the options given, and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509

if TYPE_CHECKING:
    from collections.abc import Callable

    from pebble import Pebble


@pytest.mark.slow
def test_the_authority_has_renewal_information_and_profiles(pebble: Pebble) -> None:
    """Older ones lack both; then the tests that need them would prove nothing."""
    found = pebble.directory()
    assert "renewalInfo" in found
    assert set(found["meta"]["profiles"]) == {"default", "shortlived", "seconds"}
    assert not found["meta"].get("externalAccountRequired")
    assert x509.load_pem_x509_certificate(pebble.root()).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.slow
def test_an_authority_can_be_started_with_other_options(make_pebble: Callable[..., Pebble]) -> None:
    """Two of them run next to each other."""
    first = make_pebble(eab={"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"})
    second = make_pebble(profiles={"seconds": 5})
    assert first.directory()["meta"]["externalAccountRequired"]
    assert set(second.directory()["meta"]["profiles"]) == {"seconds"}
    assert first.root() != second.root()
