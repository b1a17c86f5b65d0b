/* reactor.h - what the reactor's own files share: slots, their lists, deadlines, notices, lingering
 * descriptors. */
#ifndef TLSIO_REACTOR_H
#define TLSIO_REACTOR_H

#include "internal.h"

#include <sys/epoll.h>

enum { TIO_EVENTS = 256 };              /* most events per turn */

/* GONE: the descriptor was released, but a notice about the connection is still queued. LINGER:
 * only the descriptor is left, to be drained. INBOX: an eventfd, see threads.c. */
typedef enum { TIO_FREE, TIO_LISTENER, TIO_CONNECTION, TIO_GONE, TIO_LINGER, TIO_INBOX } tio_kind;

typedef struct tio_slot tio_slot;
typedef struct tio_pool tio_pool;
typedef struct tio_span tio_span;

/* What other threads have passed on, the newest first; and, for its owner alone, what was taken from
 * there, the oldest first. */
typedef struct {
    _Atomic(tio_parcel *) newest;
    tio_parcel *oldest;
    atomic_int asked;                   /* another thread is short of descriptors */
} tio_inbox;

/* A slot can be in three lists at once. Each is a queue, from which a slot is removed in O(1). */
typedef enum { TIO_READY, TIO_NOTICES, TIO_DEADLINE, TIO_LISTS } tio_which;
typedef struct { tio_slot *before, *after; uint8_t in; } tio_link;
typedef struct { tio_slot *first, *last; tio_which which; } tio_list;

struct tio_slot {
    tio_kind kind;
    int fd;
    uint32_t number, generation;        /* the handle; reuse of a slot changes its generation */
    uint32_t mask;                      /* what epoll watches for; 0: not in the epoll set */
    tio_conn *conn;
    tio_gate *gate;
    tio_link links[TIO_LISTS];
    uint32_t notices;                   /* TIO_NOTICE_*, queued */
    int error;                          /* LISTENER, INBOX: errno of accept() */
    tio_inbox *inbox;
    tio_span *span;                     /* the list that holds its deadline */
    int64_t due;
    int64_t pause_ns;                    /* LISTENER: length of its next pause */
    uint8_t *out;                       /* LINGER: unsent output */
    size_t out_start, out_end, drained;
    int ended;                          /* LINGER: FIN was sent */
    int asked;                          /* LISTENER: the other threads were asked for descriptors */
    tio_slot *next_free;
};

static inline uint64_t tio_handle(const tio_slot *s) { return (uint64_t)s->generation << 32 | s->number; }

void tio_list_append(tio_list *, tio_slot *);
void tio_list_remove(tio_list *, tio_slot *);

/* ---- deadlines.c ---- */

struct tio_span {                       /* deadlines of one length, which are in order */
    int64_t ns;
    tio_list slots;
    tio_span *next;
};

typedef struct {
    int timer;                          /* a timerfd, in the reactor's epoll set */
    int64_t armed;                      /* when it fires, 0 = not set */
    tio_span base;                      /* list for any length, when no other can be allocated */
} tio_deadlines;

int tio_deadlines_init(tio_deadlines *);             /* -1 with errno */
void tio_deadlines_free(tio_deadlines *);
void tio_deadline_set(tio_deadlines *, tio_slot *, int64_t ns);          /* from now */
/* at `due`; ns: the list to use */
void tio_deadline_set_at(tio_deadlines *, tio_slot *, int64_t due, int64_t ns);
void tio_deadline_clear(tio_slot *);
tio_slot *tio_deadlines_due(tio_deadlines *, int64_t now);  /* one that has passed, or NULL */
void tio_deadlines_rearm(tio_deadlines *);  /* the timer has fired: set it for the next one */

/* ---- the reactor ---- */

typedef struct { tio_gate *gate; int fd; } tio_dropped;        /* gate NULL: evicted */

struct tio_reactor {
    int epoll, forked;
    int64_t now;                        /* start of this turn */
    tio_slot **table;
    uint32_t size, room;
    tio_slot *free;
    size_t load;
    tio_deadlines deadlines;
    tio_list ready, notices;
    /* descriptors refused by a limit, to be reported: a ring. While there are many, listeners wait. */
    tio_dropped *dropped;
    unsigned dropped_first, dropped_count, dropped_room;
    /* descriptors of connections without a gate; in a handshake thread all */
    unsigned lingering;
    struct epoll_event events[TIO_EVENTS];
    int event_count;
    tio_buffers buffers;
    tio_pool *pools;                    /* of the gates that listen here by threads */
    tio_pool *pool;                     /* a handshake thread's, else NULL */
};

tio_slot *tio_slot_new(tio_reactor *, tio_kind, int fd);                 /* NULL: out of memory */
void tio_slot_free(tio_reactor *, tio_slot *);       /* without its descriptor */
void tio_slot_close(tio_reactor *, tio_slot *);      /* with its descriptor */
tio_slot *tio_slot_of(const tio_reactor *, uint64_t handle);             /* NULL: it is gone */
/* mask 0 removes it from the epoll set; -1: the kernel refused */
int tio_slot_watch(tio_reactor *, tio_slot *, uint32_t mask);

/* its gate no longer counts it */
void tio_reactor_uncount(tio_reactor *, tio_conn *);
/* epoll_wait() without a time limit, unless there is work */
void tio_reactor_wait(tio_reactor *);
int tio_reactor_accept_on(tio_reactor *, tio_gate *, int fd);  /* takes the descriptor, even on failure */
/* Between two calls, pass a connection to another reactor, with its notices and its deadline. put: if
 * memory is short, the connection is lost. */
void tio_reactor_give(tio_reactor *, tio_conn *);
void tio_reactor_put(tio_reactor *, tio_conn *);
void tio_reactor_lose(tio_reactor *, tio_conn *);    /* given, but not put anywhere: end it */

/* ---- threads.c ---- */

int tio_pool_listen(tio_reactor *, tio_gate *, int fd);  /* as tio_reactor_listen(); the threads are paused */
int tio_pool_run(tio_pool *);           /* -1 with errno; then all are paused */
void tio_pool_pause(tio_pool *);        /* waits for the threads to end */
/* the home's thread: end the threads, and move all they have to the home */
void tio_pool_stop(tio_pool *, int keep_listeners);
void tio_pool_free(tio_pool *);         /* the same, and close all they have */
/* a limit was reached and is no longer: paused listeners accept again */
void tio_pool_wake(tio_pool *, const tio_reactor *except);
void tio_inbox_drain(tio_reactor *, tio_slot *);
/* Let the other threads of this loop, and the loop, close lingering descriptors. */
void tio_threads_ask(tio_reactor *);

/* Pre-shared keys are asked for by code of the interpreter, inside a call of OpenSSL; signatures made
 * elsewhere are bound to a thread; and a listener of accepted connections gets them in time. */
static inline int tio_needs_loop(const tio_conn *c) {
    return (c->policy.wants & (TIO_WANT_PSK | TIO_WANT_ACCEPTED)) || c->context->settings.keys_elsewhere;
}

/* ---- notices.c ---- */

void tio_notify(tio_reactor *, tio_slot *, uint32_t what);
int tio_may_drop(const tio_reactor *);  /* few of these are queued: */
/* -1: out of memory; the caller keeps the descriptor */
int tio_notify_dropped(tio_reactor *, tio_gate *, int fd);
void tio_dropped_move(tio_reactor *from, tio_reactor *to);
void tio_dropped_forget(tio_reactor *, const tio_gate *);      /* the gate may be freed */
void tio_notices_free(tio_reactor *);

/* ---- linger.c ---- */

/* drain the slot's descriptor; `out` is set */
void tio_linger_begin(tio_reactor *, tio_slot *, tio_gate *);
void tio_linger_step(tio_reactor *, tio_slot *);
void tio_linger_end(tio_reactor *, tio_slot *);
void tio_linger_move(tio_reactor *from, tio_slot *, tio_reactor *to);
/* when descriptors are short; returns how many were closed */
int tio_linger_end_oldest(tio_reactor *, unsigned count);
/* the gate is freed: count its lingering descriptors without one */
void tio_linger_forget(tio_reactor *, tio_gate *);

#endif
