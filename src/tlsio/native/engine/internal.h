/* internal.h - what the engine's files share among themselves.  Users read engine.h. */
#ifndef TLSIO_INTERNAL_H
#define TLSIO_INTERNAL_H

#include "engine.h"

#include <openssl/err.h>

/* ---- the wire ------------------------------------------------------------------------------------------------ */

enum { TIO_SEND_ROOM = TIO_GATHER + 2 * TIO_RECORD };

/* Buffers that a reactor lends to one connection at a time. */
typedef struct {
    tio_conn *borrower, *out_borrower;
    uint8_t scratch[TIO_SCRATCH];
    uint8_t gather[TIO_SEND_ROOM];
} tio_buffers;

typedef struct {
    int fd;                             /* -1: memory */
    int error;                          /* errno of a failed recv, sticky */
    int out_error;                      /* errno of a failed send, sticky: the peer's alert may still be read */
    uint8_t eof;                        /* the peer's FIN was read */
    uint8_t would_block;                /* the last recv() came back short: do not ask the kernel again this turn */
    uint8_t budget_spent;               /* bytes are left although OpenSSL was told "none" */
    uint8_t starved;                    /* OpenSSL wanted bytes in this call, and there were none */
    uint8_t borrowed;                   /* `in` points into a buffer of the caller or of the reactor */
    uint8_t unbounded;                  /* closing: the alert is gathered even when the bound is reached */
    uint8_t sealed;                     /* close_notify is the last: what OpenSSL writes after it, say tickets, is dropped */
    uint8_t out_lent;                   /* `out` is the reactor's send buffer */
    const uint8_t *in;                  /* unread wire bytes */
    size_t in_size;
    uint8_t *block;                     /* private block behind `in`, when it is not borrowed */
    size_t budget;
    uint8_t *out;                       /* gathered records: out[out_start .. out_end) wait to be sent */
    size_t out_start, out_end, out_room;
    size_t out_taken;                   /* of it the driver has so much, see tio_conn_hand_out() */
    uint64_t bytes_in, bytes_out;       /* TLS overhead included */
    tio_buffers *buffers;               /* the reactor's; NULL over memory */
} tio_wire;

static inline size_t tio_wire_unsent(const tio_wire *w) { return w->out_end - w->out_start; }

BIO *tio_wire_bio(tio_conn *);                       /* a new BIO on the connection's wire; NULL without memory */
void tio_wire_close(tio_conn *);                     /* frees buffers; the descriptor is the reactor's */
int tio_wire_append(tio_conn *, const void *, size_t);
int tio_wire_socket_error(const tio_wire *);         /* errno that the socket holds, which is taken from it; 0: none */
int tio_wire_refill(tio_conn *);                     /* asks the kernel; 1 = there are bytes now */
void tio_wire_settle(tio_conn *);                    /* borrowed input becomes private; without memory the wire has failed */
void tio_wire_drop_input(tio_conn *, size_t);        /* the first bytes of what has come were not TLS */
void tio_wire_drop_output(tio_conn *);               /* but what the driver has taken */
void tio_wire_keep_output(tio_conn *);               /* what is unsent moves from the lent buffer to one of its own */

/* ---- one connection ------------------------------------------------------------------------------------------ */

/* Why the last call that reads (or writes) came to its end: what the next one has to wait for. */
typedef enum { TIO_GO, TIO_AWAITS_INPUT, TIO_AWAITS_ROOM } tio_stop;

typedef struct tio_psk tio_psk;

struct tio_conn {
    SSL *ssl;                           /* NULL before the first step */
    tio_context *context;
    tio_context *identity;              /* its certificates are shown in place of the context's own, or NULL */
    tio_gate *gate;                     /* of a server, else NULL */
    tio_reactor *reactor;               /* while it has a slot there */
    void *owner;                        /* the binding's */
    tio_policy policy;
    tio_wire wire;
    tio_fault *fault;                   /* set when BROKEN */
    tio_verify *verify;                 /* what verification found, or NULL */
    uint8_t role, phase, question, in, out;
    uint8_t read_stop, write_stop;      /* tio_stop */
    uint8_t reading, writing;           /* the caller would take plaintext now; it has plaintext to write */
    size_t held;                        /* what was unacknowledged when it broke and its descriptor went */
    uint32_t headers, partial_record;   /* records that have begun with a whole header; the number of the one that is not whole */
    uint64_t data_end;                  /* where the last record of data ends, counted in bytes on the wire */
    uint8_t end_due;                    /* close_notify waits for a handshake to be done */
    uint8_t has_plaintext;              /* a record of plaintext stands inside OpenSSL */
    uint8_t asked;                      /* questions already answered: TIO_WANT_* */
    uint8_t prefaced;                   /* what came before TLS has been taken off */
    uint8_t has_news;                   /* `records` holds lines or a trace to be taken, or a client's `sessions` new ones */
    uint8_t read_paused;                /* the reactor has stopped watching for input */
    uint8_t certificate_requested;      /* the peer asked for ours */
    uint8_t npn_agreed;                 /* client: the server advertised what was chosen */
    uint8_t stateful;                   /* server: gives out ids of sessions, no tickets that carry them */
    uint8_t marked;                     /* server: a session carries the mark of what was verified last */
    uint8_t ticketed;                   /* client: a ticket has come */
    uint8_t limit_exceeded;             /* the tio_limit that a callback found exceeded */
    uint8_t peer_finished;              /* the peer's Finished of the first handshake has come */
    uint8_t rehandshake_asked;          /* we have asked for another handshake */
    uint8_t rehandshake_hello;          /* server: the client's hello that answers it has come */
    uint8_t rehandshake_deferred;       /* server: after the one that the client has begun itself */
    int8_t rehandshake_verify, rehandshake_soft;    /* what was asked for: SSL_VERIFY_*, -1 as it is, and accept_unverified */
    uint8_t rehandshake_begins;         /* client, TLS 1.2: its hello is due */
    uint8_t rehandshake_finished;       /* the peer's Finished of another handshake has come */
    uint8_t rehandshake_done;           /* TIO_REHANDSHAKE_*: not reported yet */
    int8_t accept_unverified;           /* in place of the context's, -1 = as that has it */
    uint8_t counted;                    /* 1 handshaking, 2 open: which counter of the gate holds us */
    uint8_t counted_peer;               /* and the count of its address */
    int16_t alert_sent, alert_received; /* -1 = none; else the description */
    int16_t refusal;                    /* alert an answer chose, -1 = none */
    int verify_answer;                  /* X509_V_*, the binding's word on the peer */
    uint32_t key_updates;               /* and other messages between data that bring none, in a row */
    uint32_t certificate_requests;      /* after the handshake, within the window from requests_ns */
    int64_t requests_ns;
    uint32_t renegotiations;            /* by the peer, within the window */
    int64_t handshake_done_ns;          /* when the last handshake was done */
    int64_t partial_due, rehandshake_due;       /* CLOCK_MONOTONIC, ns, 0 = none */
    uint32_t slot;                      /* index in the reactor */
    int64_t last_activity;
    uint64_t bytes_read, bytes_written; /* plaintext */
    struct sockaddr_in6 peer, local;
    uint8_t first[16];                  /* the peer's first wire bytes, for telling what it spoke */
    uint8_t first_size;
    char *server_name;
    uint8_t *offered;                   /* server: ALPN list of the hello in wire form, kept while it is asked for */
    size_t offered_size;
    uint8_t *chosen;                    /* ALPN answer: one protocol */
    size_t chosen_size;
    tio_psk *psk;                       /* NULL unless TIO_WANT_PSK */
    tio_records *records;
    tio_status *status;
    tio_sessions *sessions;
    tio_key_info own_key;               /* server, TLS 1.2: the key it exchanged with */
    uint16_t max_fragment;              /* plaintext of one record we send at most; 0 = OpenSSL's, 16384 */
};

/* The connection behind an SSL: our BIO carries it, which costs nothing, unlike ex_data. */
static inline tio_conn *tio_conn_of(const SSL *ssl) { return BIO_get_data(SSL_get_rbio(ssl)); }

/* Under AddressSanitizer a byte that was promised and not read shows as this value. */
static inline void tio_poison(void *room, size_t size) {
#ifdef __SANITIZE_ADDRESS__
    __builtin_memset(room, 0xDB, size);
#else
    (void)room, (void)size;
#endif
}

static inline int tio_conn_is_handshake(const tio_conn *c) { return c->phase == TIO_IDLE || c->phase == TIO_HANDSHAKING; }

/* New bytes of the peer may be there: what waited for input may go on.  A write that waits for another handshake may not while
 * plaintext stands: OpenSSL reads nothing before that is taken, and an end behind it is announced again and again. */
static inline void tio_conn_input_came(tio_conn *c) {
    if (c->in != TIO_IN_OPEN) return;                   /* an end is announced again and again */
    c->wire.would_block = 0;
    if (c->read_stop == TIO_AWAITS_INPUT) c->read_stop = TIO_GO;
    if (c->write_stop == TIO_AWAITS_INPUT && !c->has_plaintext) c->write_stop = TIO_GO;
}

/* Options that depend on the connection, beside the context's. */
static inline void tio_conn_set_options(tio_conn *c) {
    uint64_t options = SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION;   /* or a certificate asked for would not come */
    const tio_renegotiation *r = &c->policy.renegotiation;
    if (r->limit || r->window_ns < 0) options |= SSL_OP_ALLOW_CLIENT_RENEGOTIATION;     /* < 0: to be refused */
    if (c->stateful) options |= SSL_OP_NO_TICKET;
    SSL_set_options(c->ssl, options);
}

void tio_conn_break(tio_conn *, tio_fault_kind, tio_limit, int os_error);    /* BROKEN with that fault, unless it is final already */

/* state.c - every move of the four fields; an impossible one is a bug and is refused (-1). */
int tio_move_phase(tio_conn *, tio_phase);
int tio_move_question(tio_conn *, tio_question);
int tio_move_in(tio_conn *, tio_in);
int tio_move_out(tio_conn *, tio_out);

/* clock.c */
int64_t tio_clock(void);                             /* CLOCK_MONOTONIC, ns */
int64_t tio_clock_coarse(void);                      /* the same, 4 ms behind and cheap */

/* faults.c */
void tio_fault_set(tio_conn *, tio_fault_kind, tio_limit, int os_error);     /* reads the error queue, BROKEN */
void tio_refuse_in_plaintext(tio_conn *, int alert); /* while all that was said is in the clear: an alert in place of what is unsent */

/* ocsp.c */
void tio_status_install(SSL_CTX *);
void tio_status_hello(tio_conn *);                   /* the context is the right one, the version not chosen yet */
void tio_status_refuse(tio_conn *, int alert);
void tio_status_done(tio_conn *);                    /* the handshake is: nothing is kept for an idle connection */

/* callbacks.c */
int tio_callbacks_install(SSL_CTX *);
void tio_callbacks_attach(tio_conn *);

/* psk.c */
int tio_psk_attach(tio_conn *);                      /* -1: no memory */
int tio_psk_hello(tio_conn *);                       /* server: the context is chosen, the hello can be read */
void tio_psk_settle(tio_conn *);                     /* the handshake is done */
void tio_psk_free(tio_conn *);

/* facts.c */
void tio_facts_own_key(tio_conn *);                  /* our ServerKeyExchange leaves */

/* diagnostics.c */
void tio_records_install(const tio_conn *, SSL_CTX *);
void tio_records_offer(tio_conn *, const void *, size_t);                /* a ClientHello has come */
void tio_records_trace(tio_conn *, int written, int version, int type, const void *, size_t);
void tio_records_look(tio_conn *);                   /* is anything left to be taken? */
void tio_records_free(tio_conn *);

/* context.c */
int tio_context_switch(tio_conn *, tio_context *);
int tio_context_identity(tio_conn *);                /* `identity` into a new SSL */

/* gate.c */
tio_context *tio_gate_context(tio_gate *);           /* retained for the caller */
unsigned tio_gate_max_lingering(const tio_gate *);   /* descriptors that may be drained at once; NULL: of connections without a gate */
int tio_gate_enter_peer(tio_gate *, const struct sockaddr_in6 *);        /* 0: this address has as many as it may */
void tio_gate_leave_peer(tio_gate *, const struct sockaddr_in6 *);

/* tickets.c */
int tio_ticket_key(SSL *, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int encrypt);

/* sessions.c */
void tio_sessions_install(SSL_CTX *);
void tio_sessions_start(tio_conn *);                 /* client: before the handshake */
void tio_sessions_decide(tio_conn *);                /* server, in the hello: ids or tickets? */
int tio_sessions_hello(tio_conn *);                  /* server: which session is to be resumed; -1: no memory */
void tio_sessions_keep(tio_conn *, SSL_SESSION *);
int tio_sessions_resumed(const tio_conn *);          /* client: the session given was taken */
int tio_sessions_ask(tio_conn *);                    /* server: the question is put, if something was made */
void tio_sessions_free(tio_conn *);


/* marks.c */
int tio_mark_session(tio_conn *, SSL_SESSION *);     /* server: what a session made now remembers; 0: no memory */
int tio_mark_holds(tio_conn *, SSL_SESSION *);       /* server: the verdict that a session was made by still counts */

#endif
