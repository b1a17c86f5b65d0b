/* notices.c - what the reactor reports, oldest first.
 *
 * A notice is a set of bits in the slot that it is about, and the slot's position in a list. So it
 * needs no memory and cannot be lost; several notices about one connection are merged, and freeing
 * the connection removes them. A notice carries a handle: user code that runs between two notices
 * may free, close, fork or run the loop, and the handle shows whether the connection still
 * exists. */
#include "reactor.h"

#include <unistd.h>

void tio_notify(tio_reactor *r, tio_slot *s, uint32_t what) {
    s->notices |= what;
    tio_list_append(&r->notices, s);
}

int tio_may_drop(const tio_reactor *r) { return r->dropped_count < sizeof r->dropped / sizeof *r->dropped; }

int tio_notify_dropped(tio_reactor *r, const tio_slot *listener, int fd) {
    unsigned room = sizeof r->dropped / sizeof *r->dropped;
    if (!tio_may_drop(r)) return -1;
    r->dropped[(r->dropped_first + r->dropped_count++) % room] = (tio_dropped){ .listener = tio_handle(listener), .fd = fd };
    return 0;
}

static int take_dropped(tio_reactor *r, tio_notice *n) {
    if (!r->dropped_count) return 0;
    tio_dropped *d = &r->dropped[r->dropped_first];
    r->dropped_first = (r->dropped_first + 1) % (sizeof r->dropped / sizeof *r->dropped);
    r->dropped_count--;
    *n = (tio_notice){ .what = TIO_NOTICE_DROPPED, .handle = d->listener, .gate = tio_reactor_gate(r, d->listener), .fd = d->fd };
    return 1;
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

tio_gate *tio_reactor_gate(const tio_reactor *r, uint64_t handle) {
    tio_slot *s = tio_slot_of(r, handle);
    if (!s) return NULL;
    return s->conn ? s->conn->gate : s->gate;
}

void tio_notices_free(tio_reactor *r) {
    tio_notice n;
    while (take_dropped(r, &n)) close(n.fd);
}
