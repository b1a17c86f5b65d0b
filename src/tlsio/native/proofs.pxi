# What libcrypto thinks of signatures, certificates and revoked serial numbers, without any connection.
#
# Decisions about a peer use OpenSSL's view: it takes certificates, keys and signature algorithms that other parsers refuse.
# All input is DER of strangers. Each function clears OpenSSL's error queue and leaves it empty.

from libc.stdlib cimport bsearch, qsort, realloc
from libc.string cimport memcmp


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
    cdef bint well = False
    with nogil:                                         # hashing a list of 10 MB takes 25 ms
        key = d2i_PUBKEY(NULL, &key_at, key_size)
        how = d2i_X509_ALGOR(NULL, &how_at, how_size)
        bits = d2i_ASN1_BIT_STRING(NULL, &bits_at, bits_size)
        # As ANY, a sequence is kept and encoded again as it stands: the bytes that are hashed are the ones given.
        signed = d2i_ASN1_TYPE(NULL, &data_at, data_size)
        if key is not NULL and how is not NULL and bits is not NULL and signed is not NULL:
            well = ASN1_item_verify(ASN1_ANY_it(), how, bits, signed, key) == 1
        ASN1_TYPE_free(signed)
        ASN1_BIT_STRING_free(bits)
        X509_ALGOR_free(how)
        EVP_PKEY_free(key)
        ERR_clear_error()
    return well


cdef _Certificate _certificate_in(bytes data):
    """The certificate in DER, or None."""
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


# ---- revoked serial numbers ----
#
# A list may have 200,000 entries (7 MB), and each handshake looks for one. So reading keeps no object per entry: it sorts the
# addresses of the entries within the DER by serial number, 8 bytes each, and a lookup is a binary search of some 18 steps.


cdef struct _Element:
    unsigned char tag
    const unsigned char *content
    const unsigned char *end


cdef bint _step(const unsigned char **at, const unsigned char *end, _Element *found) noexcept nogil:
    """Read the element at `at` and move behind it; False: there is no whole one, or it is not DER."""
    cdef const unsigned char *p = at[0]
    cdef size_t length, octets
    if end - p < 2 or p[0] & 0x1F == 0x1F:
        return False
    found.tag = p[0]
    length = p[1]
    p += 2
    if length >= 0x80:
        octets = length & 0x7F
        if octets == 0 or octets > 4 or <size_t>(end - p) < octets:
            return False
        length = 0
        while octets:
            length = length << 8 | p[0]
            p += 1
            octets -= 1
    if <size_t>(end - p) < length:
        return False
    found.content = p
    found.end = p + length
    at[0] = found.end
    return True


cdef int _compare_serials(const void *one, const void *other) noexcept nogil:
    """Compare the serial numbers with which two entries begin. Their lengths are in front, in the short form: see `_is_entry`."""
    cdef const unsigned char *a = (<const unsigned char **>one)[0]
    cdef const unsigned char *b = (<const unsigned char **>other)[0]
    return memcmp(a + 1, b + 1, a[1] + 1 if a[1] < b[1] else b[1] + 1)


cdef bint _is_entry(_Element *entry, const unsigned char **serial) noexcept nogil:
    """Tell whether this is an entry that counts: a serial number, a date, and no extension that changes whom it is about."""
    cdef const unsigned char *at = entry.content
    cdef const unsigned char *inner
    cdef _Element part, extension, field
    serial[0] = at
    # "Certificate users MUST be able to handle serialNumber values up to 20 octets" (RFC 5280 4.1.2.2): 127 are plenty.
    if entry.tag != 0x30 or not _step(&at, entry.end, &part) or part.tag != 0x02 or part.content == part.end:
        return False
    if part.content - serial[0] != 2 or part.end - part.content > 0x7F:
        return False
    # OpenSSL refuses padded numbers in certificates, so one in a list would never be found.
    if part.end - part.content > 1 and (part.content[0] == 0 and part.content[1] < 0x80 or part.content[0] == 0xFF and part.content[1] >= 0x80):
        return False
    if not _step(&at, entry.end, &part) or (part.tag != 0x17 and part.tag != 0x18):
        return False
    if at == entry.end:
        return True
    if not _step(&at, entry.end, &part) or part.tag != 0x30 or at != entry.end:
        return False
    inner = part.content
    while inner < part.end:
        if not _step(&inner, part.end, &extension) or extension.tag != 0x30:
            return False
        at = extension.content
        if not _step(&at, extension.end, &field) or field.tag != 0x06:
            return False
        # reasonCode (2.5.29.21) and invalidityDate (.24) are known. certificateIssuer (.29) makes the entry another issuer's.
        # "If a CRL contains a critical CRL entry extension that the application cannot process, then the application MUST NOT
        # use that CRL" (RFC 5280 5.3).
        if field.end - field.content == 3 and field.content[0] == 0x55 and field.content[1] == 0x1D:
            if field.content[2] == 21 or field.content[2] == 24:
                continue
            if field.content[2] == 29:
                return False
        if not _step(&at, extension.end, &field) or (field.tag == 0x01 and field.content != field.end and field.content[0]):
            return False
    return True


cdef Py_ssize_t _index(const unsigned char *at, const unsigned char *end, const unsigned char ***entries) noexcept nogil:
    """Make the sorted table of what `at` holds and return its length; -1: something is no entry, -2: no memory."""
    cdef const unsigned char **table = NULL
    cdef const unsigned char **grown
    cdef size_t count = 0, room = 0
    cdef _Element entry
    while at < end:
        if count == room:
            room = room * 2 if room else 64
            grown = <const unsigned char **>realloc(table, room * sizeof(void *))
            if grown is NULL:
                free(table)
                return -2
            table = grown
        if not _step(&at, end, &entry) or not _is_entry(&entry, &table[count]):
            free(table)
            return -1
        count += 1
    if count:
        qsort(table, count, sizeof(void *), _compare_serials)
    entries[0] = table
    return <Py_ssize_t>count


@cython.final
cdef class RevokedSerials:
    cdef bytes content
    cdef const unsigned char **entries
    cdef Py_ssize_t count

    def __cinit__(self, bytes content not None):
        cdef const unsigned char *start = _start(content)
        cdef const unsigned char *end = start + PyBytes_GET_SIZE(content)
        self.content = content
        with nogil:                                     # 200,000 entries take 50 ms
            self.count = _index(start, end, &self.entries)
        if self.count == -2:
            self.count = 0
            raise MemoryError
        if self.count < 0:
            self.count = 0
            raise ValueError("it has an entry that is malformed, or that has a critical extension")

    def __dealloc__(self):
        free(self.entries)

    def __len__(self):
        return self.count

    def find(self, bytes serial not None):
        cdef const unsigned char *key = _start(serial)
        cdef const unsigned char **found
        cdef const unsigned char *at
        cdef const unsigned char *end = _start(self.content) + PyBytes_GET_SIZE(self.content)
        cdef _Element part
        if PyBytes_GET_SIZE(serial) < 3 or key[1] != PyBytes_GET_SIZE(serial) - 2 or not self.count:
            return None
        found = <const unsigned char **>bsearch(&key, self.entries, <size_t>self.count, sizeof(void *), _compare_serials)
        if found is NULL:
            return None
        at = found[0]
        _step(&at, end, &part)
        key = at
        _step(&at, end, &part)
        return (<const char *>key)[:at - key]
