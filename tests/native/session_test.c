/* session_test.c - sessions by id: made, stored, looked up, resumed; and a client that is asked about the one it resumed. */
#include "harness.h"

#include <time.h>

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
    tio_conn_clear_sessions(c);
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

/* ---- the end of a verdict ------------------------------------------------------------------------------------------ */

enum { DAY = 86400 };

static world mutual(int version, unsigned wants, int64_t timeout) {
    world w = world_new(version, wants, WANT_CERT);
    tio_context_release(w.client);
    w.client = client_context(version, &client_a);
    SSL_CTX_set_timeout(w.server->ssl, (long)timeout);
    return w;
}

static void rotate(world *w) {
    static uint8_t key[TIO_TICKET_KEY];
    key[0]++;
    tio_ring_push(w->server->ring, key);
}

static void chain_of_resumptions_ends_with_the_first_verification(void) {
    for (int i = 0; i < 2; i++)
        for (int stateful = 0; stateful < 2; stateful++)
            for (int asks = 0; asks < 2; asks++) {
                world w = asks ? mutual(versions[i], stateful ? TIO_STATEFUL : 0, 1000) : world_new(versions[i], stateful ? TIO_STATEFUL : 0, 0);
                SSL_CTX_set_timeout(w.server->ssl, 1000);
                set_wall(0);
                CHECK_INT(visit(&w), 0);
                for (int at = 300; at < 1000; at += 300) {
                    rotate(&w);                         /* so that TLS 1.2 gives a new ticket, too */
                    set_wall(at);
                    CHECK_INT(visit(&w), 1);
                }
                set_wall(1001);
                CHECK_INT(visit(&w), 0);
                set_wall(1300);                         /* which begins another chain */
                CHECK_INT(visit(&w), 1);
                world_free(&w);
            }
}

static void verdict_ends_with_the_clients_certificate(void) {
    for (int i = 0; i < 2; i++)
        for (int stateful = 0; stateful < 2; stateful++) {
            world w = mutual(versions[i], stateful ? TIO_STATEFUL : 0, 60 * DAY);
            set_wall(0);
            CHECK_INT(visit(&w), 0);
            set_wall(29 * DAY);
            CHECK_INT(visit(&w), 1);
            set_wall(30 * DAY + 1);
            CHECK_INT(visit(&w), 0);
            world_free(&w);
        }
}

static void chain_ends_with_the_first_certificate_of_it(void) {
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, client_a.cert);
    sk_X509_push(chain, authority.cert);
    int64_t end = tio_chain_end(chain, NULL);
    sk_X509_push(chain, client_expired.cert);
    CHECK(tio_chain_end(chain, NULL) < end);
    CHECK_INT(tio_chain_end(chain, NULL), tio_chain_end(NULL, client_expired.cert));
    CHECK_INT(tio_chain_end(NULL, NULL), INT64_MAX);
    sk_X509_free(chain);
}

static void lifetime_that_is_told_is_not_longer_than_the_verdict(void) {
    for (int i = 0; i < 2; i++) {
        world w = mutual(versions[i], TIO_STATEFUL, 60 * DAY);
        pair p = pair_new(w.client, w.server, TIO_WANT_SESSIONS | TIO_STATEFUL);
        const tio_session *made;
        p.held = 1;
        p.judge = X509_V_OK;
        pump(&p);
        CHECK_INT(p.server->question, TIO_ASK_STORE);
        CHECK(tio_conn_sessions(p.server, &made) && made->lifetime > 29 * DAY && made->lifetime <= 30 * DAY);
        pair_free(&p);
        world_free(&w);
    }
}

static void clock_that_goes_back_is_a_full_handshake(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], 0, 0);
        CHECK_INT(visit(&w), 0);
        set_wall(-30);                                  /* clocks of a cluster differ */
        CHECK_INT(visit(&w), 1);
        set_wall(-DAY);
        CHECK_INT(visit(&w), 0);
        set_wall(0);
        world_free(&w);
    }
}

/* As a session of another program would be. */
static void strip(world *w) {
    const unsigned char *at = w->kept;
    SSL_SESSION *s = d2i_SSL_SESSION(NULL, &at, (long)w->kept_size);
    unsigned char *end = w->kept;
    SSL_SESSION_set1_ticket_appdata(s, NULL, 0);
    w->kept_size = (size_t)i2d_SSL_SESSION(s, &end);    /* shorter than before */
    SSL_SESSION_free(s);
}

static void session_without_a_mark_resumes_where_no_certificate_is_asked_for(void) {
    for (int i = 0; i < 2; i++) {
        world w = world_new(versions[i], TIO_STATEFUL, 0);
        SSL_CTX_set_timeout(w.server->ssl, 1000);
        set_wall(0);
        CHECK_INT(visit(&w), 0);
        strip(&w);
        set_wall(900);
        CHECK_INT(visit(&w), 1);
        set_wall(1001);                                 /* its renewal keeps the time it was made at */
        CHECK_INT(visit(&w), 0);
        world_free(&w);
    }
}

static void session_without_a_mark_opens_no_mutual_server_but_by_the_option(void) {
    for (int i = 0; i < 2; i++)
        for (int allowed = 0; allowed < 2; allowed++)
            for (int guard = 0; guard < 3; guard++) {     /* what a chain would be needed for: none, lists, pins */
                world w = mutual(versions[i], TIO_STATEFUL, 60 * DAY);
                w.server->settings.resume_unmarked = allowed;
                if (guard == 2) set_pin(w.server, &client_a);
                set_wall(0);
                CHECK_INT(visit(&w), 0);
                if (guard == 1) w.server->settings.lists = tio_lists_new(0, 4);
                strip(&w);
                CHECK_INT(visit(&w), allowed && !guard);
                if (!guard) {
                    strip(&w);
                    set_wall(31 * DAY);                 /* the certificate is in the session, and has ended */
                    CHECK_INT(visit(&w), 0);
                }
                world_free(&w);
            }
}

static void mark_that_is_cut_or_changed_is_none(void) {
    static const size_t cuts[] = { 0, 7, 8, 55 };
    for (size_t n = 0; n < sizeof cuts / sizeof *cuts; n++) {
        world w = mutual(TLS1_3_VERSION, TIO_STATEFUL, 1000);
        CHECK_INT(visit(&w), 0);
        const unsigned char *at = w.kept;
        SSL_SESSION *s = d2i_SSL_SESSION(NULL, &at, (long)w.kept_size);
        void *data;
        size_t size;
        uint8_t copy[8192];
        CHECK(SSL_SESSION_get0_ticket_appdata(s, &data, &size) && size > 56);
        memcpy(copy, data, size);
        SSL_SESSION_set1_ticket_appdata(s, copy, cuts[n]);
        unsigned char *end = w.kept;
        w.kept_size = (size_t)i2d_SSL_SESSION(s, &end);
        SSL_SESSION_free(s);
        CHECK_INT(visit(&w), 0);
        world_free(&w);
    }
}

static void lists_of_the_store_end_sessions_with_certificates(void) {
    for (int i = 0; i < 2; i++)
        for (int asks = 0; asks < 2; asks++) {
            world w = asks ? mutual(versions[i], 0, 1000) : world_new(versions[i], 0, 0);
            w.server->settings.lists_end = (int64_t)time(NULL) + 500;
            CHECK_INT(visit(&w), 0);
            set_wall(400);
            CHECK_INT(visit(&w), 1);
            set_wall(501);
            CHECK_INT(visit(&w), !asks);
            set_wall(0);
            world_free(&w);
        }
}

/* Two servers under one id context, of which the one trusts something else. */
static void session_of_another_trust_opens_no_mutual_server(void) {
    for (int i = 0; i < 2; i++)
        for (int asks = 0; asks < 2; asks++) {
            world w = asks ? mutual(versions[i], 0, 1000) : world_new(versions[i], 0, 0);
            CHECK_INT(visit(&w), 0);
            CHECK_INT(visit(&w), 1);
            w.server->settings.trust[7] ^= 1;
            CHECK_INT(visit(&w), !asks);
            world_free(&w);
        }
}

/* ---- revocation lists at hand -------------------------------------------------------------------------------------- */

/* A list that revokes this one, or nothing; its publisher keeps it. */
static void publish(tio_lists *lists, const uint8_t key[TIO_LIST_KEY], const identity *revoked, int64_t until) {
    X509_REVOKED *entry = X509_REVOKED_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
    unsigned char *der = NULL;
    tio_serials *serials = NULL;
    X509_REVOKED_set_revocationDate(entry, now);
    if (revoked) X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->cert));
    int size = i2d_X509_REVOKED(entry, &der);
    CHECK_INT(tio_serials_read(der, revoked ? (size_t)size : 0, &serials), 0);
    tio_lists_put(lists, key, serials, until);
    tio_serials_release(serials);
    OPENSSL_free(der);
    ASN1_TIME_free(now);
    X509_REVOKED_free(entry);
}

static size_t entries_of_client(uint8_t entries[TIO_ENTRIES]) {
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, client_a.cert);
    sk_X509_push(chain, authority.cert);
    size_t size = tio_chain_entries(chain, entries);
    sk_X509_free(chain);
    return size;
}

static void session_is_resumed_by_lists_that_pass_its_certificates_only(void) {
    enum { NOTHING, NONE, CLEAN, REVOKED, STALE, CASES };
    uint8_t key[TIO_ENTRIES];
    entries_of_client(key);
    for (int i = 0; i < 2; i++)
        for (int stateful = 0; stateful < 2; stateful++)
            for (int required = 0; required < 2; required++)
                for (int how = 0; how < CASES; how++) {
                    world w = mutual(versions[i], stateful ? TIO_STATEFUL : 0, 1000);
                    int64_t until = (int64_t)time(NULL) + (how == STALE ? 0 : 500);
                    set_wall(0);
                    CHECK_INT(visit(&w), 0);
                    w.server->settings.lists = tio_lists_new(required, 4);
                    if (how == NONE) tio_lists_put(w.server->settings.lists, key, NULL, until);
                    else if (how) publish(w.server->settings.lists, key, how == REVOKED ? &client_a : how == CLEAN ? &server_a : NULL, until);
                    CHECK_INT(visit(&w), how == CLEAN || (how == NONE && !required));
                    CHECK_INT(tio_lists_until(w.server->settings.lists, key), how ? until : 0);
                    if (how == CLEAN) {                 /* a newer list takes its place */
                        CHECK_INT(visit(&w), 1);
                        publish(w.server->settings.lists, key, &client_a, until);
                        CHECK_INT(visit(&w), 0);
                    }
                    world_free(&w);
                }
}

static void lists_are_bounded(void) {
    tio_lists *lists = tio_lists_new(0, 2);
    uint8_t key[TIO_LIST_KEY] = { 0 };
    for (int i = 0; i < 3; i++) {
        key[0] = (uint8_t)i;
        tio_lists_put(lists, key, NULL, 100 + i);
    }
    for (int i = 0; i < 3; i++) {
        key[0] = (uint8_t)i;
        CHECK_INT(tio_lists_until(lists, key), i ? 100 + i : 0);
    }
    tio_lists_release(lists);
}

static void entries_that_are_cut_do_not_pass(void) {
    tio_lists *lists = tio_lists_new(0, 2);
    uint8_t entries[TIO_ENTRIES];
    size_t size = entries_of_client(entries);
    CHECK(size > TIO_LIST_KEY + 1);
    tio_lists_put(lists, entries, NULL, 100);
    for (size_t n = 0; n <= size; n++) {
        uint8_t *cut = malloc(n ? n : 1);               /* of its own size: so that a sanitizer sees a read beyond it */
        memcpy(cut, entries, n);
        CHECK_INT(tio_lists_pass(lists, cut, n, 50), n == 0 || n == size);
        free(cut);
    }
    CHECK_INT(tio_lists_pass(lists, entries, size, 100), 0);
    entries[TIO_LIST_KEY] = 0;                          /* a serial number that was too long */
    CHECK_INT(tio_lists_pass(lists, entries, TIO_LIST_KEY + 1, 50), 0);
    tio_lists_release(lists);
}

static void long_chain_does_not_pass_by_lists(void) {
    STACK_OF(X509) *chain = sk_X509_new_null();
    uint8_t entries[TIO_ENTRIES];
    for (int i = 0; i < TIO_LISTED + 5; i++) sk_X509_push(chain, authority.cert);
    size_t size = tio_chain_entries(chain, entries);
    CHECK(size <= sizeof entries);
    tio_lists *lists = tio_lists_new(0, 2);
    tio_lists_put(lists, entries, NULL, 100);
    CHECK_INT(tio_lists_pass(lists, entries, size - TIO_LIST_KEY - 1, 50), 1);
    CHECK_INT(tio_lists_pass(lists, entries, size, 50), 0);
    tio_lists_release(lists);
    sk_X509_free(chain);
}

void session_tests(void) {
    RUN(chain_of_resumptions_ends_with_the_first_verification);
    RUN(verdict_ends_with_the_clients_certificate);
    RUN(chain_ends_with_the_first_certificate_of_it);
    RUN(lifetime_that_is_told_is_not_longer_than_the_verdict);
    RUN(clock_that_goes_back_is_a_full_handshake);
    RUN(session_without_a_mark_resumes_where_no_certificate_is_asked_for);
    RUN(session_without_a_mark_opens_no_mutual_server_but_by_the_option);
    RUN(lists_of_the_store_end_sessions_with_certificates);
    RUN(session_of_another_trust_opens_no_mutual_server);
    RUN(mark_that_is_cut_or_changed_is_none);
    RUN(session_is_resumed_by_lists_that_pass_its_certificates_only);
    RUN(lists_are_bounded);
    RUN(entries_that_are_cut_do_not_pass);
    RUN(long_chain_does_not_pass_by_lists);
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
