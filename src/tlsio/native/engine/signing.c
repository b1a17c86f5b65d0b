/* signing.c - pausing a connection until its signature was made elsewhere.
 *
 * Theory of operation. OpenSSL has no return value by which a signature could be delayed: one that
 * fails ends the handshake. So the calls that may need one (handshakes, and the reads that find a
 * message of another handshake) run as a job of OpenSSL's ASYNC, on a stack of its own. The
 * provider (keys.c) pauses the job, the call returns SSL_ERROR_WANT_ASYNC, and the connection has
 * the question TIO_ASK_SIGN. The next call continues the job.
 *
 * What follows from that:
 *  - A job belongs to the thread in which it began: its end returns to that thread's stack. If
 *    another thread would continue a connection, it breaks instead (the event loop was moved to that
 *    thread); if another thread frees it, it is left to the job's own one.
 *  - The job keeps the arguments of the call that began it. So what it may write to must live in
 *    the connection, and data is read and written by calls that are not jobs and need no signature.
 *  - An SSL must not be freed while its job is paused: the job is continued, without a signature,
 *    and fails.
 *  - The stack is small (32 KiB up to OpenSSL 3.4), so the binding's code does not run on it: a
 *    question about a pre-shared key pauses the job too, and is asked on the thread's own stack.
 *  - Jobs are kept for reuse by OpenSSL, and only a paused one is in use, so the stacks of a thread
 *    never exceed TIO_JOBS and the jobs of repeated handshakes. */
#include "internal.h"

#include <openssl/async.h>
#include <string.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define WATCHED_BY_ASAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define WATCHED_BY_ASAN
#endif
#ifdef WATCHED_BY_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

static _Thread_local tio_conn *current; /* whose job runs in this thread */
static _Thread_local unsigned paused;   /* jobs of this thread that wait for a signature */

/* A number that no later thread gets, unlike pthread_self(): the next thread often has the one of
 * the last that ended. */
static uint64_t this_thread(void) {
    static atomic_uint_fast64_t threads;
    static _Thread_local uint64_t number;
    if (!number) number = atomic_fetch_add(&threads, 1) + 1;
    return number;
}

static int is_elsewhere(const tio_conn *c) { return c->wanted && c->job_thread != this_thread(); }

/* ---- sanitizers ------------------------------------------------------------------------------- */

/* The switch to the job's stack and back is inside libcrypto. For AddressSanitizer the whole call is
 * one switch, which ends on the stack that it began on: meanwhile, frames are not kept apart
 * (detect_stack_use_after_return), which longjmp() would take for dead ones. */
typedef struct { void *frames; const void *bottom; size_t size; } stack_note;

static void leave_stack(stack_note *n) {
#ifdef WATCHED_BY_ASAN
    __sanitizer_start_switch_fiber(&n->frames, NULL, 0);
    __sanitizer_finish_switch_fiber(n->frames, &n->bottom, &n->size);
    __sanitizer_start_switch_fiber(&n->frames, n->bottom, n->size);
#else
    (void)n;
#endif
}

static void return_to_stack(stack_note *n) {
#ifdef WATCHED_BY_ASAN
    __sanitizer_finish_switch_fiber(n->frames, NULL, NULL);
#else
    (void)n;
#endif
}

/* ---- calls that may need a signature ---------------------------------------------------------- */

void tio_signing_prepare(tio_conn *c) {
    c->signs_elsewhere = (c->identity ? c->identity : c->context)->settings.keys_elsewhere != 0;
}

int tio_signing_is_full(void) { return paused >= TIO_JOBS; }

static int handshake(tio_conn *c) { return SSL_do_handshake(c->ssl); }
static int peek(tio_conn *c) { return SSL_peek(c->ssl, &c->peeked, 1); }

static int run(tio_conn *c, int (*call)(tio_conn *)) {
    stack_note note;
    int r;
    if (!c->signs_elsewhere && !c->wanted) return call(c);
    if (is_elsewhere(c)) {
        tio_refuse_in_plaintext(c, SSL_AD_INTERNAL_ERROR);
        return -1;
    }
    /* A paused job returns the results of the call that began it, so the same one continues it. */
    if (c->wanted) call = c->job;
    c->job = call;
    SSL_set_mode(c->ssl, SSL_MODE_ASYNC);
    do {
        current = c;
        leave_stack(&note);
        r = call(c);
        return_to_stack(&note);
        current = NULL;
    } while (tio_psk_asked_in_job(c));
    SSL_clear_mode(c->ssl, SSL_MODE_ASYNC);
    return r;
}

static void free_left(void);

int tio_signing_handshake(tio_conn *c) {
    if (c->signs_elsewhere) free_left();
    return run(c, handshake);
}

int tio_signing_peek(tio_conn *c) { return run(c, peek); }

void tio_signing_wait(tio_wanted *w) {
    tio_conn *c = current;
    if (!c || !ASYNC_get_current_job()) return;         /* not one of the calls above: the signature fails */
    if (w->asks.scheme_13 && SSL_version(c->ssl) >= TLS1_3_VERSION) w->asks.scheme = w->asks.scheme_13;
    c->wanted = w;
    c->job_thread = this_thread();
    c->has_signed = 1;
    paused++;
    ASYNC_pause_job();
    paused--;
    c->wanted = NULL;
}

/* ---- the answer ------------------------------------------------------------------------------- */

const tio_signing *tio_conn_signing(const tio_conn *c) {
    return c->question == TIO_ASK_SIGN ? &c->wanted->asks : NULL;
}

int tio_conn_signs_here(const tio_conn *c) { return !is_elsewhere(c); }

int tio_answer_sign(tio_conn *c, const uint8_t *signature, size_t size) {
    if (c->question != TIO_ASK_SIGN) return 0;
    tio_wanted *w = c->wanted;
    if (!tio_key_verify(w, signature, size)) return -1;
    memcpy(w->signature, signature, size);
    w->size = size;
    tio_move_question(c, TIO_NO_QUESTION);
    return 0;
}

void tio_answer_job(tio_conn *c) {
    if (c->question == TIO_ASK_JOB) tio_move_question(c, TIO_NO_QUESTION);
}

/* ---- giving up -------------------------------------------------------------------------------- */

void tio_conn_abandon(tio_conn *c) {
    int16_t sent = c->alert_sent;
    if (!c->wanted || is_elsewhere(c)) return;
    c->wanted->size = 0;
    while (c->wanted) run(c, handshake);
    c->alert_sent = sent;               /* it is not sent: the caller drops the output */
    ERR_clear_error();
}

/* Connections that a thread freed whose job is another thread's. They are few: such a thread is one
 * that collects garbage while the connection's own one waits for a signature, or one to which an
 * event loop was moved. If the job's thread has ended, they stay. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static tio_conn *left;
static atomic_int any_left;

int tio_signing_leave(tio_conn *c) {
    if (!is_elsewhere(c)) return 0;
    c->gate = NULL;                     /* may be gone before */
    c->owner = NULL;
    pthread_mutex_lock(&lock);
    c->next_left = left;
    left = c;
    atomic_store(&any_left, 1);
    pthread_mutex_unlock(&lock);
    return 1;
}

static tio_conn *next_left(void) {
    tio_conn *found = NULL;
    pthread_mutex_lock(&lock);
    for (tio_conn **p = &left; *p && !found; ) {
        if (is_elsewhere(*p)) {
            p = &(*p)->next_left;
            continue;
        }
        found = *p;
        *p = found->next_left;
    }
    atomic_store(&any_left, left != NULL);
    pthread_mutex_unlock(&lock);
    return found;
}

static void free_left(void) {
    tio_conn *c;
    if (!atomic_load(&any_left)) return;
    while ((c = next_left()) != NULL) tio_conn_free(c);
}
