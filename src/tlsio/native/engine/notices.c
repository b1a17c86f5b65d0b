/* notices.c - what the reactor reports, oldest first.
 *
 * A notice is a set of bits in the slot that it is about, and the slot's position in a list. So it
 * needs no memory and cannot be lost; several notices about one connection are merged, and freeing
 * the connection removes them. A notice carries a handle: user code that runs between two notices
 * may free, close, fork or run the loop, and the handle shows whether the connection still
 * exists.
 *
 * A refused descriptor has no slot. It is reported even if its listener is closed before that, so
 * that as many are reported as the gate has counted. */
#include "reactor.h"

#include <stdlib.h>
#include <unistd.h>

/* Listeners wait while so many are queued. There are more only after handshake threads have ended. */
enum { MANY_DROPPED = 64 };

void tio_notify(tio_reactor *r, tio_slot *s, uint32_t what) {
    s->notices |= what;
    tio_list_append(&r->notices, s);
}

int tio_may_drop(const tio_reactor *r) { return r->dropped_count < MANY_DROPPED; }

static tio_dropped *dropped_at(const tio_reactor *r, unsigned i) { return &r->dropped[(r->dropped_first + i) % r->dropped_room]; }

static int reserve(tio_reactor *r) {
    if (r->dropped_count < r->dropped_room) return 0;
    unsigned room = r->dropped_room ? 2 * r->dropped_room : MANY_DROPPED;
    tio_dropped *more = calloc(room, sizeof *more);
    if (!more) return -1;
    for (unsigned i = 0; i < r->dropped_count; i++) more[i] = *dropped_at(r, i);
    free(r->dropped);
    r->dropped = more;
    r->dropped_first = 0;
    r->dropped_room = room;
    return 0;
}

int tio_notify_dropped(tio_reactor *r, tio_gate *g, int fd) {
    if (reserve(r)) return -1;
    *dropped_at(r, r->dropped_count++) = (tio_dropped){ g, fd };
    return 0;
}

static int take_dropped(tio_reactor *r, tio_notice *n) {
    if (!r->dropped_count) return 0;
    tio_dropped *d = dropped_at(r, 0);
    r->dropped_first = (r->dropped_first + 1) % r->dropped_room;
    r->dropped_count--;
    *n = (tio_notice){ .what = TIO_NOTICE_DROPPED, .gate = d->gate, .fd = d->fd };
    return 1;
}

void tio_dropped_move(tio_reactor *from, tio_reactor *to) {
    tio_notice n;
    while (take_dropped(from, &n))
        if (tio_notify_dropped(to, n.gate, n.fd)) close(n.fd);
}

void tio_dropped_forget(tio_reactor *r, const tio_gate *g) {
    for (unsigned i = 0; i < r->dropped_count; i++)
        if (dropped_at(r, i)->gate == g) dropped_at(r, i)->gate = NULL;
}

int tio_reactor_owes_reports(const tio_reactor *r, const tio_gate *g) {
    for (unsigned i = 0; i < r->dropped_count; i++)
        if (dropped_at(r, i)->gate == g) return 1;
    for (const tio_slot *s = r->notices.first; s; s = s->links[TIO_NOTICES].after)
        if (s->conn && s->conn->gate == g && !s->conn->owner) return 1;
    return 0;
}

int tio_reactor_has_notices(const tio_reactor *r) { return r->notices.first || r->dropped_count; }

int tio_reactor_next_notice(tio_reactor *r, tio_notice *n) {
    tio_slot *s = r->notices.first;
    if (!s) return take_dropped(r, n);
    tio_list_remove(&r->notices, s);
    *n = (tio_notice){ .what = s->notices, .handle = tio_handle(s), .conn = s->conn, .fd = s->fd, .error = s->error };
    n->gate = s->conn ? s->conn->gate : s->gate;
    s->notices = 0;
    if (s->kind == TIO_GONE) {          /* from now on it belongs to the binding alone */
        s->conn->reactor = NULL;
        if (!r->pool) tio_reactor_uncount(r, s->conn);
        tio_slot_free(r, s);
    }
    return 1;
}

tio_conn *tio_reactor_conn(const tio_reactor *r, uint64_t handle) {
    tio_slot *s = tio_slot_of(r, handle);
    return s ? s->conn : NULL;
}

void tio_notices_free(tio_reactor *r) {
    tio_notice n;
    while (take_dropped(r, &n)) close(n.fd);
    free(r->dropped);
}
