# The work of making keys from passphrases. The writer of an encrypted file chooses how much it is,
# up to years, so it is counted before it is done. The numbers are read by OpenSSL, which also uses
# them: another parser could find smaller ones.

# Iterations for one file. OpenSSL and Java write 2,048 and 10,000, GnuTLS 600,000 for each part of a
# PKCS#12: with the MAC, a key and two lists of certificates 2.4 million. OWASP recommends 600,000 of
# PBKDF2 with SHA-256, NIST SP 800-132 at least 1,000. Java reads 5 million for one part. These take
# some seconds.
cdef object _MAX_ITERATIONS = 5_000_000
# Each of the N * r * p steps of scrypt takes about as long, and 128 bytes of memory too: so at most
# 160 MB. OWASP recommends 2^17 * 8 * 1.
cdef object _SCRYPT_STEP = 4
# OpenSSL converts numbers to int without a check: a negative one may become a huge one.
cdef object _UNREADABLE_NUMBER = 1 << 64


@cython.final
cdef class Work:
    cdef str label
    cdef object total

    def __cinit__(self, str label):
        self.label = label
        self.total = 0

    def add_iterations(self, count):
        self.total += count
        ERR_clear_error()
        if self.total > _MAX_ITERATIONS:
            raise ConfigError(
                f"Decrypting {self.label} needs more than {_MAX_ITERATIONS:,} iterations",
                code="ERR_TLS_TOO_MANY_ITERATIONS",
                hint="If its source is trusted, encrypt it again with fewer: a key with openssl pkcs8 -topk8 -iter 600000, "
                "a PKCS#12 with openssl pkcs12 -export -iter 600000.",
            )

    def add_key(self, bytes data):
        self.add_der_key(_start(data), _size(data))

    cdef int add(self, const X509_ALGOR *algorithm) except -1:
        """Count those of an encryption or a MAC."""
        self.add_iterations(_count_iterations(algorithm, True))
        return 0

    cdef int add_der_key(self, const unsigned char *data, long size) except -1:
        """Count those of an EncryptedPrivateKeyInfo; of anything else there are none."""
        cdef X509_SIG *encrypted = d2i_X509_SIG(NULL, &data, size)
        cdef const X509_ALGOR *algorithm
        if encrypted is NULL:
            ERR_clear_error()
            return 0
        try:
            X509_SIG_get0(encrypted, &algorithm, NULL)
            return self.add(algorithm)
        finally:
            X509_SIG_free(encrypted)


cdef int _count_key(material) except -1:
    """Refuse an encrypted key, in PEM or DER, that needs too many iterations."""
    cdef bytes data = _content(material)
    cdef Work work = Work(material.label)
    cdef BIO *bio
    if _is_der(data):
        return work.add_der_key(_start(data), _size(data))
    bio = _open(data)
    try:
        while not BIO_eof(bio):         # OpenSSL also goes on after a block that it cannot read
            _add_block(work, bio)
    finally:
        BIO_free(bio)
        ERR_clear_error()
    return 0


cdef int _add_block(Work work, BIO *bio) except -1:
    cdef char *name = NULL
    cdef char *header = NULL
    cdef unsigned char *content = NULL
    cdef long size = 0
    if not PEM_read_bio(bio, &name, &header, &content, &size):
        return 0
    try:
        return work.add_der_key(content, size)      # whatever its label says
    finally:
        OPENSSL_free(name)
        OPENSSL_free(header)
        OPENSSL_clear_free(content, <size_t>size)


cdef object _count_iterations(const X509_ALGOR *algorithm, bint is_outer):
    """Count those of PKCS#12's own derivation (RFC 7292 B.2), and of PBKDF2 (RFC 8018 A.2) and scrypt
    (RFC 7914 7), which PBES2 and PBMAC1 name.
    """
    cdef const ASN1_OBJECT *kind
    cdef const void *value
    cdef const unsigned char *at
    cdef int tag, number
    cdef long size
    cdef PBE2PARAM *scheme
    cdef PBKDF2PARAM *pbkdf2
    cdef SCRYPT_PARAMS *scrypt
    cdef PBEPARAM *own
    X509_ALGOR_get0(&kind, &tag, &value, algorithm)
    if tag != V_ASN1_SEQUENCE:
        return 0
    at = ASN1_STRING_get0_data(<const ASN1_STRING *>value)
    size = ASN1_STRING_length(<const ASN1_STRING *>value)
    number = OBJ_obj2nid(kind)
    if number == NID_pbes2 or number == NID_pbmac1:
        scheme = d2i_PBE2PARAM(NULL, &at, size) if is_outer else NULL     # PBMAC1 has the same fields
        found = _count_iterations(scheme.keyfunc, False) if scheme is not NULL else 0
        PBE2PARAM_free(scheme)
    elif number == NID_id_pbkdf2:
        pbkdf2 = d2i_PBKDF2PARAM(NULL, &at, size)
        found = _number(pbkdf2.iter) if pbkdf2 is not NULL else 0
        PBKDF2PARAM_free(pbkdf2)
    elif number == NID_id_scrypt:
        scrypt = d2i_SCRYPT_PARAMS(NULL, &at, size)
        found = 0
        if scrypt is not NULL:
            found = _SCRYPT_STEP * _number(scrypt.costParameter) * _number(scrypt.blockSize) * _number(scrypt.parallelizationParameter)
        SCRYPT_PARAMS_free(scrypt)
    else:
        own = d2i_PBEPARAM(NULL, &at, size)
        found = _number(own.iter) if own is not NULL else 0
        PBEPARAM_free(own)
    return found


cdef object _number(const ASN1_INTEGER *number):
    cdef int64_t value
    return value if ASN1_INTEGER_get_int64(&value, number) and value >= 0 else _UNREADABLE_NUMBER
