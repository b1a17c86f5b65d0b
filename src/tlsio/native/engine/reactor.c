/* reactor.c - epoll for many connections: accept, handshake, send, deadlines, in batches.
 *
 * Theory of operation.  The reactor's epoll descriptor stands in the loop of the binding.  When it is readable the binding
 * calls poll (what is there?), work (accept, handshake, send, time out: all that needs no interpreter) and then reads the
 * notices.  Plaintext is not touched here.
 *
 * Input is watched level-triggered.  A connection that does not want input (a question is open, a record stands and nobody
 * reads) is parked by the first event that proves it useless: EPOLLRDHUP|EPOLLET wakes us for a hang-up only.  A kernel
 * that wakes us for nothing would do so 900,000 times a second.
 *
 * Handles: an epoll event carries slot number and generation, so an event of a descriptor that is gone is recognised.
 *
 * Letting go (linger): what is unsent is sent, then FIN, then what the peer still sends is read and thrown away, 256 KiB or
 * 2 s at most.  Closing at once while the peer sends makes the kernel answer with RST, and the RST kills our alert in the
 * peer's receive queue: it is lost ten times of ten. */
#define _GNU_SOURCE                     /* accept4 */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum {
    EVENTS = 256,                       /* taken from the kernel in one turn */
    ACCEPTS = 64,                       /* per listener and turn */
    SEND_ROOM = TIO_GATHER + 2 * TIO_RECORD,
    TIMER = UINT32_MAX,                 /* slot number of the timer in an event */
    PARKED = EPOLLRDHUP | EPOLLET
};
static const int64_t second = 1000000000;
static const int64_t work_ns = 2000000;             /* handshakes of one turn: established traffic waits this long */
static const int64_t linger_ns = 2 * second;
static const int64_t rest_ns = second / 10;         /* a listener without descriptors (EMFILE) */
static const int64_t partial_ns = 60 * second;      /* a record must be whole: three bytes of a header pin 16.7 KiB */

typedef enum { FREE, LISTENER, CONNECTION, LINGER } kind_t;
typedef struct slot slot;
typedef struct span span;

struct slot {
    kind_t kind;
    int fd;
    uint32_t number, generation, mask;
    tio_conn *conn;
    tio_gate *gate;
    span *span;                         /* the deadline's list, NULL = no deadline */
    slot *before, *after;
    int64_t due;
    uint64_t read;                      /* plaintext the connection had taken when its record began to be waited for */
    uint8_t *out;                       /* LINGER: what is still to be sent */
    size_t out_start, out_end, drained;
    int ended;                          /* LINGER: FIN was sent */
    slot *next_free;
};

struct span {                           /* deadlines of one length are in order by themselves */
    int64_t ns;
    slot *first, *last;
    span *next;
};

struct tio_reactor {
    int epoll, timer;
    int64_t now, armed;                 /* armed: when the timer will fire, 0 = it is not set */
    slot **table;
    uint32_t size, room;
    slot *free;
    size_t load;
    span *spans;
    struct epoll_event events[EVENTS];
    int event_count;
    tio_notice *notices;
    size_t notice_count, notice_room;
    tio_conn *ready, *ready_last;
    tio_conn *borrower, *out_borrower;
    uint8_t scratch[TIO_SCRATCH];
    uint8_t gather[SEND_ROOM];
};

static int64_t clock_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * second + t.tv_nsec;
}

/* ---- making, freeing ------------------------------------------------------------------------------------------ */

tio_reactor *tio_reactor_new(void) {
    tio_reactor *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    struct epoll_event ev = { .events = EPOLLIN, .data.u64 = TIMER };
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    r->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    r->now = clock_ns();
    if (r->epoll < 0 || r->timer < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, r->timer, &ev)) {
        int error = errno;
        tio_reactor_free(r);
        errno = error;
        return NULL;
    }
    return r;
}

static void detach(tio_reactor *r, tio_conn *c);
static void close_slot(tio_reactor *r, slot *s);

void tio_reactor_free(tio_reactor *r) {
    if (!r) return;
    for (uint32_t i = 0; i < r->size; i++)              /* first: whoever leaves would wake them, by epoll_ctl */
        if (r->table[i]->kind == LISTENER) close_slot(r, r->table[i]);
    for (uint32_t i = 0; i < r->size; i++) {
        slot *s = r->table[i];
        tio_conn *c = s->conn;
        if (c) detach(r, c);
        if (c && c->gate && !c->owner) tio_conn_free(c);
        if (s->kind != FREE) close(s->fd);
    }
    for (uint32_t i = 0; i < r->size; i++) {
        free(r->table[i]->out);
        free(r->table[i]);
    }
    for (span *p = r->spans, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    for (size_t i = 0; i < r->notice_count; i++) {
        tio_conn *c = r->notices[i].conn;
        if (c) tio_reactor_forget(c);
        if (c && c->gate && !c->owner) tio_conn_free(c);
    }
    if (r->epoll >= 0) close(r->epoll);
    if (r->timer >= 0) close(r->timer);
    free(r->table);
    free(r->notices);
    free(r);
}

int tio_reactor_fd(const tio_reactor *r) { return r->epoll; }
int tio_reactor_has_ready(const tio_reactor *r) { return r->ready != NULL; }
size_t tio_reactor_load(const tio_reactor *r) { return r->load; }

size_t tio_reactor_owners(const tio_reactor *r, void **owners) {
    size_t count = 0;
    for (uint32_t i = 0; i < r->size; i++)
        if (r->table[i]->conn && r->table[i]->conn->owner) owners[count++] = r->table[i]->conn->owner;
    return count;
}

/* ---- the receive buffer, lent to one connection at a time ----------------------------------------------------- */

void *tio_reactor_lend(tio_conn *c) {
    tio_reactor *r = c->reactor;
    if (r->borrower && r->borrower != c) tio_conn_settle(r->borrower);
    r->borrower = c;
    return r->scratch;
}

void tio_reactor_return(tio_conn *c) {
    if (c->reactor->borrower == c) c->reactor->borrower = NULL;
}

/* The send buffer: memory that stays in the cache, and no malloc for each burst (0.8 of the CPU in bulk). */
uint8_t *tio_reactor_lend_out(tio_conn *c, size_t *room) {
    tio_reactor *r = c->reactor;
    if (r->out_borrower) return NULL;
    r->out_borrower = c;
    *room = SEND_ROOM;
    return r->gather;
}

void tio_reactor_return_out(tio_conn *c) {
    if (c->reactor->out_borrower == c) c->reactor->out_borrower = NULL;
}

/* ---- slots ---------------------------------------------------------------------------------------------------- */

static slot *slot_new(tio_reactor *r, kind_t kind, int fd) {
    slot *s = r->free;
    if (s) {
        r->free = s->next_free;
    } else {
        if (r->size == r->room) {
            uint32_t room = r->room ? r->room * 2 : 64;
            slot **table = realloc(r->table, room * sizeof *table);
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

static void slot_free(tio_reactor *r, slot *s) {
    free(s->out);
    *s = (slot){ .kind = FREE, .fd = -1, .number = s->number, .generation = s->generation + 1, .next_free = r->free };
    r->free = s;
    r->load--;
}

static int watch(tio_reactor *r, slot *s, int op, uint32_t mask) {
    struct epoll_event ev = { .events = mask, .data.u64 = (uint64_t)s->generation << 32 | s->number };
    s->mask = mask;
    return epoll_ctl(r->epoll, op, s->fd, &ev);
}

static slot *slot_of(tio_reactor *r, uint64_t handle) {
    uint32_t number = (uint32_t)handle;
    slot *s = number < r->size ? r->table[number] : NULL;
    return s && s->kind != FREE && s->generation == handle >> 32 ? s : NULL;
}

/* ---- deadlines ------------------------------------------------------------------------------------------------- */

static void arm(tio_reactor *r, int64_t due) {
    if (r->armed && r->armed <= due) return;            /* it fires early enough; a wake-up for nothing is cheap */
    struct itimerspec t = { .it_value = { .tv_sec = due / second, .tv_nsec = due % second } };
    if (!timerfd_settime(r->timer, TFD_TIMER_ABSTIME, &t, NULL)) r->armed = due;
}

static void deadline_clear(slot *s) {
    span *p = s->span;
    if (!p) return;
    if (s->before) s->before->after = s->after;
    else p->first = s->after;
    if (s->after) s->after->before = s->before;
    else p->last = s->before;
    s->span = NULL;
    s->before = s->after = NULL;
}

static void deadline_set(tio_reactor *r, slot *s, int64_t ns) {
    span *p = r->spans;
    deadline_clear(s);
    while (p && p->ns != ns) p = p->next;
    if (!p) {
        if (!(p = calloc(1, sizeof *p))) return;
        *p = (span){ .ns = ns, .next = r->spans };
        r->spans = p;
    }
    s->span = p;
    s->due = clock_ns() + ns;                           /* not r->now: outside a turn that is as old as the last one */
    s->before = p->last;
    if (p->last) p->last->after = s;
    else p->first = s;
    p->last = s;
    arm(r, s->due);
}

/* ---- notices ---------------------------------------------------------------------------------------------------- */

static int notice_reserve(tio_reactor *r, size_t count) {
    if (count <= r->notice_room) return 0;
    size_t room = count < r->notice_room * 2 ? r->notice_room * 2 : count;
    tio_notice *more = realloc(r->notices, room * sizeof *more);
    if (!more) return -1;
    r->notices = more;
    r->notice_room = room;
    return 0;
}

static tio_notice *notice_new(tio_reactor *r) {
    if (notice_reserve(r, r->notice_count + 1)) return NULL;
    tio_notice *n = &r->notices[r->notice_count++];
    *n = (tio_notice){ .fd = -1 };
    return n;
}

static void notify(tio_reactor *r, tio_conn *c, uint32_t what) {
    if (!c->notice) {
        tio_notice *n = notice_new(r);
        if (!n) return;                                 /* news of a new connection: the others' room is reserved */
        n->conn = c;
        n->gate = c->gate;
        c->notice = (uint32_t)r->notice_count;
        c->told = r;
    }
    r->notices[c->notice - 1].what |= what;
}

size_t tio_reactor_notices(tio_reactor *r, tio_notice **notices) {
    *notices = r->notices;
    return r->notice_count;
}

/* ---- letting go ------------------------------------------------------------------------------------------------- */

static void wake_listeners(tio_reactor *r, const tio_gate *g);

static void left_handshake(tio_reactor *r, tio_gate *g) {
    if (g->handshaking-- == g->max_handshakes && g->max_handshakes) wake_listeners(r, g);
}

static void count_out(tio_reactor *r, tio_conn *c) {
    tio_gate *g = c->gate;
    if (!g || !c->counted) return;
    if (c->counted == 1) left_handshake(r, g);
    if (g->open-- == g->max_connections && g->queues_beyond) wake_listeners(r, g);
    g->bytes_in += c->bytes_read;
    g->bytes_out += c->bytes_written;
    c->counted = 0;
}

static void ready_remove(tio_reactor *r, tio_conn *c) {
    if (!c->ready) return;
    tio_conn *before = NULL;
    for (tio_conn *p = r->ready; p != c; p = p->next_ready) before = p;
    if (before) before->next_ready = c->next_ready;
    else r->ready = c->next_ready;
    if (r->ready_last == c) r->ready_last = before;
    c->next_ready = NULL;
    c->ready = 0;
}

void tio_reactor_forget(tio_conn *c) {
    if (c->told) c->told->notices[c->notice - 1].conn = NULL;
    c->told = NULL;
    c->notice = 0;
}

/* The connection leaves the reactor; its slot and descriptor stay behind. */
static void detach(tio_reactor *r, tio_conn *c) {
    slot *s = r->table[c->slot];
    tio_conn_settle(c);
    if (c->wire.out_lent) tio_wire_keep_output(c);
    count_out(r, c);
    ready_remove(r, c);
    deadline_clear(s);
    s->conn = NULL;
    c->reactor = NULL;
    c->wire.fd = -1;
    tio_move_phase(c, TIO_CLOSED);                      /* unless it is BROKEN, which is final too */
}

static void close_slot(tio_reactor *r, slot *s) {
    deadline_clear(s);
    close(s->fd);
    slot_free(r, s);
}

/* Send the rest, FIN, and drain.  The slot is closed as soon as the peer has ended too. */
static void linger(tio_reactor *r, slot *s) {
    while (s->out_start < s->out_end) {
        ssize_t n = send(s->fd, s->out + s->out_start, s->out_end - s->out_start, MSG_NOSIGNAL);
        if (n >= 0) {
            s->out_start += (size_t)n;
        } else if (errno == EAGAIN) {
            if (s->mask != EPOLLOUT) watch(r, s, EPOLL_CTL_MOD, EPOLLOUT);
            return;
        } else if (errno != EINTR) {
            close_slot(r, s);
            return;
        }
    }
    if (s->out) {
        free(s->out);
        s->out = NULL;
    }
    if (!s->ended) {
        s->ended = 1;
        shutdown(s->fd, SHUT_WR);
        if (s->mask != EPOLLIN) watch(r, s, EPOLL_CTL_MOD, EPOLLIN);
    }
    for (;;) {
        ssize_t n = recv(s->fd, r->scratch, TIO_SCRATCH, 0);
        if (n < 0 && errno == EAGAIN) return;
        if (n < 0 && errno == EINTR) continue;
        s->drained += n > 0 ? (size_t)n : 0;
        if (n <= 0 || s->drained > TIO_LINGER_BYTES) {
            close_slot(r, s);
            return;
        }
    }
}

void tio_reactor_drop(tio_reactor *r, tio_conn *c, int wait) {
    if (c->reactor != r) return;                        /* let go already: its slot is somebody else's by now */
    slot *s = r->table[c->slot];
    tio_wire *w = &c->wire;
    /* The peer's close_notify or FIN was read: it sends no more, so nothing can provoke an RST. */
    int quiet = c->in == TIO_IN_ENDED || w->eof;
    if (wait && !w->out_error) tio_conn_flush(c);
    int unsent = w->out_end > w->out_start && c->question == TIO_NO_QUESTION;
    if (r->borrower) tio_conn_settle(r->borrower);      /* draining uses the same buffer */
    if (!wait || w->error || w->out_error || (quiet && !unsent)) {
        detach(r, c);
        close_slot(r, s);
        return;
    }
    if (unsent && !tio_wire_keep_output(c)) {
        s->out = w->out;
        s->out_start = w->out_start;
        s->out_end = w->out_end;
        w->out = NULL;
    }
    tio_wire_drop_output(c);
    detach(r, c);
    s->kind = LINGER;
    s->gate = NULL;
    deadline_set(r, s, linger_ns);
    linger(r, s);
}

/* ---- interest --------------------------------------------------------------------------------------------------- */

static int wants_input(const tio_conn *c) {
    if (c->in != TIO_IN_OPEN || c->question != TIO_NO_QUESTION) return 0;
    return c->phase != TIO_OPEN || c->flowing || !c->standing;
}

static void update_interest(tio_reactor *r, tio_conn *c) {
    slot *s = r->table[c->slot];
    uint32_t mask = EPOLLIN;
    if (c->parked && wants_input(c)) c->parked = 0;
    if (c->parked) mask = c->in == TIO_IN_OPEN ? PARKED : EPOLLET;      /* ended: readable for ever, and of no use */
    if (c->wire.out_end > c->wire.out_start && c->question == TIO_NO_QUESTION) mask |= EPOLLOUT;
    if (mask == s->mask) return;
    watch(r, s, s->mask ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, mask);
}

static void park(tio_reactor *r, slot *s, uint32_t events) {
    s->conn->parked = 1;
    if (events & (EPOLLHUP | EPOLLERR)) {               /* reported for ever, whatever we ask for */
        epoll_ctl(r->epoll, EPOLL_CTL_DEL, s->fd, NULL);
        s->mask = 0;
        return;
    }
    update_interest(r, s->conn);
}

/* Bytes that the kernel will not wake us for. */
static int holds_bytes(const tio_conn *c) {
    if (c->phase == TIO_BROKEN || c->question != TIO_NO_QUESTION || c->in != TIO_IN_OPEN) return 0;
    if (c->phase == TIO_OPEN && c->standing && !c->flowing) return 0;
    return c->wire.in_size > 0 || c->wire.tired || (c->flowing && tio_conn_pending(c) > 0);
}

static void ready_add(tio_reactor *r, tio_conn *c) {
    if (c->ready) return;
    c->ready = 1;
    c->next_ready = NULL;
    if (r->ready_last) r->ready_last->next_ready = c;
    else r->ready = c;
    r->ready_last = c;
}

static void watch_partial_record(tio_reactor *r, tio_conn *c) {
    slot *s = r->table[c->slot];
    int partial = c->phase == TIO_OPEN && !c->standing && c->in == TIO_IN_OPEN && SSL_has_pending(c->ssl) && !tio_conn_pending(c);
    if (!partial) {
        deadline_clear(s);
    } else if (!s->span || s->read != c->bytes_read) {  /* another record than the last time we looked */
        s->read = c->bytes_read;
        deadline_set(r, s, partial_ns);
    }
}

void tio_reactor_update(tio_reactor *r, tio_conn *c) {
    if (c->reactor != r) return;
    tio_wire *w = &c->wire;
    if (w->borrowed) tio_conn_settle(c);
    if (w->out_end > w->out_start) tio_conn_flush(c);
    if (w->out_lent) tio_wire_keep_output(c);
    if (tio_conn_wants_fin(c)) {
        if (c->in == TIO_IN_OPEN) shutdown(w->fd, SHUT_WR);             /* else both have ended, and close() says it */
        tio_conn_fin_sent(c);
    }
    if (c->phase == TIO_OPEN) watch_partial_record(r, c);
    if (holds_bytes(c)) ready_add(r, c);
    update_interest(r, c);
}

/* ---- accepting -------------------------------------------------------------------------------------------------- */

static void prepare_socket(const tio_gate *g, int fd) {
    int one = 1;
    if (g->no_delay) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);     /* a Unix socket refuses, harmlessly */
    if (g->keep_alive < 0) return;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
    if (g->keep_alive) setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &g->keep_alive, sizeof g->keep_alive);
}

static void drop_accepted(tio_reactor *r, tio_gate *g, int fd) {
    tio_notice *n;
    g->dropped++;
    if ((atomic_load(&g->wants) & TIO_WANT_DROPPED) && (n = notice_new(r))) {
        n->what = TIO_NOTICE_DROPPED;
        n->gate = g;
        n->fd = fd;
    } else {
        close(fd);
    }
}

static void admit(tio_reactor *r, tio_gate *g, int fd, const struct sockaddr_in6 *peer) {
    tio_context *context = tio_gate_context(g);
    tio_conn *c = tio_conn_new(context, TIO_SERVER);
    tio_context_release(context);
    if (!c || tio_reactor_add(r, c, fd)) {
        if (!c) close(fd);
        tio_conn_free(c);
        return;
    }
    prepare_socket(g, fd);
    socklen_t size = sizeof c->local;
    c->peer = *peer;
    if (getsockname(fd, (struct sockaddr *)&c->local, &size)) c->local.sin6_family = AF_UNSPEC;
    c->gate = g;
    c->alpn_continue = (uint8_t)g->alpn_continue;
    c->renegotiation = g->renegotiation;
    c->wants = (uint16_t)atomic_load(&g->wants);
    c->ask_psk = g->ask_psk;
    c->psk_hint = g->psk_hint;
    c->counted = 1;
    g->open++;
    g->handshaking++;
    g->accepted++;
    if (g->handshake_ns) deadline_set(r, r->table[c->slot], g->handshake_ns);
    if (c->wants & TIO_WANT_ACCEPTED) notify(r, c, TIO_NOTICE_ACCEPTED);
}

static void rest(tio_reactor *r, slot *s, int error) {
    tio_notice *n = notice_new(r);
    if (n) *n = (tio_notice){ .what = TIO_NOTICE_LISTENER, .gate = s->gate, .fd = s->fd, .error = error };
    watch(r, s, EPOLL_CTL_MOD, EPOLLET);
    deadline_set(r, s, rest_ns);
}

static void accept_some(tio_reactor *r, slot *s) {
    tio_gate *g = s->gate;
    for (int i = 0; i < ACCEPTS; i++) {
        int full = g->max_connections && g->open >= g->max_connections;
        if ((g->max_handshakes && g->handshaking >= g->max_handshakes) || (full && g->queues_beyond)) {     /* they wait in the kernel's queue */
            watch(r, s, EPOLL_CTL_MOD, EPOLLET);
            deadline_set(r, s, rest_ns);
            return;
        }
        struct sockaddr_in6 peer = { .sin6_family = AF_UNSPEC };
        socklen_t size = sizeof peer;
        int fd = accept4(s->fd, (struct sockaddr *)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EINTR || errno == ECONNABORTED) continue;
            if (errno != EAGAIN) rest(r, s, errno);
            return;
        }
        if (full) drop_accepted(r, g, fd);
        else admit(r, g, fd, &peer);
    }
}

static void wake_listeners(tio_reactor *r, const tio_gate *g) {
    for (uint32_t i = 0; i < r->size; i++) {
        slot *s = r->table[i];
        if (s->kind != LISTENER || s->gate != g || s->mask == EPOLLIN) continue;
        deadline_clear(s);
        watch(r, s, EPOLL_CTL_MOD, EPOLLIN);
    }
}

void tio_reactor_evict(tio_reactor *r, tio_gate *g) {
    for (uint32_t i = 0; i < r->size; i++) {
        tio_conn *c = r->table[i]->kind == CONNECTION ? r->table[i]->conn : NULL;
        if (c && c->gate == g && !c->owner) tio_conn_free(c);
    }
    for (size_t i = 0; i < r->notice_count; i++) {      /* nor may its notices lead to it any more */
        tio_notice *n = &r->notices[i];
        if (n->gate != g || (n->conn && n->conn->owner)) continue;
        tio_conn_free(n->conn);
        n->gate = NULL;                                 /* whether `fd` is closed already only its reader knows */
    }
}

int tio_reactor_listen(tio_reactor *r, tio_gate *g, int fd) {
    slot *s = slot_new(r, LISTENER, fd);
    if (!s) {
        close(fd);
        return -1;
    }
    s->gate = g;
    if (!watch(r, s, EPOLL_CTL_ADD, EPOLLIN)) return 0;
    close_slot(r, s);
    return -1;
}

void tio_reactor_unlisten(tio_reactor *r, tio_gate *g) {
    for (uint32_t i = 0; i < r->size; i++)
        if (r->table[i]->kind == LISTENER && r->table[i]->gate == g) close_slot(r, r->table[i]);
}

int tio_reactor_add(tio_reactor *r, tio_conn *c, int fd) {
    slot *s = slot_new(r, CONNECTION, fd);
    if (!s) {
        close(fd);
        return -1;
    }
    s->conn = c;
    c->slot = s->number;
    c->reactor = r;
    c->wire.fd = fd;
    if (!watch(r, s, EPOLL_CTL_ADD, EPOLLIN)) return 0;
    detach(r, c);
    close_slot(r, s);
    return -1;
}

/* ---- a turn ----------------------------------------------------------------------------------------------------- */

static void failed(tio_reactor *r, tio_conn *c) {
    notify(r, c, TIO_NOTICE_FAILED);
    tio_reactor_drop(r, c, 1);
}

static void leave_handshake(tio_reactor *r, tio_conn *c) {
    deadline_clear(r->table[c->slot]);
    if (!c->gate || c->counted != 1) return;
    c->counted = 2;
    left_handshake(r, c->gate);
}

void tio_reactor_resume(tio_reactor *r, tio_conn *c) {
    tio_conn_step(c);
    if (c->phase == TIO_OPEN) leave_handshake(r, c);
    if (c->phase != TIO_BROKEN) tio_reactor_update(r, c);
}

static void shake(tio_reactor *r, tio_conn *c) {
    uint8_t question = c->question;
    tio_reactor_resume(r, c);
    if (c->phase == TIO_BROKEN) {
        failed(r, c);
    } else if (c->phase == TIO_OPEN) {
        notify(r, c, TIO_NOTICE_OPENED);
    } else if (c->question != question) {
        notify(r, c, TIO_NOTICE_QUESTION);
    }
}

static void hung_up(tio_reactor *r, tio_conn *c) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(c->wire.fd, SOL_SOCKET, SO_ERROR, &error, &size);
    c->wire.error = error;
    tio_conn_break(c, error ? TIO_FAULT_OS : TIO_FAULT_HANGUP, TIO_NO_LIMIT, error);
    failed(r, c);
}

static int is_handshake(const tio_conn *c) { return c->phase == TIO_IDLE || c->phase == TIO_HANDSHAKING; }

/* 1 = a handshake wants its step */
static int connection_event(tio_reactor *r, slot *s, uint32_t events) {
    tio_conn *c = s->conn;
    uint32_t input = events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
    if (input) c->wire.dry = 0;
    if (is_handshake(c) && c->question != TIO_NO_QUESTION) {
        if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) hung_up(r, c);
        else park(r, s, events);
        return 0;
    }
    if (is_handshake(c)) return 1;
    if (events & EPOLLOUT) {
        if (tio_conn_flush(c) != 0) notify(r, c, TIO_NOTICE_WRITABLE);
        tio_reactor_update(r, c);
    }
    if (!input) return 0;
    if (wants_input(c)) notify(r, c, TIO_NOTICE_READABLE);
    else park(r, s, events);
    return 0;
}

static void expired(tio_reactor *r, slot *s) {
    tio_conn *c = s->conn;
    deadline_clear(s);
    if (s->kind == LISTENER) {
        watch(r, s, EPOLL_CTL_MOD, EPOLLIN);
    } else if (s->kind == LINGER) {
        close_slot(r, s);
    } else if (is_handshake(c)) {
        tio_conn_break(c, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
        failed(r, c);
    } else {
        tio_conn_break(c, TIO_FAULT_LIMIT, TIO_LIMIT_PARTIAL_RECORD, 0);
        failed(r, c);
    }
}

static void check_deadlines(tio_reactor *r) {
    uint64_t count;
    int64_t next = 0;
    if (read(r->timer, &count, sizeof count) < 0 && errno != EAGAIN) return;
    r->armed = 0;
    for (span *p = r->spans; p; p = p->next) {
        while (p->first && p->first->due <= r->now) expired(r, p->first);
        if (p->first && (!next || p->first->due < next)) next = p->first->due;
    }
    if (next) arm(r, next);
}

static int waits_for_handshake(tio_reactor *r, const struct epoll_event *ev) {
    slot *s = slot_of(r, ev->data.u64);
    return s && (s->kind == LISTENER || (s->kind == CONNECTION && is_handshake(s->conn)));
}

int tio_reactor_poll(tio_reactor *r) {
    int handshakes = 0;
    for (size_t i = 0; i < r->notice_count; i++)
        if (r->notices[i].conn) tio_reactor_forget(r->notices[i].conn);
    r->notice_count = 0;
    r->now = clock_ns();
    r->event_count = -1;
    if (notice_reserve(r, r->load + EVENTS)) return 0;  /* a failure nobody hears of would leak: rather no turn at all */
    do r->event_count = epoll_wait(r->epoll, r->events, EVENTS, 0);
    while (r->event_count < 0 && errno == EINTR);
    for (int i = 0; i < r->event_count; i++) handshakes += waits_for_handshake(r, &r->events[i]);
    for (tio_conn *c = r->ready; c; c = c->next_ready) handshakes += is_handshake(c);
    return handshakes;
}

/* As many as there are now; what is added meanwhile waits, what is let go meanwhile is gone from the list. */
static void take_ready(tio_reactor *r) {
    size_t count = 0;
    for (tio_conn *c = r->ready; c; c = c->next_ready) count++;
    while (count-- && r->ready) {
        tio_conn *c = r->ready;
        ready_remove(r, c);
        if (is_handshake(c)) shake(r, c);
        else if (wants_input(c)) notify(r, c, TIO_NOTICE_READABLE);
    }
}

/* What is established comes first; handshakes take what is left of the turn, the rest is reported again by the kernel. */
void tio_reactor_work(tio_reactor *r) {
    int timer = 0, waiting = 0;
    if (r->event_count < 0) return;
    take_ready(r);
    for (int i = 0; i < r->event_count; i++) {
        struct epoll_event *ev = &r->events[i];
        slot *s = slot_of(r, ev->data.u64);
        if (ev->data.u64 == TIMER) timer = 1;
        else if (s && s->kind == LINGER) linger(r, s);
        else if (s && s->kind == CONNECTION && connection_event(r, s, ev->events)) r->events[waiting++] = *ev;
        else if (s && s->kind == LISTENER) r->events[waiting++] = *ev;
    }
    for (int i = 0; i < waiting; i++) {
        slot *s = slot_of(r, r->events[i].data.u64);
        if (s && s->kind == LISTENER) accept_some(r, s);
        else if (s && s->conn) shake(r, s->conn);
        if (i % 4 == 3 && clock_ns() - r->now > work_ns) break;
    }
    if (timer) check_deadlines(r);
    r->event_count = 0;
}
