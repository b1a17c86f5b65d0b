/* linger.c - closing a descriptor: send what is unsent, then FIN, then read and discard what the
 * peer still sends.
 *
 * Closing while the peer sends makes the kernel answer with RST, which discards our alert in the
 * peer's receive queue: it is lost ten times out of ten. So the descriptor stays open for 256 KiB
 * or 2 s, whichever is reached first. The server's limits also bound the number of lingering
 * descriptors; beyond that the oldest is closed. A client that floods a server with failing
 * handshakes may lose the alerts, but does not use up the server's descriptors.
 *
 * Handshake threads have this limit together. A reactor can close only its own, so it keeps a share
 * even if the others hold all: otherwise the alert that it has just sent would be lost. So there may be
 * twice as many, until those that hold more than their share have the next one. */
#include "reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static const int64_t linger_ns = 2 * INT64_C(1000000000);

/* how many this reactor has; a thread's has one gate */
static unsigned *own(tio_reactor *r, tio_gate *g) { return g && !r->pool ? &g->lingering_home : &r->lingering; }

static void count(tio_reactor *r, tio_gate *g, int by) {
    *own(r, g) += (unsigned)by;
    if (g) atomic_fetch_add(&g->lingering, (unsigned)by);
}

static int are_too_many(tio_reactor *r, tio_gate *g) {
    unsigned max = tio_gate_max_lingering(g), share = g ? max / (1 + g->threads) : max;
    return (!g || atomic_load(&g->lingering) > max) && *own(r, g) > (share ? share : 1);
}

void tio_linger_end(tio_reactor *r, tio_slot *s) {
    count(r, s->gate, -1);
    tio_slot_close(r, s);
}

/* All lingering descriptors have the same length of time and so are in one list, the oldest
 * first. */
static tio_slot *oldest(const tio_slot *like, const tio_gate *g) {
    tio_slot *s = like->span->slots.first;
    while (s && (s->kind != TIO_LINGER || s->gate != g)) s = s->links[TIO_DEADLINE].after;
    return s;
}

void tio_linger_begin(tio_reactor *r, tio_slot *s, tio_gate *g) {
    s->kind = TIO_LINGER;
    s->conn = NULL;
    s->gate = g;
    tio_deadline_set(&r->deadlines, s, linger_ns);
    count(r, g, 1);
    while (are_too_many(r, g)) {
        tio_slot *first = oldest(s, g);
        if (!first) break;
        tio_linger_end(r, first);
        if (first == s) return;
    }
    tio_linger_step(r, s);
}

/* returns 1 if all is sent */
static int send_rest(tio_reactor *r, tio_slot *s) {
    while (s->out_start < s->out_end) {
        ssize_t n = send(s->fd, s->out + s->out_start, s->out_end - s->out_start, MSG_NOSIGNAL);
        if (n >= 0) {
            s->out_start += (size_t)n;
        } else if (errno == EAGAIN) {
            if (tio_slot_watch(r, s, EPOLLOUT)) break;
            return 0;
        } else if (errno != EINTR) {
            break;
        }
    }
    int ok = s->out_start == s->out_end;
    free(s->out);
    s->out = NULL;
    if (!ok) tio_linger_end(r, s);
    return ok;
}

/* One recv() per turn bounds the cost of a peer that sends without end. */
void tio_linger_step(tio_reactor *r, tio_slot *s) {
    if (s->out && !send_rest(r, s)) return;
    if (!s->ended) {
        s->ended = 1;
        shutdown(s->fd, SHUT_WR);
        if (tio_slot_watch(r, s, EPOLLIN)) {
            tio_linger_end(r, s);
            return;
        }
    }
    ssize_t n;
    do n = recv(s->fd, r->buffers.scratch, TIO_SCRATCH, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN) return;
    s->drained += n > 0 ? (size_t)n : 0;
    if (n <= 0 || s->drained > TIO_LINGER_BYTES) tio_linger_end(r, s);
}

void tio_linger_move(tio_reactor *from, tio_slot *s, tio_reactor *to) {
    uint32_t mask = s->mask;
    tio_slot *made = tio_slot_new(to, TIO_LINGER, s->fd);
    if (!made) {
        tio_linger_end(from, s);
        return;
    }
    tio_slot_watch(from, s, 0);
    count(from, s->gate, -1);
    count(to, s->gate, 1);
    made->gate = s->gate;
    made->out = s->out;
    made->out_start = s->out_start;
    made->out_end = s->out_end;
    made->drained = s->drained;
    made->ended = s->ended;
    s->out = NULL;
    tio_deadline_set_at(&to->deadlines, made, s->due, linger_ns);
    tio_slot_free(from, s);
    if (mask && tio_slot_watch(to, made, mask)) tio_linger_end(to, made);
}

int tio_linger_end_oldest(tio_reactor *r, unsigned wanted) {
    int closed = 0;
    for (tio_span *p = &r->deadlines.base; p && wanted; p = p->next)
        for (tio_slot *s = p->slots.first, *next; s && wanted; s = next) {
            next = s->links[TIO_DEADLINE].after;
            if (s->kind != TIO_LINGER) continue;
            tio_linger_end(r, s);
            closed++, wanted--;
        }
    return closed;
}

void tio_linger_forget(tio_reactor *r, tio_gate *g) {
    for (uint32_t i = 0; i < r->size; i++) {
        tio_slot *s = r->table[i];
        if (s->kind != TIO_LINGER || s->gate != g) continue;
        count(r, g, -1);
        s->gate = NULL;
        count(r, NULL, 1);
    }
}
