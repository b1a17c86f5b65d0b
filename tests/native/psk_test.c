/* psk_test.c - pre-shared keys: who gets in by one, who does not, and what may happen while a key is asked for. */
#include "harness.h"

enum { KEY = 32 };
static const uint8_t key_a[KEY] = "the key that both of them know..", key_b[KEY] = "another one";

/* What the binding's function is to do, by role, and what it saw. */
static struct {
    const char *identity;               /* client: who to be; NULL: no key */
    const uint8_t *key[2];              /* by tio_role; NULL: no key */
    int fails[2];
    int asked[2];
    tio_conn *unwanted[2];              /* those who asked, and are not wanted any more: remembered, and freed later */
    char hint[TIO_PSK_IDENTITY + 1], told[TIO_PSK_IDENTITY + 1];
} plan;

static int answer(tio_conn *c, const char *given, char *identity, uint8_t *key) {
    plan.asked[c->role]++;
    CHECK(tio_in_psk_callback());
    snprintf(c->role == TIO_CLIENT ? plan.hint : plan.told, sizeof plan.hint, "%s", given ? given : "");
    CHECK((identity != NULL) == (c->role == TIO_CLIENT));
    plan.unwanted[c->role] = c;
    if (plan.fails[c->role]) return -1;
    if (!plan.key[c->role] || (c->role == TIO_SERVER && strcmp(given, "alice"))) return 0;
    if (identity) strcpy(identity, plan.identity);
    memcpy(key, plan.key[c->role], KEY);
    return KEY;
}

static tio_context *near, *far;

static void set_up(int version, const char *suites, const identity *server) {
    memset(&plan, 0, sizeof plan);
    plan.identity = "alice";
    plan.key[TIO_CLIENT] = plan.key[TIO_SERVER] = key_a;
    near = client_context(version, NULL);
    far = server_context(version, server, 0);
    if (version == TLS1_2_VERSION) {
        SSL_CTX_set_cipher_list(near->ssl, suites ? suites : "PSK:HIGH");
        SSL_CTX_set_cipher_list(far->ssl, suites ? suites : "PSK:HIGH");
    } else if (suites) {
        SSL_CTX_set_ciphersuites(far->ssl, suites);
    }
    SSL_CTX_set_dh_auto(far->ssl, 1);
    SSL_CTX_set_options(far->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    snprintf(note, sizeof note, "TLS 1.%d %s", version - TLS1_VERSION, suites ? suites : "");
}

static void tear_down(void) {
    tio_context_release(near);
    tio_context_release(far);
}

static pair psk_pair(unsigned wants) {
    pair p = pair_new(near, far, TIO_WANT_PSK | wants);
    if (p.client) p.client->policy.wants = TIO_WANT_PSK;
    if (p.client) p.client->policy.ask_psk = answer;
    if (p.server) p.server->policy.ask_psk = answer;
    return p;
}

static void check_open(const pair *p) {
    CHECK_INT(p->client->phase, TIO_OPEN);
    CHECK_INT(p->server->phase, TIO_OPEN);
    CHECK(tio_conn_psk_used(p->client) && tio_conn_psk_used(p->server));
    CHECK(!strcmp(tio_conn_psk_identity(p->client), tio_conn_psk_identity(p->server)));
    CHECK_INT(p->verify_questions, 1);
    CHECK(!p->client->verify && !SSL_get0_peer_certificate(p->client->ssl));
    CHECK(!strcmp(plan.told, "alice"));
}

static void one_talk(int version, const char *suites, const identity *server) {
    set_up(version, suites, server);
    pair p = psk_pair(0);
    pump(&p);
    check_open(&p);
    tio_conn_write(p.client, "question", 8);
    pump(&p);
    CHECK(p.server_got == 8 && !memcmp(p.server_saw, "question", 8));
    pair_free(&p);
    tear_down();
}

static void a_key_opens_without_certificates(void) {
    static const char *suites[] = { "PSK-AES128-GCM-SHA256", "DHE-PSK-AES256-GCM-SHA384", "ECDHE-PSK-CHACHA20-POLY1305", "PSK-AES256-CBC-SHA384" };
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) one_talk(TLS1_2_VERSION, suites[i], NULL);
    one_talk(TLS1_3_VERSION, NULL, NULL);
    one_talk(TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256", NULL);
    for (int i = 0; i < 2; i++) {
        cutting = (cut){ .mode = BYTES };
        one_talk(versions[i], NULL, NULL);
    }
}

/* The suites with SHA-384 come first everywhere by default. */
static void a_key_comes_before_the_certificate(void) {
    for (int i = 0; i < 2; i++) one_talk(versions[i], NULL, &server_a);
    one_talk(TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256", &server_a);
}

static void a_key_does_not_go_with_sha384(void) {
    set_up(TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", &server_a);
    pair p = psk_pair(0);
    pump(&p);
    CHECK_INT(p.client->phase, TIO_OPEN);               /* by certificate, which was asked about */
    CHECK(p.client->verify && p.verify_questions == 1);
    CHECK(!tio_conn_psk_used(p.client) && !tio_conn_psk_used(p.server));
    CHECK(!tio_conn_psk_identity(p.client) && !tio_conn_psk_identity(p.server));
    pair_free(&p);
    tear_down();
}

/* RSA_PSK has both: the key is asked for, and the certificate too. */
static void a_certificate_beside_the_key_is_asked_about(void) {
    set_up(TLS1_2_VERSION, "RSA-PSK-AES128-GCM-SHA256", &server_b);
    for (int good = 1; good >= 0; good--) {
        pair p = psk_pair(0);
        p.judge = good ? X509_V_OK : X509_V_ERR_CERT_REJECTED;
        pump(&p);
        CHECK_INT(p.client->phase, good ? TIO_OPEN : TIO_BROKEN);
        CHECK(p.client->verify && !tio_conn_psk_used(p.client));
        pair_free(&p);
    }
    tear_down();
}

static void a_certificate_instead_of_the_key_is_asked_about(void) {
    for (int i = 0; i < 2; i++) {
        set_up(versions[i], "HIGH" + (i ? 4 : 0), &server_a);
        if (i) SSL_CTX_set_ciphersuites(far->ssl, "TLS_AES_128_GCM_SHA256");
        pair p = psk_pair(0);
        p.server->policy.wants = 0;
        p.judge = X509_V_ERR_CERT_REJECTED;
        pump(&p);
        CHECK_INT(p.verify_questions, 1);
        CHECK_INT(p.client->phase, TIO_BROKEN);
        CHECK_INT(p.server->phase, TIO_BROKEN);
        pair_free(&p);
        tear_down();
    }
}

static void check_refused(const char *why, int server_alert, int client_alert) {
    pair p = psk_pair(0);
    pump(&p);
    snprintf(note + strlen(note), sizeof note - strlen(note), " %s", why);
    CHECK_INT(p.client->phase, TIO_BROKEN);
    CHECK_INT(p.server->phase, TIO_BROKEN);
    CHECK_INT(p.server->alert_sent, server_alert);
    CHECK_INT(p.client->alert_sent, client_alert);
    CHECK_INT(p.verify_questions, 0);
    pair_free(&p);
    tear_down();
}

static void nobody_gets_in_without_the_key(void) {
    int old = OPENSSL_VERSION_NUMBER < 0x30200000L;     /* has another alert for a binder */
    for (int i = 0; i < 2; i++) {
        set_up(versions[i], NULL, NULL);
        plan.identity = "mallory";
        check_refused("unknown identity", i ? SSL_AD_HANDSHAKE_FAILURE : SSL_AD_UNKNOWN_PSK_IDENTITY, -1);
        set_up(versions[i], NULL, NULL);
        plan.key[TIO_CLIENT] = key_b;
        check_refused("wrong key", !i ? SSL_AD_BAD_RECORD_MAC : old ? SSL_AD_ILLEGAL_PARAMETER : SSL_AD_DECRYPT_ERROR, -1);
        set_up(versions[i], NULL, NULL);
        plan.key[TIO_CLIENT] = NULL;
        check_refused("no key", i ? SSL_AD_HANDSHAKE_FAILURE : -1, i ? -1 : SSL_AD_HANDSHAKE_FAILURE);
        set_up(versions[i], NULL, NULL);
        plan.fails[TIO_CLIENT] = 1;
        check_refused("client fails", i ? SSL_AD_UNEXPECTED_MESSAGE : -1, i ? SSL_AD_INTERNAL_ERROR : SSL_AD_HANDSHAKE_FAILURE);
        set_up(versions[i], NULL, NULL);
        plan.fails[TIO_SERVER] = 1;
        check_refused("server fails", SSL_AD_INTERNAL_ERROR, -1);
    }
}

static void a_failing_answer_does_not_fall_back_to_the_certificate(void) {
    set_up(TLS1_3_VERSION, NULL, &server_a);
    plan.fails[TIO_SERVER] = 1;
    check_refused("server fails", SSL_AD_INTERNAL_ERROR, -1);
}

/* A pin, or the user's own check: the key alone is not enough then. */
static void a_refusal_after_the_key_lets_nothing_out(void) {
    for (int i = 0; i < 2; i++) {
        const uint8_t *data;
        set_up(versions[i], NULL, NULL);
        pair p = psk_pair(0);
        p.judge = X509_V_ERR_CERT_REJECTED;
        pump(&p);
        CHECK_INT(p.verify_questions, 1);
        CHECK_INT(p.client->phase, TIO_BROKEN);
        CHECK_INT(p.client->fault->kind, TIO_FAULT_REFUSED);
        CHECK_INT(tio_conn_output(p.client, &data), 0);
        /* Up to TLS 1.2 the client has finished first, so the server is open, and there is no way to an alert. */
        CHECK_INT(p.server->phase, i ? TIO_BROKEN : TIO_OPEN);
        CHECK_INT(p.server->alert_received, i ? SSL_AD_BAD_CERTIFICATE : -1);
        pair_free(&p);
        tear_down();
    }
}

static void the_hint_is_told_under_the_chosen_context(void) {
    for (int sni = 0; sni < 2; sni++) {
        set_up(TLS1_2_VERSION, "PSK", NULL);
        tio_context *other = server_context(TLS1_2_VERSION, NULL, WANT_CERT);
        SSL_CTX_set_cipher_list(other->ssl, "PSK");
        pair p = psk_pair(sni ? TIO_WANT_HELLO : 0);
        p.server->policy.psk_hint = "of the server";
        p.other = other;
        tio_conn_set_server_name(p.client, "a.test");
        pump(&p);
        check_open(&p);
        CHECK(p.server->context == (sni ? other : far));
        CHECK(!strcmp(plan.hint, "of the server"));
        pair_free(&p);
        tio_context_release(other);
        tear_down();
    }
}

static void identities_that_are_no_text_are_nobodys(void) {
    static const char *names[] = { "\xff\xfe", "al\xc0\xafice", "\xe2\x82" };
    for (size_t i = 0; i < 2 * sizeof names / sizeof *names; i++) {
        set_up(versions[i % 2], NULL, NULL);
        plan.identity = names[i / 2];
        pair p = psk_pair(0);
        pump(&p);
        CHECK_INT(plan.asked[TIO_SERVER], 0);
        CHECK_INT(p.server->phase, TIO_BROKEN);
        pair_free(&p);
        tear_down();
    }
}

/* The client's share is for another group: the hello comes twice. The client's binding is asked once. */
static void a_retried_hello_offers_the_same(void) {
    for (int sha384 = 0; sha384 < 2; sha384++) {
        set_up(TLS1_3_VERSION, sha384 ? "TLS_AES_256_GCM_SHA384" : NULL, &server_a);
        SSL_CTX_set1_groups_list(near->ssl, "X25519:P-256");
        SSL_CTX_set1_groups_list(far->ssl, "P-256");
        pair p = psk_pair(0);
        pump(&p);
        CHECK_INT(p.client->phase, TIO_OPEN);
        CHECK_INT(p.server->phase, TIO_OPEN);
        CHECK_INT(plan.asked[TIO_CLIENT], 1);
        CHECK_INT(tio_conn_psk_used(p.client), !sha384);
        CHECK_INT(tio_conn_psk_used(p.server), !sha384);
        CHECK_INT(p.client->ticket_received, sha384);
        CHECK_INT(p.verify_questions, 1);
        pair_free(&p);
        tear_down();
    }
}

/* Somebody's session is no external key, though it goes the same way in TLS 1.3, and nobody is asked about it. */
static SSL_SESSION *saved;
static int save(SSL *ssl, SSL_SESSION *session) {
    (void)ssl;
    SSL_SESSION_free(saved);
    saved = session;
    return 1;
}

static void a_resumed_session_is_no_key(void) {
    for (int i = 0; i < 2; i++) {
        set_up(versions[i], NULL, &server_a);
        SSL_CTX *ctx = plain_context(versions[i], NULL);
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(ctx, save);
        for (int again = 0; again < 2; again++) {
            plain p = plain_new(ctx, 0, saved);
            tio_conn *c = tio_conn_new(far, TIO_SERVER);
            c->policy.wants = TIO_WANT_PSK;
            c->policy.ask_psk = answer;
            plain_pump(&p, c);
            CHECK_INT(c->phase, TIO_OPEN);
            CHECK_INT(SSL_session_reused(p.ssl), again);
            CHECK(!tio_conn_psk_used(c));
            SSL_shutdown(p.ssl);
            tio_conn_free(c);
            plain_free(&p);
        }
        CHECK_INT(plan.asked[TIO_SERVER], 0);
        SSL_SESSION_free(saved);
        saved = NULL;
        SSL_CTX_free(ctx);
        tear_down();
    }
}

static unsigned come_as_alice(SSL *ssl, const char *hint, char *identity, unsigned room, unsigned char *key, unsigned key_room) {
    (void)ssl, (void)hint, (void)key_room;
    snprintf(identity, room, "alice");
    memcpy(key, key_a, KEY);
    return KEY;
}

/* Otherwise a client whose key was withdrawn could resume for as long as sessions last. A server that asks about clients sends its tickets
 * at another place. */
static void a_session_by_key_cannot_be_resumed(void) {
    for (int i = 0; i < 4; i++) {
        set_up(versions[i / 2], NULL, &server_a);
        SSL_CTX *ctx = plain_context(versions[i / 2], NULL);
        if (versions[i / 2] == TLS1_2_VERSION) SSL_CTX_set_cipher_list(ctx, "PSK:HIGH");
        SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT);
        SSL_CTX_sess_set_new_cb(ctx, save);
        for (int again = 0; again < 2; again++) {
            SSL_CTX_set_psk_client_callback(ctx, again ? NULL : come_as_alice);
            plain p = plain_new(ctx, 0, saved);
            tio_conn *c = tio_conn_new(far, TIO_SERVER);
            c->policy.wants = TIO_WANT_PSK | (i % 2 ? TIO_WANT_CLIENT : 0);
            c->policy.ask_psk = answer;
            plain_pump(&p, c);
            if (c->question == TIO_ASK_CLIENT) tio_answer_client(c), tio_conn_step(c);
            plain_pump(&p, c);
            CHECK_INT(c->phase, TIO_OPEN);
            CHECK_INT(tio_conn_psk_used(c), !again);
            CHECK_INT(SSL_session_reused(p.ssl), !again && versions[i / 2] == TLS1_3_VERSION);
            if (!again) CHECK(!saved || !SSL_SESSION_has_ticket(saved));
            SSL_shutdown(p.ssl);
            tio_conn_free(c);
            plain_free(&p);
        }
        SSL_SESSION_free(saved);
        saved = NULL;
        SSL_CTX_free(ctx);
        tear_down();
    }
}

/* The server knows the key, but cannot use it with this suite: the session is that of a certificate. */
static void a_key_that_is_not_used_leaves_the_tickets(void) {
    for (int asks = 0; asks < 2; asks++) {
        set_up(TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384", &server_a);
        pair p = psk_pair(asks ? TIO_WANT_CLIENT : 0);
        pump(&p);
        CHECK_INT(p.server->phase, TIO_OPEN);
        CHECK_INT(plan.asked[TIO_SERVER], 1);
        CHECK(!tio_conn_psk_used(p.server) && p.client->ticket_received);
        pair_free(&p);
        tear_down();
    }
}

/* The order is put off until the call is over: done at once it frees what OpenSSL works on. */
static void who_is_asked_may_want_the_connection_gone(void) {
    for (int i = 0; i < 2; i++)
        for (int role = 0; role < 2; role++) {
            set_up(versions[i], NULL, NULL);
            pair p = psk_pair(0);
            tio_conn_step(p.client);
            for (int n = 0; n < 4 && !plan.asked[role]; n++) {
                if (n % 2) carry(&p, p.server, p.client);
                else carry(&p, p.client, p.server);
            }
            CHECK(!tio_in_psk_callback() && plan.unwanted[role] == (role == TIO_CLIENT ? p.client : p.server));
            tio_conn_free(plan.unwanted[role]);
            if (role == TIO_CLIENT) p.client = NULL;
            else p.server = NULL;
            pair_free(&p);
            tear_down();
        }
}

static void a_spoilt_hello_is_refused(void) {
    static uint8_t hello[4096];
    set_up(TLS1_3_VERSION, NULL, NULL);
    pair p = psk_pair(0);
    tio_conn_step(p.client);
    size_t size = take_output(p.client, hello, sizeof hello);
    CHECK(size > 200 && size < sizeof hello);
    for (size_t at = 5; at < size; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            tio_conn *c = tio_conn_new(far, TIO_SERVER);
            c->policy.wants = TIO_WANT_PSK;
            c->policy.ask_psk = answer;
            hello[at] ^= (uint8_t)(1 << bit);
            give(c, hello, size);
            hello[at] ^= (uint8_t)(1 << bit);
            CHECK(c->phase == TIO_BROKEN || c->phase == TIO_HANDSHAKING);
            tio_conn_free(c);
            ERR_clear_error();
        }
    pair_free(&p);
    tear_down();
}

static size_t before(uint8_t *to, size_t size, const void *part, size_t n) {
    memmove(to + n, to, size);
    memcpy(to, part, n);
    return size + n;
}

static size_t measured(uint8_t *to, size_t size, int width) {
    uint8_t length[3] = { (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size };
    return before(to, size, length + 3 - width, (size_t)width);
}

/* A TLS 1.3 hello with these many identities of six characters, and one binder. */
static size_t hello_with(unsigned identities, uint8_t *to) {
    static const uint8_t binder[35] = { 0, 33, 32 }, psk[] = { 0, 41 };
    static const uint8_t others[] = {
        0, 43, 0, 3, 2, 3, 4, 0, 10, 0, 4, 0, 2, 0, 0x1d, 0, 13, 0, 4, 0, 2, 4, 3, 0, 45, 0, 2, 1, 1,
        0, 51, 0, 38, 0, 36, 0, 0x1d, 0, 32, 9, [70] = 0,      /* X25519's base point */
    };
    static const uint8_t start[] = { 3, 3, [34] = 0, 0, 2, 0x13, 1, 1, 0 }, record[] = { 0x16, 3, 1 }, message[] = { 1 };
    size_t size = 0;
    for (unsigned i = 0; i < identities; i++) {
        memset(to + size, 0, 12);
        to[size + 1] = 6;
        snprintf((char *)to + size + 2, 7, "id%04u", i % 10000);
        size += 12;
    }
    size = measured(to, size, 2);
    memcpy(to + size, binder, sizeof binder);
    size = measured(to, size + sizeof binder, 2);
    size = before(to, size, psk, sizeof psk);
    size = measured(to, before(to, size, others, sizeof others), 2);
    size = measured(to, before(to, size, start, sizeof start), 3);
    size = measured(to, before(to, size, message, sizeof message), 2);
    return before(to, size, record, sizeof record);
}

/* Each question runs code of the user, and the client has proved nothing yet. */
static void few_identities_of_a_hello_are_asked_about(void) {
    for (unsigned n = TIO_PSK_IDENTITIES - 1; n <= 300; n = n > TIO_PSK_IDENTITIES ? n + 267 : n + 1) {
        uint8_t hello[8192];
        set_up(TLS1_3_VERSION, NULL, &server_a);
        tio_conn *c = tio_conn_new(far, TIO_SERVER);
        c->policy.wants = TIO_WANT_PSK;
        c->policy.ask_psk = answer;
        give(c, hello, hello_with(n, hello));
        CHECK_INT(plan.asked[TIO_SERVER], n < TIO_PSK_IDENTITIES ? n : TIO_PSK_IDENTITIES);
        CHECK_INT(c->phase, TIO_HANDSHAKING);           /* the certificate is offered instead */
        tio_conn_free(c);
        tear_down();
    }
}

static void talk_short_of_memory(int version) {
    set_up(version, NULL, &server_a);
    pair p = psk_pair(0);
    if (p.server) p.server->policy.psk_hint = "hint";
    long last;
    pair_free(&p);
    for (long at = -1;; at++) {
        p = psk_pair(0);
        p.server->policy.psk_hint = "hint";
        arm_failure(at, 0);
        pump(&p);
        last = allocations;
        disarm_failure();
        if (p.client->phase == TIO_OPEN) CHECK(p.verify_questions == 1 && (tio_conn_psk_used(p.client) || p.client->verify));
        if (at < 0) CHECK_INT(p.client->phase, TIO_OPEN);
        pair_free(&p);
        ERR_clear_error();
        if (at >= last) break;
    }
    tear_down();
}

static void failing_allocations_let_nobody_in(void) {
    for (int i = 0; i < 2; i++) talk_short_of_memory(versions[i]);
}

void psk_tests(void) {
    RUN(a_key_opens_without_certificates);
    RUN(a_key_comes_before_the_certificate);
    RUN(a_key_does_not_go_with_sha384);
    RUN(a_certificate_beside_the_key_is_asked_about);
    RUN(a_certificate_instead_of_the_key_is_asked_about);
    RUN(nobody_gets_in_without_the_key);
    RUN(a_failing_answer_does_not_fall_back_to_the_certificate);
    RUN(a_refusal_after_the_key_lets_nothing_out);
    RUN(the_hint_is_told_under_the_chosen_context);
    RUN(identities_that_are_no_text_are_nobodys);
    RUN(a_retried_hello_offers_the_same);
    RUN(a_resumed_session_is_no_key);
    RUN(a_session_by_key_cannot_be_resumed);
    RUN(a_key_that_is_not_used_leaves_the_tickets);
    RUN(who_is_asked_may_want_the_connection_gone);
    RUN(a_spoilt_hello_is_refused);
    RUN(few_identities_of_a_hello_are_asked_about);
    RUN(failing_allocations_let_nobody_in);
}
