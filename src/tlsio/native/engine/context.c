/* context.c - creating contexts, and switching to another one while the ClientHello is read.
 *
 * SSL_set_SSL_CTX() carries over the certificate, key, cipher lists, signature algorithms, store,
 * client CA names, and the verify and ALPN callbacks. All other settings would remain those of the
 * first context; they are applied here, in the ClientHello callback. The servername callback and
 * cert_cb run too late for versions, groups and the session id context. */
#include "internal.h"

#include <openssl/x509v3.h>
#include <stdlib.h>

#if OPENSSL_VERSION_NUMBER >= 0x30500000L
#define DEFAULT_GROUPS "DEFAULT"
#else
#define DEFAULT_GROUPS "X25519:P-256:X448:P-521:P-384"
#endif

tio_context *tio_context_new(void) {
    tio_context *ctx = calloc(1, sizeof *ctx);
    if (!ctx) return NULL;
    atomic_init(&ctx->owners, 1);
    ctx->ssl = SSL_CTX_new(TLS_method());
    ctx->ring = tio_ring_new();
    if (!ctx->ssl || !ctx->ring || tio_callbacks_install(ctx->ssl)) {
        tio_context_release(ctx);
        return NULL;
    }
    /* NO_AUTO_CHAIN: the chain is built once per context instead of in each handshake (222 us on
     * OpenSSL 3.0). */
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_NO_AUTO_CHAIN);
    tio_sessions_install(ctx->ssl);
    return ctx;
}

void tio_context_retain(tio_context *ctx) { atomic_fetch_add(&ctx->owners, 1); }

int tio_context_is_shared(tio_context *ctx) { return atomic_load(&ctx->owners) > 1; }

void tio_context_release(tio_context *ctx) {
    if (!ctx || atomic_fetch_sub(&ctx->owners, 1) != 1) return;
    SSL_CTX_free(ctx->ssl);
    tio_ring_release(ctx->ring);
    free(ctx->settings.groups);
    free(ctx->settings.alpn);
    free(ctx->settings.npn);
    free(ctx->settings.pins);
    tio_lists_release(ctx->settings.lists);
    free(ctx);
}

static int apply_verification(SSL *ssl, SSL_CTX *to) {
    SSL_set_verify(ssl, SSL_CTX_get_verify_mode(to), NULL);
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_clear_flags(param, ~0UL);         /* set1_param only adds flags */
    X509_VERIFY_PARAM_set_depth(param, SSL_CTX_get_verify_depth(to));
    return SSL_set1_param(ssl, SSL_CTX_get0_param(to)) == 1 ? 0 : -1;
}

/* Read the identities from a temporary SSL: SSL_set_current_cert() changes what it iterates over,
 * and the SSL_CTX is shared. */
static int copy_identities(SSL *to, SSL_CTX *from) {
    SSL *read = SSL_new(from);
    int count = 0, ok = read != NULL;
    SSL_certs_clear(to);
    for (long more = ok ? SSL_set_current_cert(read, SSL_CERT_SET_FIRST) : 0; more && ok;
         more = SSL_set_current_cert(read, SSL_CERT_SET_NEXT)) {
        STACK_OF(X509) *chain = NULL;
        ok = SSL_get0_chain_certs(read, &chain) == 1;
        ok = ok && SSL_use_cert_and_key(to, SSL_get_certificate(read), SSL_get_privatekey(read), chain, 1) == 1;
        count++;
    }
    SSL_free(read);
    return ok && count ? 0 : -1;
}

static int add_name(char *names, size_t room, const SSL_CIPHER *cipher) {
    if (*names) OPENSSL_strlcat(names, ":", room);
    return OPENSSL_strlcat(names, SSL_CIPHER_get_name(cipher), room) < room ? 0 : -1;
}

/* A key that lives elsewhere cannot decrypt, so the client must not choose RSA key exchange. The
 * other suites are those of the SSL's present context: the SSL has lists of its own from here on,
 * which would otherwise outlive a switch to another context. */
static int drop_rsa_key_exchange(SSL *ssl) {
    char names[8192] = "", names_13[1024] = "";
    STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(SSL_get_SSL_CTX(ssl));
    for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
        const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);
        int exchange = SSL_CIPHER_get_kx_nid(cipher);
        if (exchange == NID_kx_rsa || exchange == NID_kx_rsa_psk) continue;
        int is_13 = exchange == NID_kx_any;
        if (add_name(is_13 ? names_13 : names, is_13 ? sizeof names_13 : sizeof names, cipher)) return -1;
    }
    if (SSL_set_ciphersuites(ssl, names_13) != 1) return -1;
    if (*names) return SSL_set_cipher_list(ssl, names) == 1 ? 0 : -1;
    return SSL_set_min_proto_version(ssl, TLS1_3_VERSION) == 1 ? 0 : -1;       /* nothing is left for older versions */
}

static int use_identity(SSL *ssl, const tio_context *from) {
    if (copy_identities(ssl, from->ssl)) return -1;
    return from->settings.keys_elsewhere & TIO_RSA_ELSEWHERE ? drop_rsa_key_exchange(ssl) : 0;
}

int tio_context_identity(tio_conn *c) { return c->identity ? use_identity(c->ssl, c->identity) : 0; }

int tio_conn_set_identity(tio_conn *c, tio_context *from) {
    SSL *trial = SSL_new(c->context->ssl);              /* find errors before anything is changed */
    int ok = trial && !use_identity(trial, from);
    SSL_free(trial);
    if (!ok || (c->ssl && use_identity(c->ssl, from))) return -1;
    tio_context_retain(from);
    tio_context_release(c->identity);
    c->identity = from;
    if (c->ssl) tio_signing_prepare(c);
    return 0;
}

int tio_context_switch(tio_conn *c, tio_context *to) {
    SSL *ssl = c->ssl;
    const tio_context_settings *from = &c->context->settings, *settings = &to->settings;
    if (!SSL_set_SSL_CTX(ssl, to->ssl)) return -1;
    tio_context_retain(to);             /* before the old one is released: `from` points into it */
    tio_context *old = c->context;
    c->context = to;
    /* OpenSSL takes the key log callback from the new context */
    tio_records_install(c, to->ssl);
    int ok = apply_verification(ssl, to->ssl) == 0;
    ok = ok && SSL_set_min_proto_version(ssl, (int)SSL_CTX_get_min_proto_version(to->ssl)) == 1;
    ok = ok && SSL_set_max_proto_version(ssl, (int)SSL_CTX_get_max_proto_version(to->ssl)) == 1;
    SSL_clear_options(ssl, ~(uint64_t)0);
    SSL_set_options(ssl, SSL_CTX_get_options(to->ssl));
    tio_sessions_decide(c);
    if (from->groups || settings->groups) ok = ok && SSL_set1_groups_list(ssl, settings->groups ? settings->groups : DEFAULT_GROUPS) == 1;
    if (!(c->policy.wants & TIO_WANT_CLIENT)) ok = ok && SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(to->ssl)) == 1;
    ok = ok && SSL_set_session_id_context(ssl, settings->id_context, (unsigned)settings->id_context_size) == 1;
    tio_context_release(old);
    tio_signing_prepare(c);
    return ok && !tio_context_identity(c) ? 0 : -1;
}
