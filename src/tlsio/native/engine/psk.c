/* psk.c - external pre-shared keys: the only callbacks that run code of the binding inside an
 * OpenSSL call.
 *
 * OpenSSL asks for a key by callbacks that cannot wait. Up to TLS 1.2 (RFC 4279) a server is asked
 * when it reads the ClientKeyExchange, a client when it writes it. In TLS 1.3 (RFC 8446 4.2.11)
 * both are asked while a hello is read or written. Callbacks for both are installed. Those for TLS
 * 1.2 are also called for a TLS 1.3 hello if the others had no key; then they return none.
 *
 * The guard: while such a callback runs, tio_in_psk_callback() is true in this thread, and no
 * connection or reactor may be changed: OpenSSL still uses the connection that it asks about.
 * Callers must defer changes until the OpenSSL call has returned. */
#include "internal.h"

#include <openssl/asn1.h>
#include <openssl/async.h>
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

typedef struct { const char *given; char *identity; uint8_t *key; int size; } question;

struct tio_psk {
    question *asked_in_job;             /* a job has paused for it, see signing.c */
    int used;
    int asked;                          /* server, TLS 1.3: identities of this hello */
    int withholds;                      /* server, TLS 1.3: no tickets are sent, because a key was found */
    SSL_SESSION *offered;               /* client, TLS 1.3 */
    char identity[TIO_PSK_IDENTITY + 1];    /* of the last key; a client's OpenSSL reads it after the callback */
    char proved[TIO_PSK_IDENTITY + 1];      /* the same, once the peer's Finished was verified */
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
/* ex_data index of sessions: the tio_psk whose key the session represents */
static int mark;

static void make_mark(void) { mark = SSL_SESSION_get_ex_new_index(0, NULL, NULL, NULL, NULL); }

static _Thread_local int in_callback;

int tio_in_psk_callback(void) { return in_callback; }

static void remember(tio_psk *p, const char *identity) {
    if (identity != p->identity) OPENSSL_strlcpy(p->identity, identity, sizeof p->identity);
}

static int ask_binding(tio_conn *c, const char *given, char *identity, uint8_t *key) {
    in_callback++;
    int size = c->policy.ask_psk(c, given, identity, key);
    in_callback--;
    return size;
}

/* The stack of a job is too small for the binding's code. */
static int ask_outside(tio_conn *c, question *q) {
    c->psk->asked_in_job = q;
    ASYNC_pause_job();
    return q->size;
}

int tio_psk_asked_in_job(tio_conn *c) {
    question *q = c->psk ? c->psk->asked_in_job : NULL;
    if (!q) return 0;
    c->psk->asked_in_job = NULL;
    q->size = ask_binding(c, q->given, q->identity, q->key);
    return 1;
}

static int ask(tio_conn *c, const char *given, char *identity, uint8_t *key) {
    question q = { given, identity, key, -1 };
    int size = ASYNC_get_current_job() ? ask_outside(c, &q) : ask_binding(c, given, identity, key);
    if (size > 0) remember(c->psk, identity ? identity : given);
    return size;
}

/* RFC 4279 5.1: "The identity MUST be first converted to a character string, and then encoded to
 * octets using UTF-8". TLS 1.3 has tickets in the same list: they are random, and practically never
 * text. */
static int is_text(const unsigned char *p, size_t size) {
    unsigned long letter;
    if (size > TIO_PSK_IDENTITY || memchr(p, 0, size)) return 0;
    while (size) {
        int n = UTF8_getc(p, (int)size, &letter);
        if (n <= 0) return 0;
        p += n;
        size -= (size_t)n;
    }
    return 1;
}

/* RFC 8446 4.2.11: "the Hash algorithm MUST be set when the PSK is established or default to
 * SHA-256 if no such algorithm is defined". The suite only stands for its hash. */
static SSL_SESSION *session_of(tio_conn *c, const uint8_t *key, int size) {
    static const unsigned char suite[] = { 0x13, 0x01 };        /* TLS_AES_128_GCM_SHA256 */
    SSL_SESSION *s = SSL_SESSION_new();
    if (s && SSL_SESSION_set1_master_key(s, key, (size_t)size) && SSL_SESSION_set_cipher(s, SSL_CIPHER_find(c->ssl, suite)) &&
        SSL_SESSION_set_protocol_version(s, TLS1_3_VERSION) && SSL_SESSION_set_ex_data(s, mark, c->psk))
        return s;
    SSL_SESSION_free(s);
    return NULL;
}

static int is_sha256(const EVP_MD *md) { return md && EVP_MD_is_a(md, "SHA256"); }

/* RFC 8446 4.2.11: "The server MUST ensure that it selects a compatible PSK (if any) and cipher
 * suite." OpenSSL chooses the suite first, and would ignore the key for a suite with SHA-384. */
static int prefer_sha256(SSL *ssl) {
    char names[512] = "";
    STACK_OF(SSL_CIPHER) *all = SSL_get_ciphers(ssl);
    for (int wanted = 1; wanted >= 0; wanted--)
        for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
            const SSL_CIPHER *cipher = sk_SSL_CIPHER_value(all, i);
            if (SSL_CIPHER_get_protocol_id(cipher) >> 8 != 0x13) continue;
            if (is_sha256(SSL_CIPHER_get_handshake_digest(cipher)) != wanted) continue;
            OPENSSL_strlcat(names, ":", sizeof names);
            OPENSSL_strlcat(names, SSL_CIPHER_get_name(cipher), sizeof names);
        }
    return !*names || SSL_set_ciphersuites(ssl, names + 1) == 1 ? 0 : -1;
}

/* ---- server ---------------------------------------------------------------------------------- */

static unsigned on_identity(SSL *ssl, const char *identity, unsigned char *key, unsigned room) {
    if (SSL_version(ssl) >= TLS1_3_VERSION) return 0;   /* on_identity_13 was asked */
    if (!is_text((const unsigned char *)identity, strlen(identity))) return 0;
    int size = ask(tio_conn_of(ssl), identity, NULL, key);
    /* A size above `room` is reported as an internal error, 0 as an unknown identity. */
    return size < 0 ? room + 1 : (unsigned)size;
}

static int on_identity_13(SSL *ssl, const unsigned char *identity, size_t size, SSL_SESSION **session) {
    char text[TIO_PSK_IDENTITY + 1];
    uint8_t key[TIO_PSK_KEY];
    tio_psk *p = tio_conn_of(ssl)->psk;
    *session = NULL;
    if (!is_text(identity, size)) return 1;
    if (p->asked == TIO_PSK_IDENTITIES) return 1;
    p->asked++;
    memcpy(text, identity, size);
    text[size] = 0;
    int n = ask(tio_conn_of(ssl), text, NULL, key);
    if (n > 0) *session = session_of(tio_conn_of(ssl), key, n);
    OPENSSL_cleanse(key, sizeof key);
    /* A ticket would be accepted without the key, also after the server has withdrawn it. */
    if (*session) {
        SSL_set_num_tickets(ssl, 0);
        p->withholds = 1;
    }
    return n == 0 || *session;
}

/* RFC 8446 4.2.11: identities <7..2^16-1>; each has two length bytes, the identity and four bytes
 * of age. */
static int offers_text(SSL *ssl) {
    const unsigned char *p;
    size_t size;
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_psk, &p, &size) || size < 2) return 0;
    size_t left = (size_t)p[0] << 8 | p[1];
    if (left > size - 2) return 0;
    for (p += 2; left > 6; ) {
        size_t n = (size_t)p[0] << 8 | p[1];
        if (n + 6 > left) return 0;
        if (is_text(p + 2, n)) return 1;
        p += n + 6;
        left -= n + 6;
    }
    return 0;
}

int tio_psk_hello(tio_conn *c) {
    if (!c->psk) return 0;
    c->psk->asked = 0;
    if (c->policy.psk_hint && SSL_use_psk_identity_hint(c->ssl, c->policy.psk_hint) != 1) return -1;
    return offers_text(c->ssl) ? prefer_sha256(c->ssl) : 0;
}

/* ---- client ---------------------------------------------------------------------------------- */

static unsigned on_hint(SSL *ssl, const char *hint, char *identity, unsigned identity_room, unsigned char *key, unsigned room) {
    (void)identity_room;
    if (SSL_get_state(ssl) != TLS_ST_CW_KEY_EXCH) return 0;     /* a hello: on_offer was asked */
    int size = ask(tio_conn_of(ssl), hint, identity, key);
    return size < 0 ? room + 1 : (unsigned)size;
}

static int on_offer(SSL *ssl, const EVP_MD *md, const unsigned char **identity, size_t *size, SSL_SESSION **session) {
    tio_conn *c = tio_conn_of(ssl);
    tio_psk *p = c->psk;
    uint8_t key[TIO_PSK_KEY];
    int n = 0;
    *identity = NULL;
    *size = 0;
    *session = NULL;
    /* `md` is set for the hello after a HelloRetryRequest: repeat the offer, if it fits. */
    if (!md) {
        SSL_SESSION_free(p->offered);
        p->offered = NULL;
        n = ask(c, NULL, p->identity, key);
        if (n > 0) p->offered = session_of(c, key, n);
        OPENSSL_cleanse(key, sizeof key);
    }
    if (n < 0 || (n > 0 && !p->offered)) return 0;
    if (!p->offered || (md && !is_sha256(md))) return 1;
    if (!SSL_SESSION_up_ref(p->offered)) return 0;
    *session = p->offered;
    *identity = (const unsigned char *)p->identity;
    *size = strlen(p->identity);
    return 1;
}

/* ---- both ------------------------------------------------------------------------------------ */

int tio_psk_attach(tio_conn *c) {
    if (!(c->policy.wants & TIO_WANT_PSK)) return 0;
    if (pthread_once(&once, make_mark) || mark < 0 || !(c->psk = calloc(1, sizeof *c->psk))) return -1;
    if (c->role == TIO_SERVER) {
        SSL_set_psk_server_callback(c->ssl, on_identity);
        SSL_set_psk_find_session_callback(c->ssl, on_identity_13);
        return 0;
    }
    SSL_set_psk_client_callback(c->ssl, on_hint);
    SSL_set_psk_use_session_callback(c->ssl, on_offer);
    return prefer_sha256(c->ssl);
}

void tio_psk_free(tio_conn *c) {
    if (c->psk) SSL_SESSION_free(c->psk->offered);
    free(c->psk);
}

/* Up to TLS 1.2 the suite shows what authenticates. In TLS 1.3 an external key looks like a resumed
 * session, but one with our mark. Copies of a session keep the mark; sessions from tickets never
 * have it. */
void tio_psk_settle(tio_conn *c) {
    if (!c->psk) return;
    int reused = SSL_session_reused(c->ssl);
    if (SSL_version(c->ssl) >= TLS1_3_VERSION)
        c->psk->used = reused && SSL_SESSION_get_ex_data(SSL_get0_session(c->ssl), mark) == c->psk;
    else
        c->psk->used = !reused && SSL_CIPHER_get_auth_nid(SSL_get_current_cipher(c->ssl)) == NID_auth_psk;
    if (c->psk->used) OPENSSL_strlcpy(c->psk->proved, c->psk->identity, sizeof c->psk->proved);
    SSL_SESSION_free(c->psk->offered);                  /* the key is wiped with the last copy */
    c->psk->offered = NULL;
}

/* The key that was found may not go with the suite, or be gone from the hello after a
 * HelloRetryRequest. Even without our limit, OpenSSL would send no tickets in the first case. */
int tio_psk_owes_tickets(tio_conn *c) {
    int owes = c->psk && c->psk->withholds && !c->psk->used;
    if (owes) c->psk->withholds = 0;
    return owes;
}

int tio_conn_psk_used(const tio_conn *c) { return c->psk && c->psk->used; }

const char *tio_conn_psk_identity(const tio_conn *c) { return tio_conn_psk_used(c) ? c->psk->proved : NULL; }

int tio_psk_made(const SSL_SESSION *session) {
    const SSL_CIPHER *cipher = SSL_SESSION_get0_cipher(session);
    int exchange = cipher ? SSL_CIPHER_get_kx_nid(cipher) : NID_undef;
    return exchange == NID_kx_psk || exchange == NID_kx_ecdhe_psk || exchange == NID_kx_dhe_psk || exchange == NID_kx_rsa_psk;
}
