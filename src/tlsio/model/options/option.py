"""An option: a field of a frozen dataclass that knows how its value is checked."""

from collections.abc import Callable
from dataclasses import field, fields
from typing import Any, TypeAlias

__all__ = ["Check", "checks_of", "option", "take_as_given", "unlimited"]

# Gets the label of an option and the value that was given; returns the value in the form the floors above work with.
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
        default: The value when the option is not given.
        default_factory: Returns that value instead, each time.
        is_secret: The value never appears in a repr.
        none_is_no_limit: None is a value, which means no limit. For every other option None means "not given".
        only_servers: Clients do not have the option.
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
    """Accept any value: a floor above knows its class and judges it there."""
    return value
