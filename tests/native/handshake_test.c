/* handshake_test.c - handshakes, and every question answered at once, late, never, with a refusal, too late. */
#include "harness.h"

#include <openssl/x509_vfy.h>

enum { HELLO = TIO_WANT_HELLO, ALPN = TIO_WANT_ALPN, CLIENT = TIO_WANT_CLIENT };

/* A pair whose contexts are its own. */
static pair make(tio_context *client, tio_context *server, unsigned wants) {
    pair p = pair_new(client, server, wants);
    tio_context_release(client);
    tio_context_release(server);
    return p;
}

static void each_version(void (*test)(int version)) {
    for (int i = 0; i < 2; i++) {
        snprintf(note, sizeof note, "TLS 1.%d", i + 2);
        test(versions[i]);
    }
}

static void echo(pair *p) {
    CHECK_INT(tio_conn_write(p->client, "question", 8), 8);
    CHECK_INT(tio_conn_write(p->server, "answer", 6), 6);
    pump(p);
    CHECK_INT(p->server_got, 8);
    CHECK_INT(p->client_got, 6);
    CHECK(!memcmp(p->server_saw, "question", 8) && !memcmp(p->client_saw, "answer", 6));
}

static void both_open(pair *p) {
    pump(p);
    CHECK_INT(p->client->phase, TIO_OPEN);
    CHECK_INT(p->server->phase, TIO_OPEN);
    if (p->client->phase == TIO_OPEN && p->server->phase == TIO_OPEN) echo(p);
    pair_free(p);
}

/* The server refuses: its alert is read by the client, in whatever the client's phase is then. */
static void refused_by_server(pair *p, int alert, tio_fault_kind kind) {
    pump(p);
    CHECK_INT(p->server->phase, TIO_BROKEN);
    if (CHECK(p->server->fault != NULL)) CHECK_INT(p->server->fault->kind, kind);
    CHECK_INT(p->server->alert_sent, alert);
    CHECK_INT(p->client->phase, TIO_BROKEN);
    CHECK_INT(p->client->alert_received, alert);
    if (CHECK(p->client->fault != NULL)) CHECK_INT(p->client->fault->kind, TIO_FAULT_ALERT);
    CHECK_INT(p->server->bytes_read, 0);
    pair_free(p);
}

static void refused_by_client(pair *p, int alert, tio_fault_kind kind) {
    pump(p);
    CHECK_INT(p->client->phase, TIO_BROKEN);
    if (CHECK(p->client->fault != NULL)) CHECK_INT(p->client->fault->kind, kind);
    CHECK_INT(p->client->alert_sent, alert);
    CHECK_INT(p->server->phase, TIO_BROKEN);
    CHECK_INT(p->server->alert_received, alert);
    pair_free(p);
}

/* ---- without and with client certificates */

static void plain_handshake(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), 0);
    both_open(&p);
}

static void mutual_handshake(int v) {
    pair p = make(client_context(v, &client_a), server_context(v, &server_a, WANT_CERT), 0);
    pump(&p);
    CHECK(p.client->certificate_requested);
    if (CHECK(p.server->verify != NULL)) CHECK_INT(p.server->verify->count, 0);
    both_open(&p);
}

static void handshakes_open(void) {
    each_version(plain_handshake);
    each_version(mutual_handshake);
}

static void no_certificate(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &server_a, WANT_CERT), 0);
    refused_by_server(&p, v == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE, TIO_FAULT_SSL);
}

static void expired_certificate(int v) {
    pair p = make(client_context(v, &client_expired), server_context(v, &server_a, WANT_CERT), 0);
    refused_by_server(&p, SSL_AD_CERTIFICATE_EXPIRED, TIO_FAULT_VERIFY);
}

static void strange_certificate(int v) {
    pair p = make(client_context(v, &client_strange), server_context(v, &server_a, WANT_CERT), 0);
    refused_by_server(&p, SSL_AD_UNKNOWN_CA, TIO_FAULT_VERIFY);
}

static void bad_client_certificates_are_refused_with_their_alert(void) {
    each_version(no_certificate);
    each_version(expired_certificate);
    each_version(strange_certificate);
}

static void soft(int v) {
    const identity *ids[] = { NULL, &client_expired, &client_strange, &client_a };
    for (int i = 0; i < 4; i++) {
        pair p = make(client_context(v, ids[i]), server_context(v, &server_a, WANT_CERT | SOFT), 0);
        pump(&p);
        if (ids[i] && CHECK(p.server->verify != NULL)) {
            CHECK_INT(p.server->verify->count > 0, i < 3);
            if (i == 1) CHECK_INT(p.server->verify->errors[0].error, X509_V_ERR_CERT_HAS_EXPIRED);
        }
        both_open(&p);
    }
}

static void soft_mode_records_and_goes_on(void) { each_version(soft); }

static void pins(int v) {
    tio_context *right = server_context(v, &server_a, WANT_CERT), *wrong = server_context(v, &server_a, WANT_CERT);
    tio_context *root = server_context(v, &server_a, WANT_CERT), *mild = server_context(v, &server_a, WANT_CERT | SOFT);
    tio_context *known = server_context(v, &server_a, WANT_CERT | SOFT);
    set_pin(right, &client_a);
    set_pin(wrong, &client_expired);
    set_pin(root, &authority);
    set_pin(mild, &client_expired);
    set_pin(known, &client_expired);
    pair p = make(client_context(v, &client_a), right, 0);
    both_open(&p);
    p = make(client_context(v, &client_a), root, 0);
    both_open(&p);
    p = make(client_context(v, &client_expired), known, 0);
    both_open(&p);
    p = make(client_context(v, &client_a), mild, 0);
    pump(&p);
    CHECK(p.server->verify && p.server->verify->pins_failed);
    refused_by_server(&p, SSL_AD_BAD_CERTIFICATE, TIO_FAULT_VERIFY);
    p = make(client_context(v, &client_a), wrong, 0);
    pump(&p);
    CHECK(p.server->verify && p.server->verify->pins_failed);
    refused_by_server(&p, SSL_AD_BAD_CERTIFICATE, TIO_FAULT_VERIFY);
}

static void pins_decide_about_clients(void) { each_version(pins); }

/* ---- who is this server? */

static void judged(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &stranger, 0), 0);
    p.judge = -1;
    pump(&p);
    CHECK_INT(p.client->question, TIO_ASK_VERIFY);
    if (CHECK(p.client->verify != NULL)) CHECK(p.client->verify->count > 0);
    tio_answer_verify(p.client, X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN);
    tio_conn_step(p.client);
    refused_by_client(&p, SSL_AD_UNKNOWN_CA, TIO_FAULT_VERIFY);
}

static void verify_late(int v) {
    pair p = make(client_context(v, &client_a), server_context(v, &server_a, WANT_CERT), 0);
    p.judge = -1;
    pump(&p);
    CHECK_INT(p.client->question, TIO_ASK_VERIFY);
    CHECK_INT(p.client->phase, TIO_HANDSHAKING);
    if (CHECK(p.client->verify && p.client->verify->chain)) CHECK_INT(sk_X509_num(p.client->verify->chain), 2);
    CHECK_INT(p.client->verify->count, 0);
    for (int i = 0; i < 3; i++) tio_conn_step(p.client);        /* pushing does not help */
    CHECK_INT(p.client->question, TIO_ASK_VERIFY);
    CHECK_INT(tio_conn_write(p.client, "x", 1), 0);
    tio_answer_client(p.client);                                /* answers to other questions are nothing */
    tio_answer_hello(p.client, NULL, NULL, 0);
    CHECK_INT(p.client->question, TIO_ASK_VERIFY);
    tio_answer_verify(p.client, X509_V_OK);
    tio_answer_verify(p.client, X509_V_ERR_CERT_REVOKED);       /* too late */
    tio_conn_step(p.client);
    both_open(&p);
}

static void verify_refused(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), 0);
    p.judge = -1;
    pump(&p);
    tio_refuse(p.client, SSL_AD_BAD_CERTIFICATE);
    tio_conn_step(p.client);
    refused_by_client(&p, SSL_AD_BAD_CERTIFICATE, TIO_FAULT_REFUSED);
}

static void verify_never(int v) {
    pair p = make(client_context(v, &client_a), server_context(v, &server_a, WANT_CERT), 0);
    p.judge = -1;
    pump(&p);
    CHECK_INT(p.server->phase, TIO_HANDSHAKING);
    CHECK(p.server->verify == NULL);                            /* our certificate has not left */
    pair_free(&p);
    p = make(client_context(v, NULL), server_context(v, &server_a, 0), 0);
    p.judge = -1;
    pump(&p);
    tio_conn_break(p.client, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    tio_answer_verify(p.client, X509_V_OK);                     /* the connection is gone */
    tio_refuse(p.client, SSL_AD_BAD_CERTIFICATE);
    tio_conn_step(p.client);
    CHECK_INT(p.client->phase, TIO_BROKEN);
    CHECK_INT(p.client->fault->kind, TIO_FAULT_TIMEOUT);
    pair_free(&p);
}

static void the_server_is_judged_before_anything_of_ours_leaves(void) {
    each_version(judged);
    each_version(verify_late);
    each_version(verify_refused);
    each_version(verify_never);
}

/* ---- which context? */

static tio_context *other_context(int v) { return server_context(v, &server_b, 0); }

static pair asked_hello(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), HELLO);
    tio_conn_set_server_name(p.client, "B.Test");
    p.held = 1;
    pump(&p);
    CHECK_INT(p.server->question, TIO_ASK_HELLO);
    if (CHECK(p.server->server_name != NULL)) CHECK(!strcmp(p.server->server_name, "b.test"));
    return p;
}

static int shown(const pair *p, const identity *id) {
    X509 *cert = SSL_get0_peer_certificate(p->client->ssl);
    return cert && !X509_cmp(cert, id->cert);
}

static void hello_switch(int v) {
    pair p = asked_hello(v);
    tio_context *other = other_context(v);
    for (int i = 0; i < 3; i++) tio_conn_step(p.server);
    CHECK_INT(p.server->question, TIO_ASK_HELLO);
    tio_answer_hello(p.server, other, NULL, 0);
    tio_context_release(other);
    tio_conn_step(p.server);
    pump(&p);
    CHECK(shown(&p, &server_b));
    both_open(&p);
}

static void hello_without_a_name(int v) {
    for (int nameless = 0; nameless < 2; nameless++) {
        pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), HELLO | (nameless ? TIO_WANT_NAMELESS : 0));
        tio_context *other = other_context(v);
        p.held = 1;
        pump(&p);
        CHECK_INT(p.server->question, nameless ? TIO_ASK_HELLO : TIO_NO_QUESTION);
        CHECK(p.server->server_name == NULL);
        tio_answer_hello(p.server, other, NULL, 0);
        tio_context_release(other);
        tio_conn_step(p.server);
        pump(&p);
        CHECK(shown(&p, nameless ? &server_b : &server_a));
        both_open(&p);
    }
}

static void hello_stay(int v) {
    pair p = asked_hello(v);
    tio_answer_hello(p.server, NULL, NULL, 0);
    tio_conn_step(p.server);
    pump(&p);
    CHECK(shown(&p, &server_a));
    both_open(&p);
}

/* Its own settings stay: the other context would not even speak this version. */
static void hello_identity(int v) {
    tio_context *other = other_context(v == TLS1_3_VERSION ? TLS1_2_VERSION : TLS1_3_VERSION);
    for (int switched = 0; switched < 2; switched++) {
        pair p = asked_hello(v);
        tio_context *named = switched ? server_context(v, &server_a, 0) : NULL;
        CHECK_INT(tio_conn_set_identity(p.server, other), 0);
        tio_answer_hello(p.server, named, NULL, 0);
        tio_context_release(named);
        tio_conn_step(p.server);
        pump(&p);
        CHECK(shown(&p, &server_b));
        both_open(&p);
    }
    pair early = make(client_context(v, NULL), server_context(v, &server_a, 0), 0);
    CHECK_INT(tio_conn_set_identity(early.server, other), 0);
    pump(&early);
    CHECK(shown(&early, &server_b));
    both_open(&early);
    tio_context_release(other);
}

static void hello_no_identity(int v) {
    pair p = asked_hello(v);
    tio_context *none = client_context(v, NULL);
    CHECK_INT(tio_conn_set_identity(p.server, none), -1);
    tio_context_release(none);
    tio_answer_hello(p.server, NULL, NULL, 0);
    tio_conn_step(p.server);
    pump(&p);
    CHECK(shown(&p, &server_a));                        /* nothing was changed */
    both_open(&p);
}

static void hello_refuse(int v) {
    pair p = asked_hello(v);
    tio_refuse(p.server, SSL_AD_UNRECOGNIZED_NAME);
    tio_conn_step(p.server);
    refused_by_server(&p, SSL_AD_UNRECOGNIZED_NAME, TIO_FAULT_REFUSED);
}

static void hello_never(int v) {
    pair p = asked_hello(v);
    tio_context *other = other_context(v);
    pair_free(&p);                                              /* while it is asked */
    p = asked_hello(v);
    tio_conn_break(p.server, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    tio_answer_hello(p.server, other, NULL, 0);                 /* the connection is gone */
    CHECK(p.server->context != other);
    tio_refuse(p.server, SSL_AD_UNRECOGNIZED_NAME);
    tio_conn_step(p.server);
    CHECK_INT(p.server->phase, TIO_BROKEN);
    tio_context_release(other);
    pair_free(&p);
}

/* The other name wants a certificate, this one does not: what a switch must carry over. */
static void hello_switch_trust(int v) {
    pair p = asked_hello(v);
    tio_context *other = server_context(v, &server_b, WANT_CERT);
    tio_answer_hello(p.server, other, NULL, 0);
    tio_context_release(other);
    tio_conn_step(p.server);
    refused_by_server(&p, v == TLS1_3_VERSION ? SSL_AD_CERTIFICATE_REQUIRED : SSL_AD_HANDSHAKE_FAILURE, TIO_FAULT_SSL);
}

static void hello_switch_version(int v) {
    tio_context *client = client_context(v, NULL);
    SSL_CTX_set_max_proto_version(client->ssl, TLS1_3_VERSION);
    SSL_CTX_set_min_proto_version(client->ssl, TLS1_2_VERSION);
    pair p = make(client, server_context(v, &server_a, 0), HELLO);
    tio_conn_set_server_name(p.client, "b.test");
    p.held = 1;
    pump(&p);
    int other_version = v == TLS1_2_VERSION ? TLS1_3_VERSION : TLS1_2_VERSION;
    tio_context *other = other_context(other_version);
    tio_answer_hello(p.server, other, NULL, 0);
    tio_context_release(other);
    tio_conn_step(p.server);
    pump(&p);
    CHECK_INT(SSL_version(p.client->ssl), other_version);
    both_open(&p);
}

static void no_name_no_question(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), HELLO);
    p.held = 1;
    both_open(&p);
}

static void server_name_chooses_the_context(void) {
    each_version(hello_switch);
    each_version(hello_without_a_name);
    each_version(hello_stay);
    each_version(hello_identity);
    each_version(hello_no_identity);
    each_version(hello_refuse);
    each_version(hello_never);
    each_version(hello_switch_trust);
    each_version(hello_switch_version);
    each_version(no_name_no_question);
}

/* OpenSSL asks for a second hello (other group): one question all the same. */
static void retry(int v) {
    tio_context *client = client_context(v, NULL), *server = server_context(v, &server_a, 0);
    SSL_CTX_set1_groups_list(client->ssl, "X25519:P-256");
    SSL_CTX_set1_groups_list(server->ssl, "P-256");
    pair p = make(client, server, HELLO);
    tio_conn_set_server_name(p.client, "b.test");
    p.held = 1;
    pump(&p);
    tio_answer_hello(p.server, NULL, NULL, 0);
    tio_conn_step(p.server);
    both_open(&p);
}

static void second_hello_is_not_asked_again(void) { each_version(retry); }

/* ---- ALPN */

static void alpn_by_row(int v) {
    tio_context *client = client_context(v, NULL), *server = server_context(v, &server_a, 0);
    set_alpn(client, "\x02h2\x08http/1.1");
    set_alpn(server, "\x03" "abc\x08http/1.1");
    pair p = make(client, server, 0);
    pump(&p);
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(p.client->ssl, &name, &size);
    CHECK(size == 8 && !memcmp(name, "http/1.1", 8));
    both_open(&p);
}

static void alpn_nothing_common(int v) {
    for (int go_on = 0; go_on < 2; go_on++) {
        tio_context *client = client_context(v, NULL), *server = server_context(v, &server_a, 0);
        set_alpn(client, "\x02h2");
        set_alpn(server, "\x03" "abc");
        pair p = make(client, server, 0);
        p.server->policy.alpn_continue = (uint8_t)go_on;
        if (go_on) both_open(&p);
        else refused_by_server(&p, SSL_AD_NO_APPLICATION_PROTOCOL, TIO_FAULT_SSL);
    }
}

static void alpn_asked(int v) {
    tio_context *client = client_context(v, NULL);
    set_alpn(client, "\x02h2\x08http/1.1");
    pair p = make(client, server_context(v, &server_a, 0), ALPN);
    p.held = 1;
    pump(&p);
    CHECK_INT(p.server->question, TIO_ASK_HELLO);
    CHECK(p.server->offered_size == 12 && !memcmp(p.server->offered, "\x02h2\x08http/1.1", 12));
    tio_answer_hello(p.server, NULL, (const uint8_t *)"http/1.1", 8);
    tio_conn_step(p.server);
    pump(&p);
    const unsigned char *name;
    unsigned size;
    SSL_get0_alpn_selected(p.client->ssl, &name, &size);
    CHECK(size == 8 && !memcmp(name, "http/1.1", 8));
    CHECK(p.server->offered == NULL);
    both_open(&p);
}

static void alpn_chooses(void) {
    each_version(alpn_by_row);
    each_version(alpn_nothing_common);
    each_version(alpn_asked);
}

static const char *npn_of(const tio_conn *c) {
    static char text[16];
    const uint8_t *name;
    size_t size = tio_conn_npn(c, &name);
    snprintf(text, sizeof text, "%.*s", (int)size, (const char *)name);
    return text;
}

static void npn(int v) {
    static const struct { const char *server, *client, *agreed; } cases[] = {
        { "\x01" "a\x01" "b", "\x01" "b\x01" "a", "a" }, { "\x01" "a", "\x01" "x", "" }, { "", "\x01" "x", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tio_context *client = client_context(v, NULL), *server = server_context(v, &server_a, 0);
        set_npn(client, cases[i].client);
        set_npn(server, cases[i].server);
        pair p = make(client, server, 0);
        CHECK(!*npn_of(p.client) && !*npn_of(p.server));
        pump(&p);
        const char *agreed = v == TLS1_2_VERSION ? cases[i].agreed : "";
        CHECK(!strcmp(npn_of(p.client), agreed));
        CHECK(!strcmp(npn_of(p.server), agreed));
        both_open(&p);
    }
}

static void npn_chooses(void) { each_version(npn); }

/* A ClientHello with an ALPN extension of our own bytes: the list is shown to the binding only when it is well-formed. */
static void give_hello_with_alpn(const char *extension, size_t size, pair *p) {
    uint8_t hello[512], *at = hello;
    static const uint8_t head[] = { 22, 3, 1, 0, 0, 1, 0, 0, 0, 3, 3 };
    memcpy(at, head, sizeof head), at += sizeof head;
    memset(at, 7, 32), at += 32;
    memcpy(at, "\x00\x00\x02\xc0\x2b\x01\x00", 7), at += 7;    /* no session, ECDHE-ECDSA-AES128-GCM, no compression */
    size_t extensions = size + 4 + 8 + 10;
    *at++ = (uint8_t)(extensions >> 8), *at++ = (uint8_t)extensions;
    memcpy(at, "\x00\x0a\x00\x04\x00\x02\x00\x17", 8), at += 8;
    memcpy(at, "\x00\x0d\x00\x06\x00\x04\x04\x03\x08\x04", 10), at += 10;
    *at++ = 0, *at++ = 16, *at++ = (uint8_t)(size >> 8), *at++ = (uint8_t)size;
    memcpy(at, extension, size), at += size;
    size_t all = (size_t)(at - hello);
    hello[3] = (uint8_t)((all - 5) >> 8), hello[4] = (uint8_t)(all - 5);
    hello[7] = (uint8_t)((all - 9) >> 8), hello[8] = (uint8_t)(all - 9);
    give(p->server, hello, all);
}

static void malformed_protocol_lists_are_not_shown(void) {
    static const struct { const char *bytes; size_t size; int asked; } cases[] = {
        { "\x00\x03\x02h2", 5, 1 },
        { "\x00\x03\x09h2", 5, 0 },                             /* the entry is longer than the list */
        { "\x00\x09\x02h2", 5, 0 },                             /* the list is longer than the extension */
        { "\x00\x04\x02h2\xff", 6, 0 },                         /* the second entry is not there */
        { "\x00\x04\x02h2\x00", 6, 0 },                         /* RFC 7301: "Empty strings MUST NOT be included" */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(note, sizeof note, "case %zu", i);
        pair p = make(client_context(TLS1_2_VERSION, NULL), server_context(TLS1_2_VERSION, &server_a, 0), ALPN);
        give_hello_with_alpn(cases[i].bytes, cases[i].size, &p);
        CHECK_INT(p.server->question, cases[i].asked ? TIO_ASK_HELLO : TIO_NO_QUESTION);
        CHECK_INT(p.server->phase, cases[i].asked ? TIO_HANDSHAKING : TIO_BROKEN);
        if (!cases[i].asked) CHECK_INT(p.server->alert_sent, SSL_AD_DECODE_ERROR);
        pair_free(&p);
    }
}

/* ---- is this client acceptable? */

static pair asked_client(int v) {
    pair p = make(client_context(v, &client_a), server_context(v, &server_a, WANT_CERT), CLIENT);
    p.held = 1;
    pump(&p);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    CHECK_INT(p.server->phase, TIO_HANDSHAKING);
    return p;
}

static void client_accepted(int v) {
    pair p = asked_client(v);
    for (int i = 0; i < 3; i++) tio_conn_step(p.server);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    CHECK_INT(tio_conn_write(p.server, "x", 1), 0);
    if (v == TLS1_2_VERSION) CHECK_INT(p.client->phase, TIO_HANDSHAKING);       /* our Finished has not left */
    tio_answer_client(p.server);
    tio_conn_step(p.server);
    both_open(&p);
}

static void client_refused(int v) {
    static const int alerts[] = { SSL_AD_ACCESS_DENIED, SSL_AD_BAD_CERTIFICATE, SSL_AD_INTERNAL_ERROR };
    for (size_t i = 0; i < sizeof alerts / sizeof *alerts; i++) {
        pair p = asked_client(v);
        tio_refuse(p.server, alerts[i]);
        tio_conn_step(p.server);
        refused_by_server(&p, alerts[i], TIO_FAULT_REFUSED);
    }
}

static void client_refused_with_data_waiting(int v) {
    if (v == TLS1_2_VERSION) return;
    pair p = asked_client(v);
    CHECK_INT(p.client->phase, TIO_OPEN);
    CHECK_INT(tio_conn_write(p.client, "early", 5), 5);
    pump(&p);
    CHECK_INT(p.server_got, 0);
    tio_refuse(p.server, SSL_AD_ACCESS_DENIED);
    tio_conn_step(p.server);
    refused_by_server(&p, SSL_AD_ACCESS_DENIED, TIO_FAULT_REFUSED);
}

static void client_gave_up(int v) {
    pair p = asked_client(v);
    pair_free(&p);
    p = asked_client(v);
    tio_conn_break(p.server, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    tio_answer_client(p.server);
    tio_refuse(p.server, SSL_AD_ACCESS_DENIED);
    tio_conn_step(p.server);
    CHECK_INT(p.server->phase, TIO_BROKEN);
    pump(&p);
    if (v == TLS1_2_VERSION) CHECK_INT(p.client->phase, TIO_HANDSHAKING);       /* what was held back stays back */
    pair_free(&p);
}

static void the_client_is_judged_before_anything_is_released(void) {
    each_version(client_accepted);
    each_version(client_refused);
    each_version(client_refused_with_data_waiting);
    each_version(client_gave_up);
}

static void refusal_has_the_record_version_of_old_peers(void) {
    for (int v = TLS1_VERSION; v <= TLS1_1_VERSION; v++) {
        snprintf(note, sizeof note, "version %#x", (unsigned)v);
        client_refused(v);
    }
}

/* A server may warn before it chooses a version: that is no refusal. */
static void early_warning_is_not_an_alert_received(void) {
    pair p = make(client_context(TLS1_2_VERSION, NULL), server_context(TLS1_2_VERSION, &server_a, 0), 0);
    SSL_CTX_set_max_proto_version(p.client->context->ssl, TLS1_3_VERSION);
    tio_conn_step(p.client);
    static const uint8_t warning[] = { 21, 3, 3, 0, 2, SSL3_AL_WARNING, SSL_AD_UNRECOGNIZED_NAME };
    give(p.client, warning, sizeof warning);
    CHECK_INT(p.client->alert_received, -1);
    both_open(&p);
}

/* ---- faults */

static void goodbye_in_the_handshake(void) {
    static const uint8_t goodbye[] = { 21, 3, 3, 0, 2, SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY };
    for (int i = 0; i < 2; i++) {
        pair p = make(client_context(versions[i], NULL), server_context(versions[i], &server_a, 0), 0);
        tio_conn_step(p.client);
        give(p.client, goodbye, sizeof goodbye);
        CHECK_INT(p.client->phase, TIO_BROKEN);
        if (CHECK(p.client->fault != NULL)) CHECK_INT(p.client->fault->kind, TIO_FAULT_HANGUP);
        pair_free(&p);
    }
}

static void garbage(void) {
    static const char *const texts[] = { "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n", "\x16\x03\x01\xff\xff\x01hello" };
    for (size_t i = 0; i < 3; i++) {
        snprintf(note, sizeof note, "text %zu", i);
        pair p = make(client_context(TLS1_3_VERSION, NULL), server_context(TLS1_3_VERSION, &server_a, 0), 0);
        tio_conn_step(p.server);
        give(p.server, texts[i], strlen(texts[i]));
        CHECK_INT(p.server->phase, TIO_BROKEN);
        if (CHECK(p.server->fault && p.server->fault->count > 0)) {
            const tio_fault_entry *e = &p.server->fault->entries[0];
            ERR_clear_error();
            for (int j = 0; j < 40; j++) ERR_raise(ERR_LIB_SSL, SSL_R_BAD_DATA);        /* the queue is used again and again */
            CHECK(e->code && strlen(e->function) < sizeof e->function);
            CHECK_INT(p.server->fault->kind, TIO_FAULT_SSL);
        }
        CHECK(!memcmp(p.server->first, texts[i], p.server->first_size));
        pair_free(&p);
    }
}

static void foreign_bytes_break_and_explain(void) { garbage(); }

/* Invariant 6: what somebody else left in the queue is not ours. */
static void invariant_6_old_errors_are_not_reported(void) {
    tio_context *client = client_context(TLS1_3_VERSION, NULL);
    tio_conn *c = tio_conn_new(client, TIO_CLIENT);
    char name[400];
    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = 0;
    tio_conn_set_server_name(c, name);
    ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
    tio_conn_step(c);
    CHECK_INT(c->phase, TIO_BROKEN);
    for (int i = 0; c->fault && i < c->fault->count; i++) CHECK(ERR_GET_LIB(c->fault->entries[i].code) != ERR_LIB_PEM);
    tio_conn_free(c);
    tio_context_release(client);
    pair p = open_pair(TLS1_3_VERSION);
    ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
    echo(&p);
    ERR_raise(ERR_LIB_PEM, PEM_R_NO_START_LINE);
    give(p.server, "\x17\x03\x03\x00\x20 this is not what we agreed on..", 37);
    CHECK_INT(p.server->phase, TIO_BROKEN);
    for (int i = 0; i < p.server->fault->count; i++) CHECK(ERR_GET_LIB(p.server->fault->entries[i].code) != ERR_LIB_PEM);
    CHECK_INT(ERR_peek_error(), 0);
    pair_free(&p);
}

/* Renegotiation of TLS 1.2 asked for by the server: whoever answers then has to be the one who was judged. */
static void renegotiate_as(const identity *id, int well) {
    SSL_CTX *ctx = plain_context(TLS1_2_VERSION, &server_a);
    tio_context *client = client_context(TLS1_2_VERSION, NULL);
    tio_conn *c = tio_conn_new(client, TIO_CLIENT);
    plain s = plain_new(ctx, 1, NULL);
    plain_pump(&s, c);
    CHECK_INT(c->phase, TIO_OPEN);
    uint64_t before = c->wire.bytes_in;
    SSL_set_options(s.ssl, SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION);
    SSL_use_certificate(s.ssl, id->cert);
    SSL_use_PrivateKey(s.ssl, id->key);
    SSL_renegotiate(s.ssl);
    plain_pump(&s, c);
    CHECK(c->wire.bytes_in > before + 500);             /* the certificate was sent again */
    CHECK_INT(c->phase, well ? TIO_OPEN : TIO_BROKEN);
    if (!well && CHECK(c->fault != NULL)) CHECK_INT(c->fault->kind, TIO_FAULT_VERIFY);
    plain_free(&s);
    tio_conn_free(c);
    tio_context_release(client);
    SSL_CTX_free(ctx);
}

static void renegotiation_cannot_bring_another_server(void) {
    renegotiate_as(&server_a, 1);
    renegotiate_as(&stranger, 0);
}

/* ---- records and facts */

static void records(int v) {
    const uint8_t *data, *again;
    pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), TIO_WANT_KEYS | TIO_WANT_OFFER | TIO_WANT_TRACE);
    tio_conn_record(p.client, TIO_WANT_KEYS);
    pump(&p);
    size_t size = tio_conn_keys(p.server, &data);
    CHECK(p.server->has_news && p.client->has_news);
    CHECK(size > 100 && data[size - 1] == '\n');
    CHECK_INT(tio_conn_keys(p.client, &again), size);
    tio_conn_clear_keys(p.server);
    CHECK_INT(tio_conn_keys(p.server, &data), 0);
    CHECK_INT(p.server->has_news, TIO_TRACES);
    CHECK_INT(tio_conn_trace(p.server, &data) > 0, TIO_TRACES);
    tio_conn_clear_trace(p.server);
    CHECK(!p.server->has_news);
    if (CHECK(p.server->records->offer != NULL)) CHECK_INT(p.server->records->offer[0], SSL3_MT_CLIENT_HELLO);
    both_open(&p);                                      /* the client's secrets are wiped with it */
}

static void nothing_is_recorded_unasked(int v) {
    const uint8_t *data;
    tio_context *client = client_context(v, NULL), *server = server_context(v, &server_a, 0);
    pair logged = pair_new(client, server, TIO_WANT_KEYS);
    both_open(&logged);
    pair p = make(client, server, 0);                   /* of the same contexts */
    pump(&p);
    CHECK(!p.server->records && !p.client->records);
    CHECK_INT(tio_conn_keys(p.server, &data) + tio_conn_trace(p.server, &data), 0);
    both_open(&p);
}

static void records_are_kept_for_who_asked(void) {
    each_version(records);
    each_version(nothing_is_recorded_unasked);
}

static void key_facts(int v) {
    pair p = make(client_context(v, NULL), server_context(v, &server_a, 0), 0);
    CHECK_INT(tio_conn_key_info(p.server).kind, TIO_KEY_NONE);
    CHECK_INT(tio_conn_set_max_fragment(p.client, 511), -1);
    CHECK_INT(tio_conn_set_max_fragment(p.client, 512), 0);
    pump(&p);
    tio_key_info ours = tio_conn_key_info(p.server), theirs = tio_conn_key_info(p.client);
    CHECK_INT(ours.kind, theirs.kind);
    CHECK(ours.kind == TIO_KEY_ECDH || ours.kind == TIO_KEY_GROUP);
    if (CHECK(ours.name && theirs.name)) CHECK(!strcmp(ours.name, theirs.name));
    both_open(&p);
}

static void both_ends_know_the_ephemeral_key(void) { each_version(key_facts); }

void handshake_tests(void) {
    RUN(handshakes_open);
    RUN(bad_client_certificates_are_refused_with_their_alert);
    RUN(soft_mode_records_and_goes_on);
    RUN(pins_decide_about_clients);
    RUN(the_server_is_judged_before_anything_of_ours_leaves);
    RUN(server_name_chooses_the_context);
    RUN(second_hello_is_not_asked_again);
    RUN(alpn_chooses);
    RUN(npn_chooses);
    RUN(malformed_protocol_lists_are_not_shown);
    RUN(the_client_is_judged_before_anything_is_released);
    RUN(refusal_has_the_record_version_of_old_peers);
    RUN(early_warning_is_not_an_alert_received);
    RUN(goodbye_in_the_handshake);
    RUN(foreign_bytes_break_and_explain);
    RUN(invariant_6_old_errors_are_not_reported);
    RUN(renegotiation_cannot_bring_another_server);
    RUN(records_are_kept_for_who_asked);
    RUN(both_ends_know_the_ephemeral_key);
}
