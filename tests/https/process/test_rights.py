"""The account of a server, without a change of it: `test_run.py` has the processes."""

from __future__ import annotations

import os
import pwd

import pytest

from tlsio.https.process.rights import find_account
from tlsio.model.errors import ConfigError


def test_an_account() -> None:
    """By name or number."""
    own = pwd.getpwuid(os.geteuid())
    assert find_account(None, None) is None
    assert find_account(own.pw_name, None) == find_account(str(own.pw_uid), None) == (own.pw_uid, own.pw_gid, own.pw_name)


@pytest.mark.parametrize("name", ["", "no such name", "²", "a\0b", "\udcff", "9" * 30, "9" * 5000], ids=lambda name: ascii(name[:40]))
def test_an_account_that_is_none(name: str) -> None:
    """Whatever the reason, such as a character that no name has."""
    for user, group, what in ((name, None, "user"), (None, name, "group")):
        with pytest.raises(ConfigError, match=f"There is no {what} ") as caught:
            find_account(user, group)
        assert caught.value.code == "ERR_HTTPS_ACCOUNT"
