"""Servers on both drivers and under both versions of TLS, as in `tests/connection`."""

from __future__ import annotations

import pytest

from net import Net


@pytest.fixture(params=[("native", "TLSv1.2"), ("native", "TLSv1.3"), ("portable", "TLSv1.2"), ("portable", "TLSv1.3")], ids="-".join)
def net(request: pytest.FixtureRequest) -> Net:
    """One of the four."""
    return Net(*request.param)
