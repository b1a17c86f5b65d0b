"""Becoming another user after the ports are bound and the keys are read."""

from __future__ import annotations

import grp
import os
import pwd
from typing import NamedTuple

from tlsio.model.errors import ConfigError

__all__ = ["Account", "find_account", "take"]


class Account(NamedTuple):
    """A user and a group by number, and the user's name for the supplementary groups."""

    uid: int
    gid: int
    name: str | None


def find_account(user: str | None, group: str | None) -> Account | None:
    """Return the account that `user` and `group` name; None if neither is given.

    Raises:
        ConfigError: there is no such user or group, or this process may not change.
    """
    if user is None and group is None:
        return None
    name: str | None = None
    uid, gid = os.geteuid(), os.getegid()
    try:
        if user is not None:
            entry = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
            uid, gid, name = entry.pw_uid, entry.pw_gid, entry.pw_name
        if group is not None:
            gid = grp.getgrgid(int(group)).gr_gid if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        what = f"user {user!r}" if name is None and user is not None else f"group {group!r}"
        raise ConfigError(f"There is no {what} on this machine", code="ERR_HTTPS_ACCOUNT") from None
    if os.geteuid() != 0 and (uid, gid) != (os.geteuid(), os.getegid()):
        raise ConfigError(
            "Only root can become another user or group",
            code="ERR_HTTPS_ACCOUNT",
            hint="Leave out --user and --group, or start as root.",
        )
    return Account(uid, gid, name)


def take(account: Account) -> None:
    """Become the account, for good.

    Raises:
        ConfigError: the kernel refused, or the rights could be taken back.
    """
    if (account.uid, account.gid) == (os.geteuid(), os.getegid()):
        return
    try:
        if account.name is not None:
            os.initgroups(account.name, account.gid)
        else:
            os.setgroups([account.gid])
        os.setresgid(account.gid, account.gid, account.gid)
        os.setresuid(account.uid, account.uid, account.uid)
    except OSError as error:
        raise ConfigError(f"The rights of root could not be dropped: {error.strerror}", code="ERR_HTTPS_ACCOUNT") from None
    if account.uid and 0 in os.getresuid():
        raise ConfigError("The rights of root were not dropped", code="ERR_HTTPS_ACCOUNT")
