/* next.c - what a connection waits for, and getters.
 *
 * Theory of operation. A connection can progress when the peer sends bytes, when the kernel or the
 * stream accepts ours, when the caller takes plaintext or has some to write, when a question is
 * answered, and when a deadline passes. Its driver must know which of these it waits for. If a wait
 * is missed, the connection stalls; if a wait is reported that does not exist, the driver loops
 * forever.
 *
 * The buffers alone do not show it: OpenSSL may leave wire bytes unread because it must write
 * first, or refuse data because it must read first. So conn.c stores for each direction why the
 * last call stopped. The awaited event clears that reason: tio_conn_input_came() for input; for
 * output, room in the wire. Everything else is derived here.
 *
 * To keep drivers from spinning, TIO_NEXT_TURN is only set if the next call differs from the one
 * that has just stopped. */
#include "internal.h"

static int has_room(const tio_conn *c) { return tio_wire_unsent(&c->wire) < TIO_GATHER || c->wire.unbounded; }

/* Is there input that OpenSSL has not seen, or an end of file that it has not been asked about? */
static int holds_input(const tio_conn *c) { return c->wire.in_size || c->wire.budget_spent || c->wire.eof || c->wire.error; }

/* The reading side, including handshakes. A client's handshake starts with its first step, not with
 * the peer's bytes. */
static unsigned next_input(const tio_conn *c) {
    if (c->phase == TIO_IDLE && c->role == TIO_CLIENT) return 0;
    /* The refusal is not written yet. */
    if (c->phase == TIO_OPEN && c->refusal >= 0) return TIO_NEXT_TURN;
    if (c->read_stop == TIO_AWAITS_ROOM) return has_room(c) ? TIO_NEXT_TURN : TIO_NEXT_ROOM;
    if (c->has_plaintext) return TIO_NEXT_READABLE | (c->reading == 1 || c->phase == TIO_CLOSING ? TIO_NEXT_TURN : 0);
    /* A turn makes the reactor watch for input again. */
    unsigned next = c->read_paused ? TIO_NEXT_INPUT | TIO_NEXT_TURN : TIO_NEXT_INPUT;
    if (c->read_stop == TIO_AWAITS_INPUT || (c->reading == TIO_NOTIFIED && c->phase == TIO_OPEN)) return next;
    /* The kernel may have more. */
    if (c->wire.fd >= 0 && !c->wire.would_block) return next | TIO_NEXT_TURN;
    return holds_input(c) ? TIO_NEXT_TURN : next;
}

/* Can queued plaintext be written? */
static int may_write(const tio_conn *c) {
    if (!c->writing || c->phase != TIO_OPEN || c->out != TIO_OUT_OPEN || c->wire.out_error) return 0;
    return c->write_stop != TIO_AWAITS_INPUT && has_room(c);
}

unsigned tio_conn_next(const tio_conn *c) {
    unsigned next = 0;
    if (c->phase == TIO_CLOSED) return 0;
    if (c->in != TIO_IN_OPEN) next |= TIO_NEXT_END;
    if (c->question != TIO_NO_QUESTION) return next | TIO_NEXT_QUESTION;
    if (tio_wire_unsent(&c->wire)) next |= TIO_NEXT_ROOM;
    else if (c->out == TIO_OUT_ENDING && !c->end_due) next |= TIO_NEXT_FIN;
    if (c->phase == TIO_BROKEN) return next;
    if (c->in == TIO_IN_OPEN) next |= next_input(c);
    /* No further input can explain the failure or delay the end. */
    else if (c->wire.out_error || c->end_due) next |= TIO_NEXT_TURN;
    /* The result of another handshake must be reported. */
    if (may_write(c) || (c->rehandshake_done && (c->phase == TIO_OPEN || c->phase == TIO_CLOSING))) next |= TIO_NEXT_TURN;
    /* The next step reports the failed send. */
    if (c->wire.out_error && !c->has_plaintext) next |= TIO_NEXT_TURN;
    return next;
}

void tio_conn_want(tio_conn *c, int reading, int writing) {
    if (reading >= 0) c->reading = (uint8_t)reading;
    if (writing >= 0) c->writing = writing != 0;
}

/* ---- getters --------------------------------------------------------------------------------- */

tio_policy *tio_conn_policy(tio_conn *c) { return &c->policy; }
void tio_conn_set_gate(tio_conn *c, tio_gate *g) { c->gate = g; }
void tio_conn_set_owner(tio_conn *c, void *owner) { c->owner = owner; }
tio_role tio_conn_role(const tio_conn *c) { return (tio_role)c->role; }
tio_phase tio_conn_phase(const tio_conn *c) { return (tio_phase)c->phase; }
tio_question tio_conn_question(const tio_conn *c) { return (tio_question)c->question; }
tio_in tio_conn_in(const tio_conn *c) { return (tio_in)c->in; }
tio_out tio_conn_out(const tio_conn *c) { return (tio_out)c->out; }
SSL *tio_conn_ssl(const tio_conn *c) { return c->ssl; }
tio_context *tio_conn_context(const tio_conn *c) { return c->context; }
tio_gate *tio_conn_gate(const tio_conn *c) { return c->gate; }
void *tio_conn_owner(const tio_conn *c) { return c->owner; }
int tio_conn_fd(const tio_conn *c) { return c->wire.fd; }
const tio_fault *tio_conn_fault(const tio_conn *c) { return c->fault; }
const tio_verify *tio_conn_verify(const tio_conn *c) { return c->verify; }
const char *tio_conn_server_name(const tio_conn *c) { return c->server_name; }
const tio_status *tio_conn_status(const tio_conn *c) { return c->status; }
const tio_records *tio_conn_records(const tio_conn *c) { return c->records; }
int tio_conn_peer_finished(const tio_conn *c) { return c->peer_finished; }
int tio_conn_awaits_rehandshake(const tio_conn *c) { return c->rehandshake_unreported; }
int tio_conn_has_news(const tio_conn *c) { return c->has_news; }
int64_t tio_conn_last_activity(const tio_conn *c) { return c->last_activity; }
const struct sockaddr_in6 *tio_conn_peer(const tio_conn *c) { return &c->peer; }
const struct sockaddr_in6 *tio_conn_local(const tio_conn *c) { return &c->local; }

size_t tio_conn_offered(const tio_conn *c, const uint8_t **list) {
    *list = c->offered;
    return c->offered_size;
}

size_t tio_conn_asked_session(const tio_conn *c, const uint8_t **id) {
    *id = c->sessions ? c->sessions->asked : NULL;
    return c->sessions ? c->sessions->asked_size : 0;
}

tio_counts tio_conn_counts(const tio_conn *c) {
    return (tio_counts){ c->bytes_read, c->bytes_written, c->wire.bytes_in, c->wire.bytes_out };
}
