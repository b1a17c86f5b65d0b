/* tickets.c - the ring of session ticket keys.
 *
 * Keys have Node's format: 48 bytes, AES-128-CBC with HMAC-SHA256, so that Node and tlsio can share
 * one address. The first key encrypts, all decrypt; a ticket under an older key is renewed.
 * OpenSSL's SSL_CTX_set_tlsext_ticket_keys() is not used: it takes 80 bytes since 1.1.0, and only
 * one key. */
#include "internal.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tio_ring {
    pthread_mutex_t lock;               /* other threads' handshakes read while the owner rotates */
    atomic_int owners;
    size_t count;
    uint8_t keys[TIO_TICKET_KEYS][TIO_TICKET_KEY];
    int64_t until[TIO_TICKET_KEYS];     /* CLOCK_MONOTONIC, ns; 0: current key, or without limit */
    int64_t keep;
};

static EVP_CIPHER *aes;
static pthread_once_t fetched = PTHREAD_ONCE_INIT;

/* Fetched once, because each fetch takes a lock. */
static void fetch(void) { aes = EVP_CIPHER_fetch(NULL, "AES-128-CBC", NULL); }

tio_ring *tio_ring_new(void) {
    pthread_once(&fetched, fetch);
    tio_ring *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    if (!aes || RAND_bytes(r->keys[0], TIO_TICKET_KEY) != 1) {
        free(r);
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    atomic_init(&r->owners, 1);
    r->count = 1;
    return r;
}

void tio_ring_retain(tio_ring *r) { atomic_fetch_add(&r->owners, 1); }

void tio_ring_release(tio_ring *r) {
    if (!r || atomic_fetch_sub(&r->owners, 1) != 1) return;
    pthread_mutex_destroy(&r->lock);
    OPENSSL_cleanse(r->keys, sizeof r->keys);
    free(r);
}

int tio_ring_set(tio_ring *r, const uint8_t *keys, size_t count) {
    if (count < 1 || count > TIO_TICKET_KEYS) return -1;
    pthread_mutex_lock(&r->lock);
    OPENSSL_cleanse(r->keys, sizeof r->keys);
    memcpy(r->keys, keys, count * TIO_TICKET_KEY);
    memset(r->until, 0, sizeof r->until);
    r->count = count;
    pthread_mutex_unlock(&r->lock);
    return 0;
}

void tio_ring_keep(tio_ring *r, int64_t ns) {
    pthread_mutex_lock(&r->lock);
    r->keep = ns;
    pthread_mutex_unlock(&r->lock);
}

/* A stolen key can forge tickets and decrypt old ones, so a key is kept no longer than its tickets
 * live. The oldest is last. */
static void forget_old(tio_ring *r) {
    while (r->count > 1 && r->until[r->count - 1] && r->until[r->count - 1] <= tio_clock()) {
        OPENSSL_cleanse(r->keys[--r->count], TIO_TICKET_KEY);
        r->until[r->count] = 0;
    }
}

void tio_ring_push(tio_ring *r, const uint8_t key[TIO_TICKET_KEY]) {
    pthread_mutex_lock(&r->lock);
    int64_t until = r->keep ? tio_clock() + r->keep : 0;
    memmove(r->keys[1], r->keys[0], (TIO_TICKET_KEYS - 1) * (size_t)TIO_TICKET_KEY);
    memmove(r->until + 1, r->until, (TIO_TICKET_KEYS - 1) * sizeof *r->until);
    memcpy(r->keys[0], key, TIO_TICKET_KEY);
    r->until[0] = 0;
    for (size_t i = 1; i < TIO_TICKET_KEYS; i++)
        if (!r->until[i]) r->until[i] = until;
    if (r->count < TIO_TICKET_KEYS) r->count++;
    pthread_mutex_unlock(&r->lock);
}

void tio_ring_first(tio_ring *r, uint8_t key[TIO_TICKET_KEY]) {
    pthread_mutex_lock(&r->lock);
    memcpy(key, r->keys[0], TIO_TICKET_KEY);
    pthread_mutex_unlock(&r->lock);
}

/* returns 0 for the newest key, > 0 for an older one, -1 if no key has that name */
static int find(tio_ring *r, const unsigned char *name, uint8_t key[TIO_TICKET_KEY]) {
    int at = -1;
    pthread_mutex_lock(&r->lock);
    forget_old(r);
    for (size_t i = 0; i < r->count && at < 0; i++)
        if (!memcmp(r->keys[i], name, 16)) {            /* not secret: tickets contain the name */
            memcpy(key, r->keys[i], TIO_TICKET_KEY);
            at = (int)i;
        }
    pthread_mutex_unlock(&r->lock);
    return at;
}

static int set_mac(EVP_MAC_CTX *mac, uint8_t *key) {
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key + 16, 16),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char[]){ "SHA256" }, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_MAC_CTX_set_params(mac, params);
}

/* returns -1: error; 0: no key, full handshake; 1: success; 2: success, send a new ticket */
int tio_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int encrypt) {
    tio_conn *c = tio_conn_of(ssl);
    tio_ring *ring = c->gate && c->gate->ring ? c->gate->ring : c->context->ring;
    uint8_t key[TIO_TICKET_KEY];
    int at = 0, done = 0, result = -1;
    if (encrypt) {
        if (tio_psk_made(SSL_get0_session(ssl))) return 0;      /* see may_resume(); an empty ticket is sent (RFC 5077 3.3) */
        tio_ring_first(ring, key);
        memcpy(name, key, 16);
        done = RAND_bytes(iv, 16) == 1 && EVP_EncryptInit_ex2(cipher, aes, key + 32, iv, NULL) == 1 && set_mac(mac, key) == 1;
        result = done ? 1 : -1;
    } else {
        /* After an abbreviated TLS 1.2 handshake no alert can be sent, so a user function that
         * decides about clients gets full handshakes only. */
        int may_resume = !(c->policy.wants & TIO_WANT_CLIENT) || SSL_version(ssl) >= TLS1_3_VERSION;
        at = may_resume ? find(ring, name, key) : -1;
        if (at < 0) return 0;
        done = set_mac(mac, key) == 1 && EVP_DecryptInit_ex2(cipher, aes, key + 32, iv, NULL) == 1;
        /* TLS 1.3 tickets are for one use (RFC 8446 C.4), so each resumption issues a new one. If
         * the user's function must still be asked, tickets wait for its answer. */
        int renew = at > 0 || SSL_version(ssl) >= TLS1_3_VERSION;
        result = !done ? -1 : renew && !(c->policy.wants & TIO_WANT_CLIENT) ? 2 : 1;
    }
    OPENSSL_cleanse(key, sizeof key);
    return result;
}
