/* reactor.c - epoll for many connections: accept, handshake, send, deadlines, in batches.
 *
 * Theory of operation. The binding's event loop watches the reactor's epoll descriptor. When it is
 * readable the binding calls tio_reactor_poll() (fetch the events), tio_reactor_work() (accept,
 * handshake, send, time out: everything that needs no interpreter) and then
 * tio_reactor_next_notice() until there are none. The reactor does not read plaintext, except to
 * discard it.
 *
 * tio_conn_next() alone decides what a connection needs. TURN puts it into the ready list, because
 * the kernel sends no event for work that needs no input. ROOM and INPUT are left to epoll.
 *
 * Input is watched level-triggered. If a connection does not want input (a question is open, or
 * there is plaintext and the caller does not read), its first useless event pauses it: from then on
 * EPOLLRDHUP|EPOLLET reports only a hang-up. Without the pause, epoll would report the unread input
 * 900,000 times a second. EPOLLHUP and EPOLLERR are reported whatever the mask is, so a descriptor
 * in that state is removed from the set.
 *
 * A descriptor is removed by EPOLL_CTL_DEL before it is closed: a child forked by C code may hold a
 * copy of it, and the kernel keeps a registration while any copy is open.
 *
 * Every loop over handshakes, ready connections or deadlines stops when the turn's time is used up,
 * the one over events after TIO_EVENTS; the next turn continues.
 *
 * Handles: an epoll event carries slot number and generation, so events of released descriptors are
 * recognised and ignored. */
#define _GNU_SOURCE                     /* for accept4 */
#include "reactor.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAX_ACCEPTS = 64,                       /* connections accepted per listener and turn */
    MAX_ACCEPTS_OF_THREAD = 1,              /* the next one may be for a thread that is idle */
    TIMER = UINT32_MAX,                 /* slot number of the timer's events */
    PAUSED = EPOLLRDHUP | EPOLLET
};
static const int64_t second = 1000000000;
/* The longest turn: open connections and the other tasks of the event loop wait this long, and for
 * the handshake that is under way. With 2, 1 and 0.6 ms the 99th percentile of their echoes among
 * handshakes was 4, 2.3 and 1.7 ms, at the same CPU time (bench/storm.py). */
static const int64_t max_turn_ns = 600000;
/* The first pause of a listener when descriptors run out (EMFILE); each failure doubles it. */
static const int64_t first_pause_ns = second / 10;
static const int64_t max_pause_ns = 3200000000;

/* ---- creating, freeing ----------------------------------------------------------------------- */

tio_reactor *tio_reactor_new(void) {
    tio_reactor *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TIMER };
    r->ready.which = TIO_READY;
    r->notices.which = TIO_NOTICES;
    r->now = tio_clock();
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (tio_deadlines_init(&r->deadlines) || r->epoll < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->deadlines.timer, &ev)) {
        int error = errno;
        tio_reactor_free(r, 0);
        errno = error;
        return NULL;
    }
    return r;
}

static void detach(tio_reactor *r, tio_conn *c);
static void hang_up(const tio_reactor *r, int fd);

void tio_reactor_free(tio_reactor *r, int forked) {
    if (!r) return;
    r->forked = forked;
    while (r->pools) tio_pool_free(r->pools);
    /* Listeners first: closing a connection would wake them with epoll_ctl. */
    for (uint32_t i = 0; i < r->size; i++)
        if (r->table[i]->kind == TIO_LISTENER) tio_slot_close(r, r->table[i]);
    for (uint32_t i = 0; i < r->size; i++) {
        tio_slot *s = r->table[i];
        tio_conn *c = s->conn;
        if (s->kind == TIO_LINGER) tio_linger_end(r, s);
        if (!c) continue;
        int fd = s->fd;
        tio_list_remove(&r->notices, s);
        s->notices = 0;
        detach(r, c);
        if (fd >= 0) hang_up(r, fd);
        if (c->gate && !c->owner) tio_conn_free(c);
    }
    tio_notices_free(r);
    for (uint32_t i = 0; i < r->size; i++) free(r->table[i]);
    tio_deadlines_free(&r->deadlines);
    if (r->epoll >= 0) close(r->epoll);
    free(r->table);
    free(r);
}

int tio_reactor_fd(const tio_reactor *r) { return r->epoll; }
int tio_reactor_is_busy(const tio_reactor *r) { return r->ready.first || tio_reactor_has_notices(r); }
size_t tio_reactor_load(const tio_reactor *r) { return r->load + r->dropped_count; }

size_t tio_reactor_owners(const tio_reactor *r, void **owners) {
    size_t count = 0;
    for (uint32_t i = 0; i < r->size; i++)
        if (r->table[i]->conn && r->table[i]->conn->owner) owners[count++] = r->table[i]->conn->owner;
    return count;
}

/* ---- slots ----------------------------------------------------------------------------------- */

tio_slot *tio_slot_new(tio_reactor *r, tio_kind kind, int fd) {
    tio_slot *s = r->free;
    if (s) {
        r->free = s->next_free;
    } else {
        if (r->size == r->room) {
            uint32_t room = r->room ? r->room * 2 : 64;
            tio_slot **table = realloc(r->table, room * sizeof *table);
            if (!table) return NULL;
            r->table = table;
            r->room = room;
        }
        if (!(s = calloc(1, sizeof *s))) return NULL;
        s->number = r->size;
        r->table[r->size++] = s;
    }
    s->kind = kind;
    s->fd = fd;
    r->load++;
    return s;
}

void tio_slot_free(tio_reactor *r, tio_slot *s) {
    tio_deadline_clear(s);
    tio_list_remove(&r->ready, s);
    tio_list_remove(&r->notices, s);
    free(s->out);
    *s = (tio_slot){ .kind = TIO_FREE, .fd = -1, .number = s->number, .generation = s->generation + 1, .next_free = r->free };
    r->free = s;
    r->load--;
}

/* shutdown() ends the connection even if a child forked by C code holds a copy of the descriptor.
 * In our own forked child, only close its copy. */
static void hang_up(const tio_reactor *r, int fd) {
    if (!r->forked) shutdown(fd, SHUT_RDWR);
    close(fd);
}

void tio_slot_close(tio_reactor *r, tio_slot *s) {
    if (s->mask && !r->forked) tio_slot_watch(r, s, 0);
    if (s->kind == TIO_LISTENER) close(s->fd);          /* other processes may accept on it */
    else hang_up(r, s->fd);
    tio_slot_free(r, s);
}

tio_slot *tio_slot_of(const tio_reactor *r, uint64_t handle) {
    uint32_t number = (uint32_t)handle;
    tio_slot *s = number < r->size ? r->table[number] : NULL;
    return s && s->kind != TIO_FREE && s->generation == handle >> 32 ? s : NULL;
}

int tio_slot_watch(tio_reactor *r, tio_slot *s, uint32_t mask) {
    struct epoll_event ev = { .events = mask, .data.u64 = tio_handle(s) };
    int op = !mask ? EPOLL_CTL_DEL : s->mask ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (mask == s->mask) return 0;
    if (epoll_ctl(r->epoll, op, s->fd, &ev)) return -1;
    s->mask = mask;
    return 0;
}

/* ---- releasing a connection ------------------------------------------------------------------ */

static void wake_listeners(tio_reactor *r, const tio_gate *g);

/* There is room again for a connection, or a handshake. */
static void made_room(tio_reactor *r, tio_gate *g) {
    if (r->forked) return;
    wake_listeners(r, g);
    if (g->pool) tio_pool_wake(g->pool, r);
}

static void uncount_handshake(tio_reactor *r, tio_gate *g) {
    if (atomic_fetch_sub(&g->handshaking, 1) == g->max_handshakes && g->max_handshakes) made_room(r, g);
}

/* open: connections that the gate counts */
static int is_full(const tio_gate *g, unsigned open) {
    unsigned max = atomic_load(&g->max_connections);
    return max && open + atomic_load(&g->upgraded) >= max;
}

void tio_reactor_uncount(tio_reactor *r, tio_conn *c) {
    tio_gate *g = c->gate;
    if (!g || !c->counted) return;
    if (c->counted == 1) uncount_handshake(r, g);
    if (c->counted_peer) tio_gate_leave_peer(g, &c->peer);
    int was_full = is_full(g, atomic_fetch_sub(&g->open, 1));
    if (was_full && atomic_load(&g->queues_beyond)) made_room(r, g);
    atomic_fetch_add(&g->bytes_in, c->bytes_read);
    atomic_fetch_add(&g->bytes_out, c->bytes_written);
    c->counted = c->counted_peer = 0;
}

/* Remove the connection from the reactor. The caller takes over the descriptor. While a notice
 * about the connection is queued, it keeps its slot, so that the notice still finds it. */
static void detach(tio_reactor *r, tio_conn *c) {
    tio_slot *s = r->table[c->slot];
    tio_wire_settle(c);
    tio_wire_keep_output(c);
    /* A thread's connection counts until its end is reported, so that a server which has closed has
     * reported everything. */
    if (!r->pool) tio_reactor_uncount(r, c);
    c->wire.fd = -1;
    c->wire.buffers = NULL;
    tio_move_phase(c, TIO_CLOSED);      /* fails if it is BROKEN, which is final too */
    tio_deadline_clear(s);
    tio_list_remove(&r->ready, s);
    s->fd = -1;
    s->mask = 0;
    if (s->notices) {
        s->kind = TIO_GONE;
        return;
    }
    c->reactor = NULL;
    tio_slot_free(r, s);
}

void tio_reactor_drop(tio_reactor *r, tio_conn *c, int wait) {
    if (c->reactor != r || c->wire.fd < 0) return;      /* already released */
    tio_wire *w = &c->wire;
    tio_slot *s = r->table[c->slot], *linger = NULL;
    tio_gate *g = c->gate;
    int fd = w->fd;
    /* The peer's close_notify or FIN was read: it sends nothing more, so no RST can follow. */
    int peer_done = c->in == TIO_IN_ENDED || w->eof, ended = c->out == TIO_OUT_ENDED;
    if (wait && !w->out_error) tio_conn_flush(c);
    size_t unsent = c->question == TIO_NO_QUESTION ? tio_wire_unsent(w) : 0;
    /* Draining overwrites the buffer, so its borrower must copy the input first. */
    if (r->buffers.borrower) tio_wire_settle(r->buffers.borrower);
    tio_wire_keep_output(c);
    if (s->mask && !r->forked) tio_slot_watch(r, s, 0);
    if (wait && !w->error && !w->out_error && (!peer_done || unsent)) linger = tio_slot_new(r, TIO_LINGER, fd);
    if (linger && unsent) {
        linger->out = w->out;
        linger->out_start = w->out_start;
        linger->out_end = w->out_end;
        w->out = NULL;
        w->out_start = w->out_end = w->out_room = 0;
    }
    if (c->phase == TIO_BROKEN) c->unacknowledged = tio_conn_unacknowledged(c);
    detach(r, c);
    if (linger) tio_linger_begin(r, linger, g);
    else if (ended) close(fd);
    else hang_up(r, fd);
}

void tio_reactor_discard(tio_conn *c) {
    if (!c) return;
    tio_reactor *r = c->reactor;
    if (r) {
        tio_reactor_drop(r, c, 0);
        tio_reactor_uncount(r, c);
        if (c->reactor) tio_slot_free(r, r->table[c->slot]);    /* removes the queued notice */
    }
    tio_conn_free(c);
}

/* ---- events to watch for --------------------------------------------------------------------- */

static void update_interest(tio_reactor *r, tio_slot *s) {
    tio_conn *c = s->conn;
    unsigned next = tio_conn_next(c);
    uint32_t mask = EPOLLIN;
    if (next & TIO_NEXT_INPUT && c->read_paused) {
        c->read_paused = 0;
        next = tio_conn_next(c);
    }
    /* If the input has ended, level-triggered epoll would report it without end. */
    if (c->read_paused) mask = s->mask ? (c->in == TIO_IN_OPEN ? PAUSED : EPOLLET) : 0;
    if (next & TIO_NEXT_ROOM) mask |= EPOLLOUT;
    if (next & TIO_NEXT_TURN) tio_list_append(&r->ready, s);
    if (tio_slot_watch(r, s, mask)) tio_conn_break(c, TIO_FAULT_OS, TIO_NO_LIMIT, errno);
}

/* Pause after an event that the connection cannot use now. */
static void pause_reading(tio_reactor *r, tio_slot *s, uint32_t events) {
    s->conn->read_paused = 1;
    /* epoll reports these two whatever the mask is, so the descriptor must leave the set. */
    if (events & (EPOLLHUP | EPOLLERR)) tio_slot_watch(r, s, 0);
    else update_interest(r, s);
}

static void update_deadline(tio_reactor *r, tio_slot *s) {
    tio_conn *c = s->conn;
    int64_t due = tio_conn_deadline(c);
    if (due == s->due || tio_conn_is_handshake(c)) return;
    if (due) tio_deadline_set_at(&r->deadlines, s, due, due == c->partial_due ? c->policy.partial_ns : c->policy.handshake_ns);
    else tio_deadline_clear(s);
}

void tio_reactor_update(tio_reactor *r, tio_conn *c) {
    if (c->reactor != r || c->wire.fd < 0) return;
    tio_slot *s = r->table[c->slot];
    tio_conn_turn(c);
    update_deadline(r, s);
    update_interest(r, s);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void prepare_socket(const tio_gate *g, int fd) {
    int one = 1;
    /* On a Unix socket this fails, which does no harm. */
    if (g->no_delay) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (g->keep_alive < 0) return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (g->keep_alive) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &g->keep_alive, sizeof g->keep_alive);
}

static void drop_accepted(tio_reactor *r, tio_slot *listener, int fd) {
    tio_gate *g = listener->gate;
    atomic_fetch_add(&g->dropped, 1);
    if (!(atomic_load(&g->wants) & TIO_WANT_DROPPED) || tio_notify_dropped(r, g, fd)) close(fd);
}

static void admit(tio_reactor *r, tio_slot *listener, int fd, const struct sockaddr_in6 *peer) {
    tio_gate *g = listener->gate;
    int has_address = peer->sin6_family == AF_INET || peer->sin6_family == AF_INET6;
    int counted_peer = g->max_per_peer && has_address;
    if (counted_peer && !tio_gate_enter_peer(g, peer)) {
        drop_accepted(r, listener, fd);
        return;
    }
    uint16_t wants;
    tio_context *context = tio_gate_context(g, &wants);
    tio_conn *c = tio_conn_new(context, TIO_SERVER);
    tio_context_release(context);
    if (!c || tio_reactor_add(r, c, fd)) {
        if (counted_peer) tio_gate_leave_peer(g, peer);
        if (!c) close(fd);
        tio_conn_free(c);
        return;
    }
    prepare_socket(g, fd);
    socklen_t size = sizeof c->local;
    c->peer = *peer;
    if (getsockname(fd, (struct sockaddr *)&c->local, &size)) c->local.sin6_family = AF_UNSPEC;
    c->gate = g;
    c->policy = g->policy;
    c->policy.wants = wants;
    c->counted = 1;
    c->counted_peer = (uint8_t)counted_peer;
    atomic_fetch_add(&g->open, 1);
    atomic_fetch_add(&g->handshaking, 1);
    atomic_fetch_add(&g->accepted, 1);
    if (c->policy.handshake_ns) tio_deadline_set(&r->deadlines, r->table[c->slot], c->policy.handshake_ns);
    if (c->policy.wants & TIO_WANT_ACCEPTED || (r->pool && tio_needs_loop(c))) tio_notify(r, r->table[c->slot], TIO_NOTICE_ACCEPTED);
}

/* A paused listener leaves the epoll set, because a listener that was shut down is always readable.
 * ns: the length of the pause; 0: permanently. */
static void pause_listener(tio_reactor *r, tio_slot *s, int64_t ns) {
    tio_slot_watch(r, s, 0);
    if (ns) tio_deadline_set(&r->deadlines, s, ns);
}

/* A lack of descriptors or memory may pass: pause and retry. Any other error ends the listener, and
 * is reported once. */
static void accept_failed(tio_reactor *r, tio_slot *s, int error) {
    int is_temporary = error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
    int64_t ns = !is_temporary ? 0 : s->pause_ns ? s->pause_ns : first_pause_ns;
    s->pause_ns = ns * 2 < max_pause_ns ? ns * 2 : max_pause_ns;
    s->error = error;
    tio_notify(r, s, TIO_NOTICE_LISTENER);
    pause_listener(r, s, ns);
}

/* Descriptors are short, and this thread has none that linger. Another one may: it wakes the
 * listener when it has closed them. Otherwise the next failure is reported. */
static int asks_others(tio_reactor *r, tio_slot *s) {
    s->asked = (r->pool || r->pools) && !s->asked;
    if (!s->asked) return 0;
    tio_threads_ask(r);
    pause_listener(r, s, first_pause_ns);
    return 1;
}

static void accept_some(tio_reactor *r, tio_slot *s) {
    tio_gate *g = s->gate;
    for (int i = 0; i < (r->pool ? MAX_ACCEPTS_OF_THREAD : MAX_ACCEPTS); i++) {
        if (!tio_may_drop(r)) return;   /* it is readable again in the next turn */
        int full = is_full(g, atomic_load(&g->open));
        if ((g->max_handshakes && atomic_load(&g->handshaking) >= g->max_handshakes) || (full && atomic_load(&g->queues_beyond))) {
            pause_listener(r, s, first_pause_ns);     /* connections wait in the kernel's queue */
            return;
        }
        struct sockaddr_in6 peer = { .sin6_family = AF_UNSPEC };
        socklen_t size = sizeof peer;
        int fd = accept4(s->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        int error = fd < 0 ? errno : 0;
        if (error == EMFILE || error == ENFILE) {
            if (tio_linger_end_oldest(r, MAX_ACCEPTS)) continue;
            if (asks_others(r, s)) return;
        }
        if (fd < 0) {
            if (error == EINTR || error == ECONNABORTED) continue;
            if (error != EAGAIN) accept_failed(r, s, error);
            return;
        }
        s->pause_ns = s->asked = 0;
        if (full) drop_accepted(r, s, fd);
        else admit(r, s, fd, &peer);
    }
}

/* EPOLLEXCLUSIVE: one of the waiting threads is woken, not all. */
static int watch_listener(tio_reactor *r, tio_slot *s) { return tio_slot_watch(r, s, r->pool ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN); }

static void wake_listener(tio_reactor *r, tio_slot *s) {
    tio_deadline_clear(s);
    if (watch_listener(r, s)) pause_listener(r, s, first_pause_ns);
}

/* Paused listeners have a deadline of first_pause_ns, or one in the base list, so only these two
 * lists are searched. */
static void wake_listeners(tio_reactor *r, const tio_gate *g) {
    for (tio_span *p = &r->deadlines.base; p; p = p->next) {
        if (p->ns != first_pause_ns && p != &r->deadlines.base) continue;
        for (tio_slot *s = p->slots.first, *next; s; s = next) {
            next = s->links[TIO_DEADLINE].after;
            if (s->kind == TIO_LISTENER && s->gate == g) wake_listener(r, s);
        }
    }
}

static void discard_of(tio_reactor *r, tio_gate *g, uint32_t except) {
    for (uint32_t i = 0; i < r->size; i++) {
        tio_conn *c = r->table[i]->conn;
        if (c && c->gate == g && !c->owner && !(r->table[i]->notices & except)) tio_reactor_discard(c);
    }
    tio_linger_forget(r, g);
}

void tio_reactor_end(tio_reactor *r, tio_gate *g) { discard_of(r, g, TIO_NOTICE_FAILED); }

void tio_reactor_evict(tio_reactor *r, tio_gate *g) {
    discard_of(r, g, 0);
    tio_dropped_forget(r, g);
}

int tio_reactor_accept_on(tio_reactor *r, tio_gate *g, int fd) {
    tio_slot *s = tio_slot_new(r, TIO_LISTENER, fd);
    if (!s) {
        close(fd);
        return -1;
    }
    s->gate = g;
    if (!watch_listener(r, s)) return 0;
    int error = errno;
    tio_slot_close(r, s);
    errno = error;
    return -1;
}

int tio_reactor_listen(tio_reactor *r, tio_gate *g, int fd) {
    return g->threads ? tio_pool_listen(r, g, fd) : tio_reactor_accept_on(r, g, fd);
}

int tio_reactor_start(tio_reactor *r, tio_gate *g) {
    (void)r;
    return g->pool ? tio_pool_run(g->pool) : 0;
}

void tio_reactor_unlisten(tio_reactor *r, tio_gate *g) {
    if (g->pool) tio_pool_stop(g->pool, 0);
    for (uint32_t i = 0; i < r->size; i++)
        if (r->table[i]->kind == TIO_LISTENER && r->table[i]->gate == g) tio_slot_close(r, r->table[i]);
}

int tio_reactor_add(tio_reactor *r, tio_conn *c, int fd) {
    tio_slot *s = tio_slot_new(r, TIO_CONNECTION, fd);
    if (!s) {
        close(fd);
        return -1;
    }
    s->conn = c;
    c->slot = s->number;
    c->reactor = r;
    c->wire.fd = fd;
    c->wire.buffers = &r->buffers;
    if (!tio_slot_watch(r, s, EPOLLIN)) return 0;
    int error = errno;
    detach(r, c);
    close(fd);
    errno = error;
    return -1;
}

/* ---- passing a connection to another reactor ------------------------------------------------- */

void tio_reactor_give(tio_reactor *r, tio_conn *c) {
    tio_slot *s = r->table[c->slot];
    tio_wire_settle(c);
    tio_wire_keep_output(c);
    if (s->mask) tio_slot_watch(r, s, 0);
    c->parcel = (tio_parcel){ .conn = c, .notices = s->notices, .fd = -1, .due = s->due };
    c->wire.buffers = NULL;
    c->reactor = NULL;
    tio_slot_free(r, s);
}

void tio_reactor_lose(tio_reactor *r, tio_conn *c) {
    tio_reactor_uncount(r, c);
    if (c->wire.fd >= 0) hang_up(r, c->wire.fd);
    c->wire.fd = -1;
    tio_conn_free(c);
}

static void report_failure(tio_reactor *r, tio_conn *c);

void tio_reactor_put(tio_reactor *r, tio_conn *c) {
    int is_gone = c->wire.fd < 0;
    tio_slot *s = tio_slot_new(r, is_gone ? TIO_GONE : TIO_CONNECTION, c->wire.fd);
    if (!s) {
        tio_reactor_lose(r, c);
        return;
    }
    s->conn = c;
    c->slot = s->number;
    c->reactor = r;
    if (c->parcel.notices) tio_notify(r, s, c->parcel.notices);
    if (is_gone) return;
    c->wire.buffers = &r->buffers;
    c->read_paused = 0;
    if (c->parcel.due) tio_deadline_set_at(&r->deadlines, s, c->parcel.due, c->policy.handshake_ns);
    /* Before the first byte there is nothing to do, and no SSL. */
    if (c->phase != TIO_IDLE) tio_reactor_update(r, c);
    else if (tio_slot_watch(r, s, EPOLLIN)) tio_conn_break(c, TIO_FAULT_OS, TIO_NO_LIMIT, errno);
    /* It comes back after an answer, which no event announces. */
    if (c->phase == TIO_HANDSHAKING && c->question == TIO_NO_QUESTION) tio_list_append(&r->ready, s);
    if (c->phase == TIO_BROKEN) report_failure(r, c);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

static void report_failure(tio_reactor *r, tio_conn *c) {
    if (c->reactor != r || c->wire.fd < 0) return;
    tio_notify(r, r->table[c->slot], TIO_NOTICE_FAILED);
    tio_reactor_drop(r, c, 1);
}

static void handshake_completed(tio_reactor *r, tio_conn *c) {
    tio_deadline_clear(r->table[c->slot]);
    if (!c->gate || c->counted != 1) return;
    c->counted = 2;
    uncount_handshake(r, c->gate);
}

void tio_reactor_resume(tio_reactor *r, tio_conn *c) {
    int was_handshake = tio_conn_is_handshake(c);
    tio_conn_step(c);
    if (c->reactor != r || c->wire.fd < 0) return;
    if (c->phase == TIO_OPEN && was_handshake) handshake_completed(r, c);
    if (c->phase != TIO_BROKEN) tio_reactor_update(r, c);
}

/* One step that needs no interpreter, and the notice about its result. */
static void step(tio_reactor *r, tio_slot *s) {
    tio_conn *c = s->conn;
    uint8_t question = c->question, was_handshake = (uint8_t)tio_conn_is_handshake(c);
    tio_reactor_resume(r, c);
    if (c->question == TIO_ASK_HELLO && tio_gate_answer(c, r->pool != NULL)) tio_reactor_resume(r, c);
    if (c->phase == TIO_BROKEN) report_failure(r, c);
    else if (was_handshake && c->phase == TIO_OPEN) tio_notify(r, s, TIO_NOTICE_OPENED);
    else if (c->question != question && c->question != TIO_NO_QUESTION) tio_notify(r, s, TIO_NOTICE_QUESTION);
    else if (!was_handshake && (c->in != TIO_IN_OPEN || c->rehandshake_done || c->has_news)) tio_notify(r, s, TIO_NOTICE_TURN);
}

/* An open connection: if the binding reads, it gets a notice and takes the plaintext; otherwise the
 * step is done here. If it has plaintext to write, it gets a notice too. */
static void serve(tio_reactor *r, tio_slot *s) {
    tio_conn *c = s->conn;
    if (c->phase == TIO_OPEN && c->reading) {
        tio_notify(r, s, TIO_NOTICE_TURN);
        return;
    }
    step(r, s);
    if (s->conn == c && c->writing && (tio_conn_next(c) & TIO_NEXT_TURN)) tio_notify(r, s, TIO_NOTICE_TURN);
}

static void break_hung_up(tio_reactor *r, tio_conn *c) {
    int error = tio_wire_socket_error(&c->wire);
    c->wire.error = error;
    tio_conn_break(c, error ? TIO_FAULT_OS : TIO_FAULT_HANGUP, TIO_NO_LIMIT, error);
    report_failure(r, c);
}

/* During the question about a client, the client may end its direction once it has sent its
 * Finished: what it sent before is still valid. */
static int is_hang_up(const tio_conn *c, uint32_t events) {
    return (events & EPOLLERR) || ((events & (EPOLLRDHUP | EPOLLHUP)) && !c->peer_finished);
}

/* Return 1 if the connection is in a handshake and must be stepped. */
static int connection_event(tio_reactor *r, tio_slot *s, uint32_t events) {
    tio_conn *c = s->conn;
    uint32_t input = events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (input) tio_conn_input_came(c);
    if (tio_conn_is_handshake(c) && c->question != TIO_NO_QUESTION) {
        if (is_hang_up(c, events)) break_hung_up(r, c);
        else pause_reading(r, s, events);
        if (c->phase == TIO_BROKEN) report_failure(r, c);       /* epoll_ctl() failed */
        return 0;
    }
    if (tio_conn_is_handshake(c)) return 1;
    if (events & EPOLLOUT) {
        /* all is sent, or sending failed */
        if (tio_conn_flush(c) != 0) tio_notify(r, s, TIO_NOTICE_TURN);
        tio_reactor_update(r, c);
    }
    if (input && c->phase != TIO_BROKEN) {
        if (events & EPOLLERR) tio_conn_look_for_reset(c);
        if (c->wire.out_error) tio_notify(r, s, TIO_NOTICE_TURN);       /* a paused reader would not find it */
        if (tio_conn_next(c) & (TIO_NEXT_INPUT | TIO_NEXT_TURN)) serve(r, s);
        else pause_reading(r, s, events);
    }
    if (s->conn == c && c->phase == TIO_BROKEN) report_failure(r, c);
    return 0;
}

static void deadline_passed(tio_reactor *r, tio_slot *s) {
    tio_conn *c = s->conn;
    tio_deadline_clear(s);
    if (s->kind == TIO_LISTENER) {
        wake_listener(r, s);
    } else if (s->kind == TIO_LINGER) {
        tio_linger_end(r, s);
    } else {
        tio_conn_expire(c);
        if (c->phase == TIO_BROKEN) report_failure(r, c);
        else update_deadline(r, s);
    }
}

static int is_over_time(const tio_reactor *r) { return tio_clock() - r->now > max_turn_ns; }

static void check_deadlines(tio_reactor *r) {
    tio_slot *s;
    for (int i = 1; (s = tio_deadlines_due(&r->deadlines, r->now)) != NULL; i++) {
        deadline_passed(r, s);
        if (i % 16 == 0 && is_over_time(r)) break;      /* the timer fires again at once */
    }
    tio_deadlines_rearm(&r->deadlines);
}

static int may_do_handshake(const tio_slot *s) {
    return s && (s->kind == TIO_LISTENER || (s->kind == TIO_CONNECTION && tio_conn_is_handshake(s->conn)));
}

static void fetch_events(tio_reactor *r, int timeout) {
    do r->event_count = epoll_wait(r->epoll, r->events, TIO_EVENTS, timeout);
    while (r->event_count < 0 && errno == EINTR);
    r->now = tio_clock();
}

void tio_reactor_wait(tio_reactor *r) { fetch_events(r, tio_reactor_is_busy(r) ? 0 : -1); }

int tio_reactor_poll(tio_reactor *r) {
    int handshakes = 0;
    fetch_events(r, 0);
    for (int i = 0; i < r->event_count; i++) handshakes += may_do_handshake(tio_slot_of(r, r->events[i].data.u64));
    tio_slot *s = r->ready.first;
    for (int i = 0; s && i < TIO_EVENTS; i++, s = s->links[TIO_READY].after) handshakes += may_do_handshake(s);
    return handshakes;
}

/* Stop at the slot that was last when the loop began: slots added during it wait for the next turn,
 * as do those that exceed the time. */
static void run_ready(tio_reactor *r) {
    tio_slot *last = r->ready.last, *s;
    while ((s = r->ready.first) != NULL) {
        tio_list_remove(&r->ready, s);
        if (tio_conn_is_handshake(s->conn)) step(r, s);
        else if (tio_conn_next(s->conn) & TIO_NEXT_TURN) serve(r, s);
        if (s == last || is_over_time(r)) return;
    }
}

/* Also rung by tio_pool_wake(), for the listeners. */
static void open_inbox(tio_reactor *r, tio_slot *s) {
    tio_gate *g = s->gate;
    tio_inbox_drain(r, s);
    if (r->pool) wake_listeners(r, g);
}

static void accept_by(tio_reactor *r, tio_slot *s) {
    tio_gate *g = s->gate;
    if (r->pool) pthread_mutex_lock(&g->accepting);
    accept_some(r, s);
    if (r->pool) pthread_mutex_unlock(&g->accepting);
}

/* Open connections come first. Handshakes get the rest of the turn; epoll reports the remaining
 * ones again in the next turn. */
void tio_reactor_work(tio_reactor *r) {
    int timer = 0, waiting = 0;
    /* Draining overwrites the buffer, so its borrower must copy the input first. */
    if (r->buffers.borrower) tio_wire_settle(r->buffers.borrower);
    if (r->event_count < 0) return;
    for (int i = 0; i < r->event_count; i++) {
        struct epoll_event *ev = &r->events[i];
        tio_slot *s = tio_slot_of(r, ev->data.u64);
        if (ev->data.u64 == TIMER) timer = 1;
        else if (s && s->kind == TIO_LINGER) tio_linger_step(r, s);
        else if (s && s->kind == TIO_CONNECTION && connection_event(r, s, ev->events)) r->events[waiting++] = *ev;
        else if (s && (s->kind == TIO_LISTENER || s->kind == TIO_INBOX)) r->events[waiting++] = *ev;
    }
    run_ready(r);
    /* Process at least one per turn, or handshakes might never progress. */
    for (int i = 0; i < waiting && (!i || !is_over_time(r)); i++) {
        tio_slot *s = tio_slot_of(r, r->events[i].data.u64);
        if (s && s->kind == TIO_LISTENER) accept_by(r, s);
        else if (s && s->kind == TIO_INBOX) open_inbox(r, s);
        else if (s && s->kind == TIO_CONNECTION) step(r, s);
    }
    if (timer) check_deadlines(r);
    r->event_count = 0;
}
