/* pool.c - handshake threads under random acts, alone under ThreadSanitizer and AddressSanitizer: `make thread-sanitize`.
 *
 * A play has a server with up to three threads, random limits and questions, and clients that handshake, send, go silent, send
 * nonsense, or leave by FIN or reset at any byte.  Meanwhile contexts and ticket keys are exchanged, the threads are paused and run
 * again as around a fork, and the server stops listening and listens again.  At the end each connection must have been reported
 * once, and no count, descriptor or thread may be left.  `pool SEED` plays one again. */
#define _GNU_SOURCE
#include "world.h"
#include "reactor.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 10, ACTS = 250 };

static unsigned long long seed;
static tio_context *for_names[2];       /* what questions about hellos are answered with; NULL: the default */
static int broken_later;                /* failures of connections that were open */

static unsigned any(unsigned below) {
    seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(seed >> 33) % below;
}

static int threads(void) {
    DIR *d = opendir("/proc/self/task");
    int n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

static void listen_again(world *w) {
    CHECK_INT(tio_reactor_listen(w->r, &w->gate, listen_anywhere(&w->port)), 0);
    CHECK_INT(tio_reactor_start(w->r, &w->gate), 0);
}

static void make(world *w, tio_context *contexts[2], int version) {
    *w = (world){ .r = tio_reactor_new(), .tolerant = 1 };
    unsigned hello = any(3) ? 0 : TIO_WANT_HELLO | TIO_WANT_NAMELESS;
    unsigned others[] = { 0, 0, TIO_WANT_KEYS | TIO_WANT_OFFER, TIO_WANT_CLIENT, TIO_WANT_ACCEPTED };
    for (int i = 0; i < 2; i++) contexts[i] = server_context(version, i ? &server_b : &server_a, 0);
    tio_gate_init(&w->gate);
    tio_gate_set_default(&w->gate, contexts[0], atomic_load(&w->gate.wants));
    w->gate.ring = tio_ring_new();
    w->gate.threads = 1 + any(3);
    w->gate.keep_alive = -1;
    w->gate.max_handshakes = any(3) ? 0 : 1 + any(3);
    w->gate.max_per_peer = any(4) ? 0 : 5;
    w->gate.policy.handshake_ns = any(2) ? 20000000 : 10 * INT64_C(1000000000);
    atomic_store(&w->gate.max_connections, any(3) ? 0 : 3 + any(4));
    atomic_store(&w->gate.queues_beyond, (int)any(2));
    atomic_store(&w->gate.wants, hello | others[any(5)] | TIO_WANT_DROPPED);
    w->client_ctx = plain_context(version, NULL);
    listen_again(w);
}

/* A question about the hello is answered as a table of names does it: the handshake returns to a thread, and the gate may
 * answer the next ones. */
static void hear_one(world *w, tio_notice *n) {
    tio_conn *c = n->conn;
    if (c && n->what == TIO_NOTICE_QUESTION && c->question == TIO_ASK_HELLO && any(4)) {
        tio_context *context = for_names[any(2)];
        w->questions++;
        tio_answer_hello(c, context, NULL, 0);
        if (any(2)) tio_gate_remember(&w->gate, tio_conn_server_name(c), context, any(2) ? -1 : (int64_t)any(5000000));
        if (tio_reactor_return(w->r, c)) return;
    }
    int opened = w->opened - (c && c->owner), failed = w->failed;
    hear(w, n);
    broken_later += w->failed > failed && w->opened > opened;
}

static void one_turn(world *w, int patience) {
    struct pollfd p = { .fd = tio_reactor_fd(w->r), .events = POLLIN };
    tio_notice notice;
    if (!tio_reactor_is_busy(w->r)) poll(&p, 1, patience);
    tio_reactor_poll(w->r);
    tio_reactor_work(w->r);
    while (tio_reactor_next_notice(w->r, &notice)) hear_one(w, &notice);
}

static void some_of(visitor *v) {
    char *data, nonsense[] = "nonsense, and more of it";
    long size = BIO_get_mem_data(v->p.out, &data);
    if (size > 0 && send(v->fd, data, any((unsigned)size) + 1, MSG_NOSIGNAL) < 0) v->error = errno;
    else if (any(2) && send(v->fd, nonsense, 1 + any(sizeof nonsense), MSG_NOSIGNAL) < 0) v->error = errno;
    v->eof = 1;                         /* its stream is broken: it only leaves */
}

static void leave_by(visitor *v) {
    if (any(2)) setsockopt(v->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    leave(v);
}

static void client_act(world *w, visitor *v, int may_dial) {
    unsigned what = any(12);
    if (v->fd < 0) {
        if (!may_dial) return;
        *v = visit(w);
        SSL_do_handshake(v->p.ssl);
    } else if (what == 0 || v->eof || v->error) {
        leave_by(v);
    } else if (what == 1) {
        some_of(v);
    } else {
        act(v);
        if (SSL_is_init_finished(v->p.ssl) && what < 4) SSL_write(v->p.ssl, "hello", 5), hand_out(v);
        v->got = 0;
    }
}

static void server_act(world *w, tio_context *contexts[2], int *listening) {
    uint8_t key[TIO_TICKET_KEY] = { (uint8_t)any(256) };
    switch (any(40)) {
    case 0: tio_gate_set_default(&w->gate, contexts[any(2)], atomic_load(&w->gate.wants)); break;
    case 1: tio_ring_push(w->gate.ring, key); break;
    case 2:
        tio_threads_pause(w->r);
        if (any(2)) one_turn(w, 0);
        tio_threads_run(w->r);
        break;
    case 3:
        if (*listening) tio_reactor_unlisten(w->r, &w->gate);
        else listen_again(w);
        *listening = !*listening;
        break;
    case 4: atomic_store(&w->gate.wants, atomic_load(&w->gate.wants) ^ TIO_WANT_KEYS); break;
    case 5: tio_gate_forget(&w->gate); break;
    default: one_turn(w, (int)any(2));
    }
}

static void play(void) {
    world w;
    visitor clients[CLIENTS];
    tio_context *contexts[2];
    int before = descriptors(), threads_before = threads(), listening = 1;
    broken_later = 0;
    snprintf(note, sizeof note, "seed %llu", seed);
    make(&w, contexts, versions[any(2)]);
    for (int i = 0; i < 2; i++) for_names[i] = any(2) ? contexts[any(2)] : NULL;
    for (int i = 0; i < CLIENTS; i++) clients[i].fd = -1;
    for (int i = 0; i < ACTS; i++) {
        client_act(&w, &clients[any(CLIENTS)], listening);
        server_act(&w, contexts, &listening);
    }
    for (int i = 0; i < CLIENTS; i++)
        if (clients[i].fd >= 0) leave_by(&clients[i]);
    if (listening && any(2)) tio_reactor_unlisten(w.r, &w.gate), listening = 0;
    for (int i = 0; i < 20000 && (w.gate.open || tio_reactor_load(w.r) > 1); i++) one_turn(&w, 1);
    CHECK_INT(w.gate.open, 0);
    CHECK_INT(w.gate.handshaking, 0);
    CHECK_INT(w.gate.accepted, w.opened + w.failed - broken_later);
    if (listening) tio_reactor_unlisten(w.r, &w.gate);
    while (tio_reactor_has_notices(w.r)) one_turn(&w, 0);
    CHECK_INT(w.dropped, w.gate.dropped);
    tio_reactor_evict(w.r, &w.gate);
    CHECK_INT(w.gate.lingering, 0);
    CHECK_INT(w.gate.lingering_home, 0);
    tio_reactor_free(w.r, 0);
    tio_gate_free(&w.gate);
    SSL_CTX_free(w.client_ctx);
    for (int i = 0; i < 2; i++) tio_context_release(contexts[i]);
    CHECK_INT(descriptors(), before);
    CHECK_INT(threads(), threads_before);
}

/* The loop's thread is not served: the threads must not go on without bounds, and must end. */
static void a_loop_that_is_blocked(void) {
    world w;
    tio_context *contexts[2];
    visitor v[4];
    seed = 1;
    make(&w, contexts, TLS1_3_VERSION);
    tio_reactor_free(w.r, 0);           /* with threads that run */
    w.r = tio_reactor_new();
    listen_again(&w);
    for (int i = 0; i < 4; i++) v[i] = visit(&w), act(&v[i]);
    tio_reactor_free(w.r, 0);
    CHECK_INT(w.gate.open, 0);
    for (int i = 0; i < 4; i++) leave(&v[i]);
    tio_gate_free(&w.gate);
    SSL_CTX_free(w.client_ctx);
    for (int i = 0; i < 2; i++) tio_context_release(contexts[i]);
}

static int ask_nothing(tio_conn *c, const char *given, char *identity, uint8_t *key) {
    (void)c, (void)given, (void)identity, (void)key;
    return 0;
}

/* The queue is full, so a thread still has a connection that it must not handle when it is paused. */
static void a_pause_with_a_full_queue(void) {
    enum { QUEUE = 256 };
    int fds[QUEUE + 1], seen = 0, touched = 0;
    world w;
    tio_context *contexts[2];
    tio_notice n;
    seed = 1;
    make(&w, contexts, TLS1_3_VERSION);
    tio_reactor_unlisten(w.r, &w.gate);
    w.gate.threads = 1;
    w.gate.max_handshakes = w.gate.max_per_peer = 0;
    w.gate.policy.handshake_ns = 0;
    w.gate.policy.ask_psk = ask_nothing;
    atomic_store(&w.gate.max_connections, 0);
    atomic_store(&w.gate.wants, TIO_WANT_PSK | TIO_WANT_ACCEPTED);
    listen_again(&w);
    for (int i = 0; i <= QUEUE; i++) {
        fds[i] = dial(w.port);
        CHECK_INT(send(fds[i], "\x16", 1, MSG_NOSIGNAL), 1);
        while (atomic_load(&w.gate.accepted) <= (unsigned)i) poll(NULL, 0, 1);
    }
    tio_threads_pause(w.r);
    tio_threads_run(w.r);
    for (int i = 0; i < 1000 && seen <= QUEUE; i++) {
        struct pollfd p = { .fd = tio_reactor_fd(w.r), .events = POLLIN };
        poll(&p, 1, 100);
        tio_reactor_poll(w.r);
        tio_reactor_work(w.r);
        while (tio_reactor_next_notice(w.r, &n))
            if (n.what & TIO_NOTICE_ACCEPTED) seen++, touched += n.conn->ssl != NULL;
    }
    CHECK_INT(seen, QUEUE + 1);
    CHECK_INT(touched, 0);
    for (int i = 0; i <= QUEUE; i++) close(fds[i]);
    tio_reactor_free(w.r, 0);
    CHECK_INT(w.gate.open, 0);
    tio_gate_free(&w.gate);
    SSL_CTX_free(w.client_ctx);
    for (int i = 0; i < 2; i++) tio_context_release(contexts[i]);
}

int main(int count, char **arguments) {
    unsigned long long first = count > 1 ? strtoull(arguments[1], NULL, 10) : (unsigned long long)new_seed() << 20;
    unsigned plays = count > 1 ? 1 : getenv("PLAYS") ? (unsigned)atoi(getenv("PLAYS")) : 60;
    setvbuf(stdout, NULL, _IOLBF, 0);
    make_certificates();
    printf("pool: %u plays from seed %llu\n", plays, first);
    RUN(a_loop_that_is_blocked);
    RUN(a_pause_with_a_full_queue);
    for (unsigned i = 0; i < plays; i++) {
        seed = first + i;
        run_test("a play", play);
    }
    free_certificates();
    return finish();
}
