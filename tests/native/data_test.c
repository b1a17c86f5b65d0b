/* data_test.c - every cut of the wire, the invariants of engine.h, limits, ends. */
#include "harness.h"
#include "internal.h"

#include <time.h>

static void label(int v) { snprintf(note, sizeof note, "TLS 1.%d", v - TLS1_VERSION); }

/* ---- cuts: a whole conversation with every question in it */

static void conversation(int v) {
    tio_context *client = client_context(v, &client_a), *server = server_context(v, &server_a, WANT_CERT);
    set_alpn(client, "\x02h2\x08http/1.1");
    set_alpn(server, "\x08http/1.1");
    pair p = pair_new(client, server, TIO_WANT_HELLO | TIO_WANT_ALPN | TIO_WANT_CLIENT);
    tio_context_release(client);
    tio_context_release(server);
    tio_conn_set_server_name(p.client, "a.test");
    pump(&p);
    if (CHECK_INT(p.client->phase, TIO_OPEN) && CHECK_INT(p.server->phase, TIO_OPEN)) {
        tio_conn_write(p.client, "to the server", 13);
        pump(&p);
        tio_conn_write(p.server, "to the client", 13);
        tio_conn_end(p.server);
        pump(&p);
        CHECK_INT(p.client->in, TIO_IN_ENDED);
        tio_conn_write(p.client, ", and more", 10);
        tio_conn_close(p.client);
        pump(&p);
        CHECK_INT(p.server->in, TIO_IN_ENDED);
        CHECK(p.server_got == 23 && !memcmp(p.server_saw, "to the server, and more", 23));
        CHECK(p.client_got == 13 && !memcmp(p.client_saw, "to the client", 13));
    }
    pair_free(&p);
}

static void cut_into_single_bytes(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        cutting = (cut){ .mode = BYTES };
        conversation(versions[i]);
    }
}

/* Every place of every flight; CUTS=n takes every n-th only. */
static void cut_at_every_place_of_each_flight(void) {
    size_t step = getenv("CUTS") ? strtoul(getenv("CUTS"), NULL, 10) : 1;
    for (int i = 0; i < 2; i++)
        for (unsigned flight = 0; flight < 9; flight++) {
            largest_flight = 2;
            for (size_t at = 1; at < largest_flight; at += step) {
                snprintf(note, sizeof note, "TLS 1.%d, flight %u cut at %zu", i + 2, flight, at);
                cutting = (cut){ .mode = SPLIT, .flight = flight, .at = at };
                largest_flight = 0;
                conversation(versions[i]);
            }
        }
}

static void cut_at_random(void) {
    unsigned seed = new_seed();
    printf("random cuts: SEED=%u\n", seed);
    for (unsigned i = 0; i < 40; i++) {
        snprintf(note, sizeof note, "SEED=%u, round %u", seed, i);
        cutting = (cut){ .mode = RANDOM, .seed = seed + i * 7919 };
        conversation(versions[i % 2]);
    }
}

/* ---- the invariants */

static void invariant_1_no_plaintext_before_open(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        char byte;
        tio_context *client = client_context(versions[i], NULL), *server = server_context(versions[i], &server_a, 0);
        pair p = pair_new(client, server, 0);
        tio_conn *both[] = { p.client, p.server };
        do
            for (int j = 0; j < 2; j++) {
                tio_conn *c = both[j];
                tio_conn_step(c);
                if (c->question) tio_answer_verify(c, X509_V_OK), tio_conn_step(c);
                if (c->phase != TIO_OPEN) CHECK(!tio_conn_write(c, "x", 1) && !tio_conn_take(c, &byte, 1));
                if (c->phase != TIO_OPEN) tio_conn_end(c), tio_conn_close(c);
                carry(&p, c, both[!j]);
            }
        while (p.client->phase == TIO_HANDSHAKING || p.server->phase == TIO_HANDSHAKING);
        CHECK_INT(p.client->phase, TIO_OPEN);
        CHECK_INT(p.server->phase, TIO_OPEN);
        CHECK_INT(tio_conn_write(p.client, "x", 1), 1);
        tio_context_release(client);
        tio_context_release(server);
        pair_free(&p);
    }
}

static void invariant_2_nothing_leaves_while_a_question_is_open(void) {
    tio_context *client = client_context(TLS1_2_VERSION, &client_a), *server = server_context(TLS1_2_VERSION, &server_a, WANT_CERT);
    pair p = pair_new(client, server, TIO_WANT_CLIENT);
    p.held = 1;
    pump(&p);
    const uint8_t *data;
    CHECK_INT(p.server->question, TIO_ASK_CLIENT);
    CHECK(p.server->wire.out_end > p.server->wire.out_start);
    CHECK_INT(tio_conn_output(p.server, &data), 0);
    CHECK_INT(tio_conn_flush(p.server), 0);
    CHECK_INT(p.server->wire.out_error, 0);             /* memory has no descriptor: nothing was tried */
    tio_answer_client(p.server);
    CHECK(tio_conn_output(p.server, &data) > 0);
    pair_free(&p);
    tio_context_release(client);
    tio_context_release(server);
}

static void invariant_3_broken_is_final_and_its_alert_leaves(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        pair p = open_pair(versions[i]);
        char byte;
        give(p.server, "\x17\x03\x03\x00\x20 this is not what we agreed on..", 37);
        CHECK_INT(p.server->phase, TIO_BROKEN);
        CHECK_INT(p.server->alert_sent, SSL_AD_BAD_RECORD_MAC);
        tio_fault *fault = p.server->fault;
        give(p.server, "more", 4);
        tio_conn_end(p.server);
        tio_conn_close(p.server);
        tio_conn_break(p.server, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0);
        CHECK(!tio_conn_write(p.server, "x", 1) && !tio_conn_take(p.server, &byte, 1));
        CHECK(p.server->phase == TIO_BROKEN && p.server->fault == fault && fault->kind == TIO_FAULT_SSL);
        carry(&p, p.server, p.client);
        CHECK_INT(p.client->alert_received, SSL_AD_BAD_RECORD_MAC);
        pair_free(&p);
    }
}

static void *echo_elsewhere(void *arg) {
    pair *p = arg;
    tio_conn_write(p->client, "across", 6);
    pump(p);
    return NULL;
}

static void invariant_5_a_connection_may_change_its_thread_between_calls(void) {
    pair p = open_pair(TLS1_3_VERSION);
    pthread_t thread;
    pthread_create(&thread, NULL, echo_elsewhere, &p);
    pthread_join(thread, NULL);
    CHECK(p.server_got == 6 && !memcmp(p.server_saw, "across", 6));
    give(p.server, "\x17\x03\x03\x00\x20 this is not what we agreed on..", 37);
    CHECK(p.server->fault && p.server->fault->count > 0);
    pair_free(&p);
}

static void invariant_8_end_of_file_is_never_shown_to_openssl(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        pair p = open_pair(versions[i]);
        const uint8_t *data;
        tio_conn_feed_eof(p.server);
        tio_conn_step(p.server);
        CHECK_INT(p.server->in, TIO_IN_TRUNCATED);
        CHECK_INT(p.server->phase, TIO_OPEN);
        CHECK_INT(tio_conn_output(p.server, &data), 0);
        CHECK_INT(p.server->alert_sent, -1);
        CHECK_INT(tio_conn_write(p.server, "still", 5), 5);
        tio_conn_end(p.server);
        pump(&p);
        CHECK(p.client_got == 5 && p.client->in == TIO_IN_ENDED);
        pair_free(&p);
    }
}

/* ---- ends */

static void hang_up_in_the_handshake(void) {
    for (int i = 0; i < 2; i++)
        for (int who = 0; who < 2; who++) {
            label(versions[i]);
            tio_context *client = client_context(versions[i], NULL), *server = server_context(versions[i], &server_a, 0);
            pair p = pair_new(client, server, 0);
            tio_conn *c = who ? p.server : p.client;
            tio_conn_step(p.client);
            if (who) give(c, "\x16\x03", 2);
            tio_conn_feed_eof(c);
            tio_conn_step(c);
            CHECK_INT(c->phase, TIO_BROKEN);
            if (CHECK(c->fault != NULL)) CHECK_INT(c->fault->kind, TIO_FAULT_HANGUP);
            pair_free(&p);
            tio_context_release(client);
            tio_context_release(server);
        }
}

static void end_of_file_behind_data(void) {
    for (int i = 0; i < 2; i++)
        for (int clean = 0; clean < 2; clean++) {
            label(versions[i]);
            pair p = open_pair(versions[i]);
            uint8_t wire[1024], text[16];
            tio_conn_write(p.client, "last words", 10);
            if (clean) tio_conn_end(p.client);
            size_t n = take_output(p.client, wire, sizeof wire);
            tio_conn_feed(p.server, wire, n);
            tio_conn_feed_eof(p.server);
            CHECK_INT(tio_conn_take(p.server, text, 4), 4);
            CHECK_INT(tio_conn_take(p.server, text, 16), 6);
            CHECK_INT(p.server->in, TIO_IN_OPEN);
            CHECK_INT(tio_conn_take(p.server, text, 16), 0);
            CHECK_INT(p.server->in, clean ? TIO_IN_ENDED : TIO_IN_TRUNCATED);
            tio_conn_turn(p.server);
            pair_free(&p);
        }
}

static void end_of_file_inside_a_record(void) {
    pair p = open_pair(TLS1_3_VERSION);
    uint8_t wire[1024], text[16];
    tio_conn_write(p.client, "last words", 10);
    size_t n = take_output(p.client, wire, sizeof wire);
    give(p.server, wire, n - 1);
    tio_conn_feed_eof(p.server);
    CHECK_INT(tio_conn_take(p.server, text, 16), 0);
    CHECK_INT(p.server->in, TIO_IN_TRUNCATED);
    pair_free(&p);
}

static void half_close_works_both_ways(void) {
    for (int i = 0; i < 2; i++)
        for (int who = 0; who < 2; who++) {
            label(versions[i]);
            pair p = open_pair(versions[i]);
            tio_conn *first = who ? p.server : p.client, *second = who ? p.client : p.server;
            tio_conn_end(first);
            CHECK_INT(first->out, TIO_OUT_ENDING);
            CHECK_INT(tio_conn_write(first, "x", 1), 0);
            CHECK(!(tio_conn_next(first) & TIO_NEXT_FIN));
            pump(&p);
            CHECK((tio_conn_next(first) & TIO_NEXT_FIN));
            tio_conn_fin_sent(first);
            CHECK(first->out == TIO_OUT_ENDED && !(tio_conn_next(first) & TIO_NEXT_FIN));
            CHECK_INT(second->in, TIO_IN_ENDED);
            CHECK_INT(tio_conn_write(second, "one more thing", 14), 14);
            pump(&p);
            CHECK_INT(who ? p.server_got : p.client_got, 14);
            tio_conn_end(second);
            pump(&p);
            CHECK_INT(first->in, TIO_IN_ENDED);
            CHECK(first->phase == TIO_OPEN && second->phase == TIO_OPEN);
            pair_free(&p);
        }
}

static void closing_throws_input_away(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        pair p = open_pair(versions[i]);
        static char much[100000];
        p.reading = 0;
        tio_conn_close(p.server);
        CHECK_INT(p.server->phase, TIO_CLOSING);
        CHECK_INT(tio_conn_write(p.client, much, sizeof much), sizeof much);
        pump(&p);
        for (int j = 0; j < 20; j++) tio_conn_step(p.server);
        CHECK_INT(p.server->wire.in_size, 0);
        CHECK(!(tio_conn_next(p.server) & (TIO_NEXT_READABLE | TIO_NEXT_TURN)));
        CHECK_INT(p.server->in, TIO_IN_OPEN);
        tio_conn_end(p.client);
        pump(&p);
        CHECK_INT(p.server->in, TIO_IN_ENDED);
        CHECK_INT(p.client->in, TIO_IN_ENDED);
        pair_free(&p);
    }
}

static void a_record_stands_when_nobody_reads(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        pair p = open_pair(versions[i]);
        char text[64];
        p.reading = 0;
        tio_conn_write(p.client, "wait", 4);
        tio_conn_write(p.client, " here", 5);
        pump(&p);
        CHECK(p.server->has_plaintext);
        CHECK_INT(p.server->bytes_read, 0);
        CHECK_INT(tio_conn_next(p.server), TIO_NEXT_READABLE);
        CHECK(p.server->wire.in_size > 0);              /* the second record is left alone */
        CHECK_INT(tio_conn_take(p.server, text, 1), 1);
        CHECK_INT(tio_conn_take(p.server, text + 1, sizeof text - 1), 3);
        CHECK_INT(tio_conn_take(p.server, text + 4, sizeof text - 4), 5);
        CHECK(!memcmp(text, "wait here", 9));
        tio_conn_turn(p.server);
        tio_conn_end(p.client);                         /* and an end is seen although nobody reads */
        pump(&p);
        CHECK_INT(p.server->in, TIO_IN_ENDED);
        pair_free(&p);
    }
}

static void nothing_asked_nothing_broken(void) {
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        pair p = open_pair(versions[i]);
        char text[8];
        p.reading = 0;
        CHECK_INT(tio_conn_write(p.client, "", 0), 0);
        CHECK_INT(tio_conn_take(p.server, text, 0), 0);
        tio_conn_write(p.client, "data", 4);
        pump(&p);
        CHECK_INT(tio_conn_take(p.server, text, 0), 0);
        CHECK_INT(p.server->phase, TIO_OPEN);
        CHECK_INT(tio_conn_take(p.server, text, 8), 4);
        pair_free(&p);
    }
}

/* ---- limits */

typedef struct { SSL_CTX *ctx; tio_context *server; plain client; tio_conn *c; } update_test;

static update_test begin_updates(void) {
    update_test t = { .ctx = plain_context(TLS1_3_VERSION, NULL), .server = server_context(TLS1_3_VERSION, &server_a, 0) };
    t.client = plain_new(t.ctx, 0, NULL);
    t.c = tio_conn_new(t.server, TIO_SERVER);
    plain_pump(&t.client, t.c);
    CHECK_INT(t.c->phase, TIO_OPEN);
    return t;
}

static void end_updates(update_test *t) {
    plain_free(&t->client);
    tio_conn_free(t->c);
    tio_context_release(t->server);
    SSL_CTX_free(t->ctx);
}

static void update_keys(update_test *t, int count, int kind) {
    for (int i = 0; i < count; i++) {
        SSL_key_update(t->client.ssl, kind);
        SSL_do_handshake(t->client.ssl);
    }
}

static void key_updates_on_both_sides_of_the_limit(void) {
    char text[8];
    update_test t = begin_updates();
    for (int i = 0; i < 3; i++) {                       /* data in between: it starts anew */
        update_keys(&t, TIO_KEY_UPDATES, i % 2);
        SSL_write(t.client.ssl, "x", 1);
        plain_to(&t.client, t.c);
        CHECK_INT(t.c->phase, TIO_OPEN);
        CHECK_INT(tio_conn_take(t.c, text, 8), 1);
        tio_conn_turn(t.c);
    }
    update_keys(&t, TIO_KEY_UPDATES, 0);
    plain_to(&t.client, t.c);
    CHECK_INT(t.c->phase, TIO_OPEN);
    update_keys(&t, 1, 0);
    plain_to(&t.client, t.c);
    CHECK_INT(t.c->phase, TIO_BROKEN);
    CHECK(t.c->fault && t.c->fault->kind == TIO_FAULT_LIMIT && t.c->fault->limit == TIO_LIMIT_KEY_UPDATES);
    end_updates(&t);
}

static void one_call_swallows_no_more_than_the_budget(void) {
    update_test t = begin_updates();
    uint64_t before = t.c->wire.bytes_in;
    update_keys(&t, 2000, 0);
    plain_to(&t.client, t.c);
    CHECK(t.c->wire.bytes_in - before > 2 * TIO_LOOK_BUDGET);
    CHECK(t.c->wire.budget_spent);
    CHECK(t.c->wire.bytes_in - before - t.c->wire.in_size < TIO_LOOK_BUDGET + 100);      /* the record it ran out in */
    CHECK_INT(t.c->phase, TIO_BROKEN);
    end_updates(&t);
}

static void output_is_gathered_up_to_the_bound(void) {
    static uint8_t much[TIO_GATHER * 2], wire[TIO_GATHER * 2], got[TIO_GATHER * 2];
    for (int i = 0; i < 2; i++) {
        label(versions[i]);
        pair p = open_pair(versions[i]);
        const uint8_t *data;
        p.reading = 0;
        for (size_t j = 0; j < sizeof much; j++) much[j] = (uint8_t)(j * 2654435761u >> 13);
        size_t first = TIO_GATHER - TIO_RECORD, done = tio_conn_write(p.server, much, first);
        CHECK_INT(done, first);                         /* below the bound all is taken */
        done += tio_conn_write(p.server, much + done, sizeof much - done);
        CHECK(done < sizeof much);
        size_t held = tio_conn_output(p.server, &data);
        CHECK(held >= TIO_GATHER && held < TIO_GATHER + TIO_RECORD + 256);
        CHECK_INT(tio_conn_write(p.server, much + done, sizeof much - done), 0);
        CHECK_INT(p.server->phase, TIO_OPEN);
        size_t got_size = 0, n;
        while (got_size < sizeof much && p.client->phase == TIO_OPEN) {
            size_t sent = take_output(p.server, wire, 50000);
            tio_conn_feed(p.client, wire, sent);
            while ((n = tio_conn_take(p.client, got + got_size, sizeof got - got_size)) != 0) got_size += n;
            tio_conn_turn(p.client);
            done += tio_conn_write(p.server, much + done, sizeof much - done);
            if (!sent) break;
        }
        CHECK_INT(got_size, sizeof much);
        CHECK(!memcmp(got, much, sizeof much));
        pair_free(&p);
    }
}

/* A peer that reads slowly, so that there is always something unsent: the block must not grow with the bytes that passed. */
static void a_slow_reader_costs_no_more_than_the_bound(void) {
    static uint8_t much[TIO_RECORD], wire[TIO_GATHER];
    pair p = open_pair(TLS1_3_VERSION);
    uint64_t before = p.server->wire.bytes_out;
    for (int i = 0; i < 2000; i++) {
        tio_conn_write(p.server, much, sizeof much);
        if (i > 3) take_output(p.server, wire, i % 100 == 0 ? 120000 : sizeof much);
        if (!CHECK(p.server->wire.out_room <= 2 * (TIO_GATHER + 2 * TIO_RECORD))) break;
    }
    CHECK(p.server->wire.bytes_out - before > 10000000);
    pair_free(&p);
}

/* The answer to a KeyUpdate has to wait for room as well, and the connection for it. */
static void answers_nobody_asked_for_are_bounded_too(void) {
    static uint8_t much[TIO_GATHER * 2];
    char byte;
    update_test t = begin_updates();
    size_t done = tio_conn_write(t.c, much, sizeof much), held = t.c->wire.out_end - t.c->wire.out_start;
    CHECK(done < sizeof much && held >= TIO_GATHER);
    update_keys(&t, 1, SSL_KEY_UPDATE_REQUESTED);
    SSL_write(t.client.ssl, "hello", 5);
    plain_to(&t.client, t.c);
    for (int i = 0; i < 5; i++) tio_conn_step(t.c);
    CHECK_INT(t.c->phase, TIO_OPEN);
    CHECK_INT(t.c->wire.out_end - t.c->wire.out_start, held);
    CHECK_INT(tio_conn_write(t.c, much, 5), 0);
    plain_from(&t.client, t.c);
    tio_conn_step(t.c);
    CHECK_INT(tio_conn_take(t.c, &byte, 1), 1);
    CHECK_INT(byte, 'h');
    CHECK_INT(tio_conn_write(t.c, "last", 4), 4);
    plain_from(&t.client, t.c);
    size_t got = 0;
    int n;
    char text[TIO_RECORD];
    while ((n = SSL_read(t.client.ssl, text, sizeof text)) > 0) got += (size_t)n;
    CHECK_INT(got, done + 4);
    tio_conn_turn(t.c);
    end_updates(&t);
}

/* RFC 6066 4: records of 512 bytes; one write is many records then. */
static void small_fragments(void) {
    static char much[20000], got[20000];
    SSL_CTX *ctx = plain_context(TLS1_2_VERSION, NULL);
    tio_context *server = server_context(TLS1_2_VERSION, &server_a, 0);
    SSL_CTX_set_tlsext_max_fragment_length(ctx, TLSEXT_max_fragment_length_512);
    plain client = plain_new(ctx, 0, NULL);
    tio_conn *c = tio_conn_new(server, TIO_SERVER);
    plain_pump(&client, c);
    for (size_t i = 0; i < sizeof much; i++) much[i] = (char)(i * 31 >> 3);
    CHECK_INT(tio_conn_write(c, much, sizeof much), sizeof much);
    plain_from(&client, c);
    size_t have = 0;
    int n;
    while ((n = SSL_read(client.ssl, got + have, (int)(sizeof got - have))) > 0) have += (size_t)n;
    CHECK(have == sizeof much && !memcmp(much, got, have));
    plain_free(&client);
    tio_conn_free(c);
    tio_context_release(server);
    SSL_CTX_free(ctx);
}

/* A private block, used up, and new bytes in the borrowed buffer behind it: both belong to somebody. */
static void fed_in_every_order(void) {
    pair p = open_pair(TLS1_3_VERSION);
    uint8_t wire[4096], text[64];
    p.reading = 0;
    for (int i = 0; i < 8; i++) tio_conn_write(p.client, "12345678", 8);
    size_t n = take_output(p.client, wire, sizeof wire), at = 0, got = 0;
    static const size_t sizes[] = { 40, 1, 60, 7, 5, 1000 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t some = sizes[i] < n - at ? sizes[i] : n - at;
        CHECK_INT(tio_conn_feed(p.server, wire + at, some), 0);
        at += some;
        if (i % 2) got += tio_conn_take(p.server, text + got, 3);
        if (i % 3 == 1) tio_conn_turn(p.server);
    }
    size_t more;
    while ((more = tio_conn_take(p.server, text + got, sizeof text - got)) != 0) got += more;
    CHECK_INT(got, 64);
    tio_conn_turn(p.server);
    pair_free(&p);
}

void data_tests(void) {
    RUN(cut_into_single_bytes);
    RUN(cut_at_every_place_of_each_flight);
    RUN(cut_at_random);
    RUN(invariant_1_no_plaintext_before_open);
    RUN(invariant_2_nothing_leaves_while_a_question_is_open);
    RUN(invariant_3_broken_is_final_and_its_alert_leaves);
    RUN(invariant_5_a_connection_may_change_its_thread_between_calls);
    RUN(invariant_8_end_of_file_is_never_shown_to_openssl);
    RUN(hang_up_in_the_handshake);
    RUN(end_of_file_behind_data);
    RUN(end_of_file_inside_a_record);
    RUN(half_close_works_both_ways);
    RUN(closing_throws_input_away);
    RUN(a_record_stands_when_nobody_reads);
    RUN(nothing_asked_nothing_broken);
    RUN(key_updates_on_both_sides_of_the_limit);
    RUN(one_call_swallows_no_more_than_the_budget);
    RUN(output_is_gathered_up_to_the_bound);
    RUN(a_slow_reader_costs_no_more_than_the_bound);
    RUN(answers_nobody_asked_for_are_bounded_too);
    RUN(small_fragments);
    RUN(fed_in_every_order);
}
