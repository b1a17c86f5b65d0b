# Contexts: the settings of one SSL_CTX, and those that the engine keeps next to it.
#
# The order is Node's, and it matters: versions, options, ciphers (@SECLEVEL decides which
# certificates are strong enough), roots, certificates with their keys, then the rest. Nothing is
# changed afterwards, because connections of any thread share it. A failure raises and leaks
# nothing: all parts belong to the object under construction.

from hashlib import sha256

from libc.stdlib cimport free, malloc
from libc.string cimport strdup

from tlsio.model.material import holds_private_key

include "material.pxi"
include "keys.pxi"

# Wire values (RFC 8879 §7.3), in Node's order.
cdef dict _COMPRESSIONS = {"zlib": 1, "brotli": 2, "zstd": 3}

# Most verifiers reject longer chains (OpenSSL itself stops at 100). Bounds the walk through
# cross-signing loops.
cdef int _LONGEST_CHAIN = 20


@cython.final
cdef class Roots:
    cdef X509_STORE *store
    cdef list certs, crls
    cdef set fingerprints               # of the roots and CRLs, independent of order and encoding
    cdef readonly bytes digest
    cdef readonly int64_t lists_end

    def __cinit__(self, materials=(), *, crls=(), Roots base=None):
        self.store = X509_STORE_new()
        if self.store is NULL:
            raise MemoryError
        self.certs = [] if base is None else list(base.certs)
        self.crls = [] if base is None else list(base.crls)
        self.fingerprints = set() if base is None else set(base.fingerprints)
        for material in materials:
            added = _read_certificates(material)
            self.certs += added
            self.fingerprints.update([_fingerprint(<_Certificate>certificate) for certificate in added])
        for material in crls:
            added = _read_crls(material)
            self.crls += added
            self.fingerprints.update([_fingerprint_of_crl(<_Crl>crl) for crl in added])
        _fill_store(self)
        self.lists_end = _end_of(self.crls)
        self.digest = sha256(b"".join(sorted(self.fingerprints))).digest()

    def __dealloc__(self):
        X509_STORE_free(self.store)

    def __len__(self):
        return len(self.certs)

    @property
    def certificates(self):
        return tuple([_trusted_der_of(<_Certificate>certificate) for certificate in self.certs])

    def find(self, bytes subject not None):
        return _find_named(self.store, subject)

    @property
    def list_issuers(self):
        return tuple([(_issuer_of(<_Crl>crl), _is_signed_within(self.store, <_Crl>crl)) for crl in self.crls])

    @property
    def subject_names(self):
        return tuple(dict.fromkeys(_subject_of(certificate) for certificate in self.certs))


cdef int _fill_store(Roots self) except -1:
    cdef _Certificate certificate
    cdef _Crl crl
    ERR_clear_error()
    # Of several copies of one certificate the store keeps the first: the one that OpenSSL's
    # settings trust least.
    for certificate in sorted(self.certs, key=_order_of_trust):
        if not X509_STORE_add_cert(self.store, certificate.x509):
            raise _failure("Cannot add a certificate to the trusted roots")
    for crl in self.crls:
        if not X509_STORE_add_crl(self.store, crl.crl):
            raise _failure("Cannot add a CRL to the trusted roots")
    return 0


def _order_of_trust(_Certificate certificate):
    if X509_get0_reject_objects(certificate.x509) is not NULL:
        return 0
    return 1 if X509_get0_trust_objects(certificate.x509) is not NULL else 2


cdef int64_t _end_of(list crls) except -1:
    """Return when the first CRL expires, in POSIX seconds; 0: never."""
    cdef _Crl one
    cdef const ASN1_TIME *next_update
    ends = []
    for one in crls:
        next_update = X509_CRL_get0_nextUpdate(one.crl)
        if next_update != NULL:
            ends.append(tio_instant(next_update))
    return min(ends, default=0)


cdef bytes _fingerprint(_Certificate certificate):
    """Include the settings of a TRUSTED CERTIFICATE, since they decide what it is trusted for."""
    return b"certificate" + sha256(_trusted_der_of(certificate)).digest()


cdef bytes _fingerprint_of_crl(_Crl crl):
    cdef unsigned char digest[32]
    if not X509_CRL_digest(crl.crl, EVP_sha256(), digest, NULL):
        raise MemoryError
    return b"crl" + (<const char *>digest)[:32]


cdef tuple _find_named(X509_STORE *store, bytes subject):
    """Return the certificates of a store with this subject, in DER. OpenSSL compares the names."""
    cdef const unsigned char *at = _start(subject)
    cdef X509_NAME *name = d2i_X509_NAME(NULL, &at, _size(subject))
    cdef X509_STORE_CTX *search = X509_STORE_CTX_new()
    cdef X509_STACK *found = NULL
    try:
        if name is not NULL and search is not NULL and X509_STORE_CTX_init(search, store, NULL, NULL):
            found = X509_STORE_CTX_get1_certs(search, name)
        return ders_of(found) if found is not NULL else ()
    finally:
        sk_X509_pop_free(found, X509_free)
        X509_STORE_CTX_free(search)
        X509_NAME_free(name)
        ERR_clear_error()


cdef bint _is_signed_within(X509_STORE *store, _Crl crl) except -1:
    """Whether a certificate of the store has issued the CRL: by its name, and by its key."""
    cdef X509_STORE_CTX *search = X509_STORE_CTX_new()
    cdef X509_STACK *found = NULL
    cdef EVP_PKEY *key
    cdef bint signed = False
    try:
        if search is NULL or not X509_STORE_CTX_init(search, store, NULL, NULL):
            raise MemoryError
        found = X509_STORE_CTX_get1_certs(search, X509_CRL_get_issuer(crl.crl))
        while found is not NULL and not signed and sk_X509_num(found):
            key = X509_get0_pubkey(sk_X509_value(found, 0))
            signed = key is not NULL and X509_CRL_verify(crl.crl, key) == 1
            X509_free(sk_X509_shift(found))
        return signed
    finally:
        sk_X509_pop_free(found, X509_free)
        X509_STORE_CTX_free(search)
        ERR_clear_error()


cdef bytes _issuer_of(_Crl crl):
    return _name_of(X509_CRL_get_issuer(crl.crl))


cdef bytes _subject_of(_Certificate certificate):
    return _name_of(X509_get_subject_name(certificate.x509))


cdef bytes _name_of(const X509_NAME *name):
    cdef unsigned char *der = NULL
    cdef int size = i2d_X509_NAME(name, &der)
    if size < 0:
        raise MemoryError
    try:
        return (<const char *>der)[:size]
    finally:
        OPENSSL_free(der)


openssl_version = OpenSSL_version(OPENSSL_VERSION).decode()


def default_cert_file():
    return X509_get_default_cert_file().decode()


def default_cert_directory():
    return X509_get_default_cert_dir().decode()


# All suites of RFC 8446 B.4: OpenSSL enables the two CCM suites only if they are named.
cdef bytes _SUITES = (
    b"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256:TLS_AES_128_CCM_SHA256:TLS_AES_128_CCM_8_SHA256"
)


def cipher_names():
    cdef SSL_CTX *ssl = SSL_CTX_new(TLS_method())
    cdef const CIPHER_STACK *ciphers
    cdef int index
    if ssl is NULL:
        raise MemoryError
    try:
        if not SSL_CTX_set_ciphersuites(ssl, _SUITES):
            raise _failure("Cannot list the cipher suites")
        ciphers = SSL_CTX_get_ciphers(ssl)
        return tuple([SSL_CIPHER_get_name(sk_SSL_CIPHER_value(ciphers, index)).decode() for index in range(sk_SSL_CIPHER_num(ciphers))])
    finally:
        SSL_CTX_free(ssl)


def cipher_name(str standard_name not None):
    """Return OpenSSL's name of a suite by IANA's; None if it has none."""
    cdef bytes name = standard_name.encode()
    found = OPENSSL_cipher_name(name)
    return None if found == b"(NONE)" else (<bytes>found).decode()


def security_level(str cipher_list not None):
    """Return the security level of a cipher list: its `@SECLEVEL`, or the library's default."""
    cdef SSL_CTX *ssl = SSL_CTX_new(TLS_method())
    cdef bytes names = cipher_list.encode()
    if ssl is NULL:
        raise MemoryError
    SSL_CTX_set_cipher_list(ssl, names)       # an invalid list is reported when the context is made
    ERR_clear_error()
    level = SSL_CTX_get_security_level(ssl)
    SSL_CTX_free(ssl)
    return level


def compression_algorithms():
    return tuple([name for name, number in _COMPRESSIONS.items() if tio_can_compress(number)])


@cython.final
cdef class Context:
    cdef tio_context *ptr
    cdef readonly int dh_bits

    def __cinit__(self, spec):
        self.ptr = tio_context_new()
        if self.ptr is NULL:
            raise MemoryError
        cdef SSL_CTX *ssl = self.ptr.ssl
        ERR_clear_error()
        _set_versions(ssl, spec)
        _set_options(ssl, spec)
        _set_ciphers(ssl, spec)
        _check_ciphers(ssl, spec)
        _set_trust(ssl, spec)
        self.ptr.settings.keys_elsewhere = _set_identities(ssl, spec)
        if self.ptr.settings.keys_elsewhere & TIO_RSA_ELSEWHERE:
            _drop_rsa_key_exchange(ssl, spec)
        _set_compression(ssl, spec.compression)
        _set_key_exchange(ssl, spec)
        self.dh_bits = _set_dh(ssl, spec.dh)
        _set_sessions(self.ptr, spec)
        _fill_settings(&self.ptr.settings, spec)
        _set_npn(self.ptr, spec.npn)
        ERR_clear_error()

    def __dealloc__(self):
        tio_context_release(self.ptr)
        _release_dead_keys()

    @property
    def min_version(self):
        return SSL_CTX_get_min_proto_version(self.ptr.ssl)

    @property
    def max_version(self):
        return SSL_CTX_get_max_proto_version(self.ptr.ssl)

    @property
    def identities(self):
        cdef tio_status *status = tio_context_status(self.ptr)
        if status is NULL:
            raise MemoryError
        try:
            return identities_of(status)
        finally:
            tio_status_free(status)

    @property
    def session_id_context(self):
        return (<const char *>self.ptr.settings.id_context)[:self.ptr.settings.id_context_size]


# ---- versions, options, ciphers ----


cdef int _set_versions(SSL_CTX *ssl, spec) except -1:
    if not SSL_CTX_set_min_proto_version(ssl, spec.min_version) or not SSL_CTX_set_max_proto_version(ssl, spec.max_version):
        raise _failure("OpenSSL was built without the requested protocol version")
    return 0


cdef int _set_options(SSL_CTX *ssl, spec) except -1:
    SSL_CTX_set_options(ssl, SSL_OP_NO_SSLv3 | SSL_OP_NO_COMPRESSION)
    if spec.server_preference:
        SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE)
    else:
        SSL_CTX_clear_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE)
    SSL_CTX_set_options(ssl, spec.secure_options)
    return 0


cdef int _set_ciphers(SSL_CTX *ssl, spec) except -1:
    cdef bytes suites, older
    if spec.cipher_suites is not None:
        suites = spec.cipher_suites.encode()
        if not SSL_CTX_set_ciphersuites(ssl, suites):
            raise _no_cipher("TLS 1.3 cipher suites", spec.cipher_suites)
    if spec.cipher_list is not None:
        older = spec.cipher_list.encode()
        if not SSL_CTX_set_cipher_list(ssl, older) and not (spec.cipher_suites and _names_no_cipher(spec.cipher_list)):
            raise _no_cipher("ciphers", spec.cipher_list)
        ERR_clear_error()
    return 0


cdef unsigned _no_key(SSL *ssl, const char *hint, char *identity, unsigned identity_room, unsigned char *key, unsigned room) noexcept nogil:
    return 0


cdef int _check_ciphers(SSL_CTX *ctx, spec) except -1:
    """Refuse ciphers that no allowed version and security level can use: every handshake would fail."""
    if not _has_ciphers(ctx):
        raise ConfigError(
            "No cipher suite is left: no version between min_version= and max_version= can use one of ciphers=, or secure_options= or the "
            "security level excludes it", code="ERR_SSL_NO_CIPHERS_AVAILABLE",
            hint="Leave these options at their defaults, or compare them with each other.",
        )
    return 0


cdef bint _has_ciphers(SSL_CTX *ctx) except -1:
    cdef SSL *ssl = SSL_new(ctx)
    cdef CIPHER_STACK *usable
    if ssl is NULL:
        raise MemoryError
    SSL_set_psk_client_callback(ssl, _no_key)          # without it, suites with a pre-shared key do not count
    usable = SSL_get1_supported_ciphers(ssl)
    found = usable is not NULL and sk_SSL_CIPHER_num(usable) > 0
    sk_SSL_CIPHER_free(usable)
    SSL_free(ssl)
    ERR_clear_error()
    return found


cdef int _drop_rsa_key_exchange(SSL_CTX *ssl, spec) except -1:
    """Leave out the suites for which the key would have to decrypt."""
    cdef bytes names = f"{spec.cipher_list or 'DEFAULT'}:!kRSA:!kRSAPSK".encode()
    if spec.cipher_list != "":
        SSL_CTX_set_cipher_list(ssl, names)       # an empty list is a failure, but is applied
    ERR_clear_error()
    if not _has_ciphers(ssl):
        raise ConfigError(
            "No cipher suite is left: those of ciphers= exchange keys by RSA, for which the key must decrypt, but the object in key= only signs",
            code="ERR_SSL_NO_CIPHERS_AVAILABLE", hint="Leave ciphers= out, or add suites with ECDHE.",
        )
    return 0


cdef bint _names_no_cipher(str ciphers):
    """Whether a list is empty or only sets the security level. OpenSSL reports that as a failure,
    but applies it.
    """
    return all(word.startswith("@") for word in ciphers.split(":") if word)


def _no_cipher(what, names):
    hint = "Use OpenSSL's names in upper case, separated by colons; tlsio.get_ciphers() lists them."
    if _names_no_cipher(names):
        hint = "The list has no cipher: put DEFAULT, or the names of ciphers, at its start."
    return _failure(f"Failed to set {what} {names[:200]!r}", hint=hint)


# ---- trust ----


cdef int _set_trust(SSL_CTX *ssl, spec) except -1:
    cdef Roots roots = spec.roots
    cdef unsigned long flags = 0
    cdef int mode = SSL_VERIFY_NONE
    SSL_CTX_set1_cert_store(ssl, roots.store)
    # Set on the context's parameters, not on the store, which other contexts share.
    if roots.crls:
        flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL
    if spec.partial_chain:
        flags |= X509_V_FLAG_PARTIAL_CHAIN
    if not X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(ssl), flags):
        raise MemoryError
    if spec.request_client:
        mode = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT if spec.require_client else SSL_VERIFY_PEER
    SSL_CTX_set_verify(ssl, mode, NULL)
    _set_client_ca_names(ssl, spec.client_ca_names)
    return 0


cdef int _set_client_ca_names(SSL_CTX *ssl, names) except -1:
    cdef X509_NAME_STACK *stack
    cdef X509_NAME *name
    cdef const unsigned char *at
    cdef bytes der
    if not names:
        return 0
    stack = sk_X509_NAME_new_null()
    for der in names:
        at = _start(der)
        name = d2i_X509_NAME(NULL, &at, _size(der))
        if stack is NULL or name is NULL or not sk_X509_NAME_push(stack, name):
            X509_NAME_free(name)
            sk_X509_NAME_pop_free(stack, X509_NAME_free)
            raise MemoryError
    SSL_CTX_set_client_CA_list(ssl, stack)
    return 0


# ---- our own certificates and keys ----


cdef int _set_identities(SSL_CTX *ssl, spec) except -1:
    """Set every certificate with its key. Each type of key may occur once; of several the last one
    stays. Returns TIO_KEYS_ELSEWHERE bits.
    """
    cdef int elsewhere = 0
    cdef X509_STORE *store = (<Roots>spec.roots).store
    cdef Pfx bundle
    chains = [(material, _read_certificates(material)) for material in spec.certs]
    keys = [(material, _read_key(material)) for material in spec.keys if material.signer is None]
    keys += _keys_elsewhere(spec.keys, chains, keys)
    for material, chain in chains:
        key = _key_for(material, chain, keys)
        _use(ssl, store, material.label, chain, key)
        elsewhere = _mark_elsewhere(key, elsewhere)
    _refuse_keys_without_certificate(chains, keys)
    if not chains:
        for material, key in keys:
            _use_key(ssl, material.label, key)
    for bundle in spec.bundles:
        _use(ssl, store, bundle.label, [bundle.certificate, *bundle.others], bundle.key)
    return elsewhere


cdef _Key _key_for(material, list chain, list keys):
    """Return the key of the first certificate: one of `keys`, or the one in the same PEM."""
    cdef _Key key
    for _, key in keys:
        if _fits(chain[0], key):
            return key
    if holds_private_key(material.data) and not any(one.data == material.data for one, _ in keys):     # key= may replace an encrypted one
        key = _read_key(material)
        if _fits(chain[0], key):
            return key
        keys = [*keys, (material, key)]
    if not keys:
        raise ConfigError(
            f"cert= was given without key=: {material.label} contains no private key", code="ERR_TLS_CERT_WITHOUT_KEY",
            hint="Give the certificate's private key with key=, or a PEM that contains both as cert=.",
        )
    raise _mismatch(material, chain, keys)


cdef bint _fits(_Certificate certificate, _Key key):
    cdef EVP_PKEY *public = X509_get0_pubkey(certificate.x509)
    fits = public is not NULL and EVP_PKEY_eq(public, key.pkey) == 1
    ERR_clear_error()                                # keys of different types are not an error here
    return fits


cdef object _mismatch(material, list chain, list keys):
    cdef _Certificate leaf = chain[0]
    cdef _Key key
    hint = "Certificate and key are not a pair: they must have been made together."
    for position, certificate in enumerate(chain[1:], start=2):
        if any(_fits(certificate, key) for _, key in keys):
            hint = f"Certificate {position} of {material.label} fits the key: put the leaf first and its issuers after it."
    if len(keys) == 1 and "[" in material.label:
        hint = "Each element of cert= is a separate identity: put intermediates after their leaf, in the same PEM."
    key = keys[0][1]
    X509_check_private_key(leaf.x509, key.pkey)         # adds OpenSSL's own message to the queue
    names = ", ".join(key_material.label for key_material, _ in keys)
    return _failure(f"No private key of {names} fits the certificate of {material.label}", code="ERR_OSSL_X509_KEY_VALUES_MISMATCH", hint=hint)


cdef int _refuse_keys_without_certificate(list chains, list keys) except -1:
    cdef _Key key
    cdef _Certificate leaf
    for material, key in keys:
        if chains and not any(_fits(chain[0], key) for _, chain in chains):
            leaf = chains[0][1][0]
            X509_check_private_key(leaf.x509, key.pkey)
            names = ", ".join(cert_material.label for cert_material, _ in chains)
            raise _failure(
                f"No certificate of {names} fits the private key of {material.label}", code="ERR_OSSL_X509_KEY_VALUES_MISMATCH",
                hint="Every key needs its certificate in cert=; leave out unused keys.",
            )
    return 0


cdef int _use(SSL_CTX *ssl, X509_STORE *store, label, list given, _Key key) except -1:
    cdef _Certificate leaf = given[0]
    cdef list chain = _complete(store, leaf, given[1:])
    cdef X509_STACK *stack = _borrow(chain)
    cdef bint ok
    ok = SSL_CTX_use_cert_and_key(ssl, leaf.x509, key.pkey, stack, 1)
    sk_X509_free(stack)
    if not ok:
        raise _unusable(f"Cannot use the certificate of {label}")
    return 0


cdef int _use_key(SSL_CTX *ssl, label, _Key key) except -1:
    if not SSL_CTX_use_PrivateKey(ssl, key.pkey):
        raise _unusable(f"Cannot use the private key of {label}")
    return 0


def _unusable(message):
    errors = _drain_errors()
    hint = None
    if errors and "md too weak" in errors[0][2]:
        hint = "The key is fine, but the certificate is signed with SHA-1 or MD5, which can be forged: have it reissued with SHA-256."
    elif errors and "too small" in errors[0][2]:
        hint = "The key is too small: create a new one (RSA with 2048 bits, or EC P-256), and have a certificate issued for it."
    return _failure(message, hint=hint, errors=errors)


cdef X509_STACK *_borrow(list certificates) except NULL:
    """Return a stack of the certificates that the list owns; the caller frees only the stack."""
    cdef X509_STACK *stack = sk_X509_new_null()
    cdef _Certificate certificate
    for certificate in certificates:
        if stack is NULL or not sk_X509_push(stack, certificate.x509):
            sk_X509_free(stack)
            raise MemoryError
    if stack is NULL:
        raise MemoryError
    return stack


cdef list _complete(X509_STORE *store, _Certificate leaf, list given):
    """Order the chain to send: issuer after issuer, from `given`, then from the trusted roots; then
    the rest of `given`.

    This is done once, here: otherwise OpenSSL would search for missing issuers in each handshake.
    All of `given` is sent, including a root. A root is not added: a verifier either has it or does
    not trust it (RFC 8446 §4.4.2).
    """
    cdef list chain = []
    cdef list pool = list(given)
    cdef _Certificate last = leaf
    cdef _Certificate issuer
    while len(chain) < _LONGEST_CHAIN and not X509_get_extension_flags(last.x509) & EXFLAG_SS:
        issuer = _issuer_among(pool, last)
        if issuer is not None:
            pool.remove(issuer)
        else:
            issuer = _issuer_in(store, last)
            if issuer is None or X509_get_extension_flags(issuer.x509) & EXFLAG_SS or _holds([leaf, *chain], issuer):
                break
        chain.append(issuer)
        last = issuer
    return chain + pool


cdef _Certificate _issuer_among(list pool, _Certificate subject):
    cdef _Certificate candidate
    for candidate in pool:
        if X509_check_issued(candidate.x509, subject.x509) == X509_V_OK:
            return candidate
    return None


cdef _Certificate _issuer_in(X509_STORE *store, _Certificate subject):
    cdef _Certificate owner = _Certificate.__new__(_Certificate)
    cdef X509_STORE_CTX *search = X509_STORE_CTX_new()
    cdef bint found
    if search is NULL or not X509_STORE_CTX_init(search, store, subject.x509, NULL):
        X509_STORE_CTX_free(search)
        raise MemoryError
    found = X509_STORE_CTX_get1_issuer(&owner.x509, search, subject.x509) == 1
    X509_STORE_CTX_free(search)
    ERR_clear_error()
    return owner if found else None


cdef bint _holds(list chain, _Certificate wanted):
    cdef _Certificate certificate
    for certificate in chain:
        if X509_cmp(certificate.x509, wanted.x509) == 0:
            return True
    return False


cdef int _set_compression(SSL_CTX *ssl, names) except -1:
    """Enable certificate compression with these algorithms, in order of preference; none disables
    it, whatever OpenSSL's default is.
    """
    cdef int algorithms[3]
    cdef size_t count = 0
    if len(set(names)) < len(names):
        # `algorithms` has room for each of them once.
        raise wrong_value("The list of compression algorithms", "contains an algorithm twice")
    for name in names:
        algorithms[count] = _COMPRESSIONS[name]
        if not tio_can_compress(algorithms[count]):
            have = ", ".join(compression_algorithms()) or "none"
            raise ConfigError(
                f"options.certificate_compression: {OpenSSL_version(0).decode()} does not support {name} (it supports {have})",
                code="ERR_CRYPTO_UNSUPPORTED_OPERATION", hint="Build tlsio with an OpenSSL (3.2 or newer) that supports it, or leave out certificate_compression=.",
            )
        count += 1
    if not tio_prefer_compression(ssl, algorithms, count):
        raise _failure("Failed to set the compression of certificates")
    if count:
        tio_compress_certificates(ssl)
        ERR_clear_error()
    return 0


# ---- key exchange ----


cdef int _set_key_exchange(SSL_CTX *ssl, spec) except -1:
    cdef bytes algorithms, groups
    if spec.sigalgs is not None:
        algorithms = spec.sigalgs.encode()
        if not SSL_CTX_set1_sigalgs_list(ssl, algorithms):
            raise _failure(
                f"options.sigalgs: Failed to set signature algorithms {spec.sigalgs[:200]!r}", code="ERR_CRYPTO_OPERATION_FAILED",
                hint="Write them as 'ECDSA+SHA256:RSA-PSS+SHA256' or 'ecdsa_secp256r1_sha256:rsa_pss_rsae_sha256'.",
            )
    if spec.groups is not None:
        groups = spec.groups.encode()
        if not SSL_CTX_set1_groups_list(ssl, groups):
            raise _failure(
                f"options.ecdh_curve: Failed to set ECDH curve {spec.groups[:200]!r}", code="ERR_CRYPTO_OPERATION_FAILED",
                hint="List groups that this OpenSSL supports, separated by colons: 'X25519:P-256'; or use 'auto'.",
            )
    return 0


cdef int _set_dh(SSL_CTX *ssl, dh) except -1:
    """Enable DHE suites. Returns the size of the parameters in bits; 0 if they follow the key, or
    DHE is off.
    """
    cdef _Key parameters
    cdef int bits
    if isinstance(dh, bool):
        SSL_CTX_set_dh_auto(ssl, dh)
        return 0
    parameters = _read_dh(dh)
    bits = EVP_PKEY_get_bits(parameters.pkey)
    if bits < 1024:
        raise UsageValueError(f"DH parameter is less than 1024 bits: {dh.label} has {bits}", hint="Use dhparam='auto'.")
    if not SSL_CTX_set0_tmp_dh_pkey(ssl, parameters.pkey):
        raise _failure(
            f"Error setting temp DH parameter from {dh.label} ({bits} bits)", code="ERR_CRYPTO_OPERATION_FAILED",
            hint="The security level requires at least 2048 bits. Use dhparam='auto'.",
        )
    parameters.pkey = NULL                              # the SSL_CTX owns it now
    return bits


# ---- sessions, and the settings that the engine keeps ----


cdef int _set_sessions(tio_context *context, spec) except -1:
    cdef bytes id_context = _sized("The session id context", spec.session_id_context, 0, sizeof(context.settings.id_context))
    cdef bytes keys
    if not SSL_CTX_set_session_id_context(context.ssl, _start(id_context), <unsigned int>len(id_context)):
        raise _failure("Cannot set the session id context")
    SSL_CTX_set_timeout(context.ssl, spec.session_timeout)
    if spec.ticket_keys is not None:
        if len(spec.ticket_keys) > TIO_TICKET_KEYS:
            raise out_of_range("options.ticket_keys", f"at most {TIO_TICKET_KEYS} keys", len(spec.ticket_keys))
        keys, count = _ticket_keys(spec.ticket_keys)
        tio_ring_set(context.ring, _start(keys), count)
    return 0


cdef int _fill_settings(tio_context_settings *settings, spec) except -1:
    cdef bytes groups, id_context = _sized("The session id context", spec.session_id_context, 0, sizeof(settings.id_context))
    settings.accept_unverified = not spec.require_client
    if spec.groups is not None:
        groups = spec.groups.encode()
        settings.groups = strdup(groups)
        if settings.groups is NULL:
            raise MemoryError
    memcpy(settings.id_context, _text(id_context), <size_t>len(id_context))
    settings.id_context_size = <size_t>len(id_context)
    settings.alpn = _copy(_wire_names("The list of ALPN protocols", spec.alpn))
    settings.alpn_size = <size_t>len(spec.alpn)
    settings.pins = _copy(b"".join([_sized("A pin", pin, TIO_PIN, TIO_PIN) for pin in spec.pins]))
    settings.pin_count = <size_t>len(spec.pins)
    settings.lists_end = (<Roots>spec.roots).lists_end
    if len(spec.trust) == TIO_TRUST:
        memcpy(settings.trust, _text(spec.trust), TIO_TRUST)
    if spec.lists is not None:
        settings.lists = (<Lists>spec.lists).ptr
        tio_lists_retain(settings.lists)
    settings.resume_unmarked = spec.resume_unmarked
    return 0


cdef int _set_npn(tio_context *context, bytes protocols) except -1:
    if not protocols:
        return 0
    if not TIO_SPEAKS_NPN:
        raise ConfigError(
            f"options.npn_protocols: {OpenSSL_version(0).decode()} was built without NPN", code="ERR_CRYPTO_UNSUPPORTED_OPERATION",
            hint="Use alpn_protocols=: ALPN replaced NPN in 2014.",
        )
    context.settings.npn = _copy(_wire_names("The list of NPN protocols", protocols))
    context.settings.npn_size = <size_t>len(protocols)
    tio_context_speak_npn(context)
    return 0


cdef unsigned char *_copy(bytes data) except? NULL:
    """Return a copy that the engine frees; NULL for b""."""
    cdef unsigned char *copy
    if not data:
        return NULL
    copy = <unsigned char *>malloc(<size_t>len(data))
    if copy is NULL:
        raise MemoryError
    memcpy(copy, _text(data), <size_t>len(data))
    return copy
