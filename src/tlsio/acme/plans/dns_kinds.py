"""The kinds of DNS providers that plans, servers and the command can name.

In a file of its own, because the command's help needs them where the extra is missing.
"""

from __future__ import annotations

__all__ = ["DNS_KINDS"]

DNS_KINDS = ("rfc2136", "hook", "lexicon")
