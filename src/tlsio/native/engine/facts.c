/* facts.c - what a connection has agreed on, where OpenSSL has no single getter. */
#include "internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

/* ---- the key exchange ------------------------------------------------------------------------ */

static const char *curve_name(const EVP_PKEY *key) {
    char name[64];
    if (EVP_PKEY_is_a(key, "X25519")) return "X25519";
    if (EVP_PKEY_is_a(key, "X448")) return "X448";
    if (!EVP_PKEY_is_a(key, "EC") || EVP_PKEY_get_group_name(key, name, sizeof name, NULL) != 1) return NULL;
    return OBJ_nid2sn(OBJ_txt2nid(name));               /* from a static table of OpenSSL */
}

static tio_key_info describe(const EVP_PKEY *key) {
    tio_key_info info = { .bits = (uint16_t)EVP_PKEY_get_bits(key) };
    if (EVP_PKEY_is_a(key, "DH") || EVP_PKEY_is_a(key, "DHX")) info.kind = TIO_KEY_DH;
    else if ((info.name = curve_name(key)) != NULL) info.kind = TIO_KEY_ECDH;
    return info;
}

/* TLS 1.2: OpenSSL frees a server's ephemeral key at the end of the handshake, so it is described
 * when the message that contains it is sent. */
void tio_facts_own_key(tio_conn *c) {
    EVP_PKEY *key = NULL;
    if (!SSL_get_tmp_key(c->ssl, &key)) return;
    c->own_key = describe(key);
    EVP_PKEY_free(key);
}

tio_key_info tio_conn_key_info(tio_conn *c) {
    tio_key_info info = { .kind = TIO_KEY_NONE };
    EVP_PKEY *key = NULL;
    /* Not SSL_is_init_finished: it is false again after a fatal alert, such as one that refuses the
     * client in TLS 1.3. */
    if (!c->ssl || !c->handshake_done_ns) return info;
    if (SSL_get_peer_tmp_key(c->ssl, &key)) {
        info = describe(key);
        EVP_PKEY_free(key);
    }
    if (info.kind == TIO_KEY_NONE) info = c->own_key;
#if OPENSSL_VERSION_NUMBER >= 0x30200000L
    /* ML-KEM and other key encapsulations: the peer has no key to look at, but the group has a
     * name. A resumption without a key exchange, which must be allowed by an option, would report
     * the group of the first connection. */
    int without = SSL_session_reused(c->ssl) && (SSL_get_options(c->ssl) & SSL_OP_ALLOW_NO_DHE_KEX);
    if (info.kind == TIO_KEY_NONE && SSL_version(c->ssl) >= TLS1_3_VERSION && !without) {
        info.name = SSL_get0_group_name(c->ssl);
        info.kind = info.name ? TIO_KEY_GROUP : TIO_KEY_NONE;
    }
#endif
    return info;
}

/* If the lists have nothing in common, an NPN client must still choose and sends its own first
 * protocol (draft-agl-tls-nextprotoneg-04 4). That is not a protocol of both. */
size_t tio_conn_npn(const tio_conn *c, const uint8_t **name) {
    const tio_context_settings *settings = &c->context->settings;
    unsigned size = 0;
#ifndef OPENSSL_NO_NEXTPROTONEG
    if (c->ssl) SSL_get0_next_proto_negotiated(c->ssl, name, &size);
#endif
    if (c->role == TIO_CLIENT) return c->npn_agreed ? size : 0;
    for (size_t at = 0; size && at < settings->npn_size; at += 1 + (size_t)settings->npn[at])
        if (settings->npn[at] == size && !memcmp(settings->npn + at + 1, *name, size)) return size;
    return 0;
}

int tio_conn_set_max_fragment(tio_conn *c, long size) {
    if (size < 512 || size > TIO_RECORD) return -1;     /* OpenSSL's limits */
    c->max_fragment = (uint16_t)size;
    return c->ssl && SSL_set_max_send_fragment(c->ssl, size) != 1 ? -1 : 0;
}
