/* harness.h - what the engine's tests share: checks, certificates made in memory, two engines back to back, a plain
 * OpenSSL peer, allocations that fail when told to, and a clock that can be put forward. */
#ifndef TLSIO_HARNESS_H
#define TLSIO_HARNESS_H

#include "internal.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- checks: a test is a function; it has failed when one of its checks has */

void run_test(const char *name, void (*test)(void));
int finish(void);                       /* tells the counts; the exit status */
int check(int well, const char *what, const char *file, int line);
int check_int(long long found, long long wanted, const char *what, const char *file, int line);
unsigned new_seed(void);                /* SEED repeats a run, FIRST makes all runs the same, else it is a new one */
extern char note[160];                  /* printed with a failing check: which version, which cut */
extern int checks_abort;                /* a failing check ends the process: a fuzzer learns it by that */

#define RUN(test) run_test(#test, test)
#define CHECK(what) check(!!(what), #what, __FILE__, __LINE__)
#define CHECK_INT(found, wanted) check_int((long long)(found), (long long)(wanted), #found, __FILE__, __LINE__)

/* ---- certificates and contexts */

typedef struct { X509 *cert; EVP_PKEY *key; } identity;
extern identity authority, stranger, server_a, server_b, client_a, client_expired, client_strange;
extern const int versions[2];           /* TLS 1.2, TLS 1.3 */
/* The same identity with a key that lives elsewhere; free its key.  Its signatures are made by sign_for(). */
identity elsewhere(const identity *);
/* The answer to a TIO_ASK_SIGN, made by the true key; returns its size. */
size_t signature_for(const tio_conn *, uint8_t to[1024]);
int sign_for(tio_conn *);               /* gives it; what tio_answer_sign() returns */
void make_certificates(void);
void free_certificates(void);

/* with the keys of `id` elsewhere, if they are: furnish() sees it */
enum { WANT_CERT = 1, SOFT = 2 };       /* server contexts */
tio_context *server_context(int version, const identity *, unsigned flags);
tio_context *client_context(int version, const identity *);             /* NULL: no certificate */
void set_alpn(tio_context *, const char *wire);
void set_npn(tio_context *, const char *wire);
void set_pin(tio_context *, const identity *);

/* ---- two engines over memory */

typedef struct {
    tio_conn *client, *server;
    int judge;                          /* X509_V_* given to the client's question; -1: not answered */
    int held;                           /* the server's questions are left open */
    uint8_t client_saw[4096], server_saw[4096];         /* plaintext, read eagerly when OPEN */
    size_t client_got, server_got;
    int reading;
    unsigned flights;
    tio_context *other;                 /* answer to the hello question, with the protocol; NULLs */
    const uint8_t *protocol;
    const char *response;               /* stapled, and found good; NULL leaves the questions about it open */
    int hello_questions, verify_questions, client_questions, stapled, looked_at, signatures;    /* answered */
    int unsigned_still;                 /* questions for signatures are left open */
} pair;

/* How the wire is cut: whole flights, single bytes, one flight at one place, or at random. */
typedef struct { enum { WHOLE, BYTES, SPLIT, RANDOM } mode; unsigned flight; size_t at; unsigned seed; } cut;
extern cut cutting;
extern size_t largest_flight;           /* of the last conversation, of the flight named in `cutting` */

pair pair_new(tio_context *client, tio_context *server, unsigned wants);
void pair_free(pair *);
void pump(pair *);                      /* until nothing moves any more */
void talks(pair *);                     /* data arrives at both sides */
size_t carry(pair *, tio_conn *from, tio_conn *to);
void give(tio_conn *, const void *data, size_t size);                   /* feed, step, settle; the bytes are gone after */
pair open_pair(int version);            /* two contexts, an open connection without client certificates */
size_t take_output(tio_conn *, uint8_t *to, size_t room);

/* An OCSPResponse whose answer is this text: from 3.6 on OpenSSL staples nothing else. */
enum { ENCLOSED = 120 };                /* so much in all keeps every length in one byte */
size_t enclose(const char *answer, uint8_t to[ENCLOSED]);
int give_answer(tio_conn *, int index, const char *answer);             /* tio_status_set() */

/* ---- a plain OpenSSL peer */

typedef struct { SSL *ssl; BIO *in, *out; } plain;
SSL_CTX *plain_context(int version, const identity *);
plain plain_new(SSL_CTX *, int is_server, SSL_SESSION *);
void plain_free(plain *);
void plain_pump(plain *, tio_conn *);   /* handshake and carry, until nothing moves */
size_t plain_to(plain *, tio_conn *);   /* carries what the plain peer has written, and steps */
size_t plain_from(plain *, tio_conn *);

/* ---- allocations that fail */

extern long allocations, fail_at;       /* counted since arm_failure(); the one with this number fails, < 0 none */
extern int fail_ever_after;
void install_allocator(void);           /* before anything of OpenSSL is used */
void arm_failure(long at, int ever_after);
void disarm_failure(void);
void pause_failure(int pause);

/* ---- the clock: what the engine takes for CLOCK_MONOTONIC and for timerfds */

void advance(int64_t ns);
/* What the engine takes for CLOCK_REALTIME.  OpenSSL's own time() stands still, so that what ends a session is the engine. */
void set_wall(int64_t seconds);         /* from now on; 0: the true time */

/* ---- chaos.c: a script decides what happens to two engines; one call is one play */

void chaos(const uint8_t *script, size_t size);
void free_chaos(void);

void state_tests(void);
void handshake_tests(void);
void data_tests(void);
void ticket_tests(void);
void status_tests(void);
void session_tests(void);
void psk_tests(void);
void allocation_tests(void);
void reactor_tests(void);
void reshake_tests(void);
void chaos_tests(void);
void quiet_play(const uint8_t *script, size_t size);     /* quiet_test.c: one play */
void quiet_tests(void);
void limits_tests(void);
void signing_tests(void);

#endif
