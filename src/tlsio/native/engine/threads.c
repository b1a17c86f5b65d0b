/* threads.c - handshake threads: they accept and handshake for one server, and the event loop's
 * reactor gets the finished connections.
 *
 * Theory of operation. A server with handshake threads has a pool, and each thread of it a reactor
 * of its own (reactor.c), with its own copy of the listening descriptors, watched by
 * EPOLLEXCLUSIVE. The thread accepts, handshakes, lets deadlines pass and drains descriptors as a
 * loop does. What a loop would report to the binding, the thread passes on to the loop's reactor,
 * the home: a connection with its notices (it was opened, has failed or has a question), a refused
 * descriptor, or the error of accept().
 *
 * Who owns a connection. Its reactor's thread. It changes hands between calls of the engine:
 * tio_reactor_give() takes it out of one reactor, a parcel carries it, and tio_reactor_put() adds it
 * to the other. A parcel is part of the connection, so passing it on needs no memory and cannot
 * fail. Parcels go through an inbox, a stack without a lock: the loop never waits for a thread of
 * lower priority that holds one.
 *
 * Questions are answered at home. If the binding answers without an object of its own for the
 * connection, tio_reactor_return() gives it back to a thread; otherwise it stays at home.
 * Connections that a thread must not handle go home before their first step: see tio_needs_loop().
 *
 * Bounds. At most QUEUE parcels are on their way; then the threads wait, as they would if the loop
 * itself did their work, and what is not accepted waits in the kernel.
 *
 * Stopping. tio_pool_pause() ends the threads, after their current step, and waits for them. After
 * that all reactors belong to the caller: it can start threads on them again (around a fork), move
 * all they have to the home (the server closes), or free them (the loop is closed). */
#define _GNU_SOURCE                     /* for pthread_setname_np */
#include "reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    QUEUE = 256,
    GIVEN = 64,                         /* lingering descriptors that a thread closes when it is asked */
    /* Next to two busy threads on one core, a loop wakes up within 4.0 ms (p99) if they have its own
     * priority, within 0.24 ms at 10, and within 0.15 ms at 19. */
    NICE = 10,
    NICEST = 19,
    STACK = 512 * 1024                  /* of a thread; the C library's default may be much less */
};
/* Several threads meet the same error of accept(): it is reported once in this time. */
static const int64_t same_error_ns = 100 * INT64_C(1000000);

typedef struct {
    tio_pool *pool;
    tio_reactor *r;
    tio_slot *slot;                     /* of its inbox */
    tio_inbox inbox;                    /* connections that return */
    pthread_t thread;
    int runs;
} worker;

struct tio_pool {
    tio_gate *gate;
    tio_reactor *home;
    tio_slot *slot;                     /* of its inbox */
    tio_inbox inbox;
    sem_t room;                         /* in the inbox */
    atomic_int stop;
    atomic_int orphaned;                /* its threads could not be started again */
    int error;                          /* the last one of accept() that was reported, */
    int64_t error_ns;                   /* and when */
    tio_pool *next;                     /* of the same home */
    unsigned turn;                      /* the worker that gets the next returning connection */
    unsigned count;
    worker workers[];
};

/* ---- inboxes --------------------------------------------------------------------------------- */

static tio_slot *open_inbox(tio_reactor *r, tio_gate *g, tio_inbox *inbox) {
    int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    tio_slot *s = fd < 0 ? NULL : tio_slot_new(r, TIO_INBOX, fd);
    if (s) s->gate = g, s->inbox = inbox;
    if (s && !tio_slot_watch(r, s, EPOLLIN)) return s;
    int error = errno;
    if (s) tio_slot_free(r, s);
    if (fd >= 0) close(fd);
    errno = error;
    return NULL;
}

static void close_inbox(tio_reactor *r, tio_slot *s) {
    if (!s) return;
    if (!r->forked) tio_slot_watch(r, s, 0);
    close(s->fd);
    tio_slot_free(r, s);
}

static void ring(const tio_slot *s) {
    uint64_t one = 1;
    /* It fails only if the descriptor is readable already. */
    while (write(s->fd, &one, sizeof one) < 0 && errno == EINTR) {}
}

static void push(tio_inbox *inbox, tio_parcel *p) {
    p->next = atomic_load(&inbox->newest);
    while (!atomic_compare_exchange_weak(&inbox->newest, &p->next, p)) {}
}

/* the oldest parcel, or NULL */
static tio_parcel *take(tio_inbox *inbox) {
    if (!inbox->oldest) {
        tio_parcel *p = atomic_exchange(&inbox->newest, NULL);
        while (p) {
            tio_parcel *next = p->next;
            p->next = inbox->oldest;
            inbox->oldest = p;
            p = next;
        }
    }
    tio_parcel *first = inbox->oldest;
    if (first) inbox->oldest = first->next;
    return first;
}

static void report_error(tio_pool *p, int error) {
    int64_t now = tio_clock();
    if (error == p->error && now - p->error_ns < same_error_ns) return;
    p->error = p->slot->error = error;
    p->error_ns = now;
    tio_notify(p->home, p->slot, TIO_NOTICE_LISTENER);
}

static void unpack(tio_pool *p, tio_reactor *r, tio_parcel *parcel) {
    if (parcel->conn) {
        tio_reactor_put(r, parcel->conn);
        return;
    }
    if (parcel->error) report_error(p, parcel->error);
    else if (tio_notify_dropped(r, p->gate, parcel->fd)) close(parcel->fd);
    free(parcel);
}

/* Not all: the rest waits until what is reported has been fetched. */
static void unpack_some(tio_pool *p, tio_reactor *r, tio_inbox *inbox, int all) {
    tio_parcel *parcel;
    while ((all || tio_may_drop(r)) && (parcel = take(inbox)) != NULL) {
        unpack(p, r, parcel);
        if (inbox == &p->inbox) sem_post(&p->room);
    }
}

void tio_inbox_drain(tio_reactor *r, tio_slot *s) {
    uint64_t count;
    while (read(s->fd, &count, sizeof count) < 0 && errno == EINTR) {}
    tio_pool *p = s->gate->pool;
    unpack_some(p, r, s->inbox, 0);
    if (!tio_may_drop(r)) ring(s);      /* there may be more */
    if (atomic_exchange(&s->inbox->asked, 0)) {
        if (tio_linger_end_oldest(r, GIVEN)) tio_pool_wake(p, r);
        else if (r == p->home) tio_threads_ask(r);      /* those of other servers too */
    }
    if (r == p->home && atomic_load(&p->orphaned)) tio_pool_stop(p, 1);
}

/* ---- a thread -------------------------------------------------------------------------------- */

/* Without memory a refused descriptor is closed without a notice, as the reactor itself does when
 * too many wait; and an error occurs again. */
static tio_parcel *pack_report(const tio_notice *n) {
    int refused = (n->what & TIO_NOTICE_DROPPED) != 0;
    tio_parcel *parcel = calloc(1, sizeof *parcel);
    if (parcel) *parcel = (tio_parcel){ .fd = refused ? n->fd : -1, .error = refused ? 0 : n->error };
    else if (refused) close(n->fd);
    return parcel;
}

static tio_parcel *pack(tio_reactor *r, const tio_notice *n) {
    tio_conn *c = n->conn;
    if (!c) return pack_report(n);
    if (c->reactor) tio_reactor_give(r, c);
    else c->parcel = (tio_parcel){ .conn = c, .fd = -1 };       /* its descriptor was released */
    c->parcel.notices |= n->what;
    /* The notice may only say that the connection must go home. */
    if (!(c->policy.wants & TIO_WANT_ACCEPTED)) c->parcel.notices &= ~(uint32_t)TIO_NOTICE_ACCEPTED;
    return &c->parcel;
}

/* Pass on the oldest notice. Returns 0 if the thread must end. */
static int pass_on(worker *w) {
    tio_pool *p = w->pool;
    tio_notice n;
    while (sem_wait(&p->room) && errno == EINTR) {}
    if (atomic_load(&p->stop)) {
        sem_post(&p->room);
        return 0;                       /* the notice stays in its slot */
    }
    tio_reactor_next_notice(w->r, &n);
    tio_parcel *parcel = pack(w->r, &n);
    if (!parcel) {
        sem_post(&p->room);
        return 1;
    }
    push(&p->inbox, parcel);
    ring(p->slot);
    return 1;
}

/* Returns 0 if the thread must end. A notice that a pause has left behind is passed on before any
 * work: it may be about a connection that this thread must not step. */
static int pass_all_on(worker *w) {
    while (tio_reactor_has_notices(w->r))
        if (!pass_on(w)) return 0;
    return !atomic_load(&w->pool->stop);
}

static void lower_priority(void) {
    int now = getpriority(PRIO_PROCESS, 0);             /* of this thread, in Linux */
    setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), now + NICE < NICEST ? now + NICE : NICEST);
}

static void *run(void *argument) {
    worker *w = argument;
    pthread_setname_np(pthread_self(), "tlsio-handshake");
    lower_priority();
    while (pass_all_on(w)) {
        tio_reactor_wait(w->r);
        tio_reactor_work(w->r);
    }
    OPENSSL_thread_stop();
    return NULL;
}

/* The thread gets no signals: the program's handlers run in its own threads. */
static int start(worker *w) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes)) return -1;
    pthread_attr_setstacksize(&attributes, STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&w->thread, &attributes, run, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    w->runs = !error;
    errno = error;
    return error ? -1 : 0;
}

/* ---- the pool, used by the home's thread ------------------------------------------------------ */

void tio_pool_pause(tio_pool *p) {
    atomic_store(&p->stop, 1);
    for (unsigned i = 0; i < p->count; i++) {
        if (p->workers[i].runs) ring(p->workers[i].slot);
        sem_post(&p->room);             /* it may wait for room */
    }
    for (unsigned i = 0; i < p->count; i++) {
        if (p->workers[i].runs) pthread_join(p->workers[i].thread, NULL);
        p->workers[i].runs = 0;
    }
    for (unsigned i = 0; i < p->count; i++) sem_trywait(&p->room);
}

/* All threads run, or none: the connections of one that does not would make no progress. */
int tio_pool_run(tio_pool *p) {
    atomic_store(&p->stop, 0);
    for (unsigned i = 0; i < p->count; i++) {
        if (p->workers[i].runs || !start(&p->workers[i])) continue;
        tio_pool_pause(p);
        return -1;
    }
    return 0;
}

static tio_pool *make(tio_reactor *home, tio_gate *g) {
    tio_pool *p = calloc(1, sizeof *p + g->threads * sizeof *p->workers);
    if (!p) return NULL;
    *p = (tio_pool){ .gate = g, .home = home, .count = g->threads };
    sem_init(&p->room, 0, QUEUE);
    atomic_init(&p->stop, 1);
    g->pool = p;
    p->next = home->pools;
    home->pools = p;
    int ok = (p->slot = open_inbox(home, g, &p->inbox)) != NULL;
    for (unsigned i = 0; i < p->count && ok; i++) {
        worker *w = &p->workers[i];
        w->pool = p;
        ok = (w->r = tio_reactor_new()) && (w->slot = open_inbox(w->r, g, &w->inbox));
        if (ok) w->r->pool = p;
    }
    if (ok) return p;
    int error = errno;
    tio_pool_free(p);
    errno = error;
    return NULL;
}

int tio_pool_listen(tio_reactor *home, tio_gate *g, int fd) {
    tio_pool *p = g->pool ? g->pool : make(home, g);
    int ok = p != NULL;
    if (ok) tio_pool_pause(p);
    for (unsigned i = 0; ok && i < p->count; i++) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        ok = copy >= 0 && !tio_reactor_accept_on(p->workers[i].r, g, copy);
    }
    int error = errno;
    close(fd);
    errno = error;
    return ok ? 0 : -1;
}

int tio_reactor_return(tio_reactor *r, tio_conn *c) {
    tio_pool *p = c->gate ? c->gate->pool : NULL;
    int may_leave = p && p->home == r && c->reactor == r && c->wire.fd >= 0 && !c->owner && !tio_needs_loop(c);
    if (!may_leave || c->phase != TIO_HANDSHAKING || c->question != TIO_NO_QUESTION) return 0;
    worker *w = &p->workers[p->turn++ % p->count];
    tio_reactor_give(r, c);
    push(&w->inbox, &c->parcel);
    ring(w->slot);
    return 1;
}

void tio_pool_wake(tio_pool *p, const tio_reactor *except) {
    for (unsigned i = 0; i < p->count; i++)
        if (p->workers[i].r != except) ring(p->workers[i].slot);
}

static void ask(tio_inbox *inbox, const tio_slot *s) {
    atomic_store(&inbox->asked, 1);
    ring(s);
}

static void ask_workers(tio_pool *p, const tio_reactor *except) {
    for (unsigned i = 0; i < p->count; i++)
        if (p->workers[i].r != except) ask(&p->workers[i].inbox, p->workers[i].slot);
}

void tio_threads_ask(tio_reactor *r) {
    if (r->pool) {
        ask(&r->pool->inbox, r->pool->slot);
        ask_workers(r->pool, r);
    }
    for (tio_pool *p = r->pools; p; p = p->next) ask_workers(p, NULL);
}

static void adopt(tio_pool *p, tio_reactor *from, int keep_listeners) {
    tio_dropped_move(from, p->home);
    for (uint32_t i = 0; i < from->size; i++) {
        tio_slot *s = from->table[i];
        if (s->conn) {
            tio_conn *c = s->conn;
            tio_reactor_give(from, c);
            if (!(c->policy.wants & TIO_WANT_ACCEPTED)) c->parcel.notices &= ~(uint32_t)TIO_NOTICE_ACCEPTED;
            tio_reactor_put(p->home, c);
        } else if (s->kind == TIO_LINGER) {
            tio_linger_move(from, s, p->home);
        } else if (s->kind == TIO_LISTENER && keep_listeners) {
            int fd = s->fd;
            tio_slot_watch(from, s, 0);
            tio_slot_free(from, s);
            if (tio_reactor_accept_on(p->home, p->gate, fd)) report_error(p, errno);
        }
    }
}

void tio_pool_stop(tio_pool *p, int keep_listeners) {
    tio_pool_pause(p);
    unpack_some(p, p->home, &p->inbox, 1);
    for (unsigned i = 0; i < p->count; i++) {
        unpack_some(p, p->home, &p->workers[i].inbox, 1);
        adopt(p, p->workers[i].r, keep_listeners && !i);        /* they all have the same ones */
    }
    tio_pool_free(p);
}

static void drop_all(tio_pool *p, tio_inbox *inbox) {
    for (tio_parcel *parcel; (parcel = take(inbox)) != NULL;) {
        if (parcel->conn) {
            tio_reactor_lose(p->home, parcel->conn);
            continue;
        }
        if (parcel->fd >= 0) close(parcel->fd);
        free(parcel);
    }
}

void tio_pool_free(tio_pool *p) {
    tio_reactor *home = p->home;
    if (!home->forked) tio_pool_pause(p);               /* a forked child has no threads */
    p->gate->pool = NULL;
    for (tio_pool **at = &home->pools; *at; at = &(*at)->next)
        if (*at == p) {
            *at = p->next;
            break;
        }
    drop_all(p, &p->inbox);
    for (unsigned i = 0; i < p->count; i++) {
        worker *w = &p->workers[i];
        if (!w->r) continue;
        w->r->forked = home->forked;
        tio_linger_end_oldest(w->r, UINT_MAX);          /* they are counted as a thread's */
        w->r->pool = NULL;              /* its connections end here */
        drop_all(p, &w->inbox);
        close_inbox(w->r, w->slot);
        tio_reactor_free(w->r, home->forked);
    }
    close_inbox(home, p->slot);
    sem_destroy(&p->room);
    free(p);
}

/* ---- around a fork ---------------------------------------------------------------------------- */

void tio_threads_pause(tio_reactor *r) {
    for (tio_pool *p = r->pools; p; p = p->next) tio_pool_pause(p);
}

void tio_threads_run(tio_reactor *r) {
    for (tio_pool *p = r->pools; p; p = p->next) {
        if (!tio_pool_run(p)) continue;
        atomic_store(&p->orphaned, 1);  /* the home takes over, in its own thread */
        ring(p->slot);
    }
}
