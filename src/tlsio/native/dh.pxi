# Diffie-Hellman parameters: a group of RFC 7919, or a new safe prime.
#
# The search for a prime runs without the GIL and takes up to minutes. Its callback only counts, and
# ends the search when another thread has said so: user code never runs inside OpenSSL.

ctypedef struct _Search:
    volatile long candidates
    volatile int cancelled


cdef int _count_candidate(EVP_PKEY_CTX *context) noexcept nogil:
    cdef _Search *search = <_Search *>EVP_PKEY_CTX_get_app_data(context)
    search.candidates += 1
    return not search.cancelled                         # 0 ends the search


@cython.final
cdef class DhParameters:
    cdef _Search search

    @property
    def candidates(self):
        return self.search.candidates

    def cancel(self):
        self.search.cancelled = 1

    def generate(self, int bits):
        return _generate_dh(NULL, bits, &self.search)

    @staticmethod
    def named(bytes group not None):
        return _generate_dh(group, 0, NULL)


cdef bytes _generate_dh(const char *group, int bits, _Search *search):
    """Return parameters in PEM: those of a group, or new ones if `group` is NULL."""
    cdef EVP_PKEY_CTX *context = NULL
    cdef EVP_PKEY *parameters = NULL
    cdef BIO *bio = NULL
    cdef char *text = NULL
    cdef long size = 0
    ERR_clear_error()
    with nogil:
        context = EVP_PKEY_CTX_new_from_name(NULL, "DH", NULL)
        if context is not NULL and EVP_PKEY_paramgen_init(context) == 1 and (
            EVP_PKEY_CTX_set_group_name(context, group) if group is not NULL
            else EVP_PKEY_CTX_set_dh_paramgen_prime_len(context, bits)
        ) == 1:
            if search is not NULL:
                EVP_PKEY_CTX_set_app_data(context, search)
                EVP_PKEY_CTX_set_cb(context, _count_candidate)
            bio = BIO_new(BIO_s_mem())
            if bio is not NULL and EVP_PKEY_paramgen(context, &parameters) == 1 and PEM_write_bio_Parameters(bio, parameters) == 1:
                size = BIO_get_mem_data(bio, &text)
    try:
        if size <= 0:
            raise _failure("Cannot generate Diffie-Hellman parameters")
        return text[:size]
    finally:
        EVP_PKEY_free(parameters)
        EVP_PKEY_CTX_free(context)
        BIO_free(bio)
        ERR_clear_error()
