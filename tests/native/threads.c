/* threads.c - what several threads share, under ThreadSanitizer: `make thread-sanitize`.
 *
 * Two threads shake hands, in full and resumed, each with connections of its own on the gate's context and the gate's ring.  A
 * third one exchanges both all the time, as set_secure_context() and set_ticket_keys() do.  The library itself is not
 * instrumented; races of ours are seen all the same, also where we share an object of its. */
#include "harness.h"
#include "internal.h"

enum { ROUNDS = 120 };

static tio_gate gate;
static tio_context *contexts[2][2];     /* by version */
static atomic_int running;
static atomic_int full, resumed, lost;

static SSL_SESSION *connect_once(SSL_CTX *ctx, SSL_SESSION *session, unsigned wants) {
    uint16_t gate_wants;
    tio_context *context = tio_gate_context(&gate, &gate_wants);
    tio_conn *c = tio_conn_new(context, TIO_SERVER);
    plain p = plain_new(ctx, 0, session);
    tio_context_release(context);
    c->gate = &gate;
    c->policy.wants = (uint16_t)wants;
    plain_pump(&p, c);
    if (c->phase != TIO_OPEN) atomic_fetch_add(&lost, 1);
    else if (SSL_session_reused(c->ssl)) atomic_fetch_add(&resumed, 1);
    else atomic_fetch_add(&full, 1);
    SSL_SESSION_free(session);
    session = SSL_get1_session(p.ssl);
    SSL_shutdown(p.ssl);
    plain_free(&p);
    tio_conn_free(c);
    return session;
}

static void *shake_hands(void *version) {
    SSL_CTX *ctx = plain_context(*(const int *)version, &client_a);
    SSL_SESSION *session = NULL;
    SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    for (int i = 0; i < ROUNDS; i++) session = connect_once(ctx, session, i % 3 ? 0 : TIO_WANT_KEYS | TIO_WANT_OFFER);
    SSL_SESSION_free(session);
    SSL_CTX_free(ctx);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void *exchange(void *unused) {
    uint8_t keys[3][TIO_TICKET_KEY] = { { 0 } };
    for (unsigned i = 0; atomic_load(&running); i++) {
        keys[i % 3][0] = (uint8_t)i;
        if (i % 50) tio_ring_push(gate.ring, keys[i % 3]);
        else tio_ring_set(gate.ring, keys[0], 3);
        tio_ring_first(gate.ring, keys[(i + 1) % 3]);
        tio_ring_keep(gate.ring, i % 2 ? 0 : 1000000000);
        tio_gate_set_default(&gate, contexts[i / 2 % 2][i % 2], atomic_load(&gate.wants));
        atomic_store(&gate.wants, i);
        sched_yield();
    }
    return unused;
}

int main(void) {
    pthread_t threads[3];
    make_certificates();
    tio_gate_init(&gate);
    gate.ring = tio_ring_new();
    for (int i = 0; i < 4; i++) contexts[i / 2][i % 2] = server_context(versions[i / 2], i % 2 ? &server_a : &server_b, WANT_CERT);
    tio_gate_set_default(&gate, contexts[0][0], atomic_load(&gate.wants));
    atomic_store(&running, 2);
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, shake_hands, (void *)(uintptr_t)&versions[i]);
    pthread_create(&threads[2], NULL, exchange, NULL);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    printf("%d full handshakes, %d resumed\n", full, resumed);
    CHECK_INT(full + resumed, 2 * ROUNDS);
    CHECK_INT(lost, 0);
    for (int i = 0; i < 4; i++) tio_context_release(contexts[i / 2][i % 2]);
    tio_gate_free(&gate);
    free_certificates();
    return full + resumed != 2 * ROUNDS;
}
