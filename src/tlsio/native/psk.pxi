# Pre-shared keys: the only code where Python runs inside an OpenSSL call.
#
# What a `psk_callback` does to connections and servers is deferred until that call has returned:
# see `tio_in_psk_callback()` in engine.h and its uses in connection.pxi and reactor.pxi.

MAX_PSK_IDENTITY = TIO_PSK_IDENTITY
MAX_PSK_KEY = TIO_PSK_KEY

cdef extern from *:
    """
    #if PY_VERSION_HEX < 0x030D0000
    #define Py_IsFinalizing _Py_IsFinalizing
    #endif
    """
    int Py_IsFinalizing() nogil


def in_psk_callback():
    return tio_in_psk_callback() != 0


cdef int find_psk(tio_conn *c, const char *given, char *identity, uint8_t *key) noexcept nogil:
    """Supply a key to OpenSSL. Called from inside it, in the loop's thread, with or without the
    interpreter's lock.
    """
    if Py_IsFinalizing():
        return -1
    with gil:
        return ask_owner(c, given, identity, key)


cdef int ask_owner(tio_conn *c, const char *given, char *identity, uint8_t *key) noexcept:
    cdef Connection connection = None
    cdef Gate gate
    cdef bytes name, secret
    try:
        if tio_conn_owner(c) == NULL:
            gate = <Gate>tio_conn_gate(c).owner
            gate._adopt(gate.reactor, c)
        connection = <Connection>tio_conn_owner(c)
        if connection.owner is None:    # closed for good, but not released yet
            return -1
        found = run_in(connection.context_vars, connection.owner._find_key, None if given == NULL else <bytes>given)
        if connection.owner is None:    # `_find_key` has closed it
            return -1
        if found is None:
            return 0
        secret = _sized("The pre-shared key", found[1], 1, TIO_PSK_KEY)
        if identity != NULL:
            name = _text_up_to("The PSK identity", found[0], TIO_PSK_IDENTITY)
            memcpy(identity, PyBytes_AS_STRING(name), PyBytes_GET_SIZE(name) + 1)
        memcpy(key, PyBytes_AS_STRING(secret), PyBytes_GET_SIZE(secret))
        return <int>PyBytes_GET_SIZE(secret)
    except BaseException as error:
        # an exception must not leave this function: Cython would return 0, which means that there
        # is no key
        report_failure(connection, error)
        return -1


cdef void report_failure(Connection connection, error) noexcept:
    """Report an exception of `_find_key`. Cython gives one of this function itself to
    `sys.unraisablehook`, and returns.
    """
    if connection is not None and connection.owner is not None:
        connection.owner._key_failed(error)
