/* faults.c - copies OpenSSL's error queue into one struct, at once: the queue belongs to the
 * thread, and the next call for another connection would overwrite it. */
#include "internal.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

/* Since OpenSSL 4.0 a provider's "cipher operation failed" precedes libssl's reason, which is the
 * meaningful one. */
static void put_reason_first(tio_fault *f) {
    for (int i = 1; i < f->count; i++) {
        unsigned long code = f->entries[i].code;
        if (ERR_GET_LIB(code) != ERR_LIB_SSL || ERR_GET_REASON(code) != SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC) continue;
        tio_fault_entry reason = f->entries[i];
        memmove(f->entries + 1, f->entries, (size_t)i * sizeof *f->entries);
        f->entries[0] = reason;
        return;
    }
}

static void read_queue(tio_fault *f) {
    unsigned long code;
    const char *file, *function, *data;
    int line, flags;
    while ((code = ERR_get_error_all(&file, &line, &function, &data, &flags)) != 0) {
        /* Keep the oldest, which is the cause. */
        if (f->count == (int)(sizeof f->entries / sizeof *f->entries)) continue;
        tio_fault_entry *e = &f->entries[f->count++];
        e->code = code;
        if (function) strncpy(e->function, function, sizeof e->function - 1);
        if (data && (flags & ERR_TXT_STRING)) strncpy(e->data, data, sizeof e->data - 1);
    }
    put_reason_first(f);
}

/* A request line begins with a method in upper-case letters and a space. */
static int speaks_http(const tio_conn *c) {
    size_t n = 0;
    while (n < c->first_size && c->first[n] >= 'A' && c->first[n] <= 'Z') n++;
    return n >= 3 && n < c->first_size && c->first[n] == ' ';
}

/* OpenSSL sends no alert if it takes the peer's bytes for another protocol, and it does not know
 * our deadline and limits. Until we have sent anything the peer expects plaintext, so the alert is
 * built here. RFC 8446 5: "If a TLS implementation receives an unexpected record type, it MUST
 * terminate the connection with an "unexpected_message" alert." 6.1, user_canceled: "the sender is
 * canceling the handshake for some reason unrelated to a protocol failure ... SHOULD be followed by
 * a "close_notify"". */
static void append_plaintext_alert(tio_conn *c) {
    uint8_t alert[] = { SSL3_RT_ALERT, 3, 1, 0, 2, SSL3_AL_FATAL, SSL_AD_UNEXPECTED_MESSAGE };
    static const uint8_t canceled[] = { SSL3_RT_ALERT, 3, 1, 0, 2, SSL3_AL_WARNING, SSL_AD_USER_CANCELLED,
                                        SSL3_RT_ALERT, 3, 1, 0, 2, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };
    if (c->alert_sent >= 0 || c->wire.bytes_out || tio_wire_unsent(&c->wire)) return;
    if (c->fault->kind == TIO_FAULT_TIMEOUT) {
        if (!tio_wire_append(c, canceled, sizeof canceled)) c->alert_sent = SSL_AD_USER_CANCELLED;
        return;
    }
    if (c->fault->kind == TIO_FAULT_SSL && c->policy.plain_answer && speaks_http(c)) {
        tio_wire_append(c, c->policy.plain_answer, c->policy.plain_answer_size);
        return;
    }
    if (c->fault->kind == TIO_FAULT_LIMIT) alert[6] = SSL_AD_HANDSHAKE_FAILURE;
    else if (c->fault->kind != TIO_FAULT_SSL) return;
    else if (ERR_GET_REASON(c->fault->entries[0].code) == SSL_R_WRONG_VERSION_NUMBER && c->first[0] == SSL3_RT_HANDSHAKE)
        alert[6] = SSL_AD_PROTOCOL_VERSION;
    if (!tio_wire_append(c, alert, sizeof alert)) c->alert_sent = alert[6];
}

/* Copy what the error message needs of the connection. */
static void describe(tio_conn *c) {
    tio_fault *f = c->fault;
    f->alert_sent = c->alert_sent;
    f->alert_received = c->alert_received;
    f->certificate_requested = c->certificate_requested;
    f->psk = c->psk != NULL;
    memcpy(f->first, c->first, sizeof f->first);
    f->first_size = c->first_size;
}

void tio_fault_set(tio_conn *c, tio_fault_kind kind, tio_limit limit, int os_error) {
    int question_open = c->question != TIO_NO_QUESTION, in_handshake = c->phase == TIO_IDLE || c->phase == TIO_HANDSHAKING;
    if (tio_move_phase(c, TIO_BROKEN)) {                /* final already: keep the first fault */
        ERR_clear_error();
        return;
    }
    tio_conn_abandon(c);
    if (question_open) tio_wire_drop_output(c);         /* it must not be sent without an answer */
    c->fault = calloc(1, sizeof *c->fault);             /* out of memory, BROKEN must suffice */
    if (!c->fault) {
        ERR_clear_error();
        return;
    }
    c->fault->kind = kind;
    c->fault->limit = limit;
    c->fault->os_error = os_error;
    read_queue(c->fault);
    if (c->role == TIO_SERVER && in_handshake) append_plaintext_alert(c);
    describe(c);
}

void tio_conn_break(tio_conn *c, tio_fault_kind kind, tio_limit limit, int os_error) {
    ERR_clear_error();                                  /* drop errors of other calls */
    tio_fault_set(c, kind, limit, os_error);
}

/* Nothing encrypted was sent, so the peer still expects plaintext: the alert replaces the unsent
 * end of the handshake. A TLS 1.3 server accepts that until the client's first encrypted record. It
 * is not possible after a server's abbreviated handshake, after a client's by pre-shared key up to
 * TLS 1.2, or after a renegotiation. */
void tio_refuse_in_plaintext(tio_conn *c, int alert) {
    /* The version that records carry. */
    int version = SSL_version(c->ssl) < TLS1_2_VERSION ? SSL_version(c->ssl) : TLS1_2_VERSION;
    uint8_t record[] = { SSL3_RT_ALERT, 3, (uint8_t)version, 0, 2, SSL3_AL_FATAL, (uint8_t)alert };
    int sent_encrypted = c->role == TIO_SERVER ? SSL_session_reused(c->ssl) : tio_conn_psk_used(c) && SSL_version(c->ssl) < TLS1_3_VERSION;
    tio_conn_abandon(c);
    tio_wire_drop_output(c);
    if (c->phase == TIO_HANDSHAKING && !sent_encrypted && !tio_wire_append(c, record, sizeof record)) c->alert_sent = (int16_t)alert;
    tio_conn_break(c, TIO_FAULT_REFUSED, TIO_NO_LIMIT, 0);
}
