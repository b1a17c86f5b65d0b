/* status_test.c - OCSP responses: asked for, given, looked at; late, never, refused, of the right certificate. */
#include "harness.h"

#include <openssl/x509_vfy.h>

enum { STATUS = TIO_WANT_STATUS };

/* `client_wants` and `server_wants`: who has anything to do with it. */
static pair make(int v, const identity *id, unsigned client_wants, unsigned server_wants) {
    tio_context *client = client_context(v, NULL), *server = server_context(v, id, 0);
    pair p = pair_new(client, server, server_wants);
    p.client->policy.wants = (uint16_t)client_wants;
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

static void give_response(pair *p, const char *response) {
    if (!CHECK_INT(p->server->question, TIO_ASK_STATUS)) return;
    if (response) CHECK_INT(give_answer(p->server, 0, response), 0);
    tio_answer_status(p->server);
    tio_conn_step(p->server);
    pump(p);
}

static int stapled(const tio_conn *c, const char *wanted) {
    uint8_t whole[ENCLOSED];
    const uint8_t *data;
    size_t size = tio_status_get(c, &data);
    return size == enclose(wanted, whole) && !memcmp(data, whole, size);
}

static void accept_response(pair *p) {
    CHECK_INT(p->client->question, TIO_ASK_STATUS);
    CHECK_INT(p->client->phase, TIO_HANDSHAKING);
    CHECK_INT(p->server->phase, TIO_HANDSHAKING);               /* our Finished has not left */
    tio_answer_status(p->client);
    tio_conn_step(p->client);
    pump(p);
}

static void is_open(pair *p) {
    const uint8_t *data;
    CHECK_INT(p->client->phase, TIO_OPEN);
    CHECK_INT(p->server->phase, TIO_OPEN);
    CHECK_INT(tio_status_get(p->client, &data), 0);             /* nothing is kept for an idle connection */
    CHECK(!p->server->status);
    CHECK_INT(tio_conn_write(p->client, "question", 8), 8);
    CHECK_INT(tio_conn_write(p->server, "answer", 6), 6);
    pump(p);
    CHECK_INT(p->server_got, 8);
    CHECK_INT(p->client_got, 6);
    pair_free(p);
}

/* ---- given and looked at */

static void given(int v) {
    pair p = make(v, &server_a, STATUS, STATUS);
    pump(&p);
    CHECK_INT(p.server->status->count, 1);
    CHECK(!X509_cmp(p.server->status->of[0].cert, server_a.cert));
    CHECK(p.server->status->of[0].issuer && !X509_cmp(p.server->status->of[0].issuer, authority.cert));
    for (int i = 0; i < 3; i++) tio_conn_step(p.server);        /* pushing does not help */
    tio_answer_client(p.server);                                /* answers to other questions are nothing */
    tio_answer_hello(p.server, NULL, NULL, 0);
    CHECK_INT(tio_status_set(p.server, 1, (const uint8_t *)"x", 1), -1);
    CHECK_INT(tio_status_set(p.server, -1, (const uint8_t *)"x", 1), -1);
    CHECK_INT(tio_status_set(p.server, 0, (const uint8_t *)"another", 7), 0);
    give_response(&p, "response");
    CHECK_INT(tio_status_set(p.server, 0, (const uint8_t *)"late", 4), -1);
    tio_answer_status(p.server);
    CHECK(stapled(p.client, "response"));
    accept_response(&p);
    is_open(&p);
}

static void response_reaches_the_client(void) { each_version(given); }

static void none(int v) {
    pair p = make(v, &server_a, STATUS, STATUS);
    const uint8_t *data;
    pump(&p);
    give_response(&p, NULL);
    CHECK_INT(tio_status_get(p.client, &data), 0);
    accept_response(&p);
    is_open(&p);

    p = make(v, &server_a, STATUS, 0);                          /* the server knows nothing of it; the client asks all the same */
    pump(&p);
    CHECK_INT(tio_status_get(p.client, &data), 0);
    accept_response(&p);
    is_open(&p);
}

static void no_response_is_told_too(void) { each_version(none); }

static void unasked(int v) {
    pair p = make(v, &server_a, 0, STATUS);
    pump(&p);
    is_open(&p);
}

static void nobody_is_asked_when_the_client_wants_none(void) { each_version(unasked); }

static void self_signed(int v) {
    pair p = make(v, &stranger, STATUS, STATUS);
    pump(&p);
    if (CHECK_INT(p.server->question, TIO_ASK_STATUS)) CHECK(!p.server->status->of[0].issuer);
    pair_free(&p);
}

static void issuer_of_a_self_signed_certificate_is_unknown(void) { each_version(self_signed); }

/* ---- several certificates: the response of the one that is shown */

static void chosen(int v, const char *sigalgs, const char *ciphers, const identity *shown) {
    pair p = make(v, &server_a, STATUS, STATUS);
    SSL_CTX *server = p.server->context->ssl, *client = p.client->context->ssl;
    SSL_CTX_use_certificate(server, server_b.cert);
    SSL_CTX_use_PrivateKey(server, server_b.key);
    if (sigalgs) SSL_CTX_set1_sigalgs_list(client, sigalgs);
    if (ciphers) SSL_CTX_set_cipher_list(client, ciphers);
    pump(&p);
    if (!CHECK_INT(p.server->question, TIO_ASK_STATUS)) return;
    CHECK_INT(p.server->status->count, 2);
    for (int i = 0; i < p.server->status->count; i++) {
        const char *name = X509_cmp(p.server->status->of[i].cert, server_a.cert) ? "for b" : "for a";
        CHECK_INT(give_answer(p.server, i, name), 0);
    }
    give_response(&p, NULL);
    CHECK(!X509_cmp(p.client->verify->leaf, shown->cert));
    CHECK(stapled(p.client, shown == &server_a ? "for a" : "for b"));
    accept_response(&p);
    is_open(&p);
}

static void response_belongs_to_the_certificate_that_is_shown(void) {
    strcpy(note, "TLS 1.3, any");
    chosen(TLS1_3_VERSION, NULL, NULL, &server_a);
    strcpy(note, "TLS 1.3, RSA preferred");
    chosen(TLS1_3_VERSION, "rsa_pss_rsae_sha256:ecdsa_secp256r1_sha256", NULL, &server_b);
    strcpy(note, "TLS 1.3, RSA alone");
    chosen(TLS1_3_VERSION, "rsa_pss_rsae_sha256", NULL, &server_b);
    strcpy(note, "TLS 1.2, RSA by cipher");
    chosen(TLS1_2_VERSION, NULL, "ECDHE-RSA-AES128-GCM-SHA256", &server_b);
    strcpy(note, "TLS 1.2, any");
    chosen(TLS1_2_VERSION, NULL, NULL, &server_a);
    strcpy(note, "TLS 1.2, RSA alone, under an issuer with another kind of key");
    chosen(TLS1_2_VERSION, "RSA-PSS+SHA256", NULL, &server_b);
}

static void retried_hello_is_not_asked_about_twice(void) {
    pair p = make(TLS1_3_VERSION, &server_a, STATUS, STATUS);
    SSL_CTX_set1_groups_list(p.server->context->ssl, "P-521");
    pump(&p);
    give_response(&p, "response");
    CHECK(stapled(p.client, "response"));
    accept_response(&p);
    is_open(&p);
}

/* ---- after a switch of contexts */

static void switched(int v) {
    pair p = make(v, &server_a, STATUS, STATUS | TIO_WANT_HELLO);
    tio_conn_set_server_name(p.client, "b.test");
    p.other = server_context(v, &server_b, 0);
    pump(&p);
    CHECK_INT(p.hello_questions, 1);
    if (CHECK_INT(p.server->question, TIO_ASK_STATUS)) CHECK(!X509_cmp(p.server->status->of[0].cert, server_b.cert));
    give_response(&p, "of b");
    CHECK(stapled(p.client, "of b"));
    accept_response(&p);
    is_open(&p);
    tio_context_release(p.other);
}

static void context_by_name_is_asked_about_its_own(void) { each_version(switched); }

/* ---- refusals */

static void refused(pair *p, tio_conn *by, tio_conn *peer, int alert) {
    pump(p);
    CHECK_INT(by->phase, TIO_BROKEN);
    if (CHECK(by->fault != NULL)) CHECK_INT(by->fault->kind, TIO_FAULT_REFUSED);
    CHECK_INT(by->alert_sent, alert);
    CHECK_INT(peer->phase, TIO_BROKEN);
    CHECK_INT(peer->alert_received, alert);
    if (CHECK(peer->fault != NULL)) CHECK_INT(peer->fault->kind, TIO_FAULT_ALERT);
    pair_free(p);
}

static void client_refuses(int v) {
    const int alerts[] = { SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE, SSL_AD_CERTIFICATE_REVOKED };
    for (int i = 0; i < 2; i++) {
        pair p = make(v, &server_a, STATUS, STATUS);
        pump(&p);
        give_response(&p, "response");
        tio_refuse(p.client, alerts[i]);
        tio_answer_status(p.client);                            /* too late */
        tio_conn_step(p.client);
        refused(&p, p.client, p.server, alerts[i]);
    }
}

static void client_refuses_with_its_alert(void) { each_version(client_refuses); }

static void server_refuses(int v) {
    pair p = make(v, &server_a, STATUS, STATUS);
    pump(&p);
    tio_refuse(p.server, SSL_AD_INTERNAL_ERROR);
    tio_conn_step(p.server);
    refused(&p, p.server, p.client, SSL_AD_INTERNAL_ERROR);
}

static void server_refuses_with_its_alert(void) { each_version(server_refuses); }

static void bad_certificate(int v) {
    pair p = make(v, &stranger, STATUS, STATUS);
    p.judge = X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN;
    pump(&p);
    give_response(&p, "response");
    CHECK_INT(p.client->phase, TIO_BROKEN);
    CHECK_INT(p.client->alert_sent, SSL_AD_UNKNOWN_CA);
    pair_free(&p);
}

static void response_of_a_refused_certificate_is_not_asked_about(void) { each_version(bad_certificate); }

/* ---- never */

static void never(int v) {
    pair p = make(v, &server_a, STATUS, STATUS);
    pump(&p);
    CHECK_INT(tio_status_set(p.server, 0, (const uint8_t *)"given up", 8), 0);
    tio_conn_break(p.server, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    CHECK_INT(tio_status_set(p.server, 0, (const uint8_t *)"late", 4), -1);
    tio_answer_status(p.server);
    tio_refuse(p.server, SSL_AD_INTERNAL_ERROR);
    tio_conn_step(p.server);
    CHECK_INT(p.server->fault->kind, TIO_FAULT_TIMEOUT);
    pair_free(&p);

    p = make(v, &server_a, STATUS, STATUS);
    pump(&p);
    give_response(&p, "response");
    CHECK_INT(p.client->question, TIO_ASK_STATUS);
    tio_conn_break(p.client, TIO_FAULT_HANGUP, TIO_NO_LIMIT, 0);
    tio_answer_status(p.client);
    tio_refuse(p.client, SSL_AD_BAD_CERTIFICATE_STATUS_RESPONSE);
    tio_conn_step(p.client);
    CHECK_INT(p.client->fault->kind, TIO_FAULT_HANGUP);
    CHECK_INT(p.server->phase, TIO_HANDSHAKING);
    pair_free(&p);
}

static void answers_for_a_connection_that_is_gone_are_nothing(void) { each_version(never); }

static void renegotiation_asks_nobody_again(void) {
    pair p = make(TLS1_2_VERSION, &server_a, STATUS, STATUS);
    unsigned long code;
    p.response = "response";
    pump(&p);
    CHECK_INT(p.stapled, 1);
    CHECK_INT(p.looked_at, 1);
    p.response = NULL;
    CHECK_INT(tio_conn_rehandshake(p.server, -1, 0, &code), 0);
    pump(&p);
    CHECK(p.server->rehandshake_done);
    is_open(&p);
}

void status_tests(void) {
    RUN(response_reaches_the_client);
    RUN(no_response_is_told_too);
    RUN(nobody_is_asked_when_the_client_wants_none);
    RUN(issuer_of_a_self_signed_certificate_is_unknown);
    RUN(response_belongs_to_the_certificate_that_is_shown);
    RUN(retried_hello_is_not_asked_about_twice);
    RUN(context_by_name_is_asked_about_its_own);
    RUN(client_refuses_with_its_alert);
    RUN(server_refuses_with_its_alert);
    RUN(response_of_a_refused_certificate_is_not_asked_about);
    RUN(renegotiation_asks_nobody_again);
    RUN(answers_for_a_connection_that_is_gone_are_nothing);
}
