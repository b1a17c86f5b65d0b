/* engine.h - the whole contract of the TLS engine.
 *
 * The engine turns bytes into TLS connections and back.  It knows OpenSSL, bytes and file descriptors; it knows
 * nothing of Python, of names, of files or of policy.  Whatever needs a decision is put as a question: the connection
 * stops, and goes on when the answer is given.
 *
 * A connection is opaque.  After any call tio_conn_next() says what it waits for; nothing else has to be guessed from its state.
 *
 * INVARIANTS.  Each has a test in tests/native/engine_test.c or in tests/connection/.
 *  1. No plaintext is handed up before the phase is OPEN, and none is accepted for sending.
 *  2. Nothing leaves while an OpenSSL call runs, nor while a question is open.  OpenSSL's FLUSH is answered, never
 *     obeyed: output is gathered and leaves by tio_conn_flush() or tio_conn_output() after the call has returned.
 *  3. BROKEN is final.  What the failing step produced (the alert) is still sent, and it is sent before the
 *     descriptor is closed.
 *  4. No code of the user runs inside an OpenSSL callback: callbacks record a fact or ask for a pause.  The one exception,
 *     pre-shared keys, is fenced: see tio_in_psk_callback().
 *  5. One thread owns a connection at a time.  Hand-over happens between calls of this file, never inside one.
 *  6. OpenSSL's error queue is cleared before, and read after, every call that can fail; what was read is in `fault`.
 *  7. A callback that cannot answer fails the handshake.
 *  8. End of file is never shown to OpenSSL: it would answer with a fatal alert and refuse to write ever after.
 *
 * OWNERSHIP.  tio_context and tio_ring are counted; they may be shared by threads and are never changed once a
 * connection uses them (the ring is locked inside).  A tio_conn has one owner, who frees it with tio_conn_free(), and
 * which may be attached to a reactor.  A tio_reactor belongs to one thread.  Pointers returned by a tio_conn live as
 * long as it, unless said otherwise.
 *
 * Return values: functions that can fail return 0 or a count when well, -1 when not; the reason is in `fault`. */
#ifndef TLSIO_ENGINE_H
#define TLSIO_ENGINE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* TIO_PORTABLE is the one switch of the build: connections over memory alone, for systems without epoll. */
#ifdef TIO_PORTABLE
enum { TIO_HAS_REACTOR = 0 };
#else
enum { TIO_HAS_REACTOR = 1 };
#endif

enum {
    TIO_RECORD = 16384,                 /* RFC 8446 5.1: the largest plaintext of one record */
    TIO_SCRATCH = 65536,                /* one recv() at most: four full records */
    TIO_GATHER = 262144,                /* unsent ciphertext held for one connection; one record more may exceed it */
    TIO_LOOK_BUDGET = 16384,            /* wire bytes one OpenSSL call may swallow without giving any plaintext */
    TIO_KEY_UPDATES = 32,               /* in a row without data; rustls draws the line at the same number */
    TIO_LINGER_BYTES = 262144,          /* read and thrown away after our last byte, so that the alert survives */
    TIO_PIN = 32,                       /* SHA-256 of a SubjectPublicKeyInfo */
    TIO_TICKET_KEY = 48,                /* Node's layout: 16 name, 16 HMAC-SHA256 key, 16 AES-128 key */
    TIO_TICKET_KEYS = 16,               /* keys a ring remembers */
    TIO_SESSION_ID = 32,                /* RFC 5246 7.4.1.2: the longest; that of a stateful ticket */
    TIO_LISTED = 16,                    /* certificates of a chain that a session remembers for revocation lists */
    TIO_LIST_KEY = 32,                  /* SHA-256: names a list, see lists.c */
    TIO_LIST_SERIAL = 40,               /* bytes of a serial number in DER; RFC 5280 4.1.2.2 allows 22 */
    TIO_ENTRIES = (TIO_LISTED + 1) * (TIO_LIST_KEY + 1 + TIO_LIST_SERIAL),
    TIO_TRUST = 32,                     /* SHA-256 of what finds certificates good; the binding knows what that is */
    TIO_SESSIONS = 8,                   /* made by one connection and not fetched yet; a TLS 1.3 server makes two at once */
    TIO_PSK_IDENTITY = PSK_MAX_IDENTITY_LEN,            /* bytes of a pre-shared key's identity, or of a hint: 256 */
    TIO_PSK_KEY = PSK_MAX_PSK_LEN       /* 512 */
};

#ifdef OPENSSL_NO_SSL_TRACE
enum { TIO_TRACES = 0 };                /* this library cannot trace */
#else
enum { TIO_TRACES = 1 };
#endif

#ifdef OPENSSL_NO_NEXTPROTONEG
enum { TIO_SPEAKS_NPN = 0 };            /* this library cannot */
#else
enum { TIO_SPEAKS_NPN = 1 };
#endif

typedef enum { TIO_CLIENT, TIO_SERVER } tio_role;

/* ---- state.c: four fields, each moved through one door ------------------------------------------------------- */

typedef enum { TIO_IDLE, TIO_HANDSHAKING, TIO_OPEN, TIO_CLOSING, TIO_CLOSED, TIO_BROKEN } tio_phase;
typedef enum { TIO_NO_QUESTION, TIO_ASK_HELLO, TIO_ASK_VERIFY, TIO_ASK_CLIENT, TIO_ASK_STATUS, TIO_ASK_STORE, TIO_ASK_PREFACE } tio_question;
typedef enum { TIO_IN_OPEN, TIO_IN_ENDED, TIO_IN_TRUNCATED } tio_in;
typedef enum { TIO_OUT_OPEN, TIO_OUT_ENDING, TIO_OUT_ENDED } tio_out;

/* ---- faults.c: why a connection broke ------------------------------------------------------------------------ */

typedef enum {
    TIO_FAULT_SSL,                      /* OpenSSL refused what the peer did; `entries` has its queue */
    TIO_FAULT_ALERT,                    /* the peer refused us: `alert_received` */
    TIO_FAULT_VERIFY,                   /* the peer's certificate: `verify` of the connection has the causes */
    TIO_FAULT_HANGUP,                   /* end of file before the handshake was complete */
    TIO_FAULT_UNANSWERED,               /* close_notify before another handshake was complete, which it leaves without an answer */
    TIO_FAULT_OS,                       /* recv or send failed: `os_error` */
    TIO_FAULT_LIMIT,                    /* `limit` was passed */
    TIO_FAULT_TIMEOUT,                  /* the deadline of a handshake passed, of the first or of another */
    TIO_FAULT_REFUSED,                  /* an answer of ours refused the peer */
    TIO_FAULT_MEMORY
} tio_fault_kind;

typedef enum { TIO_NO_LIMIT, TIO_LIMIT_HANDSHAKE_BYTES, TIO_LIMIT_KEY_UPDATES, TIO_LIMIT_PARTIAL_RECORD,
               TIO_LIMIT_DH_SIZE, TIO_LIMIT_RENEGOTIATIONS, TIO_LIMIT_RENEGOTIATION_OFF, TIO_LIMIT_CERTIFICATE_REQUESTS } tio_limit;

typedef struct {
    unsigned long code;                 /* as ERR_get_error() gives it */
    char function[48];                  /* OpenSSL's, cut; its own text dies with the next error */
    char data[96];                      /* OpenSSL's additional text, cut */
} tio_fault_entry;

typedef struct {
    tio_fault_kind kind;
    tio_limit limit;
    int os_error;
    int count;                          /* entries used, oldest first */
    tio_fault_entry entries[6];
    int16_t alert_sent, alert_received; /* -1 = none; else the description */
    uint8_t certificate_requested;      /* the peer asked for our certificate */
    uint8_t psk;                        /* pre-shared keys were allowed */
    uint8_t first[16];                  /* the peer's first wire bytes, which show what it spoke */
    uint8_t first_size;
} tio_fault;

/* What chain verification found; made when a certificate of the peer was verified. */
typedef struct { int error, depth; } tio_verify_error;
typedef struct {
    int count;                          /* errors used, in the order OpenSSL met them */
    tio_verify_error errors[16];
    int pins_failed;                    /* server: none of the pins is in the chain */
    STACK_OF(X509) *chain;              /* verified, leaf first; NULL once OpenSSL has it again */
    X509 *leaf;                         /* client: whom the answer was about */
} tio_verify;

/* ---- contexts: an SSL_CTX, and beside it what SSL_set_SSL_CTX() does not carry over -------------------------- */

typedef struct tio_serials tio_serials;
typedef struct tio_lists tio_lists;

typedef struct {                        /* verify mode, versions, options, tickets are read from the SSL_CTX itself */
    int accept_unverified;              /* server: a bad certificate is recorded, not refused */
    char *groups;                       /* colon list, or NULL for the library's own */
    uint8_t id_context[32];             /* session id context: the digest of the trust; set on the SSL_CTX too */
    size_t id_context_size;
    uint8_t *alpn;                      /* wire form; server: in order of preference, client: offered */
    size_t alpn_size;
    uint8_t *npn;                       /* wire form, see tio_context_speak_npn(); server: advertised, client: chosen from */
    size_t npn_size;
    uint8_t *pins;                      /* server: TIO_PIN bytes each */
    size_t pin_count;
    uint8_t trust[TIO_TRUST];           /* server: what finds certificates good; a client's session is not resumed under others */
    int64_t lists_end;                  /* POSIX seconds: when the first CRL of the store has to be replaced; 0: there is none */
    tio_lists *lists;                   /* server: resumed clients are looked for in these, or NULL; released with the context */
    int resume_unmarked;                /* server: sessions without a mark may resume where a certificate is asked for */
} tio_context_settings;

typedef struct tio_ring tio_ring;

typedef struct {
    SSL_CTX *ssl;
    tio_context_settings settings;      /* text and bytes here are malloc'd and freed with the context */
    tio_ring *ring;                     /* ticket keys of connections that have no gate */
    atomic_int owners;
} tio_context;

tio_context *tio_context_new(void);     /* our callbacks and modes installed; NULL without memory */
void tio_context_speak_npn(tio_context *);           /* NPN, what ALPN came from, by its settings.npn: TLS 1.2 and older; ALPN wins */
void tio_context_retain(tio_context *);
void tio_context_release(tio_context *);

/* ---- serials.c: the serial numbers of one revocation list.  Never changed; of any thread. ---------------------- */

enum { TIO_SERIALS_MEMORY = -1, TIO_SERIALS_MALFORMED = -2 };
/* content: of revokedCertificates, DER, copied.  0, or why nothing was made: an entry that is malformed, names an issuer of its own,
 * or has a critical extension that is not known. */
int tio_serials_read(const uint8_t *content, size_t size, tio_serials **);
void tio_serials_retain(tio_serials *);
void tio_serials_release(tio_serials *);
size_t tio_serials_count(const tio_serials *);
/* serial: an INTEGER in DER.  The size of the date (a Time in DER, borrowed) at which it was revoked; 0: it was not. */
size_t tio_serials_find(const tio_serials *, const uint8_t *serial, size_t size, const uint8_t **date);

/* ---- lists.c: the revocation lists at hand.  May be changed by any thread. ----------------------------------- */

tio_lists *tio_lists_new(int required, size_t room);                     /* required: a list that is not to be had passes nobody */
void tio_lists_retain(tio_lists *);
void tio_lists_release(tio_lists *);
/* Publish a list that was found good, or, serials NULL, that there is none; until: POSIX seconds.  -1: no memory. */
int tio_lists_put(tio_lists *, const uint8_t key[TIO_LIST_KEY], tio_serials *, int64_t until);
int64_t tio_lists_until(tio_lists *, const uint8_t key[TIO_LIST_KEY]);   /* 0: nothing was published */
int tio_lists_pass(tio_lists *, const uint8_t *entries, size_t size, int64_t now);
/* One entry for each certificate of a verified chain but the last; an entry begins with its key. */
size_t tio_chain_entries(STACK_OF(X509) *chain, uint8_t entries[TIO_ENTRIES]);
int64_t tio_chain_end(STACK_OF(X509) *chain, const X509 *leaf);          /* the first notAfter, POSIX seconds; NULLs are fine */
int64_t tio_instant(const ASN1_TIME *);              /* POSIX seconds; one that OpenSSL cannot read is long past */
int tio_spki_digest(const X509 *, uint8_t digest[TIO_PIN]);              /* -1: no memory */

/* ---- tickets.c: the ring of ticket keys.  The first encrypts, all decrypt.  May be changed by any thread. ---- */

tio_ring *tio_ring_new(void);           /* one random key; NULL when the random generator fails */
void tio_ring_retain(tio_ring *);
void tio_ring_release(tio_ring *);      /* keys are wiped */
int tio_ring_set(tio_ring *, const uint8_t *keys, size_t count);         /* replaces all; 1..TIO_TICKET_KEYS keys */
void tio_ring_push(tio_ring *, const uint8_t key[TIO_TICKET_KEY]);       /* in front; the oldest falls off */
void tio_ring_keep(tio_ring *, int64_t ns);          /* how long a key still decrypts after a push; 0, the default: for ever */
void tio_ring_first(tio_ring *, uint8_t key[TIO_TICKET_KEY]);

/* How often a client may renegotiate TLS 1.2.  As in Node the window runs from the handshake before; unlike there the limit
 * ends the connection. */
typedef struct {
    uint32_t limit;                     /* 0 = not at all: OpenSSL answers with a warning, and goes on */
    int64_t window_ns;
} tio_renegotiation;

/* ---- psk.c: external pre-shared keys (RFC 4279, RFC 8446 4.2.11) --------------------------------------------- */

typedef struct tio_conn tio_conn;

/* The binding's, called from inside an OpenSSL call: a key is wanted.  `given`: the client's identity (server), or the server's
 * hint or NULL (client); text, in UTF-8 as far as OpenSSL can tell.  Filled in: `identity` (client: TIO_PSK_IDENTITY bytes and
 * a NUL at most) and `key` (TIO_PSK_KEY bytes at most).  Returns the size of the key, 0: there is none, -1: the handshake is to
 * fail.  Until it returns no call of this file may be made but those that take a const tio_conn. */
typedef int tio_psk_ask(tio_conn *, const char *given, char *identity, uint8_t *key);
int tio_in_psk_callback(void);                   /* this thread is inside of one */
int tio_conn_psk_used(const tio_conn *);             /* an external key, not a certificate, has shown who the peer is */

/* ---- gate.c: one server's limits and counters, shared by its listeners ---------------------------------------- */

enum { TIO_WANT_HELLO = 1, TIO_WANT_ALPN = 2, TIO_WANT_CLIENT = 4, TIO_WANT_ACCEPTED = 8, TIO_WANT_DROPPED = 16,
       TIO_WANT_VERIFY = 32,
       TIO_WANT_KEYS = 64, TIO_WANT_OFFER = 128, TIO_WANT_TRACE = 256,      /* records, see tio_records */
       TIO_WANT_STATUS = 512,
       TIO_WANT_SESSIONS = 1024,        /* those made are handed up; a server asks for those it is to resume */
       TIO_STATEFUL = 2048,             /* and gives out ids of sessions, no tickets that carry them */
       TIO_STATEFUL_13 = 4096,          /* the same, to clients of TLS 1.3 only */
       TIO_WANT_PSK = 8192,
       TIO_WANT_PREFACE = 16384 };      /* bytes come before TLS, see TIO_ASK_PREFACE */

/* What one connection asks, allows and bounds.  A gate's is copied to each connection it accepts; for all others the binding
 * fills in tio_conn_policy() before the first step. */
typedef struct {
    uint16_t wants;                     /* TIO_WANT_HELLO | _ALPN | _CLIENT | _STATUS | _PSK, and tio_conn_record()'s */
    uint8_t alpn_continue;              /* nothing in common: go on without ALPN instead of alert 120 */
    int min_dh_bits;                    /* client: smaller groups are refused; 0 = OpenSSL's own bound */
    int64_t handshake_ns;               /* deadline of a whole handshake, also of a repeated one; 0 = none */
    int64_t partial_ns;                 /* a record must be whole within it: three bytes of a header pin 16.7 KiB; 0 = none */
    uint64_t max_handshake_bytes;       /* of input; what is sent in a handshake the context's certificates bound; 0 = no limit */
    tio_renegotiation renegotiation;    /* what clients of TLS 1.2 may */
    tio_psk_ask *ask_psk;               /* for TIO_WANT_PSK */
    const char *psk_hint;               /* the binding's, not changed; NULL: none */
    const char *plain_answer;           /* sent in place of an alert to a client that speaks HTTP; the binding's; NULL: none */
    size_t plain_answer_size;
} tio_policy;

typedef struct {
    pthread_mutex_t lock;               /* of `context` and `peers`: any thread may exchange the one and count in the other */
    tio_context *context;               /* for new connections; changed by tio_gate_set_context() only */
    tio_ring *ring;
    void *owner;                        /* the binding's; not touched here */
    atomic_uint wants;                  /* TIO_WANT_*, in place of the policy's: they may change while connections are accepted */
    tio_policy policy;
    int no_delay;
    int keep_alive;                     /* -1 off, else seconds before the first probe; 0 the system's */
    atomic_uint max_connections;        /* 0 = no limit, here and below */
    int queues_beyond;                  /* those beyond it stay in the kernel's queue; else they are taken and dropped */
    uint32_t max_handshakes;
    uint32_t max_per_peer;              /* open connections of one address: IPv4, or the first 64 bits of IPv6 */
    atomic_uint open, handshaking;      /* now */
    atomic_uint lingering;              /* descriptors that are only drained; see tio_gate_max_lingering() */
    atomic_ullong accepted, dropped;    /* since the start */
    atomic_ullong bytes_in, bytes_out;  /* plaintext of connections that are gone */
    struct tio_peers *peers;            /* open connections by address, while max_per_peer is set */
} tio_gate;

void tio_gate_init(tio_gate *);         /* the caller's memory, zeroed */
void tio_gate_free(tio_gate *);         /* the context, the ring and the lock; no connection may be left */
void tio_gate_set_context(tio_gate *, tio_context *);                   /* any thread */

/* ---- conn.c: one connection as steps that never block -------------------------------------------------------- */

/* facts.c: what a connection has recorded for who looks on; nothing but a NULL unless it was wanted.  Taken by the binding
 * after the OpenSSL call that made it. */
typedef struct {
    uint8_t *keys;                      /* TIO_WANT_KEYS: lines of the NSS key log, each with its newline.  Secrets! */
    size_t keys_size, keys_room;
    uint8_t *offer;                     /* TIO_WANT_OFFER, server: the first ClientHello, handshake header and body */
    size_t offer_size;
    BIO *trace;                         /* TIO_WANT_TRACE: text of SSL_trace() */
} tio_records;

/* sessions.c: what was made and not fetched yet.  Secrets! */
typedef struct {
    uint8_t id[TIO_SESSION_ID];
    size_t id_size;
    uint8_t *der;
    size_t size;
    long lifetime;                      /* seconds */
} tio_session;

typedef struct {
    SSL_SESSION *given;                 /* to be resumed: a client's, or what a server's lookup found */
    uint8_t asked[TIO_SESSION_ID];      /* server: the id the client wants to resume */
    size_t asked_size;
    size_t count;
    tio_session made[TIO_SESSIONS];     /* oldest first */
} tio_sessions;

typedef struct {                        /* facts.c: how the secret was agreed on */
    enum { TIO_KEY_NONE, TIO_KEY_DH, TIO_KEY_ECDH, TIO_KEY_GROUP } kind;
    uint16_t bits;                      /* DH and ECDH */
    const char *name;                   /* ECDH: of the curve; GROUP: of the group.  Lives as long as the connection */
} tio_key_info;

/* status.c: OCSP responses.  Server, while it is asked and until the handshake is done: one for each of its certificates; the
 * client will be shown one of them. */
enum { TIO_IDENTITIES = 16 };           /* kinds of keys: one of each in a context */

typedef struct {
    X509 *cert, *issuer;                /* the issuer is NULL when nobody knows it */
    uint8_t *response;                  /* NULL: none */
    size_t size;
} tio_stapled;

typedef struct { int count; tio_stapled of[TIO_IDENTITIES]; } tio_status;

tio_conn *tio_conn_new(tio_context *, tio_role);     /* IDLE; NULL without memory */
void tio_conn_free(tio_conn *);         /* one that no reactor holds, else tio_reactor_discard(); NULL is fine; not from a callback */

tio_policy *tio_conn_policy(tio_conn *);             /* the binding's to write before the first step */
void tio_conn_set_gate(tio_conn *, tio_gate *);      /* over memory: ticket keys and counters of a server */
void tio_conn_set_owner(tio_conn *, void *);         /* the binding's; not touched here */

/* Facts.  All of them are to be had at any time. */
tio_role tio_conn_role(const tio_conn *);
tio_phase tio_conn_phase(const tio_conn *);
tio_question tio_conn_question(const tio_conn *);
tio_in tio_conn_in(const tio_conn *);
tio_out tio_conn_out(const tio_conn *);
SSL *tio_conn_ssl(const tio_conn *);                 /* NULL before the first step */
tio_context *tio_conn_context(const tio_conn *);     /* the one a name has chosen, or the first */
tio_gate *tio_conn_gate(const tio_conn *);
void *tio_conn_owner(const tio_conn *);
int tio_conn_fd(const tio_conn *);                   /* -1: over memory, or let go */
const tio_fault *tio_conn_fault(const tio_conn *);   /* NULL unless BROKEN, and then without memory */
const tio_verify *tio_conn_verify(const tio_conn *); /* NULL: no certificate was verified */
const char *tio_conn_server_name(const tio_conn *);  /* lower case, as the hello had it (server) or as set (client), or NULL */
size_t tio_conn_offered(const tio_conn *, const uint8_t **list);         /* server, while the hello is asked about: ALPN, wire form */
size_t tio_conn_asked_session(const tio_conn *, const uint8_t **id);     /* server, then: the session the client wants to resume */
const tio_status *tio_conn_status(const tio_conn *); /* server, while responses are asked for, else NULL */
const tio_records *tio_conn_records(const tio_conn *);                   /* or NULL */
int tio_conn_peer_finished(const tio_conn *);        /* the peer's Finished of the first handshake has come */
int tio_conn_has_news(const tio_conn *);             /* records or a client's sessions wait to be taken */
int tio_conn_psk_used(const tio_conn *);             /* an external key, not a certificate, has shown who the peer is */
int64_t tio_conn_last_activity(const tio_conn *);    /* CLOCK_MONOTONIC, ns, 4 ms coarse: when plaintext moved last */
int64_t tio_conn_deadline(const tio_conn *);         /* CLOCK_MONOTONIC, ns: tio_conn_expire() is due then; 0 = none.  Handshake of
                                                      * accepted connections: the reactor's */
const struct sockaddr_in6 *tio_conn_peer(const tio_conn *);              /* of accepted connections: room for IPv4 too; of a Unix */
const struct sockaddr_in6 *tio_conn_local(const tio_conn *);             /* socket the family only, AF_UNSPEC: unknown */

typedef struct { uint64_t read, written, wire_read, wire_written; } tio_counts;     /* bytes; of the wire with TLS overhead */
tio_counts tio_conn_counts(const tio_conn *);

/* What now?  A set of these.  Everything that drives a connection asks this and nothing else. */
enum {
    TIO_NEXT_INPUT = 1,                 /* bytes of the peer are waited for */
    TIO_NEXT_TURN = 2,                  /* there is progress to be made at once: step, take or write, then turn */
    TIO_NEXT_ROOM = 4,                  /* ciphertext waits for the kernel or the stream to take it */
    TIO_NEXT_READABLE = 8,              /* plaintext stands and waits for tio_conn_take() */
    TIO_NEXT_QUESTION = 16,             /* an answer is waited for */
    TIO_NEXT_END = 32,                  /* the peer has ended, in order or not */
    TIO_NEXT_FIN = 64                   /* all is sent: the writing side of the stream is to be ended */
};
unsigned tio_conn_next(const tio_conn *);
void tio_conn_want(tio_conn *, int reading, int writing);   /* the caller would take plaintext now; it has plaintext to write.  -1: as it is */

/* Client, before the first step.  -1: OpenSSL refused the value.  A session that is resumed is asked about in place of the
 * certificate (TIO_ASK_VERIFY), when the handshake is complete but nothing of it has left. */
int tio_conn_set_server_name(tio_conn *, const char *name);
int tio_conn_set_session(tio_conn *, const uint8_t *der, size_t size);

/* Before the first step, or while TIO_ASK_HELLO is open: show the certificates of `from` with their keys and chains, whatever
 * context a name chooses; all else stays as it is.  -1: it has none, or OpenSSL refuses one (its queue says why). */
int tio_conn_set_identity(tio_conn *, tio_context *from);

/* Push on: handshake, or (OPEN, nobody reading) look whether a record stands. */
void tio_conn_step(tio_conn *);

/* Plaintext.  take: > 0 bytes, which is all that may be used of `room`; 0 nothing now.  A question may open inside.
 * write: bytes taken, 0 when the peer or the gather limit holds it back: repeat the same bytes later. */
size_t tio_conn_take(tio_conn *, void *room, size_t size);
size_t tio_conn_write(tio_conn *, const void *data, size_t size);
void tio_conn_end(tio_conn *);          /* close_notify goes behind what was written; FIN follows */
void tio_conn_close(tio_conn *);        /* end, and from now on steps throw input away until the peer has ended too */
/* OPEN: another handshake.  TLS 1.2: renegotiation; TLS 1.3: a server asks the client for its certificate.  verify_mode: -1 as
 * it is, else SSL_VERIFY_*, and accept_unverified beside it.  -1: cannot be, OpenSSL's code says why; without a code the connection is not open, or the
 * handshake that was asked for before is not done.  A server's begins after a renegotiation that the client has begun itself. */
int tio_conn_rehandshake(tio_conn *, int verify_mode, int accept_unverified, unsigned long *code);
int tio_conn_awaits_rehandshake(const tio_conn *);  /* asked for and not done */
/* What became of it since the last call that returned so: TIO_REHANDSHAKE_DONE, or dropped because this side has ended; else 0. */
enum { TIO_REHANDSHAKE_DONE = 1, TIO_REHANDSHAKE_DROPPED };
int tio_conn_rehandshake_done(tio_conn *);
void tio_conn_refuse_renegotiation(tio_conn *);      /* from now on a renegotiation by the peer ends the connection */

/* The end of each piece of work, for both wires: borrowed input becomes private, what has gathered is sent, FIN follows when
 * it is due, the clock of another handshake is started and stopped; the one of a partial record by reading. */
void tio_conn_turn(tio_conn *);
void tio_conn_expire(tio_conn *);       /* a deadline has passed: BROKEN, unless nothing is overdue */

/* Memory wire.  feed borrows `data` until tio_conn_turn().  output shows the ciphertext to send. */
int tio_conn_feed(tio_conn *, const uint8_t *data, size_t size);         /* -1: no memory */
void tio_conn_feed_eof(tio_conn *);
void tio_conn_feed_error(tio_conn *, int os_error);  /* the stream broke: reported after all that came before it */
void tio_conn_send_failed(tio_conn *, int os_error); /* nothing leaves any more; the input may say why */
int tio_conn_send_error(const tio_conn *);           /* errno of a send that failed, or 0 */
size_t tio_conn_output(tio_conn *, const uint8_t **data);                /* 0 while a question is open */
void tio_conn_hand_out(tio_conn *, size_t size);     /* the caller has copied that much of the output: it stays, and counts as unsent,
                                                      * until tio_conn_sent(), even when the rest is dropped */
void tio_conn_sent(tio_conn *, size_t size);
void tio_conn_fin_sent(tio_conn *);     /* after TIO_NEXT_FIN */
size_t tio_conn_unsent(const tio_conn *);            /* ciphertext that has not left */
size_t tio_conn_held(const tio_conn *);              /* wire bytes that have come and were not used yet */
size_t tio_conn_undelivered(const tio_conn *, size_t held);      /* bytes of data on the wire that wait here or are `held` by the kernel */
void tio_conn_look_for_reset(tio_conn *);            /* one that has cost data and that no read will find: the next turn reports it */
size_t tio_conn_unacknowledged(const tio_conn *);    /* bytes the kernel has and the peer has not acknowledged, FIN included; 0: memory */
int tio_conn_flush(tio_conn *);         /* descriptor wire: 1 all sent, 0 the kernel is full, -1 failed */

/* TIO_ASK_PREFACE: what has come so far.  taken: so many of its bytes are not TLS and are dropped; more: they do not suffice,
 * ask again when others have come. */
size_t tio_conn_preface(const tio_conn *, const uint8_t **data);
void tio_answer_preface(tio_conn *, size_t taken, int more);

/* Answers.  Each ends the question and must be followed by tio_conn_step(); wrong moment: nothing happens. */
void tio_answer_hello(tio_conn *, tio_context *context, const uint8_t *protocol, size_t size);   /* NULLs: as it is */
void tio_answer_verify(tio_conn *, int error);       /* X509_V_OK accepts */
void tio_answer_client(tio_conn *);                  /* accepted */
void tio_answer_status(tio_conn *);                  /* server: go on with the responses set; client: accepted */
int tio_answer_session(tio_conn *, const uint8_t *der, size_t size);     /* before answer_hello: what the lookup found; -1:
                                                      * that is no session, a full handshake follows */
void tio_answer_store(tio_conn *);                   /* the sessions made are stored, or lost: tio_conn_sessions() had them */
void tio_refuse(tio_conn *, int alert);              /* any question: fatal alert, where the protocol still can */

/* status.c.  Server, while the question is open: set the response for `status->of[index]`, which is copied; -1: wrong moment, no
 * memory.  Client: what the server stapled, 0 for nothing; to be had while the question is open. */
tio_status *tio_context_status(tio_context *);          /* a context's certificates, no responses; NULL without memory */
void tio_status_free(tio_status *);     /* a NULL is fine */
int tio_status_set(tio_conn *, int index, const uint8_t *data, size_t size);
size_t tio_status_get(const tio_conn *, const uint8_t **data);

/* Sessions made and not fetched yet.  told wipes them. */
size_t tio_conn_sessions(const tio_conn *, const tio_session **);
void tio_conn_sessions_told(tio_conn *);

/* facts.c.  key_info is NONE when no ephemeral key was exchanged, and before the handshake is done.  max_fragment: from now
 * on; -1: not from 512 to TIO_RECORD. */
tio_key_info tio_conn_key_info(tio_conn *);
int tio_conn_set_max_fragment(tio_conn *, long size);
size_t tio_conn_npn(const tio_conn *, const uint8_t **name);             /* the protocol of both lists; 0: none, or no NPN */

/* Records.  record: from now on, TIO_WANT_KEYS | _OFFER | _TRACE; the SSL_CTX's key log callback is installed by the first
 * connection that wants it, which costs those that do not a look at their flags.  keys_told wipes the lines. */
void tio_conn_record(tio_conn *, unsigned wants);
size_t tio_conn_keys(const tio_conn *, const uint8_t **);
void tio_conn_keys_told(tio_conn *);
size_t tio_conn_trace(const tio_conn *, const uint8_t **);
void tio_conn_trace_told(tio_conn *);

/* Give up: BROKEN with that fault, unless it is final already. */
void tio_conn_break(tio_conn *, tio_fault_kind, tio_limit, int os_error);

/* ---- reactor.c: epoll for many connections (Linux; with TIO_PORTABLE tio_reactor_new() fails) ----------------------------------------------------------- */

typedef struct tio_reactor tio_reactor;

enum {                                  /* what a notice says */
    TIO_NOTICE_ACCEPTED = 1,            /* the gate wants to know */
    TIO_NOTICE_QUESTION = 2,
    TIO_NOTICE_OPENED = 4,
    TIO_NOTICE_TURN = 8,                /* tio_conn_next() has something for the binding: to take, to write, to report */
    TIO_NOTICE_FAILED = 16,             /* BROKEN; the descriptor is on its way out already */
    TIO_NOTICE_DROPPED = 32,            /* `fd` was refused by a limit; the binding reads its address and closes it */
    TIO_NOTICE_LISTENER = 64            /* accept() failed with `error`; the listener rests, or is given up when it is dead */
};

typedef struct {
    uint32_t what;
    uint64_t handle;                    /* of the connection or listener: slot and generation.  Never used again for another */
    tio_conn *conn;                     /* valid until the next call that may free it: then tio_reactor_conn() */
    tio_gate *gate;                     /* the same: tio_reactor_gate().  NULL: it was evicted; a `fd` is still to be closed */
    int fd, error;
} tio_notice;

tio_reactor *tio_reactor_new(void);     /* NULL with errno */
void tio_reactor_free(tio_reactor *, int forked);    /* closes all descriptors; forked: a child's copies, without epoll_ctl().
                                                      * Connections of gates that have no owner yet are freed. */
int tio_reactor_fd(const tio_reactor *);             /* readable when tio_reactor_poll() has something to do */

/* One turn: poll, work, then the notices.  poll returns how many handshakes are waiting: work() then is worth releasing
 * an interpreter's lock for.  next_notice takes the oldest notice, 0: there is none.  Those that are left stay for later, so a
 * turn within a turn is harmless. */
int tio_reactor_poll(tio_reactor *);
void tio_reactor_work(tio_reactor *);
int tio_reactor_next_notice(tio_reactor *, tio_notice *);
tio_conn *tio_reactor_conn(const tio_reactor *, uint64_t handle);        /* NULL: it is gone */
tio_gate *tio_reactor_gate(const tio_reactor *, uint64_t handle);
int tio_reactor_has_notices(const tio_reactor *);
int tio_reactor_is_busy(const tio_reactor *);        /* notices, or work that the kernel will not wake us for */
size_t tio_reactor_load(const tio_reactor *);        /* descriptors in its care, and notices; 0 = may be freed */
size_t tio_reactor_owners(const tio_reactor *, void **);                 /* those of its connections; room for load() of them */

int tio_reactor_listen(tio_reactor *, tio_gate *, int fd);               /* takes the descriptor, also when it fails */
void tio_reactor_unlisten(tio_reactor *, tio_gate *);                    /* closes all its descriptors */
int tio_reactor_add(tio_reactor *, tio_conn *, int fd);                  /* takes the descriptor, also when it fails */
void tio_reactor_update(tio_reactor *, tio_conn *);  /* after any call from outside a turn: tio_conn_turn(), interest, ready list */
void tio_reactor_resume(tio_reactor *, tio_conn *);  /* tio_conn_step() after an answer, and the reactor's part of it */
void tio_reactor_drop(tio_reactor *, tio_conn *, int wait);              /* let the descriptor go; wait: alert and FIN first */
void tio_reactor_discard(tio_conn *);                /* let it go at once, and free it, whether a reactor holds it or none */
void tio_reactor_evict(tio_reactor *, tio_gate *);   /* frees the gate's connections that have no owner yet, and forgets the gate */

#endif
