/* keys.c - private keys that live elsewhere, as a provider of OpenSSL: keymgmt and signature.
 *
 * Theory of operation. Such a key is an EVP_PKEY with a public key and a number instead of a
 * private key. OpenSSL asks this provider for its signatures, and the provider asks the connection
 * (signing.c), which pauses until the binding has answered.
 *
 * The provider is loaded into a library context of its own. In the default one, which may be shared
 * with other parts of the process, its algorithms would compete with OpenSSL's, because they must
 * have the same names: libssl recognises the type of a key by its name. OpenSSL finds the provider
 * by the keymgmt of the key (EVP_DigestSignInit_ex() tries its own provider first, and this fails
 * because keys cannot be exported from here). Everything that needs no private key is left to the
 * default provider, by an ordinary public key.
 *
 * Without decryption, a server's RSA key here cannot be used for RSA key exchange. */
#include "internal.h"

#include <openssl/async.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef struct tio_key {
    const char *type;                   /* OpenSSL's name: EC, RSA, ... */
    EVP_PKEY *public;                   /* the default provider's */
    uint64_t number;                    /* 0: a public key that OpenSSL compares with another one */
    struct tio_key *next;               /* in the list of dead keys */
} tio_key;

#define NUMBER "tlsio-number"           /* the parameter that sets `number` */

/* RFC 8446 4.2.3, with the digest and padding by which OpenSSL asks for it. Up to TLS 1.2 a name
 * stands for a type of key and a digest, whatever the curve is (RFC 8446 4.2.3: "the curve used is
 * not constrained by the signature algorithm"). */
static const struct scheme {
    const char *type, *digest;          /* digest NULL: the algorithm has its own */
    int padding;
    const char *name;
    const char *group, *name_13;        /* RFC 8734: in TLS 1.3 a curve with names of its own */
} schemes[] = {
    { "EC", "SHA256", 0, "ecdsa_secp256r1_sha256", "brainpoolP256r1", "ecdsa_brainpoolP256r1tls13_sha256" },
    { "EC", "SHA384", 0, "ecdsa_secp384r1_sha384", "brainpoolP384r1", "ecdsa_brainpoolP384r1tls13_sha384" },
    { "EC", "SHA512", 0, "ecdsa_secp521r1_sha512", "brainpoolP512r1", "ecdsa_brainpoolP512r1tls13_sha512" },
    { "EC", "SHA1", 0, "ecdsa_sha1", NULL, NULL },
    { "RSA", "SHA256", RSA_PKCS1_PSS_PADDING, "rsa_pss_rsae_sha256", NULL, NULL },
    { "RSA", "SHA384", RSA_PKCS1_PSS_PADDING, "rsa_pss_rsae_sha384", NULL, NULL },
    { "RSA", "SHA512", RSA_PKCS1_PSS_PADDING, "rsa_pss_rsae_sha512", NULL, NULL },
    { "RSA", "SHA256", RSA_PKCS1_PADDING, "rsa_pkcs1_sha256", NULL, NULL },
    { "RSA", "SHA384", RSA_PKCS1_PADDING, "rsa_pkcs1_sha384", NULL, NULL },
    { "RSA", "SHA512", RSA_PKCS1_PADDING, "rsa_pkcs1_sha512", NULL, NULL },
    { "RSA", "SHA1", RSA_PKCS1_PADDING, "rsa_pkcs1_sha1", NULL, NULL },
    { "RSA-PSS", "SHA256", RSA_PKCS1_PSS_PADDING, "rsa_pss_pss_sha256", NULL, NULL },
    { "RSA-PSS", "SHA384", RSA_PKCS1_PSS_PADDING, "rsa_pss_pss_sha384", NULL, NULL },
    { "RSA-PSS", "SHA512", RSA_PKCS1_PSS_PADDING, "rsa_pss_pss_sha512", NULL, NULL },
    { "ED25519", NULL, 0, "ed25519", NULL, NULL },
    { "ED448", NULL, 0, "ed448", NULL, NULL },
};
enum { SCHEMES = sizeof schemes / sizeof *schemes };

/* ---- keymgmt ---------------------------------------------------------------------------------- */

/* Keys whose EVP_PKEY is gone. Their numbers are fetched by tio_keys_dead(), because the binding
 * releases what belongs to them, which must not happen inside OpenSSL. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tio_key *dead;
static atomic_int any_dead;

static tio_key *new_key(const char *type) {
    tio_key *k = calloc(1, sizeof *k);
    if (k) k->type = type;
    return k;
}

static void *new_ec(void *provider) { (void)provider; return new_key("EC"); }
static void *new_rsa(void *provider) { (void)provider; return new_key("RSA"); }
static void *new_rsa_pss(void *provider) { (void)provider; return new_key("RSA-PSS"); }
static void *new_ed25519(void *provider) { (void)provider; return new_key("ED25519"); }
static void *new_ed448(void *provider) { (void)provider; return new_key("ED448"); }

static void free_key(void *data) {
    tio_key *k = data;
    if (!k) return;
    EVP_PKEY_free(k->public);
    k->public = NULL;
    if (!k->number) {
        free(k);
        return;
    }
    pthread_mutex_lock(&lock);
    k->next = dead;
    dead = k;
    atomic_store(&any_dead, 1);
    pthread_mutex_unlock(&lock);
}

uint64_t tio_keys_dead(void) {
    if (!atomic_load(&any_dead)) return 0;
    pthread_mutex_lock(&lock);
    tio_key *k = dead;
    if (k) dead = k->next;
    atomic_store(&any_dead, dead != NULL);
    pthread_mutex_unlock(&lock);
    uint64_t number = k ? k->number : 0;
    free(k);
    return number;
}

static int has(const void *data, int selection) {
    const tio_key *k = data;
    return k && k->public && (!(selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) || k->number);
}

/* Called to make a key, and by EVP_PKEY_eq() for the certificate's key. */
static int import(void *data, int selection, const OSSL_PARAM *params) {
    tio_key *k = data;
    const OSSL_PARAM *number = OSSL_PARAM_locate_const(params, NUMBER);
    (void)selection;
    if (k->public || (number && !OSSL_PARAM_get_uint64(number, &k->number))) return 0;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, k->type, NULL);
    /* the function does not change the parameters, as its name in OpenSSL 3.0 does not say */
    int ok = ctx && EVP_PKEY_fromdata_init(ctx) == 1 &&
             EVP_PKEY_fromdata(ctx, &k->public, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)(uintptr_t)params) == 1;
    EVP_PKEY_CTX_free(ctx);
    return ok;
}

/* OpenSSL only looks whether there is a list. */
static const OSSL_PARAM *import_types(int selection) {
    static const OSSL_PARAM types[] = { OSSL_PARAM_octet_string(OSSL_PKEY_PARAM_PUB_KEY, NULL, 0), OSSL_PARAM_END };
    (void)selection;
    return types;
}

static int match(const void *one, const void *other, int selection) {
    const tio_key *a = one, *b = other;
    (void)selection;
    return a->public && b->public && EVP_PKEY_eq(a->public, b->public) == 1;
}

static int get_params(void *data, OSSL_PARAM *params) { return EVP_PKEY_get_params(((tio_key *)data)->public, params); }

static const OSSL_PARAM *gettable_params(void *provider) {
    static const OSSL_PARAM types[] = { OSSL_PARAM_int(OSSL_PKEY_PARAM_BITS, NULL), OSSL_PARAM_int(OSSL_PKEY_PARAM_SECURITY_BITS, NULL),
                                        OSSL_PARAM_int(OSSL_PKEY_PARAM_MAX_SIZE, NULL),
                                        OSSL_PARAM_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, NULL, 0), OSSL_PARAM_END };
    (void)provider;
    return types;
}

static const char *ec_operation(int operation) { return operation == OSSL_OP_SIGNATURE ? "ECDSA" : "EC"; }

#define ENTRY(id, function) { OSSL_FUNC_##id, (void (*)(void))(function) }
#define KEYMGMT(new) \
    ENTRY(KEYMGMT_NEW, new), ENTRY(KEYMGMT_FREE, free_key), ENTRY(KEYMGMT_HAS, has), ENTRY(KEYMGMT_IMPORT, import), \
    ENTRY(KEYMGMT_IMPORT_TYPES, import_types), ENTRY(KEYMGMT_MATCH, match), ENTRY(KEYMGMT_GET_PARAMS, get_params), \
    ENTRY(KEYMGMT_GETTABLE_PARAMS, gettable_params)
#define END { 0, NULL }

static const OSSL_DISPATCH ec[] = { KEYMGMT(new_ec), ENTRY(KEYMGMT_QUERY_OPERATION_NAME, ec_operation), END };
static const OSSL_DISPATCH rsa[] = { KEYMGMT(new_rsa), END };
static const OSSL_DISPATCH rsa_pss[] = { KEYMGMT(new_rsa_pss), END };
static const OSSL_DISPATCH ed25519[] = { KEYMGMT(new_ed25519), END };
static const OSSL_DISPATCH ed448[] = { KEYMGMT(new_ed448), END };

/* ---- signature -------------------------------------------------------------------------------- */

typedef struct { const tio_key *key; int digest, padding; } tio_signer;        /* digest: a row of schemes[] */

static void *new_signer(void *provider, const char *properties) {
    (void)provider, (void)properties;
    return calloc(1, sizeof(tio_signer));
}

static void *copy_signer(void *data) {
    tio_signer *copy = malloc(sizeof *copy);
    if (copy) *copy = *(tio_signer *)data;
    return copy;
}

/* OpenSSL names a digest by any of its names, and none for Ed25519 and Ed448. */
static int is_digest(const EVP_MD *md, const char *wanted) { return md ? wanted && EVP_MD_is_a(md, wanted) : !wanted; }

static const struct scheme *scheme_of(const tio_key *key, const char *digest, int padding) {
    EVP_MD *md = digest && *digest && strcmp(digest, "UNDEF") ? EVP_MD_fetch(NULL, digest, NULL) : NULL;
    const struct scheme *found = NULL;
    for (int i = 0; i < SCHEMES && !found; i++)
        if (!strcmp(schemes[i].type, key->type) && is_digest(md, schemes[i].digest) && (padding < 0 || schemes[i].padding == padding))
            found = &schemes[i];
    EVP_MD_free(md);
    return found;
}

/* A key of the type RSA-PSS may be restricted to one digest (RFC 4055 3.1). */
static int allows(const tio_key *key, const char *digest) {
    if (strcmp(key->type, "RSA-PSS")) return 1;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    int ok = md && EVP_DigestVerifyInit_ex(md, NULL, digest, NULL, NULL, key->public, NULL) == 1;
    EVP_MD_CTX_free(md);
    return ok;
}

/* A failure tells libssl, which tries each algorithm, that this key does not have this one. */
static int begin(void *data, const char *digest, void *key, const OSSL_PARAM *params);

static int set_params(void *data, const OSSL_PARAM *params) {
    tio_signer *s = data;
    const OSSL_PARAM *padding = params ? OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE) : NULL;
    if (!padding) return 1;             /* the salt of PSS is as long as the digest: RFC 8446 4.2.3 */
    if (padding->data_type != OSSL_PARAM_UTF8_STRING) return OSSL_PARAM_get_int(padding, &s->padding);
    s->padding = !strcmp(padding->data, OSSL_PKEY_RSA_PAD_MODE_PSS) ? RSA_PKCS1_PSS_PADDING : RSA_PKCS1_PADDING;
    return 1;
}

static const OSSL_PARAM *settable_params(void *data, void *provider) {
    static const OSSL_PARAM types[] = { OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PAD_MODE, NULL, 0),
                                        OSSL_PARAM_utf8_string(OSSL_SIGNATURE_PARAM_PSS_SALTLEN, NULL, 0), OSSL_PARAM_END };
    (void)data, (void)provider;
    return types;
}

static int begin(void *data, const char *digest, void *key, const OSSL_PARAM *params) {
    tio_signer *s = data;
    if (key) s->key = key;
    if (!s->key || !s->key->number) return 0;
    const struct scheme *any = scheme_of(s->key, digest, -1);
    if (!any || !allows(s->key, any->digest)) return 0;
    s->digest = (int)(any - schemes);
    s->padding = !strcmp(any->type, "RSA") ? RSA_PKCS1_PADDING : any->padding;
    return set_params(s, params);
}

static int sign(void *data, unsigned char *signature, size_t *size, size_t room, const unsigned char *message, size_t message_size) {
    const tio_signer *s = data;
    size_t longest = (size_t)EVP_PKEY_get_size(s->key->public);
    char group[32];
    if (!signature) {
        *size = longest;
        return 1;
    }
    const struct scheme *scheme = scheme_of(s->key, schemes[s->digest].digest, s->padding);
    if (!scheme || room < longest) return 0;
    tio_wanted wanted = {
        .asks = { .key = s->key->number, .scheme = scheme->name, .message = message, .message_size = message_size, .longest = longest },
        .public = s->key->public,
        .digest = scheme->digest,
        .padding = scheme->padding,
        .signature = signature,
    };
    if (scheme->group && EVP_PKEY_get_group_name(s->key->public, group, sizeof group, NULL) == 1 && !strcmp(group, scheme->group))
        wanted.asks.scheme_13 = scheme->name_13;
    tio_signing_wait(&wanted);
    *size = wanted.size;
    return wanted.size > 0;
}

/* RFC 8017 8.1.2, 8.2.2: "If the length of the signature S is not k octets, output 'invalid
 * signature' and stop." OpenSSL accepts a PSS signature without its leading zero bytes; peers do
 * not. */
static int has_right_size(const tio_wanted *w, size_t size) { return w->padding ? size == w->asks.longest : size <= w->asks.longest; }

int tio_key_verify(const tio_wanted *w, const uint8_t *signature, size_t size) {
    if (!size || !has_right_size(w, size)) return 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx = NULL;
    int ok = md && EVP_DigestVerifyInit_ex(md, &ctx, w->digest, NULL, NULL, w->public, NULL) == 1;
    if (ok && w->padding == RSA_PKCS1_PSS_PADDING)
        ok = EVP_PKEY_CTX_set_rsa_padding(ctx, w->padding) == 1 && EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1;
    ok = ok && EVP_DigestVerify(md, signature, size, w->asks.message, w->asks.message_size) == 1;
    EVP_MD_CTX_free(md);
    ERR_clear_error();
    return ok;
}

static const OSSL_DISPATCH signature[] = {
    ENTRY(SIGNATURE_NEWCTX, new_signer), ENTRY(SIGNATURE_FREECTX, free), ENTRY(SIGNATURE_DUPCTX, copy_signer),
    ENTRY(SIGNATURE_DIGEST_SIGN_INIT, begin), ENTRY(SIGNATURE_DIGEST_SIGN, sign),
    ENTRY(SIGNATURE_SET_CTX_PARAMS, set_params), ENTRY(SIGNATURE_SETTABLE_CTX_PARAMS, settable_params), END };

/* ---- the provider ----------------------------------------------------------------------------- */

#define NAMED(names, functions) { names, "provider=tlsio", functions, "" }

/* With the other names by which libssl compares. */
static const OSSL_ALGORITHM keymgmts[] = {
    NAMED("EC:id-ecPublicKey:1.2.840.10045.2.1", ec), NAMED("RSA:rsaEncryption:1.2.840.113549.1.1.1", rsa),
    NAMED("RSA-PSS:RSASSA-PSS:rsassaPss:1.2.840.113549.1.1.10", rsa_pss), NAMED("ED25519:1.3.101.112", ed25519),
    NAMED("ED448:1.3.101.113", ed448), { NULL, NULL, NULL, NULL } };
static const OSSL_ALGORITHM signatures[] = {
    NAMED("ECDSA", signature), NAMED("RSA:rsaEncryption", signature), NAMED("RSA-PSS:RSASSA-PSS", signature), NAMED("ED25519", signature),
    NAMED("ED448", signature), { NULL, NULL, NULL, NULL } };

static const OSSL_ALGORITHM *query(void *provider, int operation, int *no_cache) {
    (void)provider;
    *no_cache = 0;
    return operation == OSSL_OP_KEYMGMT ? keymgmts : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **provider) {
    static const OSSL_DISPATCH functions[] = { ENTRY(PROVIDER_QUERY_OPERATION, query), END };
    (void)in;
    *out = functions;
    *provider = (void *)(uintptr_t)handle;              /* must not be NULL; not used */
    return 1;
}

/* The stack of a job has 32 KiB, and nothing that notices its end. Where OpenSSL lets us, it has
 * 64 KiB (of which only what is used takes memory) and a page below it that cannot be written. */
#if OPENSSL_VERSION_NUMBER >= 0x30500000L
enum { STACK = 65536 };

static void *new_stack(size_t *size) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *all = mmap(NULL, page + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (all == MAP_FAILED) return NULL;
    if (mprotect(all, page, PROT_NONE)) {
        munmap(all, page + STACK);
        return NULL;
    }
    *size = STACK;
    return all + page;
}

static void free_stack(void *stack) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (stack) munmap((char *)stack - page, page + STACK);
}

/* Refused if another part of the process has used jobs before; then the stacks are OpenSSL's. */
static void set_stacks(void) { ASYNC_set_mem_functions(new_stack, free_stack); }
#else
static void set_stacks(void) {}
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static OSSL_LIB_CTX *library;           /* lives as long as the process */

static void load(void) {
    set_stacks();
    library = OSSL_LIB_CTX_new();
    if (library && OSSL_PROVIDER_add_builtin(library, "tlsio", init) == 1 && OSSL_PROVIDER_load(library, "tlsio")) return;
    OSSL_LIB_CTX_free(library);
    library = NULL;
}

int tio_keys_work(void) { return ASYNC_is_capable(); }

EVP_PKEY *tio_key_new(EVP_PKEY *public, uint64_t number) {
    const char *type = EVP_PKEY_get0_type_name(public);
    OSSL_PARAM *own = NULL, *all = NULL, with[] = { OSSL_PARAM_construct_uint64(NUMBER, &number), OSSL_PARAM_construct_end() };
    EVP_PKEY_CTX *ctx = NULL;
    EVP_PKEY *key = NULL;
    if (pthread_once(&once, load) || !library) return NULL;
    if (type && EVP_PKEY_todata(public, EVP_PKEY_PUBLIC_KEY, &own) == 1) all = OSSL_PARAM_merge(own, with);
    if (all) ctx = EVP_PKEY_CTX_new_from_name(library, type, NULL);
    if (ctx && EVP_PKEY_fromdata_init(ctx) == 1) EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, all);
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(all);
    OSSL_PARAM_free(own);
    return key;
}
