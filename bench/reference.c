/* reference.c - the lower bound: a server on one core with nothing between libssl and the kernel.
 *
 *   reference --cert FILE --key FILE [--ca FILE] [--gather] [--port N]
 *   reference --version                  OpenSSL's
 *
 * Listens on 127.0.0.1 and prints `READY port`.  One thread, level-triggered epoll.  --ca: a client certificate of that
 * authority is required.  --gather: the records of one turn leave in one send(), not each in its own.
 *
 * The first byte after the handshake is a command:
 *   E   every further byte is echoed
 *   D   counts follow, 8 bytes each, big-endian; each is answered by that many bytes
 *   U   a count, then that many bytes; the answer is one byte K; then the next count */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    RECORD = 16384,                     /* RFC 8446 5.1: the largest plaintext of one record, so of one SSL_read() */
    CHUNK = 65536,                      /* one SSL_write() of a download; bench/server.py writes as much at a time */
    GATHER = 262144,                    /* records held for one send(); the engine's bound */
    TURN_READS = 64, TURN_BYTES = 1 << 20       /* then the other connections have their turn */
};

typedef struct { uint8_t *data; size_t start, size; } rest;      /* what the kernel did not take */

typedef struct {
    int fd;
    SSL *ssl;
    char command;                       /* 0 until it has come */
    int digits;                         /* bytes of the count that are still to come */
    uint64_t count;                     /* D: bytes to send, U: bytes to come; while `digits`, what is known of it */
    rest plain, records;
    uint8_t full, over;                 /* of this turn: the kernel has no room; nothing more will happen here */
    uint8_t watches_room;               /* EPOLLOUT is set */
} connection;

static int epoll, gathering, storing;
static SSL_CTX *context;
static uint8_t zeros[CHUNK], gathered[GATHER];
static size_t gathered_size;

static _Noreturn void die(const char *what) {
    fprintf(stderr, "reference: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

/* ---- bytes that wait for room */

static void keep(rest *r, const uint8_t *data, size_t size) {
    *r = (rest){ malloc(size), 0, size };
    if (!r->data) die("no memory");
    memcpy(r->data, data, size);
}

static void taken(rest *r, size_t size) {
    r->start += size;
    if (r->start < r->size) return;
    free(r->data);
    *r = (rest){ 0 };
}

/* ---- the wire of --gather */

static void depart(connection *c) {
    ssize_t n = gathered_size ? send(c->fd, gathered, gathered_size, 0) : 0;
    size_t sent = n < 0 ? 0 : (size_t)n;
    if (sent < gathered_size) keep(&c->records, gathered + sent, gathered_size - sent);
    gathered_size = 0;
}

static void resend(connection *c) {
    while (c->records.size) {
        ssize_t n = send(c->fd, c->records.data + c->records.start, c->records.size - c->records.start, 0);
        if (n < 0) {
            c->over = errno != EAGAIN;
            return;
        }
        taken(&c->records, (size_t)n);
    }
}

static int wire_write(BIO *bio, const char *data, int size) {
    connection *c = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (gathered_size + (size_t)size > GATHER) depart(c);
    if (c->records.size) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(gathered + gathered_size, data, (size_t)size);
    gathered_size += (size_t)size;
    return size;
}

static int wire_read(BIO *bio, char *data, int size) {
    connection *c = BIO_get_data(bio);
    ssize_t n = recv(c->fd, data, (size_t)size, 0);
    BIO_clear_retry_flags(bio);
    if (n < 0 && errno == EAGAIN) BIO_set_retry_read(bio);
    return (int)n;
}

static long wire_control(BIO *bio, int command, long number, void *pointer) {
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH;
}

static BIO *wire_new(connection *c) {
    static BIO_METHOD *method;
    if (!method) {
        method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gather");
        BIO_meth_set_write(method, wire_write);
        BIO_meth_set_read(method, wire_read);
        BIO_meth_set_ctrl(method, wire_control);
    }
    BIO *bio = BIO_new(method);
    BIO_set_data(bio, c);
    BIO_set_init(bio, 1);
    return bio;
}

/* ---- TLS */

/* Why a call gave nothing: no input, no room, the peer's end, or a failure. */
static void stopped(connection *c, int result) {
    int error = SSL_get_error(c->ssl, result);
    c->full = error == SSL_ERROR_WANT_WRITE;
    c->over = !c->full && error != SSL_ERROR_WANT_READ;
    if (error == SSL_ERROR_ZERO_RETURN) SSL_shutdown(c->ssl);
    else if (c->over) ERR_clear_error();
}

static size_t put(connection *c, const uint8_t *data, size_t size) {
    int n = SSL_write(c->ssl, data, (int)size);
    if (n > 0) return (size_t)n;
    stopped(c, n);
    return 0;
}

static void answer(connection *c, const uint8_t *data, size_t size) {
    size_t n = put(c, data, size);
    if (n < size && !c->over) keep(&c->plain, data + n, size - n);
}

/* ---- the protocol */

static void send_owed(connection *c) {
    size_t turn = 0;
    while (c->plain.size && !c->full && !c->over)
        taken(&c->plain, put(c, c->plain.data + c->plain.start, c->plain.size - c->plain.start));
    if (c->command != 'D' || c->digits) return;
    while (c->count && !c->full && !c->over && turn < TURN_BYTES) {
        size_t n = put(c, zeros, c->count < CHUNK ? (size_t)c->count : CHUNK);
        c->count -= n;
        turn += n;
    }
    if (!c->count) c->digits = 8;
}

static void take(connection *c, const uint8_t *data, size_t size) {
    if (!c->command) {
        c->command = (char)*data++;
        c->digits = 8;
        size--;
    }
    if (c->command == 'E') {
        if (size) answer(c, data, size);
        return;
    }
    while (size) {
        if (c->digits) {
            c->count = c->count << 8 | *data++;
            size--;
            if (!--c->digits && c->command == 'D') send_owed(c);
            continue;
        }
        size_t n = size < c->count ? size : (size_t)c->count;
        data += n;
        size -= n;
        c->count -= n;
        if (c->count) continue;
        answer(c, (const uint8_t *)"K", 1);
        c->digits = 8;
    }
}

static int is_owing(const connection *c) {
    return c->full || c->plain.size || c->records.size || (c->command == 'D' && !c->digits);
}

static void shake(connection *c) {
    int r = SSL_do_handshake(c->ssl);
    if (r != 1) stopped(c, r);
}

/* Level-triggered epoll reports bytes left in the kernel, but not bytes left in OpenSSL. */
static void read_on(connection *c) {
    static uint8_t input[RECORD];
    for (int reads = 0; !c->over && !is_owing(c) && (reads < TURN_READS || SSL_has_pending(c->ssl)); reads++) {
        int n = SSL_read(c->ssl, input, sizeof input);
        if (n <= 0) {
            stopped(c, n);
            return;
        }
        take(c, input, (size_t)n);
        if (n < RECORD && !SSL_has_pending(c->ssl)) return;
    }
}

static void hang_up(connection *c) {
    SSL_free(c->ssl);
    close(c->fd);
    free(c->plain.data);
    free(c->records.data);
    free(c);
}

static void serve(connection *c) {
    c->full = 0;
    resend(c);
    if (!c->over && !c->records.size) {
        if (!SSL_is_init_finished(c->ssl)) shake(c);
        if (SSL_is_init_finished(c->ssl)) {
            send_owed(c);
            read_on(c);
        }
        depart(c);
    }
    if (c->over) {
        hang_up(c);
    } else if (c->watches_room != is_owing(c)) {
        c->watches_room = !c->watches_room;
        struct epoll_event event = { c->watches_room ? EPOLLOUT : EPOLLIN, { .ptr = c } };
        epoll_ctl(epoll, EPOLL_CTL_MOD, c->fd, &event);
    }
}

/* ---- connections come */

static void welcome(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        connection *c = calloc(1, sizeof *c);
        struct epoll_event event = { EPOLLIN, { .ptr = c } };
        if (!c) die("no memory");
        c->fd = fd;
        c->ssl = SSL_new(context);
        if (gathering) {
            BIO *bio = wire_new(c);
            SSL_set_bio(c->ssl, bio, bio);
        } else {
            SSL_set_fd(c->ssl, fd);
        }
        SSL_set_accept_state(c->ssl);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

static int listen_on(int port) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { EPOLLIN, { .ptr = NULL } };
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 4096)) die("listening");
    getsockname(listener, (struct sockaddr *)&address, &size);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    printf("READY %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static void prepare_context(const char *cert, const char *key, const char *ca) {
    context = SSL_CTX_new(TLS_server_method());
    /* NO_AUTO_CHAIN: the chain in the file is sent; otherwise libssl builds it again in each handshake. */
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                     SSL_MODE_NO_AUTO_CHAIN);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_session_cache_mode(context, storing ? SSL_SESS_CACHE_SERVER : SSL_SESS_CACHE_OFF);      /* tickets need none */
    if (storing) SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
    SSL_CTX_set_session_id_context(context, (const uint8_t *)"bench", 5);
    if (!cert || SSL_CTX_use_certificate_chain_file(context, cert) != 1) die("certificate");
    if (!key || SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1) die("key");
    if (!ca) return;
    if (SSL_CTX_load_verify_file(context, ca) != 1) die("ca");
    SSL_CTX_set_client_CA_list(context, SSL_load_client_CA_file(ca));
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

int main(int argc, char **argv) {
    static const struct option known[] = { { "cert", 1, 0, 'c' }, { "key", 1, 0, 'k' }, { "ca", 1, 0, 'a' }, { "port", 1, 0, 'p' },
                                           { "gather", 0, 0, 'g' }, { "store", 0, 0, 's' }, { "version", 0, 0, 'v' }, { 0 } };
    const char *cert = NULL, *key = NULL, *ca = NULL;
    int port = 0, option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (option == 'c') cert = optarg;
        else if (option == 'k') key = optarg;
        else if (option == 'a') ca = optarg;
        else if (option == 'p') port = atoi(optarg);
        else if (option == 'g') gathering = 1;
        else if (option == 's') storing = 1;
        else if (option == 'v') return puts(OpenSSL_version(OPENSSL_VERSION)) < 0;
        else return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    prepare_context(cert, key, ca);
    epoll = epoll_create1(0);
    for (int listener = listen_on(port);;) {
        struct epoll_event events[256];
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr) serve(events[i].data.ptr);
            else welcome(listener);
        }
    }
}
