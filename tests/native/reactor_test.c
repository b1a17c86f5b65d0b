/* reactor_test.c - the reactor on loopback TCP and socket pairs: what it accepts, times out, lets go, and never wakes for. */
#define _GNU_SOURCE
#include "world.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t second = 1000000000;

/* ---- from accept to close */

static void accept_handshake_echo_close(void) {
    for (int i = 0; i < 2; i++) {
        world w;
        int before = descriptors();
        world_make(&w, versions[i], TIO_WANT_ACCEPTED);
        visitor v = opened(&w);
        CHECK_INT(w.accepted, 1);
        CHECK_INT(w.gate.open, 1);
        CHECK_INT(w.gate.handshaking, 0);
        CHECK_INT(tio_reactor_load(w.r), 2);
        if (w.last) CHECK_INT(w.last->peer.sin6_family, AF_INET);
        SSL_write(v.p.ssl, "hello", 5);
        for (int j = 0; j < 100 && v.got < 5; j++) both(&w, &v, 1);
        CHECK(v.got == 5 && !memcmp(v.text, "hello", 5));
        SSL_shutdown(v.p.ssl);
        for (int j = 0; j < 100 && !v.eof; j++) both(&w, &v, 1);
        CHECK(v.eof && !v.error);
        CHECK(SSL_get_shutdown(v.p.ssl) & SSL_RECEIVED_SHUTDOWN);
        turns(&w, 3);
        CHECK_INT(tio_reactor_load(w.r), 1);
        CHECK(w.gate.open == 0 && w.gate.accepted == 1 && w.gate.bytes_in == 5 && w.gate.bytes_out == 5);
        leave(&v);
        world_free(&w);
        CHECK_INT(descriptors(), before);
    }
}

static void a_question_pauses_one_connection_only(void) {
    for (int i = 0; i < 2; i++) {
        world w;
        world_make(&w, versions[i], TIO_WANT_HELLO);
        w.held = 1;
        w.gate.max_handshakes = 2;
        visitor v = visit(&w);
        SSL_set_tlsext_host_name(v.p.ssl, "a.test");
        for (int j = 0; j < 100 && !w.questions; j++) both(&w, &v, 1);
        tio_conn *asked = w.last;
        visitor other = opened(&w);
        CHECK_INT(w.gate.handshaking, 1);
        CHECK(settles(&w));
        tio_answer_hello(asked, NULL, NULL, 0);
        tio_reactor_resume(w.r, asked);
        for (int j = 0; j < 100 && w.opened < 2; j++) both(&w, &v, 1);
        CHECK_INT(w.opened, 2);
        CHECK_INT(w.gate.handshaking, 0);
        leave(&other);
        leave(&v);
        turns(&w, 5);
        world_free(&w);
    }
}

static void data_behind_a_question_wakes_nobody(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, TIO_WANT_HELLO);
    w.held = 1;
    visitor v = visit(&w);
    SSL_set_tlsext_host_name(v.p.ssl, "a.test");
    for (int j = 0; j < 100 && !w.questions; j++) both(&w, &v, 1);
    for (int j = 0; j < 5; j++) {
        CHECK_INT(send(v.fd, "\x14\x03\x03\x00\x01\x01", 6, MSG_NOSIGNAL), 6);
        CHECK(settles(&w));
    }
    shutdown(v.fd, SHUT_WR);
    turns(&w, 5);
    CHECK_INT(w.failed, 1);
    CHECK_INT(w.kind, TIO_FAULT_HANGUP);
    leave(&v);
    turns(&w, 5);
    CHECK_INT(tio_reactor_load(w.r), 1);
    world_free(&w);
}

/* ---- deadlines */

static void the_handshake_has_a_deadline(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.gate.policy.handshake_ns = 50 * second;
    visitor silent = visit(&w), quick = opened(&w);
    turns(&w, 2);
    CHECK_INT(w.gate.handshaking, 1);
    CHECK_INT(w.failed, 0);
    advance(60 * second);
    turns(&w, 3);
    CHECK_INT(w.failed, 1);
    CHECK_INT(w.kind, TIO_FAULT_TIMEOUT);
    CHECK(w.gate.handshaking == 0 && w.gate.open == 1);
    take_in(&silent);
    CHECK(silent.eof && !silent.error);
    SSL_write(quick.p.ssl, "alive", 5);
    for (int j = 0; j < 50 && quick.got < 5; j++) both(&w, &quick, 1);
    CHECK_INT(quick.got, 5);
    leave(&silent);
    leave(&quick);
    turns(&w, 5);
    world_free(&w);
}

static void a_deadline_keeps_held_output_back(void) {
    world w;
    world_make(&w, TLS1_2_VERSION, TIO_WANT_CLIENT);
    w.held = 1;
    w.gate.policy.handshake_ns = second;
    visitor v = visit(&w);
    for (int j = 0; j < 100 && !w.questions; j++) both(&w, &v, 1);
    CHECK_INT(w.questions, 1);
    advance(2 * second);
    both(&w, &v, 5);
    CHECK_INT(w.failed, 1);
    CHECK(!SSL_is_init_finished(v.p.ssl));
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

static void three_bytes_of_a_record_have_a_deadline(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.gate.policy.partial_ns = 60 * second;
    visitor v = opened(&w);
    CHECK_INT(send(v.fd, "\x17\x03\x03", 3, MSG_NOSIGNAL), 3);
    turns(&w, 3);
    advance(59 * second);
    turns(&w, 3);
    CHECK_INT(w.failed, 0);
    advance(2 * second);
    turns(&w, 3);
    CHECK_INT(w.failed, 1);
    CHECK_INT(w.limit, TIO_LIMIT_PARTIAL_RECORD);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

/* Those that bring no data too: each of them may take its time. */
static void each_record_has_a_deadline_of_its_own(void) {
    enum { RECORD = 27, FIRST = 10 };                   /* a KeyUpdate, and how much of it comes with the one before */
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.gate.policy.partial_ns = 60 * second;
    visitor v = opened(&w);
    char *data;
    for (int i = 0; i < 4; i++) {
        SSL_key_update(v.p.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(v.p.ssl);
    }
    CHECK_INT(BIO_get_mem_data(v.p.out, &data), 4 * RECORD);
    CHECK_INT(send(v.fd, data, FIRST, MSG_NOSIGNAL), FIRST);
    for (int i = 0; i < 3; i++) {
        turns(&w, 3);
        advance(40 * second);
        CHECK_INT(send(v.fd, data + i * RECORD + FIRST, RECORD, MSG_NOSIGNAL), RECORD);
        turns(&w, 3);
        CHECK_INT(w.failed, 0);
    }
    advance(61 * second);
    turns(&w, 3);
    CHECK_INT(w.failed, 1);
    CHECK_INT(w.limit, TIO_LIMIT_PARTIAL_RECORD);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

/* On a slow line almost every turn ends inside a record: that is no silence. */
static void a_slow_stream_passes_the_deadline_of_a_record(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    char *data;
    size_t sent = 0;
    for (int i = 0; i < 20; i++) SSL_write(v.p.ssl, "0123456789abcdef", 16);
    size_t all = (size_t)BIO_get_mem_data(v.p.out, &data);
    while (sent + 40 < all) {                           /* records are 38 bytes long */
        if ((sent + 40) % 38) sent += (size_t)send(v.fd, data + sent, 40, MSG_NOSIGNAL);
        else sent += (size_t)send(v.fd, data + sent, 39, MSG_NOSIGNAL);
        turns(&w, 2);
        advance(10 * second);
        turns(&w, 2);
    }
    CHECK_INT(w.failed, 0);
    CHECK(w.got > 250);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

/* ---- letting go */

/* Garbage, and much behind it that nobody will read: the alert has to arrive all the same. */
static void the_alert_arrives_while_the_peer_still_sends(void) {
    static char much[150000];
    for (int i = 0; i < 5; i++) {
        world w;
        world_make(&w, TLS1_3_VERSION, 0);
        int fd = dial(w.port);
        memcpy(much, "\x16\x03\x01\x00\x06\x63\x00\x00\x02hi", 11);  /* a handshake message that there is not */
        CHECK(send(fd, much, sizeof much, MSG_NOSIGNAL) > 0);
        turns(&w, 2);
        send(fd, much, 50000, MSG_NOSIGNAL);
        turns(&w, 5);
        char alert[16];
        ssize_t n = recv(fd, alert, sizeof alert, 0);
        CHECK_INT(n, 7);
        CHECK(n == 7 && alert[0] == 21 && alert[5] == SSL3_AL_FATAL);
        CHECK_INT(recv(fd, alert, sizeof alert, 0), 0); /* FIN at once, not when patience ends */
        CHECK_INT(w.failed, 1);
        CHECK_INT(tio_reactor_load(w.r), 2);
        close(fd);
        turns(&w, 3);
        CHECK_INT(tio_reactor_load(w.r), 1);
        world_free(&w);
    }
}

static void a_peer_that_never_ends_is_left_after_two_seconds(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    int fd = dial(w.port);
    send(fd, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL);
    turns(&w, 3);
    CHECK_INT(w.failed, 1);
    advance(second * 19 / 10);
    turns(&w, 3);
    CHECK_INT(tio_reactor_load(w.r), 2);
    advance(second / 5);
    turns(&w, 3);
    CHECK_INT(tio_reactor_load(w.r), 1);
    close(fd);
    world_free(&w);
}

static void a_peer_that_sends_for_ever_is_left_after_256_kib(void) {
    static char much[65536];
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    int fd = dial(w.port);
    size_t sent = 0;
    for (int i = 0; i < 400 && (i < 5 || tio_reactor_load(w.r) > 1); i++) {
        ssize_t n = send(fd, much, sizeof much, MSG_NOSIGNAL);
        if (n > 0) sent += (size_t)n;
        turn(&w);
    }
    CHECK_INT(w.failed, 1);
    CHECK_INT(tio_reactor_load(w.r), 1);
    CHECK(sent > TIO_LINGER_BYTES);
    close(fd);
    world_free(&w);
}

/* The loop was asleep for long when the user lets go: patience is counted from now, not from the last turn. */
static void patience_begins_when_the_connection_is_let_go(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    tio_conn *c = w.last;
    advance(30 * second);
    tio_conn_write(c, "goodbye", 7);
    tio_conn_close(c);
    gone(&w, c, 1);
    CHECK_INT(tio_reactor_load(w.r), 2);
    turns(&w, 3);
    CHECK_INT(tio_reactor_load(w.r), 2);
    both(&w, &v, 3);
    CHECK(v.got == 7 && v.eof && !v.error);
    leave(&v);
    turns(&w, 3);
    CHECK_INT(tio_reactor_load(w.r), 1);
    world_free(&w);
}

/* What is still unsent goes on leaving after the connection has been freed. */
static void unsent_output_outlives_its_connection(void) {
    static char much[250000];
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    tio_conn *c = w.last;
    int small = 16384;
    setsockopt(c->wire.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t done = tio_conn_write(c, much, sizeof much);
    CHECK_INT(done, sizeof much);
    tio_conn_close(c);
    tio_reactor_update(w.r, c);
    CHECK(unsent_of(c) > 0);
    gone(&w, c, 1);
    size_t got = 0;
    for (int i = 0; i < 2000 && (!v.eof || v.got); i++) {
        v.got = 0;
        both(&w, &v, 1);
        got += v.got;
    }
    CHECK_INT(got, done);
    CHECK(SSL_get_shutdown(v.p.ssl) & SSL_RECEIVED_SHUTDOWN);
    leave(&v);
    turns(&w, 5);
    CHECK_INT(tio_reactor_load(w.r), 1);
    world_free(&w);
}

static void a_reset_is_an_error_of_the_system(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    struct linger hard = { 1, 0 };
    setsockopt(v.fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    leave(&v);
    turns(&w, 3);
    CHECK_INT(w.failed, 1);
    CHECK_INT(w.kind, TIO_FAULT_OS);
    CHECK_INT(tio_reactor_load(w.r), 1);
    world_free(&w);
}

/* ---- limits */

static void connections_beyond_the_limit_are_dropped(void) {
    for (int told = 0; told < 2; told++) {
        world w;
        world_make(&w, TLS1_3_VERSION, told ? TIO_WANT_DROPPED : 0);
        w.gate.max_connections = 2;
        visitor one = opened(&w), two = opened(&w);
        int fd = dial(w.port);
        turns(&w, 3);
        char byte;
        CHECK(recv(fd, &byte, 1, 0) == 0);
        CHECK_INT(w.gate.dropped, 1);
        CHECK_INT(w.dropped, told);
        CHECK_INT(w.gate.open, 2);
        leave(&one);
        turns(&w, 5);
        one = opened(&w);                               /* room again */
        close(fd);
        leave(&one);
        leave(&two);
        turns(&w, 5);
        world_free(&w);
    }
}

static void handshakes_beyond_the_limit_wait(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.gate.max_handshakes = 2;
    int one = dial(w.port), two = dial(w.port), three = dial(w.port);
    turns(&w, 3);
    CHECK_INT(w.gate.handshaking, 2);
    CHECK_INT(w.gate.open, 2);
    CHECK(settles(&w));                                 /* the third waits in the kernel's queue and wakes nobody */
    close(one);
    turns(&w, 5);
    CHECK_INT(w.gate.accepted, 3);
    CHECK_INT(w.gate.handshaking, 2);
    close(two);
    close(three);
    turns(&w, 5);
    CHECK_INT(w.gate.open, 0);
    world_free(&w);
}

static void without_descriptors_the_listener_rests(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    int fd = dial(w.port), spare = dup(0);
    struct rlimit old, tight;
    getrlimit(RLIMIT_NOFILE, &old);
    tight = old;
    tight.rlim_cur = (rlim_t)spare;
    close(spare);
    setrlimit(RLIMIT_NOFILE, &tight);
    turns(&w, 2);
    CHECK_INT(w.listener_errors, 1);
    CHECK_INT(w.error, EMFILE);
    CHECK(!is_awake(&w));
    setrlimit(RLIMIT_NOFILE, &old);
    CHECK_INT(w.gate.accepted, 0);
    advance(second / 5);
    turns(&w, 3);
    CHECK_INT(w.gate.accepted, 1);
    close(fd);
    turns(&w, 5);
    world_free(&w);
}

static void thousand_garbage_connections_leave_nothing(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    turns(&w, 2);
    int before = descriptors();
    for (int i = 0; i < 1000; i++) {
        int fd = dial(w.port);
        if (fd < 0) break;
        if (i % 3 == 0) send(fd, "GET / HTTP/1.0\r\n\r\n", 18, MSG_NOSIGNAL);
        else if (i % 3 == 1) send(fd, "\x16\x03\x01\x02\x00\x01\x00", 7, MSG_NOSIGNAL);
        if (i % 4 == 0) turn(&w);
        if (i % 7 == 0) shutdown(fd, SHUT_WR);
        close(fd);
    }
    turns(&w, 60);
    CHECK_INT(w.failed, 1000);
    CHECK_INT(w.gate.accepted, 1000);
    CHECK(w.gate.open == 0 && w.gate.handshaking == 0);
    CHECK_INT(tio_reactor_load(w.r), 1);
    CHECK_INT(descriptors(), before);
    world_free(&w);
}

/* ---- waking */

static void a_standing_record_wakes_once(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.deaf = 1;
    visitor v = opened(&w);
    tio_conn *c = w.last;
    for (int i = 0; i < 5; i++) {
        SSL_write(v.p.ssl, "unread", 6);
        hand_out(&v);
        CHECK(settles(&w));
    }
    CHECK(c->has_plaintext);
    CHECK(c->read_paused);
    CHECK_INT(c->bytes_read, 0);
    w.deaf = 0;
    c->reading = 1;
    tio_reactor_update(w.r, c);
    CHECK(tio_reactor_is_busy(w.r));
    for (int i = 0; i < 50 && v.got < 30; i++) both(&w, &v, 1);
    CHECK_INT(v.got, 30);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

static void input_is_left_to_a_reader_that_was_notified(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.deaf = 1;
    visitor v = opened(&w);
    tio_conn *c = w.last;
    CHECK(settles(&w));
    SSL_write(v.p.ssl, "unread", 6);
    hand_out(&v);
    tio_conn_input_came(c);             /* as the reactor notes it */
    CHECK(tio_conn_next(c) & TIO_NEXT_TURN);
    tio_conn_want(c, TIO_NOTIFIED, -1);
    tio_reactor_update(w.r, c);
    CHECK(!tio_reactor_is_busy(w.r));
    CHECK(!(tio_conn_next(c) & TIO_NEXT_TURN));
    CHECK(tio_conn_next(c) & TIO_NEXT_INPUT);
    /* It gives up: then the reactor processes the input up to the plaintext. */
    tio_conn_want(c, 0, -1);
    CHECK(tio_conn_next(c) & TIO_NEXT_TURN);
    tio_reactor_update(w.r, c);
    CHECK(settles(&w));
    CHECK(c->has_plaintext);
    tio_conn_want(c, TIO_NOTIFIED, -1);
    CHECK(!(tio_conn_next(c) & TIO_NEXT_TURN));
    tio_conn_want(c, 1, -1);
    CHECK(tio_conn_next(c) & TIO_NEXT_TURN);
    w.deaf = 0;
    tio_reactor_update(w.r, c);
    for (int i = 0; i < 50 && v.got < 6; i++) both(&w, &v, 1);
    CHECK_INT(v.got, 6);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

static void a_hang_up_behind_a_standing_record_does_not_spin(void) {
    for (int hard = 0; hard < 2; hard++) {
        world w;
        world_make(&w, TLS1_3_VERSION, 0);
        w.deaf = 1;
        visitor v = opened(&w);
        tio_conn *c = w.last;
        SSL_write(v.p.ssl, "unread", 6);
        hand_out(&v);
        CHECK(settles(&w));
        if (hard) setsockopt(v.fd, SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 }, sizeof(struct linger));
        leave(&v);
        CHECK(settles(&w));
        char text[8];
        CHECK_INT(tio_conn_take(c, text, 8), 6);
        CHECK_INT(tio_conn_take(c, text, 8), 0);
        CHECK(hard ? c->phase == TIO_BROKEN : c->in == TIO_IN_TRUNCATED);
        gone(&w, c, 1);
        turns(&w, 3);
        CHECK_INT(tio_reactor_load(w.r), 1);
        world_free(&w);
    }
}

/* The bound is reached, the peer does not read and asks for a KeyUpdate: we owe it an answer that has no room. */
static void a_peer_that_asks_and_does_not_read_does_not_spin_us(void) {
    static char much[TIO_GATHER * 2];
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    w.deaf = 1;
    visitor v = opened(&w);
    tio_conn *c = w.last;
    int small = 4096;
    setsockopt(c->wire.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    size_t done = 0;
    for (int i = 0; i < 50 || unsent_of(c) < TIO_GATHER; i++) {         /* until the kernel takes no more either */
        done += tio_conn_write(c, much, sizeof much);
        tio_reactor_update(w.r, c);
        if (i < 50) usleep(200);
        if (!CHECK(i < 500)) break;
    }
    CHECK(unsent_of(c) >= TIO_GATHER);
    SSL_key_update(v.p.ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(v.p.ssl);
    SSL_write(v.p.ssl, "x", 1);
    hand_out(&v);
    CHECK(settles(&w));
    CHECK_INT(c->phase, TIO_OPEN);
    size_t got = 0;
    for (int i = 0; i < 5000 && got < done; i++) {
        v.got = 0;
        both(&w, &v, 1);
        got += v.got;
    }
    CHECK_INT(got, done);
    CHECK_INT(tio_conn_take(c, much, 5), 1);            /* what came behind the KeyUpdate */
    CHECK_INT(tio_conn_write(c, "under the next key", 18), 18);
    tio_reactor_update(w.r, c);
    v.got = 0;
    for (int i = 0; i < 50 && v.got < 18; i++) both(&w, &v, 1);
    CHECK(v.got == 18 && !memcmp(v.text, "under the next key", 18));
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

/* ---- notices */

static void a_connection_freed_while_its_notice_is_pending(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor one = opened(&w);
    tio_conn *first = w.last;
    visitor two = opened(&w);
    tio_conn *second_conn = w.last;
    tio_notice notice;
    SSL_write(one.p.ssl, "1", 1);
    SSL_write(two.p.ssl, "2", 1);
    hand_out(&one);
    hand_out(&two);
    usleep(1000);
    tio_reactor_poll(w.r);
    tio_reactor_work(w.r);
    tio_reactor_discard(second_conn);
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 1);
    CHECK(notice.conn == first && tio_reactor_conn(w.r, notice.handle) == first);
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 0);
    hear(&w, &(tio_notice){ .what = TIO_NOTICE_TURN, .conn = first });
    w.last = NULL;
    turns(&w, 2);
    leave(&one);
    leave(&two);
    turns(&w, 5);
    CHECK_INT(tio_reactor_load(w.r), 1);
    world_free(&w);
}

/* A notice of a turn may have cost the connection its descriptor: a late update or drop touches nobody else's. */
static void calls_after_the_descriptor_is_gone_do_nothing(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor one = opened(&w);
    tio_conn *old = w.last;
    tio_reactor_drop(w.r, old, 0);
    visitor two = opened(&w);
    tio_conn *new = w.last;
    CHECK_INT(old->slot, new->slot);
    tio_reactor_update(w.r, old);
    tio_reactor_drop(w.r, old, 1);
    tio_reactor_discard(old);
    CHECK(new->reactor == w.r);
    SSL_write(two.p.ssl, "alive", 5);
    for (int j = 0; j < 50 && two.got < 5; j++) both(&w, &two, 1);
    CHECK_INT(two.got, 5);
    leave(&one);
    leave(&two);
    turns(&w, 5);
    world_free(&w);
}

/* ---- the shared receive buffer */

/* Two engines in one reactor, over a socket pair. */
static void one_buffer_is_lent_from_connection_to_connection(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    tio_context *client = client_context(TLS1_3_VERSION, NULL);
    tio_conn *c[2], *s[2];
    tio_notice notice;
    char text[64], many[2000];
    for (int i = 0; i < 2; i++) {
        int ends[2];
        CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends));
        c[i] = tio_conn_new(client, TIO_CLIENT);
        s[i] = tio_conn_new(w.gate.context, TIO_SERVER);
        c[i]->owner = s[i]->owner = &w;
        CHECK(!tio_reactor_add(w.r, c[i], ends[0]) && !tio_reactor_add(w.r, s[i], ends[1]));
        tio_reactor_resume(w.r, c[i]);
    }
    for (int round = 0; round < 30; round++) {
        usleep(200);
        tio_reactor_poll(w.r);
        tio_reactor_work(w.r);
        while (tio_reactor_next_notice(w.r, &notice))
            if (notice.what & TIO_NOTICE_QUESTION) {
                tio_answer_verify(notice.conn, X509_V_OK);
                tio_reactor_resume(w.r, notice.conn);
            }
    }
    for (int i = 0; i < 2; i++) CHECK(c[i]->phase == TIO_OPEN && s[i]->phase == TIO_OPEN);
    memset(many, 'm', sizeof many);
    size_t got[2] = { 0, 0 };
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 2; i++) {
            for (int j = 0; j < 5; j++) tio_conn_write(c[i], many + j, 30);
            tio_reactor_update(w.r, c[i]);
        }
        usleep(200);
        s[0]->wire.would_block = s[1]->wire.would_block = 0;
        for (int j = 0; j < 4; j++)                     /* in turns: each takes the buffer from the other, unread bytes in it */
            for (int i = 0; i < 2; i++) got[i] += tio_conn_take(s[i], text, 20);
        for (int i = 0; i < 2; i++) tio_reactor_update(w.r, s[i]);      /* stops short: the rest becomes private */
    }
    for (int j = 0; j < 100; j++)
        for (int i = 0; i < 2; i++) {
            s[i]->wire.would_block = 0;
            got[i] += tio_conn_take(s[i], text, 7);
            if (j % 5 == 0) tio_reactor_update(w.r, s[i]);
        }
    CHECK_INT(got[0], 600);
    CHECK_INT(got[1], 600);
    for (int i = 0; i < 2; i++) tio_reactor_discard(c[i]), tio_reactor_discard(s[i]);
    tio_context_release(client);
    CHECK_INT(tio_reactor_load(w.r), 1);
    world_free(&w);
}

/* ---- fork, and the end */

static void a_forked_child_leaves_the_parents_registrations(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    w.gate.max_handshakes = 1;
    int waiting = dial(w.port), next = dial(w.port);
    turns(&w, 3);
    CHECK_INT(w.gate.handshaking, 1);
    advance(second);                                    /* the limit's rest is over: the child finds the listener at work */
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        tio_reactor_free(w.r, 1);
        _exit(0);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    SSL_write(v.p.ssl, "alive", 5);
    for (int j = 0; j < 50 && v.got < 5; j++) both(&w, &v, 1);
    CHECK_INT(v.got, 5);
    CHECK(!v.eof);
    close(waiting);
    turns(&w, 5);
    CHECK_INT(w.gate.accepted, 3);
    close(next);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

static void a_reactor_freed_in_the_middle_of_everything(void) {
    world w;
    int before = descriptors();
    world_make(&w, TLS1_3_VERSION, TIO_WANT_HELLO);
    w.held = 1;
    w.gate.max_handshakes = 3;
    visitor v = opened(&w), asked = visit(&w);
    tio_conn *c = w.last;
    SSL_set_tlsext_host_name(asked.p.ssl, "a.test");
    for (int j = 0; j < 100 && !w.questions; j++) both(&w, &asked, 1);
    int silent = dial(w.port), garbage = dial(w.port);
    send(garbage, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL);
    turns(&w, 3);
    CHECK_INT(w.gate.handshaking, 2);
    int more = dial(w.port);
    turns(&w, 2);
    CHECK_INT(w.gate.handshaking, 3);
    SSL_write(v.p.ssl, "x", 1);
    hand_out(&v);
    usleep(1000);
    tio_reactor_poll(w.r);
    tio_reactor_work(w.r);                              /* notices are pending */
    tio_reactor_free(w.r, 0);
    CHECK(c->reactor == NULL && c->wire.fd == -1);
    tio_conn_step(c);
    tio_conn_free(c);
    CHECK(w.gate.open == 0 && w.gate.handshaking == 0);
    tio_gate_free(&w.gate);
    SSL_CTX_free(w.client_ctx);
    leave(&v);
    leave(&asked);
    close(silent);
    close(garbage);
    close(more);
    CHECK_INT(descriptors(), before);
}

static void eviction_takes_who_has_no_owner(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    visitor v = opened(&w);
    int one = dial(w.port), two = dial(w.port);
    turns(&w, 3);
    CHECK_INT(w.gate.open, 3);
    tio_reactor_evict(w.r, &w.gate);
    CHECK_INT(w.gate.open, 1);
    SSL_write(v.p.ssl, "alive", 5);
    for (int j = 0; j < 50 && v.got < 5; j++) both(&w, &v, 1);
    CHECK_INT(v.got, 5);
    close(one);
    close(two);
    leave(&v);
    turns(&w, 5);
    world_free(&w);
}

/* A server that closes at once has still sent the alert. */
static void end_leaves_failures_to_their_report(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, 0);
    int bad = dial(w.port), silent = dial(w.port);
    send(bad, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL);
    turns(&w, 1);                                       /* accepted; the next turn fails it */
    usleep(1000);
    tio_reactor_poll(w.r);
    tio_reactor_work(w.r);
    tio_reactor_end(w.r, &w.gate);
    CHECK_INT(w.gate.open, 0);
    tio_notice notice;
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 1);
    CHECK(notice.what & TIO_NOTICE_FAILED && notice.gate == &w.gate);
    tio_reactor_discard(notice.conn);
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 0);
    close(bad);
    close(silent);
    turns(&w, 3);
    world_free(&w);
}

/* The gate may be gone before its notices are read. */
static void eviction_takes_back_the_gates_notices(void) {
    world w;
    world_make(&w, TLS1_3_VERSION, TIO_WANT_DROPPED);
    w.gate.max_connections = 1;
    turns(&w, 2);
    int before = descriptors();
    int bad = dial(w.port), dropped = dial(w.port);
    tio_notice notice;
    usleep(1000);
    tio_reactor_poll(w.r);
    tio_reactor_work(w.r);
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 1);
    CHECK(notice.what == TIO_NOTICE_DROPPED && notice.gate == &w.gate && notice.fd >= 0);
    close(notice.fd);
    close(bad);
    tio_reactor_evict(w.r, &w.gate);
    bad = dial(w.port);
    send(bad, "SSH-2.0-x\r\n", 11, MSG_NOSIGNAL);
    turns(&w, 1);                                       /* accepted; the next turn fails it */
    usleep(1000);
    tio_reactor_poll(w.r);
    tio_reactor_work(w.r);
    CHECK(tio_reactor_is_busy(w.r));
    tio_reactor_evict(w.r, &w.gate);
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 0);                /* it went with its connection */
    close(bad);
    close(dropped);
    bad = dial(w.port);
    dropped = dial(w.port);
    usleep(1000);
    tio_reactor_poll(w.r);
    tio_reactor_work(w.r);
    tio_reactor_evict(w.r, &w.gate);
    tio_reactor_unlisten(w.r, &w.gate);
    CHECK_INT(tio_reactor_next_notice(w.r, &notice), 1);
    CHECK(notice.what == TIO_NOTICE_DROPPED && !notice.gate && notice.fd >= 0);     /* the descriptor is still to be closed */
    close(notice.fd);
    close(bad);
    close(dropped);
    turns(&w, 3);
    CHECK_INT(descriptors(), before - 1);               /* the listener */
    world_free(&w);
}

/* The reactor's side of it: whatever allocation of a turn fails, no descriptor, connection or count stays behind. */
static long short_life(long at, int ever_after) {
    world w;
    world_make(&w, TLS1_3_VERSION, TIO_WANT_ACCEPTED);
    snprintf(note, sizeof note, "allocation %ld of a turn fails%s", at, ever_after ? ", and all after it" : "");
    w.tolerant = 1;
    visitor v = visit(&w);
    arm_failure(at, ever_after);
    pause_failure(1);                                   /* except in turn() */
    for (int i = 0; i < 6; i++) both(&w, &v, 1);
    if (SSL_is_init_finished(v.p.ssl)) SSL_write(v.p.ssl, "hello", 5);
    both(&w, &v, 2);
    SSL_shutdown(v.p.ssl);
    both(&w, &v, 2);
    long count = allocations;
    disarm_failure();
    leave(&v);
    advance(3 * second);                                /* a listener that rests, a linger without its event */
    turns(&w, 4);
    CHECK_INT(tio_reactor_load(w.r), 1);
    CHECK(w.gate.open == 0 && w.gate.handshaking == 0);
    world_free(&w);
    ERR_clear_error();
    return count;
}

static void every_allocation_of_a_turn_fails(void) {
    long step = getenv("FAILURES") ? strtol(getenv("FAILURES"), NULL, 10) : 7;
    int before = descriptors();
    long last = short_life(LONG_MAX, 0);
    CHECK(last > 100);
    for (long at = 0; at < last; at += at < 30 ? 1 : step) {            /* the first are the reactor's own */
        short_life(at, 0);
        if (at < 30 || at % 5 == 0) short_life(at, 1);
        if (!CHECK_INT(descriptors(), before)) break;
    }
}

void reactor_tests(void) {
    RUN(accept_handshake_echo_close);
    RUN(a_question_pauses_one_connection_only);
    RUN(data_behind_a_question_wakes_nobody);
    RUN(the_handshake_has_a_deadline);
    RUN(a_deadline_keeps_held_output_back);
    RUN(three_bytes_of_a_record_have_a_deadline);
    RUN(each_record_has_a_deadline_of_its_own);
    RUN(a_slow_stream_passes_the_deadline_of_a_record);
    RUN(the_alert_arrives_while_the_peer_still_sends);
    RUN(a_peer_that_never_ends_is_left_after_two_seconds);
    RUN(a_peer_that_sends_for_ever_is_left_after_256_kib);
    RUN(patience_begins_when_the_connection_is_let_go);
    RUN(unsent_output_outlives_its_connection);
    RUN(a_reset_is_an_error_of_the_system);
    RUN(connections_beyond_the_limit_are_dropped);
    RUN(handshakes_beyond_the_limit_wait);
    RUN(without_descriptors_the_listener_rests);
    RUN(thousand_garbage_connections_leave_nothing);
    RUN(a_standing_record_wakes_once);
    RUN(input_is_left_to_a_reader_that_was_notified);
    RUN(a_hang_up_behind_a_standing_record_does_not_spin);
    RUN(a_peer_that_asks_and_does_not_read_does_not_spin_us);
    RUN(a_connection_freed_while_its_notice_is_pending);
    RUN(calls_after_the_descriptor_is_gone_do_nothing);
    RUN(one_buffer_is_lent_from_connection_to_connection);
    RUN(a_forked_child_leaves_the_parents_registrations);
    RUN(a_reactor_freed_in_the_middle_of_everything);
    RUN(eviction_takes_who_has_no_owner);
    RUN(end_leaves_failures_to_their_report);
    RUN(eviction_takes_back_the_gates_notices);
    RUN(every_allocation_of_a_turn_fails);
}
