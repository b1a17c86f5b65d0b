/* answers.c - which context serves which server name, as the binding has answered before.
 *
 * Theory of operation. The binding alone knows what serves a name: patterns, tables and sources are
 * its own. When it answers a question about a hello, it may let the gate remember the answer, for a
 * time or until it changes its mind. Later hellos with that name are answered here, without the
 * interpreter, and so in the handshake thread that has read them.
 *
 * The memory has a fixed size, because a client may send any name. A name has WAYS places, and takes
 * that of another one if all are in use: a forgotten answer costs one question. The lock of the gate
 * protects it, for some comparisons at a time. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

enum { PLACES = 1024, WAYS = 4 };       /* 24 KiB, allocated for the first answer */

typedef struct {
    char *name;                         /* NULL: free; "": a hello without a name */
    tio_context *context;               /* NULL: the gate's own */
    int64_t until;
} place;
struct tio_answers { place places[PLACES]; };

static void clear(place *p) {
    free(p->name);
    tio_context_release(p->context);
    *p = (place){ 0 };
}

/* FNV-1a. A client that finds names of one group gains nothing: it could send new names as well. */
static uint32_t hash(const char *name) {
    uint32_t h = 2166136261u;
    for (; *name; name++) h = (h ^ (uint8_t)*name) * 16777619u;
    return h ^ h >> 16;
}

static place *group_of(struct tio_answers *t, uint32_t h) { return &t->places[h % (PLACES / WAYS) * WAYS]; }

static place *find(struct tio_answers *t, const char *name) {
    place *group = group_of(t, hash(name));
    for (int i = 0; i < WAYS; i++)
        if (group[i].name && !strcmp(group[i].name, name)) return &group[i];
    return NULL;
}

/* the place of the name itself, else a free one, else that whose answer ends first */
static place *choose(struct tio_answers *t, const char *name) {
    place *group = group_of(t, hash(name)), *found = find(t, name);
    for (int i = 0; i < WAYS && !found; i++)
        if (!group[i].name) found = &group[i];
    if (found) return found;
    found = &group[hash(name) >> 24 & (WAYS - 1)];
    for (int i = 0; i < WAYS; i++)
        if (group[i].until < found->until) found = &group[i];
    return found;
}

void tio_gate_remember(tio_gate *g, const char *name, tio_context *context, int64_t ns) {
    char *copy = strdup(name ? name : "");
    if (!copy) return;
    pthread_mutex_lock(&g->lock);
    if (!g->answers) g->answers = calloc(1, sizeof *g->answers);
    place *p = g->answers ? choose(g->answers, copy) : NULL, old = p ? *p : (place){ .name = copy };
    if (context && p) tio_context_retain(context);
    if (p) *p = (place){ .name = copy, .context = context, .until = ns < 0 ? INT64_MAX : tio_clock() + ns };
    pthread_mutex_unlock(&g->lock);
    clear(&old);                        /* freeing a context takes its time */
}

void tio_gate_forget(tio_gate *g) {
    pthread_mutex_lock(&g->lock);
    struct tio_answers *old = g->answers;
    g->answers = NULL;
    pthread_mutex_unlock(&g->lock);
    for (int i = 0; old && i < PLACES; i++) clear(&old->places[i]);
    free(old);
}

/* Returns 0 if there is no answer; otherwise the caller must release the context. */
static int recall(tio_gate *g, const char *name, tio_context **found) {
    pthread_mutex_lock(&g->lock);
    place *p = g->answers ? find(g->answers, name) : NULL;
    if (p && p->until <= tio_clock()) p = NULL;
    *found = p ? p->context : NULL;
    if (*found) tio_context_retain(*found);
    pthread_mutex_unlock(&g->lock);
    return p != NULL;
}

/* RFC 8737 3: an ACME authority offers this protocol alone. It needs another certificate. */
static int is_challenge(const tio_conn *c) {
    static const char alone[] = "\x0a" "acme-tls/1";
    return c->offered_size == sizeof alone - 1 && !memcmp(c->offered, alone, c->offered_size);
}

int tio_gate_answer(tio_conn *c, int in_thread) {
    tio_context *found;
    if (c->question != TIO_ASK_HELLO || !c->gate || is_challenge(c) || (c->sessions && c->sessions->asked_size)) return 0;
    if (!recall(c->gate, c->server_name ? c->server_name : "", &found)) return 0;
    int may = !in_thread || !found || !found->settings.keys_elsewhere;
    if (may) tio_answer_hello(c, found, NULL, 0);
    tio_context_release(found);
    return may;
}
