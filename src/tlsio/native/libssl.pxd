"""The part of OpenSSL (3.0 and newer) that the binding uses: declarations, with OpenSSL's names."""

from libc.stdint cimport int64_t, uint16_t, uint64_t
from posix.time cimport time_t

cdef extern from "openssl/types.h" nogil:
    ctypedef struct ASN1_TIME
    ctypedef struct SSL
    ctypedef struct SSL_CTX
    ctypedef struct SSL_SESSION
    ctypedef struct BIO
    ctypedef struct OSSL_LIB_CTX
    ctypedef struct EVP_PKEY
    ctypedef struct EVP_PKEY_CTX
    ctypedef struct X509
    ctypedef struct X509_CRL
    ctypedef struct X509_NAME
    ctypedef struct X509_STORE
    ctypedef struct X509_STORE_CTX
    ctypedef struct X509_VERIFY_PARAM

ctypedef int (*pem_password_cb)(char *buffer, int size, int writing, void *argument) noexcept nogil

cdef extern from "openssl/crypto.h" nogil:
    int OPENSSL_VERSION
    const char *OpenSSL_version(int what)
    unsigned long OpenSSL_version_num()
    void OPENSSL_free(void *memory)
    void OPENSSL_clear_free(void *memory, size_t size)
    OSSL_LIB_CTX *OSSL_LIB_CTX_new()
    void OSSL_LIB_CTX_free(OSSL_LIB_CTX *library)
    OSSL_LIB_CTX *OSSL_LIB_CTX_set0_default(OSSL_LIB_CTX *library)

cdef extern from "openssl/provider.h" nogil:
    ctypedef struct OSSL_PROVIDER
    OSSL_PROVIDER *OSSL_PROVIDER_load(OSSL_LIB_CTX *library, const char *name)

cdef extern from "openssl/err.h" nogil:
    int ERR_LIB_SYS, ERR_LIB_BN, ERR_LIB_RSA, ERR_LIB_DH, ERR_LIB_EVP, ERR_LIB_OBJ, ERR_LIB_PEM, ERR_LIB_DSA, ERR_LIB_X509
    int ERR_LIB_ASN1, ERR_LIB_CONF, ERR_LIB_CRYPTO, ERR_LIB_EC, ERR_LIB_SSL, ERR_LIB_BIO, ERR_LIB_X509V3, ERR_LIB_PKCS12
    int ERR_LIB_RAND, ERR_LIB_DSO
    int ERR_R_UNSUPPORTED
    int ERR_TXT_STRING
    void ERR_clear_error()
    unsigned long ERR_peek_error()
    unsigned long ERR_peek_last_error()
    unsigned long ERR_get_error_all(const char **file, int *line, const char **function, const char **data, int *flags)
    void ERR_raise(int library, int reason)
    int ERR_GET_LIB(unsigned long code)
    int ERR_GET_REASON(unsigned long code)
    const char *ERR_lib_error_string(unsigned long code)
    const char *ERR_reason_error_string(unsigned long code)

cdef extern from "openssl/bio.h" nogil:
    ctypedef struct BIO_METHOD
    const BIO_METHOD *BIO_s_mem()
    BIO *BIO_new(const BIO_METHOD *method)
    BIO *BIO_new_mem_buf(const void *data, int size)
    long BIO_get_mem_data(BIO *bio, char **data)
    int BIO_eof(BIO *bio)
    int BIO_free(BIO *bio)

cdef extern from "openssl/evp.h" nogil:
    ctypedef struct EVP_MD
    const EVP_MD *EVP_sha256()
    void EVP_PKEY_free(EVP_PKEY *key)
    int EVP_PKEY_eq(const EVP_PKEY *one, const EVP_PKEY *other)
    int EVP_PKEY_get_bits(const EVP_PKEY *key)
    int EVP_PKEY_is_a(const EVP_PKEY *key, const char *name)
    EVP_PKEY_CTX *EVP_PKEY_CTX_new_from_name(void *library, const char *name, const char *properties)
    void EVP_PKEY_CTX_free(EVP_PKEY_CTX *context)
    int EVP_PKEY_CTX_set_group_name(EVP_PKEY_CTX *context, const char *name)
    void EVP_PKEY_CTX_set_app_data(EVP_PKEY_CTX *context, void *data)
    void *EVP_PKEY_CTX_get_app_data(EVP_PKEY_CTX *context)
    void EVP_PKEY_CTX_set_cb(EVP_PKEY_CTX *context, int (*callback)(EVP_PKEY_CTX *context) noexcept nogil)
    int EVP_PKEY_paramgen_init(EVP_PKEY_CTX *context)
    int EVP_PKEY_paramgen(EVP_PKEY_CTX *context, EVP_PKEY **parameters)

cdef extern from "openssl/dh.h" nogil:
    int EVP_PKEY_CTX_set_dh_paramgen_prime_len(EVP_PKEY_CTX *context, int bits)

cdef extern from "openssl/pem.h" nogil:
    int PEM_R_NO_START_LINE
    X509 *PEM_read_bio_X509_AUX(BIO *bio, X509 **unused, pem_password_cb callback, void *argument)
    X509_CRL *PEM_read_bio_X509_CRL(BIO *bio, X509_CRL **unused, pem_password_cb callback, void *argument)
    EVP_PKEY *PEM_read_bio_PrivateKey(BIO *bio, EVP_PKEY **unused, pem_password_cb callback, void *argument)
    int PEM_read_bio(BIO *bio, char **name, char **header, unsigned char **data, long *size)
    EVP_PKEY *PEM_read_bio_Parameters(BIO *bio, EVP_PKEY **unused)
    int PEM_write_bio_Parameters(BIO *bio, EVP_PKEY *parameters)
    EVP_PKEY *d2i_PKCS8PrivateKey_bio(BIO *bio, EVP_PKEY **unused, pem_password_cb callback, void *argument)

cdef extern from "openssl/asn1.h" nogil:
    ctypedef struct ASN1_ITEM
    ctypedef struct ASN1_TYPE
    ctypedef struct ASN1_BIT_STRING
    ctypedef struct ASN1_INTEGER
    ctypedef struct ASN1_OBJECT
    ctypedef struct ASN1_STRING
    int V_ASN1_SEQUENCE
    int ASN1_INTEGER_get_int64(int64_t *value, const ASN1_INTEGER *number)
    const unsigned char *ASN1_STRING_get0_data(const ASN1_STRING *text)
    int ASN1_STRING_length(const ASN1_STRING *text)
    const ASN1_ITEM *ASN1_ANY_it()
    ASN1_TYPE *d2i_ASN1_TYPE(ASN1_TYPE **unused, const unsigned char **data, long size)
    void ASN1_TYPE_free(ASN1_TYPE *value)
    ASN1_BIT_STRING *d2i_ASN1_BIT_STRING(ASN1_BIT_STRING **unused, const unsigned char **data, long size)
    void ASN1_BIT_STRING_free(ASN1_BIT_STRING *bits)

cdef extern from "openssl/x509.h" nogil:
    ctypedef struct X509_ALGOR
    X509_ALGOR *d2i_X509_ALGOR(X509_ALGOR **unused, const unsigned char **data, long size)
    void X509_ALGOR_free(X509_ALGOR *algorithm)
    void X509_ALGOR_get0(const ASN1_OBJECT **kind, int *tag, const void **value, const X509_ALGOR *algorithm)

    ctypedef struct X509_SIG
    X509_SIG *d2i_X509_SIG(X509_SIG **unused, const unsigned char **data, long size)
    void X509_SIG_get0(const X509_SIG *encrypted, const X509_ALGOR **algorithm, void *unused)
    void X509_SIG_free(X509_SIG *encrypted)
    ctypedef struct PBEPARAM:
        ASN1_INTEGER *iter
    PBEPARAM *d2i_PBEPARAM(PBEPARAM **unused, const unsigned char **data, long size)
    void PBEPARAM_free(PBEPARAM *parameters)
    ctypedef struct PBE2PARAM:
        X509_ALGOR *keyfunc
    PBE2PARAM *d2i_PBE2PARAM(PBE2PARAM **unused, const unsigned char **data, long size)
    void PBE2PARAM_free(PBE2PARAM *parameters)
    ctypedef struct PBKDF2PARAM:
        ASN1_INTEGER *iter
    PBKDF2PARAM *d2i_PBKDF2PARAM(PBKDF2PARAM **unused, const unsigned char **data, long size)
    void PBKDF2PARAM_free(PBKDF2PARAM *parameters)
    ctypedef struct SCRYPT_PARAMS:
        ASN1_INTEGER *costParameter
        ASN1_INTEGER *blockSize
        ASN1_INTEGER *parallelizationParameter
    SCRYPT_PARAMS *d2i_SCRYPT_PARAMS(SCRYPT_PARAMS **unused, const unsigned char **data, long size)
    void SCRYPT_PARAMS_free(SCRYPT_PARAMS *parameters)

    EVP_PKEY *d2i_PUBKEY(EVP_PKEY **unused, const unsigned char **data, long size)
    int ASN1_item_verify(const ASN1_ITEM *kind, const X509_ALGOR *algorithm, const ASN1_BIT_STRING *signature, const void *data, EVP_PKEY *key)

    ctypedef struct X509_STACK "STACK_OF(X509)"
    ctypedef struct X509_NAME_STACK "STACK_OF(X509_NAME)"
    X509_STACK *sk_X509_new_null()
    int sk_X509_push(X509_STACK *stack, X509 *certificate)
    int sk_X509_num(const X509_STACK *stack)
    X509 *sk_X509_value(const X509_STACK *stack, int index)
    X509 *sk_X509_shift(X509_STACK *stack)
    void sk_X509_free(X509_STACK *stack)
    void sk_X509_pop_free(X509_STACK *stack, void (*free)(X509 *) noexcept nogil)
    X509_NAME_STACK *sk_X509_NAME_new_null()
    int sk_X509_NAME_push(X509_NAME_STACK *stack, X509_NAME *name)
    int sk_X509_NAME_num(const X509_NAME_STACK *stack)
    X509_NAME *sk_X509_NAME_value(const X509_NAME_STACK *stack, int index)
    void sk_X509_NAME_pop_free(X509_NAME_STACK *stack, void (*free)(X509_NAME *) noexcept nogil)

    X509 *d2i_X509(X509 **unused, const unsigned char **data, long size)
    int i2d_X509(const X509 *certificate, unsigned char **data)
    int i2d_X509_AUX(const X509 *certificate, unsigned char **data)
    void X509_free(X509 *certificate)
    int X509_cmp(const X509 *one, const X509 *other)
    int i2d_X509_AUX(const X509 *certificate, unsigned char **data)
    X509_NAME *X509_get_subject_name(const X509 *certificate)
    EVP_PKEY *X509_get0_pubkey(const X509 *certificate)
    int X509_check_private_key(const X509 *certificate, const EVP_PKEY *key)

    X509_NAME *d2i_X509_NAME(X509_NAME **unused, const unsigned char **data, long size)
    int i2d_X509_NAME(const X509_NAME *name, unsigned char **data)
    void X509_NAME_free(X509_NAME *name)

    X509_CRL *d2i_X509_CRL(X509_CRL **unused, const unsigned char **data, long size)
    void X509_CRL_free(X509_CRL *crl)
    const ASN1_TIME *X509_CRL_get0_nextUpdate(const X509_CRL *crl)
    X509_NAME *X509_CRL_get_issuer(const X509_CRL *crl)
    int X509_CRL_verify(X509_CRL *crl, EVP_PKEY *key)
    int X509_CRL_digest(const X509_CRL *crl, const EVP_MD *algorithm, unsigned char *digest, unsigned int *size)

    ctypedef struct PKCS8_PRIV_KEY_INFO
    PKCS8_PRIV_KEY_INFO *EVP_PKEY2PKCS8(const EVP_PKEY *key)
    EVP_PKEY *EVP_PKCS82PKEY(const PKCS8_PRIV_KEY_INFO *info)
    int i2d_PKCS8_PRIV_KEY_INFO(const PKCS8_PRIV_KEY_INFO *info, unsigned char **data)
    void PKCS8_PRIV_KEY_INFO_free(PKCS8_PRIV_KEY_INFO *info)
    EVP_PKEY *d2i_AutoPrivateKey(EVP_PKEY **unused, const unsigned char **data, long size)
    EVP_PKEY *d2i_KeyParams(int type, EVP_PKEY **unused, const unsigned char **data, long size)

cdef extern from "openssl/x509_vfy.h" nogil:
    int X509_V_OK
    int X509_V_ERR_CERT_REJECTED
    int X509_V_ERR_UNSPECIFIED
    unsigned long X509_V_FLAG_CRL_CHECK
    unsigned long X509_V_FLAG_CRL_CHECK_ALL
    unsigned long X509_V_FLAG_PARTIAL_CHAIN
    unsigned long X509_V_FLAG_X509_STRICT
    ctypedef int (*X509_STORE_CTX_verify_cb)(int ok, X509_STORE_CTX *verification) noexcept nogil
    void X509_STORE_CTX_set_verify_cb(X509_STORE_CTX *verification, X509_STORE_CTX_verify_cb callback)
    int X509_STORE_CTX_set_ex_data(X509_STORE_CTX *verification, int index, void *data)
    void *X509_STORE_CTX_get_ex_data(const X509_STORE_CTX *verification, int index)
    int X509_STORE_CTX_set_default(X509_STORE_CTX *verification, const char *name)
    X509_VERIFY_PARAM *X509_STORE_CTX_get0_param(X509_STORE_CTX *verification)
    X509_STACK *X509_STORE_CTX_get0_chain(const X509_STORE_CTX *verification)
    int X509_STORE_CTX_get_error(const X509_STORE_CTX *verification)
    int X509_STORE_CTX_get_error_depth(const X509_STORE_CTX *verification)
    int X509_verify_cert(X509_STORE_CTX *verification)
    void X509_VERIFY_PARAM_set_time(X509_VERIFY_PARAM *parameters, time_t when)
    void X509_VERIFY_PARAM_set_auth_level(X509_VERIFY_PARAM *parameters, int level)
    const void *X509_get0_trust_objects(X509 *certificate)
    const void *X509_get0_reject_objects(X509 *certificate)
    X509_STACK *X509_STORE_CTX_get1_certs(X509_STORE_CTX *verification, const X509_NAME *subject)
    X509_STORE *X509_STORE_new()
    void X509_STORE_free(X509_STORE *store)
    int X509_STORE_add_cert(X509_STORE *store, X509 *certificate)
    int X509_STORE_add_crl(X509_STORE *store, X509_CRL *crl)
    X509_STORE_CTX *X509_STORE_CTX_new()
    int X509_STORE_CTX_init(X509_STORE_CTX *verification, X509_STORE *store, X509 *leaf, X509_STACK *untrusted)
    int X509_STORE_CTX_get1_issuer(X509 **issuer, X509_STORE_CTX *verification, X509 *certificate)
    void X509_STORE_CTX_free(X509_STORE_CTX *verification)
    const char *X509_get_default_cert_file()
    const char *X509_get_default_cert_dir()
    int X509_VERIFY_PARAM_set_flags(X509_VERIFY_PARAM *parameters, unsigned long flags)

cdef extern from "openssl/x509v3.h" nogil:
    unsigned int EXFLAG_SS
    unsigned int EXFLAG_INVALID
    unsigned int EXFLAG_CRITICAL
    unsigned int X509_get_extension_flags(X509 *certificate)
    int X509_check_issued(X509 *issuer, X509 *subject)

cdef extern from "openssl/ocsp.h" nogil:
    ctypedef struct OCSP_RESPONSE
    OCSP_RESPONSE *d2i_OCSP_RESPONSE(OCSP_RESPONSE **unused, const unsigned char **data, long size)
    int i2d_OCSP_RESPONSE(const OCSP_RESPONSE *response, unsigned char **data)
    void OCSP_RESPONSE_free(OCSP_RESPONSE *response)

cdef extern from "openssl/objects.h" nogil:
    int NID_pbes2, NID_pbmac1, NID_id_pbkdf2, NID_id_scrypt
    int NID_keyBag, NID_pkcs8ShroudedKeyBag, NID_certBag, NID_safeContentsBag, NID_x509Certificate
    int OBJ_obj2nid(const ASN1_OBJECT *object)

cdef extern from "openssl/pkcs7.h" nogil:
    ctypedef struct PKCS7_ENC_CONTENT:
        X509_ALGOR *algorithm
    ctypedef struct PKCS7_ENCRYPT:
        PKCS7_ENC_CONTENT *enc_data
    ctypedef union PKCS7_content "":
        PKCS7_ENCRYPT *encrypted
    ctypedef struct PKCS7:
        PKCS7_content d
    ctypedef struct PKCS7_STACK "STACK_OF(PKCS7)"
    int PKCS7_type_is_data(const PKCS7 *part)
    int PKCS7_type_is_encrypted(const PKCS7 *part)
    void PKCS7_free(PKCS7 *part)
    int sk_PKCS7_num(const PKCS7_STACK *parts)
    PKCS7 *sk_PKCS7_value(const PKCS7_STACK *parts, int index)
    void sk_PKCS7_pop_free(PKCS7_STACK *parts, void (*free)(PKCS7 *) noexcept nogil)

cdef extern from "openssl/pkcs12.h" nogil:
    int PKCS12_R_MAC_VERIFY_FAILURE
    ctypedef struct BAG "PKCS12_SAFEBAG"
    ctypedef struct BAG_STACK "STACK_OF(PKCS12_SAFEBAG)"
    int sk_PKCS12_SAFEBAG_num(const BAG_STACK *bags)
    BAG *sk_PKCS12_SAFEBAG_value(const BAG_STACK *bags, int index)
    void sk_PKCS12_SAFEBAG_pop_free(BAG_STACK *bags, void (*free)(BAG *) noexcept nogil)
    void PKCS12_SAFEBAG_free(BAG *bag)
    int PKCS12_SAFEBAG_get_nid(const BAG *bag)
    int PKCS12_SAFEBAG_get_bag_nid(const BAG *bag)
    X509 *PKCS12_SAFEBAG_get1_cert(const BAG *bag)
    const BAG_STACK *PKCS12_SAFEBAG_get0_safes(const BAG *bag)
    const PKCS8_PRIV_KEY_INFO *PKCS12_SAFEBAG_get0_p8inf(const BAG *bag)
    const X509_SIG *PKCS12_SAFEBAG_get0_pkcs8(const BAG *bag)
    PKCS8_PRIV_KEY_INFO *PKCS12_decrypt_skey(const BAG *bag, const char *passphrase, int size)
    PKCS7_STACK *PKCS12_unpack_authsafes(const PKCS12 *pfx)
    BAG_STACK *PKCS12_unpack_p7data(PKCS7 *part)
    BAG_STACK *PKCS12_unpack_p7encdata(PKCS7 *part, const char *passphrase, int size)
    void PKCS12_get0_mac(void *unused, const X509_ALGOR **algorithm, void *also_unused, const ASN1_INTEGER **iterations, const PKCS12 *pfx)
    int PKCS12_verify_mac(PKCS12 *pfx, const char *passphrase, int size)
    ctypedef struct PKCS12
    PKCS12 *d2i_PKCS12(PKCS12 **unused, const unsigned char **data, long size)
    int PKCS12_mac_present(const PKCS12 *pfx)
    void PKCS12_free(PKCS12 *pfx)

cdef extern from "openssl/ssl.h" nogil:
    int EVP_PKEY_DH
    int TLS1_VERSION
    int TLS1_1_VERSION
    int TLS1_2_VERSION
    int TLS1_3_VERSION
    int SSL_VERIFY_NONE
    int SSL_VERIFY_PEER
    int SSL_VERIFY_FAIL_IF_NO_PEER_CERT
    int SSL_R_NO_CIPHER_MATCH
    uint64_t SSL_OP_NO_SSLv3
    uint64_t SSL_OP_NO_COMPRESSION
    uint64_t SSL_OP_CIPHER_SERVER_PREFERENCE

    int SSL_CTX_set_min_proto_version(SSL_CTX *ssl, int version)
    int SSL_CTX_set_max_proto_version(SSL_CTX *ssl, int version)
    int SSL_CTX_get_min_proto_version(SSL_CTX *ssl)
    int SSL_CTX_get_max_proto_version(SSL_CTX *ssl)
    uint64_t SSL_CTX_get_options(const SSL_CTX *ssl)
    uint64_t SSL_CTX_set_options(SSL_CTX *ssl, uint64_t options)
    uint64_t SSL_CTX_clear_options(SSL_CTX *ssl, uint64_t options)
    int SSL_CTX_set_cipher_list(SSL_CTX *ssl, const char *ciphers)
    const char *OPENSSL_cipher_name(const char *stdname)
    int SSL_CTX_set_ciphersuites(SSL_CTX *ssl, const char *suites)
    void SSL_CTX_set1_cert_store(SSL_CTX *ssl, X509_STORE *store)
    void SSL_CTX_set_client_CA_list(SSL_CTX *ssl, X509_NAME_STACK *names)
    X509_VERIFY_PARAM *SSL_CTX_get0_param(SSL_CTX *ssl)
    void SSL_CTX_set_verify(SSL_CTX *ssl, int mode, void *unused)
    int SSL_CTX_use_PrivateKey(SSL_CTX *ssl, EVP_PKEY *key)
    int SSL_CTX_use_cert_and_key(SSL_CTX *ssl, X509 *certificate, EVP_PKEY *key, X509_STACK *chain, int override)
    int SSL_CTX_set1_sigalgs_list(SSL_CTX *ssl, const char *algorithms)
    int SSL_CTX_set1_groups_list(SSL_CTX *ssl, const char *groups)
    int SSL_CTX_set_dh_auto(SSL_CTX *ssl, int enabled)
    int SSL_CTX_set0_tmp_dh_pkey(SSL_CTX *ssl, EVP_PKEY *parameters)
    int SSL_CTX_set_session_id_context(SSL_CTX *ssl, const unsigned char *context, unsigned int size)
    long SSL_CTX_set_timeout(SSL_CTX *ssl, long seconds)
    int SSL_CTX_get_security_level(const SSL_CTX *ssl)

# Connections.
cdef extern from "openssl/ssl.h" nogil:
    ctypedef struct SSL_CIPHER
    void SSL_get0_alpn_selected(const SSL *ssl, const unsigned char **name, unsigned int *size)
    ctypedef struct CIPHER_STACK "STACK_OF(SSL_CIPHER)"
    ctypedef struct SSL_METHOD
    const SSL_METHOD *TLS_method()
    SSL_CTX *SSL_CTX_new(const SSL_METHOD *method)
    void SSL_CTX_free(SSL_CTX *ssl)
    SSL *SSL_new(SSL_CTX *ctx)
    void SSL_free(SSL *ssl)
    CIPHER_STACK *SSL_get1_supported_ciphers(SSL *ssl)
    void sk_SSL_CIPHER_free(CIPHER_STACK *stack)
    void SSL_set_psk_client_callback(SSL *ssl, unsigned (*ask)(SSL *, const char *, char *, unsigned, unsigned char *, unsigned) noexcept nogil)
    CIPHER_STACK *SSL_CTX_get_ciphers(const SSL_CTX *ssl)
    int sk_SSL_CIPHER_num(const CIPHER_STACK *stack)
    const SSL_CIPHER *sk_SSL_CIPHER_value(const CIPHER_STACK *stack, int index)
    const char *SSL_get_version(const SSL *ssl)
    const SSL_CIPHER *SSL_get_current_cipher(const SSL *ssl)
    const char *SSL_CIPHER_get_name(const SSL_CIPHER *cipher)
    const char *SSL_CIPHER_standard_name(const SSL_CIPHER *cipher)
    uint16_t SSL_CIPHER_get_protocol_id(const SSL_CIPHER *cipher)
    const char *SSL_CIPHER_get_version(const SSL_CIPHER *cipher)
    int SSL_session_reused(const SSL *ssl)
    SSL_SESSION *SSL_get0_session "SSL_get_session"(const SSL *ssl)
    int i2d_SSL_SESSION(const SSL_SESSION *session, unsigned char **data)
    void SSL_SESSION_get0_ticket(const SSL_SESSION *session, const unsigned char **ticket, size_t *size)
    int SSL_get_verify_mode(const SSL *ssl)
    long SSL_get_verify_result(const SSL *ssl)
    X509 *SSL_get0_peer_certificate(const SSL *ssl)
    X509_STACK *SSL_get_peer_cert_chain(const SSL *ssl)
    X509_STACK *SSL_get0_verified_chain(const SSL *ssl)
    X509 *SSL_get_certificate(const SSL *ssl)
    long SSL_get0_chain_certs(SSL *ssl, X509_STACK **chain)
    CIPHER_STACK *SSL_get_client_ciphers(const SSL *ssl)
    int SSL_client_version(const SSL *ssl)
    int SSL_get_sigalgs(SSL *ssl, int index, int *sign, int *hash, int *both, unsigned char *raw_sign, unsigned char *raw_hash)
    int SSL_get1_groups(SSL *ssl, int *groups)
    const char *SSL_group_to_name(SSL *ssl, int group)
    int SSL_is_init_finished(const SSL *ssl)
    int SSL_version(const SSL *ssl)
    size_t SSL_get_finished(const SSL *ssl, void *buffer, size_t size)
    size_t SSL_get_peer_finished(const SSL *ssl, void *buffer, size_t size)
    int SSL_get_extms_support(SSL *ssl)
    int SSL_get_secure_renegotiation_support(SSL *ssl)
    int SSL_get_peer_signature_nid(const SSL *ssl, int *number)
    int SSL_get_peer_signature_type_nid(const SSL *ssl, int *number)
    const X509_NAME_STACK *SSL_get0_peer_CA_list(const SSL *ssl)
    int SSL_get_shared_sigalgs(SSL *ssl, int index, int *sign, int *hash, int *both, unsigned char *raw_sign, unsigned char *raw_hash)
    int SSL_export_keying_material(SSL *ssl, unsigned char *out, size_t out_size, const char *label, size_t label_size,
                                   const unsigned char *context, size_t context_size, int use_context)

cdef extern from "openssl/objects.h" nogil:
    int EVP_PKEY_RSA, EVP_PKEY_RSA_PSS, EVP_PKEY_DSA, EVP_PKEY_EC, EVP_PKEY_ED25519, EVP_PKEY_ED448
    const char *OBJ_nid2sn(int number)

# Certificate compression (RFC 8879): OpenSSL 3.2 and newer, with the algorithms that it was built
# with.
cdef extern from *:
    """
    #include <openssl/ssl.h>
    #if OPENSSL_VERSION_NUMBER >= 0x30200000L && !defined(OPENSSL_NO_COMP_ALG)
    #include <openssl/comp.h>
    static int tio_can_compress(int algorithm) {
    #ifndef OPENSSL_NO_ZLIB
        if (algorithm == TLSEXT_comp_cert_zlib) return BIO_f_zlib() != NULL;
    #endif
    #ifndef OPENSSL_NO_BROTLI
        if (algorithm == TLSEXT_comp_cert_brotli) return BIO_f_brotli() != NULL;
    #endif
    #ifndef OPENSSL_NO_ZSTD
        if (algorithm == TLSEXT_comp_cert_zstd) return BIO_f_zstd() != NULL;
    #endif
        return 0;
    }
    static int tio_prefer_compression(SSL_CTX *ssl, int *algorithms, size_t count) {
        return SSL_CTX_set1_cert_comp_preference(ssl, algorithms, count);
    }
    /* A server sends what is compressed beforehand; a certificate that does not get smaller is none of it. */
    static void tio_compress_certificates(SSL_CTX *ssl) { SSL_CTX_compress_certs(ssl, 0); }
    #else
    static int tio_can_compress(int algorithm) { (void)algorithm; return 0; }
    static int tio_prefer_compression(SSL_CTX *ssl, int *algorithms, size_t count) {
        (void)ssl, (void)algorithms;
        return count == 0;
    }
    static void tio_compress_certificates(SSL_CTX *ssl) { (void)ssl; }
    #endif
    """
    int tio_can_compress(int algorithm) nogil
    int tio_prefer_compression(SSL_CTX *ssl, int *algorithms, size_t count) nogil
    void tio_compress_certificates(SSL_CTX *ssl) nogil
