# The border to C: every size that the engine or OpenSSL does not check is checked here first.
#
# C gets a pointer and assumes a size: 48 bytes for a ticket key, 32 for a pin, a text without NUL.
# The floors above check their options, but values also come from user code (a source of ticket
# keys, a hook, a store) and by other ways than options. Integers need no check: Cython raises
# OverflowError if one does not fit.

from tlsio.model.checks import check_bytes, out_of_range, wrong_type, wrong_value
from tlsio.model.errors import UsageStateError, UsageValueError

# The limit of one handshake (options.MAX_HANDSHAKE_BYTES): a session's certificate and ticket were
# received in one.
cdef Py_ssize_t _MAX_SESSION = 262144
MAX_SESSION_BYTES = _MAX_SESSION
# A CertificateStatus has three bytes for the size of its response (RFC 6066 section 8).
cdef Py_ssize_t _MAX_STATUS = 0xffffff
# HkdfLabel has two bytes for the length (RFC 8446 section 7.1), and the exporter two for the size
# of the context (RFC 5705 section 4).
cdef Py_ssize_t _MAX_EXPORT = 0xffff
# A host name (RFC 1035 section 2.3.4).
cdef Py_ssize_t _MAX_NAME = 255
# The engine counts nanoseconds in 63 bits: 292 years.
cdef double _MAX_SECONDS = 9.2e9


cdef bytes _sized(str what, data, Py_ssize_t low, Py_ssize_t high):
    """Take `low` to `high` bytes. The message contains the size and never the content, which may be
    a secret.
    """
    cdef bytes checked = data if type(data) is bytes else check_bytes(what, data)
    cdef Py_ssize_t size = PyBytes_GET_SIZE(checked)
    if low == high and size != low:
        raise wrong_value(what, f"must be exactly {low} bytes, got {size}")
    if not low <= size <= high:
        raise out_of_range(what, f"from {low} to {high} bytes", f"{size} bytes")
    return checked


cdef bytes _text_up_to(str what, data, Py_ssize_t high):
    """Take 1 to `high` bytes without NUL, for C functions that read up to a NUL."""
    cdef bytes checked = _sized(what, data, 1, high)
    if b"\0" in checked:
        raise wrong_value(what, "must not contain a NUL character")
    return checked


cdef tuple _ticket_keys(keys):
    """Take a list of one or more ticket keys. Returns those that a ring has room for (the first
    ones), joined, and their number.
    """
    if not isinstance(keys, (list, tuple)):
        raise wrong_type("Ticket keys", "a list", keys)
    checked = [_sized(f"Ticket key {number}", key, TIO_TICKET_KEY, TIO_TICKET_KEY) for number, key in enumerate(keys, 1)]
    if not checked:
        raise wrong_value("The list of ticket keys", "is empty")
    checked = checked[:TIO_TICKET_KEYS]
    return b"".join(checked), len(checked)


cdef bytes _wire_names(str what, data):
    """Take names in wire format, each with a length byte, which C follows without a check."""
    cdef bytes checked = _sized(what, data, 0, 0xffff)
    cdef Py_ssize_t at = 0, size = PyBytes_GET_SIZE(checked)
    while at < size and checked[at]:
        at += 1 + checked[at]
    if at != size:
        raise wrong_value(what, "is not a list of names, each with a length byte before it")
    return checked


cdef int64_t _nanoseconds(str what, double seconds) except -1:
    """Take 0 (none) or more seconds."""
    if not 0 <= seconds <= _MAX_SECONDS:
        raise out_of_range(what, f"from 0 to {_MAX_SECONDS:.0f} seconds", seconds)
    return <int64_t>(seconds * 1e9)


cdef bint _is_session_size(bytes der):
    """Whether the size is plausible for a session. OpenSSL is not asked to parse a larger one."""
    return 0 < PyBytes_GET_SIZE(der) <= _MAX_SESSION
