/* sessions.c - sessions to and from DER, and the answer of a lookup that waits to be picked up.
 *
 * The engine keeps no session: what is made is handed up as DER, what shall be resumed comes back as DER.  An SSL_SESSION
 * would not do: OpenSSL marks the one of an SSL that is freed without a shutdown as not resumable. */
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

/* Without memory it is not kept: a full handshake more, later. */
void tio_sessions_keep(tio_conn *c, SSL_SESSION *session) {
    int size = i2d_SSL_SESSION(session, NULL);
    unsigned id_size;
    const unsigned char *id = SSL_SESSION_get_id(session, &id_size);
    uint8_t *der, *end;
    if (size <= 0 || id_size > TIO_SESSION_ID || !sessions(c) || !(der = end = malloc((size_t)size))) return;
    tio_sessions *all = c->sessions;
    i2d_SSL_SESSION(session, &end);
    if (all->count == TIO_SESSIONS) {                   /* nobody has fetched them: the oldest goes */
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

void tio_conn_sessions_told(tio_conn *c) {
    forget_made(c);
    tio_records_look(c);
}

/* A ticket that carries its session itself is nothing to store. */
static int is_stateful(const tio_conn *c) {
    if (SSL_version(c->ssl) < TLS1_3_VERSION) return !(c->policy.wants & TIO_WANT_CLIENT);
    return (SSL_get_options(c->ssl) & SSL_OP_NO_TICKET) != 0;
}

/* ---- which sessions fit? ------------------------------------------------------------------------------------------- */

static int speaks_cipher(STACK_OF(SSL_CIPHER) *known, const SSL_SESSION *session) {
    const SSL_CIPHER *cipher = SSL_SESSION_get0_cipher(session);
    for (int i = 0; i < sk_SSL_CIPHER_num(known); i++)
        if (sk_SSL_CIPHER_value(known, i) == cipher) return 1;
    return 0;
}

/* Before TLS 1.3 a session belongs to a name; OpenSSL notes it only for servers with a callback of its own. */
static int note_name(tio_conn *c, SSL_SESSION *session) {
    return SSL_version(c->ssl) >= TLS1_3_VERSION || SSL_SESSION_set1_hostname(session, c->server_name);
}

/* OpenSSL tells it only of a connection. */
static int was_verified(SSL *like, SSL_SESSION *session) {
    SSL *ssl = SSL_new(SSL_get_SSL_CTX(like));
    int well = ssl && SSL_SESSION_get0_peer(session) && SSL_set_session(ssl, session) && SSL_get_verify_result(ssl) == X509_V_OK;
    SSL_free(ssl);
    return well;
}

/* OpenSSL looks at the id context, the version and the age.  A server that shares its keys and has an id context given may meet
 * sessions that were made under other rules: they are resumed only where a full handshake could have come to the same. */
static int fits(tio_conn *c, SSL_SESSION *session) {
    const char *name = SSL_SESSION_get0_hostname(session);
    if (SSL_version(c->ssl) < TLS1_3_VERSION) {
        /* RFC 6066 3: "A server that implements this extension MUST NOT accept the request to resume the session if the
         * server_name extension contains a different name."  RFC 8446 4.6.1 takes that back. */
        if (name && (!c->server_name || strcmp(name, c->server_name))) return 0;
        if (!speaks_cipher(SSL_get_ciphers(c->ssl), session)) return 0;         /* it was taken away since */
    }
    if ((SSL_get_verify_mode(c->ssl) & SSL_VERIFY_FAIL_IF_NO_PEER_CERT) && !was_verified(c->ssl, session)) return 0;
    return tio_mark_holds(c, session);
}

/* A ticket has a length of 16 bits, and OpenSSL fails the connection when the session, which holds the client's certificate, is
 * longer than this (construct_stateless_ticket in statem_srvr.c). */
enum { LONGEST_TICKET = 0xff00 };

static int on_ticket(SSL *ssl, void *unused) {
    SSL_SESSION *session = SSL_get_session(ssl);
    (void)unused;
    if (!note_name(tio_conn_of(ssl), session) || !tio_mark_session(tio_conn_of(ssl), session)) return 0;
    /* In TLS 1.3 it becomes an id instead, by which a store may know the session.  Up to TLS 1.2 a ticket was promised already. */
    if (SSL_version(ssl) >= TLS1_3_VERSION && SSL_SESSION_get0_peer(session) && i2d_SSL_SESSION(session, NULL) > LONGEST_TICKET)
        SSL_set_options(ssl, SSL_OP_NO_TICKET);
    return 1;
}

static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *key, size_t size, SSL_TICKET_STATUS status,
                                        void *unused) {
    (void)key, (void)size, (void)unused;
    if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (!fits(tio_conn_of(ssl), session)) return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* ---- OpenSSL's callbacks ------------------------------------------------------------------------------------------- */

static int on_made(SSL *ssl, SSL_SESSION *session) {
    tio_conn *c = tio_conn_of(ssl);
    if (c->role == TIO_SERVER && (!note_name(c, session) || !tio_mark_session(c, session))) return 0;
    if ((c->policy.wants & TIO_WANT_SESSIONS) && (c->role == TIO_CLIENT || is_stateful(c))) tio_sessions_keep(c, session);
    return 0;                                           /* no reference is kept */
}

static SSL_SESSION *on_lookup(SSL *ssl, const unsigned char *id, int size, int *copy) {
    tio_conn *c = tio_conn_of(ssl);
    SSL_SESSION *given = c->sessions ? c->sessions->given : NULL;
    unsigned own_size = 0;
    const unsigned char *own = given ? SSL_SESSION_get_id(given, &own_size) : NULL;
    *copy = 1;
    /* A store that gives one client the session of another is not believed. */
    return own && size > 0 && own_size == (unsigned)size && !memcmp(own, id, own_size) && is_stateful(c) && fits(c, given) ? given : NULL;
}

void tio_sessions_install(SSL_CTX *ctx) {
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_BOTH | SSL_SESS_CACHE_NO_INTERNAL | SSL_SESS_CACHE_NO_AUTO_CLEAR);
    SSL_CTX_sess_set_new_cb(ctx, on_made);
    SSL_CTX_sess_set_get_cb(ctx, on_lookup);
    SSL_CTX_set_session_ticket_cb(ctx, on_ticket, on_ticket_read, NULL);
}

/* ---- which session does the client want to resume? ---------------------------------------------------------------- */

/* RFC 8446 4.2.1: one byte of length, then versions of two. */
static int offers_tls13(SSL *ssl) {
    const unsigned char *p;
    size_t size;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &p, &size)) return 0;
    for (size_t i = 1; i + 1 < size; i += 2)
        if (p[i] == TLS1_3_VERSION >> 8 && p[i + 1] == (TLS1_3_VERSION & 0xff)) return 1;
    return 0;
}

/* RFC 8446 4.2.11: PskIdentity has two bytes of length, the identity, four bytes of age.  A stateful ticket is the session's
 * id, and nothing else is as long; OpenSSL looks at each in turn, we ask the store about the first. */
static size_t find_ticket(SSL *ssl, const unsigned char **id) {
    const unsigned char *p;
    size_t size, at = 2;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &size) || size < 2) return 0;
    size_t end = 2 + ((size_t)p[0] << 8 | p[1]);
    while (end <= size && at + 2 <= end) {
        size_t n = (size_t)p[at] << 8 | p[at + 1];
        if (at + 2 + n + 4 > end) return 0;             /* OpenSSL will judge it */
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
        return 0;                                       /* it has a ticket: the id is there to tell whether that was taken */
    return SSL_client_hello_get0_session_id(ssl, id);
}

/* TLS 1.3 will be spoken, as far as the hello and the context can tell. */
static int will_be_modern(SSL *ssl) {
    int max = (int)SSL_get_max_proto_version(ssl);
    return offers_tls13(ssl) && (!max || max >= TLS1_3_VERSION);
}

/* Also after another context was chosen, whose versions may be others. */
void tio_sessions_decide(tio_conn *c) {
    int wants = c->policy.wants;
    c->stateful = (wants & TIO_WANT_SESSIONS) && ((wants & TIO_STATEFUL) || ((wants & TIO_STATEFUL_13) && will_be_modern(c->ssl)));
    tio_conn_set_options(c);
}

int tio_sessions_hello(tio_conn *c) {
    SSL *ssl = c->ssl;
    int modern = will_be_modern(ssl);
    const unsigned char *id = NULL;
    size_t size = 0;
    if (!(c->policy.wants & TIO_WANT_SESSIONS)) return 0;
    tio_sessions_decide(c);
    /* In TLS 1.3 the id in the hello is there for middleboxes (RFC 8446 D.4) and names no session. */
    if (!modern) size = c->policy.wants & TIO_WANT_CLIENT ? 0 : find_id(ssl, &id);
    else if (SSL_get_options(ssl) & SSL_OP_NO_TICKET) size = find_ticket(ssl, &id);
    if (!size || size > TIO_SESSION_ID) return 0;
    if (!sessions(c)) return -1;
    memcpy(c->sessions->asked, id, size);
    c->sessions->asked_size = size;
    return 0;
}

/* ---- what is to be resumed ---------------------------------------------------------------------------------------- */

static int take(tio_conn *c, const uint8_t *der, size_t size) {
    const unsigned char *at = der;
    if (size > INT32_MAX || !sessions(c)) return -1;
    SSL_SESSION_free(c->sessions->given);
    c->sessions->given = d2i_SSL_SESSION(NULL, &at, (long)size);
    ERR_clear_error();
    return c->sessions->given ? 0 : -1;
}

int tio_conn_set_session(tio_conn *c, const uint8_t *der, size_t size) {
    return c->phase == TIO_IDLE && c->role == TIO_CLIENT ? take(c, der, size) : -1;
}

int tio_answer_session(tio_conn *c, const uint8_t *der, size_t size) {
    return c->question == TIO_ASK_HELLO ? take(c, der, size) : -1;
}

/* RFC 5246 7.4.1.2: "If the session_id field is not empty (implying a session resumption request), this vector MUST include at
 * least the cipher_suite from that session."  Servers answer with a fatal alert to who does not. */
static int may_offer(SSL *ssl, const SSL_SESSION *session) {
    if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION) return 1;
    STACK_OF(SSL_CIPHER) *ours = SSL_get1_supported_ciphers(ssl);
    int known = speaks_cipher(ours, session);
    sk_SSL_CIPHER_free(ours);
    return known;
}

void tio_sessions_start(tio_conn *c) {
    SSL_SESSION *given = c->sessions ? c->sessions->given : NULL;
    /* OpenSSL fails a handshake that resumes under another id context, and an SSL takes its context's, which is the server's. */
    SSL_set_session_id_context(c->ssl, NULL, 0);
    if (given && may_offer(c->ssl, given)) SSL_set_session(c->ssl, given);
    ERR_clear_error();
}

int tio_sessions_resumed(const tio_conn *c) {
    return c->sessions && c->sessions->given && SSL_session_reused(c->ssl) == 1 && !tio_conn_psk_used(c);
}

/* ---- what was made ------------------------------------------------------------------------------------------------- */

int tio_sessions_ask(tio_conn *c) {
    return c->role == TIO_SERVER && c->sessions && c->sessions->count && !tio_move_question(c, TIO_ASK_STORE);
}

void tio_answer_store(tio_conn *c) {
    if (c->question != TIO_ASK_STORE) return;
    tio_move_question(c, TIO_NO_QUESTION);
    forget_made(c);
}
