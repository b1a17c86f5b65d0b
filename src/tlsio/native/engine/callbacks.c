/* callbacks.c - OpenSSL's callbacks.
 *
 * Theory of operation. Each callback records a fact, or returns the value that makes OpenSSL pause;
 * the connection then has a question, and OpenSSL calls the same callback again after the answer.
 * None runs user code (the callbacks in psk.c do).
 *
 * All are installed on every SSL_CTX, because after SSL_set_SSL_CTX() OpenSSL looks some of them up
 * in the new context and some in the first. They find their connection through the BIO and so need
 * no argument from a context. */
#include "internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSAL_EXTENSION = 65301 };     /* from the private range; never sent, see add_refusal() */
enum {
    /* by a server, for another handshake or a certificate, within REQUESTS_NS */
    MAX_REQUESTS = 32,
    /* sent by a server when its request was answered; they do not count as messages without data */
    ANSWER_TICKETS = 2
};
/* the default window for renegotiations */
static const int64_t REQUESTS_NS = 600 * INT64_C(1000000000);

/* ---- ClientHello: server name, ALPN ---------------------------------------------------------- */

/* RFC 6066 3: ServerNameList with one host_name. A name that is not plain ASCII text is left for
 * OpenSSL to judge. -1: out of memory. */
static int record_name(tio_conn *c, SSL *ssl) {
    const unsigned char *p;
    size_t size;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &size) || size < 6 || p[2] != 0) return 0;
    size_t n = (size_t)p[3] << 8 | p[4];
    if (n + 5 > size || n == 0 || n > 255) return 0;
    for (size_t i = 0; i < n; i++)
        if (p[5 + i] < 0x21 || p[5 + i] > 0x7e) return 0;
    if (p[4 + n] == '.') n--;           /* "example.com." and "example.com" are the same name */
    if (!n) return 0;
    if (!(c->server_name = malloc(n + 1))) return -1;
    for (size_t i = 0; i < n; i++) {    /* not tolower(): a Turkish locale maps 'I' differently */
        unsigned char letter = p[5 + i];
        c->server_name[i] = (char)(letter >= 'A' && letter <= 'Z' ? letter + ('a' - 'A') : letter);
    }
    c->server_name[n] = 0;
    return 0;
}

/* RFC 7301 3.1: a list of non-empty names, each with a length byte. */
static int is_protocol_list(const unsigned char *p, size_t size) {
    size_t at = 0;
    while (at < size && p[at]) at += 1 + (size_t)p[at];
    return size && at == size;
}

/* A malformed list is left for OpenSSL to judge. -1: out of memory. */
static int record_protocols(tio_conn *c, SSL *ssl) {
    const unsigned char *p;
    size_t size;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p, &size) || size < 2) return 0;
    if (((size_t)p[0] << 8 | p[1]) != size - 2 || !is_protocol_list(p + 2, size - 2)) return 0;
    if (!(c->offered = malloc(size - 2))) return -1;
    memcpy(c->offered, p + 2, size - 2);
    c->offered_size = size - 2;
    return 0;
}

/* TLS 1.3: CRLs decide whether this client may resume, so the binding may update them first. */
static int resumes_by_lists(tio_conn *c, SSL *ssl) {
    const unsigned char *p;
    size_t size;
    return c->context->settings.lists && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &size);
}

/* The peer starts another handshake (TLS 1.2 or older). OpenSSL 3 has no limit for that. */
static int on_renegotiation(tio_conn *c, int *alert) {
    int64_t now = tio_clock_coarse();
    if (c->rehandshake_asked && !c->rehandshake_deferred && !c->rehandshake_hello) {
        /* our request, once: the same read may find another hello after it */
        c->rehandshake_hello = 1;
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    c->renegotiations = now - c->handshake_done_ns >= c->policy.renegotiation.window_ns ? 1 : c->renegotiations + 1;
    if (c->policy.renegotiation.window_ns < 0) c->limit_exceeded = TIO_LIMIT_RENEGOTIATION_OFF;
    else if (c->renegotiations > c->policy.renegotiation.limit) c->limit_exceeded = TIO_LIMIT_RENEGOTIATIONS;
    if (!c->limit_exceeded) {
        tio_conn_reset_strictness(c);
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    *alert = SSL_AD_NO_RENEGOTIATION;
    return SSL_CLIENT_HELLO_ERROR;
}

/* Whether the binding chooses the context of this hello. */
static int chooses_context(const tio_conn *c) {
    return (c->policy.wants & TIO_WANT_HELLO) && (c->server_name || (c->policy.wants & TIO_WANT_NAMELESS));
}

/* The context is final. Set what else depends on the hello. */
static int finish_hello(tio_conn *c, int *alert) {
    tio_status_hello(c);
    if (!tio_psk_hello(c)) return SSL_CLIENT_HELLO_SUCCESS;
    *alert = SSL_AD_INTERNAL_ERROR;
    return SSL_CLIENT_HELLO_ERROR;
}

static int on_hello(SSL *ssl, int *alert, void *unused) {
    tio_conn *c = tio_conn_of(ssl);
    (void)unused;
    /* another handshake: no question, no other context */
    if (c->phase != TIO_HANDSHAKING) return on_renegotiation(c, alert);
    if (c->refusal >= 0) {
        *alert = c->refusal;
        return SSL_CLIENT_HELLO_ERROR;
    }
    /* answered, or the hello after a HelloRetryRequest */
    if (c->asked & TIO_WANT_HELLO) return finish_hello(c, alert);
    c->asked |= TIO_WANT_HELLO;
    if (record_name(c, ssl) || ((c->policy.wants & TIO_WANT_ALPN) && record_protocols(c, ssl)) || tio_sessions_hello(c)) {
        *alert = SSL_AD_INTERNAL_ERROR;  /* without the name the question cannot be asked */
        return SSL_CLIENT_HELLO_ERROR;
    }
    if (!chooses_context(c) && !((c->policy.wants & TIO_WANT_ALPN) && c->offered)
        && !(c->sessions && c->sessions->asked_size) && !resumes_by_lists(c, ssl))
        return finish_hello(c, alert);
    if (tio_move_question(c, TIO_ASK_HELLO)) {
        *alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_RETRY;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *n, const unsigned char *in, unsigned size, void *unused) {
    tio_conn *c = tio_conn_of(ssl);
    const tio_context_settings *settings = &c->context->settings;
    (void)unused;
    if (c->chosen) {
        *out = c->chosen;
        *n = (unsigned char)c->chosen_size;
        return SSL_TLSEXT_ERR_OK;
    }
    if (!settings->alpn_size) return SSL_TLSEXT_ERR_NOACK;
    if (SSL_select_next_proto((unsigned char **)(uintptr_t)out, n, settings->alpn, (unsigned)settings->alpn_size, in, size) == OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_OK;
    /* RFC 7301 3.2: "In the event that the server supports no protocols that the client advertises,
     * then the server SHALL respond with a fatal "no_application_protocol" alert." */
    return c->policy.alpn_continue ? SSL_TLSEXT_ERR_NOACK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* ---- NPN, only on contexts that want it: a client with the callback offers NPN --------------- */

#ifdef OPENSSL_NO_NEXTPROTONEG
void tio_context_speak_npn(tio_context *context) { (void)context; }
#else
static int advertise_protocols(SSL *ssl, const unsigned char **out, unsigned *size, void *unused) {
    const tio_context_settings *settings = &tio_conn_of(ssl)->context->settings;
    (void)unused;
    *out = settings->npn;
    *size = (unsigned)settings->npn_size;
    return SSL_TLSEXT_ERR_OK;
}

/* In the server's order, as Node v4's client did. */
static int choose_advertised(SSL *ssl, unsigned char **out, unsigned char *n, const unsigned char *in, unsigned size, void *unused) {
    tio_conn *c = tio_conn_of(ssl);
    const tio_context_settings *settings = &c->context->settings;
    (void)unused;
    c->npn_agreed = SSL_select_next_proto(out, n, in, size, settings->npn, (unsigned)settings->npn_size) == OPENSSL_NPN_NEGOTIATED;
    return SSL_TLSEXT_ERR_OK;
}

void tio_context_speak_npn(tio_context *context) {
    SSL_CTX_set_next_protos_advertised_cb(context->ssl, advertise_protocols, NULL);
    SSL_CTX_set_next_proto_select_cb(context->ssl, choose_advertised, NULL);
}
#endif

/* ---- the peer's certificate ------------------------------------------------------------------ */

static tio_conn *conn_of_store(X509_STORE_CTX *xs) {
    return tio_conn_of(X509_STORE_CTX_get_ex_data(xs, SSL_get_ex_data_X509_STORE_CTX_idx()));
}

/* In a chain that does not lead to a trusted root, OpenSSL still checks each signature to list all
 * causes: 1 ms each with the slowest curves, and a chain may have 100 certificates. Real chains
 * have two to five; a longer one stops at its first error. */
enum { LONG_CHAIN = 8 };

/* Continue after each error, so that all causes are known. The verdict is derived from the list,
 * not from our return value. */
static int record_error(int ok, X509_STORE_CTX *xs) {
    tio_verify *v = conn_of_store(xs)->verify;
    int max = (int)(sizeof v->errors / sizeof *v->errors);
    if (!ok) {
        /* the last error decides the code, as in Node: keep it */
        int at = v->count < max ? v->count++ : max - 1;
        v->errors[at].error = X509_STORE_CTX_get_error(xs);
        v->errors[at].depth = X509_STORE_CTX_get_error_depth(xs);
    }
    return ok || sk_X509_num(X509_STORE_CTX_get0_chain(xs)) <= LONG_CHAIN;
}

static int pin_matches(const tio_context_settings *settings, X509 *cert) {
    uint8_t digest[TIO_PIN];
    int match = 0;
    if (tio_spki_digest(cert, digest)) return 0;
    for (size_t i = 0; i < settings->pin_count; i++) match |= !CRYPTO_memcmp(settings->pins + i * TIO_PIN, digest, TIO_PIN);
    return match;
}

/* The alert that OpenSSL sends for an expired CRL, certificate_expired, blames the peer's certificate
 * for a list of ours. This error stands for RFC 8446 6.2, certificate_unknown: "Some other
 * (unspecified) issue arose in processing the certificate, rendering it unacceptable." */
static int error_for_alert(int error) {
    int is_about_list = error == X509_V_ERR_CRL_HAS_EXPIRED || error == X509_V_ERR_CRL_NOT_YET_VALID;
    return is_about_list ? X509_V_ERR_DIFFERENT_CRL_SCOPE : error;
}

/* Where the chain need not be verified only the leaf counts: anyone can append a pinned certificate
 * to a chain. The context's own setting counts too, because its sessions are resumed under it. */
static int pins_hold(const tio_conn *c, STACK_OF(X509) *chain) {
    const tio_context_settings *settings = &c->context->settings;
    int leaf_only = settings->accept_unverified || tio_conn_accepts_unverified(c);
    int match = !settings->pin_count;
    for (int i = 0; i < sk_X509_num(chain) && (!leaf_only || i == 0); i++) match |= pin_matches(settings, sk_X509_value(chain, i));
    return match;
}

static void verify_chain(tio_conn *c, X509_STORE_CTX *xs) {
    tio_verify *v = c->verify;
    v->count = 0;
    sk_X509_pop_free(v->chain, X509_free);
    X509_STORE_CTX_set_verify_cb(xs, record_error);
    int r = X509_verify_cert(xs);
    /* a failure without a callback: out of memory, or a bad argument */
    if (r <= 0 && !v->count) {
        v->errors[0].error = X509_STORE_CTX_get_error(xs) ? X509_STORE_CTX_get_error(xs) : X509_V_ERR_UNSPECIFIED;
        v->count = 1;
    }
    v->chain = X509_STORE_CTX_get1_chain(xs);
    ERR_clear_error();
}

/* TLS 1.2 renegotiation started by the server: no question is asked again, so only the certificate
 * that was accepted before passes. */
static int is_same_certificate(tio_conn *c, X509_STORE_CTX *xs) {
    tio_verify *v = c->verify;
    if (!v || !v->leaf || X509_cmp(v->leaf, X509_STORE_CTX_get0_cert(xs))) {
        X509_STORE_CTX_set_error(xs, X509_V_ERR_CERT_REJECTED);
        return 0;
    }
    /* only for the chain that OpenSSL reports; the verdict is unchanged */
    verify_chain(c, xs);
    sk_X509_pop_free(v->chain, X509_free);
    v->chain = NULL;
    X509_STORE_CTX_set_error(xs, c->verify_answer);
    return c->verify_answer == X509_V_OK;
}

/* Client: verify the chain once and keep it; then pause until the binding has judged it (names,
 * pins, the user's own check), before our certificate, Finished or data are sent. Only the client's
 * state machine supports SSL_set_retry_verify(). On a server it would accept every certificate, so
 * there the chain and the pins decide at once. */
static int on_certificate(X509_STORE_CTX *xs, void *unused) {
    tio_conn *c = conn_of_store(xs);
    (void)unused;
    if (c->role == TIO_CLIENT && c->phase != TIO_HANDSHAKING) return is_same_certificate(c, xs);
    /* the second call, after the answer */
    if (c->role == TIO_CLIENT && (c->asked & TIO_WANT_VERIFY)) {
        X509_STORE_CTX_set0_verified_chain(xs, c->verify->chain);
        c->verify->chain = NULL;
        X509_STORE_CTX_set_error(xs, error_for_alert(c->verify_answer));
        return c->verify_answer == X509_V_OK;
    }
    if (!c->verify && !(c->verify = calloc(1, sizeof *c->verify))) {
        X509_STORE_CTX_set_error(xs, X509_V_ERR_OUT_OF_MEM);
        return 0;
    }
    verify_chain(c, xs);
    if (c->role == TIO_CLIENT) {
        c->verify->leaf = X509_STORE_CTX_get0_cert(xs);
        X509_up_ref(c->verify->leaf);
        if (tio_move_question(c, TIO_ASK_VERIFY)) {
            X509_STORE_CTX_set_error(xs, X509_V_ERR_APPLICATION_VERIFICATION);
            return 0;
        }
        return SSL_set_retry_verify(c->ssl) > 0;
    }
    c->marked = 0;                      /* new sessions must record this verification */
    tio_verify *v = c->verify;
    v->pins_failed = !pins_hold(c, v->chain);
    sk_X509_pop_free(v->chain, X509_free);              /* OpenSSL keeps its own */
    v->chain = NULL;
    int unverified = v->count && !tio_conn_accepts_unverified(c);
    int error = v->pins_failed && !unverified ? X509_V_ERR_CERT_REJECTED : v->count ? v->errors[v->count - 1].error : X509_V_OK;
    int refused = unverified || v->pins_failed;
    /* It selects the alert. A session records it, also when the certificate is accepted
     * unverified. */
    X509_STORE_CTX_set_error(xs, refused ? error_for_alert(error) : error);
    return !refused;
}

/* ---- Diffie-Hellman groups that are too small for the client --------------------------------- */

/* RFC 7919 2: ffdhe2048 and the groups after it. 0: another group. */
static int bits_of_group(const unsigned char id[2]) {
    static const int bits[] = { 2048, 3072, 4096, 6144, 8192 };
    return id[0] == 1 && id[1] < sizeof bits / sizeof *bits ? bits[id[1]] : 0;
}

/* Up to TLS 1.2 OpenSSL asks about the server's parameters when nothing but our hello was sent. In
 * TLS 1.3 groups that are too small are not even offered. */
static int on_security(const SSL *ssl, const SSL_CTX *ctx, int op, int bits, int nid, void *other, void *ex) {
    tio_conn *c = tio_conn_of(ssl);
    if (op == SSL_SECOP_TMP_DH && other && EVP_PKEY_get_bits(other) < c->policy.min_dh_bits) {
        c->limit_exceeded = TIO_LIMIT_DH_SIZE;
        return 0;
    }
    if (op == SSL_SECOP_CURVE_SUPPORTED && other && bits_of_group(other) && bits_of_group(other) < c->policy.min_dh_bits) return 0;
    return SSL_CTX_get_security_callback(SSL_get_SSL_CTX(ssl))(ssl, ctx, op, bits, nid, other, ex);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Count messages that cost work and bring no data; OpenSSL limits none of them. Each request for a
 * client's certificate and each HelloRequest costs a signature, and an honest server asks
 * rarely. */
static void count_dataless_message(tio_conn *c, unsigned char type) {
    if (type == SSL3_MT_KEY_UPDATE || type == SSL3_MT_NEWSESSION_TICKET) c->key_updates++;
    if (c->role != TIO_CLIENT || (type != SSL3_MT_CERTIFICATE_REQUEST && type != SSL3_MT_HELLO_REQUEST)) return;
    c->key_updates -= c->key_updates < ANSWER_TICKETS ? c->key_updates : ANSWER_TICKETS;
    int64_t now = tio_clock_coarse();
    if (now - c->requests_ns > REQUESTS_NS) {
        c->requests_ns = now;
        c->certificate_requests = 0;
    }
    if (++c->certificate_requests > MAX_REQUESTS) c->limit_exceeded = TIO_LIMIT_CERTIFICATE_REQUESTS;
}

static void on_message(int written, int version, int type, const void *buffer, size_t size, SSL *ssl, void *arg) {
    tio_conn *c = arg;
    const unsigned char *p = buffer;
    (void)ssl;
    if (c->policy.wants & TIO_WANT_TRACE) tio_records_trace(c, written, version, type, buffer, size);
    if (type == SSL3_RT_ALERT && size == 2) {
        /* close_notify and user_canceled end a connection without an error; TLS 1.2 warnings do not
         * end it. */
        if (p[1] == SSL_AD_CLOSE_NOTIFY || p[1] == SSL_AD_USER_CANCELLED) return;
        /* Without a cipher there is no version either. */
        int chosen = SSL_get_pending_cipher(c->ssl) != NULL;
        if (p[0] != SSL3_AL_FATAL && (!chosen || SSL_version(c->ssl) < TLS1_3_VERSION)) return;
        if (written) c->alert_sent = p[1];
        else c->alert_received = p[1];
    } else if (type == SSL3_RT_HANDSHAKE && !written && size) {
        if (c->phase != TIO_HANDSHAKING) count_dataless_message(c, p[0]);
        if (p[0] == SSL3_MT_HELLO_REQUEST) {
            c->rehandshake_begins = 1;
            if (c->policy.renegotiation.window_ns < 0) c->limit_exceeded = TIO_LIMIT_RENEGOTIATION_OFF;
        }
        if (p[0] == SSL3_MT_CERTIFICATE_REQUEST) c->certificate_requested = 1;
        if (p[0] == SSL3_MT_NEWSESSION_TICKET) c->ticket_received = 1;
        if (p[0] == SSL3_MT_FINISHED && c->phase == TIO_HANDSHAKING) c->peer_finished = 1;
        else if (p[0] == SSL3_MT_FINISHED) c->rehandshake_finished = 1;
        if (p[0] == SSL3_MT_CLIENT_HELLO && (c->policy.wants & TIO_WANT_OFFER)) tio_records_offer(c, buffer, size);
    } else if (type == SSL3_RT_HANDSHAKE && size && p[0] == SSL3_MT_SERVER_KEY_EXCHANGE) {
        tio_facts_own_key(c);
    } else if (type == SSL3_RT_HEADER && !written) {
        c->headers++;
    }
}

/* TLS 1.3 has no call to send an alert of our choice. But if the writer of a NewSessionTicket
 * extension fails with an alert, OpenSSL sends that alert, encrypted, in place of the ticket. */
static int add_refusal(SSL *ssl, unsigned type, unsigned context, const unsigned char **out, size_t *size, X509 *x, size_t index,
                       int *alert, void *unused) {
    tio_conn *c = tio_conn_of(ssl);
    (void)type, (void)context, (void)out, (void)size, (void)x, (void)index, (void)unused;
    if (c->refusal < 0) return 0;                       /* no refusal: leave the extension out */
    *alert = c->refusal;
    return -1;
}

int tio_callbacks_install(SSL_CTX *ctx) {
    SSL_CTX_set_client_hello_cb(ctx, on_hello, NULL);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, on_certificate, NULL);
    tio_status_install(ctx);
    if (!SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, tio_ticket_key)) return -1;
    return SSL_CTX_add_custom_ext(ctx, REFUSAL_EXTENSION, SSL_EXT_TLS1_3_NEW_SESSION_TICKET, add_refusal, NULL, NULL, NULL, NULL) ? 0 : -1;
}

void tio_callbacks_attach(tio_conn *c) {
    SSL_set_msg_callback(c->ssl, on_message);
    SSL_set_msg_callback_arg(c->ssl, c);
    if (c->policy.min_dh_bits) SSL_set_security_callback(c->ssl, on_security);
}
