/* next.c - what now?  The one answer to the question what a connection waits for, and the getters of what it is.
 *
 * Theory of operation.  A connection moves when the peer's bytes come, when the kernel or the stream takes ours, when the caller
 * takes plaintext or has some to write, when a question is answered, and when a clock runs out.  Whoever drives it must know
 * which of these it waits for: if a wait is missed the connection stands still for ever, and if one is seen that is none the
 * driver turns for ever.  Neither can be derived from what is held: wire bytes may lie there that OpenSSL does not look at
 * because it wants to write first, and data may be queued that it does not take because it wants to read first.  So the reason
 * of the last stop is kept for each direction (conn.c), it is taken back by the event it named (tio_conn_input_came, room in the
 * wire), and everything is derived from it here.
 *
 * The rule that keeps drivers silent: TIO_NEXT_TURN is said only when the next call is not the one that has just stopped. */
#include "internal.h"

static int has_room(const tio_conn *c) { return tio_wire_unsent(&c->wire) < TIO_GATHER || c->wire.unbounded; }

/* Bytes that OpenSSL has not seen yet, or an end that it was not asked about yet. */
static int holds_input(const tio_conn *c) { return c->wire.in_size || c->wire.budget_spent || c->wire.eof || c->wire.error; }

/* The reading side, of a handshake too.  A client's handshake begins with its first step, not with the peer's bytes. */
static unsigned next_input(const tio_conn *c) {
    if (c->phase == TIO_IDLE && c->role == TIO_CLIENT) return 0;
    if (c->phase == TIO_OPEN && c->refusal >= 0) return TIO_NEXT_TURN;      /* the refusal is not written yet */
    if (c->read_stop == TIO_AWAITS_ROOM) return has_room(c) ? TIO_NEXT_TURN : TIO_NEXT_ROOM;
    if (c->has_plaintext) return TIO_NEXT_READABLE | (c->reading || c->phase == TIO_CLOSING ? TIO_NEXT_TURN : 0);
    unsigned next = c->read_paused ? TIO_NEXT_INPUT | TIO_NEXT_TURN : TIO_NEXT_INPUT;       /* the kernel is to be told to wake us again */
    if (c->read_stop == TIO_AWAITS_INPUT) return next;
    if (c->wire.fd >= 0 && !c->wire.would_block) return next | TIO_NEXT_TURN;               /* the kernel may have more */
    return holds_input(c) ? TIO_NEXT_TURN : next;
}

/* The writing side: plaintext above the engine, and an end behind it. */
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
    else if (c->wire.out_error || c->end_due) next |= TIO_NEXT_TURN;        /* nothing more will come that could explain or delay it */
    if (may_write(c) || (c->rehandshake_done && (c->phase == TIO_OPEN || c->phase == TIO_CLOSING))) next |= TIO_NEXT_TURN;     /* the latter is to be reported */
    if (c->wire.out_error && !c->has_plaintext) next |= TIO_NEXT_TURN;      /* reported by the next step */
    return next;
}

void tio_conn_want(tio_conn *c, int reading, int writing) {
    if (reading >= 0) c->reading = reading != 0;
    if (writing >= 0) c->writing = writing != 0;
}

/* ---- getters ------------------------------------------------------------------------------------------------------ */

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
int tio_conn_awaits_rehandshake(const tio_conn *c) { return c->rehandshake_asked; }
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
