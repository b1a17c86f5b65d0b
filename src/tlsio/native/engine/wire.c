/* wire.c - our BIO: bytes from a descriptor or from memory.
 *
 * In: one recv() of up to 64 KiB goes into a buffer lent by the reactor; OpenSSL takes its records from there.  Whoever
 * stops with bytes left gets them as a private block (tio_conn_settle), so an idle connection owns no buffer at all.
 * Out: records gather in a block that exists only while something is unsent.
 * A call into OpenSSL may swallow TIO_LOOK_BUDGET wire bytes; then it is told "none", so that a flood of records without
 * data (2,000 KeyUpdates in one SSL_read, otherwise) cannot hold the thread.
 * End of file is told to nobody here: see invariant 8. */
#include "internal.h"

#include <errno.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static BIO_METHOD *method;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void remember_first(tio_conn *c, const uint8_t *data, size_t size) {
    size_t room = sizeof c->first - c->first_size, n = size < room ? size : room;
    memcpy(c->first + c->first_size, data, n);
    c->first_size = (uint8_t)(c->first_size + n);
}

/* 1 = there are bytes now */
static int refill(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (w->fd < 0 || w->eof || w->error || w->dry) return 0;
    uint8_t *scratch = tio_reactor_lend(c);
    ssize_t n;
    do n = recv(w->fd, scratch, TIO_SCRATCH, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        tio_reactor_return(c);
        if (n == 0) w->eof = 1;
        else if (errno == EAGAIN) w->dry = 1;
        else w->error = errno;
        return 0;
    }
    w->dry = n < TIO_SCRATCH;
    w->in = scratch;
    w->in_size = (size_t)n;
    w->borrowed = 1;
    w->bytes_in += (size_t)n;
    if (c->first_size < sizeof c->first) remember_first(c, scratch, (size_t)n);
    return 1;
}

static int take(BIO *bio, char *to, int size) {
    tio_conn *c = BIO_get_data(bio);
    tio_wire *w = &c->wire;
    BIO_clear_retry_flags(bio);
    if (!w->budget) w->tired = w->in_size || !w->dry;
    if (!w->budget || (!w->in_size && !refill(c))) {
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = w->in_size < (size_t)size ? w->in_size : (size_t)size;
    memcpy(to, w->in, n);
    w->in += n;
    w->in_size -= n;
    w->budget -= n < w->budget ? n : w->budget;
    return (int)n;
}

static int gather(BIO *bio, const char *from, int size) {
    tio_conn *c = BIO_get_data(bio);
    tio_wire *w = &c->wire;
    BIO_clear_retry_flags(bio);
    if (w->out_end - w->out_start >= TIO_GATHER && !w->unbounded) {
        BIO_set_retry_write(bio);
        return -1;
    }
    return tio_wire_append(c, from, (size_t)size) ? -1 : size;
}

/* FLUSH alone is answered; 1 to everything would make OpenSSL 3.0 believe in kernel TLS and fail. */
static long control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tlsio wire");
    if (!method) return;
    BIO_meth_set_read(method, take);
    BIO_meth_set_write(method, gather);
    BIO_meth_set_ctrl(method, control);
}

BIO *tio_wire_bio(tio_conn *c) {
    pthread_once(&made, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (bio) {
        BIO_set_data(bio, c);
        BIO_set_init(bio, 1);
    }
    return bio;
}

static void discard_output(tio_conn *c);

static int grow(tio_conn *c, size_t room) {
    tio_wire *w = &c->wire;
    size_t held = w->out_end - w->out_start;
    uint8_t *more = malloc(room);
    if (!more) return -1;
    if (held) memcpy(more, w->out + w->out_start, held);
    discard_output(c);
    w->out = more;
    w->out_end = held;
    w->out_room = room;
    return 0;
}

/* Room for `size` bytes more.  Growth follows what is held, never what has passed: a slow reader may leave something unsent
 * for ever.  Closing up at half the room keeps the copying in proportion. */
static int reserve(tio_conn *c, size_t size) {
    tio_wire *w = &c->wire;
    size_t held = w->out_end - w->out_start, need = held + size;
    if (w->out_end + size <= w->out_room) return 0;
    if (w->out_start && need * 2 <= w->out_room) {
        memmove(w->out, w->out + w->out_start, held);
        w->out_start = 0;
        w->out_end = held;
        return 0;
    }
    if (!w->out && c->reactor && (w->out = tio_reactor_lend_out(c, &w->out_room))) {
        w->out_lent = 1;
        if (size <= w->out_room) return 0;
    }
    size_t room = held ? need * 2 : need;
    return grow(c, room < 512 ? 512 : room);
}

int tio_wire_append(tio_conn *c, const void *data, size_t size) {
    tio_wire *w = &c->wire;
    if (reserve(c, size)) return -1;
    memcpy(w->out + w->out_end, data, size);
    w->out_end += size;
    return 0;
}

void tio_wire_drop_output(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (w->out_taken) {                                 /* that much leaves in any case */
        w->out_end = w->out_start + w->out_taken;
        return;
    }
    discard_output(c);
}

static void discard_output(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (w->out_lent) tio_reactor_return_out(c);
    else free(w->out);
    w->out = NULL;
    w->out_start = w->out_end = w->out_room = 0;
    w->out_lent = 0;
}

int tio_wire_keep_output(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (!w->out_lent) return 0;
    if (w->out_start == w->out_end) {
        tio_wire_drop_output(c);
        return 0;
    }
    if (!grow(c, w->out_end - w->out_start)) return 0;
    tio_wire_drop_output(c);                            /* bytes of the stream are lost: nothing can follow */
    tio_conn_break(c, TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
    return -1;
}

void tio_wire_close(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (w->borrowed && c->reactor) tio_reactor_return(c);
    free(w->block);
    w->block = NULL;
    w->in = NULL;
    w->in_size = 0;
    w->borrowed = 0;
    discard_output(c);
}

void tio_conn_settle(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (!w->in_size) {
        w->in = NULL;
        free(w->block);
        w->block = NULL;
    } else if (w->borrowed) {
        uint8_t *block = malloc(w->in_size);
        free(w->block);                                 /* used up before new bytes were borrowed behind it */
        if (block) memcpy(block, w->in, w->in_size);
        else {
            w->in_size = 0;                             /* bytes of the stream are lost: nothing can follow */
            tio_conn_break(c, TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
        }
        w->in = w->block = block;
    }
    if (w->borrowed && c->reactor) tio_reactor_return(c);
    w->borrowed = 0;
}

int tio_conn_feed(tio_conn *c, const uint8_t *data, size_t size) {
    tio_wire *w = &c->wire;
    if (c->first_size < sizeof c->first) remember_first(c, data, size);
    w->bytes_in += size;
    if (!w->in_size) {
        tio_conn_settle(c);
        w->in = data;
        w->in_size = size;
        w->borrowed = 1;
        return 0;
    }
    uint8_t *block = malloc(w->in_size + size);
    if (!block) return -1;
    memcpy(block, w->in, w->in_size);
    memcpy(block + w->in_size, data, size);
    free(w->block);
    w->in = w->block = block;
    w->in_size += size;
    w->borrowed = 0;
    return 0;
}

void tio_conn_feed_eof(tio_conn *c) { c->wire.eof = 1; }

void tio_conn_feed_error(tio_conn *c, int os_error) { c->wire.error = os_error; }

/* What the peer said before it went away, its alert above all, is to be had now: the kernel is asked again. */
void tio_conn_unsent(tio_conn *c, int os_error) {
    c->wire.out_error = os_error;
    c->wire.dry = 0;
    c->wire.out_taken = 0;
    discard_output(c);
}

size_t tio_conn_output(tio_conn *c, const uint8_t **data) {
    tio_wire *w = &c->wire;
    *data = w->out ? w->out + w->out_start : NULL;
    return c->question == TIO_NO_QUESTION ? w->out_end - w->out_start : 0;
}

void tio_conn_hand_out(tio_conn *c, size_t size) { c->wire.out_taken = size; }

void tio_conn_sent(tio_conn *c, size_t size) {
    tio_wire *w = &c->wire;
    size_t held = w->out_end - w->out_start;
    w->out_taken = 0;
    w->bytes_out += size;
    w->out_start += size < held ? size : held;          /* less is held when sending has failed meanwhile */
    if (w->out_start == w->out_end) discard_output(c);
}

size_t tio_conn_unacknowledged(const tio_conn *c) {
    int held = 0;
    if (c->wire.fd < 0 || ioctl(c->wire.fd, SIOCOUTQ, &held)) return 0;
    return (size_t)held;
}

int tio_conn_wants_fin(const tio_conn *c) {
    return c->out == TIO_OUT_ENDING && c->wire.out_end == c->wire.out_start && c->question == TIO_NO_QUESTION;
}

void tio_conn_fin_sent(tio_conn *c) { tio_move_out(c, TIO_OUT_ENDED); }

int tio_conn_flush(tio_conn *c) {
    const uint8_t *data;
    size_t size;
    while ((size = tio_conn_output(c, &data)) != 0) {
        ssize_t n = send(c->wire.fd, data, size, MSG_NOSIGNAL);
        if (n >= 0) {
            tio_conn_sent(c, (size_t)n);
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno != EINTR) {
            tio_conn_unsent(c, errno);
            return -1;
        }
    }
    return c->wire.out_end == c->wire.out_start;
}
