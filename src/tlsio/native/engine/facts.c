/* facts.c - what a connection has agreed on, where one getter of OpenSSL does not tell; and what it records on the way for
 * who wants it: secrets for a key log, a trace, the client's hello.
 *
 * Records cost nothing unless wanted.  They gather on the connection while OpenSSL works and are told after its call, for
 * no code of the user runs inside one.  Without memory a record is lost, never the connection: they are for looking on. */
#include "internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* ---- the key exchange ---------------------------------------------------------------------------------------- */

static const char *curve_name(const EVP_PKEY *key) {
    char name[64];
    if (EVP_PKEY_is_a(key, "X25519")) return "X25519";
    if (EVP_PKEY_is_a(key, "X448")) return "X448";
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, name, sizeof name, NULL) != 1) return NULL;
    return OBJ_nid2sn(OBJ_txt2nid(name));               /* of a table that lives as long as the library */
}

static tio_key_info describe(const EVP_PKEY *key) {
    tio_key_info info = { .bits = (uint16_t)EVP_PKEY_get_bits(key) };
    if (EVP_PKEY_is_a(key, "DH") || EVP_PKEY_is_a(key, "DHX")) info.kind = TIO_KEY_DH;
    else if ((info.name = curve_name(key)) != NULL) info.kind = TIO_KEY_ECDH;
    return info;
}

/* TLS 1.2: OpenSSL forgets a server's key with the handshake, so it is looked at when it leaves. */
void tio_facts_own_key(tio_conn *c) {
    EVP_PKEY *key = NULL;
    if (!SSL_get_tmp_key(c->ssl, &key)) return;
    c->own_key = describe(key);
    EVP_PKEY_free(key);
}

tio_key_info tio_conn_key_info(tio_conn *c) {
    tio_key_info info = { .kind = TIO_KEY_NONE };
    EVP_PKEY *key = NULL;
    if (!c->ssl || !SSL_is_init_finished(c->ssl)) return info;
    if (SSL_get_peer_tmp_key(c->ssl, &key)) {
        info = describe(key);
        EVP_PKEY_free(key);
    }
    if (info.kind == TIO_KEY_NONE) info = c->own_key;
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
    /* A key encapsulation (RFC 9370 has the idea, ML-KEM is one): there is no key of the peer's to look at.  A resumption
     * without any exchange would name the group of the first connection; it has to be allowed by an option. */
    int without = SSL_session_reused(c->ssl) && (SSL_get_options(c->ssl) & SSL_OP_ALLOW_NO_DHE_KEX);
    if (info.kind == TIO_KEY_NONE && SSL_version(c->ssl) >= TLS1_3_VERSION && !without) {
        info.name = SSL_get0_group_name(c->ssl);
        info.kind = info.name ? TIO_KEY_GROUP : TIO_KEY_NONE;
    }
#endif
    return info;
}

/* Without anything in common a client still has to choose, and tells its own first (draft-agl-tls-nextprotoneg-04 4): that is
 * nothing both have agreed on. */
size_t tio_conn_npn(const tio_conn *c, const uint8_t **name) {
    const tio_row *row = &c->context->row;
    unsigned size = 0;
#ifndef OPENSSL_NO_NEXTPROTONEG
    if (c->ssl) SSL_get0_next_proto_negotiated(c->ssl, name, &size);
#endif
    if (c->role == TIO_CLIENT) return c->npn_agreed ? size : 0;
    for (size_t at = 0; size && at < row->npn_size; at += 1 + (size_t)row->npn[at])
        if (row->npn[at] == size && !memcmp(row->npn + at + 1, *name, size)) return size;
    return 0;
}

int tio_conn_set_max_fragment(tio_conn *c, long size) {
    if (size < 512 || size > TIO_RECORD) return -1;     /* what OpenSSL takes */
    c->max_fragment = (uint16_t)size;
    return c->ssl && SSL_set_max_send_fragment(c->ssl, size) != 1 ? -1 : 0;
}

/* ---- records ------------------------------------------------------------------------------------------------- */

static tio_records *records(tio_conn *c) {
    if (!c->records) c->records = calloc(1, sizeof *c->records);
    return c->records;
}

/* Not realloc(): what it leaves behind would hold secrets. */
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
    if (!(c->wants & TIO_WANT_KEYS) || !records(c) || reserve(c->records, size + 1)) return;
    memcpy(c->records->keys + c->records->keys_size, line, size);
    c->records->keys[c->records->keys_size + size] = '\n';
    c->records->keys_size += size + 1;
    c->recorded = 1;
}

void tio_records_install(const tio_conn *c, SSL_CTX *ctx) {
    if ((c->wants & TIO_WANT_KEYS) && SSL_CTX_get_keylog_callback(ctx) != on_key) SSL_CTX_set_keylog_callback(ctx, on_key);
}

void tio_conn_record(tio_conn *c, unsigned wants) {
    c->wants |= (uint16_t)(wants & (TIO_WANT_KEYS | TIO_WANT_OFFER | TIO_WANT_TRACE));
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
    c->recorded = 1;
#endif
}

size_t tio_conn_keys(const tio_conn *c, const uint8_t **lines) {
    *lines = c->records ? c->records->keys : NULL;
    return c->records ? c->records->keys_size : 0;
}

void tio_records_look(tio_conn *c) {
    const tio_records *r = c->records;
    c->recorded = (r && (r->keys_size || (r->trace && BIO_pending(r->trace)))) || (c->role == TIO_CLIENT && c->sessions && c->sessions->count);
}

void tio_conn_keys_told(tio_conn *c) {
    tio_records *r = c->records;
    if (!r) return;
    OPENSSL_cleanse(r->keys, r->keys_size);
    free(r->keys);
    r->keys = NULL;
    r->keys_size = r->keys_room = 0;
    tio_records_look(c);
}

size_t tio_conn_trace(const tio_conn *c, const uint8_t **text) {
    char *data = NULL;
    long size = c->records && c->records->trace ? BIO_get_mem_data(c->records->trace, &data) : 0;
    *text = (const uint8_t *)data;
    return size > 0 ? (size_t)size : 0;
}

void tio_conn_trace_told(tio_conn *c) {
    if (!c->records) return;
    BIO_free(c->records->trace);
    c->records->trace = NULL;
    tio_records_look(c);
}

void tio_records_free(tio_conn *c) {
    if (!c->records) return;
    tio_conn_keys_told(c);
    BIO_free(c->records->trace);
    free(c->records->offer);
    free(c->records);
}
