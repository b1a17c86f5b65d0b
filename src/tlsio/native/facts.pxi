# What a connection has agreed on: OpenSSL's and the engine's facts as Python's values.

cdef uint16_t WANT_RECORDS = TIO_WANT_KEYS | TIO_WANT_OFFER | TIO_WANT_TRACE

cdef tuple _KEY_KINDS = (None, "DH", "ECDH", "TLSGroup")

# Node's words (its GetSharedSigalgs in src/crypto/crypto_tls.cc); others have OpenSSL's short name.
cdef dict _SIGNATURES = {
    EVP_PKEY_RSA: "RSA", EVP_PKEY_RSA_PSS: "RSA-PSS", EVP_PKEY_DSA: "DSA", EVP_PKEY_EC: "ECDSA",
    EVP_PKEY_ED25519: "Ed25519", EVP_PKEY_ED448: "Ed448",
}


cdef tuple key_info_of(tio_conn *c):
    """(kind, name or None, bits), or None: no ephemeral key."""
    cdef tio_key_info info = tio_conn_key_info(c)
    if info.kind == TIO_KEY_NONE:
        return None
    return (_KEY_KINDS[info.kind], info.name.decode() if info.name != NULL else None, info.bits)


cdef list sigalgs_of(SSL *ssl):
    cdef int sign, digest, i
    found = []
    for i in range(SSL_get_shared_sigalgs(ssl, 0, NULL, NULL, NULL, NULL, NULL)):
        if SSL_get_shared_sigalgs(ssl, i, &sign, &digest, NULL, NULL, NULL) > 0:
            found.append(f"{_SIGNATURES.get(sign) or name_of(sign)}+{name_of(digest)}")
    return found


cdef str name_of(int number):
    cdef const char *name = OBJ_nid2sn(number)
    return "UNDEF" if name == NULL else name.decode()


cdef bytes finished_of(SSL *ssl, bint peer):
    """The verify_data of a Finished message; EVP_MAX_MD_SIZE is 64. None before there is one."""
    cdef unsigned char data[64]
    cdef size_t size = SSL_get_peer_finished(ssl, data, sizeof(data)) if peer else SSL_get_finished(ssl, data, sizeof(data))
    return (<const char *>data)[:size] if size else None


cdef bytes exported_of(SSL *ssl, Py_ssize_t length, bytes label, bytes context):
    cdef bytes secret, given = b"" if context is None else _sized("context", context, 0, _MAX_EXPORT)
    if ssl == NULL:
        raise UsageStateError("There is nothing to export keying material from before the handshake", code="ERR_TLS_INVALID_STATE")
    if not 1 <= length <= _MAX_EXPORT:
        raise out_of_range("length", f"from 1 to {_MAX_EXPORT}", length)
    secret = PyBytes_FromStringAndSize(NULL, length)
    ERR_clear_error()
    if SSL_export_keying_material(ssl, <unsigned char *>PyBytes_AS_STRING(secret), <size_t>length, PyBytes_AS_STRING(label),
                                  <size_t>PyBytes_GET_SIZE(label), _start(given), <size_t>PyBytes_GET_SIZE(given),
                                  context is not None) == 1:
        return secret
    errors = _drain_errors()
    library, _, reason, _ = errors[0] if errors else (ERR_LIB_SSL, 0, "internal error", "")
    raise UsageValueError(f"Keying material cannot be exported: {reason}", code=_code_of(library, reason),
                          hint="TLS 1.3 gives at most 255 hashes; TLS 1.2 keeps its own labels to itself.")


cdef object _check_trace():
    if not TIO_TRACES:
        raise UsageStateError("This OpenSSL was built without SSL_trace", code="ERR_FEATURE_UNAVAILABLE_ON_PLATFORM")
