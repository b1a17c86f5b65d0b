/* conn.c - one connection as steps that never block.
 *
 * Theory of operation.  Every call into OpenSSL goes through the same three lines: clear the error queue and set the
 * budget (begin), call, and let one function read the result (shake_failed, input_failed).  What OpenSSL wants to send has
 * gathered in the wire meanwhile; sending is the caller's next call, so nothing leaves between the steps of one flight, nor
 * before a question is answered.  All questions are put from callbacks, except the one about a finished client
 * certificate, which has to wait until OpenSSL is done with the handshake. */
#include "internal.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

tio_conn *tio_conn_new(tio_context *context, tio_role role) {
    tio_conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    tio_context_retain(context);
    c->context = context;
    c->role = (uint8_t)role;
    c->wire.fd = -1;
    c->alert_sent = c->alert_received = c->refusal = -1;
    c->soft = -1;
    return c;
}

void tio_conn_free(tio_conn *c) {
    if (!c) return;
    if (c->reactor) tio_reactor_drop(c->reactor, c, 0);
    tio_reactor_forget(c);
    SSL_free(c->ssl);                                   /* its BIO with it; the error queue is not touched */
    tio_wire_close(c);
    if (c->verify) {
        sk_X509_pop_free(c->verify->chain, X509_free);
        X509_free(c->verify->leaf);
    }
    free(c->verify);
    free(c->fault);
    free(c->server_name);
    free(c->offered);
    free(c->chosen);
    tio_records_free(c);
    tio_status_free(c->status);
    tio_sessions_free(c);
    tio_context_release(c->identity);
    tio_psk_free(c);
    tio_context_release(c->context);
    free(c);
}

static void begin(tio_conn *c) {
    ERR_clear_error();
    c->wire.budget = TIO_LOOK_BUDGET;
    c->wire.tired = 0;
}

int tio_conn_set_server_name(tio_conn *c, const char *name) {
    char *copy = strdup(name);
    if (!copy) return -1;
    free(c->server_name);
    c->server_name = copy;
    return 0;
}

/* The SSL is made with the first step, so a peer that connects and stays silent costs no more than this struct. */
static int start(tio_conn *c) {
    const tio_row *row = &c->context->row;
    BIO *bio = NULL;
    begin(c);
    c->ssl = SSL_new(c->context->ssl);
    if (!c->ssl || !(bio = tio_wire_bio(c))) return -1;
    SSL_set_bio(c->ssl, bio, bio);
    tio_hooks_attach(c);
    tio_records_install(c, c->context->ssl);
    if (tio_names_identity(c)) return -1;
    if (tio_psk_attach(c)) return -1;
    if (c->max_fragment) SSL_set_max_send_fragment(c->ssl, c->max_fragment);
    /* Neither of the two has a result. Without memory OpenSSL 3.5 leaves an SSL behind that has no record layer. */
    if (c->role == TIO_SERVER) SSL_set_accept_state(c->ssl);
    else SSL_set_connect_state(c->ssl);
    if (ERR_peek_error()) return -1;
    if (c->role == TIO_SERVER) {
        tio_conn_set_options(c);
        if (c->wants & TIO_WANT_CLIENT) {
            SSL_set_num_tickets(c->ssl, 0);             /* they wait for the answer */
            SSL_clear_mode(c->ssl, SSL_MODE_AUTO_RETRY);    /* and so does data right behind another handshake's Finished */
        }
        return tio_move_phase(c, TIO_HANDSHAKING);
    }
    SSL_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);      /* always: so that the question is always put */
    SSL_set_post_handshake_auth(c->ssl, SSL_get_certificate(c->ssl) != NULL);   /* offered where it can be answered */
    if (c->server_name && SSL_set_tlsext_host_name(c->ssl, c->server_name) != 1) return -1;
    if (c->wants & TIO_WANT_STATUS) SSL_set_tlsext_status_type(c->ssl, TLSEXT_STATUSTYPE_ocsp);
    if (row->alpn_size && SSL_set_alpn_protos(c->ssl, row->alpn, (unsigned)row->alpn_size)) return -1;
    tio_sessions_start(c);
    return tio_move_phase(c, TIO_HANDSHAKING);
}

void tio_conn_set_options(tio_conn *c) {
    uint64_t options = SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION;   /* or a certificate asked for would not come */
    if (c->renegotiation.limit || c->renegotiation.window_ns < 0) options |= SSL_OP_ALLOW_CLIENT_RENEGOTIATION;     /* < 0: to be refused */
    if (c->stateful) options |= SSL_OP_NO_TICKET;
    SSL_set_options(c->ssl, options);
}

/* OpenSSL reported a failure: who is to blame? */
static void broke(tio_conn *c) {
    tio_fault_kind kind = TIO_FAULT_SSL;
    if (c->passed) kind = TIO_FAULT_LIMIT;
    else if (c->alert_received >= 0) kind = TIO_FAULT_ALERT;
    else if (c->refusal >= 0) kind = TIO_FAULT_REFUSED;
    else if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        kind = TIO_FAULT_VERIFY;
    else if (!ERR_peek_error() && c->wire.error) kind = TIO_FAULT_OS;
    tio_fault_set(c, kind, c->passed, c->wire.error);
}

/* No more input will come: what does that mean here?  A failed send is told now, after the peer's alert had its chance. */
static void input_over(tio_conn *c) {
    int error = c->wire.error ? c->wire.error : c->wire.out_error;
    if (error) tio_conn_break(c, TIO_FAULT_OS, TIO_NO_LIMIT, error);
    else if (c->phase == TIO_HANDSHAKING) tio_conn_break(c, TIO_FAULT_HANGUP, TIO_NO_LIMIT, 0);
    else tio_move_in(c, TIO_IN_TRUNCATED);
}

static int is_over(const tio_conn *c) { return !c->wire.tired && !c->wire.in_size && (c->wire.eof || c->wire.error); }

/* ---- handshake ----------------------------------------------------------------------------------------------- */

/* A client's session was resumed: who is there is asked about now, since no certificate has come.  -1: no memory. */
static int ask_resumed(tio_conn *c) {
    if (!(c->verify = calloc(1, sizeof *c->verify))) return -1;
    c->verify->leaf = SSL_get1_peer_certificate(c->ssl);
    if (c->ticketed && (c->wants & TIO_WANT_SESSIONS)) tio_sessions_keep(c, SSL_get0_session(c->ssl));  /* OpenSSL does not tell */
    return tio_move_question(c, TIO_ASK_VERIFY);
}

static void shaken(tio_conn *c) {
    tio_psk_settle(c);
    if (c->role == TIO_SERVER && (c->wants & TIO_WANT_CLIENT) && !(c->asked & TIO_WANT_CLIENT)) {
        c->asked |= TIO_WANT_CLIENT;
        tio_move_question(c, TIO_ASK_CLIENT);           /* our last flight stays in the wire */
        return;
    }
    if (tio_sessions_ask(c)) return;                    /* nothing leaves before they are stored */
    if (c->role == TIO_CLIENT && !(c->asked & TIO_WANT_VERIFY)) {
        if (tio_conn_psk_used(c)) tio_move_question(c, TIO_ASK_VERIFY);     /* it is the server; more may be wanted of it */
        else if (!tio_sessions_resumed(c)) tio_conn_break(c, TIO_FAULT_VERIFY, TIO_NO_LIMIT, 0);    /* an anonymous suite */
        else if (ask_resumed(c)) tio_conn_break(c, TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
        return;
    }
    if (c->role == TIO_CLIENT && c->verify_answer != X509_V_OK) {
        tio_refuse_clear(c, c->refusal >= 0 ? c->refusal : SSL_AD_BAD_CERTIFICATE);
        return;
    }
    tio_move_phase(c, TIO_OPEN);
    c->shaken_ns = tio_now();
    tio_status_done(c);
    free(c->offered);
    c->offered = NULL;
    c->offered_size = 0;
}

static void shake(tio_conn *c) {
    begin(c);
    int r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        shaken(c);
        return;
    }
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        if (is_over(c)) input_over(c);
        else if (c->gate && c->gate->max_handshake_bytes && c->wire.bytes_in > c->gate->max_handshake_bytes)
            tio_conn_break(c, TIO_FAULT_LIMIT, TIO_LIMIT_HANDSHAKE_BYTES, 0);
        return;
    case SSL_ERROR_ZERO_RETURN:                         /* close_notify */
        tio_conn_break(c, TIO_FAULT_HANGUP, TIO_NO_LIMIT, 0);
        return;
    case SSL_ERROR_WANT_WRITE:
    case SSL_ERROR_WANT_CLIENT_HELLO_CB:
    case SSL_ERROR_WANT_RETRY_VERIFY:
    case SSL_ERROR_WANT_X509_LOOKUP:
        return;
    default:
        broke(c);
    }
}

int64_t tio_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static void input_failed(tio_conn *c, int r);

/* ---- another handshake ----------------------------------------------------------------------------------------- */

/* The peer's Finished has come and OpenSSL is done: who came is asked about again, if anybody is. */
static void reshaken(tio_conn *c) {
    if (!c->finished || SSL_in_init(c->ssl)) return;
    c->finished = c->reshaking = 0;
    c->reshaken = 1;
    c->shaken_ns = tio_now();
    if (c->role == TIO_SERVER && (c->wants & TIO_WANT_CLIENT) && (SSL_get_verify_mode(c->ssl) & SSL_VERIFY_PEER))
        tio_move_question(c, TIO_ASK_CLIENT);
    else
        tio_sessions_ask(c);
}

int tio_conn_reshake(tio_conn *c, int verify_mode, int soft, unsigned long *code) {
    int r;
    if (c->phase != TIO_OPEN || c->question != TIO_NO_QUESTION || c->out != TIO_OUT_OPEN) return -1;
    begin(c);
    if (verify_mode >= 0) {
        SSL_set_verify(c->ssl, verify_mode, NULL);
        c->soft = (int8_t)soft;
    }
    r = SSL_version(c->ssl) < TLS1_3_VERSION ? SSL_renegotiate(c->ssl) : SSL_verify_client_post_handshake(c->ssl);
    if (r != 1) {
        *code = ERR_peek_error();
        ERR_clear_error();
        return -1;
    }
    c->reshaking = 1;
    r = SSL_do_handshake(c->ssl);
    if (r <= 0) input_failed(c, r);
    return 0;
}

void tio_conn_refuse_renegotiation(tio_conn *c) {
    c->renegotiation.window_ns = -1;
    if (c->ssl) SSL_set_options(c->ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);     /* or OpenSSL warns, and nobody is asked */
}

/* ---- data ---------------------------------------------------------------------------------------------------- */

static int may_read(const tio_conn *c) {
    return (c->phase == TIO_OPEN || c->phase == TIO_CLOSING) && c->in == TIO_IN_OPEN && c->question == TIO_NO_QUESTION;
}

/* A server has a way to an alert of its choice, see add_refusal(). */
static void refuse_key_updates(tio_conn *c) {
    if (c->role == TIO_SERVER && SSL_new_session_ticket(c->ssl)) {
        c->refusal = SSL_AD_UNEXPECTED_MESSAGE;
        SSL_do_handshake(c->ssl);
    }
    tio_conn_break(c, TIO_FAULT_LIMIT, TIO_LIMIT_KEY_UPDATES, 0);
}

static void input_failed(tio_conn *c, int r) {
    int error = SSL_get_error(c->ssl, r);
    if (error == SSL_ERROR_ZERO_RETURN) {
        tio_move_in(c, TIO_IN_ENDED);
        if (c->wire.out_error) tio_conn_break(c, TIO_FAULT_OS, TIO_NO_LIMIT, c->wire.out_error);
    } else if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        broke(c);
    } else if (c->key_updates > TIO_KEY_UPDATES) {
        refuse_key_updates(c);
    } else if (is_over(c)) {
        input_over(c);
    }
}

size_t tio_conn_read(tio_conn *c, void *buffer, size_t size) {
    if (!size || !may_read(c)) return 0;                /* OpenSSL takes a read of nothing for a failure */
    begin(c);
    int r = SSL_read(c->ssl, buffer, size < INT32_MAX ? (int)size : INT32_MAX);
    c->standing = 0;
    reshaken(c);
    if (r <= 0) {
        input_failed(c, r);
        return 0;
    }
    c->key_updates = 0;
    c->bytes_read += (size_t)r;
    c->last_activity = tio_now();
    return (size_t)r;
}

size_t tio_conn_pending(const tio_conn *c) { return c->ssl ? (size_t)SSL_pending(c->ssl) : 0; }

/* Nobody reads: go on until one record of data stands, so that tickets, alerts and close_notify are seen. */
static void look(tio_conn *c) {
    char byte;
    begin(c);
    int r = SSL_peek(c->ssl, &byte, 1);
    reshaken(c);
    if (r > 0) c->standing = 1;
    else input_failed(c, r);
}

static void discard(tio_conn *c) {
    char bin[TIO_RECORD];
    for (int i = 0; i < 8 && tio_conn_read(c, bin, sizeof bin); i++) {}
}

/* TLS 1.3: the refused client learns it in place of a ticket. */
static void refuse_open(tio_conn *c) {
    begin(c);
    if (SSL_do_handshake(c->ssl) <= 0) broke(c);
    else tio_conn_break(c, TIO_FAULT_REFUSED, TIO_NO_LIMIT, 0);
}

void tio_conn_step(tio_conn *c) {
    if (c->question != TIO_NO_QUESTION) return;
    if (c->phase == TIO_IDLE && start(c)) {
        tio_fault_set(c, ERR_peek_error() ? TIO_FAULT_SSL : TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
        return;
    }
    if (c->phase == TIO_HANDSHAKING) shake(c);
    else if (c->phase == TIO_OPEN && c->refusal >= 0) refuse_open(c);
    else if (c->phase == TIO_CLOSING) discard(c);
    else if (may_read(c) && !c->standing) look(c);
}

size_t tio_conn_write(tio_conn *c, const void *data, size_t size) {
    const uint8_t *p = data;
    size_t done = 0;
    if (c->phase != TIO_OPEN || c->out != TIO_OUT_OPEN || c->question != TIO_NO_QUESTION || c->wire.out_error) return 0;
    begin(c);
    while (done < size && c->wire.out_end - c->wire.out_start < TIO_GATHER) {
        /* All that is left: OpenSSL takes one record of it, and keeps its buffer for the next. A retry repeats the same. */
        int r = SSL_write(c->ssl, p + done, size - done < INT32_MAX ? (int)(size - done) : INT32_MAX);
        reshaken(c);                                    /* the peer's messages may have waited in the wire */
        if (r <= 0) {
            int error = SSL_get_error(c->ssl, r);
            if (error != SSL_ERROR_WANT_WRITE && error != SSL_ERROR_WANT_READ) broke(c);
            break;
        }
        done += (size_t)r;
        if (c->question != TIO_NO_QUESTION) break;
    }
    c->bytes_written += done;
    if (done) c->last_activity = tio_now();
    return done;
}

void tio_conn_end(tio_conn *c) {
    if (c->phase != TIO_OPEN || tio_move_out(c, TIO_OUT_ENDING)) return;
    begin(c);
    c->wire.unbounded = 1;
    if (SSL_shutdown(c->ssl) < 0 && !c->wire.out_error) ERR_clear_error();  /* no alert then; the FIN still tells */
}

void tio_conn_close(tio_conn *c) {
    tio_conn_end(c);
    if (c->phase == TIO_OPEN) tio_move_phase(c, TIO_CLOSING);
}

/* ---- answers ------------------------------------------------------------------------------------------------- */

void tio_answer_hello(tio_conn *c, tio_context *context, const uint8_t *protocol, size_t size) {
    if (c->question != TIO_ASK_HELLO) return;
    tio_move_question(c, TIO_NO_QUESTION);
    if (protocol && (c->chosen = malloc(size ? size : 1))) {
        memcpy(c->chosen, protocol, size);
        c->chosen_size = size;
    }
    begin(c);
    if ((protocol && !c->chosen) || (context && context != c->context && tio_names_apply(c, context)))
        c->refusal = SSL_AD_INTERNAL_ERROR;
}

void tio_answer_verify(tio_conn *c, int error) {
    if (c->question != TIO_ASK_VERIFY) return;
    tio_move_question(c, TIO_NO_QUESTION);
    c->asked |= TIO_WANT_VERIFY;
    c->verify_answer = error;
    int certified = !tio_sessions_resumed(c) && !tio_conn_psk_used(c);
    if (error == X509_V_OK && (c->wants & TIO_WANT_STATUS) && SSL_version(c->ssl) >= TLS1_3_VERSION && certified)
        tio_move_question(c, TIO_ASK_STATUS);
}

void tio_answer_client(tio_conn *c) {
    if (c->question != TIO_ASK_CLIENT) return;
    tio_move_question(c, TIO_NO_QUESTION);
    if (c->phase == TIO_OPEN) tio_sessions_ask(c);
    if (SSL_version(c->ssl) < TLS1_3_VERSION || c->phase != TIO_HANDSHAKING) return;
    size_t n = SSL_session_reused(c->ssl) ? 1 : SSL_CTX_get_num_tickets(c->context->ssl);
    while (n-- && SSL_new_session_ticket(c->ssl)) {}
}

/* Nothing of ours that is encrypted has left, so the peer still reads in the clear: what is unsent (the end of the handshake) is
 * replaced by the alert.  A TLS 1.3 server takes it until the client's first encrypted record.  Not so behind a server's
 * abbreviated handshake, a client's by pre-shared key up to TLS 1.2, or after a renegotiation. */
void tio_refuse_clear(tio_conn *c, int alert) {
    int version = SSL_version(c->ssl) < TLS1_2_VERSION ? SSL_version(c->ssl) : TLS1_2_VERSION;      /* as records have it */
    uint8_t record[] = { SSL3_RT_ALERT, 3, (uint8_t)version, 0, 2, SSL3_AL_FATAL, (uint8_t)alert };
    int spoken = c->role == TIO_SERVER ? SSL_session_reused(c->ssl) : tio_conn_psk_used(c) && SSL_version(c->ssl) < TLS1_3_VERSION;
    tio_wire_drop_output(c);
    if (c->phase == TIO_HANDSHAKING && !spoken && !tio_wire_append(c, record, sizeof record)) c->alert_sent = (int16_t)alert;
    tio_conn_break(c, TIO_FAULT_REFUSED, TIO_NO_LIMIT, 0);
}

void tio_refuse(tio_conn *c, int alert) {
    tio_question question = c->question;
    if (question == TIO_NO_QUESTION) return;
    tio_move_question(c, TIO_NO_QUESTION);
    c->refusal = (int16_t)alert;
    if (question == TIO_ASK_VERIFY) {
        c->asked |= TIO_WANT_VERIFY;
        c->verify_answer = X509_V_ERR_CERT_REJECTED;
    } else if (question == TIO_ASK_CLIENT) {
        begin(c);
        if (SSL_version(c->ssl) < TLS1_3_VERSION || !SSL_new_session_ticket(c->ssl)) tio_refuse_clear(c, alert);
    } else if (question == TIO_ASK_STATUS) {
        tio_status_refuse(c, alert);
    }
}
