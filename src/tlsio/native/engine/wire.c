/* wire.c - our BIO: bytes from a descriptor or from memory.
 *
 * Theory of operation. Input: one recv() of up to 64 KiB fills a buffer that the reactor lends, and
 * OpenSSL takes its records from there. If bytes are left at the end of a turn they are copied into
 * a private block (tio_wire_settle()). So an idle connection owns no buffer.
 *
 * Output: records gather in a block that exists only while something is unsent, usually the
 * reactor's second buffer.
 *
 * Budget: a call into OpenSSL may consume TIO_LOOK_BUDGET wire bytes. Beyond that the BIO reports
 * that there is no more input, so that a flood of records without data cannot occupy the thread.
 * (Without the budget one SSL_read() processes 2,000 KeyUpdates.)
 *
 * Allowance: what a whole handshake may consume. Bytes count when OpenSSL reads them, so that the
 * verdict does not depend on how they arrive, nor on what follows the handshake.
 *
 * The end of the file is never reported to OpenSSL: see invariant 8 in engine.h.
 *
 * Out of memory, bytes of the stream are lost, and nothing may follow them. The wire then records
 * ENOMEM as the error of its reading or writing side, and the connection ends like one whose recv()
 * or send() failed. */
#include "internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifndef TIO_PORTABLE
#include <linux/sockios.h>
#include <sys/ioctl.h>
#endif
/* Only a reactor's connections have a descriptor; systems without MSG_NOSIGNAL have no reactor. */
#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0
#endif

enum { FIN = 1 };                       /* TCP counts FIN as one byte */

static BIO_METHOD *method;
static pthread_once_t made = PTHREAD_ONCE_INIT;

static void remember_first(tio_conn *c, const uint8_t *data, size_t size) {
    size_t room = sizeof c->first - c->first_size, n = size < room ? size : room;
    memcpy(c->first + c->first_size, data, n);
    c->first_size = (uint8_t)(c->first_size + n);
}

/* ---- the reactor's buffers, lent to one connection at a time --------------------------------- */

static uint8_t *lend(tio_conn *c) {
    tio_buffers *b = c->wire.buffers;
    if (b->borrower && b->borrower != c) tio_wire_settle(b->borrower);
    b->borrower = c;
    return b->scratch;
}

static void give_back(tio_conn *c) {
    if (c->wire.buffers && c->wire.buffers->borrower == c) c->wire.buffers->borrower = NULL;
}

/* The send buffer stays in the CPU cache and saves a malloc per burst (0.8 of the CPU time in
 * bulk). */
static int lend_out(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (!w->buffers || w->buffers->out_borrower) return 0;
    w->buffers->out_borrower = c;
    w->out = w->buffers->gather;
    w->out_room = TIO_SEND_ROOM;
    w->out_lent = 1;
    return 1;
}

/* ---- the BIO --------------------------------------------------------------------------------- */

int tio_wire_refill(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (w->fd < 0 || w->eof || w->error || w->would_block) return 0;
    uint8_t *scratch = lend(c);
    ssize_t n;
    do n = recv(w->fd, scratch, TIO_SCRATCH, 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0) {
        give_back(c);
        if (n == 0) w->eof = 1;
        else if (errno == EAGAIN) w->would_block = 1;
        else w->error = errno;
        return 0;
    }
    w->would_block = n < TIO_SCRATCH;
    w->in = scratch;
    w->in_size = (size_t)n;
    w->borrowed = 1;
    w->bytes_in += (size_t)n;
    if (c->first_size < sizeof c->first) remember_first(c, scratch, (size_t)n);
    return 1;
}

static int read_wire(BIO *bio, char *to, int size) {
    tio_conn *c = BIO_get_data(bio);
    tio_wire *w = &c->wire;
    BIO_clear_retry_flags(bio);
    if (!w->budget) w->budget_spent = w->in_size || (w->fd >= 0 && !w->would_block && !w->eof && !w->error);
    if (!w->budget || (!w->in_size && !tio_wire_refill(c))) {
        w->starved = !w->budget_spent;
        BIO_set_retry_read(bio);
        return -1;
    }
    if (!w->allowance) {
        w->over_limit = 1;
        BIO_set_retry_read(bio);
        return -1;
    }
    size_t n = w->in_size < (size_t)size ? w->in_size : (size_t)size;
    if (n > w->allowance) n = (size_t)w->allowance;
    memcpy(to, w->in, n);
    w->in += n;
    w->in_size -= n;
    w->budget -= n < w->budget ? n : w->budget;
    if (w->allowance != TIO_UNLIMITED) w->allowance -= n;
    return (int)n;
}

static int gather(BIO *bio, const char *from, int size) {
    tio_conn *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    /* Nothing more is sent, but input is still read to its end. */
    if (c->wire.out_error || c->wire.sealed) return size;
    if (tio_wire_unsent(&c->wire) >= TIO_GATHER && !c->wire.unbounded) {
        BIO_set_retry_write(bio);
        return -1;
    }
    return tio_wire_append(c, from, (size_t)size) ? -1 : size;
}

/* Only FLUSH succeeds. If every command did, OpenSSL 3.0 would assume kernel TLS and fail. */
static long control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tlsio wire");
    if (!method) return;
    BIO_meth_set_read(method, read_wire);
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

/* ---- output ---------------------------------------------------------------------------------- */

static void discard_output(tio_wire *w) {
    if (w->out_lent) w->buffers->out_borrower = NULL;
    else free(w->out);
    w->out = NULL;
    w->out_start = w->out_end = w->out_room = 0;
    w->out_lent = 0;
}

static int grow(tio_wire *w, size_t room) {
    size_t held = tio_wire_unsent(w);
    uint8_t *more = malloc(room);
    if (!more) return -1;
    if (held) memcpy(more, w->out + w->out_start, held);
    discard_output(w);
    w->out = more;
    w->out_end = held;
    w->out_room = room;
    return 0;
}

/* Make room for `size` more bytes. The size follows what is unsent, not the total so far: with a
 * slow reader something may always be unsent. Moving data only when at most half of the room is
 * needed limits the copying. */
static int reserve(tio_wire *w, tio_conn *c, size_t size) {
    size_t held = tio_wire_unsent(w), need = held + size;
    if (w->out_end + size <= w->out_room) return 0;
    if (w->out_start && need * 2 <= w->out_room) {
        memmove(w->out, w->out + w->out_start, held);
        w->out_start = 0;
        w->out_end = held;
        return 0;
    }
    if (!w->out && lend_out(c) && size <= w->out_room) return 0;
    size_t room = held ? need * 2 : need;
    return grow(w, room < 512 ? 512 : room);
}

int tio_wire_append(tio_conn *c, const void *data, size_t size) {
    tio_wire *w = &c->wire;
    if (w->out_error) return 0;
    if (reserve(w, c, size)) return -1;
    memcpy(w->out + w->out_end, data, size);
    w->out_end += size;
    return 0;
}

void tio_wire_drop_output(tio_conn *c) {
    tio_wire *w = &c->wire;
    /* the driver sends that much in any case */
    if (w->out_taken) w->out_end = w->out_start + w->out_taken;
    else discard_output(w);
}

static void fail_output(tio_wire *w, int os_error) {
    w->out_error = os_error;
    /* ask the kernel again for what the peer sent before it went away */
    w->would_block = 0;
    w->out_taken = 0;
    discard_output(w);
}

void tio_wire_keep_output(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (!w->out_lent) return;
    if (w->out_start == w->out_end) discard_output(w);
    else if (grow(w, tio_wire_unsent(w))) fail_output(w, ENOMEM);
}

void tio_wire_close(tio_conn *c) {
    tio_wire *w = &c->wire;
    give_back(c);
    free(w->block);
    w->block = NULL;
    w->in = NULL;
    w->in_size = 0;
    w->borrowed = 0;
    discard_output(w);
}

/* ---- input ----------------------------------------------------------------------------------- */

void tio_wire_settle(tio_conn *c) {
    tio_wire *w = &c->wire;
    if (!w->in_size) {
        w->in = NULL;
        free(w->block);
        w->block = NULL;
    } else if (w->borrowed) {
        uint8_t *block = malloc(w->in_size);
        free(w->block);                 /* was used up before new bytes were borrowed */
        if (block) {
            memcpy(block, w->in, w->in_size);
        } else {
            w->in_size = 0;
            w->error = ENOMEM;
            tio_conn_input_came(c);                     /* so that a read reports the error */
        }
        w->in = w->block = block;
    }
    if (w->borrowed) give_back(c);
    w->borrowed = 0;
}

void tio_wire_drop_input(tio_conn *c, size_t size) {
    tio_wire *w = &c->wire;
    if (size > w->in_size) size = w->in_size;
    w->in += size;
    w->in_size -= size;
}

size_t tio_conn_preface(const tio_conn *c, const uint8_t **data) {
    *data = c->wire.in;
    return c->question == TIO_ASK_PREFACE ? c->wire.in_size : 0;
}

int tio_conn_feed(tio_conn *c, const uint8_t *data, size_t size) {
    tio_wire *w = &c->wire;
    if (c->first_size < sizeof c->first) remember_first(c, data, size);
    w->bytes_in += size;
    tio_conn_input_came(c);
    if (!w->in_size) {
        tio_wire_settle(c);
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

void tio_conn_feed_eof(tio_conn *c) {
    c->wire.eof = 1;
    tio_conn_input_came(c);
}

void tio_conn_feed_error(tio_conn *c, int os_error) {
    c->wire.error = os_error;
    tio_conn_input_came(c);
}

size_t tio_conn_held(const tio_conn *c) { return c->wire.in_size; }

/* ---- sending --------------------------------------------------------------------------------- */

void tio_conn_send_failed(tio_conn *c, int os_error) {
    fail_output(&c->wire, os_error);
    tio_conn_input_came(c);
}

int tio_conn_send_error(const tio_conn *c) { return c->wire.out_error; }

size_t tio_conn_output(tio_conn *c, const uint8_t **data) {
    tio_wire *w = &c->wire;
    *data = w->out ? w->out + w->out_start : NULL;
    return c->question == TIO_NO_QUESTION ? tio_wire_unsent(w) : 0;
}

void tio_conn_output_copied(tio_conn *c, size_t size) { c->wire.out_taken = size; }

void tio_conn_sent(tio_conn *c, size_t size) {
    tio_wire *w = &c->wire;
    size_t held = tio_wire_unsent(w);
    w->out_taken = 0;
    w->bytes_out += size;
    w->out_start += size < held ? size : held;       /* less is left if sending has failed since */
    if (w->out_start == w->out_end) discard_output(w);
}

void tio_conn_fin_sent(tio_conn *c) { tio_move_out(c, TIO_OUT_ENDED); }

size_t tio_conn_unsent(const tio_conn *c) { return tio_wire_unsent(&c->wire); }

size_t tio_conn_unacknowledged(const tio_conn *c) {
    int held = 0;
    if (c->wire.fd < 0) return c->unacknowledged;
#ifndef TIO_PORTABLE
    if (ioctl(c->wire.fd, SIOCOUTQ, &held)) return 0;
#endif
    return (size_t)held;
}

/* Tickets and close_notify do not count: a peer that closes as soon as it has read everything
 * answers them with a reset, and has lost no data. */
size_t tio_conn_undelivered(const tio_conn *c, size_t held) {
    uint64_t given = c->wire.bytes_out + (c->out == TIO_OUT_ENDED ? FIN : 0), acknowledged = given > held ? given - held : 0;
    return c->data_end > acknowledged ? (size_t)(c->data_end - acknowledged) : 0;
}

int tio_wire_socket_error(const tio_wire *w) {
    int error = 0;
    socklen_t size = sizeof error;
    return getsockopt(w->fd, SOL_SOCKET, SO_ERROR, &error, &size) ? errno : error;
}

/* Only our end is unsent, and the peer, which has ended, does not wait for it. */
static int has_delivered(const tio_conn *c) {
    return c->in != TIO_IN_OPEN && c->out != TIO_OUT_OPEN && !tio_conn_undelivered(c, tio_conn_unacknowledged(c));
}

int tio_conn_flush(tio_conn *c) {
    const uint8_t *data;
    size_t size;
    while ((size = tio_conn_output(c, &data)) != 0) {
        ssize_t n = send(c->wire.fd, data, size, MSG_NOSIGNAL);
        if (n >= 0) {
            tio_conn_sent(c, (size_t)n);
        } else if (errno == EAGAIN) {
            return 0;
        } else if (errno != EINTR && has_delivered(c)) {
            tio_wire_drop_output(c);
        } else if (errno != EINTR) {
            tio_conn_send_failed(c, errno);
            return -1;
        }
    }
    return c->wire.out_end == c->wire.out_start;
}
