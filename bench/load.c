/* load.c - the clients of the benchmark: one thread, epoll, libssl.
 *
 *   load handshake|resume|echo|download|upload|idle|probe --port N --server PID
 *        [--connections N] [--bytes N] [--seconds S] [--warm-up S] [--tls 1.2|1.3] [--cert FILE --key FILE]
 *        [--operations N]
 *
 * First a warm-up, then the measured part, then one line of JSON: the number of operations, the seconds, the CPU time that
 * process PID used in them, and by how many KiB its resident memory grew.  A connection that fails ends the run.  --operations ends
 * handshakes and echoes after N, or one for each connection. The operations:
 *   handshake, resume   connect, handshake, close_notify both ways; resume by the latest ticket of the connection before
 *   echo                a message of --bytes and its echo
 *   download, upload    --bytes once over each connection; the warm-up moves a sixteenth
 *   idle                none: each connection has echoed one message and is silent for --seconds
 *   probe               how long an echo takes. Each byte on standard input starts --seconds of echoes, one at a time and 5 ms apart,
 *                       over each connection in turn; then a line has the median and the 99th percentile in milliseconds
 * reference.c describes the protocol. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
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
#include <time.h>
#include <unistd.h>

enum { HANDSHAKE, RESUME, ECHO, DOWNLOAD, UPLOAD, IDLE, PROBE, KINDS };
static const char *const names[KINDS] = { "handshake", "resume", "echo", "download", "upload", "idle", "probe" };
static const char commands[KINDS] = { 0, 0, 'E', 'D', 'U', 'E', 'E' };

enum {
    CHUNK = 65536,
    DIALLING = 16,                      /* handshakes at a time while the connections are established */
    PROBE_GAP = 5000                    /* microseconds between echoes: seldom enough that they are no load of their own */
};

typedef struct {
    int fd, open;                       /* open: the handshake is done */
    int leaving;                        /* close_notify has been sent */
    int told;                           /* the command has been sent */
    SSL *ssl;
    SSL_SESSION *ticket;
    uint8_t head[9];                    /* command and count */
    size_t head_start, head_size;
    uint64_t to_write, to_read;
} connection;

static struct {
    int kind, port, server, connections;
    uint64_t bytes;
    double seconds, warm_up;
    long operations;
    const char *cert, *key;
    int version;
} wanted = { .connections = 16, .bytes = 64, .seconds = 2, .warm_up = 0.5, .operations = LONG_MAX, .version = TLS1_3_VERSION };

static SSL_CTX *context;
static connection *all;
static int epoll, busy;                 /* operations under way */
static long operations;
static double deadline;                 /* no operation begins after it */
static int resuming;                    /* every handshake has to be a resumption */
static uint8_t buffer[CHUNK], zeros[CHUNK];

static _Noreturn void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

static double seconds_of(clockid_t clock) {
    struct timespec t;
    if (clock_gettime(clock, &t)) die("clock");
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

/* ---- one connection */

static void dial(connection *c) {
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons((uint16_t)wanted.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct epoll_event event = { EPOLLIN | EPOLLOUT | EPOLLET, { .ptr = c } };
    int one = 1;
    c->open = c->leaving = c->told = 0;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->ssl = SSL_new(context);
    SSL_set_app_data(c->ssl, c);
    SSL_set_fd(c->ssl, c->fd);
    SSL_set_tlsext_host_name(c->ssl, "localhost");
    SSL_set_connect_state(c->ssl);
    if (c->ticket) SSL_set_session(c->ssl, c->ticket);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event)) die("epoll");
}

static int keep_ticket(SSL *ssl, SSL_SESSION *ticket) {
    connection *c = SSL_get_app_data(ssl);
    if (wanted.kind != RESUME) return 0;
    SSL_SESSION_free(c->ticket);
    c->ticket = ticket;
    return 1;
}

static void hang_up(connection *c) {
    struct linger reset = { 1, 0 };     /* no TIME_WAIT: a minute of handshakes would use up the ports */
    setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    SSL_set_shutdown(c->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);        /* or libssl spoils the ticket */
    SSL_free(c->ssl);
    close(c->fd);
}

/* A call that gave nothing may only have to wait. */
static void wait_or_die(connection *c, int result) {
    int error = SSL_get_error(c->ssl, result);
    if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) die("a connection failed");
}

/* ---- operations */

static int is_handshaking(void) { return wanted.kind == HANDSHAKE || wanted.kind == RESUME; }

static void put(connection *c) {
    while (c->head_start < c->head_size || c->to_write) {
        int is_head = c->head_start < c->head_size;
        const uint8_t *from = is_head ? c->head + c->head_start : zeros;
        uint64_t size = is_head ? c->head_size - c->head_start : c->to_write < CHUNK ? c->to_write : CHUNK;
        int n = SSL_write(c->ssl, from, (int)size);
        if (n <= 0) {
            wait_or_die(c, n);
            return;
        }
        if (is_head) c->head_start += (size_t)n;
        else c->to_write -= (uint64_t)n;
    }
}

static void begin(connection *c, uint64_t bytes) {
    busy++;
    if (is_handshaking()) {
        dial(c);
        return;
    }
    int is_echo = commands[wanted.kind] == 'E';
    c->to_write = wanted.kind == DOWNLOAD ? 0 : bytes;
    c->to_read = wanted.kind == UPLOAD ? 1 : bytes;
    c->head[0] = (uint8_t)commands[wanted.kind];
    for (int i = 0; i < 8; i++) c->head[1 + i] = (uint8_t)(bytes >> (56 - 8 * i));
    c->head_start = c->told ? 1 : 0;
    c->head_size = is_echo ? 1 : 9;
    c->told = 1;
    put(c);
}

static void done(connection *c) {
    busy--;
    operations++;
    if (now() < deadline && operations + busy < wanted.operations) begin(c, wanted.bytes);
}

static void take(connection *c) {
    while (c->to_read) {
        int n = SSL_read(c->ssl, buffer, sizeof buffer);
        if (n <= 0) {
            wait_or_die(c, n);
            return;
        }
        if ((uint64_t)n > c->to_read) die("more came back than was asked for");
        c->to_read -= (uint64_t)n;
        if (c->to_read) continue;
        done(c);
        if (!SSL_has_pending(c->ssl)) return;           /* the next answer is a new edge: no need to ask the kernel */
    }
}

static void say_goodbye(connection *c) {
    SSL_shutdown(c->ssl);
    c->leaving = 1;
}

static void shake(connection *c) {
    int r = SSL_do_handshake(c->ssl);
    if (r != 1) {
        wait_or_die(c, r);
        return;
    }
    c->open = 1;
    if (is_handshaking()) {
        if (resuming && !SSL_session_reused(c->ssl)) die("the server did not resume a ticket");
        say_goodbye(c);
    } else {
        busy--;                         /* dialling ends; the first operation is the warm-up of this connection */
        begin(c, wanted.bytes < CHUNK ? wanted.bytes : wanted.bytes / 16);
    }
}

/* The server's tickets, its close_notify or the end of the stream. */
static void leave(connection *c) {
    int n;
    do n = SSL_read(c->ssl, buffer, sizeof buffer);
    while (n > 0);
    if (SSL_get_error(c->ssl, n) == SSL_ERROR_WANT_READ) return;
    ERR_clear_error();
    hang_up(c);
    done(c);
}

static void advance(connection *c) {
    if (!c->open) shake(c);
    if (c->leaving) {
        leave(c);
    } else if (c->open) {
        put(c);
        take(c);
    }
}

static void turn(void) {
    struct epoll_event events[256];
    int n = epoll_wait(epoll, events, 256, 20000);
    if (!n) die("nothing has come from the server for 20 seconds");
    for (int i = 0; i < n; i++) advance(events[i].data.ptr);
}

/* ---- a run */

static void establish(void) {
    for (int dialled = 0; dialled < wanted.connections || busy;) {
        while (dialled < wanted.connections && busy < DIALLING) {
            busy++;
            dial(&all[dialled++]);
        }
        turn();
    }
}

/* Each connection at least once, then again until the time is over. */
static void operate(double seconds) {
    deadline = now() + seconds;
    operations = 0;
    for (int i = 0; i < wanted.connections; i++) begin(&all[i], wanted.bytes);
    while (busy) turn();
    deadline = 0;
}

static void part(void) {
    for (int i = 0; i < wanted.connections; i++) {
        busy++;
        say_goodbye(&all[i]);
    }
    while (busy) turn();
}

static void warm_up(void) {
    if (wanted.kind == IDLE) {          /* what the server makes for its first connections is not counted with them */
        int connections = wanted.connections;
        wanted.connections = DIALLING;
        establish();
        part();
        wanted.connections = connections;
        return;
    }
    if (!is_handshaking()) establish();
    if (wanted.kind == HANDSHAKE || wanted.kind == RESUME || wanted.kind == ECHO || wanted.kind == PROBE) operate(wanted.warm_up);
    resuming = wanted.kind == RESUME;
}

static void measured_part(void) {
    if (wanted.kind == IDLE) {
        establish();
        usleep((useconds_t)(wanted.seconds * 1e6));
    } else {
        operate(is_handshaking() || wanted.kind == ECHO ? wanted.seconds : 0);
    }
}

/* ---- probing */

static int compare(const void *a, const void *b) {
    double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static void probe_for(double seconds) {
    size_t count = 0, most = (size_t)(seconds * 1e6 / PROBE_GAP) + 1;
    double *waits = malloc(most * sizeof *waits), end = now() + seconds;
    if (!waits) die("no memory");
    for (; count < most && (!count || now() < end); count++) {
        double sent = now();
        begin(&all[count % (size_t)wanted.connections], wanted.bytes);
        while (busy) turn();
        waits[count] = now() - sent;
        usleep(PROBE_GAP);
    }
    qsort(waits, count, sizeof *waits, compare);
    printf("{\"echoes\": %zu, \"p50\": %.4f, \"p99\": %.4f}\n", count, waits[count / 2] * 1e3, waits[count * 99 / 100] * 1e3);
    fflush(stdout);
    free(waits);
}

/* ---- measuring */

typedef struct { double time, server, own, all; long resident; } reading;

static double busy_seconds(void) {
    unsigned long user, nice, system, idle, waiting, interrupts, soft;
    FILE *file = fopen("/proc/stat", "r");
    if (!file || fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &waiting, &interrupts, &soft) != 7)
        die("/proc/stat");
    fclose(file);
    return (double)(user + nice + system + interrupts + soft) / (double)sysconf(_SC_CLK_TCK);
}

static long resident_kib(void) {
    char path[64];
    long size, resident;
    snprintf(path, sizeof path, "/proc/%d/statm", wanted.server);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%ld %ld", &size, &resident) != 2) die(path);
    fclose(file);
    return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

/* The CPU clock of a process is utime + stime of /proc/PID/stat without the rounding to 10 ms. */
static reading read_all(void) {
    clockid_t server;
    if (clock_getcpuclockid(wanted.server, &server)) die("--server");
    return (reading){ now(), seconds_of(server), seconds_of(CLOCK_PROCESS_CPUTIME_ID), busy_seconds(), resident_kib() };
}

static void prepare_context(void) {
    context = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(context, wanted.version);
    SSL_CTX_set_max_proto_version(context, wanted.version);
    /* One suite of each version, so that no server's preference is measured. P-256 is there for TLS 1.2, which takes the groups
     * for the curves of certificates too (RFC 8422 5.1); the key exchange is X25519. */
    if (SSL_CTX_set1_groups_list(context, "X25519:P-256") != 1 || SSL_CTX_set_ciphersuites(context, "TLS_AES_256_GCM_SHA384") != 1 ||
        SSL_CTX_set_cipher_list(context, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") != 1) die("suites");
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (wanted.kind != IDLE) SSL_CTX_set_read_ahead(context, 1);
    if (wanted.kind == DOWNLOAD) SSL_CTX_set_default_read_buffer_len(context, 2 * CHUNK);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, keep_ticket);
    if (wanted.cert && SSL_CTX_use_certificate_chain_file(context, wanted.cert) != 1) die("--cert");
    if (wanted.key && SSL_CTX_use_PrivateKey_file(context, wanted.key, SSL_FILETYPE_PEM) != 1) die("--key");
}

static int read_options(int argc, char **argv) {
    static const struct option known[] = { { "port", 1, 0, 'p' }, { "server", 1, 0, 's' }, { "connections", 1, 0, 'n' },
        { "bytes", 1, 0, 'b' }, { "seconds", 1, 0, 't' }, { "warm-up", 1, 0, 'w' }, { "tls", 1, 0, 'v' }, { "cert", 1, 0, 'c' },
        { "key", 1, 0, 'k' }, { "operations", 1, 0, 'o' }, { 0 } };
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) switch (option) {
    case 'p': wanted.port = atoi(optarg); break;
    case 's': wanted.server = atoi(optarg); break;
    case 'n': wanted.connections = atoi(optarg); break;
    case 'b': wanted.bytes = strtoull(optarg, NULL, 10); break;
    case 't': wanted.seconds = atof(optarg); break;
    case 'w': wanted.warm_up = atof(optarg); break;
    case 'v': wanted.version = strcmp(optarg, "1.2") ? TLS1_3_VERSION : TLS1_2_VERSION; break;
    case 'c': wanted.cert = optarg; break;
    case 'k': wanted.key = optarg; break;
    case 'o': wanted.operations = atol(optarg); break;
    default: return 0;
    }
    for (; wanted.kind < KINDS && optind < argc && strcmp(argv[optind], names[wanted.kind]); wanted.kind++) {}
    return optind == argc - 1 && wanted.kind < KINDS && wanted.port && wanted.server && wanted.connections >= 1 && wanted.bytes;
}

int main(int argc, char **argv) {
    if (!read_options(argc, argv)) {
        fprintf(stderr, "load: see the first lines of load.c\n");
        return 2;
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    prepare_context();
    epoll = epoll_create1(0);
    all = calloc((size_t)(wanted.connections > DIALLING ? wanted.connections : DIALLING), sizeof *all);
    warm_up();
    if (wanted.kind == PROBE) {
        while (getchar() != EOF) probe_for(wanted.seconds);
        return 0;
    }
    reading a = read_all();
    measured_part();
    reading b = read_all();
    double server = b.server - a.server, others = b.all - a.all - server - (b.own - a.own);
    printf("{\"connections\": %d, \"operations\": %ld, \"seconds\": %.3f, \"server_cpu\": %.6f, \"others_cpu\": %.2f, "
           "\"resident_kib\": %ld}\n", wanted.connections, operations, b.time - a.time, server, others > 0 ? others : 0,
           b.resident - a.resident);
    if (!is_handshaking()) part();
    return 0;
}
