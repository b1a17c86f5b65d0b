/* engine_count.c - runs a server's engine over memory, to count its instructions (bench/instructions.py).
 *
 *   engine_count handshake VERSION TIMES       VERSION 1.2 or 1.3: a connection is made, opened, closed and freed
 *   engine_count resume VERSION TIMES          the same, resumed by a ticket of an earlier connection
 *   engine_count echo BYTES TIMES              a message is read and written back
 *
 * Only calls through the functions counted_...() are counted.  The peer is plain libssl. */
#include "engine.h"

#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED __attribute__((noinline)) static        /* callgrind knows them by name */

typedef struct { SSL *ssl; BIO *in, *out; } peer;
static uint8_t message[TIO_RECORD];

static _Noreturn void die(const char *what) {
    fprintf(stderr, "engine_count: %s\n", what);
    exit(1);
}

/* ---- what is counted */

COUNTED tio_conn *counted_new(tio_context *context) { return tio_conn_new(context, TIO_SERVER); }
COUNTED void counted_free(tio_conn *c) { tio_conn_free(c); }

COUNTED void counted_turn(tio_conn *c, const uint8_t *wire, size_t size) {
    static uint8_t data[TIO_RECORD];
    size_t n;
    tio_conn_feed(c, wire, size);
    tio_conn_step(c);
    while ((n = tio_conn_take(c, data, sizeof data)) != 0) tio_conn_write(c, data, n);
    tio_conn_turn(c);
    if (tio_conn_in(c) == TIO_IN_ENDED) tio_conn_end(c);
}

COUNTED void counted_sent(tio_conn *c, size_t size) { tio_conn_sent(c, size); }

/* ---- the peer, and the wire between */

static peer peer_new(SSL_CTX *context) {
    peer p = { SSL_new(context), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()) };
    BIO_set_mem_eof_return(p.in, -1);
    SSL_set_bio(p.ssl, p.in, p.out);
    SSL_set_connect_state(p.ssl);
    return p;
}

/* The peer's bytes to the engine, the engine's to the peer; whether any moved. */
static int carry(peer *p, tio_conn *c) {
    const uint8_t *answer;
    char *wire;
    long size = BIO_get_mem_data(p->out, &wire);
    if (size > 0) counted_turn(c, (const uint8_t *)wire, (size_t)size);
    (void)BIO_reset(p->out);
    size_t n = tio_conn_output(c, &answer);
    if (n) {
        BIO_write(p->in, answer, (int)n);
        counted_sent(c, n);
    }
    return size > 0 || n;
}

static void open_both(peer *p, tio_conn *c) {
    char byte;
    do SSL_do_handshake(p->ssl);
    while (carry(p, c));
    SSL_peek(p->ssl, &byte, 1);         /* the tickets */
    if (tio_conn_phase(c) != TIO_OPEN || !SSL_is_init_finished(p->ssl)) die("the handshake failed");
}

static SSL_SESSION *handshake(tio_context *server, SSL_CTX *client, SSL_SESSION *session) {
    peer p = peer_new(client);
    tio_conn *c = counted_new(server);
    if (session && SSL_set_session(p.ssl, session) != 1) die("session");
    open_both(&p, c);
    if (session && !SSL_session_reused(p.ssl)) die("the session was not resumed");
    SSL_SESSION *next = SSL_get1_session(p.ssl);
    SSL_shutdown(p.ssl);
    while (carry(&p, c)) {}
    if (SSL_shutdown(p.ssl) != 1) die("the end did not come");
    counted_free(c);
    SSL_free(p.ssl);
    return next;
}

static void echo(peer *p, tio_conn *c, int size) {
    static uint8_t back[TIO_RECORD];
    SSL_write(p->ssl, message, size);
    carry(p, c);
    if (SSL_read(p->ssl, back, sizeof back) != size) die("the echo did not come");
}

/* ---- contexts */

static void certify(SSL_CTX *context) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    if (SSL_CTX_use_certificate(context, cert) != 1 || SSL_CTX_use_PrivateKey(context, key) != 1) die("certificate");
    X509_free(cert);
    EVP_PKEY_free(key);
}

int main(int argc, char **argv) {
    if (argc != 4) die("see the first lines of engine_count.c");
    int is_echo = !strcmp(argv[1], "echo"), size = is_echo ? atoi(argv[2]) : 0, times = atoi(argv[3]);
    int version = strcmp(argv[2], "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (size > TIO_RECORD) die("one record at most");
    tio_context *server = tio_context_new();
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_max_proto_version(client, version);
    certify(server->ssl);
    if (is_echo) {
        peer p = peer_new(client);
        tio_conn *c = tio_conn_new(server, TIO_SERVER);
        open_both(&p, c);
        for (int i = 0; i < times; i++) echo(&p, c, size);
        SSL_free(p.ssl);
        tio_conn_free(c);
    } else {
        SSL_SESSION *session = NULL, *next;
        for (int i = 0; i < times; i++, session = next) {
            next = handshake(server, client, strcmp(argv[1], "resume") ? NULL : session);
            SSL_SESSION_free(session);
        }
        SSL_SESSION_free(session);
    }
    SSL_CTX_free(client);
    tio_context_release(server);
    return 0;
}
