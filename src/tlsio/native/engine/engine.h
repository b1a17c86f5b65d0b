/* engine.h - the whole contract of the TLS engine.
 *
 * The engine turns bytes into TLS connections and back. It knows OpenSSL, bytes and file
 * descriptors. It knows nothing of Python, file names or policy. Whatever needs a decision becomes
 * a question: the connection stops, and continues when the caller has answered.
 *
 * A connection is opaque. After any call tio_conn_next() says what it waits for; the caller never
 * has to guess that from the state.
 *
 * INVARIANTS. Each has a test in tests/native/engine_test.c or in tests/connection/.
 *  1. No plaintext is delivered, and none is accepted for sending, before the phase is OPEN.
 *  2. Nothing is sent while an OpenSSL call runs or while a question is open. OpenSSL's FLUSH
 *     always succeeds without sending: output is gathered, and tio_conn_flush() or
 *     tio_conn_output() sends it after the call has returned.
 *  3. BROKEN is final. What the failing step produced (the alert) is still sent, before the
 *     descriptor is closed.
 *  4. No user code runs inside an OpenSSL callback: callbacks record a fact or ask for a pause. The
 *     one exception, pre-shared keys, is guarded: see tio_in_psk_callback().
 *  5. One thread owns a connection at a time. Ownership passes between calls of this file, never
 *     inside one.
 *  6. OpenSSL's error queue is cleared before, and read after, every call that can fail; `fault`
 *     has what was read.
 *  7. A callback that cannot answer fails the handshake.
 *  8. OpenSSL never sees the end of the file: it would send a fatal alert and refuse to write from
 *     then on.
 *
 * OWNERSHIP. tio_context and tio_ring are reference-counted. Threads may share them, and they are
 * not changed once a connection uses them (the ring has a lock of its own). A tio_conn has one
 * owner, which frees it with tio_conn_free(); it may be attached to a reactor. A tio_reactor
 * belongs to one thread; handshake threads have reactors of their own, and pass connections to the
 * loop's (threads.c). Pointers returned by a tio_conn live as long as it does, unless stated
 * otherwise.
 *
 * RETURN VALUES. Functions that can fail return 0 or a count on success and -1 on failure; `fault`
 * has the reason. */
#ifndef TLSIO_ENGINE_H
#define TLSIO_ENGINE_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

/* TIO_PORTABLE is the only build switch: memory wires alone, for systems without epoll. */
#ifdef TIO_PORTABLE
enum { TIO_HAS_REACTOR = 0 };
#else
enum { TIO_HAS_REACTOR = 1 };
#endif

enum {
    TIO_RECORD = 16384,                 /* RFC 8446 5.1: the largest plaintext of one record */
    TIO_SCRATCH = 65536,                /* the most one recv() reads: four full records */
    TIO_GATHER = 262144,                /* unsent ciphertext held; one record may exceed it */
    TIO_LOOK_BUDGET = 16384,            /* wire bytes per OpenSSL call that give no plaintext */
    TIO_KEY_UPDATES = 32,               /* messages in a row without data; as in rustls */
    TIO_LINGER_BYTES = 262144,          /* input discarded after our last byte; see linger.c */
    TIO_PIN = 32,                       /* SHA-256 of a SubjectPublicKeyInfo */
    TIO_TICKET_KEY = 48,                /* Node's layout: 16 name, 16 HMAC-SHA256 key, 16 AES key */
    TIO_TICKET_KEYS = 16,               /* keys that a ring holds */
    /* RFC 5246 7.4.1.2: the longest session id; also the size of a stateful ticket */
    TIO_SESSION_ID = 32,
    TIO_LISTED = 16,                    /* certificates recorded in a session, see marks.c */
    TIO_LIST_KEY = 32,                  /* SHA-256 that identifies a CRL, see lists.c */
    TIO_LIST_SERIAL = 40,               /* longest serial in DER; RFC 5280 4.1.2.2 allows 22 */
    TIO_ENTRIES = (TIO_LISTED + 1) * (TIO_LIST_KEY + 1 + TIO_LIST_SERIAL),
    /* SHA-256 of what decides which certificates are accepted; computed by the binding */
    TIO_TRUST = 32,
    /* sessions made by one connection and not fetched yet; a TLS 1.3 server makes two at once */
    TIO_SESSIONS = 8,
    /* bytes of a pre-shared key's identity, or of an identity hint: 256 */
    TIO_PSK_IDENTITY = PSK_MAX_IDENTITY_LEN,
    TIO_PSK_KEY = PSK_MAX_PSK_LEN,      /* 512 */
    /* identities of one TLS 1.3 hello that the binding is asked about. A client offers a few; there
     * is room for thousands, and nothing proves that it knows a key. */
    TIO_PSK_IDENTITIES = 32,
    /* Handshakes of one thread that may wait for signatures made elsewhere. Each has a stack of 32
     * KiB meanwhile, which is kept for the next one: 32 MiB. A KMS answers within 50 ms, so this
     * allows 20,000 signatures in a second. */
    TIO_JOBS = 1024
};

#ifdef OPENSSL_NO_SSL_TRACE
enum { TIO_TRACES = 0 };                /* this OpenSSL was built without SSL_trace() */
#else
enum { TIO_TRACES = 1 };
#endif

#ifdef OPENSSL_NO_NEXTPROTONEG
enum { TIO_SPEAKS_NPN = 0 };            /* this OpenSSL was built without NPN */
#else
enum { TIO_SPEAKS_NPN = 1 };
#endif

typedef enum { TIO_CLIENT, TIO_SERVER } tio_role;

/* ---- state.c: four fields, each changed by one function -------------------------------------- */

typedef enum { TIO_IDLE, TIO_HANDSHAKING, TIO_OPEN, TIO_CLOSING, TIO_CLOSED, TIO_BROKEN } tio_phase;
typedef enum { TIO_NO_QUESTION, TIO_ASK_HELLO, TIO_ASK_VERIFY, TIO_ASK_CLIENT, TIO_ASK_STATUS, TIO_ASK_STORE, TIO_ASK_PREFACE,
               /* a signature by a key that lives elsewhere; a job for one, see TIO_JOBS */
               TIO_ASK_SIGN, TIO_ASK_JOB } tio_question;
typedef enum { TIO_IN_OPEN, TIO_IN_ENDED, TIO_IN_TRUNCATED } tio_in;
typedef enum { TIO_OUT_OPEN, TIO_OUT_ENDING, TIO_OUT_ENDED } tio_out;

/* ---- faults.c: why a connection broke -------------------------------------------------------- */

typedef enum {
    TIO_FAULT_SSL,                      /* OpenSSL rejected the peer; `entries` has its errors */
    TIO_FAULT_ALERT,                    /* the peer rejected us: see `alert_received` */
    TIO_FAULT_VERIFY,                   /* the certificate was rejected; see tio_conn_verify() */
    TIO_FAULT_HANGUP,                   /* end of file before the handshake was complete */
    /* the peer sent close_notify before it completed a repeated handshake */
    TIO_FAULT_UNANSWERED,
    TIO_FAULT_OS,                       /* recv or send failed: `os_error` */
    TIO_FAULT_LIMIT,                    /* `limit` was exceeded */
    TIO_FAULT_TIMEOUT,                  /* the deadline of any handshake has passed */
    TIO_FAULT_REFUSED,                  /* an answer of the caller refused the peer */
    TIO_FAULT_MEMORY
} tio_fault_kind;

typedef enum { TIO_NO_LIMIT, TIO_LIMIT_HANDSHAKE_BYTES, TIO_LIMIT_KEY_UPDATES, TIO_LIMIT_PARTIAL_RECORD,
               TIO_LIMIT_DH_SIZE, TIO_LIMIT_RENEGOTIATIONS, TIO_LIMIT_RENEGOTIATION_OFF, TIO_LIMIT_CERTIFICATE_REQUESTS } tio_limit;

typedef struct {
    unsigned long code;                 /* as returned by ERR_get_error() */
    /* OpenSSL's text, truncated; a copy, because the next error overwrites the original */
    char function[48];
    char data[96];                      /* OpenSSL's additional text, truncated */
} tio_fault_entry;

typedef struct {
    tio_fault_kind kind;
    tio_limit limit;
    int os_error;
    int count;                          /* entries used, oldest first */
    tio_fault_entry entries[6];
    int16_t alert_sent, alert_received; /* the alert's description, -1 = none */
    uint8_t certificate_requested;      /* the peer asked for our certificate */
    uint8_t psk;                        /* pre-shared keys were enabled */
    uint8_t first[16];                  /* the peer's first wire bytes, which show its protocol */
    uint8_t first_size;
} tio_fault;

/* What chain verification found. Allocated when a certificate of the peer is verified. */
typedef struct { int error, depth; } tio_verify_error;
typedef struct {
    int count;                          /* errors used, in the order OpenSSL met them */
    tio_verify_error errors[16];
    int pins_failed;                    /* server: no pin matches the chain */
    /* verified, leaf first; NULL once it was returned to OpenSSL */
    STACK_OF(X509) *chain;
    X509 *leaf;                         /* client: the certificate that was judged */
} tio_verify;

/* ---- contexts: an SSL_CTX, and the settings that SSL_set_SSL_CTX() does not carry over ------- */

typedef struct tio_serials tio_serials;
typedef struct tio_lists tio_lists;

typedef struct {                        /* the rest is in the SSL_CTX */
    int accept_unverified;              /* server: an unverified certificate is recorded, not rejected */
    /* colon-separated list, or NULL for the library's default */
    char *groups;
    /* session id context: a digest of the trust settings; set on the SSL_CTX too */
    uint8_t id_context[32];
    size_t id_context_size;
    /* wire format; server: in order of preference, client: offered */
    uint8_t *alpn;
    size_t alpn_size;
    /* wire format, see tio_context_speak_npn(); server: advertised, client: acceptable */
    uint8_t *npn;
    size_t npn_size;
    uint8_t *pins;                      /* server: TIO_PIN bytes each */
    size_t pin_count;
    /* server: digest of the trust settings; a session made under other settings is not resumed */
    uint8_t trust[TIO_TRUST];
    /* POSIX seconds at which the first CRL of the store expires; 0: it has no CRL */
    int64_t lists_end;
    /* server: CRLs against which resuming clients are checked, or NULL; released with the
     * context */
    tio_lists *lists;
    /* server: resume sessions without a mark (see marks.c) although certificates are requested */
    int resume_unmarked;
    /* TIO_KEYS_ELSEWHERE | TIO_RSA_ELSEWHERE: it has keys of tio_key_new() */
    int keys_elsewhere;
} tio_context_settings;

typedef struct tio_ring tio_ring;

typedef struct {
    SSL_CTX *ssl;
    /* its strings and arrays are malloc'd and freed with the context */
    tio_context_settings settings;
    tio_ring *ring;                     /* ticket keys of connections without a gate */
    atomic_int owners;
} tio_context;

/* with the engine's callbacks and modes installed; NULL: out of memory */
tio_context *tio_context_new(void);
/* Enable NPN (the predecessor of ALPN, up to TLS 1.2) with settings.npn. ALPN takes precedence. */
void tio_context_speak_npn(tio_context *);
void tio_context_retain(tio_context *);
int tio_context_is_shared(tio_context *);            /* it has more than one owner */
void tio_context_release(tio_context *);

/* ---- serials.c: the serial numbers of one CRL. Immutable; usable by any thread. -------------- */

enum { TIO_SERIALS_MEMORY = -1, TIO_SERIALS_MALFORMED = -2 };
/* content: of revokedCertificates, in DER; it is copied. Returns 0, or the reason of the failure.
 * MALFORMED: an entry is malformed, names an issuer of its own, or has an unknown critical
 * extension. */
int tio_serials_read(const uint8_t *content, size_t size, tio_serials **);
void tio_serials_retain(tio_serials *);
void tio_serials_release(tio_serials *);
size_t tio_serials_count(const tio_serials *);
/* serial: an INTEGER in DER. Returns the size of the revocation date (a Time in DER, borrowed), or
 * 0 if the serial number is not listed. */
size_t tio_serials_find(const tio_serials *, const uint8_t *serial, size_t size, const uint8_t **date);

/* ---- lists.c: the CRLs that the engine can consult. May be changed by any thread. ------------ */

/* required: a certificate without an available CRL does not pass. room: the most CRLs it holds. */
tio_lists *tio_lists_new(int required, size_t room);
void tio_lists_retain(tio_lists *);
void tio_lists_release(tio_lists *);
/* Publish a validated CRL or, with `serials` NULL, the fact that there is none. until: POSIX
 * seconds. -1: out of memory. */
int tio_lists_put(tio_lists *, const uint8_t key[TIO_LIST_KEY], tio_serials *, int64_t until);
/* 0: nothing was published under this key */
int64_t tio_lists_until(tio_lists *, const uint8_t key[TIO_LIST_KEY]);
/* Do all these certificates pass? See lists.c. */
int tio_lists_pass(tio_lists *, const uint8_t *entries, size_t size, int64_t now);
/* Write one entry for each certificate of a verified chain except the last. An entry begins with
 * its key. */
size_t tio_chain_entries(STACK_OF(X509) *chain, uint8_t entries[TIO_ENTRIES]);
/* the earliest notAfter in POSIX seconds; both arguments may be NULL */
int64_t tio_chain_end(STACK_OF(X509) *chain, const X509 *leaf);
/* POSIX seconds; a time that OpenSSL cannot parse is in the distant past */
int64_t tio_instant(const ASN1_TIME *);
int tio_spki_digest(const X509 *, uint8_t digest[TIO_PIN]);              /* -1: out of memory */

/* ---- tickets.c: ticket keys. The first encrypts, all decrypt. Any thread may change them. ---- */

/* with one random key; NULL: out of memory, or the random generator failed */
tio_ring *tio_ring_new(void);
void tio_ring_retain(tio_ring *);
void tio_ring_release(tio_ring *);      /* the keys are wiped */
/* replaces all keys; count: 1..TIO_TICKET_KEYS */
int tio_ring_set(tio_ring *, const uint8_t *keys, size_t count);
/* adds the key in front and drops the oldest if the ring is full */
void tio_ring_push(tio_ring *, const uint8_t key[TIO_TICKET_KEY]);
/* how long a replaced key still decrypts; 0 (the default): without limit */
void tio_ring_keep(tio_ring *, int64_t ns);
void tio_ring_first(tio_ring *, uint8_t key[TIO_TICKET_KEY]);

/* How often a TLS 1.2 client may renegotiate. As in Node, the window starts at the previous
 * handshake. Unlike in Node, exceeding the limit ends the connection. */
typedef struct {
    uint32_t limit;                     /* 0: never; OpenSSL answers with a warning and continues */
    int64_t window_ns;
} tio_renegotiation;

/* ---- psk.c: external pre-shared keys (RFC 4279, RFC 8446 4.2.11) ----------------------------- */

typedef struct tio_conn tio_conn;

/* Supplied by the binding; called from inside an OpenSSL call to get a key. `given` is the client's
 * identity (on a server), or the server's hint or NULL (on a client): text, UTF-8 as far as OpenSSL
 * can tell. A server asks about the first TIO_PSK_IDENTITIES of a hello, and does not know the
 * others. The function fills in `identity` (client: at most TIO_PSK_IDENTITY bytes and a NUL) and
 * `key` (at most TIO_PSK_KEY bytes). It returns the size of the key, 0 if there is none, or -1 to
 * fail the handshake. Until it returns, only those functions of this file may be called that take a
 * const tio_conn. */
typedef int tio_psk_ask(tio_conn *, const char *given, char *identity, uint8_t *key);
int tio_in_psk_callback(void);                   /* true while this thread runs a tio_psk_ask */
/* the peer authenticated by an external key, not by a certificate */
int tio_conn_psk_used(const tio_conn *);
const char *tio_conn_psk_identity(const tio_conn *);   /* of that key; NULL without one */

/* ---- keys.c, signing.c: private keys that live elsewhere ------------------------------------- */

enum { TIO_KEYS_ELSEWHERE = 1, TIO_RSA_ELSEWHERE = 2 };

/* Whether connections can wait for signatures here: not where the C library has no ucontext
 * (musl). */
int tio_keys_work(void);
/* The private key of a public one, whose signatures are asked for by TIO_ASK_SIGN. number: chosen
 * by the binding, not 0. NULL: out of memory, or a type of key that is not supported; the error
 * queue has the reason. */
EVP_PKEY *tio_key_new(EVP_PKEY *public, uint64_t number);
/* The number of a key that nothing uses any more, each once; 0: none. Any thread. */
uint64_t tio_keys_dead(void);

/* A signature that a connection waits for. The message is borrowed until the answer. */
typedef struct {
    uint64_t key;                       /* its number */
    const char *scheme, *scheme_13;     /* IANA's name (RFC 8446 4.2.3); scheme_13 is internal */
    const uint8_t *message;             /* not hashed */
    size_t message_size;
    size_t longest;                     /* bytes of the longest signature */
} tio_signing;
const tio_signing *tio_conn_signing(const tio_conn *);                  /* NULL: none */
/* Answer TIO_ASK_SIGN: as on the wire, ECDSA in DER. It is copied. -1: it is not a signature of the
 * message by this key; the question stays open, and tio_refuse() ends the handshake. */
int tio_answer_sign(tio_conn *, const uint8_t *signature, size_t size);
/* Whether this thread can continue the connection after TIO_ASK_SIGN: only the one that asked can.
 * In another, any answer breaks the connection. */
int tio_conn_signs_here(const tio_conn *);
/* Answer TIO_ASK_JOB: TIO_JOBS handshakes of this thread wait for their signatures, and one of them
 * has ended since. It may be asked again. */
void tio_answer_job(tio_conn *);
int tio_signing_is_full(void);          /* this thread has no job for another handshake */
/* The connection is not used any more: end a wait for a signature. The engine does so itself if it
 * breaks or is freed. */
void tio_conn_abandon(tio_conn *);

/* ---- gate.c: one server's limits and counters, shared by its listeners ----------------------- */

enum { TIO_WANT_HELLO = 1, TIO_WANT_ALPN = 2, TIO_WANT_CLIENT = 4, TIO_WANT_ACCEPTED = 8, TIO_WANT_DROPPED = 16,
       TIO_WANT_VERIFY = 32,
       /* diagnostics, see tio_records */
       TIO_WANT_KEYS = 64, TIO_WANT_OFFER = 128, TIO_WANT_TRACE = 256,
       TIO_WANT_STATUS = 512,
       /* report new sessions; a server also asks for the session to resume */
       TIO_WANT_SESSIONS = 1024,
       /* issue session ids instead of tickets that contain the session */
       TIO_STATEFUL = 2048,
       TIO_STATEFUL_13 = 4096,          /* the same, only for TLS 1.3 clients */
       TIO_WANT_PSK = 8192,
       TIO_WANT_PREFACE = 16384,        /* bytes precede TLS, see TIO_ASK_PREFACE */
       TIO_WANT_NAMELESS = 32768 };     /* with TIO_WANT_HELLO: ask about a hello without a name too */

/* What one connection asks, allows and limits. An accepted connection gets a copy of its gate's
 * policy. For all others the binding fills in tio_conn_policy() before the first step. */
typedef struct {
    /* TIO_WANT_HELLO | _NAMELESS | _ALPN | _CLIENT | _STATUS | _PSK, and those of tio_conn_record() */
    uint16_t wants;
    /* without a common protocol: continue without ALPN instead of sending alert 120 */
    uint8_t alpn_continue;
    /* client: smaller DH groups are refused; 0 = OpenSSL's limit */
    int min_dh_bits;
    /* client: the server's chain is verified with X509_V_FLAG_X509_STRICT */
    uint8_t strict_chain;
    /* deadline of a whole handshake, first or repeated; 0 = none */
    int64_t handshake_ns;
    /* a record must be complete within this time, because three bytes of a header pin 16.7 KiB; 0 =
     * no limit */
    int64_t partial_ns;
    /* of input that OpenSSL reads before the first handshake is done, 0 = no limit; the size of the
     * certificates bounds the output */
    uint64_t max_handshake_bytes;
    tio_renegotiation renegotiation;    /* for TLS 1.2 clients */
    tio_psk_ask *ask_psk;               /* for TIO_WANT_PSK */
    const char *psk_hint;               /* owned by the binding, constant; NULL: none */
    /* sent instead of an alert to a client that speaks HTTP; owned by the binding; NULL: none */
    const char *plain_answer;
    size_t plain_answer_size;
} tio_policy;

typedef struct {
    /* protects `context`, `answers` and `peers`, which any thread may change */
    pthread_mutex_t lock;
    /* for new connections; changed only by tio_gate_set_default() */
    tio_context *context;
    struct tio_answers *answers;        /* see tio_gate_remember() */
    tio_ring *ring;
    void *owner;                        /* the binding's object; the engine does not use it */
    /* TIO_WANT_*; replaces policy.wants, because it may change while connections are accepted */
    atomic_uint wants;
    tio_policy policy;
    int no_delay;
    /* seconds before the first probe; -1: off, 0: the system's default */
    int keep_alive;
    atomic_uint max_connections;        /* 0 = no limit, here and in the two limits below */
    /* connections over the limit stay in the kernel's queue; otherwise they are accepted and
     * dropped */
    atomic_int queues_beyond;
    uint32_t max_handshakes;
    /* open connections of one address (IPv4, or the first 64 bits of IPv6) */
    uint32_t max_per_peer;
    atomic_uint open, handshaking;      /* current numbers */
    /* open connections over streams, which are not in `open` and count for max_connections */
    atomic_uint upgraded;
    /* descriptors that are only being drained; see tio_gate_max_lingering() */
    atomic_uint lingering;
    unsigned lingering_home;            /* of these, outside handshake threads */
    atomic_ullong accepted, dropped;    /* since the start */
    atomic_ullong bytes_in, bytes_out;  /* plaintext of closed connections */
    struct tio_peers *peers;            /* open connections by address, if max_per_peer is set */
    unsigned threads;                   /* handshake threads; 0: the reactor does handshakes itself */
    struct tio_pool *pool;              /* of these threads, while the gate listens; see threads.c */
    /* Held by a handshake thread while it accepts, so that a limit is checked and counted in one
     * step. */
    pthread_mutex_t accepting;
} tio_gate;

void tio_gate_init(tio_gate *);         /* the memory is the caller's, and zeroed */
/* releases context, answers, ring and lock; the gate must not have connections left */
void tio_gate_free(tio_gate *);
/* Any thread: the default context and the questions that belong to it. No connection gets one without
 * the other. */
void tio_gate_set_default(tio_gate *, tio_context *, unsigned wants);

/* answers.c: TIO_ASK_HELLO is not asked about a name whose context is remembered, unless the client
 * wants to resume a stored session or is an ACME authority. Any thread. */
/* name: in lower case; NULL: a hello without one; context: NULL stands for that of the connection;
 * ns: for how long; < 0: until tio_gate_forget() */
void tio_gate_remember(tio_gate *, const char *name, tio_context *, int64_t ns);
void tio_gate_forget(tio_gate *);       /* all names */

/* ---- conn.c: one connection as steps that never block ---------------------------------------- */

/* diagnostics.c: what a connection records for its observers. Not allocated unless requested. The
 * binding fetches it after the OpenSSL call that produced it. */
typedef struct {
    /* TIO_WANT_KEYS: lines in NSS key log format, each with its newline. Secret! */
    uint8_t *keys;
    size_t keys_size, keys_room;
    /* TIO_WANT_OFFER, server: the first ClientHello, handshake header and body */
    uint8_t *offer;
    size_t offer_size;
    BIO *trace;                         /* TIO_WANT_TRACE: the text of SSL_trace() */
} tio_records;

/* sessions.c: a session that was made and not fetched yet. Secret! */
typedef struct {
    uint8_t id[TIO_SESSION_ID];
    size_t id_size;
    uint8_t *der;
    size_t size;
    long lifetime;                      /* seconds */
} tio_session;

typedef struct {
    /* to be resumed: the client's, or what the server's lookup found */
    SSL_SESSION *given;
    /* server: the id of the session that the client wants to resume */
    uint8_t asked[TIO_SESSION_ID];
    size_t asked_size;
    size_t count;
    tio_session made[TIO_SESSIONS];     /* oldest first */
} tio_sessions;

typedef struct {                        /* facts.c: how the shared secret was agreed on */
    enum { TIO_KEY_NONE, TIO_KEY_DH, TIO_KEY_ECDH, TIO_KEY_GROUP } kind;
    uint16_t bits;                      /* DH and ECDH */
    /* ECDH: the curve; GROUP: the group. Lives as long as the connection */
    const char *name;
} tio_key_info;

/* ocsp.c: OCSP responses. A server has one per certificate, from the question until the handshake
 * is done; the client receives one of them. */
enum { TIO_IDENTITIES = 16 };           /* a context has at most one certificate of each key type */

typedef struct {
    X509 *cert, *issuer;                /* issuer: NULL if it is unknown */
    uint8_t *response;                  /* NULL: none */
    size_t size;
} tio_stapled;

typedef struct { int count; tio_stapled of[TIO_IDENTITIES]; } tio_status;

tio_conn *tio_conn_new(tio_context *, tio_role);     /* IDLE; NULL: out of memory */
/* NULL is allowed; use tio_reactor_discard() if a reactor holds it; not from a callback */
void tio_conn_free(tio_conn *);

tio_policy *tio_conn_policy(tio_conn *);  /* the binding may write to it before the first step */
/* memory wire: a server's ticket keys and counters */
void tio_conn_set_gate(tio_conn *, tio_gate *);
void tio_conn_set_owner(tio_conn *, void *);  /* the binding's object; the engine does not use it */

/* Facts. All are available at any time. */
tio_role tio_conn_role(const tio_conn *);
tio_phase tio_conn_phase(const tio_conn *);
tio_question tio_conn_question(const tio_conn *);
tio_in tio_conn_in(const tio_conn *);
tio_out tio_conn_out(const tio_conn *);
SSL *tio_conn_ssl(const tio_conn *);                 /* NULL before the first step */
/* the one selected by server name, or the initial one */
tio_context *tio_conn_context(const tio_conn *);
tio_gate *tio_conn_gate(const tio_conn *);
void *tio_conn_owner(const tio_conn *);
int tio_conn_fd(const tio_conn *);      /* -1: memory wire, or the descriptor was released */
/* NULL unless BROKEN; also NULL if there was no memory for it */
const tio_fault *tio_conn_fault(const tio_conn *);
const tio_verify *tio_conn_verify(const tio_conn *); /* NULL: no certificate was verified */
/* lower case; from the hello (server) or as set (client); or NULL */
const char *tio_conn_server_name(const tio_conn *);
/* server, during TIO_ASK_HELLO: the client's ALPN list, wire format */
size_t tio_conn_offered(const tio_conn *, const uint8_t **list);
/* server, during TIO_ASK_HELLO: the id of the session that the client wants to resume */
size_t tio_conn_asked_session(const tio_conn *, const uint8_t **id);
const tio_status *tio_conn_status(const tio_conn *); /* server, during TIO_ASK_STATUS, else NULL */
const tio_records *tio_conn_records(const tio_conn *);                   /* may be NULL */
/* the peer's Finished of the first handshake was received */
int tio_conn_peer_finished(const tio_conn *);
int tio_conn_has_news(const tio_conn *);  /* diagnostics or a client's sessions can be fetched */
/* CLOCK_MONOTONIC, ns, 4 ms resolution: when plaintext was last read or written */
int64_t tio_conn_last_activity(const tio_conn *);
/* CLOCK_MONOTONIC, ns: when tio_conn_expire() is due; 0 = none. The reactor keeps the handshake
 * deadline of accepted connections. */
int64_t tio_conn_deadline(const tio_conn *);
/* Of accepted connections; sockaddr_in6 has room for IPv4 too. A Unix socket has only the family.
 * AF_UNSPEC: unknown. */
const struct sockaddr_in6 *tio_conn_peer(const tio_conn *);
const struct sockaddr_in6 *tio_conn_local(const tio_conn *);

/* bytes; wire_*: including TLS overhead */
typedef struct { uint64_t read, written, wire_read, wire_written; } tio_counts;
tio_counts tio_conn_counts(const tio_conn *);

/* What the connection waits for: a set of these. Every driver asks tio_conn_next() and nothing
 * else. */
enum {
    TIO_NEXT_INPUT = 1,                 /* bytes from the peer */
    /* progress is possible at once: call step, take or write, then turn */
    TIO_NEXT_TURN = 2,
    TIO_NEXT_ROOM = 4,                  /* the kernel or the stream must accept ciphertext */
    TIO_NEXT_READABLE = 8,              /* plaintext waits for tio_conn_take() */
    TIO_NEXT_QUESTION = 16,             /* an answer */
    TIO_NEXT_END = 32,                  /* the peer has ended its direction, in order or not */
    TIO_NEXT_FIN = 64                   /* all is sent: shut down the writing side of the stream */
};
unsigned tio_conn_next(const tio_conn *);
/* reading: the caller would accept plaintext now; TIO_NOTIFIED: it was notified that there is input,
 * and will read it or change this, so no turn is needed before. writing: it has plaintext to write.
 * -1: unchanged. */
enum { TIO_NOTIFIED = 2 };
void tio_conn_want(tio_conn *, int reading, int writing);

/* Client, before the first step. -1: OpenSSL rejected the value. When a session is resumed,
 * TIO_ASK_VERIFY is asked about it instead of about a certificate, after the handshake is complete
 * and before anything of it is sent. */
int tio_conn_set_server_name(tio_conn *, const char *name);
int tio_conn_set_session(tio_conn *, const uint8_t *der, size_t size);

/* Before the first step or during TIO_ASK_HELLO: use the certificates, keys and chains of `from`,
 * whichever context the server name selects. All else is unchanged. -1: it has no certificate, or
 * OpenSSL rejects one (the error queue has the reason). */
int tio_conn_set_identity(tio_conn *, tio_context *from);

/* Make progress: continue the handshake or, when OPEN and the caller does not read, process input
 * up to the next record of data. */
void tio_conn_step(tio_conn *);

/* Plaintext. take returns the number of bytes read; no more of `room` may be used. 0: nothing now.
 * A question may open inside. write returns the number of bytes accepted; 0 if the peer or the
 * output limit blocks it: repeat the same bytes later. */
size_t tio_conn_take(tio_conn *, void *room, size_t size);
size_t tio_conn_write(tio_conn *, const void *data, size_t size);
void tio_conn_end(tio_conn *);          /* sends close_notify after what was written, then FIN */
/* tio_conn_end(); from then on, steps discard input until the peer ends too */
void tio_conn_close(tio_conn *);
/* OPEN: start another handshake. TLS 1.2: renegotiation. TLS 1.3: a server requests the client's
 * certificate. verify_mode: SSL_VERIFY_*, with which accept_unverified is set too, for this
 * handshake; -1: a certificate is requested as before, and as strictly as the context says.
 * Returns -1 if it failed: `code` is OpenSSL's error, or 0 when the connection is not open or the
 * previous request is not complete. A server's handshake waits for one of the client's own, and for
 * the answer to an open question. */
int tio_conn_rehandshake(tio_conn *, int verify_mode, int accept_unverified, unsigned long *code);
/* server: whether the latest handshake accepts a bad certificate */
int tio_conn_accepts_unverified(const tio_conn *);
int tio_conn_awaits_rehandshake(const tio_conn *);  /* requested and not complete */
/* The result since the last call that returned one; 0: none. DROPPED: this side has ended its
 * direction before the handshake began. UNJUDGED: it was closed before it could ask about the
 * client that has answered. */
enum { TIO_REHANDSHAKE_DONE = 1, TIO_REHANDSHAKE_DROPPED, TIO_REHANDSHAKE_UNJUDGED };
int tio_conn_rehandshake_done(tio_conn *);
/* from now on a renegotiation by the peer ends the connection */
void tio_conn_refuse_renegotiation(tio_conn *);

/* Finish each piece of work, on both wires: copy borrowed input into private memory, send gathered
 * output, send FIN when it is due, and start or stop the clock of a repeated handshake. (Reads
 * control the clock of a partial record.) */
void tio_conn_turn(tio_conn *);
/* a deadline has passed: BROKEN, unless nothing is overdue */
void tio_conn_expire(tio_conn *);

/* Memory wire. feed borrows `data` until tio_conn_turn(). output returns the ciphertext to send. */
int tio_conn_feed(tio_conn *, const uint8_t *data, size_t size);         /* -1: out of memory */
void tio_conn_feed_eof(tio_conn *);
/* the stream failed: reported after all earlier input */
void tio_conn_feed_error(tio_conn *, int os_error);
/* nothing is sent from now on; the remaining input may explain why */
void tio_conn_send_failed(tio_conn *, int os_error);
int tio_conn_send_error(const tio_conn *);           /* errno of a failed send, or 0 */
size_t tio_conn_output(tio_conn *, const uint8_t **data);  /* 0 while a question is open */
/* The caller has copied `size` bytes of the output. They stay, and count as unsent, until
 * tio_conn_sent(), even if the rest is dropped. */
void tio_conn_output_copied(tio_conn *, size_t size);
void tio_conn_sent(tio_conn *, size_t size);
void tio_conn_fin_sent(tio_conn *);     /* after TIO_NEXT_FIN */
size_t tio_conn_unsent(const tio_conn *);            /* ciphertext not yet sent */
size_t tio_conn_held(const tio_conn *);              /* wire bytes received and not yet processed */
/* wire bytes with data that are unsent, or among the `held` bytes in the kernel */
size_t tio_conn_undelivered(const tio_conn *, size_t held);
/* If a reset has lost data and no read will notice it, the next turn reports it. */
void tio_conn_look_for_reset(tio_conn *);
/* bytes that the kernel holds and the peer has not acknowledged, including FIN; 0 on a memory
 * wire */
size_t tio_conn_unacknowledged(const tio_conn *);
/* descriptor wire: 1 all is sent, 0 the kernel's buffer is full, -1 failed */
int tio_conn_flush(tio_conn *);

/* TIO_ASK_PREFACE: the bytes received so far. taken: how many of them are not TLS and are dropped.
 * more: not enough yet, ask again after more input. */
size_t tio_conn_preface(const tio_conn *, const uint8_t **data);
void tio_answer_preface(tio_conn *, size_t taken, int more);

/* Answers. Each closes its question and must be followed by tio_conn_step(). Without that question
 * they do nothing. */
/* context, protocol: NULL leaves it unchanged */
void tio_answer_hello(tio_conn *, tio_context *context, const uint8_t *protocol, size_t size);
void tio_answer_verify(tio_conn *, int error);       /* X509_V_OK accepts */
void tio_answer_client(tio_conn *);                  /* accepts */
/* server: continue with the responses set so far; client: accept */
void tio_answer_status(tio_conn *);
/* Before tio_answer_hello(): the session found. -1: it cannot be parsed; a full handshake
 * follows. */
int tio_answer_session(tio_conn *, const uint8_t *der, size_t size);
/* the sessions of tio_conn_sessions() are stored, or lost */
void tio_answer_store(tio_conn *);
/* any question: send a fatal alert where the protocol still allows it */
void tio_refuse(tio_conn *, int alert);

/* ocsp.c. Server, during the question: set the response of `status->of[index]`; it is copied. -1:
 * no such question or index, or out of memory. Client, during the question: the server's stapled
 * response; 0 if there is none. */
/* a context's certificates, without responses; NULL: out of memory */
tio_status *tio_context_status(tio_context *);
void tio_status_free(tio_status *);     /* NULL is allowed */
int tio_status_set(tio_conn *, int index, const uint8_t *data, size_t size);
size_t tio_status_get(const tio_conn *, const uint8_t **data);

/* Sessions made and not fetched yet. clear wipes them. */
size_t tio_conn_sessions(const tio_conn *, const tio_session **);
void tio_conn_clear_sessions(tio_conn *);

/* facts.c. key_info: NONE before the handshake is done, or if no ephemeral key was exchanged.
 * set_max_fragment: from now on; -1: not between 512 and TIO_RECORD. */
tio_key_info tio_conn_key_info(tio_conn *);
int tio_conn_set_max_fragment(tio_conn *, long size);
/* the protocol in both lists; 0: none, or no NPN */
size_t tio_conn_npn(const tio_conn *, const uint8_t **name);

/* Diagnostics. record: from now on, record TIO_WANT_KEYS | _OFFER | _TRACE. The first connection
 * that wants keys installs the SSL_CTX's key log callback; the others then pay one test of their
 * flags. clear_keys wipes the lines. */
void tio_conn_record(tio_conn *, unsigned wants);
size_t tio_conn_keys(const tio_conn *, const uint8_t **);
void tio_conn_clear_keys(tio_conn *);
size_t tio_conn_trace(const tio_conn *, const uint8_t **);
void tio_conn_clear_trace(tio_conn *);

/* Give up: BROKEN with this fault, unless the phase is final already. */
void tio_conn_break(tio_conn *, tio_fault_kind, tio_limit, int os_error);

/* ---- reactor.c: epoll for many connections (Linux) ------------------------------------------- */

typedef struct tio_reactor tio_reactor;

enum {                                  /* what a notice reports */
    TIO_NOTICE_ACCEPTED = 1,            /* sent if the gate has TIO_WANT_ACCEPTED */
    TIO_NOTICE_QUESTION = 2,
    TIO_NOTICE_OPENED = 4,
    /* tio_conn_next() has work for the binding: to take, write or report */
    TIO_NOTICE_TURN = 8,
    TIO_NOTICE_FAILED = 16,             /* BROKEN; the descriptor is already being closed */
    /* a limit refused `fd`; the binding reads its address and closes it */
    TIO_NOTICE_DROPPED = 32,
    /* accept() failed with `error`; the listener pauses, or stops if the error is permanent */
    TIO_NOTICE_LISTENER = 64
};

typedef struct {
    uint32_t what;
    /* slot and generation of the connection or listener; never reused. 0: a refused descriptor */
    uint64_t handle;
    /* valid until the next call that may free it; after that use tio_reactor_conn() */
    tio_conn *conn;
    /* valid until it is evicted. NULL: it was evicted; `fd` must still be closed */
    tio_gate *gate;
    int fd, error;
} tio_notice;

tio_reactor *tio_reactor_new(void);     /* NULL with errno; always with TIO_PORTABLE */
/* Close all descriptors. forked: these are a child's copies, epoll_ctl() is not called. Frees the
 * accepted connections that have no owner yet. */
void tio_reactor_free(tio_reactor *, int forked);
int tio_reactor_fd(const tio_reactor *);             /* readable when tio_reactor_poll() has work */

/* One turn: poll, work, then the notices. poll returns the number of waiting handshakes: if there
 * are any, releasing an interpreter lock for work() pays off. next_notice returns 0 if there is no
 * notice, else removes the oldest. The remaining ones are kept, so a turn within a turn is
 * harmless. */
int tio_reactor_poll(tio_reactor *);
void tio_reactor_work(tio_reactor *);
int tio_reactor_next_notice(tio_reactor *, tio_notice *);
tio_conn *tio_reactor_conn(const tio_reactor *, uint64_t handle);        /* NULL: it is gone */
/* whether refused descriptors or connections without an owner are still to be reported to the gate */
int tio_reactor_owes_reports(const tio_reactor *, const tio_gate *);
int tio_reactor_has_notices(const tio_reactor *);
/* has notices, or work that no kernel event announces */
int tio_reactor_is_busy(const tio_reactor *);
/* number of descriptors and notices; at 0 the reactor may be freed */
size_t tio_reactor_load(const tio_reactor *);
/* the owners of its connections; `owners` has room for tio_reactor_load() of them */
size_t tio_reactor_owners(const tio_reactor *, void **);

/* Takes the descriptor, even on failure. With gate->threads the threads accept on it, as soon as
 * tio_reactor_start() was called. */
int tio_reactor_listen(tio_reactor *, tio_gate *, int fd);
/* start the gate's threads, if it has some; -1 with errno */
int tio_reactor_start(tio_reactor *, tio_gate *);
/* Closes the gate's listening descriptors, and ends its threads: their connections continue here. */
void tio_reactor_unlisten(tio_reactor *, tio_gate *);
int64_t tio_clock(void);                /* CLOCK_MONOTONIC, ns; any thread */
/* Before and after a fork: end and start all threads that belong to the reactor. With the
 * interpreter's lock, in any thread. */
void tio_threads_pause(tio_reactor *);
void tio_threads_run(tio_reactor *);
int tio_reactor_add(tio_reactor *, tio_conn *, int fd);  /* takes the descriptor, even on failure */
/* after any call from outside a turn: tio_conn_turn(), then update epoll and the ready list */
void tio_reactor_update(tio_reactor *, tio_conn *);
/* after an answer: tio_conn_step() and the reactor's bookkeeping */
void tio_reactor_resume(tio_reactor *, tio_conn *);
/* After the answer to TIO_ASK_HELLO: let a handshake thread continue. 0: it must stay here. */
int tio_reactor_return(tio_reactor *, tio_conn *);
/* release the descriptor; wait: after sending the alert and FIN */
void tio_reactor_drop(tio_reactor *, tio_conn *, int wait);
/* release the descriptor at once and free the connection; works without a reactor too */
void tio_reactor_discard(tio_conn *);
/* free the gate's connections that have no owner yet; failures and refusals that were not reported
 * still are */
void tio_reactor_end(tio_reactor *, tio_gate *);
/* the same without a report, and forget the gate */
void tio_reactor_evict(tio_reactor *, tio_gate *);

#endif
