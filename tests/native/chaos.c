/* chaos.c - two engines, and a script of bytes that decides what happens to them: what is carried, torn, spoilt and repeated,
 * what is answered, written, asked for and ended, in which order.
 *
 * Whatever the script says: the invariants of engine.h hold, what is read is what was written, nobody is let in unasked, and
 * both ends come to rest.  And if nothing evil was in it, both are open and all that was written has arrived.  Scripts are
 * random here (SEED=n repeats a run, SCRIPTS=n says how many), libFuzzer's in fuzz.c. */
#include "harness.h"

#include <time.h>

enum { CROWDED = 65536 };               /* bytes in flight that are not repeated any more */
enum { CLIENT_CERT = 1, ASK_CERT = 2, ALLOW_BAD = 4, RENEGOTIATE = 8, ASK_NAME = 16, ASK_PEER = 32, RECORD = 64, MODERN = 128,
       STAPLE = 256, STORE = 512, STATEFUL = 1024, RESUME = 2048, ELSEWHERE = 4096 };

typedef struct {
    tio_conn *c;
    uint8_t *flight;                    /* what has left it and has not arrived */
    size_t flying;
    uint64_t sent, got;                 /* plaintext */
    unsigned names, peers;              /* questions answered well */
    int verdict;                        /* of the client, -1: not asked yet */
    int broken;
} side;

typedef struct { uint8_t *der; size_t size; } kept;

typedef struct {
    const uint8_t *script, *end;
    side client, server;
    tio_context *other;
    kept theirs, ours;                  /* a session of an earlier visit: the client's, and the server's store */
    unsigned flags, updates;
    int evil;
} play;

void *__real_malloc(size_t);            /* the test's own blocks never fail */

static unsigned next(play *p) { return p->script < p->end ? *p->script++ : 0; }
static side *other_side(play *p, const side *s) { return s == &p->client ? &p->server : &p->client; }
static int is_server(const play *p, const side *s) { return s == &p->server; }

/* The n-th byte of what `s` writes. */
static uint8_t plain_byte(const play *p, const side *s, uint64_t n) { return (uint8_t)(n * 7 + n / 251 + (is_server(p, s) ? 0 : 100)); }

/* ---- what must hold at any time */

static void watch(play *p, side *s) {
    tio_conn *c = s->c;
    const uint8_t *data;
    int secret = c->phase == TIO_IDLE || c->phase == TIO_HANDSHAKING;
    if (c->question != TIO_NO_QUESTION) CHECK_INT(tio_conn_output(c, &data), 0);
    if (secret) CHECK(c->bytes_read == 0 && c->bytes_written == 0);
    if (secret || c->phase == TIO_BROKEN) CHECK_INT(tio_conn_write(c, "x", 1), 0);
    CHECK(!c->wire.borrowed);
    if (c->phase == TIO_BROKEN) CHECK(c->question == TIO_NO_QUESTION && c->fault != NULL);
    CHECK(!s->broken || c->phase == TIO_BROKEN);
    s->broken = c->phase == TIO_BROKEN;
    if (c->phase != TIO_OPEN) return;
    if (!is_server(p, s)) CHECK_INT(s->verdict, X509_V_OK);
    else CHECK((s->names || !(p->flags & ASK_NAME)) && (s->peers || !(p->flags & ASK_PEER)));
}

/* ---- the wire */

static void put(side *s, const void *data, size_t size, size_t at) {
    uint8_t *more = __real_malloc(s->flying + size + 1);
    if (at) memcpy(more, s->flight, at);
    memcpy(more + at, data, size);
    if (s->flying > at) memcpy(more + at + size, s->flight + at, s->flying - at);
    free(s->flight);
    s->flight = more;
    s->flying += size;
}

static void take_off(side *s) {
    const uint8_t *data;
    size_t size = tio_conn_output(s->c, &data);
    if (!size) return;
    put(s, data, size, s->flying);
    tio_conn_sent(s->c, size);
}

static size_t land(play *p, side *s, size_t size) {
    if (size > s->flying) size = s->flying;
    if (!size) return 0;
    give(other_side(p, s)->c, s->flight, size);
    s->flying -= size;
    memmove(s->flight, s->flight + size, s->flying);
    return size;
}

static size_t read_all(play *p, side *s, size_t limit) {
    uint8_t data[3000];
    size_t n, all = 0;
    if (s->c->phase == TIO_CLOSING) return 0;           /* steps throw it away */
    while (all < limit && (n = tio_conn_take(s->c, data, limit - all < sizeof data ? limit - all : sizeof data)) != 0) {
        for (size_t i = 0; i < n; i++) CHECK_INT(data[i], plain_byte(p, other_side(p, s), s->got + i));
        s->got += n;
        all += n;
    }
    tio_conn_turn(s->c);
    return all;
}

static void write_some(play *p, side *s, size_t size) {
    uint8_t data[40000];
    for (size_t i = 0; i < size; i++) data[i] = plain_byte(p, s, s->sent + i);
    s->sent += tio_conn_write(s->c, data, size);
}

/* ---- the people behind it */

static int answer(play *p, side *s) {
    switch (s->c->question) {
    case TIO_NO_QUESTION:
        return 0;
    case TIO_ASK_HELLO:
        if (p->ours.der && s->c->sessions) tio_answer_session(s->c, p->ours.der, p->ours.size);
        tio_answer_hello(s->c, p->other, s->c->offered ? (const uint8_t *)"h2" : NULL, s->c->offered ? 2 : 0);
        s->names++;
        break;
    case TIO_ASK_VERIFY:
        tio_answer_verify(s->c, s->verdict = X509_V_OK);
        break;
    case TIO_ASK_STATUS:
        if (is_server(p, s)) give_answer(s->c, 0, "response");
        tio_answer_status(s->c);
        break;
    case TIO_ASK_STORE:
        tio_answer_store(s->c);
        break;
    case TIO_ASK_SIGN:
        CHECK_INT(sign_for(s->c), 0);
        break;
    default:
        tio_answer_client(s->c);
        s->peers++;
    }
    tio_conn_step(s->c);
    tio_conn_turn(s->c);
    return 1;
}

static void keep(kept *k, const tio_conn *c) {
    const tio_session *made;
    size_t count = tio_conn_sessions(c, &made);
    if (!count) return;
    free(k->der);
    k->size = made[count - 1].size;
    k->der = __real_malloc(k->size);
    memcpy(k->der, made[count - 1].der, k->size);
}

static int turn(play *p, side *s) {
    take_off(s);
    int moved = land(p, s, s->flying) > 0;
    return answer(p, s) + (read_all(p, s, SIZE_MAX) > 0) + moved;
}

static void alert_and_garbage(play *p, side *s) {
    uint8_t record[] = { SSL3_RT_ALERT, 3, 3, 0, 2, (uint8_t)(1 + next(p) % 2), (uint8_t)next(p) };
    put(s, record, sizeof record, s->flying ? next(p) * s->flying / 256 : 0);
}

static void spoil(play *p, side *s, unsigned how) {
    p->evil = 1;
    take_off(s);
    size_t at = s->flying ? (next(p) << 8 | next(p)) % s->flying : 0;
    if (how == 0 && s->flying) {
        s->flight[at] ^= (uint8_t)(next(p) | 1);
    } else if (how == 1 && s->flying) {
        s->flying = at;                                 /* lost */
    } else if (how == 2 && s->flying && s->flying < CROWDED) {
        uint8_t *copy = __real_malloc(s->flying);
        memcpy(copy, s->flight, s->flying);
        put(s, copy, s->flying - at, at);               /* repeated, from inside */
        free(copy);
    } else if (how == 3) {
        size_t size = next(p) % 64, left = (size_t)(p->end - p->script);
        if (size > left) size = left;
        if (size) put(s, p->script, size, at);
        p->script += size;
    } else {
        alert_and_garbage(p, s);
    }
}

static void hurt(play *p, side *s, unsigned how) {
    p->evil = 1;
    switch (how) {
    case 0:
        tio_refuse(s->c, (int)next(p));
        break;
    case 1:
        if (s->c->question == TIO_ASK_VERIFY) s->verdict = (int)next(p);
        tio_answer_verify(s->c, s->verdict);
        if (s->c->question == TIO_ASK_SIGN) CHECK_INT(tio_answer_sign(s->c, p->script, (size_t)(p->end - p->script)), -1);
        break;
    case 2:
        tio_conn_feed_eof(s->c);
        break;
    case 3:
        tio_conn_feed_error(s->c, 104);
        break;
    case 4:
        tio_conn_send_failed(s->c, 32);
        break;
    case 5:
        if (s->c->question == TIO_ASK_HELLO) tio_answer_session(s->c, p->script, (size_t)(p->end - p->script));
        if (s->c->phase == TIO_HANDSHAKING || s->c->question == TIO_ASK_SIGN) tio_conn_break(s->c, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
        break;
    case 6:
        tio_conn_refuse_renegotiation(s->c);
        break;
    case 7:
        tio_conn_end(s->c);
        break;
    default:
        tio_conn_close(s->c);
    }
    if (s->c->question == TIO_NO_QUESTION) tio_conn_step(s->c);
    tio_conn_turn(s->c);
}

static void ask_again(play *p, side *s) {
    unsigned long code = 0;
    unsigned how = next(p);
    p->evil = 1;                                        /* it may be refused */
    tio_conn_rehandshake(s->c, is_server(p, s) && how & 1 ? (int)(how >> 1 & 3) : -1, how >> 3 & 1, &code);
    CHECK_INT(ERR_peek_error(), 0);
}

static void update_keys(play *p, side *s) {
    SSL *ssl = s->c->ssl;
    if (s->c->phase != TIO_OPEN || s->c->question != TIO_NO_QUESTION || s->c->out != TIO_OUT_OPEN || SSL_in_init(ssl)) return;
    if (p->updates++ < 16 && SSL_key_update(ssl, next(p) & 1)) SSL_do_handshake(ssl);
    ERR_clear_error();
}

static void act(play *p) {
    unsigned what = next(p);
    side *s = what & 128 ? &p->server : &p->client;
    switch (what & 63) {
    case 0: take_off(s); land(p, s, 1 + next(p)); break;
    case 1: take_off(s); land(p, s, 5 + 37 * next(p)); break;
    case 2: write_some(p, s, 1 + next(p)); break;
    case 3: write_some(p, s, 150 * next(p)); break;
    case 4: read_all(p, s, 1 + next(p)); break;
    case 5: tio_conn_step(s->c); tio_conn_turn(s->c); break;
    case 6: answer(p, s); break;
    case 7: tio_conn_set_max_fragment(s->c, 100 + 80 * (long)next(p)); break;
    case 8: tio_conn_record(s->c, (next(p) & 7) * TIO_WANT_KEYS); break;
    case 9: update_keys(p, s); break;
    case 10: ask_again(p, s); break;
    case 11: s->c->rehandshake_done = 0; break;
    case 12: case 13: case 14: case 15: case 16: spoil(p, s, (what & 63) - 12); break;
    case 17: case 18: case 19: case 20: case 21: case 22: case 23: case 24: case 25: hurt(p, s, (what & 63) - 17); break;
    default: turn(p, s);
    }
    watch(p, &p->client);
    watch(p, &p->server);
}

/* ---- the end: all is answered, carried and read, then the streams end */

static void come_to_rest(play *p, int ended) {
    side *sides[] = { &p->client, &p->server };
    int moved, rounds = 0;
    do {
        moved = 0;
        for (int i = 0; i < 2; i++) {
            size_t waiting = sides[i]->c->wire.in_size;
            moved += turn(p, sides[i]);
            tio_conn_step(sides[i]->c);
            tio_conn_turn(sides[i]->c);
            moved += sides[i]->c->wire.budget_spent || sides[i]->c->wire.in_size != waiting;
            watch(p, sides[i]);
        }
    } while ((moved || rounds < 2) && ++rounds < 3000);
    CHECK(rounds < 3000);
    for (int i = 0; ended && i < 2; i++) {
        const tio_conn *c = sides[i]->c;
        CHECK(c->question == TIO_NO_QUESTION);
        CHECK(c->phase == TIO_BROKEN || ((c->phase == TIO_OPEN || c->phase == TIO_CLOSING) && c->in != TIO_IN_OPEN));
    }
}

/* ---- contexts: made once, as OpenSSL's own are what takes time */

static tio_context *servers[2][2][8], *clients[2][2][2];
static identity far_a, far_b, far_client;               /* the same with their keys elsewhere */

static tio_context *find_server(unsigned flags, int other) {
    int version = !!(flags & MODERN), far = !!(flags & ELSEWHERE);
    unsigned kind = (flags & ASK_CERT ? WANT_CERT : 0) | (flags & ALLOW_BAD ? SOFT : 0);
    tio_context **found = &servers[far][version][kind + (other ? 4 : 0)];
    if (!*found) {
        if (far && !far_a.key) far_a = elsewhere(&server_a), far_b = elsewhere(&server_b);
        *found = server_context(versions[version], far ? (other ? &far_b : &far_a) : other ? &server_b : &server_a, kind);
        set_alpn(*found, "\x02h2");
    }
    return *found;
}

static tio_context *find_client(unsigned flags) {
    int version = !!(flags & MODERN), cert = !!(flags & CLIENT_CERT), far = !!(flags & ELSEWHERE);
    tio_context **found = &clients[far][version][cert];
    if (!*found) {
        if (far && !far_client.key) far_client = elsewhere(&client_a);
        *found = client_context(versions[version], cert ? far ? &far_client : &client_a : NULL);
        set_alpn(*found, "\x02h2\x08http/1.1");
    }
    return *found;
}

void free_chaos(void) {
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 8; j++) tio_context_release(servers[i / 2][i % 2][j]);
        for (int j = 0; j < 2; j++) tio_context_release(clients[i / 2][i % 2][j]);
    }
    EVP_PKEY_free(far_a.key);
    EVP_PKEY_free(far_b.key);
    EVP_PKEY_free(far_client.key);
    while (tio_keys_dead()) {}
}

static void begin(play *p) {
    static const struct { unsigned flag; uint16_t wants; } server_wants[] = {
        { ASK_NAME, TIO_WANT_HELLO | TIO_WANT_ALPN }, { ASK_PEER, TIO_WANT_CLIENT }, { STAPLE, TIO_WANT_STATUS },
        { STORE, TIO_WANT_SESSIONS }, { STATEFUL, TIO_STATEFUL }
    };
    p->client = (side){ .c = tio_conn_new(find_client(p->flags), TIO_CLIENT), .verdict = -1 };
    p->server = (side){ .c = tio_conn_new(find_server(p->flags, 0), TIO_SERVER), .verdict = -1 };
    for (size_t i = 0; i < sizeof server_wants / sizeof *server_wants; i++)
        if (p->flags & server_wants[i].flag) p->server.c->policy.wants |= server_wants[i].wants;
    if (p->flags & STAPLE) p->client.c->policy.wants |= TIO_WANT_STATUS;
    if (p->flags & (STORE | RESUME)) p->client.c->policy.wants |= TIO_WANT_SESSIONS;
    p->server.c->policy.renegotiation = (tio_renegotiation){ p->flags & RENEGOTIATE ? 3 : 0, INT64_C(1000000000) };
    if (p->flags & RECORD) tio_conn_record(p->server.c, TIO_WANT_KEYS | TIO_WANT_OFFER | TIO_WANT_TRACE);
    tio_conn_set_server_name(p->client.c, "a.test");
    if (p->theirs.der) tio_conn_set_session(p->client.c, p->theirs.der, p->theirs.size);
    tio_conn_step(p->server.c);
    tio_conn_step(p->client.c);
}

static void end(play *p) {
    tio_conn_free(p->client.c);
    tio_conn_free(p->server.c);
    free(p->client.flight);
    free(p->server.flight);
}

/* A visit without any evil, of which a session stays. */
static void visit_before(play *p) {
    begin(p);
    for (int i = 0; i < 20; i++) {
        if (p->server.c->question == TIO_ASK_STORE) keep(&p->ours, p->server.c);
        turn(p, i % 2 ? &p->client : &p->server);
    }
    keep(&p->theirs, p->client.c);
    end(p);
}

void chaos(const uint8_t *script, size_t size) {
    play p = { .script = script, .end = script + size };
    p.flags = next(&p);
    p.flags |= next(&p) << 8;
    p.evil = (p.flags & ASK_CERT) && !(p.flags & (CLIENT_CERT | ALLOW_BAD));     /* it will be refused */
    p.other = p.flags & ASK_NAME ? find_server(p.flags, 1) : NULL;
    if (p.flags & RESUME) visit_before(&p);
    begin(&p);
    while (p.script < p.end) act(&p);
    come_to_rest(&p, 0);
    if (!p.evil) {
        CHECK_INT(p.client.c->phase, TIO_OPEN);
        CHECK_INT(p.server.c->phase, TIO_OPEN);
        CHECK(p.client.got == p.server.sent && p.server.got == p.client.sent);
    }
    tio_conn_feed_eof(p.client.c);
    tio_conn_feed_eof(p.server.c);
    come_to_rest(&p, 1);
    end(&p);
    free(p.ours.der);
    free(p.theirs.der);
}

static void any_script_leaves_two_ends_at_rest(void) {
    unsigned seed = new_seed();
    long count = getenv("SCRIPTS") ? strtol(getenv("SCRIPTS"), NULL, 10) : 1000;
    printf("random scripts: SEED=%u\n", seed);
    for (long i = 0; i < count; i++) {
        uint8_t script[80];
        unsigned state = seed + (unsigned)i;
        size_t size = 2 + (size_t)i % (sizeof script - 1);
        for (size_t j = 0; j < size && j < sizeof script; j++) {
            state = state * 1664525u + 1013904223u;
            script[j] = (uint8_t)(state >> 24);
        }
        snprintf(note, sizeof note, "SEED=%u SCRIPTS=1", seed + (unsigned)i);
        chaos(script, size < sizeof script ? size : sizeof script);
    }
}

void chaos_tests(void) { RUN(any_script_leaves_two_ends_at_rest); }
