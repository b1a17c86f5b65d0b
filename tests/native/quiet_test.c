/* quiet_test.c - random acts of a peer and of the application, and then nothing: does the engine fall silent?
 *
 * After each act everything is done that tio_conn_next() says, and then two things must hold.  Silence: within a bounded number
 * of turns there is nothing more to do, and no look finds anything.  Progress: at the end the peer reads, the application reads
 * and every question is answered; then all that was written on either side has arrived, byte by byte, unless the connection
 * was broken, and a connection that is broken says so.  A wait that is missed stands still and fails the second; one that is
 * seen where there is none fails the first.
 *
 * Over a descriptor the reactor drives, over memory the loop below does what the portable driver does.  The plays are random
 * (SEED=n repeats one, PLAYS=n says how many), or libFuzzer's: fuzz.c. */
#define _GNU_SOURCE
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE = 400, LOOKS = 12 };
enum { EARLY, LATE };

typedef struct {
    const uint8_t *script, *end;
    int modern, memory, broken, over;   /* over: the peer has ended, cut or spoilt something, so that bytes may be missing */
    unsigned wants;
    int answers;                        /* EARLY, or LATE: by an act */
    /* the application */
    tio_conn *c;
    int reading, ending, closing;
    uint64_t wanted, written, got;      /* plaintext: to be written, taken by the engine, read */
    int gone;
    /* the peer */
    SSL_CTX *peer_ctx;
    visitor v;
    int deaf, ended;
    uint64_t peer_sent, peer_got;
    /* what is between */
    identity key;                       /* the server's, where it lives elsewhere */
    tio_context *context;
    tio_reactor *r;
    tio_gate gate;
} play;

static unsigned byte(play *p) { return p->script < p->end ? *p->script++ : 0; }
static uint8_t ours(uint64_t n) { return (uint8_t)(n * 7 + n / 251); }
static uint8_t theirs(uint64_t n) { return (uint8_t)(n * 11 + n / 241 + 100); }

/* ---- the application: what the binding does -------------------------------------------------------------------- */

static void settle_question(play *p) {
    switch (tio_conn_question(p->c)) {
    case TIO_ASK_HELLO: tio_answer_hello(p->c, NULL, NULL, 0); break;
    case TIO_ASK_CLIENT: tio_answer_client(p->c); break;
    case TIO_ASK_STORE: tio_answer_store(p->c); break;
    case TIO_ASK_SIGN: CHECK_INT(sign_for(p->c), 0); break;
    default: return;
    }
    if (p->r && tio_conn_fd(p->c) >= 0) tio_reactor_resume(p->r, p->c);
    else tio_conn_step(p->c);
}

static void take_some(play *p) {
    static uint8_t room[20000];
    size_t n, all = 0;
    while (all < 100000 && (n = tio_conn_take(p->c, room, 1 + all % sizeof room)) != 0) {
        for (size_t i = 0; i < n; i++)
            if (!CHECK_INT(room[i], theirs(p->got + i))) break;
        p->got += n;
        all += n;
    }
}

static void write_some(play *p) {
    static uint8_t chunk[50000];
    while (p->written < p->wanted) {
        size_t size = p->wanted - p->written < sizeof chunk ? (size_t)(p->wanted - p->written) : sizeof chunk;
        for (size_t i = 0; i < size; i++) chunk[i] = ours(p->written + i);
        size_t n = tio_conn_write(p->c, chunk, size);
        p->written += n;
        if (n < size) break;
    }
    tio_conn_want(p->c, p->reading, p->written < p->wanted);
    if (p->written < p->wanted) return;
    if (p->closing) tio_conn_close(p->c);
    else if (p->ending) tio_conn_end(p->c);
}

static void let_go(play *p) {
    p->broken |= tio_conn_phase(p->c) == TIO_BROKEN;
    if (p->gone) return;
    p->gone = 1;
    if (p->r) tio_reactor_drop(p->r, p->c, 1);
}

static void bring_out(play *p) {
    if (tio_conn_phase(p->c) == TIO_OPEN) write_some(p);
    if (p->r && tio_conn_fd(p->c) >= 0) tio_reactor_update(p->r, p->c);
    else tio_conn_turn(p->c);
}

static void application(play *p) {
    if (p->gone) return;
    if (tio_conn_question(p->c) && p->answers == EARLY) settle_question(p);
    if (tio_conn_next(p->c) & TIO_NEXT_TURN) {
        if (p->reading && tio_conn_phase(p->c) == TIO_OPEN) take_some(p);
        else if (p->memory) tio_conn_step(p->c);
    }
    bring_out(p);
    for (int i = 0; i < 3 && tio_conn_question(p->c) && p->answers == EARLY; i++) {
        settle_question(p);
        bring_out(p);
    }
    tio_conn_rehandshake_done(p->c);
    if (tio_conn_phase(p->c) == TIO_BROKEN || (tio_conn_in(p->c) != TIO_IN_OPEN && tio_conn_out(p->c) == TIO_OUT_ENDED)) let_go(p);
}

/* ---- the peer ---------------------------------------------------------------------------------------------------- */

static void peer_reads(play *p) {
    static uint8_t room[20000];
    int n;
    SSL_do_handshake(p->v.p.ssl);
    while ((n = SSL_read(p->v.p.ssl, room, sizeof room)) > 0) {
        for (int i = 0; i < n; i++)
            if (!CHECK_INT(room[i], ours(p->peer_got + (uint64_t)i))) break;
        p->peer_got += (uint64_t)n;
    }
    ERR_clear_error();
}

static void peer_writes(play *p, size_t size) {
    static uint8_t chunk[30000];
    if (!SSL_is_init_finished(p->v.p.ssl) || p->ended) return;
    for (size_t i = 0; i < size; i++) chunk[i] = theirs(p->peer_sent + i);
    int n = size ? SSL_write(p->v.p.ssl, chunk, (int)size) : 0;
    if (n > 0) p->peer_sent += (uint64_t)n;
    ERR_clear_error();
}

/* ---- what is between --------------------------------------------------------------------------------------------- */

static void hear_of(play *p, tio_notice *n) {
    if (!n->conn) return;
    if (!p->c) {
        p->c = n->conn;
        tio_conn_set_owner(p->c, p);
        setsockopt(tio_conn_fd(p->c), SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
    }
    application(p);
}

/* 1: there was something to do */
static int server_turn(play *p) {
    tio_notice notice;
    if (p->memory) {
        if (p->gone || !(tio_conn_next(p->c) & TIO_NEXT_TURN)) return 0;
        application(p);
        return 1;
    }
    struct pollfd look = { .fd = tio_reactor_fd(p->r), .events = POLLIN };
    if (poll(&look, 1, 0) <= 0 && !tio_reactor_is_busy(p->r)) return 0;
    tio_reactor_poll(p->r);
    tio_reactor_work(p->r);
    while (tio_reactor_next_notice(p->r, &notice)) hear_of(p, &notice);
    return 1;
}

static int carry_memory(play *p) {
    const uint8_t *data;
    char *wire;
    int moved = 0;
    long size = BIO_get_mem_data(p->v.p.out, &wire);
    if (size > 0 && !p->gone && tio_conn_held(p->c) <= 65536) {
        CHECK_INT(tio_conn_feed(p->c, (const uint8_t *)wire, (size_t)size), 0);
        if (tio_conn_is_handshake(p->c)) tio_conn_step(p->c);
        application(p);
        tio_conn_turn(p->c);
        (void)BIO_reset(p->v.p.out);
        moved = 1;
    }
    size_t n = p->deaf ? 0 : tio_conn_output(p->c, &data);
    if (n) {
        BIO_write(p->v.p.in, data, (int)n);
        tio_conn_sent(p->c, n);
        application(p);
        moved = 1;
    }
    if (!p->gone && (tio_conn_next(p->c) & TIO_NEXT_FIN)) {
        tio_conn_fin_sent(p->c);
        application(p);
        moved = 1;
    }
    return moved;
}

static int carry_descriptor(play *p) {
    uint64_t before = BIO_number_read(p->v.p.out) + BIO_number_written(p->v.p.in);
    if (p->v.fd < 0) return 0;
    hand_out(&p->v);
    if (!p->deaf) take_in(&p->v);
    return BIO_number_read(p->v.p.out) + BIO_number_written(p->v.p.in) != before;
}

/* All that follows from the last act, until nothing moves; in so many turns. */
static void describe(const play *p, const char *act) {
    const tio_conn *c = p->c;
    printf("  after %s: TLS 1.%d %s next %u phase %d question %d in %d out %d stops %d %d wants %d %d plaintext %d unsent %zu held %zu error %d "
           "in init %d asked %d  ours %llu/%llu of %llu theirs %llu of %llu deaf %d  [%s]\n",
           act, p->modern + 2, p->memory ? "memory" : "descriptor", tio_conn_next(c), c->phase, c->question, c->in, c->out, c->read_stop,
           c->write_stop, c->reading, c->writing, c->has_plaintext, tio_conn_unsent(c), tio_conn_held(c), c->wire.out_error,
           c->ssl ? SSL_in_init(c->ssl) : -1, c->rehandshake_asked, (unsigned long long)p->peer_got, (unsigned long long)p->written,
           (unsigned long long)p->wanted, (unsigned long long)p->got, (unsigned long long)p->peer_sent, p->deaf, note);
}

static void quiet(play *p, const char *act) {
    if (getenv("TRACE") && p->c) describe(p, act);
    int turns = 0, idle = 0;
    while (turns < PATIENCE && idle < LOOKS) {
        int moved = p->memory ? carry_memory(p) : carry_descriptor(p);
        if (!p->deaf && moved) peer_reads(p);
        int busy = server_turn(p);
        turns += busy && !moved;
        idle = moved || busy ? 0 : idle + 1;
    }
    if (!CHECK(turns < PATIENCE) && p->c) describe(p, act);
}

/* ---- the play ---------------------------------------------------------------------------------------------------- */

static const char *act_once(play *p) {
    unsigned kind = byte(p) % 20, how = byte(p);
    unsigned long code;
    SSL *peer = p->v.p.ssl;
    int open = p->c && !p->gone && tio_conn_phase(p->c) == TIO_OPEN;
    switch (kind) {
    case 0: if (open && !p->ending && !p->closing) p->wanted += 1 + how * (how % 3 ? 10 : 4000); application(p); return "write";
    case 1: p->reading = 0; application(p); return "stop reading";
    case 2: p->reading = 1; application(p); return "read";
    case 3: if (how % 4 == 0) p->ending = 1; application(p); return "end";
    case 4: if (how % 4 == 0) p->closing = 1, p->over = 1; application(p); return "close";
    case 5: if (open) tio_conn_rehandshake(p->c, how % 2 ? SSL_VERIFY_PEER : -1, 1, &code); application(p); return "rehandshake";
    case 6: p->answers = p->answers == EARLY ? LATE : EARLY; application(p); return "answer";
    case 7: if (tio_conn_question(p->c)) settle_question(p); application(p); return "answer one";
    case 8: p->deaf = !p->deaf; return "deaf or not";
    case 9: case 10: peer_writes(p, 1 + how * (how % 2 ? 1 : 110)); return "peer writes";
    case 11: case 12:
        for (unsigned i = 0; i <= how % 5 && p->modern && !p->ended; i++) {
            SSL_key_update(peer, how % 4 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
            SSL_do_handshake(peer);
        }
        return "key updates";
    case 13: if (!p->modern && !p->ended) SSL_renegotiate(peer), SSL_do_handshake(peer); return "peer renegotiates";
    case 14: if (how % 3 == 0 && SSL_is_init_finished(peer)) SSL_shutdown(peer), p->ended = 1, p->over = 1; return "peer ends";
    case 15:
        if (how % 5 == 0) {
            p->ended = p->over = 1;
            if (p->memory) tio_conn_feed_eof(p->c), application(p);
            else shutdown(p->v.fd, SHUT_WR);
        }
        return "FIN";
    case 16:
        if (how % 8 == 0) {
            p->ended = p->over = p->deaf = 1;
            if (p->memory) {
                tio_conn_send_failed(p->c, EPIPE);
                tio_conn_feed_error(p->c, ECONNRESET);
                application(p);
            } else if (p->v.fd >= 0) {
                close(p->v.fd);                         /* with bytes unread that is a reset, for Unix sockets too */
                p->v.fd = -1;
            }
        }
        return "RST";
    case 17:
        if (how % 4 == 0) {
            p->ended = p->over = 1;
            if (p->memory) BIO_write(p->v.p.out, "\x17\x03\x03\x40", 1 + (int)(how / 4 % 4));
            else send(p->v.fd, "\x17\x03\x03\x40", 1 + how / 4 % 4, MSG_NOSIGNAL);
        }
        return "part of a record";
    case 18:
        if (p->memory && how % 6 == 0) {
            p->over = 1;
            tio_conn_send_failed(p->c, EPIPE);
            application(p);
        }
        return "send fails";
    default: application(p); return "nothing";
    }
}

/* By Unix sockets: what is sent has arrived, without the windows and timers of TCP. */
static void connect_both(play *p) {
    struct sockaddr_un a = { .sun_family = AF_UNIX };
    socklen_t size = sizeof a.sun_family;
    int small = 4096, fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bind(fd, (struct sockaddr *)&a, size);              /* a name of the kernel's choice */
    listen(fd, 4);
    size = sizeof a;
    getsockname(fd, (struct sockaddr *)&a, &size);
    p->v.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK_INT(connect(p->v.fd, (struct sockaddr *)&a, size), 0);
    setsockopt(p->v.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    CHECK_INT(tio_reactor_listen(p->r, &p->gate, fd), 0);
}

static void begin(play *p) {
    unsigned flags = byte(p);
    static const unsigned wants[] = { 0, TIO_WANT_CLIENT, TIO_WANT_SESSIONS | TIO_STATEFUL, TIO_WANT_CLIENT | TIO_WANT_SESSIONS | TIO_STATEFUL };
    int version = (p->modern = flags & 1) ? TLS1_3_VERSION : TLS1_2_VERSION;
    p->memory = flags >> 1 & 1;
    p->wants = wants[flags >> 2 & 3];
    p->reading = flags >> 4 & 1;
    if (flags & 128) p->key = elsewhere(&server_a);
    p->context = server_context(version, p->key.key ? &p->key : &server_a, flags & 32 ? WANT_CERT | SOFT : 0);
    p->peer_ctx = plain_context(version, flags & 64 ? &client_a : NULL);
    SSL_CTX_set_options(p->peer_ctx, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    SSL_CTX_set_post_handshake_auth(p->peer_ctx, 1);
    p->v = (visitor){ .p = plain_new(p->peer_ctx, 0, NULL), .fd = -1 };
    if (p->memory) {
        p->c = tio_conn_new(p->context, TIO_SERVER);
        p->c->policy.wants = (uint16_t)p->wants;
        p->c->policy.renegotiation = (tio_renegotiation){ 1000, 1 };
    } else {
        p->r = tio_reactor_new();
        tio_gate_init(&p->gate);
        tio_gate_set_default(&p->gate, p->context, atomic_load(&p->gate.wants));
        p->gate.ring = tio_ring_new();
        atomic_store(&p->gate.wants, p->wants);
        p->gate.policy.renegotiation = (tio_renegotiation){ 1000, 1 };
        p->gate.keep_alive = -1;
        connect_both(p);
    }
    SSL_do_handshake(p->v.p.ssl);
    for (int i = 0; i < 50 && !(p->c && p->c->phase == TIO_OPEN && SSL_is_init_finished(p->v.p.ssl)); i++) quiet(p, "handshake");
}

static void finish_play(play *p) {
    if (!p->memory) {
        if (p->c) tio_reactor_discard(p->c);
        leave(&p->v);
        tio_reactor_evict(p->r, &p->gate);
        tio_reactor_unlisten(p->r, &p->gate);
        tio_reactor_free(p->r, 0);
        tio_gate_free(&p->gate);
    } else {
        plain_free(&p->v.p);
        tio_conn_free(p->c);
    }
    SSL_CTX_free(p->peer_ctx);
    tio_context_release(p->context);
    EVP_PKEY_free(p->key.key);
    while (tio_keys_dead()) {}
    ERR_clear_error();
}

void quiet_play(const uint8_t *script, size_t size) {
    play p = { .script = script, .end = script + size };
    begin(&p);
    if (CHECK(p.c != NULL)) {
        while (p.script < p.end) quiet(&p, act_once(&p));
        p.deaf = p.v.fd < 0 && !p.memory;
        p.reading = 1;
        p.answers = EARLY;
        application(&p);
        quiet(&p, "everything");
        if (!p.deaf) peer_reads(&p);
        quiet(&p, "everything, once more");
        if (!p.over && !p.broken && !CHECK(p.peer_got == p.wanted && p.got == p.peer_sent)) describe(&p, "everything");
        if (getenv("TRACE") && p.c->fault) printf("  broken: kind %d limit %d %s\n", p.c->fault->kind, p.c->fault->limit, ERR_reason_error_string(p.c->fault->entries[0].code));
    }
    finish_play(&p);
}

static void random_acts_end_in_silence(void) {
    unsigned seed = new_seed();
    long count = getenv("PLAYS") ? strtol(getenv("PLAYS"), NULL, 10) : 600;
    printf("random plays: SEED=%u\n", seed);
    for (long i = 0; i < count; i++) {
        uint8_t script[48];
        unsigned state = (seed + (unsigned)i) * 2654435761u + 1;
        size_t size = 3 + (size_t)(state >> 8) % (sizeof script - 3);
        for (size_t j = 0; j < size; j++) {
            state = state * 1664525u + 1013904223u;
            script[j] = (uint8_t)(state >> 24);
        }
        snprintf(note, sizeof note, "SEED=%u PLAYS=1", seed + (unsigned)i);
        quiet_play(script, size);
    }
}

void quiet_tests(void) { RUN(random_acts_end_in_silence); }
