/* internal.h - what the engine's files share with each other. Callers read engine.h. */
#ifndef TLSIO_INTERNAL_H
#define TLSIO_INTERNAL_H

#include "engine.h"

#include <openssl/err.h>

/* ---- the wire -------------------------------------------------------------------------------- */

enum { TIO_SEND_ROOM = TIO_GATHER + 2 * TIO_RECORD };

/* Buffers that a reactor lends to one connection at a time. */
typedef struct {
    tio_conn *borrower, *out_borrower;
    uint8_t scratch[TIO_SCRATCH];
    uint8_t gather[TIO_SEND_ROOM];
} tio_buffers;

typedef struct {
    int fd;                             /* -1: memory wire */
    int error;                          /* errno of a failed recv, sticky */
    /* errno of a failed send, sticky; the peer's alert may still be read */
    int out_error;
    uint8_t eof;                        /* the peer's FIN was read */
    /* the last recv() was short: no further recv() in this turn */
    uint8_t would_block;
    /* the BIO reported that there is no input, although there is */
    uint8_t budget_spent;
    uint8_t starved;                    /* OpenSSL wanted input in this call, and there was none */
    uint8_t over_limit;                 /* OpenSSL wanted input that the limit does not allow */
    /* `in` points into a buffer of the caller or of the reactor */
    uint8_t borrowed;
    uint8_t unbounded;                  /* closing: the alert is gathered even beyond the limit */
    /* close_notify was the last: later output, such as tickets, is dropped */
    uint8_t sealed;
    uint8_t out_lent;                   /* `out` is the reactor's send buffer */
    const uint8_t *in;                  /* wire bytes that OpenSSL has not read */
    size_t in_size;
    uint8_t *block;                     /* private memory of `in`, when `in` is not borrowed */
    size_t budget;
    uint64_t allowance;                 /* bytes that OpenSSL may still read in the handshake */
    uint8_t *out;                       /* gathered records: out[out_start .. out_end) is unsent */
    size_t out_start, out_end, out_room;
    /* bytes of it that the driver has copied; see tio_conn_output_copied() */
    size_t out_taken;
    uint64_t bytes_in, bytes_out;       /* including TLS overhead */
    tio_buffers *buffers;               /* the reactor's; NULL on a memory wire */
} tio_wire;

#define TIO_UNLIMITED UINT64_MAX        /* of an allowance */

static inline size_t tio_wire_unsent(const tio_wire *w) { return w->out_end - w->out_start; }

/* a new BIO on the connection's wire; NULL: out of memory */
BIO *tio_wire_bio(tio_conn *);
void tio_wire_close(tio_conn *);        /* frees the buffers; the reactor owns the descriptor */
int tio_wire_append(tio_conn *, const void *, size_t);
/* returns and clears the socket's SO_ERROR; 0: none */
int tio_wire_socket_error(const tio_wire *);
int tio_wire_refill(tio_conn *);        /* reads from the kernel; 1 = there are bytes now */
void tio_wire_settle(tio_conn *);       /* copies borrowed input; out of memory, the wire fails */
void tio_wire_drop_input(tio_conn *, size_t);        /* the first bytes of the input were not TLS */
void tio_wire_drop_output(tio_conn *);               /* except what the driver has copied */
/* moves unsent output from the lent buffer to a private one */
void tio_wire_keep_output(tio_conn *);

/* ---- one connection -------------------------------------------------------------------------- */

/* Why the last call that reads (or writes) stopped: what the next one must wait for. */
typedef enum { TIO_GO, TIO_AWAITS_INPUT, TIO_AWAITS_ROOM } tio_stop;

typedef struct tio_psk tio_psk;

/* What the provider (keys.c) asks for. It lives on the stack of the paused job. */
typedef struct {
    tio_signing asks;
    EVP_PKEY *public;
    const char *digest;                 /* NULL: the algorithm has its own */
    int padding;                        /* RSA_*, 0: another algorithm */
    uint8_t *signature;                 /* room for the longest one */
    size_t size;                        /* 0: there is none */
} tio_wanted;

/* What a handshake thread passes on: a connection, a refused descriptor, or the error of accept(). */
typedef struct tio_parcel tio_parcel;
struct tio_parcel {
    tio_parcel *next;
    tio_conn *conn;                     /* it contains the parcel; else NULL */
    uint32_t notices;
    int fd, error;
    int64_t due;                        /* the deadline of its handshake, 0 = none */
};

struct tio_conn {
    SSL *ssl;                           /* NULL before the first step */
    tio_context *context;
    /* its certificates replace those of the context; may be NULL */
    tio_context *identity;
    tio_gate *gate;                     /* a server's, else NULL */
    tio_reactor *reactor;               /* while the connection has a slot in it */
    void *owner;                        /* the binding's object */
    tio_policy policy;
    tio_wire wire;
    tio_fault *fault;                   /* set when BROKEN */
    tio_verify *verify;                 /* what verification found, or NULL */
    uint8_t role, phase, question, in, out;
    uint8_t read_stop, write_stop;      /* tio_stop */
    /* the caller would accept plaintext now; it has plaintext to write */
    uint8_t reading, writing;
    /* unacknowledged bytes when a BROKEN connection lost its descriptor */
    size_t unacknowledged;
    /* records with a complete header so far; number of the incomplete one */
    uint32_t headers, partial_record;
    /* position after the last record of data, in wire bytes sent */
    uint64_t data_end;
    uint8_t end_due;                    /* close_notify waits for the end of a handshake */
    uint8_t has_plaintext;              /* OpenSSL holds a record of plaintext */
    uint8_t asked;                      /* TIO_WANT_*: questions that are not asked again */
    uint8_t preface_done;                   /* the bytes before TLS were consumed */
    /* key lines, a trace or a client's new sessions can be fetched */
    uint8_t has_news;
    uint8_t read_paused;                /* the reactor does not watch for input */
    uint8_t certificate_requested;      /* the peer asked for our certificate */
    uint8_t npn_agreed;                 /* client: the server advertised the chosen protocol */
    uint8_t stateful;                   /* server: issues session ids instead of tickets */
    /* server: the session has the mark of the last verification */
    uint8_t marked;
    uint8_t ticket_received;                   /* client: a ticket was received */
    uint8_t limit_exceeded;             /* tio_limit: what a callback found exceeded */
    /* the peer's Finished of the first handshake was received */
    uint8_t peer_finished;
    uint8_t rehandshake_asked;          /* we have requested another handshake, and no answer came */
    uint8_t rehandshake_unreported;     /* the same, until its result is reported */
    uint8_t rehandshake_hello;          /* server: the client's hello for it was received */
    /* server: ours follows the one that the client has started */
    uint8_t rehandshake_deferred;
    /* the requested SSL_VERIFY_* (-1: unchanged) and accept_unverified */
    int8_t rehandshake_verify, rehandshake_accept_unverified;
    uint8_t rehandshake_begins;         /* client, TLS 1.2: its hello is due */
    uint8_t rehandshake_finished;       /* the peer's Finished of another handshake was received */
    uint8_t rehandshake_done;           /* TIO_REHANDSHAKE_*, not reported yet */
    int8_t accept_unverified;           /* overrides the context's; -1 = not set */
    uint8_t counted;                    /* the gate counts us as: 0 not, 1 handshaking, 2 open */
    uint8_t counted_peer;               /* the gate counts us for our address */
    int16_t alert_sent, alert_received; /* the alert's description, -1 = none */
    int16_t refusal;                    /* the alert that an answer chose, -1 = none */
    int verify_answer;                  /* X509_V_*: the binding's verdict */
    uint32_t key_updates;               /* KeyUpdates and other messages without data, in a row */
    /* repeated requests in the window that began at requests_ns */
    uint32_t certificate_requests;
    int64_t requests_ns;
    uint32_t renegotiations;            /* by the peer, in the current window */
    int64_t handshake_done_ns;          /* when the last handshake was complete */
    int64_t partial_due, rehandshake_due;       /* CLOCK_MONOTONIC, ns, 0 = none */
    uint32_t slot;                      /* index in the reactor's table */
    int64_t last_activity;
    uint64_t bytes_read, bytes_written; /* plaintext */
    struct sockaddr_in6 peer, local;
    uint8_t first[16];                  /* the peer's first wire bytes, which show its protocol */
    uint8_t first_size;
    char *server_name;
    /* server: the client's ALPN list, wire format, kept during TIO_ASK_HELLO */
    uint8_t *offered;
    size_t offered_size;
    uint8_t *chosen;                    /* one ALPN protocol, from the answer */
    size_t chosen_size;
    tio_psk *psk;                       /* NULL unless TIO_WANT_PSK */
    tio_records *records;
    tio_status *status;
    tio_sessions *sessions;
    tio_key_info own_key;               /* server, TLS 1.2: its ephemeral key */
    uint16_t max_fragment;              /* plaintext per record sent; 0 = OpenSSL's 16384 */
    /* The private key is elsewhere, and a signature may still be needed; see signing.c. */
    uint8_t signs_elsewhere;
    uint8_t has_signed;                 /* it has asked for a signature */
    char peeked;                        /* written by a job */
    tio_wanted *wanted;                 /* a job waits for this signature; else NULL */
    int (*job)(tio_conn *);             /* the call that began it */
    uint64_t job_thread;                /* see signing.c */
    tio_conn *next_left;                /* in the list of freed connections of another thread */
    tio_parcel parcel;                  /* while it is passed to another reactor */
};

/* The connection of an SSL. Our BIO carries it, which is free, unlike ex_data. */
static inline tio_conn *tio_conn_of(const SSL *ssl) { return BIO_get_data(SSL_get_rbio(ssl)); }

/* Under AddressSanitizer a byte that was reported as read but not written has this value. */
static inline void tio_poison(void *room, size_t size) {
#ifdef __SANITIZE_ADDRESS__
    __builtin_memset(room, 0xDB, size);
#else
    (void)room, (void)size;
#endif
}

/* ERR_clear_error() takes 750 instructions for an empty queue too, which is as it should be before
 * almost every call. */
static inline void tio_clear_errors(void) {
    if (ERR_peek_error()) ERR_clear_error();
}

static inline int tio_conn_is_handshake(const tio_conn *c) { return c->phase == TIO_IDLE || c->phase == TIO_HANDSHAKING; }

/* The peer may have sent more: continue what waited for input. A write that waits for another
 * handshake stays blocked while OpenSSL holds plaintext, because OpenSSL reads nothing before that
 * is taken. */
static inline void tio_conn_input_came(tio_conn *c) {
    if (c->in != TIO_IN_OPEN) return;   /* the end of file is reported again and again */
    c->wire.would_block = 0;
    if (c->read_stop == TIO_AWAITS_INPUT) c->read_stop = TIO_GO;
    if (c->write_stop == TIO_AWAITS_INPUT && !c->has_plaintext) c->write_stop = TIO_GO;
}

/* Set the options that depend on the connection, in addition to the context's. */
static inline void tio_conn_set_options(tio_conn *c) {
    /* or a requested certificate would not be sent */
    uint64_t options = SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION;
    const tio_renegotiation *r = &c->policy.renegotiation;
    /* < 0: on_renegotiation() refuses */
    if (r->limit || r->window_ns < 0) options |= SSL_OP_ALLOW_CLIENT_RENEGOTIATION;
    if (c->stateful) options |= SSL_OP_NO_TICKET;
    SSL_set_options(c->ssl, options);
}

/* unless the phase is final */
void tio_conn_break(tio_conn *, tio_fault_kind, tio_limit, int os_error);

/* state.c - all changes of the four fields. An impossible one is a bug and is rejected (-1). */
int tio_move_phase(tio_conn *, tio_phase);
int tio_move_question(tio_conn *, tio_question);
int tio_move_in(tio_conn *, tio_in);
int tio_move_out(tio_conn *, tio_out);

/* clock.c */
int64_t tio_clock_coarse(void);                      /* tio_clock(), up to 4 ms late and cheap */

/* faults.c */
/* reads the error queue; BROKEN */
void tio_fault_set(tio_conn *, tio_fault_kind, tio_limit, int os_error);
/* before anything encrypted was sent: replaces the unsent output by an alert */
void tio_refuse_in_plaintext(tio_conn *, int alert);

/* ocsp.c */
void tio_status_install(SSL_CTX *);
void tio_status_hello(tio_conn *);      /* the context is final, the version is not chosen yet */
void tio_status_refuse(tio_conn *, int alert);
/* the handshake is complete: frees what an idle connection does not need */
void tio_status_done(tio_conn *);

/* callbacks.c */
int tio_callbacks_install(SSL_CTX *);
void tio_callbacks_attach(tio_conn *);

/* psk.c */
int tio_psk_attach(tio_conn *);                      /* -1: out of memory */
int tio_psk_hello(tio_conn *);          /* server: the context is final, the hello can be read */
void tio_psk_settle(tio_conn *);                     /* the handshake is complete */
int tio_psk_owes_tickets(tio_conn *);                /* server: once after tio_psk_settle() */
int tio_psk_made(const SSL_SESSION *);                /* up to TLS 1.2: the session was made with a key */
void tio_psk_free(tio_conn *);

/* true after a call that has paused for tio_psk_ask(): it is asked now, and the call is repeated */
int tio_psk_asked_in_job(tio_conn *);

/* keys.c */
int tio_key_verify(const tio_wanted *, const uint8_t *signature, size_t size);

/* signing.c: OpenSSL's calls that may need a signature. They return what the call returns. If
 * c->wanted is set then, they have paused, which must be looked at first: SSL_get_error() may find
 * errors in the queue that OpenSSL has overcome. */
void tio_signing_prepare(tio_conn *);                /* the certificate is final */
int tio_signing_handshake(tio_conn *);               /* SSL_do_handshake() */
int tio_signing_peek(tio_conn *);                    /* SSL_peek() of one byte */
void tio_signing_wait(tio_wanted *);                 /* from inside such a call */
int tio_signing_leave(tio_conn *);                   /* 1: another thread must free it, and will */

/* facts.c */
void tio_facts_own_key(tio_conn *);                  /* our ServerKeyExchange is being sent */

/* diagnostics.c */
void tio_records_install(const tio_conn *, SSL_CTX *);
void tio_records_offer(tio_conn *, const void *, size_t);  /* a ClientHello was received */
void tio_records_trace(tio_conn *, int written, int version, int type, const void *, size_t);
void tio_records_update_news(tio_conn *);                   /* set `has_news` */
void tio_records_free(tio_conn *);

/* context.c */
int tio_context_switch(tio_conn *, tio_context *);
int tio_context_identity(tio_conn *);   /* copy the certificates of `identity` into a new SSL */

/* gate.c */
/* the caller must release it; wants: of its connections */
tio_context *tio_gate_context(tio_gate *, uint16_t *wants);
/* descriptors that may be drained at once; NULL: for connections without a gate */
unsigned tio_gate_max_lingering(const tio_gate *);
/* 0: the address has reached its limit */
int tio_gate_enter_peer(tio_gate *, const struct sockaddr_in6 *);
void tio_gate_leave_peer(tio_gate *, const struct sockaddr_in6 *);

/* answers.c */
/* Answer a hello by what the gate remembers. Returns 0 if it remembers nothing, or if the context
 * must not be used in a handshake thread: the question stays. */
int tio_gate_answer(tio_conn *, int in_thread);

/* tickets.c */
int tio_ticket_key(SSL *, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int encrypt);

/* sessions.c */
void tio_sessions_install(SSL_CTX *);
void tio_sessions_start(tio_conn *);                 /* client: before the handshake */
void tio_sessions_decide(tio_conn *);   /* server, in the hello: session ids or tickets? */
/* server: which session the client wants to resume; -1: out of memory */
int tio_sessions_hello(tio_conn *);
void tio_sessions_keep(tio_conn *, SSL_SESSION *);
int tio_sessions_resumed(const tio_conn *);  /* client: the server has resumed the given session */
void tio_conn_reset_strictness(tio_conn *);
int tio_sessions_ask(tio_conn *);       /* server: opens TIO_ASK_STORE if sessions were made */
void tio_sessions_free(tio_conn *);


/* marks.c */
/* server: write the mark of a new session; 0: out of memory */
int tio_mark_session(tio_conn *, SSL_SESSION *);
int tio_mark_holds(tio_conn *, SSL_SESSION *);       /* server: the mark still permits resumption */

#endif
