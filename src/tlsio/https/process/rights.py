"""Becoming another user after the ports are bound."""

from __future__ import annotations

import grp
import os
import pwd
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from tlsio.model.environment import move_home
from tlsio.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Account", "check_readable", "find_account", "take"]


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
    except (KeyError, ValueError, OverflowError):  # not there, or neither name nor number: a null character, a digit that is none
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
    """Become the account, for good. Its home takes the place of root's in the environment.

    Raises:
        ConfigError: the kernel refused, or the rights could be taken back.
    """
    if os.geteuid() != 0:  # it is the account already, as `find_account` has checked
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
    # What this server and its application keep in the home would be looked for in root's. Another
    # folder is the choice of whoever started the process, and stays.
    with suppress(KeyError):
        move_home(pwd.getpwuid(0).pw_dir, pwd.getpwuid(account.uid).pw_dir)


def check_readable(paths: Iterable[Path]) -> None:
    """Check that this process can read files, which it does again when they change, and Python.

    Raises:
        ConfigError: it may not read one.
        OSError: one cannot be read for another reason.
    """
    user, group = _name_of_user(os.geteuid()), _name_of_group(os.getegid())
    if not os.access(os.__file__, os.R_OK):
        raise ConfigError(
            f"The user {user} cannot read this Python, which imports more later: {os.__file__}",
            code="ERR_HTTPS_ACCOUNT",
            hint="Install Python, and the packages, where every user can read them.",
        )
    for path in paths:
        try:
            path.open("rb").close()
        except PermissionError:
            raise ConfigError(
                f"{path} cannot be read by the user {user}, so it could not be read again when it changes",
                code="ERR_HTTPS_ACCOUNT",
                hint=f"Let the group read it: chgrp {group} {path} && chmod 640 {path}. Each folder above needs the right to enter it (x).",
            ) from None


def _name_of_user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def _name_of_group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
