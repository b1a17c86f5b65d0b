/* gate.c - one server's limits and counters. Several threads may accept for one gate: counters are
 * atomic; the lock protects the context, the answers and the table of peers. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { LINGERING = 1024, LINGERING_LEAST = 16 };

void tio_gate_init(tio_gate *g) {
    pthread_mutex_init(&g->lock, NULL);
    pthread_mutex_init(&g->accepting, NULL);
}

void tio_gate_free(tio_gate *g) {
    tio_context_release(g->context);
    tio_gate_forget(g);
    tio_ring_release(g->ring);
    free(g->peers);
    pthread_mutex_destroy(&g->accepting);
    pthread_mutex_destroy(&g->lock);
}

void tio_gate_set_default(tio_gate *g, tio_context *ctx, unsigned wants) {
    tio_context_retain(ctx);
    pthread_mutex_lock(&g->lock);
    tio_context *old = g->context;
    g->context = ctx;
    atomic_store(&g->wants, wants);
    pthread_mutex_unlock(&g->lock);
    tio_context_release(old);
}

tio_context *tio_gate_context(tio_gate *g, uint16_t *wants) {
    pthread_mutex_lock(&g->lock);
    tio_context *ctx = g->context;
    *wants = (uint16_t)atomic_load(&g->wants);
    tio_context_retain(ctx);
    pthread_mutex_unlock(&g->lock);
    return ctx;
}

/* A released connection is drained for a while and keeps its descriptor. A client whose handshakes
 * fail must not hold more descriptors that way than the server's limits allow for open
 * connections. */
unsigned tio_gate_max_lingering(const tio_gate *g) {
    unsigned connections = g ? atomic_load(&g->max_connections) : 0, handshakes = g ? g->max_handshakes : 0, max = LINGERING;
    if (connections && connections < max) max = connections;
    if (handshakes && handshakes < max) max = handshakes;
    return max < LINGERING_LEAST ? LINGERING_LEAST : max;
}

/* ---- limits per peer address ----------------------------------------------------------------- */

/* A hash table with linear probing, at most half full. Removing an entry moves later ones up, so
 * there are no tombstones. */
typedef struct { uint64_t key; uint32_t count; } place;         /* count 0: free */
struct tio_peers { size_t room, used; place places[]; };        /* room: a power of two */

/* IPv6: a customer gets at least 64 bits of addresses (RFC 6177), so those with the same first 64
 * bits count as one. */
static uint64_t key_of(const struct sockaddr_in6 *address) {
    uint64_t key = 0;
    if (address->sin6_family == AF_INET) {
        memcpy(&key, &((const struct sockaddr_in *)address)->sin_addr, 4);
    } else if (address->sin6_family == AF_INET6) {
        const uint8_t *bytes = address->sin6_addr.s6_addr;
        if (IN6_IS_ADDR_V4MAPPED(&address->sin6_addr)) memcpy(&key, bytes + 12, 4);
        else memcpy(&key, bytes, 8);
    }
    return key;
}

static size_t home_of(const struct tio_peers *t, uint64_t key) {
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (t->room - 1);
}

static place *find(struct tio_peers *t, uint64_t key) {
    size_t at = home_of(t, key);
    while (t->places[at].count && t->places[at].key != key) at = (at + 1) & (t->room - 1);
    return &t->places[at];
}

static int reserve(tio_gate *g) {
    struct tio_peers *old = g->peers;
    if (old && old->used * 2 < old->room) return 0;
    size_t room = old ? old->room * 2 : 64;
    struct tio_peers *more = calloc(1, sizeof *more + room * sizeof *more->places);
    if (!more) return -1;
    more->room = room;
    for (size_t i = 0; old && i < old->room; i++)
        if (old->places[i].count) *find(more, old->places[i].key) = old->places[i], more->used++;
    free(old);
    g->peers = more;
    return 0;
}

int tio_gate_enter_peer(tio_gate *g, const struct sockaddr_in6 *address) {
    int ok = 0;
    pthread_mutex_lock(&g->lock);
    if (!reserve(g)) {                  /* out of memory, a limit that cannot count refuses */
        place *p = find(g->peers, key_of(address));
        ok = p->count < g->max_per_peer;
        if (ok && !p->count++) p->key = key_of(address), g->peers->used++;
    }
    pthread_mutex_unlock(&g->lock);
    return ok;
}

static void leave_place(struct tio_peers *t, place *p) {
    size_t hole = (size_t)(p - t->places), at = hole;
    t->used--;
    for (;;) {
        at = (at + 1) & (t->room - 1);
        if (!t->places[at].count) break;
        size_t home = home_of(t, t->places[at].key);
        /* The entry must not move in front of its home. */
        if (((at - home) & (t->room - 1)) < ((at - hole) & (t->room - 1))) continue;
        t->places[hole] = t->places[at];
        hole = at;
    }
    t->places[hole] = (place){ 0 };
}

void tio_gate_leave_peer(tio_gate *g, const struct sockaddr_in6 *address) {
    pthread_mutex_lock(&g->lock);
    place *p = g->peers ? find(g->peers, key_of(address)) : NULL;
    if (p && p->count && !--p->count) {
        p->count = 1;                   /* leave_place() must not see a free place */
        leave_place(g->peers, p);
    }
    pthread_mutex_unlock(&g->lock);
}
