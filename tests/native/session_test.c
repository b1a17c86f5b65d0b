/* session_test.c - sessions by id: made, stored, looked up, resumed; and a client that is asked about the one it resumed. */
#include "harness.h"

/* One server's store of one session, and what a visit came to. */
typedef struct {
    int version;
    unsigned wants;                     /* the server's, beside TIO_WANT_SESSIONS */
    tio_context *client, *server;
    const char *name;                   /* whom the client asks for; NULL: nobody */
    uint8_t id[TIO_SESSION_ID], *kept;  /* the server's side */
    size_t id_size, kept_size;
    uint8_t *given;                     /* the client's side */
    size_t given_size;
    int stored, asked;                  /* sessions and lookups of the last visit */
} world;

static world world_new(int version, unsigned wants, unsigned flags) {
    world w = { .version = version, .wants = wants };
    w.client = client_context(version, &client_a);
    w.server = server_context(version, &server_a, flags);
    snprintf(note, sizeof note, "TLS 1.%d", version - TLS1_VERSION);
    return w;
}

static void world_free(world *w) {
    free(w->kept);
    free(w->given);
    tio_context_release(w->client);
    tio_context_release(w->server);
}

static uint8_t *copy(const tio_session *s) { return memcpy(malloc(s->size), s->der, s->size); }

static void fetch_client(world *w, tio_conn *c) {
    const tio_session *made;
    size_t count = tio_conn_sessions(c, &made);
    if (!count) return;
    free(w->given);
    w->given = copy(&made[count - 1]);
    w->given_size = made[count - 1].size;
    tio_conn_sessions_told(c);
    CHECK_INT(c->has_news, 0);
}

static void fetch_server(world *w, tio_conn *s) {
    const tio_session *made;
    size_t count = tio_conn_sessions(s, &made);
    w->stored += (int)count;
    free(w->kept);
    w->kept = copy(&made[count - 1]);
    w->kept_size = made[count - 1].size;
    memcpy(w->id, made[count - 1].id, made[count - 1].id_size);
    w->id_size = made[count - 1].id_size;
    CHECK(made->lifetime > 0);
}

/* Server questions answered as a store would. */
static int serve(world *w, tio_conn *s) {
    if (s->question == TIO_ASK_HELLO) {
        w->asked++;
        tio_sessions *sessions = s->sessions;
        if (w->kept && sessions && sessions->asked_size == w->id_size && !memcmp(sessions->asked, w->id, w->id_size))
            CHECK_INT(tio_answer_session(s, w->kept, w->kept_size), 0);
        tio_answer_hello(s, NULL, NULL, 0);
    } else if (s->question == TIO_ASK_STORE) {
        const uint8_t *data;
        CHECK_INT(tio_conn_output(s, &data), 0);        /* nothing leaves before it is stored */
        CHECK_INT(s->phase, TIO_HANDSHAKING);
        fetch_server(w, s);
        tio_answer_store(s);
    } else if (s->question == TIO_ASK_CLIENT) {
        tio_answer_client(s);
    } else {
        return 0;
    }
    tio_conn_step(s);
    return 1;
}

static pair meet(world *w) {
    pair p = pair_new(w->client, w->server, TIO_WANT_SESSIONS | w->wants);
    w->stored = w->asked = 0;
    p.held = 1;
    p.judge = X509_V_OK;
    p.client->policy.wants |= TIO_WANT_SESSIONS;
    if (w->name) tio_conn_set_server_name(p.client, w->name);
    if (w->given) CHECK_INT(tio_conn_set_session(p.client, w->given, w->given_size), 0);
    do pump(&p);
    while (serve(w, p.server));
    return p;
}

/* Whether it was resumed; -1: the handshake failed. */
static int visit(world *w) {
    pair p = meet(w);
    int open = p.client->phase == TIO_OPEN && p.server->phase == TIO_OPEN;
    int reused = open ? SSL_session_reused(p.client->ssl) : -1;
    if (open) CHECK_INT(SSL_session_reused(p.server->ssl), reused);
    CHECK_INT(p.verify_questions, 1);                   /* always: about a certificate, or about the session */
    fetch_client(w, p.client);
    pair_free(&p);
    return reused;
}

static void session_is_stored_looked_up_and_resumed(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], TIO_STATEFUL, 0);
        CHECK_INT(visit(&w), 0);
        CHECK_INT(w.stored, versions[i] == TLS1_3_VERSION ? 2 : 1);
        CHECK_INT(w.id_size, TIO_SESSION_ID);
        CHECK_INT(visit(&w), 1);
        CHECK_INT(w.asked, 1);
        CHECK_INT(visit(&w), 1);
        world_free(&w);
    }
}

static void hooks_alone_leave_tickets_to_tls_1_2(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], TIO_STATEFUL_13, 0);
        CHECK_INT(visit(&w), 0);
        CHECK_INT(w.stored, versions[i] == TLS1_3_VERSION ? 2 : 0);
        CHECK_INT(visit(&w), 1);
        CHECK_INT(w.asked, versions[i] == TLS1_3_VERSION ? 1 : 0);
        world_free(&w);
    }
}

static void tickets_that_carry_their_session_are_not_stored(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], 0, 0);
        CHECK_INT(visit(&w), 0);
        CHECK_INT(w.stored, 0);
        CHECK_INT(visit(&w), 1);
        CHECK_INT(w.asked, 0);
        world_free(&w);
    }
}

static void lost_session_is_a_full_handshake(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], TIO_STATEFUL, 0);
        CHECK_INT(visit(&w), 0);
        free(w.kept);
        w.kept = NULL;
        CHECK_INT(visit(&w), 0);
        CHECK_INT(w.asked, 1);
        world_free(&w);
    }
}

/* What the store gives back is another client's session, cut, or nonsense. */
static void wrong_session_is_a_full_handshake(void) {
    for (int i = 0; i < 2; i++)
        for (int kind = 0; kind < 3; kind++) {
            world w = world_new(versions[i], TIO_STATEFUL, 0), other = world_new(versions[i], TIO_STATEFUL, 0);
            CHECK_INT(visit(&w), 0);
            CHECK_INT(visit(&other), 0);
            pair p = pair_new(w.client, w.server, TIO_WANT_SESSIONS | TIO_STATEFUL);
            p.held = 1;
            tio_conn_set_session(p.client, w.given, w.given_size);
            pump(&p);
            CHECK_INT(p.server->question, TIO_ASK_HELLO);
            if (kind == 0) CHECK_INT(tio_answer_session(p.server, other.kept, other.kept_size), 0);
            if (kind == 1) CHECK_INT(tio_answer_session(p.server, w.kept, w.kept_size / 2), -1);
            if (kind == 2) CHECK_INT(tio_answer_session(p.server, (const uint8_t *)"nonsense", 8), -1);
            tio_answer_hello(p.server, NULL, NULL, 0);
            tio_conn_step(p.server);
            do pump(&p);
            while (serve(&w, p.server));
            CHECK_INT(p.server->phase, TIO_OPEN);
            CHECK_INT(SSL_session_reused(p.server->ssl), 0);
            pair_free(&p);
            world_free(&w);
            world_free(&other);
        }
}

static void session_of_another_id_context_is_a_full_handshake(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], TIO_STATEFUL, 0);
        CHECK_INT(visit(&w), 0);
        tio_context_release(w.server);
        w.server = server_context(versions[i], &server_a, WANT_CERT);
        SSL_CTX_set_session_id_context(w.server->ssl, (const uint8_t *)"other", 5);
        CHECK_INT(visit(&w), 0);
        CHECK_INT(w.asked, 1);
        world_free(&w);
    }
}

/* With a user to decide about clients: in TLS 1.3 tickets wait for the answer, in TLS 1.2 nothing is resumed. */
static void sessions_are_made_behind_the_users_answer(void) {
    for (int i = 0; i < 2; i++) {
        int modern = versions[i] == TLS1_3_VERSION;
        world w = world_new(versions[i], TIO_STATEFUL | TIO_WANT_CLIENT, WANT_CERT);
        CHECK_INT(visit(&w), 0);
        CHECK_INT(w.stored, modern ? 2 : 0);
        CHECK_INT(visit(&w), modern);
        world_free(&w);
    }
}

static void client_goes_on_only_with_a_session_that_was_accepted(void) {
    for (int i = 0; i < 2; i++)
        for (int answer = 0; answer < 3; answer++) {
            world w = world_new(versions[i], 0, 0);
            CHECK_INT(visit(&w), 0);
            pair p = pair_new(w.client, w.server, 0);
            const uint8_t *data;
            p.judge = -1;
            tio_conn_set_session(p.client, w.given, w.given_size);
            pump(&p);
            CHECK_INT(p.client->question, TIO_ASK_VERIFY);
            CHECK_INT(p.client->phase, TIO_HANDSHAKING);
            CHECK_INT(SSL_session_reused(p.client->ssl), 1);
            CHECK_INT(tio_conn_output(p.client, &data), 0);     /* not even our Finished */
            CHECK_INT(tio_conn_write(p.client, "x", 1), 0);
            if (answer == 2) tio_refuse(p.client, SSL_AD_ACCESS_DENIED);
            else tio_answer_verify(p.client, answer ? X509_V_ERR_CERT_REJECTED : X509_V_OK);
            tio_conn_step(p.client);
            pump(&p);
            CHECK_INT(p.client->phase, answer ? TIO_BROKEN : TIO_OPEN);
            CHECK_INT(p.server->phase, answer ? TIO_BROKEN : TIO_OPEN);
            CHECK_INT(p.server->alert_received, answer == 0 ? -1 : answer == 1 ? SSL_AD_BAD_CERTIFICATE : SSL_AD_ACCESS_DENIED);
            pair_free(&p);
            world_free(&w);
        }
}

static void client_whose_session_is_not_taken_verifies(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], 0, 0);
        CHECK_INT(visit(&w), 0);
        tio_context_release(w.server);
        w.server = server_context(versions[i], &server_b, 0);           /* other ticket keys */
        pair p = meet(&w);
        CHECK_INT(SSL_session_reused(p.client->ssl), 0);
        CHECK_INT(p.client->phase, TIO_OPEN);
        CHECK(p.client->verify && p.client->verify->leaf && !X509_cmp(p.client->verify->leaf, server_b.cert));
        pair_free(&p);
        world_free(&w);
    }
}

static void session_is_given_before_the_first_step_and_by_clients_only(void) {
    world w = world_new(TLS1_3_VERSION, 0, 0);
    CHECK_INT(visit(&w), 0);
    pair p = pair_new(w.client, w.server, 0);
    CHECK_INT(tio_conn_set_session(p.client, (const uint8_t *)"nonsense", 8), -1);
    CHECK_INT(tio_conn_set_session(p.server, w.given, w.given_size), -1);
    CHECK_INT(tio_answer_session(p.server, w.given, w.given_size), -1);
    tio_answer_store(p.server);                         /* nothing was asked: nothing happens */
    pump(&p);
    CHECK_INT(p.client->phase, TIO_OPEN);
    CHECK_INT(tio_conn_set_session(p.client, w.given, w.given_size), -1);
    pair_free(&p);
    world_free(&w);
}

static void renewed_ticket_is_told_in_tls_1_2_too(void) {
    world w = world_new(TLS1_2_VERSION, 0, 0);
    uint8_t key[TIO_TICKET_KEY];
    CHECK_INT(visit(&w), 0);
    memset(key, 7, sizeof key);
    tio_ring_push(w.server->ring, key);
    uint8_t *before = memcpy(malloc(w.given_size), w.given, w.given_size);
    size_t size = w.given_size;
    CHECK_INT(visit(&w), 1);
    CHECK(size != w.given_size || memcmp(before, w.given, size));
    tio_ring_set(w.server->ring, key, 1);               /* the old key is gone */
    CHECK_INT(visit(&w), 1);
    free(before);
    world_free(&w);
}

static void sessions_nobody_fetches_are_bounded(void) {
    world w = world_new(TLS1_3_VERSION, 0, 0);
    const tio_session *made;
    pair p = meet(&w);
    for (int i = 0; i < 20; i++) {
        SSL_new_session_ticket(p.server->ssl);
        tio_conn_write(p.server, "x", 1);
        pump(&p);
    }
    CHECK_INT(tio_conn_sessions(p.client, &made), TIO_SESSIONS);
    CHECK_INT(p.client->has_news, 1);
    pair_free(&p);
    world_free(&w);
}

static void connection_may_go_while_its_sessions_are_stored(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], TIO_STATEFUL, 0);
        pair p = pair_new(w.client, w.server, TIO_WANT_SESSIONS | TIO_STATEFUL);
        p.held = 1;
        pump(&p);
        CHECK_INT(p.server->question, TIO_ASK_STORE);
        tio_conn_break(p.server, TIO_FAULT_HANGUP, TIO_NO_LIMIT, 0);
        CHECK_INT(p.server->question, TIO_NO_QUESTION);
        tio_answer_store(p.server);
        pair_free(&p);
        world_free(&w);
    }
}

static void session_belongs_to_its_name_before_tls_1_3(void) {
    for (int i = 0; i < 2; i++)
        for (int stateful = 0; stateful < 2; stateful++) {
            int modern = versions[i] == TLS1_3_VERSION;
            world w = world_new(versions[i], stateful ? TIO_STATEFUL : 0, 0);
            w.name = "one.test";
            CHECK_INT(visit(&w), 0);
            CHECK_INT(visit(&w), 1);
            w.name = "two.test";
            CHECK_INT(visit(&w), modern);
            w.name = NULL;
            CHECK_INT(visit(&w), modern);
            world_free(&w);
        }
}

static void session_of_a_cipher_that_is_gone_is_a_full_handshake(void) {
    for (int ours = 0; ours < 2; ours++)
        for (int stateful = 0; stateful < 2; stateful++) {
            world w = world_new(TLS1_2_VERSION, stateful ? TIO_STATEFUL : 0, 0);
            SSL_CTX *drops = ours ? w.client->ssl : w.server->ssl;
            SSL_CTX_set_cipher_list(drops, "ECDHE+AES128");
            CHECK_INT(visit(&w), 0);
            CHECK_INT(visit(&w), 1);
            SSL_CTX_set_cipher_list(drops, "ECDHE+AES256");
            CHECK_INT(visit(&w), 0);
            world_free(&w);
        }
}

/* Two servers under one id context and one key: the one asks for a certificate, the other insists. */
static void session_of_a_stranger_does_not_open_a_strict_server(void) {
    for (int i = 0; i < 2; i++)
        for (int stateful = 0; stateful < 2; stateful++)
            for (int who = 0; who < 3; who++) {
                const identity *ids[] = { NULL, &client_strange, &client_a };
                world w = world_new(versions[i], stateful ? TIO_STATEFUL : 0, WANT_CERT | SOFT);
                uint8_t key[TIO_TICKET_KEY];
                tio_context_release(w.client);
                w.client = client_context(versions[i], ids[who]);
                CHECK_INT(visit(&w), 0);
                CHECK_INT(visit(&w), 1);
                tio_ring_first(w.server->ring, key);
                tio_context_release(w.server);
                w.server = server_context(versions[i], &server_a, WANT_CERT);
                tio_ring_set(w.server->ring, key, 1);
                CHECK_INT(visit(&w), who == 2 ? 1 : -1);
                world_free(&w);
            }
}

void session_tests(void) {
    RUN(session_belongs_to_its_name_before_tls_1_3);
    RUN(session_of_a_cipher_that_is_gone_is_a_full_handshake);
    RUN(session_of_a_stranger_does_not_open_a_strict_server);
    RUN(session_is_stored_looked_up_and_resumed);
    RUN(hooks_alone_leave_tickets_to_tls_1_2);
    RUN(tickets_that_carry_their_session_are_not_stored);
    RUN(lost_session_is_a_full_handshake);
    RUN(wrong_session_is_a_full_handshake);
    RUN(session_of_another_id_context_is_a_full_handshake);
    RUN(sessions_are_made_behind_the_users_answer);
    RUN(client_goes_on_only_with_a_session_that_was_accepted);
    RUN(client_whose_session_is_not_taken_verifies);
    RUN(session_is_given_before_the_first_step_and_by_clients_only);
    RUN(renewed_ticket_is_told_in_tls_1_2_too);
    RUN(sessions_nobody_fetches_are_bounded);
    RUN(connection_may_go_while_its_sessions_are_stored);
}
