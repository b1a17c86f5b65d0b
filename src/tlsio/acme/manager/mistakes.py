"""Failures that trying again does not end: settings must change, or a person must act."""

from __future__ import annotations

from datetime import timedelta

__all__ = ["MISTAKES", "OF_ACCOUNT", "find_rest"]

# About the account, so they would meet any name.
OF_ACCOUNT = frozenset(
    {
        "ERR_ACME_EXTERNAL_ACCOUNT",
        "ERR_ACME_EXTERNAL_ACCOUNT_REQUIRED",
        "ERR_ACME_INVALID_CONTACT",
        "ERR_ACME_INVALID_PROFILE",
        "ERR_ACME_TERMS_NOT_AGREED",
        "ERR_ACME_UNSUPPORTED_CONTACT",
        "ERR_ACME_USER_ACTION_REQUIRED",
    }
)
MISTAKES = OF_ACCOUNT | {
    "ERR_ACME_BAD_CSR",
    "ERR_ACME_BAD_PUBLIC_KEY",
    "ERR_ACME_NO_CHALLENGE",
    "ERR_ACME_REJECTED_IDENTIFIER",
    "ERR_ACME_UNSUPPORTED_IDENTIFIER",
}
# An authority may change its mind, or a person may have acted on its page.
_REST, _SHORTEST_REST, _SHARE_OF_LEFT = timedelta(days=1), timedelta(hours=1), 8


def find_rest(left: timedelta | None) -> timedelta:
    """Return how long a process with the same settings waits.

    Args:
        left: What is left of the life of the certificate; None: there is none.
    """
    return _REST if left is None else min(_REST, max(left / _SHARE_OF_LEFT, _SHORTEST_REST))
