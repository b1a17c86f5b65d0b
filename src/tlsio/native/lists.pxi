# The CRLs that the engine can consult, and what a session records of a certificate to find it
# there.


@cython.final
cdef class Lists:
    cdef tio_lists *ptr

    def __cinit__(self, *, bint required, size_t room):
        if not room:
            raise ValueError("room must be 1 or more")
        self.ptr = tio_lists_new(required, room)
        if self.ptr == NULL:
            raise MemoryError

    def __dealloc__(self):
        tio_lists_release(self.ptr)

    def put(self, bytes key not None, RevokedSerials serials, int64_t until):
        if len(key) != TIO_LIST_KEY:
            raise ValueError(f"a key must have {TIO_LIST_KEY} bytes, got {len(key)}")
        if tio_lists_put(self.ptr, _start(key), NULL if serials is None else serials.ptr, until):
            raise MemoryError

    def until(self, bytes key not None):
        if len(key) != TIO_LIST_KEY:
            raise ValueError(f"a key must have {TIO_LIST_KEY} bytes, got {len(key)}")
        return tio_lists_until(self.ptr, _start(key))

    def passes(self, bytes entries not None, int64_t now):
        return tio_lists_pass(self.ptr, _start(entries), <size_t>len(entries), now) == 1


def list_keys(chain):
    """Return one key for each certificate of a verified chain except the last. A session records
    fewer of a long chain.
    """
    certificates = [_decode_certificate(der) for der in chain]
    return [_entries_of(certificates[i:i + 2])[:TIO_LIST_KEY] for i in range(len(certificates) - 1)]


cdef _Certificate _decode_certificate(bytes der):
    cdef _Certificate owner = _Certificate.__new__(_Certificate)
    cdef const unsigned char *at = _start(der)
    owner.x509 = d2i_X509(NULL, &at, <long>len(der))
    if owner.x509 == NULL:
        raise _failure("Cannot read a certificate of a chain")
    return owner


cdef bytes _entries_of(list chain):
    cdef X509_STACK *stack = _borrow(chain)
    try:
        return entries_of(stack)
    finally:
        sk_X509_free(stack)


cdef bytes entries_of(X509_STACK *chain):
    cdef uint8_t entries[TIO_ENTRIES]
    cdef size_t size = tio_chain_entries(chain, entries)
    return (<const char *>entries)[:size]


cdef tuple chain_facts_of(tio_conn *c):
    """Return (earliest notAfter, entries, SPKI digests) of the chain that a client has verified;
    see `Facts.chain_facts`.
    """
    cdef const tio_verify *verify = tio_conn_verify(c)
    cdef SSL *ssl = tio_conn_ssl(c)
    cdef X509_STACK *chain = verify.chain if verify != NULL and verify.chain != NULL else SSL_get0_verified_chain(ssl)
    cdef X509 *leaf = SSL_get0_peer_certificate(ssl)
    cdef uint8_t digest[TIO_PIN]
    cdef int i
    digests = []
    for i in range(sk_X509_num(chain) if chain != NULL else 0):
        if tio_spki_digest(sk_X509_value(chain, i), digest):
            raise MemoryError
        digests.append((<const char *>digest)[:TIO_PIN])
    if not digests and leaf != NULL and not tio_spki_digest(leaf, digest):
        digests.append((<const char *>digest)[:TIO_PIN])
    return tio_chain_end(chain, leaf), entries_of(chain) if chain != NULL else b"", tuple(digests)
