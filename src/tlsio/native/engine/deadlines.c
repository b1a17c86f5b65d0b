/* deadlines.c - deadlines: one list per length of time, one timer for all.
 *
 * Deadlines of one length are set in the order in which they expire, so their list needs no
 * sorting. There are few lengths (handshake, linger, pause, partial record). If there is no memory
 * for another list, the deadline is sorted into the base list: a deadline that could not be set
 * would be a wait without end. */
#include "reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>

static const int64_t second = 1000000000;

void tio_list_append(tio_list *l, tio_slot *s) {
    tio_link *link = &s->links[l->which];
    if (link->in) return;
    *link = (tio_link){ .before = l->last, .in = 1 };
    if (l->last) l->last->links[l->which].after = s;
    else l->first = s;
    l->last = s;
}

void tio_list_remove(tio_list *l, tio_slot *s) {
    tio_link *link = &s->links[l->which];
    if (!link->in) return;
    if (link->before) link->before->links[l->which].after = link->after;
    else l->first = link->after;
    if (link->after) link->after->links[l->which].before = link->before;
    else l->last = link->before;
    *link = (tio_link){ 0 };
}

int tio_deadlines_init(tio_deadlines *d) {
    d->base.slots.which = TIO_DEADLINE;
    d->base.ns = -1;                                    /* any length */
    d->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    return d->timer < 0 ? -1 : 0;
}

void tio_deadlines_free(tio_deadlines *d) {
    for (tio_span *p = d->base.next, *next; p; p = next) {
        next = p->next;
        free(p);
    }
    if (d->timer >= 0) close(d->timer);
}

static void arm(tio_deadlines *d, int64_t due) {
    /* it fires early enough, and a spurious wake-up is cheap */
    if (d->armed && d->armed <= due) return;
    struct itimerspec t = { .it_value = { .tv_sec = due / second, .tv_nsec = due % second } };
    if (!timerfd_settime(d->timer, TFD_TIMER_ABSTIME, &t, NULL)) d->armed = due;
}

static tio_span *span_of(tio_deadlines *d, int64_t ns) {
    for (tio_span *p = d->base.next; p; p = p->next)
        if (p->ns == ns) return p;
    tio_span *made = calloc(1, sizeof *made);
    if (!made) return &d->base;
    *made = (tio_span){ .ns = ns, .slots.which = TIO_DEADLINE, .next = d->base.next };
    return d->base.next = made;
}

/* Insert in order of `due`, from the end, where a new deadline nearly always belongs. */
static void insert(tio_list *l, tio_slot *s) {
    tio_slot *after = l->last;
    while (after && after->due > s->due) after = after->links[TIO_DEADLINE].before;
    if (after == l->last) {
        tio_list_append(l, s);
        return;
    }
    tio_slot *next = after ? after->links[TIO_DEADLINE].after : l->first;
    s->links[TIO_DEADLINE] = (tio_link){ .before = after, .after = next, .in = 1 };
    next->links[TIO_DEADLINE].before = s;
    if (after) after->links[TIO_DEADLINE].after = s;
    else l->first = s;
}

void tio_deadline_set_at(tio_deadlines *d, tio_slot *s, int64_t due, int64_t ns) {
    tio_deadline_clear(s);
    s->span = span_of(d, ns);
    s->due = due;
    insert(&s->span->slots, s);
    arm(d, due);
}

/* Count from the current time, not from r->now: outside a turn that is the start of the previous
 * turn. */
void tio_deadline_set(tio_deadlines *d, tio_slot *s, int64_t ns) { tio_deadline_set_at(d, s, tio_clock() + ns, ns); }

void tio_deadline_clear(tio_slot *s) {
    if (s->span) tio_list_remove(&s->span->slots, s);
    s->span = NULL;
    s->due = 0;
}

tio_slot *tio_deadlines_due(tio_deadlines *d, int64_t now) {
    for (tio_span *p = &d->base; p; p = p->next)
        if (p->slots.first && p->slots.first->due <= now) return p->slots.first;
    return NULL;
}

void tio_deadlines_rearm(tio_deadlines *d) {
    uint64_t count;
    int64_t next = 0;
    if (read(d->timer, &count, sizeof count) < 0 && errno != EAGAIN) return;
    d->armed = 0;
    for (tio_span *p = &d->base; p; p = p->next)
        if (p->slots.first && (!next || p->slots.first->due < next)) next = p->slots.first->due;
    if (next) arm(d, next);
}
