/* limits_test.c - what bounds strangers: descriptors that are drained, addresses, listeners that are dead, the time of a turn; and
 * what may come before TLS, or instead of it. */
#define _GNU_SOURCE
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t second = 1000000000;

/* ---- descriptors ------------------------------------------------------------------------------------------------ */

/* A stranger whose handshakes fail holds no more descriptors than the limits let it open. */
static void drained_descriptors_are_bounded(void) {
    world w;
    int fds[120], most = 0;
    world_make(&w, TLS1_3_VERSION, 0);
    atomic_store(&w.gate.max_connections, 20);
    turns(&w, 2);
    int before = descriptors();
    for (int i = 0; i < 120; i++) {
        fds[i] = dial(w.port);
        send(fds[i], "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL);
        turns(&w, 3);
        int now = descriptors() - before - (i + 1);
        if (now > most) most = now;
    }
    CHECK_INT(w.failed, 120);
    CHECK_INT(most, 20);
    CHECK_INT(w.gate.lingering, 20);
    CHECK_INT(tio_reactor_load(w.r), 21);
    advance(3 * second);
    turns(&w, 3);
    CHECK_INT(w.gate.lingering, 0);
    for (int i = 0; i < 120; i++) close(fds[i]);
    world_free(&w);
}

/* The gate goes while descriptors of its connections are drained. */
static void a_gate_may_go_before_its_last_words(void) {
    world w;
    int before = descriptors();
    world_make(&w, TLS1_3_VERSION, 0);
    int fd = dial(w.port);
    send(fd, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL);
    for (int i = 0; i < 20 && !w.failed; i++) turn(&w);
    CHECK_INT(w.gate.lingering, 1);
    tio_reactor_evict(w.r, &w.gate);
    CHECK_INT(w.gate.lingering, 0);
    close(fd);
    turns(&w, 3);
    world_free(&w);
    CHECK_INT(descriptors(), before);
}

/* Shut down through a copy of the descriptor: readable for ever, and accept() fails each time. */
static void a_dead_listener_is_reported_once(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    int copy = dup(w.listener);
    shutdown(copy, SHUT_RDWR);
    turns(&w, 5);
    CHECK_INT(w.listener_errors, 1);
    CHECK_INT(w.error, EINVAL);
    CHECK(settles(&w));
    advance(10 * second);
    CHECK(settles(&w));
    CHECK_INT(w.listener_errors, 1);
    close(copy);
    world_free(&w);
}

/* A child that was forked in C keeps a copy: the kernel would report a closed connection's events for ever. */
static void a_copy_of_a_descriptor_does_not_wake_us(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    int copy = dup(tio_conn_fd(w.last));
    gone(&w, w.last, 0);
    SSL_write(v.p.ssl, "is anybody there", 16);
    hand_out(&v);
    CHECK(settles(&w));
    close(copy);
    leave(&v);
    world_free(&w);
}

/* ---- addresses -------------------------------------------------------------------------------------------------- */

static struct sockaddr_in6 address(const char *text) {
    struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
    if (inet_pton(AF_INET6, text, &a.sin6_addr) == 1) return a;
    a.sin6_family = AF_INET;
    inet_pton(AF_INET, text, &((struct sockaddr_in *)&a)->sin_addr);
    return a;
}

static int enter(tio_gate *g, const char *text) {
    struct sockaddr_in6 a = address(text);
    return tio_gate_enter_peer(g, &a);
}

static void leave_gate(tio_gate *g, const char *text) {
    struct sockaddr_in6 a = address(text);
    tio_gate_leave_peer(g, &a);
}

static void an_address_has_so_many_connections(void) {
    tio_gate g = { .max_per_peer = 2 };
    tio_gate_init(&g);
    CHECK(enter(&g, "192.0.2.1") && enter(&g, "192.0.2.1") && !enter(&g, "192.0.2.1"));
    CHECK(enter(&g, "192.0.2.2"));
    leave_gate(&g, "192.0.2.1");
    CHECK(enter(&g, "192.0.2.1") && !enter(&g, "::ffff:192.0.2.1"));     /* the same one, by a socket of both families */
    CHECK(enter(&g, "2001:db8:1:2::1") && enter(&g, "2001:db8:1:2:ffff::9") && !enter(&g, "2001:db8:1:2::3"));    /* one customer's */
    CHECK(enter(&g, "2001:db8:1:3::1"));
    tio_gate_free(&g);
}

/* The table against plain counting, by random acts. */
static void the_table_of_addresses_counts(void) {
    enum { ADDRESSES = 500, MOST = 3 };
    static unsigned counts[ADDRESSES];
    unsigned seed = 7;
    tio_gate g = { .max_per_peer = MOST };
    tio_gate_init(&g);
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 40000; i++) {
        char text[32];
        seed = seed * 1664525u + 1013904223u;
        unsigned n = (seed >> 8) % (i % 10000 < 5000 ? ADDRESSES : 20);
        snprintf(text, sizeof text, "10.%u.%u.1", n / 200, n % 200);
        if (seed >> 30 && counts[n]) {
            counts[n]--;
            leave_gate(&g, text);
        } else {
            CHECK_INT(enter(&g, text), counts[n] < MOST);
            counts[n] += counts[n] < MOST;
        }
    }
    for (unsigned n = 0; n < ADDRESSES; n++)
        for (char text[32]; snprintf(text, sizeof text, "10.%u.%u.1", n / 200, n % 200) && counts[n]; counts[n]--) leave_gate(&g, text);
    for (unsigned n = 0; n < MOST; n++) CHECK(enter(&g, "10.1.1.1"));
    CHECK(!enter(&g, "10.1.1.1"));
    tio_gate_free(&g);
}

static void connections_beyond_those_of_an_address_are_dropped(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, TIO_WANT_DROPPED);
    w.gate.max_per_peer = 1;
    visitor v = opened(&w);
    int more = dial(w.port);
    turns(&w, 5);
    CHECK_INT(w.dropped, 1);
    CHECK_INT(w.gate.dropped, 1);
    leave(&v);
    turns(&w, 10);
    visitor again = opened(&w);                         /* the place is free again */
    leave(&again);
    close(more);
    turns(&w, 5);
    world_free(&w);
}

/* ---- before TLS, and instead of it ------------------------------------------------------------------------------ */

static tio_conn *with_preface(tio_context *ctx) {
    tio_conn *c = tio_conn_new(ctx, TIO_SERVER);
    c->policy.wants = TIO_WANT_PREFACE;
    return c;
}

/* In pieces: asked again when more has come; what is not TLS is dropped, and the hello behind it is read. */
static void bytes_before_tls_are_taken_off(void) {
    static const char line[] = "PROXY TCP4 192.0.2.1 192.0.2.9 1 443\r\n";
    for (int i = 0; i < 2; i++) {
        tio_context *ctx = server_context(versions[i], &server_a, 0);
        SSL_CTX *peer = plain_context(versions[i], NULL);
        plain p = plain_new(peer, 0, NULL);
        tio_conn *c = with_preface(ctx);
        const uint8_t *data;
        char *hello, whole[4096];
        give(c, line, 10);
        CHECK_INT(tio_conn_question(c), TIO_ASK_PREFACE);
        CHECK(tio_conn_preface(c, &data) == 10 && !memcmp(data, line, 10));
        tio_answer_preface(c, 0, 1);
        CHECK_INT(tio_conn_next(c), TIO_NEXT_INPUT);
        SSL_do_handshake(p.ssl);
        long size = BIO_get_mem_data(p.out, &hello);
        memcpy(whole, line + 10, sizeof line - 11);
        memcpy(whole + sizeof line - 11, hello, (size_t)size);
        (void)BIO_reset(p.out);
        give(c, whole, sizeof line - 11 + (size_t)size);
        CHECK(tio_conn_preface(c, &data) == sizeof line - 1 + (size_t)size && !memcmp(data, line, sizeof line - 1));
        tio_answer_preface(c, sizeof line - 1, 0);
        tio_conn_step(c);
        plain_pump(&p, c);
        CHECK_INT(tio_conn_phase(c), TIO_OPEN);
        plain_free(&p);
        tio_conn_free(c);
        SSL_CTX_free(peer);
        tio_context_release(ctx);
    }
}

static void a_preface_may_be_refused_or_never_come(void) {
    tio_context *ctx = server_context(TLS1_3_VERSION, &server_a, 0);
    tio_conn *c = with_preface(ctx);
    give(c, "nonsense", 8);
    tio_refuse(c, SSL_AD_DECODE_ERROR);
    CHECK(tio_conn_phase(c) == TIO_BROKEN && c->fault->kind == TIO_FAULT_REFUSED && !tio_conn_unsent(c));
    tio_conn_free(c);
    c = with_preface(ctx);
    tio_conn_step(c);
    CHECK_INT(tio_conn_next(c), TIO_NEXT_INPUT);
    tio_conn_feed_eof(c);
    tio_conn_step(c);
    CHECK(tio_conn_phase(c) == TIO_BROKEN && c->fault->kind == TIO_FAULT_HANGUP);
    tio_conn_free(c);
    tio_context_release(ctx);
}

/* What a client that speaks HTTP is sent: our alert, or the answer that the server has for it. */
static void http_is_answered_in_plain_text(void) {
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\n\r\n";
    static const struct { const char *sent; int in_plain; } cases[] = {
        { "GET / HTTP/1.1\r\n", 1 }, { "OPTIONS * HTTP/1.1\r\n", 1 }, { "SSH-2.0-x\r\n", 0 }, { "GE\x01 nothing of it", 0 } };
    tio_context *ctx = server_context(TLS1_3_VERSION, &server_a, 0);
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        tio_conn *c = tio_conn_new(ctx, TIO_SERVER);
        int wanted = i % 2 == 0;
        uint8_t out[200];
        if (wanted) c->policy.plain_answer = answer, c->policy.plain_answer_size = sizeof answer - 1;
        give(c, cases[i / 2].sent, strlen(cases[i / 2].sent));
        CHECK_INT(tio_conn_phase(c), TIO_BROKEN);
        size_t size = take_output(c, out, sizeof out);
        if (wanted && cases[i / 2].in_plain) CHECK(size == sizeof answer - 1 && !memcmp(out, answer, size));
        else CHECK(size == 7 && out[0] == SSL3_RT_ALERT);
        tio_conn_free(c);
    }
    tio_context_release(ctx);
}

/* ---- what a server may ask of a client -------------------------------------------------------------------------- */

/* Each request costs a signature.  Data between them does not make them cheaper, and without data the tickets that follow each
 * answer are no idle messages. */
static void answer_requests(int with_data) {
    tio_context *ctx = client_context(TLS1_3_VERSION, &client_a);
    SSL_CTX *peer = plain_context(TLS1_3_VERSION, &server_a);
    SSL_CTX_set_verify(peer, SSL_VERIFY_PEER, NULL);
    plain p = plain_new(peer, 1, NULL);
    SSL_set_verify(p.ssl, SSL_VERIFY_NONE, NULL);
    tio_conn *c = tio_conn_new(ctx, TIO_CLIENT);
    plain_pump(&p, c);
    CHECK_INT(tio_conn_phase(c), TIO_OPEN);
    int answered = 0;
    for (; answered < 40 && tio_conn_phase(c) == TIO_OPEN; answered++) {
        char byte;
        SSL_set_verify(p.ssl, SSL_VERIFY_PEER, NULL);
        if (SSL_verify_client_post_handshake(p.ssl) != 1) break;
        SSL_do_handshake(p.ssl);
        if (with_data) SSL_write(p.ssl, "x", 1);
        plain_to(&p, c);
        tio_conn_take(c, &byte, 1);
        tio_conn_step(c);
        plain_from(&p, c);
        SSL_peek(p.ssl, &byte, 1);
        ERR_clear_error();
    }
    CHECK_INT(answered, 33);
    CHECK(c->fault && c->fault->limit == TIO_LIMIT_CERTIFICATE_REQUESTS);
    plain_free(&p);
    tio_conn_free(c);
    SSL_CTX_free(peer);
    tio_context_release(ctx);
}

static void a_client_answers_so_many_requests(void) {
    answer_requests(1);
    answer_requests(0);
}

void limits_tests(void) {
    RUN(drained_descriptors_are_bounded);
    RUN(a_gate_may_go_before_its_last_words);
    RUN(a_dead_listener_is_reported_once);
    RUN(a_copy_of_a_descriptor_does_not_wake_us);
    RUN(an_address_has_so_many_connections);
    RUN(the_table_of_addresses_counts);
    RUN(connections_beyond_those_of_an_address_are_dropped);
    RUN(bytes_before_tls_are_taken_off);
    RUN(a_preface_may_be_refused_or_never_come);
    RUN(http_is_answered_in_plain_text);
    RUN(a_client_answers_so_many_requests);
}
