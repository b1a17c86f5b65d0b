/* reactor.h - what the reactor's own files share: slots, their lists, deadlines, notices, and what is drained. */
#ifndef TLSIO_REACTOR_H
#define TLSIO_REACTOR_H

#include "internal.h"

#include <sys/epoll.h>

enum { TIO_EVENTS = 256 };              /* taken from the kernel in one turn */

/* GONE: the descriptor was let go while a notice about the connection still waits.  LINGER: only the descriptor is left. */
typedef enum { TIO_FREE, TIO_LISTENER, TIO_CONNECTION, TIO_GONE, TIO_LINGER } tio_kind;

typedef struct tio_slot tio_slot;
typedef struct tio_span tio_span;

/* A slot stands in up to three lists; each is first in, first out, and left in one step. */
typedef enum { TIO_READY, TIO_NEWS, TIO_DEADLINE, TIO_LISTS } tio_which;
typedef struct { tio_slot *before, *after; uint8_t in; } tio_link;
typedef struct { tio_slot *first, *last; tio_which which; } tio_list;

struct tio_slot {
    tio_kind kind;
    int fd;
    uint32_t number, generation;        /* the handle: a slot that is used again is another one */
    uint32_t mask;                      /* what epoll watches for; 0: it does not have the descriptor */
    tio_conn *conn;
    tio_gate *gate;
    tio_link links[TIO_LISTS];
    uint32_t news;                      /* TIO_NOTICE_* that wait to be taken */
    int error;                          /* LISTENER: of accept() */
    tio_span *span;                     /* the deadline's list */
    int64_t due;
    int64_t rest_ns;                    /* LISTENER: how long it rests the next time */
    uint8_t *out;                       /* LINGER: what is still to be sent */
    size_t out_start, out_end, drained;
    int ended;                          /* LINGER: FIN was sent */
    tio_slot *next_free;
};

static inline uint64_t tio_handle(const tio_slot *s) { return (uint64_t)s->generation << 32 | s->number; }

void tio_list_append(tio_list *, tio_slot *);
void tio_list_remove(tio_list *, tio_slot *);

/* ---- deadlines.c ---- */

struct tio_span {                       /* deadlines of one length are in order by themselves */
    int64_t ns;
    tio_list slots;
    tio_span *next;
};

typedef struct {
    int timer;                          /* a timerfd, in the reactor's epoll */
    int64_t armed;                      /* when it will fire, 0 = it is not set */
    tio_span base;                      /* the one that needs no memory */
} tio_deadlines;

int tio_deadlines_init(tio_deadlines *);             /* -1 with errno */
void tio_deadlines_free(tio_deadlines *);
void tio_deadline_set(tio_deadlines *, tio_slot *, int64_t ns);          /* so long from now */
void tio_deadline_set_at(tio_deadlines *, tio_slot *, int64_t due, int64_t ns);  /* at an instant, of deadlines that long */
void tio_deadline_clear(tio_slot *);
tio_slot *tio_deadlines_due(tio_deadlines *, int64_t now);               /* one that has passed, or NULL */
void tio_deadlines_rearm(tio_deadlines *);           /* the timer has fired: for the next one */

/* ---- the reactor ---- */

typedef struct { uint64_t listener; int fd; } tio_dropped;

struct tio_reactor {
    int epoll, forked;
    int64_t now;                        /* when this turn began */
    tio_slot **table;
    uint32_t size, room;
    tio_slot *free;
    size_t load;
    tio_deadlines deadlines;
    tio_list ready, news;
    tio_dropped dropped[64];            /* descriptors refused by a limit, to be reported; beyond it they are closed in silence */
    unsigned dropped_first, dropped_count;
    unsigned lingering;                 /* of connections without a gate */
    struct epoll_event events[TIO_EVENTS];
    int event_count;
    tio_buffers buffers;
};

tio_slot *tio_slot_new(tio_reactor *, tio_kind, int fd);                 /* NULL without memory */
void tio_slot_free(tio_reactor *, tio_slot *);       /* its descriptor is gone, or somebody else's */
void tio_slot_close(tio_reactor *, tio_slot *);      /* with its descriptor */
tio_slot *tio_slot_of(const tio_reactor *, uint64_t handle);             /* NULL: it is gone */
int tio_slot_watch(tio_reactor *, tio_slot *, uint32_t mask);            /* 0 takes it out of epoll; -1: the kernel refused */

/* ---- notices.c ---- */

void tio_notify(tio_reactor *, tio_slot *, uint32_t what);
int tio_notify_dropped(tio_reactor *, const tio_slot *listener, int fd); /* -1: too many wait; the descriptor is still the caller's */
void tio_notices_free(tio_reactor *);

/* ---- linger.c ---- */

void tio_linger_begin(tio_reactor *, tio_slot *, tio_gate *);            /* the slot's descriptor is to be drained; `out` is set */
void tio_linger_step(tio_reactor *, tio_slot *);
void tio_linger_end(tio_reactor *, tio_slot *);
int tio_linger_end_oldest(tio_reactor *, unsigned count);                /* descriptors are short; how many were closed */
void tio_linger_forget(tio_reactor *, tio_gate *);   /* the gate goes: what it lingers is nobody's */

#endif
