# Certificates, keys, CRLs and PKCS#12: from bytes to OpenSSL's objects, and from OpenSSL's errors
# to ours.
#
# Each OpenSSL object is owned by a Python object that is made before it and frees it, so an
# exception in between leaks nothing. The error queue is cleared before each attempt and drained
# into the error that is raised. OpenSSL's own passphrase callback is never used: it would prompt on
# the terminal.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.limits cimport INT_MAX
from libc.string cimport memcmp, memcpy

from tlsio.model.errors import ConfigError
from tlsio.model.content_hints import explain
from tlsio.native.context_spec import LabelledMaterial

include "derivations.pxi"

# The libraries that Node names in a code (`Decorate` in its src/crypto/crypto_util.cc):
# ERR_OSSL_PEM_NO_START_LINE, but ERR_OSSL_BAD_DECRYPT for a provider's error. Codes of libssl have
# no "OSSL": ERR_SSL_NO_CIPHER_MATCH.
cdef dict _NAMED_LIBRARIES = {
    ERR_LIB_SYS: "SYS_", ERR_LIB_BN: "BN_", ERR_LIB_RSA: "RSA_", ERR_LIB_DH: "DH_", ERR_LIB_EVP: "EVP_", ERR_LIB_OBJ: "OBJ_",
    ERR_LIB_PEM: "PEM_", ERR_LIB_DSA: "DSA_", ERR_LIB_X509: "X509_", ERR_LIB_ASN1: "ASN1_", ERR_LIB_CONF: "CONF_",
    ERR_LIB_CRYPTO: "CRYPTO_", ERR_LIB_EC: "EC_", ERR_LIB_BIO: "BIO_", ERR_LIB_X509V3: "X509V3_", ERR_LIB_PKCS12: "PKCS12_",
    ERR_LIB_RAND: "RAND_", ERR_LIB_DSO: "DSO_",
}


# ---- owners ----


cdef class _Certificate:
    cdef X509 *x509

    def __dealloc__(self):
        X509_free(self.x509)


cdef class _Key:
    cdef EVP_PKEY *pkey
    cdef bint elsewhere                 # it is of `tio_key_new`

    def __dealloc__(self):
        EVP_PKEY_free(self.pkey)


cdef class _Crl:
    cdef X509_CRL *crl

    def __dealloc__(self):
        X509_CRL_free(self.crl)


# ---- readers ----


cdef list _read_certificates(material):
    """Read the certificates of a PEM file, at least one, or the one of a DER file."""
    cdef bytes data = _content(material)
    cdef list found = []
    cdef _Certificate owner
    cdef const unsigned char *at = _start(data)
    ERR_clear_error()
    if _is_der(data):
        owner = _Certificate.__new__(_Certificate)
        owner.x509 = d2i_X509(NULL, &at, _size(data))
        if owner.x509 is NULL or at != _start(data) + _size(data):
            raise _unreadable(material, "a certificate")
        return [owner]
    cdef BIO *bio = _open(data)
    try:
        while True:
            owner = _Certificate.__new__(_Certificate)
            owner.x509 = PEM_read_bio_X509_AUX(bio, NULL, _no_passphrase, NULL)
            if owner.x509 is NULL:
                break
            found.append(owner)
    finally:
        BIO_free(bio)
    if not found or not _reached_end():
        raise _unreadable(material, "a certificate")
    return found


cdef list _read_crls(material):
    """Read the CRLs of a PEM file, at least one, or the one of a DER file."""
    cdef bytes data = _content(material)
    cdef list found = []
    cdef _Crl owner
    cdef const unsigned char *at = _start(data)
    ERR_clear_error()
    if _is_der(data):
        owner = _Crl.__new__(_Crl)
        owner.crl = d2i_X509_CRL(NULL, &at, _size(data))
        if owner.crl is NULL or at != _start(data) + _size(data):
            raise _unreadable_crl(material)
        return [owner]
    cdef BIO *bio = _open(data)
    try:
        while True:
            owner = _Crl.__new__(_Crl)
            owner.crl = PEM_read_bio_X509_CRL(bio, NULL, _no_passphrase, NULL)
            if owner.crl is NULL:
                break
            found.append(owner)
    finally:
        BIO_free(bio)
    if not found or not _reached_end():
        raise _unreadable_crl(material)
    return found


cdef _Key _read_key(material):
    """Read one private key; if it is encrypted, decrypt it with the passphrase."""
    cdef bytes data = _content(material)
    cdef bytes secret = material.passphrase if material.passphrase is not None else b""
    cdef _Passphrase passphrase = _Passphrase(_text(secret), PyBytes_GET_SIZE(secret), False)
    cdef _Key owner = _Key.__new__(_Key)
    cdef const unsigned char *at = _start(data)
    cdef BIO *bio
    _count_key(material)
    bio = _open(data)
    ERR_clear_error()
    try:
        if not _is_der(data):
            owner.pkey = PEM_read_bio_PrivateKey(bio, NULL, _supply_passphrase, &passphrase)
        else:
            owner.pkey = d2i_AutoPrivateKey(NULL, &at, _size(data))
            if owner.pkey is NULL:
                ERR_clear_error()
                owner.pkey = d2i_PKCS8PrivateKey_bio(bio, NULL, _supply_passphrase, &passphrase)
    finally:
        BIO_free(bio)
    if owner.pkey is NULL:
        if passphrase.asked:
            raise _undecryptable(material)
        raise _unreadable(material, "a private key")
    ERR_clear_error()
    return owner


cdef _Key _read_dh(material):
    """Read Diffie-Hellman parameters."""
    cdef bytes data = _content(material)
    cdef _Key owner = _Key.__new__(_Key)
    cdef const unsigned char *at = _start(data)
    cdef BIO *bio
    ERR_clear_error()
    if _is_der(data):
        owner.pkey = d2i_KeyParams(EVP_PKEY_DH, NULL, &at, _size(data))
    else:
        bio = _open(data)
        try:
            owner.pkey = PEM_read_bio_Parameters(bio, NULL)
        finally:
            BIO_free(bio)
    if owner.pkey is NULL or not (EVP_PKEY_is_a(owner.pkey, b"DH") or EVP_PKEY_is_a(owner.pkey, b"DHX")):
        raise _unreadable(material, "Diffie-Hellman parameters")
    return owner


@cython.final
cdef class Pfx:
    cdef readonly str label
    cdef _Key key
    cdef _Certificate certificate
    cdef list others

    def __cinit__(self, material):
        self.label = material.label
        self.key, self.certificate, self.others = _unpack(material, Work(material.label))
        if self.key.pkey is NULL or self.certificate.x509 is NULL:
            missing = "private key" if self.key.pkey is NULL else "certificate"
            raise ConfigError(
                f"Unable to load {missing} from PFX data: {material.label} contains none", code="ERR_CRYPTO_OPERATION_FAILED",
                hint=f"Export it again with its {missing}, or pass its certificates as ca=.",
            )

    @property
    def authorities(self):
        return tuple(LabelledMaterial(self.label, _der_of(<_Certificate>other)) for other in self.others)


# OpenSSL's RC2 and RC4, which old PKCS#12 use, live in a provider of their own. It is loaded into a
# library context of its own: no connection can use these algorithms.
cdef OSSL_LIB_CTX *_legacy = NULL


def has_legacy_algorithms():
    global _legacy
    if _legacy is NULL:
        _legacy = OSSL_LIB_CTX_new()
        if _legacy is not NULL and (OSSL_PROVIDER_load(_legacy, b"default") is NULL or OSSL_PROVIDER_load(_legacy, b"legacy") is NULL):
            OSSL_LIB_CTX_free(_legacy)
            _legacy = NULL
        ERR_clear_error()
    return _legacy is not NULL


def open_pfx(material, Work work not None, *, legacy=False):
    cdef _Key key
    cdef _Certificate certificate
    cdef OSSL_LIB_CTX *before = NULL
    if legacy and has_legacy_algorithms():
        before = OSSL_LIB_CTX_set0_default(_legacy)     # of this thread
    try:
        key, certificate, others = _unpack(material, work)
    finally:
        if before is not NULL:
            OSSL_LIB_CTX_set0_default(before)
    certificates = ([certificate] if certificate.x509 is not NULL else []) + others
    return _pkcs8_of(key) if key.pkey is not NULL else None, tuple([_der_of(<_Certificate>one) for one in certificates])


cdef bytes _pkcs8_of(_Key key):
    """Return a private key in DER, unencrypted."""
    cdef PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key.pkey)
    cdef unsigned char *der = NULL
    cdef int size = i2d_PKCS8_PRIV_KEY_INFO(info, &der) if info is not NULL else -1
    PKCS8_PRIV_KEY_INFO_free(info)
    if size < 0:
        raise _failure("Cannot export the private key of a PKCS#12")
    try:
        return (<const char *>der)[:size]
    finally:
        OPENSSL_clear_free(der, <size_t>size)


cdef tuple _unpack(material, Work work):
    """Open a PKCS#12.

    Returns its key, the certificate of the key, and the list of the others. Key and certificate
    are empty if it has none.
    """
    cdef _Contents contents = _Contents(material, work)
    cdef bytes data = _content(material)
    cdef const unsigned char *at = _start(data)
    cdef PKCS12 *pfx
    if b"\0" in (material.passphrase or b""):         # OpenSSL would stop at the NUL
        raise wrong_value("The passphrase of a PKCS#12", "must not contain a null character")
    ERR_clear_error()
    pfx = d2i_PKCS12(NULL, &at, _size(data))
    if pfx is NULL:
        raise _unreadable(material, "PKCS#12")
    try:
        if not contents.open(pfx):
            raise _unopenable(material, contents.is_unverified)
    finally:
        PKCS12_free(pfx)
    ERR_clear_error()
    return contents.split()


@cython.final
cdef class _Contents:
    """What a PKCS#12 contains, collected as OpenSSL's PKCS12_parse does.

    That requires a MAC, which is optional (RFC 7292 4), and does any number of iterations. A method
    that returns 0 has left errors in the queue.
    """
    cdef _Key key
    cdef list certificates
    cdef Work work
    cdef bytes passphrase
    cdef const char *secret
    cdef bint has_mac
    cdef bint is_unverified             # decrypted with a passphrase that no MAC has confirmed

    def __cinit__(self, material, Work work):
        self.key = _Key.__new__(_Key)
        self.certificates = []
        self.work = work
        self.passphrase = material.passphrase
        if self.passphrase is not None:
            self.secret = _text(self.passphrase)

    cdef bint open(self, PKCS12 *pfx) except -1:
        cdef PKCS7_STACK *parts = PKCS12_unpack_authsafes(pfx)
        if parts is NULL:
            return False
        try:
            self.count(pfx, parts)
            self.has_mac = PKCS12_mac_present(pfx)
            if self.has_mac:
                if not self.verify(pfx):
                    ERR_raise(ERR_LIB_PKCS12, PKCS12_R_MAC_VERIFY_FAILURE)
                    return False
            elif self.secret is NULL:
                self.secret = b""       # with a MAC, it shows which of both is right
            for index in range(sk_PKCS7_num(parts)):
                if not self.take_part(sk_PKCS7_value(parts, index)):
                    return False
            return True
        finally:
            sk_PKCS7_pop_free(parts, PKCS7_free)

    cdef int count(self, PKCS12 *pfx, const PKCS7_STACK *parts) except -1:
        """Count the iterations of the MAC and of all encrypted parts; those of the key follow."""
        cdef const X509_ALGOR *algorithm
        cdef const ASN1_INTEGER *iterations
        cdef PKCS7 *part
        if PKCS12_mac_present(pfx):
            PKCS12_get0_mac(NULL, &algorithm, NULL, &iterations, pfx)
            # PBMAC1 has its own number (RFC 9579 4), and ignores this one.
            self.work.add_iterations(max(1 if iterations is NULL else _number(iterations), _count_iterations(algorithm, True)))
        for index in range(sk_PKCS7_num(parts)):
            part = sk_PKCS7_value(parts, index)
            if PKCS7_type_is_encrypted(part) and part.d.encrypted is not NULL:
                self.work.add(part.d.encrypted.enc_data.algorithm)
        return 0

    cdef bint verify(self, PKCS12 *pfx):
        """Verify the MAC. A passphrase may be empty or missing, which makes a difference."""
        if self.secret is not NULL and self.secret[0]:
            return PKCS12_verify_mac(pfx, self.secret, -1)
        self.secret = NULL
        if not PKCS12_verify_mac(pfx, self.secret, 0):
            self.secret = b""
        return self.secret is NULL or PKCS12_verify_mac(pfx, self.secret, 0)

    cdef bint take_part(self, PKCS7 *part) except -1:
        cdef BAG_STACK *bags
        if PKCS7_type_is_data(part):
            bags = PKCS12_unpack_p7data(part)
        elif PKCS7_type_is_encrypted(part):
            self.is_unverified = not self.has_mac
            bags = PKCS12_unpack_p7encdata(part, self.secret, -1)
        else:
            return True
        if bags is NULL:
            return False
        try:
            return self.take_bags(bags)
        finally:
            sk_PKCS12_SAFEBAG_pop_free(bags, PKCS12_SAFEBAG_free)

    cdef bint take_bags(self, const BAG_STACK *bags) except -1:
        for index in range(sk_PKCS12_SAFEBAG_num(bags)):
            if not self.take_bag(sk_PKCS12_SAFEBAG_value(bags, index)):
                return False
        return True

    cdef bint take_bag(self, const BAG *bag) except -1:
        cdef int kind = PKCS12_SAFEBAG_get_nid(bag)
        cdef _Certificate owner
        if kind == NID_certBag and PKCS12_SAFEBAG_get_bag_nid(bag) == NID_x509Certificate:
            owner = _Certificate.__new__(_Certificate)
            owner.x509 = PKCS12_SAFEBAG_get1_cert(bag)
            self.certificates.append(owner)
            return owner.x509 is not NULL
        if kind == NID_safeContentsBag:
            return self.take_bags(PKCS12_SAFEBAG_get0_safes(bag))
        if self.key.pkey is NULL and kind in (NID_keyBag, NID_pkcs8ShroudedKeyBag):
            return self.take_key(bag, kind == NID_pkcs8ShroudedKeyBag)
        return True

    cdef bint take_key(self, const BAG *bag, bint encrypted) except -1:
        """Take the first private key."""
        cdef const X509_ALGOR *algorithm
        cdef PKCS8_PRIV_KEY_INFO *info
        if not encrypted:
            self.key.pkey = EVP_PKCS82PKEY(PKCS12_SAFEBAG_get0_p8inf(bag))
            return self.key.pkey is not NULL
        X509_SIG_get0(PKCS12_SAFEBAG_get0_pkcs8(bag), &algorithm, NULL)
        self.work.add(algorithm)
        self.is_unverified = not self.has_mac
        info = PKCS12_decrypt_skey(bag, self.secret, -1)
        if info is not NULL:
            self.key.pkey = EVP_PKCS82PKEY(info)
            PKCS8_PRIV_KEY_INFO_free(info)
        return self.key.pkey is not NULL

    cdef tuple split(self):
        """Return the key, its certificate and the other certificates."""
        cdef _Certificate certificate
        for index, certificate in enumerate(self.certificates):
            if self.key.pkey is not NULL and X509_check_private_key(certificate.x509, self.key.pkey):
                return self.key, certificate, self.certificates[:index] + self.certificates[index + 1:]
        ERR_clear_error()
        return self.key, _Certificate.__new__(_Certificate), self.certificates


# ---- bytes and passphrases ----


cdef bytes _content(material):
    """Return the bytes without a byte order mark, which Windows editors add and which would hide
    the first PEM line.
    """
    cdef bytes data = material.data
    data = data.removeprefix(b"\xef\xbb\xbf")
    if PyBytes_GET_SIZE(data) > INT_MAX:
        raise UsageValueError(f"{material.label} is longer than 2 GiB")
    return data


cdef bint _is_der(bytes data):
    return data[:1] == b"\x30" and b"-----BEGIN " not in data


cdef const char *_text(bytes data):
    return PyBytes_AS_STRING(data)


cdef const unsigned char *_start(bytes data):
    return <const unsigned char *>PyBytes_AS_STRING(data)


cdef int _size(bytes data):
    return <int>PyBytes_GET_SIZE(data)


cdef BIO *_open(bytes data) except NULL:
    """Return a BIO that reads `data`. The caller keeps `data` alive and frees the BIO."""
    cdef BIO *bio = BIO_new_mem_buf(PyBytes_AS_STRING(data), _size(data))
    if bio is NULL:
        raise MemoryError
    return bio


cdef bytes _der_of(_Certificate certificate):
    cdef unsigned char *der = NULL
    cdef int size = i2d_X509(certificate.x509, &der)
    if size < 0:
        raise MemoryError
    try:
        return (<const char *>der)[:size]
    finally:
        OPENSSL_free(der)


cdef bytes _trusted_der_of(_Certificate certificate):
    """Return the certificate, followed by OpenSSL's trust settings if it has any (a TRUSTED
    CERTIFICATE in PEM).
    """
    cdef unsigned char *der = NULL
    cdef int size
    if X509_get0_trust_objects(certificate.x509) is NULL and X509_get0_reject_objects(certificate.x509) is NULL:
        return _der_of(certificate)
    size = i2d_X509_AUX(certificate.x509, &der)
    if size < 0:
        raise MemoryError
    try:
        return (<const char *>der)[:size]
    finally:
        OPENSSL_free(der)


cdef struct _Passphrase:
    const char *text
    Py_ssize_t size
    bint asked


cdef int _supply_passphrase(char *buffer, int size, int writing, void *argument) noexcept nogil:
    """Supply the passphrase, or an empty one as Node does: the error is then "bad decrypt" instead
    of "interrupted or cancelled".
    """
    cdef _Passphrase *passphrase = <_Passphrase *>argument
    passphrase.asked = True
    if passphrase.size > size:
        return -1
    memcpy(buffer, passphrase.text, <size_t>passphrase.size)
    return <int>passphrase.size


cdef int _no_passphrase(char *buffer, int size, int writing, void *argument) noexcept nogil:
    return -1


# ---- errors ----


cdef bint _reached_end():
    """Whether the last PEM read failed because there is nothing more, and not because of corrupt
    data. If so, clear the error.
    """
    cdef unsigned long error = ERR_peek_last_error()
    if ERR_GET_LIB(error) != ERR_LIB_PEM or ERR_GET_REASON(error) != PEM_R_NO_START_LINE:
        return False
    ERR_clear_error()
    return True


cdef list _drain_errors():
    """Empty OpenSSL's error queue. Returns (library, reason number, reason, whole text) for each,
    oldest first.
    """
    cdef const char *function
    cdef const char *data
    cdef const char *text
    cdef const char *library
    cdef int flags
    cdef unsigned long code
    drained = []
    while True:
        code = ERR_get_error_all(NULL, NULL, &function, &data, &flags)
        if not code:
            return drained
        text = ERR_reason_error_string(code)
        library = ERR_lib_error_string(code)
        reason = f"reason({ERR_GET_REASON(code)})" if text is NULL else text.decode("utf-8", "replace")
        where = f"lib({ERR_GET_LIB(code)})" if library is NULL else library.decode("utf-8", "replace")
        more = ":" + data.decode("utf-8", "replace") if data is not NULL and flags & ERR_TXT_STRING and data[0] else ""
        drained.append((ERR_GET_LIB(code), ERR_GET_REASON(code), reason, f"error:{code:08X}:{where}::{reason}{more}"))


def _failure(message, *, code=None, hint=None, errors=None):
    """Make the ConfigError for the last failure. As in Node, the oldest entry of OpenSSL's queue
    decides code and reason.
    """
    errors = _drain_errors() if errors is None else errors
    if not errors:
        return ConfigError(message, code=code or "ERR_CRYPTO_OPERATION_FAILED", hint=hint)
    library, _, reason, _ = errors[0]
    return ConfigError(
        f"{message}: {reason}",
        code=code or _code_of(library, reason),
        reason=reason,
        hint=hint,
        openssl_errors=tuple(error[3] for error in errors),
    )


def _code_of(library, reason):
    """Return Node's code for an entry of OpenSSL's queue."""
    name = reason.replace(" ", "_").upper()
    return f"ERR_SSL_{name}" if library == ERR_LIB_SSL else f"ERR_OSSL_{_NAMED_LIBRARIES.get(library, '')}{name}"


def _unreadable(material, wanted):
    return _failure(f"Cannot read {wanted} from {material.label}", hint=explain(material.data, wanted, material.label))


def _unreadable_crl(material):
    hint = explain(material.data, "a certificate revocation list", material.label)
    return _failure(f"Failed to parse CRL from {material.label}", code="ERR_CRYPTO_OPERATION_FAILED", hint=hint)


def _undecryptable(material):
    if material.passphrase is None:
        hint = "The private key is encrypted: set passphrase=."
    else:
        hint = "The passphrase is not the one the key was encrypted with." + _stray_line_end(material)
    return _failure(f"Cannot decrypt the private key of {material.label}", code="ERR_OSSL_BAD_DECRYPT", hint=hint)


def _stray_line_end(material):
    """A passphrase that was read from a file often has the line end of that file."""
    return " It ends with a line break: use text.rstrip(), if that does not belong to it." if material.passphrase[-1:] in (b"\n", b"\r") else ""


def _unopenable(material, is_unverified):
    errors = _drain_errors()
    if any(reason == ERR_R_UNSUPPORTED for _, reason, _, _ in errors):
        return _failure(
            f"Unsupported PKCS12 PFX data: {material.label} is encrypted with an algorithm OpenSSL 3 no longer offers",
            code="ERR_CRYPTO_UNSUPPORTED_OPERATION",
            hint="Export it again with a modern algorithm: openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW.",
            errors=errors,
        )
    hint = "It is damaged: get it again from its source."
    if is_unverified or any(library == ERR_LIB_PKCS12 and reason == PKCS12_R_MAC_VERIFY_FAILURE for library, reason, _, _ in errors):
        hint = "It is encrypted: set passphrase=." if material.passphrase is None else "The passphrase is wrong." + _stray_line_end(material)
    # Without a MAC, a wrong passphrase leaves a padding that is right once in 256 times: then what was decrypted cannot be parsed.
    code = "ERR_OSSL_BAD_DECRYPT" if is_unverified else None
    return _failure(f"Cannot open the PKCS#12 of {material.label}", code=code, hint=hint, errors=errors)
