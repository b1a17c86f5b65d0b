/* signing_test.c - private keys that live elsewhere: signatures that come late, wrong, never, or to nobody. */
#include "harness.h"

#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>

static tio_context *near, *far;
static identity theirs, ours;

/* A server whose key is elsewhere, and a client with a certificate whose key is too. */
static void set_up(int version, const identity *server, unsigned flags) {
    theirs = elsewhere(server);
    ours = elsewhere(&client_a);
    near = client_context(version, &ours);
    far = server_context(version, &theirs, flags);
    snprintf(note, sizeof note, "TLS 1.%d %s", version - TLS1_VERSION, EVP_PKEY_get0_type_name(server->key));
}

static void tear_down(void) {
    tio_context_release(near);
    tio_context_release(far);
    EVP_PKEY_free(theirs.key);
    EVP_PKEY_free(ours.key);
    theirs.key = ours.key = NULL;
    int dead = 0;
    while (tio_keys_dead()) dead++;
    CHECK_INT(dead, 2);
}

static void each(void (*test)(int version, const identity *server)) {
    const identity *servers[] = { &server_a, &server_b };
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) test(versions[i], servers[k]);
}

static void talks(pair *p) {
    size_t server_got = p->server_got, client_got = p->client_got;
    CHECK_INT(tio_conn_write(p->client, "question", 8), 8);
    CHECK_INT(tio_conn_write(p->server, "answer", 6), 6);
    pump(p);
    CHECK_INT(p->server_got, server_got + 8);
    CHECK_INT(p->client_got, client_got + 6);
}

static void opens(pair *p, int signatures) {
    CHECK_INT(p->client->phase, TIO_OPEN);
    CHECK_INT(p->server->phase, TIO_OPEN);
    CHECK_INT(p->signatures, signatures);
    if (p->client->phase == TIO_OPEN && p->server->phase == TIO_OPEN) talks(p);
}

/* One end whose question for a signature is open. */
static pair waiting(unsigned wants) {
    pair p = pair_new(near, far, wants);
    p.unsigned_still = 1;
    pump(&p);
    CHECK_INT(p.server->question, TIO_ASK_SIGN);
    return p;
}

static void both(int version, const identity *server) {
    static const int modes[] = { WHOLE, BYTES, RANDOM };
    for (int i = 0; i < 3; i++) {
        cutting = (cut){ .mode = modes[i], .seed = 7 };
        set_up(version, server, WANT_CERT);
        pair p = pair_new(near, far, TIO_WANT_CLIENT);
        pump(&p);
        opens(&p, 2);
        CHECK(!p.server->wanted && !p.client->wanted);
        pair_free(&p);
        tear_down();
    }
}

static void both_keys_sign_elsewhere(void) { each(both); }

static void named(int version, const identity *server) {
    int rsa = server == &server_b, modern = version == TLS1_3_VERSION;
    set_up(version, server, 0);
    pair p = waiting(0);
    const tio_signing *s = tio_conn_signing(p.server);
    CHECK(!strcmp(s->scheme, rsa ? "rsa_pss_rsae_sha256" : "ecdsa_secp256r1_sha256"));
    /* RFC 8446 4.4.3: 64 spaces, the context string, a zero byte and a hash; RFC 5246 7.4.3: two randoms and the parameters */
    static const char context[] = "                                                                TLS 1.3, server CertificateVerify";
    if (modern) CHECK(s->message_size == sizeof context + 48 && !memcmp(s->message, context, sizeof context));
    else CHECK(s->message_size > 64 + 4);
    CHECK_INT(s->longest, EVP_PKEY_get_size(server->key));
    CHECK(!tio_conn_signing(p.client));
    pair_free(&p);
    tear_down();
}

static void the_scheme_and_the_message_are_those_of_the_protocol(void) { each(named); }

static void pkcs1(void) {
    set_up(TLS1_2_VERSION, &server_b, 0);
    SSL_CTX_set1_sigalgs_list(near->ssl, "RSA+SHA384");
    pair p = waiting(0);
    CHECK(!strcmp(tio_conn_signing(p.server)->scheme, "rsa_pkcs1_sha384"));
    p.unsigned_still = 0;
    pump(&p);
    opens(&p, 1);
    pair_free(&p);
    tear_down();
}

static EVP_PKEY *rsa_pss(void) {
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    EVP_PKEY *key = NULL;
    EVP_PKEY_keygen_init(ctx);
    EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048);
    EVP_PKEY_generate(ctx, &key);
    EVP_PKEY_CTX_free(ctx);
    return key;
}

/* TLS 1.2 knows no curve in the name: it takes the first digest that both sides have. */
static void other_types(void) {
    static const struct { const char *type, *group, *scheme; } kinds[] = {
        { "ED25519", NULL, "ed25519" }, { "ED448", NULL, "ed448" }, { "EC", "P-384", "ecdsa_secp384r1_sha384" },
        { "EC", "P-521", "ecdsa_secp521r1_sha512" }, { "RSA-PSS", NULL, "rsa_pss_pss_sha256" },
#if OPENSSL_VERSION_NUMBER >= 0x30200000L       /* before, TLS 1.3 has no such curves */
        { "EC", "brainpoolP256r1", "ecdsa_brainpoolP256r1tls13_sha256" },
#endif
    };
    for (int v = 0; v < 2; v++)
        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
            if (!v && kinds[i].group && kinds[i].group[0] == 'b') continue;         /* its curve is not in the default groups */
            identity id = { X509_dup(server_a.cert), NULL };
            id.key = kinds[i].group ? EVP_PKEY_Q_keygen(NULL, NULL, "EC", kinds[i].group)
                     : !strcmp(kinds[i].type, "RSA-PSS") ? rsa_pss() : EVP_PKEY_Q_keygen(NULL, NULL, kinds[i].type);
            X509_set_pubkey(id.cert, id.key);
            X509_sign(id.cert, authority.key, EVP_sha256());
            set_up(versions[v], &id, 0);
            pair p = waiting(0);
            const char *scheme = v || !kinds[i].group ? kinds[i].scheme : "ecdsa_secp256r1_sha256";
            if (p.server->question == TIO_ASK_SIGN) CHECK(!strcmp(tio_conn_signing(p.server)->scheme, scheme));
            p.unsigned_still = 0;
            pump(&p);
            opens(&p, 1);
            pair_free(&p);
            tear_down();
            X509_free(id.cert);
            EVP_PKEY_free(id.key);
        }
}

/* RFC 4055 3.1: the certificate says which digest alone the key may use. */
static void a_restricted_key(void) {
    for (int v = 0; v < 2; v++) {
        EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
        identity id = { X509_dup(server_a.cert), NULL };
        EVP_PKEY_keygen_init(ctx);
        EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048);
        EVP_PKEY_CTX_set_rsa_pss_keygen_md(ctx, EVP_sha384());
        EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md(ctx, EVP_sha384());
        EVP_PKEY_generate(ctx, &id.key);
        EVP_PKEY_CTX_free(ctx);
        X509_set_pubkey(id.cert, id.key);
        X509_sign(id.cert, authority.key, EVP_sha256());
        set_up(versions[v], &id, 0);
        pair p = waiting(0);
        if (p.server->question == TIO_ASK_SIGN) CHECK(!strcmp(tio_conn_signing(p.server)->scheme, "rsa_pss_pss_sha384"));
        p.unsigned_still = 0;
        pump(&p);
        opens(&p, 1);
        pair_free(&p);
        tear_down();
        X509_free(id.cert);
        EVP_PKEY_free(id.key);
    }
}

/* ---- signatures that are none */

static void wrong(int version, const identity *server) {
    uint8_t good[1024], bad[1024];
    set_up(version, server, 0);
    pair p = waiting(0);
    size_t size = signature_for(p.server, good);
    memcpy(bad, good, sizeof bad);
    CHECK_INT(tio_answer_sign(p.server, bad, 0), -1);
    CHECK_INT(tio_answer_sign(p.server, bad, size - 1), -1);
    CHECK_INT(tio_answer_sign(p.server, bad, sizeof bad), -1);
    bad[size - 1] ^= 1;
    CHECK_INT(tio_answer_sign(p.server, bad, size), -1);
    CHECK_INT(ERR_peek_error(), 0);
    CHECK_INT(p.server->question, TIO_ASK_SIGN);        /* nothing has left */
    CHECK_INT(tio_answer_sign(p.server, good, size), 0);
    tio_conn_step(p.server);
    p.signatures++;
    p.unsigned_still = 0;
    pump(&p);
    opens(&p, 1);
    CHECK_INT(tio_answer_sign(p.server, good, size), 0);        /* no question: nothing happens */
    pair_free(&p);
    tear_down();
}

static void a_wrong_signature_is_not_taken(void) { each(wrong); }

/* RFC 8017 8.1.2: it has as many bytes as the modulus. One of 256 begins with a zero byte. */
static void a_signature_keeps_its_zero_bytes(void) {
    uint8_t signature[1024];
    set_up(TLS1_3_VERSION, &server_b, 0);
    pair p = waiting(0);
    size_t size;
    do size = signature_for(p.server, signature);
    while (signature[0]);
    CHECK_INT(tio_answer_sign(p.server, signature + 1, size - 1), -1);
    CHECK_INT(tio_answer_sign(p.server, signature, size), 0);
    pair_free(&p);
    tear_down();
}

static void refused(int version, const identity *server) {
    set_up(version, server, 0);
    pair p = waiting(0);
    tio_refuse(p.server, SSL_AD_INTERNAL_ERROR);
    tio_conn_step(p.server);
    CHECK_INT(p.server->phase, TIO_BROKEN);
    CHECK(!p.server->wanted);
    if (CHECK(p.server->fault != NULL)) CHECK_INT(p.server->fault->kind, TIO_FAULT_REFUSED);
    pump(&p);
    CHECK_INT(p.client->phase, TIO_BROKEN);
    if (CHECK(p.client->fault != NULL)) CHECK_INT(p.client->fault->alert_received, SSL_AD_INTERNAL_ERROR);
    pair_free(&p);
    tear_down();
}

static void without_a_signature_the_peer_gets_an_alert(void) { each(refused); }

/* ---- the end before the answer */

static void broken(int version, const identity *server) {
    const uint8_t *data;
    set_up(version, server, 0);
    pair p = waiting(0);
    tio_conn_break(p.server, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    CHECK(!p.server->wanted);
    CHECK_INT(ERR_peek_error(), 0);
    CHECK_INT(p.server->fault->count, 0);
    CHECK(tio_conn_output(p.server, &data) <= 14);      /* nothing of the flight: the plaintext alert alone */
    pair_free(&p);
    tear_down();
}

static void freed(int version, const identity *server) {
    set_up(version, server, 0);
    pair p = waiting(0);
    pair_free(&p);
    p = waiting(0);
    tio_conn_abandon(p.server);
    CHECK(!p.server->wanted);
    tio_conn_abandon(p.server);
    pair_free(&p);
    tear_down();
}

/* A job is continued by its own thread alone. */
static void *free_it(void *c) {
    tio_conn_abandon(c);
    tio_conn_free(c);
    return NULL;
}

static void freed_elsewhere(int version, const identity *server) {
    pthread_t other;
    set_up(version, server, 0);
    pair p = waiting(0);
    pthread_create(&other, NULL, free_it, p.server);
    pthread_join(other, NULL);
    tio_conn_free(p.client);
    p = pair_new(near, far, 0);
    pump(&p);                           /* frees the other one */
    opens(&p, 1);
    pair_free(&p);
    tear_down();
}

/* An event loop was moved: the signature is there, but in the wrong thread. */
static void *continue_it(void *c) {
    CHECK(!tio_conn_signs_here(c));
    CHECK_INT(sign_for(c), 0);
    tio_conn_step(c);
    tio_conn_turn(c);
    CHECK_INT(tio_conn_phase(c), TIO_BROKEN);
    tio_conn_step(c);
    tio_conn_free(c);
    return NULL;
}

static void *refuse_it(void *c) {
    tio_refuse(c, SSL_AD_INTERNAL_ERROR);
    tio_conn_step(c);
    CHECK_INT(tio_conn_phase(c), TIO_BROKEN);
    tio_conn_free(c);
    return NULL;
}

static void continued_elsewhere(int version, const identity *server) {
    void *(*const acts[])(void *) = { continue_it, refuse_it };
    for (int i = 0; i < 2; i++) {
        pthread_t other;
        set_up(version, server, 0);
        pair p = waiting(0);
        CHECK(tio_conn_signs_here(p.server));
        pthread_create(&other, NULL, acts[i], p.server);
        pthread_join(other, NULL);
        tio_conn_free(p.client);
        p = pair_new(near, far, 0);
        pump(&p);                       /* frees the other one */
        opens(&p, 1);
        pair_free(&p);
        tear_down();
    }
}

static void a_job_ends_with_its_connection(void) {
    each(broken);
    each(freed);
    each(freed_elsewhere);
    each(continued_elsewhere);
}

/* ---- many at once */

static void too_many(void) {
    enum { MORE = 3 };
    static tio_conn *all[TIO_JOBS + MORE];
    static uint8_t hello[4096];
    set_up(TLS1_3_VERSION, &server_a, 0);
    tio_conn *client = tio_conn_new(near, TIO_CLIENT);
    tio_conn_step(client);
    size_t size = take_output(client, hello, sizeof hello);
    for (int i = 0; i < TIO_JOBS + MORE; i++) {
        all[i] = tio_conn_new(far, TIO_SERVER);
        give(all[i], hello, size);
        CHECK_INT(all[i]->question, i < TIO_JOBS ? TIO_ASK_SIGN : TIO_ASK_JOB);
    }
    tio_conn *waits = all[TIO_JOBS];
    tio_answer_job(waits);
    tio_conn_step(waits);
    CHECK_INT(waits->question, TIO_ASK_JOB);            /* still full */
    CHECK_INT(sign_for(all[5]), 0);
    tio_conn_step(all[5]);
    CHECK(tio_wire_unsent(&all[5]->wire) > 0);
    tio_answer_job(waits);
    tio_conn_step(waits);
    CHECK_INT(waits->question, TIO_ASK_SIGN);
    tio_refuse(all[TIO_JOBS + 1], SSL_AD_INTERNAL_ERROR);
    tio_conn_step(all[TIO_JOBS + 1]);
    CHECK_INT(all[TIO_JOBS + 1]->phase, TIO_BROKEN);
    for (int i = 0; i < TIO_JOBS + MORE; i++) tio_conn_free(all[i]);
    tio_conn_free(client);
    tear_down();
}

/* ---- one key here, the other elsewhere */

static void mixed(int version) {
    theirs = elsewhere(&server_a);
    ours = elsewhere(&client_a);
    near = client_context(version, NULL);
    far = server_context(version, &server_b, 0);
    SSL_CTX_use_cert_and_key(far->ssl, theirs.cert, theirs.key, NULL, 1);
    far->settings.keys_elsewhere = TIO_KEYS_ELSEWHERE;
    for (int rsa = 0; rsa < 2; rsa++) {
        if (rsa) SSL_CTX_set1_sigalgs_list(near->ssl, "rsa_pss_rsae_sha256");
        pair p = pair_new(near, far, 0);
        pump(&p);
        opens(&p, !rsa);
        pair_free(&p);
    }
    tear_down();
}

static void chosen_by_name(int version) {
    set_up(version, &server_a, 0);
    tio_context *here = server_context(version, &server_b, 0);
    for (int there = 0; there < 2; there++) {
        pair p = pair_new(near, there ? here : far, TIO_WANT_HELLO);
        p.other = there ? far : here;
        tio_conn_set_server_name(p.client, "a.test");
        pump(&p);
        opens(&p, there);
        pair_free(&p);
        p = pair_new(near, there ? here : far, 0);
        CHECK_INT(tio_conn_set_identity(p.server, there ? far : here), 0);
        pump(&p);
        opens(&p, there);
        pair_free(&p);
    }
    tio_context_release(here);
    tear_down();
}

static void one_key_here_and_one_elsewhere(void) {
    for (int i = 0; i < 2; i++) {
        snprintf(note, sizeof note, "TLS 1.%d", i + 2);
        mixed(versions[i]);
        chosen_by_name(versions[i]);
    }
}

/* An RSA key that cannot decrypt, given to a connection whose context has RSA key exchange. */
static void no_rsa_key_exchange(void) {
    set_up(TLS1_2_VERSION, &server_b, 0);
    far->settings.keys_elsewhere = TIO_KEYS_ELSEWHERE | TIO_RSA_ELSEWHERE;
    tio_context *here = server_context(TLS1_2_VERSION, &server_b, 0);
    for (int offered = 0; offered < 2; offered++) {
        SSL_CTX_set_cipher_list(near->ssl, offered ? "AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256" : "AES128-GCM-SHA256");
        SSL_CTX_set_cipher_list(here->ssl, "AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256");
        SSL_CTX_set_options(here->ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
        pair p = pair_new(near, here, 0);
        CHECK_INT(tio_conn_set_identity(p.server, far), 0);
        pump(&p);
        if (offered) opens(&p, 1);
        else CHECK_INT(p.client->fault->alert_received, SSL_AD_HANDSHAKE_FAILURE);
        pair_free(&p);
    }
    tio_context_release(here);
    tear_down();
}

/* The context that is chosen later decides on the suites, not the one before. */
static void the_chosen_context_has_its_suites(void) {
    static const char *const names[] = { "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384" };
    static const char *const names_13[] = { "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384" };
    for (int v = 0; v < 2; v++) {
        set_up(versions[v], &server_b, 0);
        far->settings.keys_elsewhere = TIO_KEYS_ELSEWHERE | TIO_RSA_ELSEWHERE;
        tio_context *first = server_context(versions[v], &server_b, 0), *chosen = server_context(versions[v], &server_b, 0);
        SSL_CTX_set_cipher_list(first->ssl, names[0]);
        SSL_CTX_set_ciphersuites(first->ssl, names_13[0]);
        SSL_CTX_set_cipher_list(chosen->ssl, names[1]);
        SSL_CTX_set_ciphersuites(chosen->ssl, names_13[1]);
        pair p = pair_new(near, first, TIO_WANT_HELLO);
        p.other = chosen;
        tio_conn_set_server_name(p.client, "a.test");
        CHECK_INT(tio_conn_set_identity(p.server, far), 0);
        pump(&p);
        opens(&p, 1);
        CHECK(!strcmp(SSL_get_cipher_name(p.server->ssl), v ? names_13[1] : names[1]));
        pair_free(&p);
        tio_context_release(first);
        tio_context_release(chosen);
        tear_down();
    }
}

/* ---- later handshakes */

static pair later(int version, unsigned flags) {
    set_up(version, &server_a, flags);
    pair p = pair_new(near, far, 0);
    p.server->policy.renegotiation = (tio_renegotiation){ 2, INT64_C(3600000000000) };
    pump(&p);
    opens(&p, 1);
    p.signatures = 0;
    return p;
}

static void reshake(tio_conn *c, int mode) {
    unsigned long code = 0;
    CHECK_INT(tio_conn_rehandshake(c, mode, 0, &code), 0);
}

/* TLS 1.2: both keys sign again, whoever began; TLS 1.3: the client's. */
static void again(int version) {
    for (int began = 0; began < (version == TLS1_2_VERSION ? 2 : 1); began++) {
        pair p = later(version, 0);
        reshake(began ? p.client : p.server, began ? -1 : SSL_VERIFY_PEER);
        tio_conn_write(p.server, "before", 6);
        pump(&p);
        CHECK_INT(p.client_got, 12);
        CHECK_INT(p.signatures, version == TLS1_2_VERSION ? 2 - began : 1);
        CHECK_INT(SSL_get0_peer_certificate(p.server->ssl) != NULL, !began);
        CHECK_INT(tio_conn_rehandshake_done(began ? p.client : p.server), TIO_REHANDSHAKE_DONE);
        talks(&p);
        pair_free(&p);
        tear_down();
    }
}

static void later_handshakes_sign_again(void) {
    for (int i = 0; i < 2; i++) {
        static const int modes[] = { WHOLE, BYTES };
        for (int k = 0; k < 2; k++) {
            cutting = (cut){ .mode = modes[k] };
            snprintf(note, sizeof note, "TLS 1.%d, cut %d", i + 2, k);
            again(versions[i]);
        }
    }
}

/* While the client's signature is made, nothing is read or written, also by it; then all of it. */
static void data_waits(int version) {
    pair p = later(version, 0);
    p.unsigned_still = 1;
    reshake(p.server, SSL_VERIFY_PEER);
    pump(&p);
    tio_conn *who = p.client->question == TIO_ASK_SIGN ? p.client : p.server;
    CHECK_INT(who->question, TIO_ASK_SIGN);
    CHECK_INT(tio_conn_write(who, "question", 8), 0);
    uint8_t room[16];
    CHECK_INT(tio_conn_take(who, room, sizeof room), 0);
    tio_conn_turn(who);
    p.unsigned_still = 0;
    pump(&p);
    talks(&p);
    pair_free(&p);
    tear_down();
}

static void nothing_is_asked_after_close(int version) {
    pair p = later(version, 0);
    reshake(p.server, SSL_VERIFY_PEER);
    tio_conn_close(p.client);
    pump(&p);
    CHECK_INT(p.client->question, TIO_NO_QUESTION);
    CHECK_INT(p.signatures, 0);
    CHECK(!p.client->wanted);
    CHECK(p.client->phase == TIO_CLOSING || p.client->phase == TIO_CLOSED);
    pair_free(&p);
    tear_down();
}

static void closed_while_it_signs(int version) {
    pair p = later(version, 0);
    p.unsigned_still = 1;
    reshake(p.server, SSL_VERIFY_PEER);
    pump(&p);
    tio_conn *who = p.client->question == TIO_ASK_SIGN ? p.client : p.server;
    tio_conn_close(who);
    tio_conn_turn(who);
    CHECK_INT(sign_for(who), 0);
    tio_conn_step(who);
    tio_conn_turn(who);
    CHECK(!who->wanted);
    pair_free(&p);
    tear_down();
}

static void a_later_handshake_may_end_in_between(void) {
    for (int i = 0; i < 2; i++) {
        snprintf(note, sizeof note, "TLS 1.%d", i + 2);
        data_waits(versions[i]);
        closed_while_it_signs(versions[i]);
    }
    nothing_is_asked_after_close(TLS1_3_VERSION);
}

/* Half of a request for a certificate: what is written meanwhile must not become part of a job. */
static void half_a_message(void) {
    pair p = later(TLS1_3_VERSION, 0);
    const uint8_t *data;
    reshake(p.server, SSL_VERIFY_PEER);
    tio_conn_turn(p.server);
    size_t size = tio_conn_output(p.server, &data);
    give(p.client, data, size / 2);
    tio_conn_write(p.client, "question", 8);
    give(p.client, data + size / 2, size - size / 2);
    tio_conn_sent(p.server, size);
    if (p.client->question == TIO_ASK_SIGN) CHECK_INT(tio_conn_write(p.client, "question", 8), 0);
    pump(&p);
    CHECK_INT(p.signatures, 1);
    talks(&p);
    pair_free(&p);
    tear_down();
}

/* ---- pre-shared keys are asked for on the thread's own stack */

static char *depth;

static int psk(tio_conn *c, const char *given, char *identity, uint8_t *key) {
    char *here = __builtin_frame_address(0);
    (void)c, (void)given, (void)key;
    CHECK(tio_in_psk_callback());
    CHECK(depth - here > 0 && depth - here < 1 << 20);
    if (identity) strcpy(identity, "alice");
    return 0;
}

static void keys_are_asked_for_outside(void) {
    depth = __builtin_frame_address(0);
    for (int i = 0; i < 2; i++) {
        set_up(versions[i], &server_a, WANT_CERT);
        SSL_CTX_set_cipher_list(near->ssl, "ALL");
        SSL_CTX_set_cipher_list(far->ssl, "ECDHE-ECDSA-AES128-GCM-SHA256");
        pair p = pair_new(near, far, TIO_WANT_PSK);
        p.client->policy.wants = TIO_WANT_PSK;
        p.client->policy.ask_psk = p.server->policy.ask_psk = psk;
        pump(&p);
        opens(&p, 2);
        pair_free(&p);
        tear_down();
    }
}

static void other_keys_are_not_supported(void) {
    EVP_PKEY *x25519 = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
    CHECK(tio_keys_work());
    CHECK(tio_key_new(x25519, 1) == NULL);
    EVP_PKEY_free(x25519);
    ERR_clear_error();
    CHECK_INT(tio_keys_dead(), 0);
}

void signing_tests(void) {
    RUN(both_keys_sign_elsewhere);
    RUN(the_scheme_and_the_message_are_those_of_the_protocol);
    RUN(pkcs1);
    RUN(other_types);
    RUN(a_restricted_key);
    RUN(a_wrong_signature_is_not_taken);
    RUN(a_signature_keeps_its_zero_bytes);
    RUN(without_a_signature_the_peer_gets_an_alert);
    RUN(a_job_ends_with_its_connection);
    RUN(too_many);
    RUN(one_key_here_and_one_elsewhere);
    RUN(no_rsa_key_exchange);
    RUN(the_chosen_context_has_its_suites);
    RUN(later_handshakes_sign_again);
    RUN(a_later_handshake_may_end_in_between);
    RUN(half_a_message);
    RUN(keys_are_asked_for_outside);
    RUN(other_keys_are_not_supported);
}
