"""A name server for the tests of this folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bind import Bind

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def bind() -> Iterator[Bind]:
    """BIND, shared by all tests: use names of your own."""
    with Bind() as running:
        yield running
