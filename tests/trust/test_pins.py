"""Pins against digests."""

from __future__ import annotations

import pytest

from tlsio.trust.pins import matches, print_pin

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("pins", "digests", "expected"),
    [
        ((ONE,), (ONE,), True),
        ((ONE, TWO), (THREE, TWO), True),
        ((ONE, TWO), (THREE,), False),
        ((ONE,), (), False),
        ((), (ONE,), False),
        ((ONE,), (ONE[:31],), False),
    ],
)
def test_any_pin_with_any_digest(pins: tuple[bytes, ...], digests: tuple[bytes, ...], expected: bool) -> None:  # noqa: FBT001
    """Old and new key may stand side by side."""
    assert matches(pins, digests) is expected


def test_digests_are_printed_as_pins_are_written() -> None:
    """What a message shows can be pasted into the option."""
    assert print_pin(bytes(32)) == "sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
