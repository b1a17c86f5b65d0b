/* context.c - contexts: making one, and taking another one in the hello pause.
 *
 * SSL_set_SSL_CTX() carries over certificate, key, cipher lists, signature algorithms, store, client CA names, the verify
 * and ALPN callbacks.  What it leaves with the first context is applied here, while the ClientHello is being looked at:
 * later (servername callback, cert_cb) is too late for versions, groups and the session id context. */
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
    /* NO_AUTO_CHAIN: the chain is built once, with the context, instead of in each handshake (222 us on 3.0). */
    SSL_CTX_set_mode(ctx->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                   SSL_MODE_NO_AUTO_CHAIN);
    tio_sessions_install(ctx->ssl);
    return ctx;
}

void tio_context_retain(tio_context *ctx) { atomic_fetch_add(&ctx->owners, 1); }

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

/* They are read from an SSL made for it: the walk moves a mark in what it walks through, and the SSL_CTX is shared. */
static int copy_identities(SSL *to, SSL_CTX *from) {
    SSL *read = SSL_new(from);
    int count = 0, well = read != NULL;
    SSL_certs_clear(to);
    for (long more = well ? SSL_set_current_cert(read, SSL_CERT_SET_FIRST) : 0; more && well;
         more = SSL_set_current_cert(read, SSL_CERT_SET_NEXT)) {
        STACK_OF(X509) *chain = NULL;
        well = SSL_get0_chain_certs(read, &chain) == 1;
        well = well && SSL_use_cert_and_key(to, SSL_get_certificate(read), SSL_get_privatekey(read), chain, 1) == 1;
        count++;
    }
    SSL_free(read);
    return well && count ? 0 : -1;
}

int tio_context_identity(tio_conn *c) { return c->identity ? copy_identities(c->ssl, c->identity->ssl) : 0; }

int tio_conn_set_identity(tio_conn *c, tio_context *from) {
    SSL *trial = SSL_new(c->context->ssl);              /* what it refuses is refused before anything is changed */
    int well = trial && !copy_identities(trial, from->ssl);
    SSL_free(trial);
    if (!well || (c->ssl && copy_identities(c->ssl, from->ssl))) return -1;
    tio_context_retain(from);
    tio_context_release(c->identity);
    c->identity = from;
    return 0;
}

int tio_context_switch(tio_conn *c, tio_context *to) {
    SSL *ssl = c->ssl;
    const tio_context_settings *from = &c->context->settings, *settings = &to->settings;
    if (!SSL_set_SSL_CTX(ssl, to->ssl)) return -1;
    tio_context_retain(to);                             /* before the old one goes: `from` lives in it */
    tio_context *old = c->context;
    c->context = to;
    tio_records_install(c, to->ssl);                    /* OpenSSL asks the new context for it */
    int well = apply_verification(ssl, to->ssl) == 0;
    well = well && SSL_set_min_proto_version(ssl, (int)SSL_CTX_get_min_proto_version(to->ssl)) == 1;
    well = well && SSL_set_max_proto_version(ssl, (int)SSL_CTX_get_max_proto_version(to->ssl)) == 1;
    SSL_clear_options(ssl, ~(uint64_t)0);
    SSL_set_options(ssl, SSL_CTX_get_options(to->ssl));
    tio_sessions_decide(c);
    if (from->groups || settings->groups) well = well && SSL_set1_groups_list(ssl, settings->groups ? settings->groups : DEFAULT_GROUPS) == 1;
    if (!(c->policy.wants & TIO_WANT_CLIENT)) well = well && SSL_set_num_tickets(ssl, SSL_CTX_get_num_tickets(to->ssl)) == 1;
    well = well && SSL_set_session_id_context(ssl, settings->id_context, (unsigned)settings->id_context_size) == 1;
    tio_context_release(old);
    return well && !tio_context_identity(c) ? 0 : -1;
}
