/* marks.c - what a server's session records of the verdict on its client, and when that verdict
 * expires.
 *
 * A resumed connection is not verified, and OpenSSL gives every new ticket a full lifetime. So a
 * session carries a mark in the ticket_appdata of its SSL_SESSION, which is encrypted in tickets
 * and part of the DER that stores keep. The mark says when the first full handshake took place,
 * under which trust settings, when the verdict expires, and which CRL entries to check. A renewed
 * session keeps the mark of the session it was resumed from, so a chain of resumptions never
 * outlives the first verification.
 *
 * Layout, integers big-endian: 8 bytes of magic, 32 bytes digest of the trust settings, int64
 * first, int64 end (both POSIX seconds), then the entries of lists.c. The session id context
 * separates trust settings too, but servers with different settings may be given the same one.
 * Without a mark (sessions of other programs and of older versions) nothing is known about the
 * client's certificate. */
#include "internal.h"

#include <openssl/x509.h>
#include <string.h>
#include <time.h>

enum { TRUST = 8, FIRST = TRUST + TIO_TRUST, END = FIRST + 8, HEAD = END + 8 };        /* offsets */
/* Clocks of a cluster differ, and may be set back. The age of a session from further in the future
 * cannot be known. */
enum { SKEW = 60 };

static const uint8_t magic[8] = { 't', 'l', 's', 'i', 'o', 'm', 'k', '1' };

typedef struct {
    /* in the session's memory, as is `entries`, or in the context's settings */
    const uint8_t *trust;
    int64_t first, end;
    const uint8_t *entries;             /* borrowed */
    size_t size;
} mark;

static int64_t wall_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec;
}

static int64_t made_at(const SSL_SESSION *session) {
#if OPENSSL_VERSION_NUMBER >= 0x30300000L
    return (int64_t)SSL_SESSION_get_time_ex(session);
#else
    return (int64_t)SSL_SESSION_get_time(session);
#endif
}

static int64_t read_int(const uint8_t *p) {
    uint64_t n = 0;
    for (int i = 0; i < 8; i++) n = n << 8 | p[i];
    return (int64_t)n;
}

static void write_int(uint8_t *p, int64_t n) {
    for (int i = 0; i < 8; i++) p[i] = (uint8_t)((uint64_t)n >> (56 - 8 * i));
}

static int read_mark(SSL_SESSION *session, mark *m) {
    void *data = NULL;
    size_t size = 0;
    if (!SSL_SESSION_get0_ticket_appdata(session, &data, &size) || size < HEAD || memcmp(data, magic, sizeof magic)) return 0;
    const uint8_t *p = data;
    *m = (mark){ p + TRUST, read_int(p + FIRST), read_int(p + END), p + HEAD, size - HEAD };
    return 1;
}

static int write_mark(SSL_SESSION *session, const mark *m) {
    uint8_t data[HEAD + TIO_ENTRIES];
    if (m->size > TIO_ENTRIES) return 0;
    memcpy(data, magic, sizeof magic);
    memcpy(data + TRUST, m->trust, TIO_TRUST);
    write_int(data + FIRST, m->first);
    write_int(data + END, m->end);
    if (m->size) memcpy(data + HEAD, m->entries, m->size);
    return SSL_SESSION_set1_ticket_appdata(session, data, HEAD + m->size);
}

int64_t tio_instant(const ASN1_TIME *time) {
    struct tm tm;
    return ASN1_TIME_to_tm(time, &tm) ? (int64_t)timegm(&tm) : 1;
}

static int64_t not_after(const X509 *cert) { return tio_instant(X509_get0_notAfter(cert)); }

int64_t tio_chain_end(STACK_OF(X509) *chain, const X509 *leaf) {
    int64_t end = leaf ? not_after(leaf) : INT64_MAX;
    for (int i = 0; i < sk_X509_num(chain); i++) {
        int64_t one = not_after(sk_X509_value(chain, i));
        if (one < end) end = one;
    }
    return end;
}

static int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }

/* The lifetime that clients and stores get must not exceed the verdict's. It must not be 0: OpenSSL
 * 3.0 would read that back as 3 and fail the handshake, because the ticket has grown. The mark
 * refuses such a session anyway. */
static void shorten(SSL_SESSION *session, int64_t end) {
    int64_t left = end - made_at(session);
    if (left < (int64_t)SSL_SESSION_get_timeout(session)) SSL_SESSION_set_timeout(session, left > 1 ? (long)left : 1);
}

int tio_mark_session(tio_conn *c, SSL_SESSION *session) {
    mark m;
    uint8_t entries[TIO_ENTRIES];
    X509 *leaf = SSL_SESSION_get0_peer(session);
    /* NULL when resumed. */
    STACK_OF(X509) *chain = leaf && !c->marked ? SSL_get0_verified_chain(c->ssl) : NULL;
    int known = read_mark(session, &m);
    if (!known || chain) {
        if (!known) m.first = wall_clock();
        m.end = lesser(m.first + (int64_t)SSL_CTX_get_timeout(c->context->ssl), tio_chain_end(chain, leaf));
        /* CRLs matter for accepted certificates; the verify result refuses the others. */
        m.size = chain && SSL_get_verify_result(c->ssl) == X509_V_OK ? tio_chain_entries(chain, entries) : 0;
        m.entries = entries;
        m.trust = c->context->settings.trust;
        if (!write_mark(session, &m)) return 0;
        c->marked = 1;
    }
    shorten(session, m.end);
    return 1;
}

/* A session without a mark gets one when it is resumed, so that renewals do not extend its life. */
static int adopt(tio_conn *c, SSL_SESSION *session, mark *m) {
    int64_t first = made_at(session), end = first + (int64_t)SSL_CTX_get_timeout(c->context->ssl);
    *m = (mark){ c->context->settings.trust, first, lesser(end, tio_chain_end(NULL, SSL_SESSION_get0_peer(session))), NULL, 0 };
    return write_mark(session, m);
}

int tio_mark_holds(tio_conn *c, SSL_SESSION *session) {
    const tio_context_settings *settings = &c->context->settings;
    /* After post-handshake authentication there may be a certificate although the context requests
     * none. */
    int judged = (SSL_get_verify_mode(c->ssl) & SSL_VERIFY_PEER) || SSL_SESSION_get0_peer(session);
    int64_t now = wall_clock();
    mark m;
    if (!read_mark(session, &m)) {
        /* The option cannot restore the chain, which CRLs and pins need. */
        if ((judged && (!settings->resume_unmarked || settings->lists || settings->pin_count)) || !adopt(c, session, &m)) return 0;
    }
    if (m.first > now + SKEW || now >= m.end || now - m.first >= (int64_t)SSL_CTX_get_timeout(c->context->ssl)) return 0;
    if (!judged) return 1;
    /* A full handshake reports that the CRL has expired. */
    if (settings->lists_end && now >= settings->lists_end) return 0;
    return !memcmp(m.trust, settings->trust, TIO_TRUST) && (!settings->lists || tio_lists_pass(settings->lists, m.entries, m.size, now));
}
