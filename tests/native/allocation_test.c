/* allocation_test.c - a whole conversation, once for each of its allocations, which then fails.
 *
 * The engine may break the connection, never the process, and never let through what it could not ask about (invariant 7). */
#include "harness.h"

#include <limits.h>

static void check_outcome(const pair *p) {
    const tio_conn *c = p->client, *s = p->server;
    if (s && (s->phase == TIO_OPEN || s->phase == TIO_CLOSING)) {
        CHECK(p->hello_questions == 1 && p->client_questions == 1 && p->stapled == 1);
        CHECK(s->context == p->other);
    }
    if (c && (c->phase == TIO_OPEN || c->phase == TIO_CLOSING)) CHECK(p->verify_questions == 1 && p->looked_at == 1);
    CHECK(p->server_got <= 8 && !memcmp(p->server_saw, "question", p->server_got));
    CHECK(p->client_got <= 6 && !memcmp(p->client_saw, "answer", p->client_got));
}

static void talk(tio_context *client, tio_context *server, tio_context *other) {
    pair p = pair_new(client, server, TIO_WANT_HELLO | TIO_WANT_ALPN | TIO_WANT_CLIENT | TIO_WANT_STATUS | TIO_WANT_KEYS | TIO_WANT_OFFER
                                          | TIO_WANT_SESSIONS | TIO_STATEFUL);
    if (p.client) p.client->policy.wants = TIO_WANT_STATUS;
    p.response = "response";
    p.other = other;
    if (p.client) p.client->policy.wants |= TIO_WANT_SESSIONS;
    p.protocol = (const uint8_t *)"http/1.1";
    if (p.server) tio_conn_set_identity(p.server, other);
    if (p.client && p.server && !tio_conn_set_server_name(p.client, "a.test")) {
        pump(&p);
        tio_conn_write(p.client, "question", 8);
        tio_conn_write(p.server, "answer", 6);
        pump(&p);
        tio_conn_end(p.client);
        tio_conn_close(p.server);
        pump(&p);
        tio_conn_feed_eof(p.client);
        tio_conn_step(p.client);
    }
    long at = fail_at, count = allocations;
    disarm_failure();                                   /* looking must not fail */
    check_outcome(&p);
    fail_at = at, allocations = count;
    pair_free(&p);
}

/* FAILURES=n takes every n-th only. */
static void fail_each(int version, int ever_after, int far) {
    identity a = far ? elsewhere(&server_a) : server_a, b = far ? elsewhere(&server_b) : server_b, own = far ? elsewhere(&client_a) : client_a;
    tio_context *client = client_context(version, &own), *server = server_context(version, &a, WANT_CERT);
    tio_context *other = server_context(version, &b, WANT_CERT);
    set_alpn(client, "\x02h2\x08http/1.1");
    long step = getenv("FAILURES") ? strtol(getenv("FAILURES"), NULL, 10) : 1;
    if (ever_after) step *= 7;
    talk(client, server, other);                        /* once in full: what is made once is made */
    arm_failure(LONG_MAX, 0);
    talk(client, server, other);
    long last = allocations;
    disarm_failure();
    for (long at = 0; at < last; at += step) {
        snprintf(note, sizeof note, "TLS 1.%d, allocation %ld of %ld fails", version - TLS1_VERSION, at, last);
        arm_failure(at, ever_after);
        talk(client, server, other);
        disarm_failure();
        ERR_clear_error();
    }
    if (getenv("VERBOSE")) printf("TLS 1.%d: %ld allocations\n", version - TLS1_VERSION, last);
    CHECK(last > 500);
    tio_context_release(client);
    tio_context_release(server);
    tio_context_release(other);
    for (int i = 0; far && i < 3; i++) EVP_PKEY_free((EVP_PKEY *[]){ a.key, b.key, own.key }[i]);
    while (tio_keys_dead()) {}
}

static void every_allocation_of_tls_1_2_fails(void) { fail_each(TLS1_2_VERSION, 0, 0); }
static void every_allocation_of_tls_1_3_fails(void) { fail_each(TLS1_3_VERSION, 0, 0); }
static void memory_runs_out_in_tls_1_2(void) { fail_each(TLS1_2_VERSION, 1, 0); }
static void memory_runs_out_in_tls_1_3(void) { fail_each(TLS1_3_VERSION, 1, 0); }
static void allocations_fail_with_keys_elsewhere(void) { for (int i = 0; i < 4; i++) fail_each(versions[i % 2], i / 2, 1); }

static void making_contexts_rings_and_connections_fails_whole(void) {
    tio_context *ctx = NULL;
    for (long at = 0; !ctx && at < 2000; at++) {
        arm_failure(at, 0);
        ctx = tio_context_new();
        if (allocations <= at) break;                   /* nothing was left to fail */
        tio_context_release(ctx);                       /* some failures OpenSSL can do without */
        ctx = NULL;
        disarm_failure();
        ERR_clear_error();
    }
    disarm_failure();
    if (!CHECK(ctx != NULL)) return;
    arm_failure(0, 0);
    CHECK(tio_ring_new() == NULL);
    arm_failure(0, 0);
    CHECK(tio_conn_new(ctx, TIO_SERVER) == NULL);
    arm_failure(0, 0);
    CHECK(tio_reactor_new() == NULL);
    disarm_failure();
    tio_conn *c = tio_conn_new(ctx, TIO_CLIENT);
    arm_failure(0, 0);
    CHECK_INT(tio_conn_set_server_name(c, "a.test"), -1);
    disarm_failure();
    tio_conn_free(c);
    tio_context_release(ctx);
}

static void invariant_7_a_callback_that_cannot_answer_fails_the_handshake(void) {
    for (int i = 0; i < 2; i++) {
        tio_context *client = client_context(versions[i], NULL), *server = server_context(versions[i], &server_a, 0);
        pair p = pair_new(client, server, TIO_WANT_HELLO);
        tio_conn_set_server_name(p.client, "a.test");
        p.held = 1;
        pump(&p);
        arm_failure(0, 0);
        tio_answer_hello(p.server, NULL, (const uint8_t *)"h2", 2);
        disarm_failure();
        tio_conn_step(p.server);
        pump(&p);
        CHECK_INT(p.server->phase, TIO_BROKEN);
        CHECK_INT(p.client->alert_received, SSL_AD_INTERNAL_ERROR);
        pair_free(&p);
        tio_context_release(client);
        tio_context_release(server);
    }
}

void allocation_tests(void) {
    RUN(invariant_7_a_callback_that_cannot_answer_fails_the_handshake);
    RUN(making_contexts_rings_and_connections_fails_whole);
    RUN(every_allocation_of_tls_1_2_fails);
    RUN(every_allocation_of_tls_1_3_fails);
    RUN(memory_runs_out_in_tls_1_2);
    RUN(memory_runs_out_in_tls_1_3);
    RUN(allocations_fail_with_keys_elsewhere);
}
