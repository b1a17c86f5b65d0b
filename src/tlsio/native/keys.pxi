# Private keys that live elsewhere: the objects that sign, by the numbers that the engine's keys have.
#
# OpenSSL frees such a key when the last connection that uses it is gone, which may be inside one of
# its calls. The object is released later, in one of the places that call `_release_dead_keys`,
# because that may run code of the user.

import itertools

cdef dict _signers = {}
cdef object _numbers = itertools.count(1)

KEY_LIMIT = TIO_JOBS


cdef object _release_dead_keys():
    cdef uint64_t number = tio_keys_dead()
    while number:
        _signers.pop(number, None)
        number = tio_keys_dead()


cdef list _keys_elsewhere(materials, list chains, list keys):
    """Make a private key for each object of `materials` that signs elsewhere: the public key is that
    of its certificate.

    `keys` are the others. Returns (material, key) for each; if no certificate fits, the key is a
    public one, for the error.
    """
    cdef _Key public
    cdef list made = [], unnamed = []
    elsewhere = [material for material in materials if material.signer is not None]
    if elsewhere and not tio_keys_work():
        raise ConfigError(
            f"{elsewhere[0].label} is an object that signs elsewhere, and connections cannot wait for it here: the C library has no ucontext (musl)",
            code="ERR_CRYPTO_UNSUPPORTED_OPERATION", hint="Use a system with glibc, or give the key itself.",
        )
    if elsewhere and not chains:
        raise ConfigError(
            f"{elsewhere[0].label} is an object that signs elsewhere, and was given without cert=", code="ERR_TLS_KEY_WITHOUT_CERT",
            hint="Give the certificate with cert=: its public key is needed.",
        )
    for material in elsewhere:
        if not material.data:
            unnamed.append(material)
            continue
        public = _read_public_key(material)
        leaf = next((chain[0] for _, chain in chains if _fits(chain[0], public)), None)
        made.append((material, public if leaf is None else _key_elsewhere(material, leaf)))
    if unnamed:
        made.append((unnamed[0], _key_elsewhere(unnamed[0], _only_leaf(unnamed, chains, [*keys, *made]))))
    return made


cdef _Certificate _only_leaf(list unnamed, list chains, list keys):
    """Return the certificate of a key that does not tell its public key: the only one without a key."""
    cdef _Key key
    alone = [chain[0] for material, chain in chains
             if not holds_private_key(material.data) and not any(_fits(chain[0], key) for _, key in keys)]
    if len(unnamed) > 1 or len(alone) > 1:
        raise ConfigError(
            f"It is open which certificate {unnamed[0].label} belongs to: it has no public_key, and is not the only one",
            code="ERR_TLS_KEY_WITHOUT_CERT", hint="Give each object a public_key (PEM, DER or a key of cryptography).",
        )
    if not alone:
        raise ConfigError(
            f"Each certificate of cert= has a key already, so {unnamed[0].label} has none", code="ERR_TLS_KEY_WITHOUT_CERT",
            hint="Every key needs its certificate in cert=; leave out unused keys.",
        )
    return alone[0]


cdef _Key _read_public_key(material):
    cdef bytes data = material.data
    cdef _Key owner = _Key.__new__(_Key)
    cdef const unsigned char *at = _start(data)
    ERR_clear_error()
    owner.pkey = d2i_PUBKEY(NULL, &at, _size(data))
    if owner.pkey is NULL:
        raise _failure(
            f"The public_key of {material.label} is not a public key", code="ERR_TLS_KEY_UNREADABLE",
            hint="It must be a SubjectPublicKeyInfo in PEM or DER, or a public key of cryptography.",
        )
    return owner


cdef _Key _key_elsewhere(material, _Certificate leaf):
    cdef _Key owner = _Key.__new__(_Key)
    cdef EVP_PKEY *public = X509_get0_pubkey(leaf.x509)
    cdef uint64_t number = next(_numbers)
    _release_dead_keys()
    ERR_clear_error()
    _signers[number] = material.signer
    if public is not NULL:
        owner.pkey = tio_key_new(public, number)
    if owner.pkey is NULL:
        _signers.pop(number, None)
        raise _failure(
            f"Connections cannot wait for signatures by the key of {material.label}: its type is not supported",
            code="ERR_CRYPTO_UNSUPPORTED_OPERATION", hint="RSA, RSA-PSS, EC, Ed25519 and Ed448 are.",
        )
    owner.elsewhere = True
    return owner


cdef int _mark_elsewhere(_Key key, int found):
    """Add to the engine's TIO_KEYS_ELSEWHERE bits what this key is."""
    if not key.elsewhere:
        return found
    return found | TIO_KEYS_ELSEWHERE | (TIO_RSA_ELSEWHERE if EVP_PKEY_is_a(key.pkey, "RSA") else 0)


def has_room_to_sign():
    return not tio_signing_is_full()
