"""A name server for the tests of this folder, and an authority that asks it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bind import Bind
from pebble import Pebble

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bind() -> Iterator[Bind]:
    """BIND, shared by all tests: use names of your own."""
    with Bind() as running:
        yield running


@pytest.fixture(scope="session")
def pebble_with_bind(bind: Bind) -> Iterator[Pebble]:
    """An authority that asks this name server, in place of its own."""
    with Pebble(dns_server=bind.address) as running:
        yield running
