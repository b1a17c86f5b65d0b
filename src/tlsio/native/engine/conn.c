/* conn.c - one connection as steps that never block.
 *
 * Theory of operation. Every call into OpenSSL has three parts: begin_call() clears the error queue
 * and sets the read budget; OpenSSL runs; then one function reads the result (do_handshake() itself
 * for a handshake, input_failed() for a read). That function stores why OpenSSL stopped, and next.c
 * derives from it what the connection waits for. For example, an SSL_read() that stopped because
 * the output is full waits for room, even if input is available.
 *
 * Output gathers in the wire (wire.c) while OpenSSL runs. Sending it is a separate call, so nothing
 * is sent between the steps of one flight, nor before a question is answered.
 *
 * Any call may open a question: not only a read but also a write can process the peer's messages of
 * another handshake. So each call checks for that when OpenSSL has returned
 * (finish_rehandshake()), and a caller must read the state again after each call.
 *
 * Questions are asked from OpenSSL's callbacks, with two kinds of exceptions: those that must wait
 * until OpenSSL has completed the handshake (about a client's certificate, a resumed session or
 * sessions to be stored), and the one about bytes that come before TLS. */
#include "internal.h"

#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

tio_conn *tio_conn_new(tio_context *context, tio_role role) {
    tio_conn *c = calloc(1, sizeof *c);
    if (!c) return NULL;
    tio_context_retain(context);
    c->context = context;
    c->role = (uint8_t)role;
    c->wire.fd = -1;
    c->alert_sent = c->alert_received = c->refusal = -1;
    c->accept_unverified = -1;
    return c;
}

void tio_conn_free(tio_conn *c) {
    if (!c || tio_signing_leave(c)) return;
    tio_conn_abandon(c);                /* an SSL whose job is paused must not be freed */
    SSL_free(c->ssl);                   /* frees the BIO too; leaves the error queue alone */
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

static void begin_call(tio_conn *c) {
    tio_clear_errors();
    c->wire.budget = TIO_LOOK_BUDGET;
    c->wire.budget_spent = c->wire.starved = 0;
}

int tio_conn_set_server_name(tio_conn *c, const char *name) {
    char *copy = strdup(name);
    if (!copy) return -1;
    free(c->server_name);
    c->server_name = copy;
    return 0;
}

/* After a preface (TIO_ASK_PREFACE) the phase is HANDSHAKING already. */
static int begin_handshake(tio_conn *c) { return c->phase == TIO_IDLE ? tio_move_phase(c, TIO_HANDSHAKING) : 0; }

/* The SSL is created by the first step, so a peer that connects and stays silent costs only this
 * struct. */
static int start(tio_conn *c) {
    const tio_context_settings *settings = &c->context->settings;
    BIO *bio = NULL;
    begin_call(c);
    c->ssl = SSL_new(c->context->ssl);
    if (!c->ssl || !(bio = tio_wire_bio(c))) return -1;
    SSL_set_bio(c->ssl, bio, bio);
    c->wire.allowance = c->policy.max_handshake_bytes ? c->policy.max_handshake_bytes : TIO_UNLIMITED;
    tio_callbacks_attach(c);
    tio_records_install(c, c->context->ssl);
    if (tio_context_identity(c)) return -1;
    tio_signing_prepare(c);
    if (tio_psk_attach(c)) return -1;
    if (c->max_fragment) SSL_set_max_send_fragment(c->ssl, c->max_fragment);
    /* Neither call returns a result, but the error queue shows a failure: if memory is exhausted,
     * OpenSSL 3.5 leaves the SSL without a record layer. */
    if (c->role == TIO_SERVER) SSL_set_accept_state(c->ssl);
    else SSL_set_connect_state(c->ssl);
    if (ERR_peek_error()) return -1;
    if (c->role == TIO_SERVER) {
        tio_conn_set_options(c);
        if (c->policy.wants & TIO_WANT_CLIENT) {
            SSL_set_num_tickets(c->ssl, 0);  /* handshake_done() sends them after the answer */
            /* SSL_read() must stop at the Finished of another handshake, so that the question is
             * asked before any data that follows it is returned. */
            SSL_clear_mode(c->ssl, SSL_MODE_AUTO_RETRY);
        }
        return begin_handshake(c);
    }
    /* A client always verifies, so that the question is always asked. */
    SSL_set_verify(c->ssl, SSL_VERIFY_PEER, NULL);
    if (c->policy.strict_chain && !X509_VERIFY_PARAM_set_flags(SSL_get0_param(c->ssl), X509_V_FLAG_X509_STRICT)) return -1;
    /* A client without a certificate could not answer such a request. */
    SSL_set_post_handshake_auth(c->ssl, SSL_get_certificate(c->ssl) != NULL);
    if (c->server_name && SSL_set_tlsext_host_name(c->ssl, c->server_name) != 1) return -1;
    if (c->policy.wants & TIO_WANT_STATUS) SSL_set_tlsext_status_type(c->ssl, TLSEXT_STATUSTYPE_ocsp);
    if (settings->alpn_size && SSL_set_alpn_protos(c->ssl, settings->alpn, (unsigned)settings->alpn_size)) return -1;
    tio_sessions_start(c);
    return begin_handshake(c);
}

/* OpenSSL reported a failure: find its cause. */
static void record_failure(tio_conn *c) {
    tio_fault_kind kind = TIO_FAULT_SSL;
    if (c->limit_exceeded) kind = TIO_FAULT_LIMIT;
    else if (c->alert_received >= 0) kind = TIO_FAULT_ALERT;
    else if (c->refusal >= 0) kind = TIO_FAULT_REFUSED;
    else if (ERR_GET_LIB(ERR_peek_error()) == ERR_LIB_SSL && ERR_GET_REASON(ERR_peek_error()) == SSL_R_CERTIFICATE_VERIFY_FAILED)
        kind = TIO_FAULT_VERIFY;
    else if (!ERR_peek_error() && c->wire.error) kind = TIO_FAULT_OS;
    tio_fault_set(c, kind, c->limit_exceeded, c->wire.error);
}

static void wire_failed(tio_conn *c, int error) {
    tio_conn_break(c, error == ENOMEM ? TIO_FAULT_MEMORY : TIO_FAULT_OS, TIO_NO_LIMIT, error);
}

/* TLS 1.2: while a renegotiation runs, nothing can be written, and its end depends on the peer. */
static int is_renegotiating(const tio_conn *c) { return SSL_in_init(c->ssl) && SSL_version(c->ssl) < TLS1_3_VERSION; }

/* The peer sent close_notify. RFC 8446 6.1: "Any data received after a closure alert has been
 * received MUST be ignored", so a handshake that we requested will never be answered. If our
 * direction has ended too, nothing waits for it. */
static void close_notify_received(tio_conn *c) {
    tio_move_in(c, TIO_IN_ENDED);
    if (c->rehandshake_asked && c->out == TIO_OUT_OPEN) tio_conn_break(c, TIO_FAULT_UNANSWERED, TIO_NO_LIMIT, 0);
}

/* No more input will come. A failed send is reported here, after the peer's alert could be read. */
static void wire_ended(tio_conn *c) {
    int error = c->wire.error ? c->wire.error : c->wire.out_error;
    if (error) wire_failed(c, error);
    else if (c->phase == TIO_HANDSHAKING || is_renegotiating(c)) tio_conn_break(c, TIO_FAULT_HANGUP, TIO_NO_LIMIT, 0);
    else if (c->rehandshake_asked && c->out == TIO_OUT_OPEN) tio_conn_break(c, TIO_FAULT_UNANSWERED, TIO_NO_LIMIT, 0);
    else tio_move_in(c, TIO_IN_TRUNCATED);
}

static int is_wire_ended(const tio_conn *c) { return c->wire.starved && (c->wire.eof || c->wire.error); }

/* OpenSSL returned WANT_READ: find out whether it needs more input. If not, the next call can
 * continue: it stopped after a message without data (on servers that ask about clients, AUTO_RETRY
 * is off), or because the budget withheld bytes. */
static tio_stop input_stop(const tio_conn *c) { return c->wire.starved ? TIO_AWAITS_INPUT : TIO_GO; }

/* ---- handshake ------------------------------------------------------------------------------- */

/* A client's session was resumed. Ask about the server now, since there was no certificate to ask
 * about. -1: out of memory. */
static int ask_resumed(tio_conn *c) {
    if (!(c->verify = calloc(1, sizeof *c->verify))) return -1;
    c->verify->leaf = SSL_get1_peer_certificate(c->ssl);
    /* OpenSSL calls no callback for a ticket in a resumed TLS 1.2 handshake. */
    if (c->ticket_received && (c->policy.wants & TIO_WANT_SESSIONS)) tio_sessions_keep(c, SSL_get0_session(c->ssl));
    return tio_move_question(c, TIO_ASK_VERIFY);
}

static void do_handshake(tio_conn *c);

/* TLS 1.3: the next call of OpenSSL sends them. */
static void add_tickets(tio_conn *c) {
    size_t n = SSL_session_reused(c->ssl) ? 1 : SSL_CTX_get_num_tickets(c->context->ssl);
    while (n-- && SSL_new_session_ticket(c->ssl)) {}
}

static void handshake_done(tio_conn *c) {
    tio_psk_settle(c);
    if (c->role == TIO_SERVER && (c->policy.wants & TIO_WANT_CLIENT) && !(c->asked & TIO_WANT_CLIENT)) {
        c->asked |= TIO_WANT_CLIENT;
        tio_move_question(c, TIO_ASK_CLIENT);           /* our last flight stays in the wire */
        return;
    }
    if (tio_psk_owes_tickets(c) && !(c->policy.wants & TIO_WANT_CLIENT)) {
        add_tickets(c);
        do_handshake(c);
        return;
    }
    if (tio_sessions_ask(c)) return;                    /* nothing is sent before they are stored */
    if (c->role == TIO_CLIENT && !(c->asked & TIO_WANT_VERIFY)) {
        /* The pre-shared key authenticates the server; the caller may require more. */
        if (tio_conn_psk_used(c)) tio_move_question(c, TIO_ASK_VERIFY);
        /* An anonymous cipher suite was negotiated, so there is no certificate to verify. */
        else if (!tio_sessions_resumed(c)) tio_conn_break(c, TIO_FAULT_VERIFY, TIO_NO_LIMIT, 0);
        else if (ask_resumed(c)) tio_conn_break(c, TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
        return;
    }
    if (c->role == TIO_CLIENT && c->verify_answer != X509_V_OK) {
        tio_refuse_in_plaintext(c, c->refusal >= 0 ? c->refusal : SSL_AD_BAD_CERTIFICATE);
        return;
    }
    tio_move_phase(c, TIO_OPEN);
    c->wire.allowance = TIO_UNLIMITED;
    /* A TLS 1.3 server signs once. */
    if (c->role == TIO_SERVER && SSL_version(c->ssl) >= TLS1_3_VERSION) c->signs_elsewhere = 0;
    c->handshake_done_ns = tio_clock_coarse();
    tio_status_done(c);
    free(c->offered);
    c->offered = NULL;
    c->offered_size = 0;
}

/* A call has paused for a signature. In TLS 1.2 it may have asked about the OCSP response before,
 * and that is answered first. After close() nothing is asked: the input ends here. */
static void ask_for_signature(tio_conn *c) {
    if (c->phase == TIO_BROKEN || c->question != TIO_NO_QUESTION || !tio_move_question(c, TIO_ASK_SIGN)) return;
    tio_conn_abandon(c);
    tio_move_in(c, TIO_IN_ENDED);
}

static void do_handshake(tio_conn *c) {
    if (c->signs_elsewhere && !c->has_signed && tio_signing_is_full() && !tio_move_question(c, TIO_ASK_JOB)) return;
    begin_call(c);
    int r = tio_signing_handshake(c);
    c->read_stop = TIO_GO;
    if (r == 1) {
        handshake_done(c);
        return;
    }
    if (c->wanted) {
        ask_for_signature(c);
        return;
    }
    switch (SSL_get_error(c->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        c->read_stop = input_stop(c);
        if (is_wire_ended(c)) wire_ended(c);
        else if (c->wire.over_limit) tio_conn_break(c, TIO_FAULT_LIMIT, TIO_LIMIT_HANDSHAKE_BYTES, 0);
        return;
    case SSL_ERROR_ZERO_RETURN:                         /* the peer sent close_notify */
        tio_conn_break(c, TIO_FAULT_HANGUP, TIO_NO_LIMIT, 0);
        return;
    case SSL_ERROR_WANT_WRITE:
        c->read_stop = TIO_AWAITS_ROOM;
        return;
    case SSL_ERROR_WANT_CLIENT_HELLO_CB:
    case SSL_ERROR_WANT_RETRY_VERIFY:
    case SSL_ERROR_WANT_X509_LOOKUP:
        return;
    default:
        record_failure(c);
    }
}

/* The binding reads what comes before TLS. It is asked when there are bytes, and again after more
 * input if it asked for more. */
static int ask_preface(tio_conn *c) {
    if (!(c->policy.wants & TIO_WANT_PREFACE) || c->preface_done || !tio_conn_is_handshake(c)) return 0;
    begin_call(c);
    c->read_stop = TIO_GO;
    if (c->wire.in_size || tio_wire_refill(c)) {
        tio_move_phase(c, TIO_HANDSHAKING);
        tio_move_question(c, TIO_ASK_PREFACE);
    } else if (c->wire.eof || c->wire.error) {
        tio_move_phase(c, TIO_HANDSHAKING);
        wire_ended(c);
    } else {
        c->read_stop = TIO_AWAITS_INPUT;
    }
    return 1;
}

void tio_answer_preface(tio_conn *c, size_t taken, int more) {
    if (c->question != TIO_ASK_PREFACE) return;
    tio_move_question(c, TIO_NO_QUESTION);
    tio_wire_drop_input(c, taken);
    c->first_size = 0;                  /* the next bytes show the peer's protocol */
    c->preface_done = !more;
    c->read_stop = more ? TIO_AWAITS_INPUT : TIO_GO;
}

/* ---- another handshake ----------------------------------------------------------------------- */

/* After each call that reads: if the peer's Finished was received and OpenSSL is done, ask about
 * the peer again. */
static void finish_rehandshake(tio_conn *c) {
    if (!c->rehandshake_finished || SSL_in_init(c->ssl)) return;
    c->rehandshake_finished = c->rehandshake_begins = c->rehandshake_hello = 0;
    /* If the server's request was deferred, this was the client's own handshake, and the server's
     * begins now. */
    c->rehandshake_asked = c->rehandshake_deferred;
    c->rehandshake_done = c->rehandshake_deferred ? 0 : TIO_REHANDSHAKE_DONE;
    c->write_stop = TIO_GO;             /* a write that the handshake blocked may continue */
    c->handshake_done_ns = tio_clock_coarse();
    int asks_about_client = c->role == TIO_SERVER && (c->policy.wants & TIO_WANT_CLIENT);
    if (!asks_about_client) tio_sessions_ask(c);
    /* After close() nothing is asked any more, so the client that has just answered is unknown. */
    else if (tio_move_question(c, TIO_ASK_CLIENT)) c->rehandshake_done = TIO_REHANDSHAKE_UNJUDGED;
}

static void input_failed(tio_conn *c, int r);
static void peek_record(tio_conn *c);

int tio_conn_accepts_unverified(const tio_conn *c) {
    return c->accept_unverified < 0 ? c->context->settings.accept_unverified : c->accept_unverified;
}

/* The strictness of a request applies to one handshake. The next one uses the context's again. */
void tio_conn_reset_strictness(tio_conn *c) {
    if (c->role != TIO_SERVER || c->accept_unverified < 0) return;
    c->accept_unverified = -1;
    if (SSL_get_verify_mode(c->ssl) & SSL_VERIFY_PEER)
        SSL_set_verify(c->ssl, SSL_VERIFY_PEER | (tio_conn_accepts_unverified(c) ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT), NULL);
}

static int begin_rehandshake(tio_conn *c) {
    int verify_mode = SSL_get_verify_mode(c->ssl);
    int8_t accept_unverified = c->accept_unverified;
    begin_call(c);
    tio_conn_reset_strictness(c);
    if (c->rehandshake_verify >= 0) {
        SSL_set_verify(c->ssl, c->rehandshake_verify, NULL);
        c->accept_unverified = c->rehandshake_accept_unverified;
    }
    int r = SSL_version(c->ssl) < TLS1_3_VERSION ? SSL_renegotiate(c->ssl) : SSL_verify_client_post_handshake(c->ssl);
    if (r != 1) {                       /* for example, the client has not offered it */
        SSL_set_verify(c->ssl, verify_mode, NULL);
        c->accept_unverified = accept_unverified;
        return -1;
    }
    c->rehandshake_asked = 1;
    if (c->role == TIO_CLIENT) {
        c->rehandshake_begins = 1;
        peek_record(c);                 /* the server's answer comes after data that it sent before */
        return 0;
    }
    r = tio_signing_handshake(c);
    c->read_stop = TIO_GO;
    if (c->wanted) ask_for_signature(c);
    else if (r <= 0) input_failed(c, r);
    return 0;
}

/* The peer may be renegotiating already (TLS 1.2), or the server may be asking about its handshake.
 * That handshake satisfies a client's request. It does not satisfy a server's, because its hello may
 * have been answered without a certificate request: the server's own handshake follows it. */
int tio_conn_rehandshake(tio_conn *c, int verify_mode, int accept_unverified, unsigned long *code) {
    if (c->phase != TIO_OPEN || c->out != TIO_OUT_OPEN || c->in != TIO_IN_OPEN) return -1;
    int is_asking = c->question != TIO_NO_QUESTION;
    /* OpenSSL would start a second handshake in a later read or write. */
    if (c->rehandshake_asked || (is_asking && (c->role == TIO_CLIENT || c->rehandshake_unreported))) return -1;
    c->rehandshake_verify = (int8_t)verify_mode;
    c->rehandshake_accept_unverified = (int8_t)accept_unverified;
    c->rehandshake_done = 0;            /* an earlier result that was not reported does not count */
    c->rehandshake_unreported = 1;
    if (is_asking || is_renegotiating(c)) {
        c->rehandshake_asked = 1;
        c->rehandshake_deferred = c->role == TIO_SERVER;
        return 0;
    }
    if (!begin_rehandshake(c)) return 0;
    c->rehandshake_unreported = 0;
    *code = ERR_peek_error();
    ERR_clear_error();
    return -1;
}

/* Wait for the end of the client's own handshake, which must not count as the answer. If either
 * side has ended, the request is dropped, which is reported. */
static void begin_deferred(tio_conn *c) {
    if (c->question != TIO_NO_QUESTION || is_renegotiating(c)) return;
    c->rehandshake_deferred = 0;
    if (c->phase == TIO_OPEN && c->in == TIO_IN_OPEN && c->out == TIO_OUT_OPEN) {
        if (begin_rehandshake(c)) record_failure(c);
    } else {
        c->rehandshake_asked = 0;
        c->rehandshake_done = TIO_REHANDSHAKE_DROPPED;
    }
}

int tio_conn_rehandshake_done(tio_conn *c) {
    if (c->question != TIO_NO_QUESTION || c->phase == TIO_BROKEN) return 0;
    int done = c->rehandshake_done;
    c->rehandshake_done = 0;
    if (done) c->rehandshake_unreported = 0;
    return done;
}

void tio_conn_refuse_renegotiation(tio_conn *c) {
    c->policy.renegotiation.window_ns = -1;
    /* Otherwise OpenSSL answers with a warning and calls no callback. */
    if (c->ssl) SSL_set_options(c->ssl, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
}

/* ---- data ------------------------------------------------------------------------------------ */

static int may_read(const tio_conn *c) {
    return (c->phase == TIO_OPEN || c->phase == TIO_CLOSING) && c->in == TIO_IN_OPEN && c->question == TIO_NO_QUESTION;
}

/* A server can send an alert of its choice in place of a ticket: see add_refusal(). */
static void refuse_key_updates(tio_conn *c) {
    if (c->role == TIO_SERVER && SSL_version(c->ssl) >= TLS1_3_VERSION && SSL_new_session_ticket(c->ssl)) {
        c->refusal = SSL_AD_UNEXPECTED_MESSAGE;
        SSL_do_handshake(c->ssl);
    }
    tio_conn_break(c, TIO_FAULT_LIMIT, TIO_LIMIT_KEY_UPDATES, 0);
}

static int is_in_body(const SSL *ssl) { return SSL_rstate_string(ssl)[1] == 'B'; }

/* SSL_has_pending() is 0 when OpenSSL has read a header and nothing of its record; its state is
 * then "read body". */
static int is_in_record(const SSL *ssl) { return SSL_has_pending(ssl) || is_in_body(ssl); }

/* Three bytes of a header pin a buffer of 16.7 KiB, so a record must be complete within a time
 * limit. More bytes of the same record do not extend the limit; a new record restarts it. */
static void watch_partial_record(tio_conn *c) {
    int partial = c->phase == TIO_OPEN && c->policy.partial_ns && !c->has_plaintext && is_in_record(c->ssl);
    /* number of the current record, whether or not its header is complete */
    uint32_t record = c->headers + !is_in_body(c->ssl);
    if (!partial) c->partial_due = 0;
    else if (!c->partial_due || c->partial_record != record) c->partial_due = tio_clock() + c->policy.partial_ns;
    c->partial_record = record;
}

/* A read returned no plaintext: find out why. */
static void input_failed(tio_conn *c, int r) {
    int error = SSL_get_error(c->ssl, r);
    if (error == SSL_ERROR_ZERO_RETURN) {
        close_notify_received(c);
        return;
    }
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
        record_failure(c);
        return;
    }
    c->read_stop = error == SSL_ERROR_WANT_WRITE ? TIO_AWAITS_ROOM : (uint8_t)input_stop(c);
    if (c->limit_exceeded) tio_conn_break(c, TIO_FAULT_LIMIT, c->limit_exceeded, 0);
    else if (c->key_updates > TIO_KEY_UPDATES) refuse_key_updates(c);
    else if (error == SSL_ERROR_WANT_READ && is_wire_ended(c)) wire_ended(c);
    watch_partial_record(c);
}

/* Sending has failed. The peer's alert may explain it, so this reports the failure only when the
 * input has been processed, apart from plaintext that the caller has to take. */
static void report_send_failure(tio_conn *c) {
    int may_explain = c->in == TIO_IN_OPEN && (c->read_stop == TIO_GO || c->has_plaintext);
    if (c->wire.out_error && c->question == TIO_NO_QUESTION && !may_explain) wire_failed(c, c->wire.out_error);
}

static size_t read_plaintext(tio_conn *c, void *room, size_t size) {
    begin_call(c);
    tio_poison(room, size);
    int r = SSL_read(c->ssl, room, size < INT32_MAX ? (int)size : INT32_MAX);
    c->read_stop = TIO_GO;
    /* A read that was not filled has emptied the record. */
    c->has_plaintext = r > 0 && (size_t)r == size && SSL_pending(c->ssl) > 0;
    finish_rehandshake(c);
    if (r <= 0) {
        input_failed(c, r);
        return 0;
    }
    c->key_updates = 0;
    c->partial_due = 0;
    /* The plaintext that blocked a handshake may have been read. */
    if (c->write_stop == TIO_AWAITS_INPUT) c->write_stop = TIO_GO;
    c->bytes_read += (size_t)r;
    c->last_activity = tio_clock_coarse();
    return (size_t)r;
}

size_t tio_conn_take(tio_conn *c, void *room, size_t size) {
    /* A read that may need a signature must not write to the caller's memory, see signing.c. */
    if (c->signs_elsewhere && may_read(c) && !c->has_plaintext) peek_record(c);
    int readable = may_read(c) && (!c->signs_elsewhere || c->has_plaintext);
    /* OpenSSL treats a read of 0 bytes as a failure. */
    size_t n = size && readable ? read_plaintext(c, room, size) : 0;
    if (!n && c->wire.out_error) report_send_failure(c);
    return n;
}

/* The caller does not read: process input up to the next record of data, so that tickets, alerts
 * and close_notify are noticed. */
static void peek_record(tio_conn *c) {
    begin_call(c);
    int r = tio_signing_peek(c);
    c->read_stop = TIO_GO;
    c->has_plaintext = SSL_pending(c->ssl) > 0;
    if (c->has_plaintext) c->partial_due = 0;
    finish_rehandshake(c);
    if (c->wanted) ask_for_signature(c);
    else if (r <= 0) input_failed(c, r);
}

static void discard_input(tio_conn *c) {
    char discarded[TIO_RECORD];
    for (int i = 0; i < 8 && tio_conn_take(c, discarded, sizeof discarded); i++) {}
}

/* TLS 1.3: the refused client receives the alert in place of a ticket. */
static void refuse_open(tio_conn *c) {
    begin_call(c);
    if (SSL_do_handshake(c->ssl) <= 0) record_failure(c);
    else tio_conn_break(c, TIO_FAULT_REFUSED, TIO_NO_LIMIT, 0);
}

void tio_conn_step(tio_conn *c) {
    if (c->question != TIO_NO_QUESTION || ask_preface(c)) return;
    if (c->wanted && !c->wanted->size && c->refusal < 0) {
        ask_for_signature(c);
        if (c->question != TIO_NO_QUESTION) return;
    }
    if (!c->ssl && tio_conn_is_handshake(c) && start(c)) {
        tio_fault_set(c, ERR_peek_error() ? TIO_FAULT_SSL : TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
        return;
    }
    if (c->phase == TIO_HANDSHAKING) do_handshake(c);
    else if (c->phase == TIO_OPEN && c->refusal >= 0 && !c->wanted) refuse_open(c);
    else if (c->phase == TIO_CLOSING) discard_input(c);
    /* While plaintext waits for the caller, peek only if OpenSSL has a message of ours to write. */
    else if (may_read(c) && (!c->has_plaintext || c->read_stop == TIO_AWAITS_ROOM || c->wanted)) peek_record(c);
    if (c->wire.out_error) report_send_failure(c);
}

static int may_write(const tio_conn *c) {
    return c->phase == TIO_OPEN && c->out == TIO_OUT_OPEN && c->question == TIO_NO_QUESTION && !c->wire.out_error;
}

/* TLS 1.3, and a message is incomplete that may need a signature: SSL_write() would continue to read
 * it, and a job must not keep the address of the data. */
static int awaits_message(tio_conn *c) {
    if (!c->signs_elsewhere || SSL_version(c->ssl) < TLS1_3_VERSION || !SSL_in_init(c->ssl)) return 0;
    if (c->in == TIO_IN_OPEN) peek_record(c);
    if (!may_write(c) || !SSL_in_init(c->ssl)) return 0;
    c->write_stop = c->read_stop;
    if (c->in != TIO_IN_OPEN) tio_conn_break(c, TIO_FAULT_UNANSWERED, TIO_NO_LIMIT, 0);
    return 1;
}

/* TLS 1.2: nothing is written during another handshake. SSL_write() would continue that handshake
 * and treat data that the peer sent before its part as an error, which SSL_read() would return. So
 * reads start and complete the handshake, and a write waits. */
static int awaits_handshake(tio_conn *c) {
    if (c->rehandshake_begins && !is_renegotiating(c) && c->write_stop != TIO_AWAITS_ROOM) peek_record(c);
    if (!may_write(c) || !is_renegotiating(c)) return 0;
    c->write_stop = TIO_AWAITS_INPUT;
    /* The peer has ended during the handshake, so it will never be complete. */
    if (c->in != TIO_IN_OPEN) tio_conn_break(c, TIO_FAULT_UNANSWERED, TIO_NO_LIMIT, 0);
    return 1;
}

size_t tio_conn_write(tio_conn *c, const void *data, size_t size) {
    const uint8_t *p = data;
    size_t done = 0;
    if (!may_write(c) || awaits_handshake(c) || awaits_message(c) || !may_write(c)) return 0;
    begin_call(c);
    while (done < size && tio_wire_unsent(&c->wire) < TIO_GATHER) {
        /* Pass all that is left: OpenSSL takes one record of it and keeps its buffer for the next.
         * A retry passes the same data. */
        int r = SSL_write(c->ssl, p + done, size - done < INT32_MAX ? (int)(size - done) : INT32_MAX);
        c->write_stop = TIO_GO;
        finish_rehandshake(c);        /* the peer's messages may have been waiting in the wire */
        if (r <= 0) {
            int error = SSL_get_error(c->ssl, r);
            if (error == SSL_ERROR_WANT_WRITE) c->write_stop = TIO_AWAITS_ROOM;
            else if (error == SSL_ERROR_WANT_READ) c->write_stop = (uint8_t)input_stop(c);
            else record_failure(c);
            break;
        }
        done += (size_t)r;
        if (c->question != TIO_NO_QUESTION) break;
    }
    c->bytes_written += done;
    if (done) c->last_activity = tio_clock_coarse();
    if (done) c->data_end = c->wire.bytes_out + tio_wire_unsent(&c->wire);
    return done;
}

/* OpenSSL refuses to end during a handshake, or while a KeyUpdate waits for room. Then a later turn
 * sends close_notify, and FIN waits for it: without close_notify the peer would report a
 * truncation. Once the peer has ended, no handshake will be completed, so nothing is waited for. */
static void send_close_notify(tio_conn *c) {
    if (!c->end_due || c->wanted || (SSL_in_init(c->ssl) && c->in == TIO_IN_OPEN && !c->wire.out_error)) return;
    c->end_due = 0;
    begin_call(c);
    c->wire.unbounded = 1;
    if (SSL_shutdown(c->ssl) < 0) ERR_clear_error();
    c->wire.sealed = 1;
}

void tio_conn_end(tio_conn *c) {
    if (c->phase != TIO_OPEN || tio_move_out(c, TIO_OUT_ENDING)) return;
    c->end_due = 1;
    send_close_notify(c);
}

void tio_conn_close(tio_conn *c) {
    tio_conn_end(c);
    if (c->phase == TIO_OPEN) tio_move_phase(c, TIO_CLOSING);
}

/* ---- the end of each piece of work ----------------------------------------------------------- */

/* A handshake started by either side blocks our writes, so it has a deadline. A request without an
 * answer no longer blocks anything once our direction has ended. */
static void watch_rehandshake(tio_conn *c) {
    int blocks_writes = is_renegotiating(c) || (c->rehandshake_asked && c->out == TIO_OUT_OPEN);
    int waits = (c->phase == TIO_OPEN || c->phase == TIO_CLOSING) && c->policy.handshake_ns && c->question == TIO_NO_QUESTION &&
                c->in == TIO_IN_OPEN && blocks_writes;
    if (!waits) c->rehandshake_due = 0;
    else if (!c->rehandshake_due) c->rehandshake_due = tio_clock() + c->policy.handshake_ns;
}

/* Report a reset that discarded data which the peer had not acknowledged. Once the peer has ended,
 * no read would report it. */
void tio_conn_look_for_reset(tio_conn *c) {
    if (c->wire.fd < 0 || c->in == TIO_IN_OPEN || c->wire.out_error || !tio_conn_undelivered(c, tio_conn_unacknowledged(c))) return;
    int error = tio_wire_socket_error(&c->wire);
    if (error) tio_conn_send_failed(c, error);
}

/* Called even if both directions have ended: close() sends no FIN while a forked child has a
 * copy. */
static void end_descriptor(tio_conn *c) {
    int error = shutdown(c->wire.fd, SHUT_WR) ? errno : 0;
    if (error == ENOTCONN) error = ECONNRESET;       /* a reset that no read has reported yet */
    if (c->in != TIO_IN_OPEN) tio_conn_look_for_reset(c);
    else if (error) tio_conn_send_failed(c, error);
    tio_conn_fin_sent(c);
}

void tio_conn_turn(tio_conn *c) {
    tio_wire *w = &c->wire;
    tio_wire_settle(c);
    if (c->rehandshake_deferred) begin_deferred(c);
    if (c->end_due) send_close_notify(c);
    if (w->fd >= 0) {
        if (tio_wire_unsent(w)) tio_conn_flush(c);
        tio_wire_keep_output(c);
        if (tio_conn_next(c) & TIO_NEXT_FIN) {
            end_descriptor(c);
        }
    }
    if (c->ssl) watch_rehandshake(c);
}

int64_t tio_conn_deadline(const tio_conn *c) {
    if (c->phase != TIO_OPEN && c->phase != TIO_CLOSING) return 0;
    int64_t partial = c->phase == TIO_OPEN && c->in == TIO_IN_OPEN ? c->partial_due : 0;
    if (!partial || !c->rehandshake_due) return partial + c->rehandshake_due;
    return partial < c->rehandshake_due ? partial : c->rehandshake_due;
}

/* While bytes from the peer are still unread here, the delay is ours: check again soon. */
static void partial_overdue(tio_conn *c, int64_t now) {
    if (c->read_stop == TIO_AWAITS_INPUT && c->question == TIO_NO_QUESTION) tio_conn_break(c, TIO_FAULT_LIMIT, TIO_LIMIT_PARTIAL_RECORD, 0);
    else c->partial_due = now + c->policy.partial_ns / 8 + 1000000;
}

void tio_conn_expire(tio_conn *c) {
    int64_t now = tio_clock();
    if (tio_conn_is_handshake(c)) tio_conn_break(c, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    else if (c->partial_due && c->partial_due <= now) partial_overdue(c, now);
    else if (c->rehandshake_due && c->rehandshake_due <= now) tio_conn_break(c, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
}

/* ---- answers --------------------------------------------------------------------------------- */

void tio_answer_hello(tio_conn *c, tio_context *context, const uint8_t *protocol, size_t size) {
    if (c->question != TIO_ASK_HELLO) return;
    tio_move_question(c, TIO_NO_QUESTION);
    if (protocol && (c->chosen = malloc(size ? size : 1))) {
        memcpy(c->chosen, protocol, size);
        c->chosen_size = size;
    }
    begin_call(c);
    if ((protocol && !c->chosen) || (context && context != c->context && tio_context_switch(c, context)))
        c->refusal = SSL_AD_INTERNAL_ERROR;
}

void tio_answer_verify(tio_conn *c, int error) {
    if (c->question != TIO_ASK_VERIFY) return;
    tio_move_question(c, TIO_NO_QUESTION);
    c->asked |= TIO_WANT_VERIFY;
    c->verify_answer = error;
    int has_certificate = !tio_sessions_resumed(c) && !tio_conn_psk_used(c);
    if (error == X509_V_OK && (c->policy.wants & TIO_WANT_STATUS) && SSL_version(c->ssl) >= TLS1_3_VERSION && has_certificate)
        tio_move_question(c, TIO_ASK_STATUS);
}

void tio_answer_client(tio_conn *c) {
    if (c->question != TIO_ASK_CLIENT) return;
    tio_move_question(c, TIO_NO_QUESTION);
    if (c->phase == TIO_OPEN) tio_sessions_ask(c);
    if (SSL_version(c->ssl) < TLS1_3_VERSION || c->phase != TIO_HANDSHAKING || tio_conn_psk_used(c)) return;
    add_tickets(c);
}

void tio_refuse(tio_conn *c, int alert) {
    tio_question question = c->question;
    if (question == TIO_NO_QUESTION) return;
    tio_move_question(c, TIO_NO_QUESTION);
    c->refusal = (int16_t)alert;
    if (question == TIO_ASK_VERIFY) {
        c->asked |= TIO_WANT_VERIFY;
        c->verify_answer = X509_V_ERR_CERT_REJECTED;
    } else if (question == TIO_ASK_PREFACE || question == TIO_ASK_JOB) {
        tio_conn_break(c, TIO_FAULT_REFUSED, TIO_NO_LIMIT, 0);
    } else if (question == TIO_ASK_CLIENT || question == TIO_ASK_STORE) {
        begin_call(c);
        if (SSL_version(c->ssl) < TLS1_3_VERSION || !SSL_new_session_ticket(c->ssl)) tio_refuse_in_plaintext(c, alert);
    } else if (question == TIO_ASK_STATUS) {
        tio_status_refuse(c, alert);
    }
}
