/* lists.c - the CRLs that the engine can consult when a session is to be resumed.
 *
 * OpenSSL decides about a resumption inside a call in which no question can be asked. So the
 * binding publishes here the CRLs that it has fetched, and the engine looks up the certificates
 * that a session has recorded. A resumption must not accept a client that a full handshake could
 * reject: a certificate passes only if its CRL, or the fact that it has none, is known and fresh.
 * Otherwise there is a full handshake, in which the binding fetches what is missing.
 *
 * An entry describes one certificate: TIO_LIST_KEY bytes that identify its CRL, one byte with the
 * size of the serial number in DER, and that number. Size 0: the number was too long to be
 * recorded; such an entry never passes. */
#include "internal.h"

#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    uint8_t key[TIO_LIST_KEY];
    /* POSIX seconds; afterwards only a full handshake can check */
    int64_t until;
    uint64_t used;
    tio_serials *serials;               /* NULL: there is no CRL */
} published;

struct tio_lists {
    pthread_mutex_t lock;               /* the binding writes, handshakes of any thread read */
    atomic_int owners;
    int required;
    uint64_t turn;
    size_t count, held, room;           /* `all` has memory for `held`, and may grow to `room` */
    published *all;
};

tio_lists *tio_lists_new(int required, size_t room) {
    tio_lists *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    pthread_mutex_init(&l->lock, NULL);
    atomic_init(&l->owners, 1);
    l->required = required;
    l->room = room;
    return l;
}

void tio_lists_retain(tio_lists *l) { atomic_fetch_add(&l->owners, 1); }

void tio_lists_release(tio_lists *l) {
    if (!l || atomic_fetch_sub(&l->owners, 1) != 1) return;
    for (size_t i = 0; i < l->count; i++) tio_serials_release(l->all[i].serials);
    pthread_mutex_destroy(&l->lock);
    free(l->all);
    free(l);
}

static published *find(tio_lists *l, const uint8_t *key) {
    for (size_t i = 0; i < l->count; i++)
        if (!memcmp(l->all[i].key, key, TIO_LIST_KEY)) return &l->all[i];
    return NULL;
}

static published *least_used(tio_lists *l) {
    published *least = l->all;
    for (size_t i = 1; i < l->count; i++)
        if (l->all[i].used < least->used) least = &l->all[i];
    return least;
}

/* A free element, or the least recently used one. NULL: out of memory. */
static published *make_room(tio_lists *l) {
    if (l->count == l->held && l->count < l->room) {
        size_t held = l->held ? 2 * l->held : 8;
        if (held > l->room) held = l->room;
        published *grown = realloc(l->all, held * sizeof *grown);
        if (grown) {
            memset(grown + l->held, 0, (held - l->held) * sizeof *grown);
            l->all = grown;
            l->held = held;
        }
    }
    if (l->count < l->held) return &l->all[l->count++];
    return l->count ? least_used(l) : NULL;
}

int tio_lists_put(tio_lists *l, const uint8_t key[TIO_LIST_KEY], tio_serials *serials, int64_t until) {
    pthread_mutex_lock(&l->lock);
    published *at = find(l, key);
    if (!at && !(at = make_room(l))) {
        pthread_mutex_unlock(&l->lock);
        return -1;
    }
    if (serials) tio_serials_retain(serials);
    tio_serials *old = at->serials;
    memcpy(at->key, key, TIO_LIST_KEY);
    at->serials = serials;
    at->until = until;
    at->used = ++l->turn;
    pthread_mutex_unlock(&l->lock);
    tio_serials_release(old);
    return 0;
}

int64_t tio_lists_until(tio_lists *l, const uint8_t key[TIO_LIST_KEY]) {
    pthread_mutex_lock(&l->lock);
    const published *at = find(l, key);
    int64_t until = at ? at->until : 0;
    pthread_mutex_unlock(&l->lock);
    return until;
}

static int passes(tio_lists *l, const uint8_t *entry, int64_t now) {
    const uint8_t *date;
    published *at = find(l, entry);
    if (!at || now >= at->until || !entry[TIO_LIST_KEY]) return 0;
    at->used = ++l->turn;
    if (!at->serials) return !l->required;
    return !tio_serials_find(at->serials, entry + TIO_LIST_KEY + 1, entry[TIO_LIST_KEY], &date);
}

int tio_lists_pass(tio_lists *l, const uint8_t *entries, size_t size, int64_t now) {
    size_t at = 0;
    int ok = 1;
    pthread_mutex_lock(&l->lock);
    while (ok && at < size) {
        ok = size - at > TIO_LIST_KEY && size - at - TIO_LIST_KEY - 1 >= entries[at + TIO_LIST_KEY] && passes(l, entries + at, now);
        if (ok) at += TIO_LIST_KEY + 1 + (size_t)entries[at + TIO_LIST_KEY];
    }
    pthread_mutex_unlock(&l->lock);
    return ok;
}

/* ---- the entry of a certificate -------------------------------------------------------------- */

int tio_spki_digest(const X509 *cert, uint8_t digest[SHA256_DIGEST_LENGTH]) {
    unsigned char *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
    if (size <= 0) return -1;
    SHA256(der, (size_t)size, digest);
    OPENSSL_free(der);
    return 0;
}

/* Which CRL covers a certificate depends on its distribution points, its issuer's key and whether
 * it is a CA. */
static int list_key(X509 *cert, X509 *issuer, uint8_t key[TIO_LIST_KEY]) {
    uint8_t parts[2 * SHA256_DIGEST_LENGTH + 1] = { 0 };
    int at = X509_get_ext_by_NID(cert, NID_crl_distribution_points, -1);
    if (tio_spki_digest(issuer, parts)) return -1;
    if (at >= 0) {
        const ASN1_OCTET_STRING *places = X509_EXTENSION_get_data(X509_get_ext(cert, at));
        SHA256(ASN1_STRING_get0_data(places), (size_t)ASN1_STRING_length(places), parts + SHA256_DIGEST_LENGTH);
    }
    parts[sizeof parts - 1] = X509_check_ca(cert) != 0;
    SHA256(parts, sizeof parts, key);
    return 0;
}

static size_t write_entry(X509 *cert, X509 *issuer, uint8_t *entry) {
    const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
    int size = i2d_ASN1_INTEGER(serial, NULL);
    unsigned char *end = entry + TIO_LIST_KEY + 1;
    int known = !list_key(cert, issuer, entry) && size > 0 && size <= TIO_LIST_SERIAL;
    if (known) i2d_ASN1_INTEGER(serial, &end);
    else size = 0;
    entry[TIO_LIST_KEY] = (uint8_t)size;
    return TIO_LIST_KEY + 1 + (size_t)size;
}

size_t tio_chain_entries(STACK_OF(X509) *chain, uint8_t entries[TIO_ENTRIES]) {
    size_t size = 0;
    int pairs = sk_X509_num(chain) - 1;
    for (int i = 0; i < pairs && i < TIO_LISTED; i++) size += write_entry(sk_X509_value(chain, i), sk_X509_value(chain, i + 1), entries + size);
    /* an entry without a serial: the rest could not be checked */
    if (pairs > TIO_LISTED) {
        memset(entries + size, 0, TIO_LIST_KEY + 1);
        size += TIO_LIST_KEY + 1;
    }
    ERR_clear_error();
    return size;
}
