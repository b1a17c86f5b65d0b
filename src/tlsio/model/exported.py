"""What packages export: the mark of public classes, and names that are imported on first use."""

import sys
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def exported(cls: _Class) -> _Class:
    """Let tracebacks, reprs and pickles name a class as users know it, such as `tlsio.TLSError`."""
    cls.__module__ = "tlsio"
    # The dictionaries of options have the public name of the class that checks them.
    cls.__name__ = cls.__qualname__ = cls.__name__.removesuffix("Dict")
    return cls


def lazy_names(
    package: str, homes: Mapping[str, str], **made: Callable[[], object]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package, which import a name on first use (PEP 562).

    Args:
        package: Its name.
        homes: Where each name is, as `pkgutil.resolve_name` reads it.
        made: What makes the value of a name that is nowhere.
    """
    namespace = vars(sys.modules[package])

    def find(name: str) -> object:
        if name in made:
            value = made[name]()
        elif name in homes:
            value = resolve_name(homes[name])
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        namespace[name] = value
        return value

    def names() -> list[str]:
        return sorted({*namespace, *namespace["__all__"]})

    return find, names
