"""Declares options as fields of frozen dataclasses, each with its check."""

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, TypeAlias

__all__ = ["Check", "checks_of", "option", "take_as_given", "unlimited"]

# Takes the label of an option and the given value; returns the value in the form that the floors
# above use.
Check: TypeAlias = Callable[[str, object], Any]


def option(
    check: Check,
    *,
    default: Any = None,
    default_factory: Callable[[], Any] | None = None,
    is_secret: bool = False,
    none_is_no_limit: bool = False,
    only_servers: bool = False,
) -> Any:
    """Declare one option as a dataclass field.

    Args:
        check: Returns the value in its final form, or raises a UsageError.
        default: The value if the option is not given.
        default_factory: Returns the default instead, called each time.
        is_secret: The value never appears in a repr.
        none_is_no_limit: None is a value that means "no limit". For all other options None means
            "not given".
        only_servers: Clients do not have this option.
    """
    metadata = {"check": check, "none_is_no_limit": none_is_no_limit, "only_servers": only_servers}
    if default_factory is not None:
        return field(default_factory=default_factory, repr=not is_secret, metadata=metadata)
    return field(default=default, repr=not is_secret, metadata=metadata)


def checks_of(options: type, *, for_client: bool = False) -> dict[str, Check]:
    """Return the check of each option that a dataclass declares, by the option's name."""
    return {
        item.name: item.metadata["check"]
        for item in fields(options)
        if "check" in item.metadata and not (for_client and item.metadata["only_servers"])
    }


def unlimited(*options: type) -> frozenset[str]:
    """Return the names of the options for which None means no limit."""
    return frozenset(item.name for each in options for item in fields(each) if item.metadata.get("none_is_no_limit"))


def take_as_given(_label: str, value: object) -> object:
    """Accept any value: a floor above, which has the value's class, checks it."""
    return value
