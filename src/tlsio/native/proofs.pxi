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
