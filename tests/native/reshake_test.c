/* reshake_test.c - another handshake on an open connection: renegotiation of TLS 1.2, client certificates asked for later in
 * both versions.  Step by step, refused, broken in the middle, and with a question that is answered late or never. */
#include "harness.h"

#include <openssl/x509_vfy.h>

enum { PEER = SSL_VERIFY_PEER, MUST = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT };

/* An open connection whose client was not asked for its certificate yet. */
static pair open_as(int version, const identity *who, unsigned wants) {
    tio_context *client = client_context(version, who), *server = server_context(version, &server_a, 0);
    pair p = pair_new(client, server, wants);
    tio_context_release(client);
    tio_context_release(server);
    p.server->policy.renegotiation = (tio_renegotiation){ 2, INT64_C(3600000000000) };
    pump(&p);
    CHECK_INT(p.client->phase, TIO_OPEN);
    CHECK_INT(p.server->phase, TIO_OPEN);
    return p;
}

static void each_version(void (*test)(int version)) {
    for (int i = 0; i < 2; i++) {
        snprintf(note, sizeof note, "TLS 1.%d", i + 2);
        test(versions[i]);
    }
}

static int reshake(tio_conn *c, int mode, int soft) {
    unsigned long code = 0;
    int r = tio_conn_rehandshake(c, mode, soft, &code);
    CHECK_INT(ERR_peek_error(), 0);
    return r ? (code ? ERR_GET_REASON(code) : -1) : 0;
}

static void broken_by(const tio_conn *c, tio_fault_kind kind) {
    CHECK_INT(c->phase, TIO_BROKEN);
    if (CHECK(c->fault != NULL)) CHECK_INT(c->fault->kind, kind);
}

static int knows(const pair *p, const identity *who) {
    X509 *cert = SSL_get0_peer_certificate(p->server->ssl);
    return cert && !X509_cmp(cert, who->cert);
}

/* ---- step by step */

static void asked_later(int v) {
    pair p = open_as(v, &client_a, 0);
    CHECK(!knows(&p, &client_a) && !p.server->verify);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    CHECK(p.server->rehandshake_asked && !p.server->rehandshake_done);
    CHECK_INT(tio_conn_write(p.client, "before", 6), 6);        /* on its way when the request comes */
    carry(&p, p.server, p.client);
    CHECK_INT(p.client->phase, TIO_OPEN);
    CHECK(p.client->wire.out_end > p.client->wire.out_start);
    pump(&p);
    CHECK(p.server->rehandshake_done && !p.server->rehandshake_asked && !p.server->rehandshake_finished);
    CHECK_INT(p.server->phase, TIO_OPEN);
    CHECK_INT(p.server->question, TIO_NO_QUESTION);
    CHECK(knows(&p, &client_a));
    if (CHECK(p.server->verify != NULL)) CHECK_INT(p.server->verify->count, 0);
    CHECK_INT(p.server_got, 6);
    CHECK_INT(p.client->rehandshake_done, v == TLS1_2_VERSION);         /* in TLS 1.3 the client only answers */
    p.server->rehandshake_done = 0;
    talks(&p);
    CHECK(!p.server->rehandshake_done);
    CHECK_INT(reshake(p.server, -1, 0), 0);                     /* as often as wished: the server's own are not limited */
    pump(&p);
    CHECK(p.server->rehandshake_done);
    talks(&p);
    pair_free(&p);
}

static void asked_in_pieces(int v) {
    pair p = open_as(v, &client_a, 0);
    cutting.mode = BYTES;
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    pump(&p);
    CHECK(p.server->rehandshake_done && knows(&p, &client_a));
    cutting.mode = WHOLE;
    talks(&p);
    pair_free(&p);
}

static void a_certificate_is_asked_for_later(void) {
    each_version(asked_later);
    each_version(asked_in_pieces);
}

static void the_client_renegotiates(void) {
    pair p = open_as(TLS1_2_VERSION, &client_a, 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(reshake(p.client, -1, 0), 0);
        pump(&p);
        CHECK(p.client->rehandshake_done && p.server->rehandshake_done);
        p.client->rehandshake_done = p.server->rehandshake_done = 0;
        talks(&p);
    }
    pair_free(&p);
}

/* A request without an answer holds up nothing after our end: no clock runs, and an answer is still one. */
static void asked_and_ended(int v) {
    pair p = open_as(v, &client_a, 0);
    p.server->policy.handshake_ns = INT64_C(1000000000);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    carry(&p, p.server, p.client);
    tio_conn_turn(p.server);
    CHECK(p.server->rehandshake_due);
    tio_conn_end(p.server);
    tio_conn_turn(p.server);
    CHECK(!p.server->rehandshake_due && p.server->rehandshake_asked);
    carry(&p, p.server, p.client);
    uint64_t sent = p.server->wire.bytes_out;
    pump(&p);
    CHECK_INT(p.server->phase, TIO_OPEN);
    CHECK_INT(p.server->wire.bytes_out, sent);                  /* neither tickets nor a hello follow close_notify */
    CHECK(tio_wire_unsent(&p.server->wire) == 0);
    if (v == TLS1_3_VERSION) CHECK_INT(tio_conn_rehandshake_done(p.server), TIO_REHANDSHAKE_DONE);
    pair_free(&p);
}

/* OpenSSL ignores a handshake that the peer begins after our close_notify: no clock runs, and the data still come. */
static void begun_after_the_end(int server_begins) {
    pair p = open_as(TLS1_2_VERSION, &client_a, 0);
    tio_conn *ended = server_begins ? p.client : p.server, *other = server_begins ? p.server : p.client;
    uint8_t hidden[8192], room[64];
    p.client->policy.handshake_ns = p.server->policy.handshake_ns = INT64_C(1000000000);
    tio_conn_end(ended);
    CHECK(take_output(ended, hidden, sizeof hidden) > 0);       /* close_notify is on its way */
    CHECK_INT(tio_conn_write(other, "before", 6), 6);
    CHECK_INT(reshake(other, server_begins ? MUST : -1, 0), 0);
    if (server_begins) CHECK_INT(tio_conn_write(other, "behind", 6), 6);
    size_t size = take_output(other, hidden, sizeof hidden);
    CHECK_INT(tio_conn_feed(ended, hidden, size), 0);
    CHECK_INT(tio_conn_take(ended, room, sizeof room), 6);
    if (server_begins) CHECK_INT(tio_conn_take(ended, room, sizeof room), 6);
    else CHECK_INT(tio_conn_take(ended, room, sizeof room), 0);
    tio_conn_turn(ended);
    CHECK_INT(ended->phase, TIO_OPEN);
    CHECK(!ended->rehandshake_due);
    CHECK_INT(tio_wire_unsent(&ended->wire), 0);
    pair_free(&p);
}

static void no_clock_runs_after_our_end(void) {
    each_version(asked_and_ended);
    for (int server_begins = 0; server_begins < 2; server_begins++) begun_after_the_end(server_begins);
}

/* The client has sent the hello of its own renegotiation, and the server has answered without a request for a certificate. */
static pair open_and_renegotiating(const identity *who) {
    pair p = open_as(TLS1_2_VERSION, who, 0);
    CHECK_INT(reshake(p.client, -1, 0), 0);
    carry(&p, p.client, p.server);
    CHECK(SSL_in_init(p.server->ssl));
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    CHECK_INT(reshake(p.server, -1, 0), -1);                    /* one at a time */
    return p;
}

/* The server's request needs a handshake of its own, in which a client without a certificate is refused. */
static void a_request_during_the_client_s_renegotiation(void) {
    for (int shows = 0; shows < 2; shows++) {
        pair p = open_and_renegotiating(shows ? &client_a : NULL);
        carry(&p, p.server, p.client);
        carry(&p, p.client, p.server);
        CHECK(!p.server->rehandshake_done && p.server->rehandshake_asked);
        pump(&p);
        CHECK_INT(p.server->rehandshake_done, shows);
        if (shows) CHECK(knows(&p, &client_a));
        else broken_by(p.server, TIO_FAULT_SSL);
        if (shows) talks(&p);
        pair_free(&p);
    }
}

/* After our end or close the client's own handshake is done and the deferred one is dropped: reported as that, and no clock runs. */
static void an_end_drops_a_deferred_request(void) {
    for (int closes = 0; closes < 2; closes++) {
        pair p = open_and_renegotiating(&client_a);
        if (closes) tio_conn_close(p.server);
        else tio_conn_end(p.server);
        pump(&p);
        CHECK_INT(p.server->rehandshake_done, TIO_REHANDSHAKE_DROPPED);
        CHECK_INT(tio_conn_rehandshake_done(p.server), TIO_REHANDSHAKE_DROPPED);
        CHECK(!knows(&p, &client_a));
        CHECK(!p.server->rehandshake_asked && !p.server->rehandshake_deferred && !p.server->rehandshake_due);
        CHECK_INT(p.client->in, TIO_IN_ENDED);
        pair_free(&p);
    }
}

/* The question about the client's own handshake is answered first. */
static void a_deferred_request_waits_for_the_answer(void) {
    for (int ends = 0; ends < 2; ends++) {
        tio_context *client = client_context(TLS1_2_VERSION, &client_a), *server = server_context(TLS1_2_VERSION, &server_a, WANT_CERT);
        pair p = pair_new(client, server, TIO_WANT_CLIENT);
        tio_context_release(client);
        tio_context_release(server);
        p.server->policy.renegotiation = (tio_renegotiation){ 2, INT64_C(3600000000000) };
        pump(&p);
        CHECK_INT(reshake(p.client, -1, 0), 0);
        carry(&p, p.client, p.server);
        CHECK_INT(reshake(p.server, MUST, 0), 0);
        p.held = 1;
        pump(&p);
        CHECK_INT(p.server->question, TIO_ASK_CLIENT);
        CHECK(p.server->rehandshake_deferred && !p.server->rehandshake_done);
        if (ends) tio_conn_end(p.server);
        p.held = 0;
        tio_answer_client(p.server);
        tio_conn_turn(p.server);
        CHECK_INT(p.server->rehandshake_asked, !ends);
        pump(&p);
        CHECK_INT(p.server->rehandshake_done, ends ? TIO_REHANDSHAKE_DROPPED : TIO_REHANDSHAKE_DONE);
        CHECK_INT(p.client_questions, ends ? 1 : 2);
        CHECK_INT(p.server->phase, TIO_OPEN);
        pair_free(&p);
    }
}

/* A client that never finishes its own renegotiation does not keep the server's request waiting. */
static void a_deferred_request_has_the_handshake_s_bound(void) {
    pair p = open_as(TLS1_2_VERSION, &client_a, 0);
    p.server->policy.handshake_ns = 1;
    CHECK_INT(reshake(p.client, -1, 0), 0);
    carry(&p, p.client, p.server);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    tio_conn_turn(p.server);
    CHECK(tio_conn_deadline(p.server) > 0);
    tio_conn_expire(p.server);
    broken_by(p.server, TIO_FAULT_TIMEOUT);
    pair_free(&p);
}

/* The client's own handshake is done and not reported yet when the server asks: it is not the answer. */
static void an_unreported_handshake_is_not_the_answer(void) {
    pair p = open_as(TLS1_2_VERSION, NULL, 0);
    CHECK_INT(reshake(p.client, -1, 0), 0);
    pump(&p);
    CHECK(p.server->rehandshake_done);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    CHECK_INT(tio_conn_rehandshake_done(p.server), 0);
    pump(&p);
    CHECK_INT(tio_conn_rehandshake_done(p.server), 0);
    broken_by(p.server, TIO_FAULT_SSL);
    pair_free(&p);
}

/* The server's request covers one hello.  What the client begins in the middle of that counts as its own. */
static void a_request_covers_one_hello(void) {
    for (int limit = 0; limit < 2; limit++) {
        pair p = open_as(TLS1_2_VERSION, NULL, 0);
        p.server->policy.renegotiation.limit = limit;
        CHECK_INT(reshake(p.server, SSL_VERIFY_NONE, 0), 0);
        pump(&p);
        CHECK_INT(tio_conn_rehandshake_done(p.server), 1);
        CHECK_INT(p.server->renegotiations, 0);
        CHECK_INT(reshake(p.server, SSL_VERIFY_NONE, 0), 0);
        p.server->rehandshake_hello = 1;                        /* as when the answer and the next hello come with one read */
        pump(&p);
        if (limit) CHECK_INT(p.server->phase, TIO_OPEN);
        else broken_by(p.server, TIO_FAULT_LIMIT);
        pair_free(&p);
    }
}

/* What a request has asked for holds for its own handshake: the client's next one is as strict as the context. */
static void strictness_holds_for_one_handshake(void) {
    for (int own = 0; own < 2; own++) {
        pair p = open_as(TLS1_2_VERSION, &client_strange, 0);
        CHECK_INT(reshake(p.server, SSL_VERIFY_PEER, 1), 0);
        pump(&p);
        CHECK_INT(tio_conn_rehandshake_done(p.server), TIO_REHANDSHAKE_DONE);
        CHECK(tio_conn_accepts_unverified(p.server) && p.server->verify->count);
        CHECK_INT(reshake(own ? p.client : p.server, -1, 0), 0);
        pump(&p);
        CHECK(!tio_conn_accepts_unverified(p.server));
        broken_by(p.server, TIO_FAULT_VERIFY);
        pair_free(&p);
    }
}

/* A request that cannot be sent changes nothing: this client of TLS 1.3 does not offer to be asked later. */
static void a_request_that_fails_changes_nothing(void) {
    pair p = open_as(TLS1_3_VERSION, NULL, 0);
    int before = SSL_get_verify_mode(p.server->ssl);
    CHECK(reshake(p.server, MUST, 1) > 0);
    CHECK_INT(SSL_get_verify_mode(p.server->ssl), before);
    CHECK(!tio_conn_accepts_unverified(p.server) && !tio_conn_awaits_rehandshake(p.server));
    talks(&p);
    pair_free(&p);
}

/* A client that was told to refuse renegotiation breaks before it shows anything. */
static void a_client_refuses_renegotiation(void) {
    pair p = open_as(TLS1_2_VERSION, &client_a, 0);
    tio_conn_refuse_renegotiation(p.client);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    pump(&p);
    broken_by(p.client, TIO_FAULT_LIMIT);
    CHECK_INT(p.client->fault->limit, TIO_LIMIT_RENEGOTIATION_OFF);
    CHECK(!knows(&p, &client_a));
    pair_free(&p);
}

/* After close() no question is asked: the client that answers then is reported as one that was not judged. */
static void an_answer_after_close(void) {
    pair p = open_as(TLS1_3_VERSION, &client_a, TIO_WANT_CLIENT);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    carry(&p, p.server, p.client);
    tio_conn_close(p.server);
    pump(&p);
    CHECK_INT(p.server->question, TIO_NO_QUESTION);
    CHECK_INT(tio_conn_rehandshake_done(p.server), TIO_REHANDSHAKE_UNJUDGED);
    pair_free(&p);
}

/* The server's request and the client's own are satisfied by one handshake. */
static void a_client_s_request_during_the_server_s(void) {
    pair p = open_as(TLS1_2_VERSION, &client_a, 0);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    carry(&p, p.server, p.client);
    CHECK_INT(reshake(p.client, -1, 0), 0);
    CHECK_INT(reshake(p.client, -1, 0), -1);
    pump(&p);
    CHECK(p.client->rehandshake_done && p.server->rehandshake_done && knows(&p, &client_a));
    p.client->rehandshake_done = p.server->rehandshake_done = 0;
    talks(&p);
    CHECK(!p.client->rehandshake_done && !p.server->rehandshake_done);
    pair_free(&p);
}

/* A second request, as after a cancelled call, is refused, and leaves nothing behind that would begin it later. */
static void one_request_at_a_time(int v) {
    pair p = open_as(v, &client_a, 0);
    tio_conn *asking = v == TLS1_2_VERSION ? p.client : p.server;
    for (int i = 0; i < 2; i++) {
        CHECK_INT(reshake(asking, v == TLS1_2_VERSION ? -1 : MUST, 0), 0);
        CHECK_INT(reshake(asking, -1, 0), -1);
        CHECK_INT(asking->phase, TIO_OPEN);
        pump(&p);
        CHECK(asking->rehandshake_done);
        p.client->rehandshake_done = p.server->rehandshake_done = 0;
        talks(&p);
        CHECK(!asking->rehandshake_done);
    }
    pair_free(&p);
}

static void another_request_is_refused(void) { each_version(one_request_at_a_time); }

/* The client's messages wait in the wire while we write: the write waits for them, and a read takes them. */
static void a_write_waits_for_another_handshake(void) {
    pair p = open_as(TLS1_2_VERSION, &client_a, TIO_WANT_CLIENT);
    uint8_t wire[8192];
    p.held = 1;
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    carry(&p, p.server, p.client);
    carry(&p, p.client, p.server);
    carry(&p, p.server, p.client);
    size_t size = take_output(p.client, wire, sizeof wire);
    CHECK_INT(tio_conn_feed(p.server, wire, size), 0);
    CHECK_INT(tio_conn_write(p.server, "secret", 6), 0);
    tio_conn_want(p.server, -1, 1);
    tio_conn_step(p.server);
    tio_conn_turn(p.server);
    CHECK(p.server->rehandshake_done);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    pump(&p);
    CHECK_INT(p.client_got, 0);                                 /* nobody has judged it yet */
    tio_answer_client(p.server);
    CHECK(tio_conn_next(p.server) & TIO_NEXT_TURN);             /* the write goes on */
    CHECK_INT(tio_conn_write(p.server, "secret", 6), 6);
    tio_conn_want(p.server, -1, 0);
    p.held = 0;
    pump(&p);
    CHECK_INT(p.client_got, 6);
    talks(&p);
    pair_free(&p);
}

/* What the server has sent before the client's hello arrives is given out; a write of the client waits meanwhile. */
static void data_before_a_renegotiation_is_read(void) {
    for (int asker = 0; asker < 2; asker++) {
        pair p = open_as(TLS1_2_VERSION, &client_a, 0);
        char room[64];
        CHECK_INT(tio_conn_write(p.server, "before", 6), 6);
        if (asker) CHECK_INT(reshake(p.server, -1, 0), 0);
        CHECK_INT(tio_conn_write(p.server, "behind", 6), 6);
        uint8_t wire[8192];
        size_t size = take_output(p.server, wire, sizeof wire);
        CHECK_INT(tio_conn_feed(p.client, wire, size), 0);
        if (!asker) CHECK_INT(reshake(p.client, -1, 0), 0);
        CHECK_INT(tio_conn_take(p.client, room, sizeof room), 6);
        tio_conn_write(p.client, "mean", 4);
        tio_conn_step(p.client);
        CHECK_INT(tio_conn_write(p.client, "while", 5), 0);
        CHECK_INT(tio_conn_take(p.client, room, sizeof room), 6);
        pump(&p);
        CHECK(p.client->rehandshake_done && p.server->rehandshake_done);
        talks(&p);
        pair_free(&p);
    }
}

/* The server's hello cannot be read before the data that stands in front of it: an end behind that, which the kernel announces
 * in every turn, does not let the write try again. */
static void a_write_behind_unread_data_does_not_spin(void) {
    pair p = open_as(TLS1_2_VERSION, &client_a, 0);
    char room[64];
    CHECK_INT(reshake(p.client, -1, 0), 0);
    CHECK_INT(tio_conn_write(p.server, "before", 6), 6);
    uint8_t wire[8192];
    size_t size = take_output(p.server, wire, sizeof wire);
    CHECK_INT(tio_conn_feed(p.client, wire, size), 0);
    tio_conn_step(p.client);
    tio_conn_want(p.client, 0, 1);
    CHECK_INT(tio_conn_write(p.client, "meanwhile", 9), 0);
    tio_conn_feed_eof(p.client);
    CHECK_INT(tio_conn_next(p.client) & TIO_NEXT_TURN, 0);
    CHECK_INT(tio_conn_take(p.client, room, sizeof room), 6);
    CHECK(tio_conn_next(p.client) & TIO_NEXT_TURN);
    pair_free(&p);
}

/* ---- refused */

static void at_the_wrong_moment(int v) {
    tio_context *client = client_context(v, &client_a), *server = server_context(v, &server_a, 0);
    pair p = pair_new(client, server, TIO_WANT_CLIENT);
    tio_context_release(client);
    tio_context_release(server);
    CHECK_INT(reshake(p.server, MUST, 0), -1);                  /* not begun */
    p.held = 1;
    pump(&p);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    CHECK_INT(reshake(p.server, MUST, 0), -1);                  /* not decided */
    p.held = 0;
    pump(&p);
    tio_conn_end(p.server);
    CHECK_INT(reshake(p.server, MUST, 0), -1);                  /* ended */
    CHECK(!p.server->rehandshake_asked);
    pair_free(&p);
}

static void a_handshake_cannot_be_asked_for_at_any_time(void) { each_version(at_the_wrong_moment); }

static void who_cannot_be_asked_stays(void) {
    pair p = open_as(TLS1_3_VERSION, NULL, 0);                  /* offers no post-handshake authentication */
    CHECK_INT(reshake(p.server, MUST, 0), SSL_R_EXTENSION_NOT_RECEIVED);
    CHECK_INT(reshake(p.client, -1, 0), SSL_R_NOT_SERVER);
    CHECK(!p.server->rehandshake_asked && !p.client->rehandshake_asked);
    talks(&p);
    pair_free(&p);
    p = open_as(TLS1_3_VERSION, &client_a, 0);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    CHECK_INT(reshake(p.server, MUST, 0), -1);
    pump(&p);
    CHECK(p.server->rehandshake_done);
    talks(&p);
    pair_free(&p);
}

static void refused(int v, const identity *who, int alert, tio_fault_kind kind) {
    pair p = open_as(v, who, 0);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    pump(&p);
    broken_by(p.server, kind);
    CHECK_INT(p.server->alert_sent, alert);
    broken_by(p.client, TIO_FAULT_ALERT);
    CHECK_INT(p.client->alert_received, alert);
    CHECK(!p.server->rehandshake_done);
    pair_free(&p);
}

static void soft(int v) {
    pair p = open_as(v, &client_strange, 0);
    CHECK_INT(reshake(p.server, PEER, 1), 0);
    pump(&p);
    CHECK(p.server->rehandshake_done && knows(&p, &client_strange));
    if (CHECK(p.server->verify != NULL)) CHECK(p.server->verify->count > 0);
    talks(&p);
    pair_free(&p);
}

static void bad_certificates_are_refused_later_too(void) {
    for (int i = 0; i < 2; i++) {
        snprintf(note, sizeof note, "TLS 1.%d", i + 2);
        refused(versions[i], &client_strange, SSL_AD_UNKNOWN_CA, TIO_FAULT_VERIFY);
        refused(versions[i], &client_expired, SSL_AD_CERTIFICATE_EXPIRED, TIO_FAULT_VERIFY);
    }
    refused(TLS1_2_VERSION, NULL, SSL_AD_HANDSHAKE_FAILURE, TIO_FAULT_SSL);
    each_version(soft);
}

static void beyond_the_limit(void (*forbid)(tio_conn *), int before, tio_limit limit) {
    pair p = open_as(TLS1_2_VERSION, NULL, 0);
    for (int i = 0; i < before; i++) {
        CHECK_INT(reshake(p.client, -1, 0), 0);
        pump(&p);
    }
    CHECK_INT(p.server->phase, TIO_OPEN);
    if (forbid) forbid(p.server);
    CHECK_INT(reshake(p.client, -1, 0), 0);
    pump(&p);
    broken_by(p.server, TIO_FAULT_LIMIT);
    if (p.server->fault) CHECK_INT(p.server->fault->limit, limit);
    CHECK_INT(p.client->alert_received, SSL_AD_NO_RENEGOTIATION);
    pair_free(&p);
}

static void a_client_renegotiates_no_more_than_it_may(void) {
    beyond_the_limit(NULL, 2, TIO_LIMIT_RENEGOTIATIONS);
    beyond_the_limit(tio_conn_refuse_renegotiation, 1, TIO_LIMIT_RENEGOTIATION_OFF);
    pair p = open_pair(TLS1_2_VERSION);                         /* not at all: a warning, which our client takes for an end */
    CHECK_INT(reshake(p.client, -1, 0), 0);
    pump(&p);
    CHECK_INT(p.client->phase, TIO_BROKEN);
    CHECK(p.server->phase != TIO_BROKEN || p.server->fault->kind == TIO_FAULT_ALERT);
    pair_free(&p);
}

/* ---- in the middle */

enum { HANG_UP, RESET, GARBAGE, GIVE_UP, FORGET, ENDS };

/* After `flights` of them. */
static void ends_after(int v, int flights, int how) {
    static const uint8_t garbage[] = "\x16\x03\x03\x00\x10 not what it was";
    pair p = open_as(v, &client_a, 0);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    for (int i = 0; i < flights; i++) {
        if (i % 2) carry(&p, p.client, p.server);
        else carry(&p, p.server, p.client);
    }
    int done = p.server->rehandshake_done;
    tio_conn *c = p.server;
    int stuck = v < TLS1_3_VERSION && SSL_in_init(c->ssl);              /* nothing can be written before it is done */
    if (how == HANG_UP) tio_conn_feed_eof(c);
    else if (how == RESET) tio_conn_feed_error(c, 104);
    else if (how == GARBAGE) give(c, garbage, sizeof garbage - 1);
    else if (how == GIVE_UP) tio_conn_break(c, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    tio_conn_step(c);
    tio_conn_turn(c);
    CHECK_INT(c->rehandshake_done, done);
    if (how == HANG_UP && stuck) broken_by(c, TIO_FAULT_HANGUP);
    else if (how == HANG_UP && !done) broken_by(c, TIO_FAULT_UNANSWERED);
    else if (how == HANG_UP) CHECK(c->phase == TIO_OPEN && c->in == TIO_IN_TRUNCATED);
    else if (how != FORGET) broken_by(c, how == RESET ? TIO_FAULT_OS : how == GARBAGE ? TIO_FAULT_SSL : TIO_FAULT_TIMEOUT);
    pair_free(&p);
}

static void an_end_in_the_middle_is_an_end(void) {
    for (int i = 0; i < 2; i++)
        for (int flights = 0; flights < 5; flights++)
            for (int how = 0; how < ENDS; how++) {
                snprintf(note, sizeof note, "TLS 1.%d, %d flights, end %d", i + 2, flights, how);
                ends_after(versions[i], flights, how);
            }
}

static void our_end(int v) {
    for (int flights = 0; flights < 4; flights++) {
        pair p = open_as(v, &client_a, 0);
        CHECK_INT(reshake(p.server, MUST, 0), 0);
        for (int i = 0; i < flights; i++) carry(&p, i % 2 ? p.client : p.server, i % 2 ? p.server : p.client);
        tio_conn_close(p.server);
        CHECK_INT(p.server->phase, TIO_CLOSING);
        pump(&p);
        tio_conn_feed_eof(p.client);
        tio_conn_step(p.client);
        CHECK(p.client->in != TIO_IN_OPEN || p.client->phase == TIO_BROKEN);
        pair_free(&p);
    }
}

static void closing_in_the_middle_closes(void) { each_version(our_end); }

/* The peer's end and our request cross on their way. */
static void ended_without_an_answer(int v) {
    for (int ours = 0; ours < 2; ours++) {
        pair p = open_as(v, &client_a, 0);
        char room[64];
        CHECK_INT(reshake(p.server, MUST, 0), 0);
        if (ours) tio_conn_end(p.server);
        CHECK_INT(tio_conn_write(p.client, "before", 6), 6);
        tio_conn_end(p.client);
        carry(&p, p.client, p.server);
        CHECK_INT(p.server->phase, TIO_OPEN);
        CHECK_INT(tio_conn_take(p.server, room, sizeof room), 6);       /* what came before the end is read first */
        CHECK_INT(tio_conn_take(p.server, room, sizeof room), 0);
        CHECK_INT(p.server->in, TIO_IN_ENDED);
        if (ours) CHECK_INT(p.server->phase, TIO_OPEN);         /* both have ended, and nothing waits for the answer */
        else broken_by(p.server, TIO_FAULT_UNANSWERED);
        pair_free(&p);
    }
    pair p = open_as(v, &client_a, 0);
    tio_conn_end(p.client);
    carry(&p, p.client, p.server);
    CHECK_INT(p.server->in, TIO_IN_ENDED);
    CHECK_INT(reshake(p.server, MUST, 0), -1);
    CHECK_INT(p.server->phase, TIO_OPEN);
    pair_free(&p);
}

static void a_peer_that_has_ended_cannot_answer(void) { each_version(ended_without_an_answer); }

/* ---- who came is asked about again */

static pair asked_again(int v) {
    pair p = open_as(v, &client_a, TIO_WANT_CLIENT);
    CHECK_INT(p.client_questions, 1);
    p.held = 1;
    CHECK_INT(tio_conn_write(p.server, "sent", 4), 4);
    CHECK_INT(reshake(p.server, MUST, 0), 0);
    pump(&p);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    CHECK_INT(p.server->phase, TIO_OPEN);
    CHECK_INT(p.client_got, 4);
    return p;
}

static void answered_late(int v) {
    pair p = asked_again(v);
    for (int i = 0; i < 3; i++) tio_conn_step(p.server);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    CHECK_INT(tio_conn_write(p.server, "x", 1), 0);
    if (v == TLS1_3_VERSION) CHECK_INT(tio_conn_write(p.client, "early", 5), 5);
    pump(&p);
    CHECK_INT(p.server_got, 0);
    tio_answer_hello(p.server, NULL, NULL, 0);                  /* answers to other questions are nothing */
    tio_answer_verify(p.server, X509_V_OK);
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    p.held = 0;
    tio_answer_client(p.server);
    tio_answer_client(p.server);
    tio_refuse(p.server, SSL_AD_ACCESS_DENIED);                 /* too late */
    tio_conn_step(p.server);
    pump(&p);
    CHECK_INT(p.server_got, v == TLS1_3_VERSION ? 5 : 0);
    talks(&p);
    pair_free(&p);
}

/* TLS 1.3: what follows the client's Finished in one flight is not handed up before the answer. */
static void data_behind_the_certificate_waits_for_the_answer(void) {
    for (int looks = 0; looks < 2; looks++) {
        uint8_t wire[8192], early[8];
        pair p = open_as(TLS1_3_VERSION, &client_a, TIO_WANT_CLIENT);
        p.held = 1;
        CHECK_INT(reshake(p.server, MUST, 0), 0);
        carry(&p, p.server, p.client);
        CHECK_INT(tio_conn_write(p.client, "early", 5), 5);
        size_t size = take_output(p.client, wire, sizeof wire);
        CHECK_INT(tio_conn_feed(p.server, wire, size), 0);
        if (looks) tio_conn_step(p.server);
        CHECK_INT(tio_conn_take(p.server, early, sizeof early), 0);
        CHECK_INT(p.server->question, TIO_ASK_CLIENT);
        CHECK_INT(tio_conn_take(p.server, early, sizeof early), 0);
        tio_conn_turn(p.server);
        tio_answer_client(p.server);
        tio_conn_step(p.server);
        CHECK_INT(tio_conn_take(p.server, early, sizeof early), 5);
        tio_conn_turn(p.server);
        p.held = 0;
        talks(&p);
        pair_free(&p);
    }
}

/* TLS 1.2: our Finished has not left, and with the keys behind it no alert could be read any more. */
static void answered_no(int v) {
    pair p = asked_again(v);
    tio_refuse(p.server, SSL_AD_ACCESS_DENIED);
    tio_conn_step(p.server);
    pump(&p);
    broken_by(p.server, TIO_FAULT_REFUSED);
    CHECK_INT(p.client->alert_received, v == TLS1_3_VERSION ? SSL_AD_ACCESS_DENIED : -1);
    CHECK_INT(p.client->phase, v == TLS1_3_VERSION ? TIO_BROKEN : TIO_OPEN);
    CHECK(!p.client->rehandshake_done);
    pair_free(&p);
}

static void never_answered(int v) {
    pair p = asked_again(v);
    pair_free(&p);
    p = asked_again(v);
    tio_conn_break(p.server, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
    tio_answer_client(p.server);
    tio_conn_step(p.server);
    broken_by(p.server, TIO_FAULT_TIMEOUT);
    pair_free(&p);
    p = asked_again(v);
    tio_conn_feed_eof(p.server);                                /* gone meanwhile: told after the answer */
    tio_conn_step(p.server);
    CHECK_INT(p.server->in, TIO_IN_OPEN);
    tio_answer_client(p.server);
    tio_conn_step(p.server);
    CHECK_INT(p.server->in, TIO_IN_TRUNCATED);
    pair_free(&p);
}

static void the_user_is_asked_again_before_anything_goes_on(void) {
    each_version(answered_late);
    each_version(answered_no);
    each_version(never_answered);
}

/* Who renegotiates unasked is judged again too, where a certificate is wanted. */
static void the_user_is_asked_about_a_renegotiation(void) {
    tio_context *client = client_context(TLS1_2_VERSION, &client_a), *server = server_context(TLS1_2_VERSION, &server_a, WANT_CERT);
    pair p = pair_new(client, server, TIO_WANT_CLIENT);
    tio_context_release(client);
    tio_context_release(server);
    p.server->policy.renegotiation = (tio_renegotiation){ 2, INT64_C(3600000000000) };
    pump(&p);
    CHECK_INT(p.client_questions, 1);
    CHECK_INT(reshake(p.client, -1, 0), 0);
    pump(&p);
    CHECK_INT(p.client_questions, 2);
    CHECK(p.client->rehandshake_done);
    talks(&p);
    pair_free(&p);
}

void reshake_tests(void) {
    RUN(a_certificate_is_asked_for_later);
    RUN(the_client_renegotiates);
    RUN(a_request_during_the_client_s_renegotiation);
    RUN(no_clock_runs_after_our_end);
    RUN(an_end_drops_a_deferred_request);
    RUN(a_deferred_request_waits_for_the_answer);
    RUN(a_deferred_request_has_the_handshake_s_bound);
    RUN(an_unreported_handshake_is_not_the_answer);
    RUN(a_request_covers_one_hello);
    RUN(a_client_s_request_during_the_server_s);
    RUN(another_request_is_refused);
    RUN(a_write_waits_for_another_handshake);
    RUN(data_before_a_renegotiation_is_read);
    RUN(a_write_behind_unread_data_does_not_spin);
    RUN(a_handshake_cannot_be_asked_for_at_any_time);
    RUN(who_cannot_be_asked_stays);
    RUN(bad_certificates_are_refused_later_too);
    RUN(strictness_holds_for_one_handshake);
    RUN(a_request_that_fails_changes_nothing);
    RUN(a_client_refuses_renegotiation);
    RUN(an_answer_after_close);
    RUN(a_client_renegotiates_no_more_than_it_may);
    RUN(an_end_in_the_middle_is_an_end);
    RUN(closing_in_the_middle_closes);
    RUN(a_peer_that_has_ended_cannot_answer);
    RUN(the_user_is_asked_again_before_anything_goes_on);
    RUN(data_behind_the_certificate_waits_for_the_answer);
    RUN(the_user_is_asked_about_a_renegotiation);
}
