/* state.c - the state table, and the functions that change its fields.
 *
 * A connection's state is four fields, because they change independently: a half-closed connection
 * can break, and an open one can have a question again (post-handshake authentication). No rule
 * here depends on the role. An impossible change is a bug of the caller; it is rejected, so that
 * the state stays valid. */
#include "internal.h"

#define BIT(x) (1u << (x))

static const unsigned phase_to[] = {
    [TIO_IDLE] = BIT(TIO_HANDSHAKING) | BIT(TIO_CLOSED) | BIT(TIO_BROKEN),
    [TIO_HANDSHAKING] = BIT(TIO_OPEN) | BIT(TIO_CLOSED) | BIT(TIO_BROKEN),
    [TIO_OPEN] = BIT(TIO_CLOSING) | BIT(TIO_CLOSED) | BIT(TIO_BROKEN),
    [TIO_CLOSING] = BIT(TIO_CLOSED) | BIT(TIO_BROKEN),
    [TIO_CLOSED] = 0,
    [TIO_BROKEN] = 0,
};

int tio_move_phase(tio_conn *c, tio_phase to) {
    if (!(phase_to[c->phase] & BIT(to))) return -1;
    c->phase = (uint8_t)to;
    /* No answer is possible any more. */
    if (to == TIO_BROKEN || to == TIO_CLOSED) c->question = TIO_NO_QUESTION;
    return 0;
}

/* One question at a time, and only while there is something to decide. */
int tio_move_question(tio_conn *c, tio_question to) {
    if (to != TIO_NO_QUESTION && (c->question != TIO_NO_QUESTION || (c->phase != TIO_HANDSHAKING && c->phase != TIO_OPEN)))
        return -1;
    c->question = (uint8_t)to;
    return 0;
}

int tio_move_in(tio_conn *c, tio_in to) {
    if (c->in != TIO_IN_OPEN || to == TIO_IN_OPEN) return -1;
    c->in = (uint8_t)to;
    return 0;
}

int tio_move_out(tio_conn *c, tio_out to) {
    if ((int)to <= (int)c->out) return -1;
    c->out = (uint8_t)to;
    return 0;
}
