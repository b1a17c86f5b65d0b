"""The places in which the storages of these tests keep their values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from running_redis import one_redis, redis_server
from storages import Storages
from tlsio.acme import MemoryStorage

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["one_redis", "redis_server", "storages"]


def _at(kind: str, request: pytest.FixtureRequest, folder: Path) -> Storages:
    if kind == "memory":
        return Storages(kind, "", MemoryStorage())
    return Storages(kind, request.getfixturevalue("redis_server").url if kind == "redis" else str(folder / "storage"))


@pytest.fixture(params=["memory", "file", "redis"])
def storages(request: pytest.FixtureRequest, tmp_path: Path) -> Storages:
    """An empty place of each kind."""
    return _at(request.param, request, tmp_path)


@pytest.fixture(params=["file", "redis"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Storages:
    """An empty place of each kind that several processes can use."""
    return _at(request.param, request, tmp_path)
