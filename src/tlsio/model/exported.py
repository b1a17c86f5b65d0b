"""The mark of classes that `tlsio` exports."""

from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def exported(cls: _Class) -> _Class:
    """Let tracebacks, reprs and pickles name a class as users know it, such as `tlsio.TLSError`."""
    cls.__module__ = "tlsio"
    # The dictionaries of options have the public name of the class that checks them.
    cls.__name__ = cls.__qualname__ = cls.__name__.removesuffix("Dict")
    return cls
