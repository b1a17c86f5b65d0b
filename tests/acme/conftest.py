"""An ACME authority for the tests of this folder: Pebble, started once for the run."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from pebble import Pebble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def pebble() -> Iterator[Pebble]:
    """A running authority; its state is shared by all tests, so use names of your own."""
    with Pebble() as running:
        yield running


@pytest.fixture
def make_pebble() -> Iterator[Callable[..., Pebble]]:
    """Start authorities with other options; they stop at the end of the test."""
    with contextlib.ExitStack() as running:

        def make(**options: Any) -> Pebble:
            return running.enter_context(Pebble(**options))

        yield make
