/* ticket_test.c - resumption by ticket, seen from a plain OpenSSL client; the ring of keys. */
#define _GNU_SOURCE                     /* memmem */
#include "harness.h"

static SSL_SESSION *saved;
static int saved_count;

static int save(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(saved);
    saved = session;
    saved_count++;
    return 1;
}

static void forget(void) {
    SSL_SESSION_free(saved);
    saved = NULL;
    saved_count = 0;
}

/* What serves: contexts "none" and "cert", and a ring over both, as of one server. */
typedef struct {
    int version;
    SSL_CTX *client;
    tio_context *context, *other;
    tio_gate gate;
    unsigned wants;
} service;

static void service_make(service *s, int version) {
    *s = (service){ .version = version };
    s->client = plain_context(version, &client_a);
    SSL_CTX_set_session_cache_mode(s->client, SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(s->client, save);
    s->context = server_context(version, &server_a, 0);
    s->other = server_context(version, &server_a, WANT_CERT);
    s->gate.ring = tio_ring_new();
    forget();
    snprintf(note, sizeof note, "TLS 1.%d", version - TLS1_VERSION);
}

static void service_free(service *s) {
    forget();
    SSL_CTX_free(s->client);
    tio_context_release(s->context);
    tio_context_release(s->other);
    tio_ring_release(s->gate.ring);
}

/* One handshake that offers the saved session: 1 resumed, 0 full, -1 failed.  `name` non-NULL: switched to the other context. */
static int connect_once(service *s, const char *name) {
    SSL_SESSION *offered = saved ? SSL_SESSION_dup(saved) : NULL;
    plain p = plain_new(s->client, 0, offered);
    tio_conn *c = tio_conn_new(s->context, TIO_SERVER);
    if (name) SSL_set_tlsext_host_name(p.ssl, name);
    c->gate = &s->gate;
    c->policy.wants = (uint8_t)(s->wants | (name ? TIO_WANT_HELLO : 0));
    for (int i = 0; i < 4; i++) {
        plain_pump(&p, c);
        if (c->question == TIO_ASK_HELLO) tio_answer_hello(c, s->other, NULL, 0);
        else if (c->question == TIO_ASK_CLIENT) tio_answer_client(c);
    }
    int result = c->phase != TIO_OPEN ? -1 : SSL_session_reused(c->ssl);
    if (result >= 0) CHECK_INT(SSL_session_reused(p.ssl), result);
    if (result == 1 && s->version == TLS1_2_VERSION) {  /* OpenSSL does not tell the callback of a renewed one */
        SSL_SESSION_free(saved);
        saved = SSL_get1_session(p.ssl);
    }
    SSL_shutdown(p.ssl);
    tio_conn_free(c);
    plain_free(&p);
    SSL_SESSION_free(offered);
    return result;
}

static int has_name_of(const uint8_t *key) {
    const unsigned char *ticket;
    size_t size;
    SSL_SESSION_get0_ticket(saved, &ticket, &size);
    return size > 16 && !memcmp(ticket, key, 16);
}

static void tickets_resume(void) {
    for (int i = 0; i < 2; i++) {
        service s;
        uint8_t key[TIO_TICKET_KEY];
        service_make(&s, versions[i]);
        CHECK_INT(connect_once(&s, NULL), 0);
        if (CHECK(saved != NULL)) {
            tio_ring_first(s.gate.ring, key);
            CHECK(has_name_of(key));
            CHECK_INT(connect_once(&s, NULL), 1);
            CHECK_INT(connect_once(&s, NULL), 1);
        }
        service_free(&s);
    }
}

static void a_rotated_ring_still_reads_and_renews(void) {
    for (int i = 0; i < 2; i++) {
        service s;
        uint8_t key[TIO_TICKET_KEY], newer[TIO_TICKET_KEY];
        service_make(&s, versions[i]);
        connect_once(&s, NULL);
        memset(newer, 'n', sizeof newer);
        tio_ring_push(s.gate.ring, newer);
        tio_ring_first(s.gate.ring, key);
        CHECK(!memcmp(key, newer, sizeof key));
        CHECK_INT(connect_once(&s, NULL), 1);
        CHECK(has_name_of(newer));
        for (int j = 0; j < TIO_TICKET_KEYS - 1; j++) {         /* the last place: still read */
            memset(key, 1 + j, sizeof key);
            tio_ring_push(s.gate.ring, key);
        }
        SSL_SESSION *old = SSL_SESSION_dup(saved);
        CHECK_INT(connect_once(&s, NULL), 1);
        SSL_SESSION_free(saved);
        saved = old;
        memset(key, 'z', sizeof key);
        tio_ring_push(s.gate.ring, key);                        /* one more: forgotten */
        CHECK_INT(connect_once(&s, NULL), 0);
        CHECK(has_name_of(key));
        service_free(&s);
    }
}

static void a_ring_takes_one_to_sixteen_keys(void) {
    uint8_t keys[TIO_TICKET_KEYS + 1][TIO_TICKET_KEY], first[TIO_TICKET_KEY];
    for (int i = 0; i <= TIO_TICKET_KEYS; i++) memset(keys[i], i, TIO_TICKET_KEY);
    tio_ring *ring = tio_ring_new();
    CHECK_INT(tio_ring_set(ring, keys[0], 0), -1);
    CHECK_INT(tio_ring_set(ring, keys[0], TIO_TICKET_KEYS + 1), -1);
    CHECK_INT(tio_ring_set(ring, keys[3], 1), 0);
    tio_ring_first(ring, first);
    CHECK(!memcmp(first, keys[3], sizeof first));
    CHECK_INT(tio_ring_set(ring, keys[0], TIO_TICKET_KEYS), 0);
    tio_ring_retain(ring);
    tio_ring_release(ring);
    tio_ring_first(ring, first);
    CHECK(!memcmp(first, keys[0], sizeof first));
    tio_ring_release(ring);
    tio_ring_release(NULL);
}

static void unknown_key_is_a_full_handshake(void) {
    for (int i = 0; i < 2; i++) {
        service s;
        uint8_t other[TIO_TICKET_KEY] = { 1 };
        service_make(&s, versions[i]);
        connect_once(&s, NULL);
        tio_ring_set(s.gate.ring, other, 1);
        CHECK_INT(connect_once(&s, NULL), 0);
        service_free(&s);
    }
}

/* The class of CVE-2025-23419: a session of a name that asks for no certificate must not open one that does. */
static void tickets_do_not_cross_the_trust(void) {
    for (int i = 0; i < 2; i++) {
        service s;
        service_make(&s, versions[i]);
        CHECK_INT(connect_once(&s, NULL), 0);
        CHECK_INT(connect_once(&s, "other.test"), 0);
        CHECK_INT(connect_once(&s, "other.test"), 1);
        CHECK_INT(connect_once(&s, NULL), 0);
        service_free(&s);
    }
}

/* TLS 1.2: no alert is possible after an abbreviated handshake, so there is none when the user decides. */
static void judged_clients(void) {
    for (int i = 0; i < 2; i++) {
        service s;
        service_make(&s, versions[i]);
        s.wants = TIO_WANT_CLIENT;
        CHECK_INT(connect_once(&s, NULL), 0);
        CHECK_INT(saved_count, s.version == TLS1_3_VERSION ? 2 : 1);
        CHECK_INT(connect_once(&s, NULL), s.version == TLS1_3_VERSION);
        CHECK_INT(saved_count, s.version == TLS1_3_VERSION ? 3 : 2);
        service_free(&s);
    }
}

static void a_spoilt_ticket_is_a_full_handshake(void) {
    for (int i = 0; i < 2; i++) {
        service s;
        service_make(&s, versions[i]);
        connect_once(&s, NULL);
        unsigned char *der = NULL, *at;
        int size = i2d_SSL_SESSION(saved, &der);
        const unsigned char *ticket, *p = der;
        size_t ticket_size;
        SSL_SESSION_get0_ticket(saved, &ticket, &ticket_size);
        at = memmem(der, (size_t)size, ticket, ticket_size);
        if (CHECK(at != NULL)) at[ticket_size - 1] ^= 1;
        SSL_SESSION_free(saved);
        saved = d2i_SSL_SESSION(NULL, &p, size);
        OPENSSL_free(der);
        CHECK_INT(connect_once(&s, NULL), 0);
        service_free(&s);
    }
}

void ticket_tests(void) {
    RUN(tickets_resume);
    RUN(a_rotated_ring_still_reads_and_renews);
    RUN(a_ring_takes_one_to_sixteen_keys);
    RUN(unknown_key_is_a_full_handshake);
    RUN(tickets_do_not_cross_the_trust);
    RUN(judged_clients);
    RUN(a_spoilt_ticket_is_a_full_handshake);
}
