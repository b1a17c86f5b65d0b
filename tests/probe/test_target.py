"""The host and port of a server that is looked at."""

from __future__ import annotations

from typing import Any

import pytest

from tlsio import UsageTypeError, UsageValueError, probe


@pytest.mark.parametrize("look", [probe.connect, probe.examine])
@pytest.mark.parametrize(
    ("host", "port", "said"),
    [
        (8443, "localhost", "host must be a str"),
        ("localhost", None, "port must be an int"),
        ("localhost", 70000, "port"),
        ("", 443, "host"),
    ],
)
async def test_wrong_host_or_port(look: Any, host: Any, port: Any, said: str) -> None:
    """It is said before anything connects."""
    with pytest.raises((UsageTypeError, UsageValueError), match=said) as caught:
        await look(host, port)
    if host == 8443:
        assert caught.value.hint == "The host comes before the port."
