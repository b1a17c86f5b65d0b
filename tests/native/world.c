/* world.c - see world.h */
#define _GNU_SOURCE
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- a small server around the reactor, as a binding would be */


int listen_anywhere(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t size = sizeof a;
    bind(fd, (struct sockaddr *)&a, sizeof a);
    listen(fd, 128);
    getsockname(fd, (struct sockaddr *)&a, &size);
    *port = ntohs(a.sin_port);
    return fd;
}

void world_make(world *w, int version, unsigned wants) {
    *w = (world){ .r = tio_reactor_new() };
    tio_context *ctx = server_context(version, &server_a, 0);
    tio_gate_init(&w->gate);
    tio_gate_set_default(&w->gate, ctx, atomic_load(&w->gate.wants));
    tio_context_release(ctx);
    w->gate.ring = tio_ring_new();
    atomic_store(&w->gate.wants, wants);
    w->gate.no_delay = 1;
    w->gate.keep_alive = 60;
    w->client_ctx = plain_context(version, NULL);
    w->listener = listen_anywhere(&w->port);
    CHECK_INT(tio_reactor_listen(w->r, &w->gate, w->listener), 0);
    snprintf(note, sizeof note, "TLS 1.%d", version - TLS1_VERSION);
}

void world_free(world *w) {
    tio_reactor_evict(w->r, &w->gate);
    tio_reactor_unlisten(w->r, &w->gate);
    tio_reactor_free(w->r, 0);
    tio_gate_free(&w->gate);
    SSL_CTX_free(w->client_ctx);
}

void gone(world *w, tio_conn *c, int wait) {
    if (c->reactor) tio_reactor_drop(w->r, c, wait);
    if (w->last == c) w->last = NULL;
    tio_reactor_discard(c);
}

void serve(world *w, tio_conn *c) {
    static char text[TIO_RECORD];
    size_t n;
    if (w->deaf || c->phase != TIO_OPEN) tio_conn_step(c);
    else
        while ((n = tio_conn_take(c, text, sizeof text)) != 0) {
            w->got += n;
            size_t done = tio_conn_write(c, text, n);
            if (!w->tolerant) CHECK_INT(done, n);
        }
    if (c->in != TIO_IN_OPEN) tio_conn_end(c);
}

void look_after(world *w, tio_conn *c) {
    if (c->phase == TIO_BROKEN) {
        w->failed++;
        w->kind = c->fault ? c->fault->kind : TIO_FAULT_MEMORY;
        w->limit = c->fault ? c->fault->limit : TIO_NO_LIMIT;
        gone(w, c, 1);
        return;
    }
    tio_reactor_update(w->r, c);
    if (c->out == TIO_OUT_ENDED && c->in != TIO_IN_OPEN) gone(w, c, 1);
}

void hear(world *w, tio_notice *n) {
    tio_conn *c = n->conn;
    if (n->what & TIO_NOTICE_DROPPED) w->dropped++, close(n->fd);
    if (n->what & TIO_NOTICE_LISTENER) w->listener_errors++, w->error = n->error;
    if (!c) return;
    w->last = c;
    if (n->what & TIO_NOTICE_ACCEPTED) w->accepted++;
    if (n->what & TIO_NOTICE_TURN) w->turned++;
    if (n->what & TIO_NOTICE_OPENED) w->opened++, c->owner = w;
    if (n->what & TIO_NOTICE_QUESTION) {
        w->questions++;
        if (w->held) return;
        tio_answer_hello(c, NULL, NULL, 0);
        tio_answer_client(c);
        tio_reactor_resume(w->r, c);
        if (c->phase == TIO_OPEN) w->opened++, c->owner = w;
    }
    if (c->phase == TIO_OPEN || c->phase == TIO_CLOSING) {
        c->reading = !w->deaf;
        serve(w, c);
    }
    look_after(w, c);
}

int is_awake(const world *w) {
    struct pollfd p = { .fd = tio_reactor_fd(w->r), .events = POLLIN };
    return poll(&p, 1, 0) > 0 || tio_reactor_is_busy(w->r);
}

void turn(world *w) {
    struct pollfd p = { .fd = tio_reactor_fd(w->r), .events = POLLIN };
    tio_notice notice;
    if (!tio_reactor_is_busy(w->r)) poll(&p, 1, 1);
    pause_failure(0);
    tio_reactor_poll(w->r);
    tio_reactor_work(w->r);
    while (tio_reactor_next_notice(w->r, &notice)) hear(w, &notice);
    pause_failure(1);
}

void turns(world *w, int n) {
    while (n--) turn(w);
}

/* Quiet: nothing to do, and none of many looks finds something. */
int settles(world *w) {
    int busy = 0;
    turns(w, 5);
    for (int i = 0; i < 20; i++) {
        if (!is_awake(w)) continue;
        busy++;
        turn(w);
    }
    return busy <= 2;
}

/* ---- a client on a descriptor of its own */


int dial(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    if (connect(fd, (struct sockaddr *)&a, sizeof a)) {
        close(fd);
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return fd;
}

visitor visit(const world *w) { return (visitor){ .p = plain_new(w->client_ctx, 0, NULL), .fd = dial(w->port) }; }

void leave(visitor *v) {
    plain_free(&v->p);
    if (v->fd >= 0) close(v->fd);
    v->fd = -1;
}

void hand_out(visitor *v) {
    char *data;
    long size = BIO_get_mem_data(v->p.out, &data);
    if (size <= 0) return;
    ssize_t n = send(v->fd, data, (size_t)size, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN) v->error = errno;
    if (n <= 0) return;
    static char sink[65536];
    for (ssize_t left = n; left > 0;) left -= BIO_read(v->p.out, sink, (int)(left < (long)sizeof sink ? left : (long)sizeof sink));
}

void take_in(visitor *v) {
    char wire[8192];
    ssize_t n;
    while ((n = recv(v->fd, wire, sizeof wire, 0)) > 0) BIO_write(v->p.in, wire, (int)n);
    if (n == 0) v->eof = 1;
    else if (errno != EAGAIN) v->error = errno;
}

void act(visitor *v) {
    int n;
    take_in(v);
    if (SSL_do_handshake(v->p.ssl) == 1)
        while ((n = SSL_read(v->p.ssl, v->text + v->got, (int)(sizeof v->text - v->got))) > 0) v->got += (size_t)n;
    hand_out(v);
    ERR_clear_error();
}

void both(world *w, visitor *v, int rounds) {
    while (rounds--) {
        act(v);
        turn(w);
    }
}

visitor opened(world *w) {
    visitor v = visit(w);
    int before = w->opened;
    for (int i = 0; i < 300 && (w->opened == before || !SSL_is_init_finished(v.p.ssl)); i++) both(w, &v, 1);
    CHECK_INT(w->opened, before + 1);
    both(w, &v, 2);
    return v;
}

int descriptors(void) {
    DIR *d = opendir("/proc/self/fd");
    int n = 0;
    while (readdir(d)) n++;
    closedir(d);
    return n;
}

size_t unsent_of(const tio_conn *c) { return c->wire.out_end - c->wire.out_start; }
