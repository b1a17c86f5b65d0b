"""Fixtures of an ACME authority: Pebble, started once for the run; and what certbot keeps with it."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from certbot_peer import Certbot
from pebble import Pebble

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["certbot", "make_pebble", "pebble"]


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


@pytest.fixture(scope="session")
def certbot(pebble: Pebble, tmp_path_factory: pytest.TempPathFactory) -> Certbot:
    """A tree with a certificate by certbot's own server, and one by a web server's folder; not to be changed."""
    made = Certbot(tmp_path_factory.mktemp("certbot"), pebble)
    hook = 'test -f "$RENEWED_LINEAGE/fullchain.pem" && echo "renewed, $RENEWED_DOMAINS"'
    made.obtain(
        "own.example.test", "www.own.example.test", options=("--standalone", "--preferred-profile", "default", "--deploy-hook", hook)
    )
    with made.serving_webroot():
        made.obtain(
            "web.example.test", options=("--webroot", "-w", str(made.webroot), "--key-type", "rsa", "--preferred-profile", "shortlived")
        )
    return made
