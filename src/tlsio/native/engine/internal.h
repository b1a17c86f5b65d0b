/* internal.h - what the engine's files share among themselves.  Users read engine.h. */
#ifndef TLSIO_INTERNAL_H
#define TLSIO_INTERNAL_H

#include "engine.h"

/* state.c - every move of the four fields; an impossible one is a bug and is refused (-1). */
int tio_move_phase(tio_conn *, tio_phase);
int tio_move_question(tio_conn *, tio_question);
int tio_move_in(tio_conn *, tio_in);
int tio_move_out(tio_conn *, tio_out);

/* wire.c */
BIO *tio_wire_bio(tio_conn *);                       /* a new BIO on the connection's wire; NULL without memory */
void tio_wire_close(tio_conn *);                     /* frees buffers; the descriptor is the reactor's */
int tio_wire_append(tio_conn *, const void *, size_t);
void tio_wire_drop_output(tio_conn *);
int tio_wire_keep_output(tio_conn *);                /* what is unsent moves from the lent buffer to one of its own */

/* The connection behind an SSL: our BIO carries it, which costs nothing, unlike ex_data. */
static inline tio_conn *tio_conn_of(const SSL *ssl) { return BIO_get_data(SSL_get_rbio(ssl)); }

/* conn.c */
int64_t tio_now(void);                               /* CLOCK_MONOTONIC_COARSE, ns */
void tio_conn_set_options(tio_conn *);               /* those that depend on the connection, beside the context's */

void tio_refuse_clear(tio_conn *, int alert);        /* while all that was said is in the clear: an alert in place of what is unsent */

/* status.c */
void tio_status_install(SSL_CTX *);
void tio_status_hello(tio_conn *);                   /* the context is the right one, the version not chosen yet */
void tio_status_refuse(tio_conn *, int alert);
void tio_status_done(tio_conn *);                    /* the handshake is: nothing is kept for an idle connection */

/* hooks.c */
int tio_hooks_install(SSL_CTX *);
void tio_hooks_attach(tio_conn *);

/* psk.c */
int tio_psk_attach(tio_conn *);                      /* -1: no memory */
int tio_psk_hello(tio_conn *);                       /* server: the context is chosen, the hello can be read */
void tio_psk_settle(tio_conn *);                     /* the handshake is done */
void tio_psk_free(tio_conn *);

/* facts.c */
void tio_facts_own_key(tio_conn *);                  /* our ServerKeyExchange leaves */
void tio_records_install(const tio_conn *, SSL_CTX *);
void tio_records_offer(tio_conn *, const void *, size_t);                /* a ClientHello has come */
void tio_records_trace(tio_conn *, int written, int version, int type, const void *, size_t);
void tio_records_look(tio_conn *);                   /* is there anything left to be told? */
void tio_records_free(tio_conn *);

/* names.c */
int tio_names_apply(tio_conn *, tio_context *);
int tio_names_identity(tio_conn *);                  /* `identity` into a new SSL */
tio_context *tio_gate_context(tio_gate *);           /* retained for the caller */

/* tickets.c */
int tio_ticket_key(SSL *, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *, EVP_MAC_CTX *, int encrypt);

/* sessions.c */
void tio_sessions_install(SSL_CTX *);
void tio_sessions_start(tio_conn *);                 /* client: before the handshake */
int tio_sessions_hello(tio_conn *);                  /* server: which session is to be resumed; -1: no memory */
void tio_sessions_keep(tio_conn *, SSL_SESSION *);
int tio_sessions_resumed(const tio_conn *);          /* client: the session given was taken */
int tio_sessions_ask(tio_conn *);                    /* server: the question is put, if something was made */
void tio_sessions_free(tio_conn *);

/* marks.c */
int tio_mark_session(tio_conn *, SSL_SESSION *);     /* server: what a session made now remembers; 0: no memory */
int tio_mark_holds(tio_conn *, SSL_SESSION *);       /* server: the verdict that a session was made by still counts */

/* faults.c */
void tio_fault_set(tio_conn *, tio_fault_kind, tio_limit, int os_error);     /* reads the error queue, BROKEN */

/* reactor.c */
void *tio_reactor_lend(tio_conn *);                  /* the shared receive buffer; whoever held it is settled first */
void tio_reactor_return(tio_conn *);
uint8_t *tio_reactor_lend_out(tio_conn *, size_t *room);                 /* the shared send buffer; NULL when it is lent */
void tio_reactor_return_out(tio_conn *);
void tio_reactor_forget(tio_conn *);                 /* its notice must not be handed out any more */

#endif
