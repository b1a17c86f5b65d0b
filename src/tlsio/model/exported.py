"""The mark of classes that `tlsio` exports."""

from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def exported(cls: _Class) -> _Class:
    """Let tracebacks, reprs and pickles show a class by its public name, such as `tlsio.TLSError`."""
    cls.__module__ = "tlsio"
    return cls
