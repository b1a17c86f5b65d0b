/* ocsp.c - certificate status: the OCSP response that a server staples (RFC 6066 8, RFC 8446
 * 4.4.2.1).
 *
 * Server: the question is asked in cert_cb, the last callback that can pause. OpenSSL has not
 * chosen a certificate there; it has in the status callback, which cannot pause. So the binding
 * provides a response for each of the context's certificates (usually one), and the status callback
 * picks one. SSL_check_chain() cannot narrow the choice: it rejects chains that OpenSSL sends all
 * the same.
 *
 * Client: the question is asked after the client has judged the certificate. In TLS 1.3 the
 * response comes with the certificate, so that is still in the pause of the verification. In TLS
 * 1.2 it comes later; the question is asked when the server's flight was read. OpenSSL goes on and
 * writes our flight, but nothing is sent while a question is open. */
#include "internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* Returns a new reference, or NULL: self-signed, or the issuer is unknown. */
static X509 *find_issuer(SSL *ssl, X509 *cert) {
    STACK_OF(X509) *chain = NULL;
    X509 *found = NULL;
    if (X509_get_extension_flags(cert) & EXFLAG_SS) return NULL;
    SSL_get0_chain_certs(ssl, &chain);                  /* of the current certificate */
    for (int i = 0; i < sk_X509_num(chain); i++)
        if (X509_check_issued(sk_X509_value(chain, i), cert) == X509_V_OK) {
            X509_up_ref(sk_X509_value(chain, i));
            return sk_X509_value(chain, i);
        }
    X509_STORE_CTX *search = X509_STORE_CTX_new();
    if (search && X509_STORE_CTX_init(search, SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), cert, NULL))
        X509_STORE_CTX_get1_issuer(&found, search, cert);
    X509_STORE_CTX_free(search);
    return found;
}

static tio_status *collect(SSL *ssl) {
    tio_status *s = calloc(1, sizeof *s);
    if (!s) return NULL;
    X509 *current = SSL_get_certificate(ssl);
    long which = SSL_CERT_SET_FIRST;
    for (; s->count < TIO_IDENTITIES && SSL_set_current_cert(ssl, which) == 1; which = SSL_CERT_SET_NEXT) {
        X509 *cert = SSL_get_certificate(ssl);
        X509_up_ref(cert);
        s->of[s->count++] = (tio_stapled){ .cert = cert, .issuer = find_issuer(ssl, cert) };
    }
    if (current) SSL_select_current_cert(ssl, current);
    ERR_clear_error();                                  /* an unknown issuer is not a failure */
    return s;
}

tio_status *tio_context_status(tio_context *ctx) {
    SSL *ssl = SSL_new(ctx->ssl);       /* a temporary one, because collect() changes it */
    tio_status *s = ssl ? collect(ssl) : NULL;
    SSL_free(ssl);
    return s;
}

/* cert_cb. Called again for the hello after a HelloRetryRequest; then the question is answered
 * already. */
static int on_choice(SSL *ssl, void *unused) {
    tio_conn *c = tio_conn_of(ssl);
    (void)unused;
    if (c->phase != TIO_HANDSHAKING || c->status || SSL_get_tlsext_status_type(ssl) != TLSEXT_STATUSTYPE_ocsp) return 1;
    if (!(c->status = collect(ssl))) return 0;
    if (!c->status->count) return 1;                    /* no certificate: OpenSSL reports that */
    return tio_move_question(c, TIO_ASK_STATUS) ? 0 : -1;
}

/* RFC 8446 4.2.3: ECDSA with these curves only, and no DSA. */
static int has_certificate_for_13(SSL *ssl) {
    X509 *current = SSL_get_certificate(ssl);
    char curve[32];
    int found = 0;
    for (long which = SSL_CERT_SET_FIRST; !found && SSL_set_current_cert(ssl, which) == 1; which = SSL_CERT_SET_NEXT) {
        EVP_PKEY *key = SSL_get_privatekey(ssl);
        if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, curve, sizeof curve, NULL))
            found = !strcmp(curve, "prime256v1") || !strcmp(curve, "secp384r1") || !strcmp(curve, "secp521r1");
        else
            found = !EVP_PKEY_is_a(key, "DSA");
    }
    if (current) SSL_select_current_cert(ssl, current);
    return found;
}

/* In the ClientHello callback, after a possible switch of the context. Without a certificate that
 * TLS 1.3 can use, OpenSSL does not offer TLS 1.3, unless a cert_cb might provide one or pre-shared
 * keys are enabled. Ours provides none, so the version is limited here. */
void tio_status_hello(tio_conn *c) {
    if (!(c->policy.wants & TIO_WANT_STATUS)) return;
    SSL_set_cert_cb(c->ssl, on_choice, NULL);
    if (!(c->policy.wants & TIO_WANT_PSK) && !has_certificate_for_13(c->ssl)) SSL_set_max_proto_version(c->ssl, TLS1_2_VERSION);
}

static int staple(tio_conn *c, SSL *ssl) {
    const X509 *chosen = SSL_get_certificate(ssl);
    for (int i = 0; c->status && i < c->status->count; i++) {
        const tio_stapled *s = &c->status->of[i];
        if (s->cert != chosen || !s->size) continue;
        unsigned char *copy = OPENSSL_memdup(s->response, s->size);     /* OpenSSL frees it */
        if (copy && SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)s->size)) return SSL_TLSEXT_ERR_OK;
        /* OpenSSL 3.6 has not taken it: out of memory. */
        OPENSSL_free(copy);
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

/* Client: called after the server's flight, in TLS 1.3 with a verified Finished. 0 sends
 * bad_certificate_status_response. */
static int check_response(tio_conn *c, SSL *ssl) {
    if (c->refusal >= 0) return 0;
    if (SSL_version(ssl) >= TLS1_3_VERSION || c->phase != TIO_HANDSHAKING || !(c->asked & TIO_WANT_VERIFY)) return 1;
    return tio_move_question(c, TIO_ASK_STATUS) ? -1 : 1;
}

static int on_status(SSL *ssl, void *unused) {
    tio_conn *c = tio_conn_of(ssl);
    (void)unused;
    return c->role == TIO_SERVER ? staple(c, ssl) : check_response(c, ssl);
}

void tio_status_install(SSL_CTX *ctx) { SSL_CTX_set_tlsext_status_cb(ctx, on_status); }

int tio_status_set(tio_conn *c, int index, const uint8_t *data, size_t size) {
    if (c->question != TIO_ASK_STATUS || !c->status || index < 0 || index >= c->status->count) return -1;
    tio_stapled *s = &c->status->of[index];
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy) return -1;
    memcpy(copy, data, size);
    free(s->response);
    s->response = copy;
    s->size = size;
    return 0;
}

size_t tio_status_get(const tio_conn *c, const uint8_t **data) {
    long size = c->ssl ? SSL_get_tlsext_status_ocsp_resp(c->ssl, data) : -1;
    return size > 0 ? (size_t)size : 0;
}

void tio_answer_status(tio_conn *c) {
    if (c->question == TIO_ASK_STATUS) tio_move_question(c, TIO_NO_QUESTION);
}

/* A TLS 1.3 client is still in its verification, or check_response() follows. All others have sent
 * nothing encrypted yet. */
void tio_status_refuse(tio_conn *c, int alert) {
    if (c->role == TIO_SERVER || SSL_version(c->ssl) < TLS1_3_VERSION) tio_refuse_in_plaintext(c, alert);
    else if (alert == SSL_AD_CERTIFICATE_REVOKED) c->verify_answer = X509_V_ERR_CERT_REVOKED;
}

void tio_status_free(tio_status *s) {
    for (int i = 0; s && i < s->count; i++) {
        X509_free(s->of[i].cert);
        X509_free(s->of[i].issuer);
        free(s->of[i].response);
    }
    free(s);
}

void tio_status_done(tio_conn *c) {
    if (!(c->policy.wants & TIO_WANT_STATUS)) return;
    tio_status_free(c->status);
    c->status = NULL;
    SSL_set_tlsext_status_ocsp_resp(c->ssl, NULL, 0);
}
