"""The mark of classes that `tlsio` exports."""

from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def exported(cls: _Class) -> _Class:
    """Let tracebacks, reprs and pickles show a class as `tlsio.TLSError`, the name that users know."""
    cls.__module__ = "tlsio"
    return cls
