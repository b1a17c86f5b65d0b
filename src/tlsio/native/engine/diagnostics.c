/* diagnostics.c - what a connection records on request: secrets for a key log, a trace, the
 * client's hello.
 *
 * Nothing is recorded, and nothing is allocated, unless it was requested. Records gather on the
 * connection while OpenSSL runs and are reported after its call, because no user code runs inside
 * one. Out of memory a record is lost, not the connection. */
#include "internal.h"

#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

static tio_records *records(tio_conn *c) {
    if (!c->records) c->records = calloc(1, sizeof *c->records);
    return c->records;
}

/* Not realloc(), which would leave secrets in the memory that it frees. */
static int reserve(tio_records *r, size_t size) {
    if (r->keys_size + size <= r->keys_room) return 0;
    size_t room = (r->keys_size + size) * 2;
    uint8_t *more = malloc(room);
    if (!more) return -1;
    if (r->keys_size) memcpy(more, r->keys, r->keys_size);
    OPENSSL_cleanse(r->keys, r->keys_size);
    free(r->keys);
    r->keys = more;
    r->keys_room = room;
    return 0;
}

static void on_key(const SSL *ssl, const char *line) {
    tio_conn *c = tio_conn_of(ssl);
    size_t size = strlen(line);
    if (!(c->policy.wants & TIO_WANT_KEYS) || !records(c) || reserve(c->records, size + 1)) return;
    memcpy(c->records->keys + c->records->keys_size, line, size);
    c->records->keys[c->records->keys_size + size] = '\n';
    c->records->keys_size += size + 1;
    c->has_news = 1;
}

void tio_records_install(const tio_conn *c, SSL_CTX *ctx) {
    if ((c->policy.wants & TIO_WANT_KEYS) && SSL_CTX_get_keylog_callback(ctx) != on_key) SSL_CTX_set_keylog_callback(ctx, on_key);
}

void tio_conn_record(tio_conn *c, unsigned wants) {
    c->policy.wants |= (uint16_t)(wants & (TIO_WANT_KEYS | TIO_WANT_OFFER | TIO_WANT_TRACE));
    if (c->ssl) tio_records_install(c, c->context->ssl);
}

void tio_records_offer(tio_conn *c, const void *message, size_t size) {
    if (!records(c) || c->records->offer || !(c->records->offer = malloc(size))) return;
    memcpy(c->records->offer, message, size);
    c->records->offer_size = size;
}

void tio_records_trace(tio_conn *c, int written, int version, int type, const void *data, size_t size) {
#ifdef OPENSSL_NO_SSL_TRACE
    (void)c, (void)written, (void)version, (void)type, (void)data, (void)size;
#else
    if (!records(c) || (!c->records->trace && !(c->records->trace = BIO_new(BIO_s_mem())))) return;
    SSL_trace(written, version, type, data, size, c->ssl, c->records->trace);
    c->has_news = 1;
#endif
}

size_t tio_conn_keys(const tio_conn *c, const uint8_t **lines) {
    *lines = c->records ? c->records->keys : NULL;
    return c->records ? c->records->keys_size : 0;
}

void tio_records_update_news(tio_conn *c) {
    const tio_records *r = c->records;
    c->has_news = (r && (r->keys_size || (r->trace && BIO_pending(r->trace)))) || (c->role == TIO_CLIENT && c->sessions && c->sessions->count);
}

void tio_conn_clear_keys(tio_conn *c) {
    tio_records *r = c->records;
    if (!r) return;
    OPENSSL_cleanse(r->keys, r->keys_size);
    free(r->keys);
    r->keys = NULL;
    r->keys_size = r->keys_room = 0;
    tio_records_update_news(c);
}

size_t tio_conn_trace(const tio_conn *c, const uint8_t **text) {
    char *data = NULL;
    long size = c->records && c->records->trace ? BIO_get_mem_data(c->records->trace, &data) : 0;
    *text = (const uint8_t *)data;
    return size > 0 ? (size_t)size : 0;
}

void tio_conn_clear_trace(tio_conn *c) {
    if (!c->records) return;
    BIO_free(c->records->trace);
    c->records->trace = NULL;
    tio_records_update_news(c);
}

void tio_records_free(tio_conn *c) {
    if (!c->records) return;
    tio_conn_clear_keys(c);
    BIO_free(c->records->trace);
    free(c->records->offer);
    free(c->records);
}
