/* sessions.c - sessions to and from DER, and the session that a server's lookup has found.
 *
 * Theory of operation. The engine stores no session. A new session is serialised to DER and kept on
 * its connection until the binding fetches it; a session to be resumed is given as DER. An
 * SSL_SESSION would not do: OpenSSL marks the session of an SSL that is freed without a shutdown as
 * not resumable.
 *
 * Server. While it reads the ClientHello the engine decides between session ids and tickets
 * (tio_sessions_decide()) and finds the id that the client wants to resume (tio_sessions_hello()).
 * TIO_ASK_HELLO then asks the binding, which answers with tio_answer_session(). When OpenSSL looks
 * the id up a little later, on_lookup() returns that session. Tickets need no lookup. Either way
 * may_resume() decides.
 *
 * Client. tio_conn_set_session() sets the session to offer before the first step. New ones are
 * reported through `has_news`. */
#include "internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

static tio_sessions *sessions(tio_conn *c) {
    if (!c->sessions) c->sessions = calloc(1, sizeof *c->sessions);
    return c->sessions;
}

static void forget(tio_session *s) {
    OPENSSL_cleanse(s->der, s->size);
    free(s->der);
    s->der = NULL;
}

static void forget_made(tio_conn *c) {
    while (c->sessions && c->sessions->count) forget(&c->sessions->made[--c->sessions->count]);
}

void tio_sessions_free(tio_conn *c) {
    if (!c->sessions) return;
    forget_made(c);
    SSL_SESSION_free(c->sessions->given);
    free(c->sessions);
}

/* Out of memory the session is not kept: that costs one full handshake later. */
void tio_sessions_keep(tio_conn *c, SSL_SESSION *session) {
    int size = i2d_SSL_SESSION(session, NULL);
    unsigned id_size;
    const unsigned char *id = SSL_SESSION_get_id(session, &id_size);
    uint8_t *der, *end;
    if (size <= 0 || id_size > TIO_SESSION_ID || !sessions(c) || !(der = end = malloc((size_t)size))) return;
    tio_sessions *all = c->sessions;
    i2d_SSL_SESSION(session, &end);
    if (all->count == TIO_SESSIONS) {   /* the binding has not fetched them: drop the oldest */
        forget(all->made);
        memmove(all->made, all->made + 1, (TIO_SESSIONS - 1) * sizeof *all->made);
        all->count--;
    }
    tio_session *made = &all->made[all->count++];
    memcpy(made->id, id, id_size);
    made->id_size = id_size;
    made->der = der;
    made->size = (size_t)size;
    made->lifetime = (long)SSL_SESSION_get_timeout(session);
    if (c->role == TIO_CLIENT) c->has_news = 1;
}

size_t tio_conn_sessions(const tio_conn *c, const tio_session **made) {
    *made = c->sessions ? c->sessions->made : NULL;
    return c->sessions ? c->sessions->count : 0;
}

void tio_conn_clear_sessions(tio_conn *c) {
    forget_made(c);
    tio_records_update_news(c);
}

/* A ticket that contains its session needs no storage. */
static int is_stateful(const tio_conn *c) {
    if (SSL_version(c->ssl) < TLS1_3_VERSION) return !(c->policy.wants & TIO_WANT_CLIENT);
    return (SSL_get_options(c->ssl) & SSL_OP_NO_TICKET) != 0;
}

/* ---- which sessions may be resumed? ---------------------------------------------------------- */

static int has_cipher(STACK_OF(SSL_CIPHER) *known, const SSL_SESSION *session) {
    const SSL_CIPHER *cipher = SSL_SESSION_get0_cipher(session);
    for (int i = 0; i < sk_SSL_CIPHER_num(known); i++)
        if (sk_SSL_CIPHER_value(known, i) == cipher) return 1;
    return 0;
}

/* Before TLS 1.3 a session belongs to a server name. OpenSSL records it only for servers with a
 * servername callback. */
static int record_hostname(tio_conn *c, SSL_SESSION *session) {
    return SSL_version(c->ssl) >= TLS1_3_VERSION || SSL_SESSION_set1_hostname(session, c->server_name);
}

/* OpenSSL has a getter for the verify result of a connection only, not of a session. */
static int was_verified(SSL *like, SSL_SESSION *session) {
    SSL *ssl = SSL_new(SSL_get_SSL_CTX(like));
    int ok = ssl && SSL_SESSION_get0_peer(session) && SSL_set_session(ssl, session) && SSL_get_verify_result(ssl) == X509_V_OK;
    SSL_free(ssl);
    return ok;
}

static int is_anonymous(const SSL_SESSION *session) {
    const SSL_CIPHER *cipher = SSL_SESSION_get0_cipher(session);
    return cipher && SSL_CIPHER_get_auth_nid(cipher) == NID_auth_null;
}

/* OpenSSL checks the id context, the version and the age. Servers that share ticket keys and an
 * explicit id context may receive sessions that were made under other rules: resume them only where
 * a full handshake could have had the same result. */
static int may_resume(tio_conn *c, SSL_SESSION *session) {
    const char *name = SSL_SESSION_get0_hostname(session);
    if (SSL_version(c->ssl) < TLS1_3_VERSION) {
        /* RFC 6066 3: "A server that implements this extension MUST NOT accept the request to
         * resume the session if the server_name extension contains a different name." RFC 8446
         * 4.6.1 lifts that rule. */
        if (name && (!c->server_name || strcmp(name, c->server_name))) return 0;
        /* A session with a pre-shared key would resume after the server has withdrawn the key. */
        if (tio_psk_made(session)) return 0;
        /* its cipher is no longer enabled */
        if (!has_cipher(SSL_get_ciphers(c->ssl), session)) return 0;
    }
    /* Without a certificate only a key is accepted, and no session stands for a key. */
    if (!SSL_get_certificate(c->ssl) && !is_anonymous(session)) return 0;
    if ((SSL_get_verify_mode(c->ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) && !was_verified(c->ssl, session)) return 0;
    return tio_mark_holds(c, session);
}

/* The size of a ticket has 16 bits. OpenSSL fails the connection if the session, which contains the
 * client's certificate, is longer than this (construct_stateless_ticket in statem_srvr.c). */
enum { LONGEST_TICKET = 0xff00 };

static int on_ticket(SSL *ssl, void *unused) {
    SSL_SESSION *session = SSL_get_session(ssl);
    (void)unused;
    if (!record_hostname(tio_conn_of(ssl), session) || !tio_mark_session(tio_conn_of(ssl), session)) return 0;
    /* In TLS 1.3 send an id instead, under which a store may find the session. Up to TLS 1.2 a
     * ticket was promised already. */
    if (SSL_version(ssl) >= TLS1_3_VERSION && SSL_SESSION_get0_peer(session) && i2d_SSL_SESSION(session, NULL) > LONGEST_TICKET)
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    return 1;
}

static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *key, size_t size, SSL_TICKET_STATUS status,
                                        void *unused) {
    (void)key, (void)size, (void)unused;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (!may_resume(tio_conn_of(ssl), session)) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- OpenSSL's callbacks --------------------------------------------------------------------- */

static int on_new_session(SSL *ssl, SSL_SESSION *session) {
    tio_conn *c = tio_conn_of(ssl);
    if (tio_psk_made(session)) return 0;
    if (c->role == TIO_SERVER && (!record_hostname(c, session) || !tio_mark_session(c, session))) return 0;
    if ((c->policy.wants & TIO_WANT_SESSIONS) && (c->role == TIO_CLIENT || is_stateful(c))) tio_sessions_keep(c, session);
    return 0;                                           /* keep no reference */
}

static SSL_SESSION *on_lookup(SSL *ssl, const unsigned char *id, int size, int *copy) {
    tio_conn *c = tio_conn_of(ssl);
    SSL_SESSION *given = c->sessions ? c->sessions->given : NULL;
    unsigned own_size = 0;
    const unsigned char *own = given ? SSL_SESSION_get_id(given, &own_size) : NULL;
    *copy = 1;
    /* A store may return another client's session: compare the id. */
    return own && size > 0 && own_size == (unsigned)size && !memcmp(own, id, own_size) && is_stateful(c) && may_resume(c, given) ? given : NULL;
}

void tio_sessions_install(SSL_CTX *ctx) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_sess_set_new_cb(ctx, on_new_session);
    SSL_CTX_sess_set_get_cb(ctx, on_lookup);
    SSL_CTX_set_session_ticket_cb(ctx, on_ticket, on_ticket_read, NULL);
}

/* ---- which session does the client want to resume? ------------------------------------------- */

/* RFC 8446 4.2.1: one length byte, then versions of two bytes. */
static int offers_tls13(SSL *ssl) {
    const unsigned char *p;
    size_t size;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &p, &size)) return 0;
    for (size_t i = 1; i + 1 < size; i += 2)
        if (p[i] == TLS1_3_VERSION >> 8 && p[i + 1] == (TLS1_3_VERSION & 0xff)) return 1;
    return 0;
}

/* RFC 8446 4.2.11: a PskIdentity has two length bytes, the identity and four bytes of age. A
 * stateful ticket is the session's id; nothing else has its length. OpenSSL tries each identity in
 * turn, we ask the store about the first. */
static size_t find_ticket(SSL *ssl, const unsigned char **id) {
    const unsigned char *p;
    size_t size, at = 2;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &size) || size < 2) return 0;
    size_t end = 2 + ((size_t)p[0] << 8 | p[1]);
    while (end <= size && at + 2 <= end) {
        size_t n = (size_t)p[at] << 8 | p[at + 1];
        if (at + 2 + n + 4 > end) return 0;             /* left for OpenSSL to judge */
        *id = p + at + 2;
        if (n == TIO_SESSION_ID) return n;
        at += 2 + n + 4;
    }
    return 0;
}

static size_t find_id(SSL *ssl, const unsigned char **id) {
    const unsigned char *p;
    size_t size;
    if (!(SSL_get_options(ssl) & SSL_OP_NO_TICKET) && SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_session_ticket, &p, &size) && size)
        /* with a ticket, the id only shows whether the server accepted it */
        return 0;
    return SSL_client_hello_get0_session_id(ssl, id);
}

/* Will the handshake use TLS 1.3, as far as the hello and the context show? */
static int expects_tls13(SSL *ssl) {
    int max = (int)SSL_get_max_proto_version(ssl);
    return offers_tls13(ssl) && (!max || max >= TLS1_3_VERSION);
}

/* Also called after a switch to another context, which may have other versions. */
void tio_sessions_decide(tio_conn *c) {
    int wants = c->policy.wants;
    c->stateful = (wants & TIO_WANT_SESSIONS) && ((wants & TIO_STATEFUL) || ((wants & TIO_STATEFUL_13) && expects_tls13(c->ssl)));
    tio_conn_set_options(c);
}

int tio_sessions_hello(tio_conn *c) {
    SSL *ssl = c->ssl;
    int tls13 = expects_tls13(ssl);
    const unsigned char *id = NULL;
    size_t size = 0;
    if (!(c->policy.wants & TIO_WANT_SESSIONS)) return 0;
    tio_sessions_decide(c);
    /* In TLS 1.3 the id in the hello is there for middleboxes (RFC 8446 D.4) and identifies no
     * session. */
    if (!tls13) size = c->policy.wants & TIO_WANT_CLIENT ? 0 : find_id(ssl, &id);
    else if (SSL_get_options(ssl) & SSL_OP_NO_TICKET) size = find_ticket(ssl, &id);
    if (!size || size > TIO_SESSION_ID) return 0;
    if (!sessions(c)) return -1;
    memcpy(c->sessions->asked, id, size);
    c->sessions->asked_size = size;
    return 0;
}

/* ---- the session to be resumed --------------------------------------------------------------- */

static int set_given(tio_conn *c, const uint8_t *der, size_t size) {
    const unsigned char *at = der;
    if (size > INT32_MAX || !sessions(c)) return -1;
    SSL_SESSION_free(c->sessions->given);
    c->sessions->given = d2i_SSL_SESSION(NULL, &at, (long)size);
    ERR_clear_error();
    return c->sessions->given ? 0 : -1;
}

int tio_conn_set_session(tio_conn *c, const uint8_t *der, size_t size) {
    return c->phase == TIO_IDLE && c->role == TIO_CLIENT ? set_given(c, der, size) : -1;
}

int tio_answer_session(tio_conn *c, const uint8_t *der, size_t size) {
    return c->question == TIO_ASK_HELLO ? set_given(c, der, size) : -1;
}

/* RFC 5246 7.4.1.2: "If the session_id field is not empty (implying a session resumption request),
 * this vector MUST include at least the cipher_suite from that session." Servers answer a violation
 * with a fatal alert. */
static int may_offer(SSL *ssl, const SSL_SESSION *session) {
    if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) return 1;
    STACK_OF(SSL_CIPHER) *ours = SSL_get1_supported_ciphers(ssl);
    int known = has_cipher(ours, session);
    sk_SSL_CIPHER_free(ours);
    return known;
}

void tio_sessions_start(tio_conn *c) {
    SSL_SESSION *given = c->sessions ? c->sessions->given : NULL;
    /* OpenSSL fails a handshake that resumes under another id context. A new SSL has its context's,
     * which is meant for servers. */
    SSL_set_session_id_context(c->ssl, NULL, 0);
    if (given && may_offer(c->ssl, given)) SSL_set_session(c->ssl, given);
    ERR_clear_error();
}

int tio_sessions_resumed(const tio_conn *c) {
    return c->sessions && c->sessions->given && SSL_session_reused(c->ssl) == 1 && !tio_conn_psk_used(c);
}

/* ---- new sessions ---------------------------------------------------------------------------- */

int tio_sessions_ask(tio_conn *c) {
    return c->role == TIO_SERVER && c->sessions && c->sessions->count && !tio_move_question(c, TIO_ASK_STORE);
}

void tio_answer_store(tio_conn *c) {
    if (c->question != TIO_ASK_STORE) return;
    tio_move_question(c, TIO_NO_QUESTION);
    forget_made(c);
}
