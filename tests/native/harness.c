/* harness.c - see harness.h */
#define _GNU_SOURCE
#include "harness.h"

#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <sys/timerfd.h>
#include <time.h>

/* ---- checks */

static int passed, failed, bad;
int checks_abort;
char note[160];

void run_test(const char *name, void (*test)(void)) {
    const char *only = getenv("ONLY");
    if (only && !strstr(name, only)) return;
    if (getenv("VERBOSE")) fprintf(stderr, "%s\n", name);
    bad = 0;
    note[0] = 0;
    cutting = (cut){ .mode = WHOLE };
    set_wall(0);
    test();
    ERR_clear_error();
    if (bad) {
        failed++;
        printf("FAILED %s\n", name);
    } else {
        passed++;
    }
}

unsigned new_seed(void) {
    const char *given = getenv("SEED") ? getenv("SEED") : getenv("FIRST");
    return given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
}

static void stop(void) {
    fflush(stdout);
    abort();
}

int check(int well, const char *what, const char *file, int line) {
    if (!well && bad++ < 5) printf("%s:%d: not so: %s  [%s]\n", file, line, what, note);
    if (!well && checks_abort) stop();
    return well;
}

int check_int(long long found, long long wanted, const char *what, const char *file, int line) {
    if (found != wanted && bad++ < 5) printf("%s:%d: %s is %lld, wanted %lld  [%s]\n", file, line, what, found, wanted, note);
    if (found != wanted && checks_abort) stop();
    return found == wanted;
}

int finish(void) {
    printf("%s: %d passed, %d failed\n", OpenSSL_version(OPENSSL_VERSION), passed, failed);
    return failed != 0;
}

/* ---- certificates */

identity authority, stranger, server_a, server_b, client_a, client_expired, client_strange;
const int versions[2] = { TLS1_2_VERSION, TLS1_3_VERSION };

static void extend(X509 *cert, X509 *issuer, int nid, const char *value) {
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    X509_add_ext(cert, ext, -1);
    X509_EXTENSION_free(ext);
}

static identity certify(const char *name, EVP_PKEY *key, const identity *issuer, long from_days, long to_days) {
    static long serial = 1;
    identity id = { X509_new(), key };
    X509_NAME *subject = X509_NAME_new();
    X509_set_version(id.cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.cert), serial++);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_subject_name(id.cert, subject);
    X509_set_issuer_name(id.cert, issuer ? X509_get_subject_name(issuer->cert) : subject);
    X509_NAME_free(subject);
    X509_gmtime_adj(X509_getm_notBefore(id.cert), from_days * 86400);
    X509_gmtime_adj(X509_getm_notAfter(id.cert), to_days * 86400);
    X509_set_pubkey(id.cert, key);
    extend(id.cert, issuer ? issuer->cert : id.cert, NID_basic_constraints, issuer ? "critical,CA:FALSE" : "critical,CA:TRUE");
    X509_sign(id.cert, issuer ? issuer->key : key, EVP_sha256());
    return id;
}

void make_certificates(void) {
    authority = certify("authority", EVP_EC_gen("P-256"), NULL, -1, 30);
    stranger = certify("stranger", EVP_EC_gen("P-256"), NULL, -1, 30);
    server_a = certify("a.test", EVP_EC_gen("P-256"), &authority, -1, 30);
    server_b = certify("b.test", EVP_RSA_gen(2048), &authority, -1, 30);
    client_a = certify("client", EVP_EC_gen("P-256"), &authority, -1, 30);
    client_expired = certify("expired", EVP_EC_gen("P-256"), &authority, -9, -2);
    client_strange = certify("strange", EVP_EC_gen("P-256"), &stranger, -1, 30);
}

/* Keys that live elsewhere, by their numbers. */
static EVP_PKEY *signers[64];
static uint64_t last_signer;

identity elsewhere(const identity *id) {
    uint64_t number = ++last_signer % 63 + 1;
    signers[number] = id->key;
    return (identity){ id->cert, tio_key_new(X509_get0_pubkey(id->cert), number) };
}

static int is_elsewhere(const EVP_PKEY *key) { return !strcmp(OSSL_PROVIDER_get0_name(EVP_PKEY_get0_provider(key)), "tlsio"); }

static int is_named(const char *scheme, const char *part) { return strstr(scheme, part) != NULL; }

/* By what the name of the scheme says alone. */
size_t signature_for(const tio_conn *c, uint8_t to[1024]) {
    const tio_signing *s = tio_conn_signing(c);
    const char *digest = is_named(s->scheme, "sha256") ? "SHA256" : is_named(s->scheme, "sha384") ? "SHA384" : is_named(s->scheme, "sha512") ? "SHA512" : NULL;
    pause_failure(1);                   /* what is elsewhere has memory */
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    EVP_PKEY_CTX *ctx;
    size_t size = 1024;
    int ok = EVP_DigestSignInit_ex(md, &ctx, digest, NULL, NULL, signers[s->key], NULL);
    if (is_named(s->scheme, "rsa_pss")) {
        EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING);
        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST);
    }
    ok = ok == 1 && EVP_DigestSign(md, to, &size, s->message, s->message_size) == 1;
    EVP_MD_CTX_free(md);
    pause_failure(0);
    ERR_clear_error();
    return ok ? size : 0;
}

int sign_for(tio_conn *c) {
    uint8_t signature[1024];
    return tio_answer_sign(c, signature, signature_for(c, signature));
}

void free_certificates(void) {
    identity *all[] = { &authority, &stranger, &server_a, &server_b, &client_a, &client_expired, &client_strange };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        X509_free(all[i]->cert);
        EVP_PKEY_free(all[i]->key);
    }
}

static void furnish(SSL_CTX *ctx, int version, const identity *id) {
    if (version < TLS1_2_VERSION) SSL_CTX_set_cipher_list(ctx, "DEFAULT@SECLEVEL=0");
    SSL_CTX_set_min_proto_version(ctx, version);
    SSL_CTX_set_max_proto_version(ctx, version);
    X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), authority.cert);
    if (!id || !id->key) return;
    SSL_CTX_use_certificate(ctx, id->cert);
    SSL_CTX_use_PrivateKey(ctx, id->key);
}

tio_context *server_context(int version, const identity *id, unsigned flags) {
    tio_context *ctx = tio_context_new();
    furnish(ctx->ssl, version, id);
    ctx->settings.keys_elsewhere = id && id->key && is_elsewhere(id->key);
    if (flags & WANT_CERT) SSL_CTX_set_verify(ctx->ssl, SSL_VERIFY_PEER | (flags & SOFT ? 0 : SSL_VERIFY_FAIL_IF_NO_PEER_CERT), NULL);
    ctx->settings.accept_unverified = !!(flags & SOFT);
    ctx->settings.id_context_size = 4;
    memcpy(ctx->settings.id_context, flags & WANT_CERT ? "cert" : "none", 4);
    SSL_CTX_set_session_id_context(ctx->ssl, ctx->settings.id_context, 4);
    return ctx;
}

tio_context *client_context(int version, const identity *id) {
    tio_context *ctx = tio_context_new();
    furnish(ctx->ssl, version, id);
    ctx->settings.keys_elsewhere = id && id->key && is_elsewhere(id->key);
    return ctx;
}

void set_alpn(tio_context *ctx, const char *wire) {
    ctx->settings.alpn_size = strlen(wire);
    ctx->settings.alpn = malloc(ctx->settings.alpn_size);
    memcpy(ctx->settings.alpn, wire, ctx->settings.alpn_size);
}

void set_npn(tio_context *ctx, const char *wire) {
    ctx->settings.npn_size = strlen(wire);
    ctx->settings.npn = malloc(ctx->settings.npn_size + 1);
    memcpy(ctx->settings.npn, wire, ctx->settings.npn_size);
    tio_context_speak_npn(ctx);
}

void set_pin(tio_context *ctx, const identity *id) {
    unsigned char *der = NULL;
    int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(id->cert), &der);
    ctx->settings.pins = malloc(TIO_PIN);
    ctx->settings.pin_count = 1;
    EVP_Digest(der, (size_t)size, ctx->settings.pins, NULL, EVP_sha256(), NULL);
    OPENSSL_free(der);
}

/* ---- two engines over memory */

cut cutting;
size_t largest_flight;

pair pair_new(tio_context *client, tio_context *server, unsigned wants) {
    pair p = { .client = tio_conn_new(client, TIO_CLIENT), .server = tio_conn_new(server, TIO_SERVER), .reading = 1 };
    if (p.server) p.server->policy.wants = (uint16_t)wants;
    return p;
}

void pair_free(pair *p) {
    tio_conn_free(p->client);
    tio_conn_free(p->server);
    p->client = p->server = NULL;
}

void *__real_malloc(size_t);            /* the harness's own blocks never fail */

/* The engine borrows what it is fed until it is settled: a block of its own, freed at once, proves that it does not longer. */
void give(tio_conn *c, const void *data, size_t size) {
    uint8_t *copy = __real_malloc(size);
    memcpy(copy, data, size);
    if (tio_conn_feed(c, copy, size)) tio_conn_break(c, TIO_FAULT_MEMORY, TIO_NO_LIMIT, 0);
    do tio_conn_step(c);
    while (c->wire.budget_spent && c->phase == TIO_HANDSHAKING && c->question == TIO_NO_QUESTION);
    tio_conn_turn(c);
    free(copy);
}

static void watch_invariants(const tio_conn *c) {
    const uint8_t *data;
    if (c->question != TIO_NO_QUESTION) CHECK_INT(tio_conn_output((tio_conn *)(uintptr_t)c, &data), 0);
    if (c->phase == TIO_IDLE || c->phase == TIO_HANDSHAKING) CHECK(c->bytes_read == 0 && c->bytes_written == 0);
    CHECK(c->phase != TIO_BROKEN || c->question == TIO_NO_QUESTION);
    CHECK(!c->wire.borrowed);
}

static void read_some(tio_conn *c, uint8_t *to, size_t *got, size_t room) {
    size_t n;
    while ((n = tio_conn_take(c, to + *got, room - *got)) != 0) *got += n;
    tio_conn_turn(c);
}

size_t enclose(const char *answer, uint8_t to[ENCLOSED]) {
    static const uint8_t head[] = { 0x30, 0, 0x0a, 1, 0, 0xa0, 0, 0x30, 0,                      /* successful, [0] { */
                                    0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 1, 0x04, 0 };        /* id-pkix-ocsp-basic, OCTET STRING } */
    const size_t lengths[] = { 1, 6, 8, sizeof head - 1 };
    size_t size = sizeof head + strlen(answer);
    memcpy(to, head, sizeof head);
    memcpy(to + sizeof head, answer, strlen(answer));
    for (int i = 0; i < 4; i++) to[lengths[i]] = (uint8_t)(size - lengths[i] - 1);
    return size;
}

int give_answer(tio_conn *c, int index, const char *answer) {
    uint8_t response[ENCLOSED];
    return tio_status_set(c, index, response, enclose(answer, response));
}

static void answer_about_status(pair *p) {
    if (p->server->question == TIO_ASK_STATUS) {
        p->stapled++;
        if (give_answer(p->server, 0, p->response)) tio_refuse(p->server, SSL_AD_INTERNAL_ERROR);
        tio_answer_status(p->server);
        tio_conn_step(p->server);
    }
    if (p->client->question == TIO_ASK_STATUS) {
        p->looked_at++;
        tio_answer_status(p->client);
        tio_conn_step(p->client);
    }
}

static void answer(pair *p) {
    if (p->client->question == TIO_ASK_VERIFY && p->judge >= 0) {
        p->verify_questions++;
        tio_answer_verify(p->client, p->judge);
        tio_conn_step(p->client);
    }
    if (p->response) answer_about_status(p);
    tio_conn *both[] = { p->client, p->server };
    for (int i = 0; i < 2 && !p->unsigned_still; i++) {
        if (both[i]->question != TIO_ASK_SIGN) continue;
        p->signatures++;
        if (sign_for(both[i])) tio_refuse(both[i], SSL_AD_INTERNAL_ERROR);
        tio_conn_step(both[i]);
    }
    if (p->held) return;
    if (p->server->question == TIO_ASK_HELLO) {
        p->hello_questions++;
        tio_answer_hello(p->server, p->other, p->protocol, p->protocol ? strlen((const char *)p->protocol) : 0);
    } else if (p->server->question == TIO_ASK_CLIENT) {
        p->client_questions++;
        tio_answer_client(p->server);
    } else if (p->server->question == TIO_ASK_STORE) {
        tio_answer_store(p->server);
    } else {
        return;
    }
    tio_conn_step(p->server);
}

size_t take_output(tio_conn *c, uint8_t *to, size_t room) {
    const uint8_t *data;
    size_t n = tio_conn_output(c, &data);
    if (n > room) n = room;
    if (n) memcpy(to, data, n);
    if (n) tio_conn_sent(c, n);
    return n;
}

static size_t piece(size_t left, size_t done, unsigned flight) {
    if (cutting.mode == BYTES) return 1;
    if (cutting.mode == RANDOM) {
        cutting.seed = cutting.seed * 1103515245u + 12345u;
        size_t n = 1 + (cutting.seed >> 16) % (cutting.seed & 0x100 ? 7 : 700);
        return n < left ? n : left;
    }
    if (cutting.mode == SPLIT && flight == cutting.flight && done < cutting.at) return cutting.at < left ? cutting.at : left;
    return left;
}

size_t carry(pair *p, tio_conn *from, tio_conn *to) {
    const uint8_t *data;
    size_t size = tio_conn_output(from, &data), done = 0;
    if (!size) return 0;
    unsigned flight = p->flights++;
    uint8_t *bytes = __real_malloc(size);
    memcpy(bytes, data, size);
    tio_conn_sent(from, size);
    if (cutting.mode == SPLIT && flight == cutting.flight) largest_flight = size;
    while (done < size) {
        size_t n = piece(size - done, done, flight);
        give(to, bytes + done, n);
        done += n;
        watch_invariants(to);
    }
    free(bytes);
    return size;
}

void pump(pair *p) {
    size_t moved;
    int rounds = 0, signatures;
    if (p->client->phase == TIO_IDLE) tio_conn_step(p->client);
    if (p->server->phase == TIO_IDLE) tio_conn_step(p->server);
    do {
        signatures = p->signatures;
        moved = carry(p, p->client, p->server);
        answer(p);
        moved += carry(p, p->server, p->client);
        answer(p);
        if (p->reading) {
            read_some(p->client, p->client_saw, &p->client_got, sizeof p->client_saw);
            read_some(p->server, p->server_saw, &p->server_got, sizeof p->server_saw);
        }
    } while ((moved || p->signatures > signatures) && ++rounds < 1000);
    CHECK(rounds < 1000);
}

void talks(pair *p) {
    size_t server_got = p->server_got, client_got = p->client_got;
    CHECK_INT(tio_conn_write(p->client, "question", 8), 8);
    CHECK_INT(tio_conn_write(p->server, "answer", 6), 6);
    pump(p);
    CHECK_INT(p->server_got, server_got + 8);
    CHECK_INT(p->client_got, client_got + 6);
}

pair open_pair(int version) {
    tio_context *client = client_context(version, NULL), *server = server_context(version, &server_a, 0);
    pair p = pair_new(client, server, 0);
    tio_context_release(client);
    tio_context_release(server);
    pump(&p);
    CHECK_INT(p.client->phase, TIO_OPEN);
    CHECK_INT(p.server->phase, TIO_OPEN);
    return p;
}

/* ---- a plain OpenSSL peer */

SSL_CTX *plain_context(int version, const identity *id) {
    SSL_CTX *ctx = SSL_CTX_new(TLS_method());
    furnish(ctx, version, id);
    return ctx;
}

plain plain_new(SSL_CTX *ctx, int is_server, SSL_SESSION *session) {
    plain p = { SSL_new(ctx), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()) };
    BIO_set_mem_eof_return(p.in, -1);
    BIO_set_mem_eof_return(p.out, -1);
    SSL_set_bio(p.ssl, p.in, p.out);
    if (session) SSL_set_session(p.ssl, session);
    if (is_server) SSL_set_accept_state(p.ssl);
    else SSL_set_connect_state(p.ssl);
    return p;
}

void plain_free(plain *p) { SSL_free(p->ssl); }

size_t plain_to(plain *p, tio_conn *c) {
    char *data;
    long size = BIO_get_mem_data(p->out, &data);
    if (size <= 0) return 0;
    give(c, data, (size_t)size);
    (void)BIO_reset(p->out);
    return (size_t)size;
}

size_t plain_from(plain *p, tio_conn *c) {
    const uint8_t *data;
    size_t size = tio_conn_output(c, &data);
    if (!size) return 0;
    BIO_write(p->in, data, (int)size);
    tio_conn_sent(c, size);
    return size;
}

void plain_pump(plain *p, tio_conn *c) {
    size_t moved;
    char byte;
    tio_conn_step(c);
    do {
        if (SSL_do_handshake(p->ssl) == 1) SSL_peek(p->ssl, &byte, 1);
        moved = plain_to(p, c);
        if (c->question == TIO_ASK_VERIFY) {
            tio_answer_verify(c, X509_V_OK);
            tio_conn_step(c);
        }
        moved += plain_from(p, c);
    } while (moved);
    ERR_clear_error();
}

/* ---- allocations that fail */

long allocations, fail_at = -1;
int fail_ever_after;
static int paused;

void pause_failure(int pause) { paused = pause; }

void arm_failure(long at, int ever_after) {
    allocations = paused = 0;
    fail_at = at;
    fail_ever_after = ever_after;
}

void disarm_failure(void) { fail_at = -1; }

static int fails(void) {
    if (fail_at < 0 || paused) return 0;
    long number = allocations++;
    return number == fail_at || (fail_ever_after && number > fail_at);
}

void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
char *__real_strdup(const char *);

void *__wrap_malloc(size_t size) { return fails() ? NULL : __real_malloc(size); }
void *__wrap_calloc(size_t count, size_t size) { return fails() ? NULL : __real_calloc(count, size); }
void *__wrap_realloc(void *block, size_t size) { return fails() ? NULL : __real_realloc(block, size); }
char *__wrap_strdup(const char *text) { return fails() ? NULL : __real_strdup(text); }

static void *openssl_malloc(size_t size, const char *file, int line) {
    (void)file, (void)line;
    return fails() ? NULL : __real_malloc(size);
}

static void *openssl_realloc(void *block, size_t size, const char *file, int line) {
    (void)file, (void)line;
    return fails() ? NULL : __real_realloc(block, size);
}

static void openssl_free(void *block, const char *file, int line) {
    (void)file, (void)line;
    free(block);
}

void install_allocator(void) {
    if (!CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free)) abort();
}

/* ---- the clock */

static int64_t offset, wall_offset;
static struct { int fd; struct itimerspec spec; } timers[8];
static pthread_mutex_t timers_lock = PTHREAD_MUTEX_INITIALIZER;        /* handshake threads have timers too */

int __real_clock_gettime(clockid_t, struct timespec *);
int __real_timerfd_settime(int, int, const struct itimerspec *, struct itimerspec *);

int __wrap_clock_gettime(clockid_t id, struct timespec *t) {
    int r = __real_clock_gettime(id, t);
    int64_t ns = t->tv_sec * INT64_C(1000000000) + t->tv_nsec + offset;
    if (id == CLOCK_REALTIME) t->tv_sec += wall_offset;
    if (id == CLOCK_MONOTONIC) *t = (struct timespec){ ns / 1000000000, ns % 1000000000 };
    return r;
}

void set_wall(int64_t seconds) { wall_offset = seconds; }

static int set_timer(int fd, const struct itimerspec *spec) {
    int64_t ns = spec->it_value.tv_sec * INT64_C(1000000000) + spec->it_value.tv_nsec - offset;
    if (ns < 1) ns = 1;                                 /* 0 would switch it off */
    struct itimerspec real = { .it_value = { ns / 1000000000, ns % 1000000000 } };
    return __real_timerfd_settime(fd, TFD_TIMER_ABSTIME, &real, NULL);
}

int __wrap_timerfd_settime(int fd, int flags, const struct itimerspec *spec, struct itimerspec *old) {
    (void)flags, (void)old;
    pthread_mutex_lock(&timers_lock);
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++)
        if (!timers[i].fd || timers[i].fd == fd) {
            timers[i].fd = fd;
            timers[i].spec = *spec;
            break;
        }
    pthread_mutex_unlock(&timers_lock);
    return set_timer(fd, spec);
}

void advance(int64_t ns) {
    offset += ns;
    for (size_t i = 0; i < sizeof timers / sizeof *timers; i++) {
        struct itimerspec now;
        if (timers[i].fd && !timerfd_gettime(timers[i].fd, &now) && (now.it_value.tv_sec || now.it_value.tv_nsec))
            set_timer(timers[i].fd, &timers[i].spec);
    }
}
