# libcrypto's judgement on signatures, certificates and revoked serial numbers, without a
# connection.
#
# Decisions about a peer follow OpenSSL, which accepts certificates, keys and signature algorithms
# that other parsers reject. All input is untrusted DER. Each function clears OpenSSL's error queue
# and leaves it empty.


def verify_signature(bytes spki, bytes algorithm, bytes data, bytes signature):
    cdef const unsigned char *key_at = _start(spki)
    cdef const unsigned char *how_at = _start(algorithm)
    cdef const unsigned char *bits_at = _start(signature)
    cdef const unsigned char *data_at = _start(data)
    cdef long key_size = PyBytes_GET_SIZE(spki), how_size = PyBytes_GET_SIZE(algorithm)
    cdef long bits_size = PyBytes_GET_SIZE(signature), data_size = PyBytes_GET_SIZE(data)
    cdef EVP_PKEY *key = NULL
    cdef X509_ALGOR *how = NULL
    cdef ASN1_BIT_STRING *bits = NULL
    cdef ASN1_TYPE *signed = NULL
    cdef bint ok = False
    with nogil:                                         # hashing a CRL of 10 MB takes 25 ms
        key = d2i_PUBKEY(NULL, &key_at, key_size)
        how = d2i_X509_ALGOR(NULL, &how_at, how_size)
        bits = d2i_ASN1_BIT_STRING(NULL, &bits_at, bits_size)
        # As ANY, a sequence is stored and encoded unchanged, so exactly the given bytes are hashed.
        signed = d2i_ASN1_TYPE(NULL, &data_at, data_size)
        if key is not NULL and how is not NULL and bits is not NULL and signed is not NULL:
            ok = ASN1_item_verify(ASN1_ANY_it(), how, bits, signed, key) == 1
        ASN1_TYPE_free(signed)
        ASN1_BIT_STRING_free(bits)
        X509_ALGOR_free(how)
        EVP_PKEY_free(key)
        ERR_clear_error()
    return ok


cdef _Certificate _certificate_in(bytes data):
    """Return the certificate in DER, or None."""
    cdef const unsigned char *at = _start(data)
    cdef _Certificate owner = _Certificate.__new__(_Certificate)
    owner.x509 = d2i_X509(NULL, &at, _size(data))
    ERR_clear_error()
    return owner if owner.x509 is not NULL else None


# As many errors as a connection records.
cdef enum:
    _MAX_ERRORS = 16
    _LONG_CHAIN = 8                     # the limit of the engine (callbacks.c), for the same reason


cdef struct _Errors:
    int count
    int numbers[_MAX_ERRORS]
    int depths[_MAX_ERRORS]


cdef int _record_error(int ok, X509_STORE_CTX *verification) noexcept nogil:
    """Continue after each error, as the engine does: the last one decides."""
    cdef _Errors *errors = <_Errors *>X509_STORE_CTX_get_ex_data(verification, 0)
    cdef int at
    if not ok:
        at = min(errors.count, _MAX_ERRORS - 1)
        errors.numbers[at] = X509_STORE_CTX_get_error(verification)
        errors.depths[at] = X509_STORE_CTX_get_error_depth(verification)
        errors.count = at + 1
    return ok or sk_X509_num(X509_STORE_CTX_get0_chain(verification)) <= _LONG_CHAIN


def verify_chain(
    Roots roots not None, chain, *, int64_t at, bint of_server, int level, bint strict=False, bint partial_chain=False
):
    cdef list owners = [_certificate_in(data) for data in chain]
    cdef _Certificate owner
    cdef _Errors errors
    cdef unsigned long flags = 0
    cdef X509_STACK *others = sk_X509_new_null()
    cdef X509_STORE_CTX *verification = X509_STORE_CTX_new()
    cdef X509_VERIFY_PARAM *parameters
    errors.count = 0
    try:
        if not owners or None in owners:
            raise ValueError("a certificate of the chain cannot be read" if owners else "the chain is empty")
        if others is NULL or verification is NULL:
            raise MemoryError
        for owner in owners[1:]:
            if not sk_X509_push(others, owner.x509):
                raise MemoryError
        owner = owners[0]
        # The purpose as in libssl's ssl_verify_cert_chain(): that of the peer.
        if (not X509_STORE_CTX_init(verification, roots.store, owner.x509, others)
                or not X509_STORE_CTX_set_default(verification, b"ssl_server" if of_server else b"ssl_client")
                or not X509_STORE_CTX_set_ex_data(verification, 0, &errors)):
            raise MemoryError
        parameters = X509_STORE_CTX_get0_param(verification)
        if roots.crls:
            flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL
        if partial_chain:
            flags |= X509_V_FLAG_PARTIAL_CHAIN
        if strict:
            flags |= X509_V_FLAG_X509_STRICT
        X509_VERIFY_PARAM_set_flags(parameters, flags)
        X509_VERIFY_PARAM_set_auth_level(parameters, level)
        X509_VERIFY_PARAM_set_time(parameters, <time_t>at)
        X509_STORE_CTX_set_verify_cb(verification, _record_error)
        if X509_verify_cert(verification) <= 0 and not errors.count:
            errors.numbers[0] = X509_STORE_CTX_get_error(verification) or X509_V_ERR_UNSPECIFIED
            errors.depths[0] = 0
            errors.count = 1
        return ders_of(X509_STORE_CTX_get0_chain(verification)), tuple([(errors.numbers[i], errors.depths[i]) for i in range(errors.count)])
    finally:
        X509_STORE_CTX_free(verification)
        sk_X509_free(others)
        ERR_clear_error()


def has_valid_extensions(bytes certificate):
    cdef _Certificate owner = _certificate_in(certificate)
    valid = owner is not None and not X509_get_extension_flags(owner.x509) & (EXFLAG_INVALID | EXFLAG_CRITICAL)
    ERR_clear_error()
    return valid


def check_issued(bytes issuer, bytes certificate):
    cdef _Certificate above = _certificate_in(issuer)
    cdef _Certificate below = _certificate_in(certificate)
    if above is None or below is None:
        return X509_V_ERR_UNSPECIFIED
    found = X509_check_issued(above.x509, below.x509)
    ERR_clear_error()
    return found


def is_ocsp_response(bytes data not None):
    cdef const unsigned char *at = _start(data)
    cdef unsigned char *again = NULL
    cdef OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, _size(data))
    cdef int size = i2d_OCSP_RESPONSE(response, &again) if response is not NULL else -1
    same = size > 0 and (<const char *>again)[:size] == data
    OPENSSL_free(again)
    OCSP_RESPONSE_free(response)
    ERR_clear_error()
    return same


@cython.final
cdef class RevokedSerials:
    cdef tio_serials *ptr

    def __cinit__(self, bytes content not None):
        cdef const unsigned char *start = _start(content)
        cdef size_t size = <size_t>PyBytes_GET_SIZE(content)
        cdef int failed
        with nogil:                                     # 200,000 entries take 50 ms
            failed = tio_serials_read(start, size, &self.ptr)
        if failed == TIO_SERIALS_MEMORY:
            raise MemoryError
        if failed:
            raise ValueError("an entry is malformed, names an issuer of its own, or has an unknown critical extension")

    def __dealloc__(self):
        tio_serials_release(self.ptr)

    def __len__(self):
        return tio_serials_count(self.ptr)

    def find(self, bytes serial not None):
        cdef const uint8_t *date
        cdef size_t size = tio_serials_find(self.ptr, _start(serial), <size_t>PyBytes_GET_SIZE(serial), &date)
        return (<const char *>date)[:size] if size else None
