# The declarations of engine.h for Cython, no more.
from libc.stdint cimport int16_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from tlsio.native.libssl cimport ASN1_TIME, EVP_PKEY, SSL, SSL_CTX, X509, X509_STACK


cdef extern from "arpa/inet.h" nogil:
    int AF_UNIX, AF_INET, AF_INET6
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_family, sin6_port
        uint32_t sin6_flowinfo, sin6_scope_id
        in6_addr sin6_addr
    const char *inet_ntop(int family, const void *address, char *text, uint32_t size)
    uint16_t ntohs(uint16_t)
    uint32_t ntohl(uint32_t)


cdef extern from "engine.h" nogil:
    enum:
        TIO_RECORD, TIO_SCRATCH, TIO_GATHER, TIO_PIN, TIO_TICKET_KEY, TIO_TICKET_KEYS, TIO_TRACES, TIO_SPEAKS_NPN, TIO_HAS_REACTOR
        TIO_JOBS, TIO_KEYS_ELSEWHERE, TIO_RSA_ELSEWHERE
        TIO_PSK_IDENTITY, TIO_PSK_KEY, TIO_LIST_KEY, TIO_ENTRIES, TIO_TRUST
    enum:
        TIO_WANT_HELLO, TIO_WANT_ALPN, TIO_WANT_CLIENT, TIO_WANT_ACCEPTED, TIO_WANT_DROPPED, TIO_WANT_VERIFY
        TIO_WANT_KEYS, TIO_WANT_OFFER, TIO_WANT_TRACE, TIO_WANT_STATUS, TIO_WANT_PSK, TIO_WANT_NAMELESS
        TIO_WANT_SESSIONS, TIO_STATEFUL, TIO_STATEFUL_13
    enum:
        TIO_NOTICE_ACCEPTED, TIO_NOTICE_QUESTION, TIO_NOTICE_OPENED, TIO_NOTICE_TURN
        TIO_NOTICE_FAILED, TIO_NOTICE_DROPPED, TIO_NOTICE_LISTENER

    ctypedef enum tio_role:
        TIO_CLIENT, TIO_SERVER
    ctypedef enum tio_phase:
        TIO_IDLE, TIO_HANDSHAKING, TIO_OPEN, TIO_CLOSING, TIO_CLOSED, TIO_BROKEN
    ctypedef enum tio_question:
        TIO_NO_QUESTION, TIO_ASK_HELLO, TIO_ASK_VERIFY, TIO_ASK_CLIENT, TIO_ASK_STATUS, TIO_ASK_STORE, TIO_ASK_PREFACE
        TIO_ASK_SIGN, TIO_ASK_JOB
    ctypedef enum tio_in:
        TIO_IN_OPEN, TIO_IN_ENDED, TIO_IN_TRUNCATED
    ctypedef enum tio_out:
        TIO_OUT_OPEN, TIO_OUT_ENDING, TIO_OUT_ENDED
    ctypedef enum tio_fault_kind:
        TIO_FAULT_SSL, TIO_FAULT_ALERT, TIO_FAULT_VERIFY, TIO_FAULT_HANGUP, TIO_FAULT_UNANSWERED, TIO_FAULT_OS
        TIO_FAULT_LIMIT, TIO_FAULT_TIMEOUT, TIO_FAULT_REFUSED, TIO_FAULT_MEMORY
    ctypedef enum tio_limit:
        TIO_NO_LIMIT, TIO_LIMIT_HANDSHAKE_BYTES, TIO_LIMIT_KEY_UPDATES, TIO_LIMIT_PARTIAL_RECORD
        TIO_LIMIT_DH_SIZE, TIO_LIMIT_RENEGOTIATIONS, TIO_LIMIT_RENEGOTIATION_OFF, TIO_LIMIT_CERTIFICATE_REQUESTS

    ctypedef struct tio_fault_entry:
        unsigned long code
        char function[48]
        char data[96]
    ctypedef struct tio_fault:
        tio_fault_kind kind
        tio_limit limit
        int os_error
        int count
        tio_fault_entry entries[6]
        int16_t alert_sent
        int16_t alert_received
        uint8_t certificate_requested
        uint8_t psk
        uint8_t first[16]
        uint8_t first_size
    ctypedef struct tio_verify_error:
        int error
        int depth
    ctypedef struct tio_verify:
        int count
        tio_verify_error errors[16]
        int pins_failed
        X509_STACK *chain

    ctypedef struct tio_serials
    int TIO_SERIALS_MEMORY
    int tio_serials_read(const uint8_t *content, size_t size, tio_serials **read) nogil
    void tio_serials_release(tio_serials *)
    size_t tio_serials_count(const tio_serials *)
    size_t tio_serials_find(const tio_serials *, const uint8_t *serial, size_t size, const uint8_t **date)

    ctypedef struct tio_lists
    tio_lists *tio_lists_new(int required, size_t room)
    void tio_lists_retain(tio_lists *)
    void tio_lists_release(tio_lists *)
    int tio_lists_put(tio_lists *, const uint8_t *key, tio_serials *serials, int64_t until)
    int64_t tio_lists_until(tio_lists *, const uint8_t *key)
    int tio_lists_pass(tio_lists *, const uint8_t *entries, size_t size, int64_t now)
    size_t tio_chain_entries(X509_STACK *chain, uint8_t *entries)
    int64_t tio_chain_end(X509_STACK *chain, const X509 *leaf)
    int64_t tio_instant(const ASN1_TIME *)
    int tio_spki_digest(const X509 *, uint8_t *digest)

    ctypedef struct tio_context_settings:
        int accept_unverified
        char *groups
        uint8_t id_context[32]
        size_t id_context_size
        uint8_t *alpn
        size_t alpn_size
        uint8_t *npn
        size_t npn_size
        uint8_t *pins
        size_t pin_count
        uint8_t trust[32]
        int64_t lists_end
        tio_lists *lists
        int resume_unmarked
        int keys_elsewhere
    ctypedef struct tio_ring
    ctypedef struct tio_context:
        SSL_CTX *ssl
        tio_context_settings settings
        tio_ring *ring
    tio_context *tio_context_new()
    void tio_context_speak_npn(tio_context *)
    void tio_context_retain(tio_context *)
    int tio_context_is_shared(tio_context *)
    void tio_context_release(tio_context *)

    tio_ring *tio_ring_new()
    void tio_ring_retain(tio_ring *)
    void tio_ring_release(tio_ring *)
    int tio_ring_set(tio_ring *, const uint8_t *keys, size_t count)
    void tio_ring_push(tio_ring *, const uint8_t *key)
    void tio_ring_keep(tio_ring *, int64_t ns)
    void tio_ring_first(tio_ring *, uint8_t *key)

    ctypedef struct tio_conn
    ctypedef int tio_psk_ask(tio_conn *, const char *given, char *identity, uint8_t *key) noexcept nogil
    int tio_in_psk_callback()
    int tio_conn_psk_used(const tio_conn *)
    const char *tio_conn_psk_identity(const tio_conn *)

    ctypedef struct tio_renegotiation:
        uint32_t limit
        int64_t window_ns
    ctypedef struct tio_policy:
        uint16_t wants
        uint8_t alpn_continue
        int min_dh_bits
        uint8_t strict_chain
        int64_t handshake_ns
        int64_t partial_ns
        uint64_t max_handshake_bytes
        tio_renegotiation renegotiation
        tio_psk_ask *ask_psk
        const char *psk_hint
        const char *plain_answer
        size_t plain_answer_size
    ctypedef struct tio_gate:
        tio_context *context
        tio_ring *ring
        void *owner
        uint32_t wants
        tio_policy policy
        int no_delay
        int keep_alive
        uint32_t max_connections
        int queues_beyond
        uint32_t max_handshakes
        uint32_t max_per_peer
        unsigned threads
        uint32_t open "open"
        uint32_t upgraded
        uint32_t handshaking
        uint64_t accepted
        uint64_t dropped
        uint64_t bytes_in
        uint64_t bytes_out
    void tio_gate_init(tio_gate *)
    void tio_gate_free(tio_gate *)
    void tio_gate_set_default(tio_gate *, tio_context *, unsigned wants)
    void tio_gate_remember(tio_gate *, const char *name, tio_context *, int64_t ns)
    void tio_gate_forget(tio_gate *)

    enum:
        TIO_KEY_NONE, TIO_KEY_DH, TIO_KEY_ECDH, TIO_KEY_GROUP
    ctypedef struct tio_records:
        uint8_t *offer
        size_t offer_size
    ctypedef struct tio_stapled:
        X509 *cert
        X509 *issuer
    ctypedef struct tio_status:
        int count
        tio_stapled of[16]
    ctypedef struct tio_session:
        uint8_t id[32]
        size_t id_size
        uint8_t *der
        size_t size
        long lifetime
    ctypedef struct tio_key_info:
        int kind
        uint16_t bits
        const char *name

    ctypedef struct tio_counts:
        uint64_t read
        uint64_t written
        uint64_t wire_read
        uint64_t wire_written
    enum:
        TIO_NEXT_INPUT, TIO_NEXT_TURN, TIO_NEXT_ROOM, TIO_NEXT_READABLE, TIO_NEXT_QUESTION, TIO_NEXT_END, TIO_NEXT_FIN

    tio_conn *tio_conn_new(tio_context *, tio_role)
    tio_policy *tio_conn_policy(tio_conn *)
    void tio_conn_set_gate(tio_conn *, tio_gate *)
    void tio_conn_set_owner(tio_conn *, void *)
    tio_role tio_conn_role(const tio_conn *)
    tio_phase tio_conn_phase(const tio_conn *)
    tio_question tio_conn_question(const tio_conn *)
    tio_in tio_conn_in(const tio_conn *)
    tio_out tio_conn_out(const tio_conn *)
    SSL *tio_conn_ssl(const tio_conn *)
    tio_context *tio_conn_context(const tio_conn *)
    tio_gate *tio_conn_gate(const tio_conn *)
    void *tio_conn_owner(const tio_conn *)
    int tio_conn_fd(const tio_conn *)
    const tio_fault *tio_conn_fault(const tio_conn *)
    const tio_verify *tio_conn_verify(const tio_conn *)
    const char *tio_conn_server_name(const tio_conn *)
    size_t tio_conn_offered(const tio_conn *, const uint8_t **)
    size_t tio_conn_asked_session(const tio_conn *, const uint8_t **)
    const tio_status *tio_conn_status(const tio_conn *)
    const tio_records *tio_conn_records(const tio_conn *)
    int tio_conn_has_news(const tio_conn *)
    int tio_conn_peer_finished(const tio_conn *)
    int64_t tio_conn_last_activity(const tio_conn *)
    int64_t tio_conn_deadline(const tio_conn *)
    const sockaddr_in6 *tio_conn_peer(const tio_conn *)
    const sockaddr_in6 *tio_conn_local(const tio_conn *)
    tio_counts tio_conn_counts(const tio_conn *)
    unsigned tio_conn_next(const tio_conn *)
    enum: TIO_NOTIFIED
    void tio_conn_want(tio_conn *, int reading, int writing)
    int tio_conn_set_server_name(tio_conn *, const char *)
    int tio_conn_set_session(tio_conn *, const uint8_t *, size_t)
    int tio_conn_set_identity(tio_conn *, tio_context *)
    void tio_conn_step(tio_conn *)
    size_t tio_conn_take(tio_conn *, void *, size_t)
    size_t tio_conn_write(tio_conn *, const void *, size_t)
    void tio_conn_end(tio_conn *)
    void tio_conn_close(tio_conn *)
    int tio_conn_rehandshake(tio_conn *, int, int, unsigned long *)
    int tio_conn_awaits_rehandshake(const tio_conn *)
    int TIO_REHANDSHAKE_DROPPED, TIO_REHANDSHAKE_UNJUDGED
    int tio_conn_rehandshake_done(tio_conn *)
    bint tio_conn_accepts_unverified(const tio_conn *)
    void tio_conn_refuse_renegotiation(tio_conn *)
    void tio_conn_turn(tio_conn *)
    void tio_conn_expire(tio_conn *)
    int tio_conn_feed(tio_conn *, const uint8_t *, size_t)
    void tio_conn_feed_eof(tio_conn *)
    void tio_conn_feed_error(tio_conn *, int)
    void tio_conn_send_failed(tio_conn *, int)
    int tio_conn_send_error(const tio_conn *)
    size_t tio_conn_output(tio_conn *, const uint8_t **)
    void tio_conn_output_copied(tio_conn *, size_t)
    void tio_conn_sent(tio_conn *, size_t)
    void tio_conn_fin_sent(tio_conn *)
    size_t tio_conn_unsent(const tio_conn *)
    size_t tio_conn_held(const tio_conn *)
    size_t tio_conn_undelivered(const tio_conn *, size_t)
    void tio_conn_look_for_reset(tio_conn *)
    size_t tio_conn_unacknowledged(const tio_conn *)
    int tio_conn_flush(tio_conn *)
    void tio_answer_hello(tio_conn *, tio_context *, const uint8_t *, size_t)
    void tio_answer_verify(tio_conn *, int)
    void tio_answer_client(tio_conn *)
    void tio_answer_status(tio_conn *)
    tio_status *tio_context_status(tio_context *)
    void tio_status_free(tio_status *)
    int tio_status_set(tio_conn *, int, const uint8_t *, size_t)
    size_t tio_status_get(const tio_conn *, const uint8_t **)
    int tio_answer_session(tio_conn *, const uint8_t *, size_t)
    void tio_answer_store(tio_conn *)

    ctypedef struct tio_signing:
        uint64_t key
        const char *scheme
        const uint8_t *message
        size_t message_size
        size_t longest
    int tio_keys_work()
    EVP_PKEY *tio_key_new(EVP_PKEY *public_key, uint64_t number)
    uint64_t tio_keys_dead()
    const tio_signing *tio_conn_signing(const tio_conn *)
    int tio_conn_signs_here(const tio_conn *)
    int tio_answer_sign(tio_conn *, const uint8_t *, size_t)
    void tio_answer_job(tio_conn *)
    int tio_signing_is_full()
    void tio_conn_abandon(tio_conn *)
    void tio_refuse(tio_conn *, int)
    size_t tio_conn_sessions(const tio_conn *, const tio_session **)
    void tio_conn_clear_sessions(tio_conn *)
    tio_key_info tio_conn_key_info(tio_conn *)
    int tio_conn_set_max_fragment(tio_conn *, long)
    size_t tio_conn_npn(const tio_conn *, const uint8_t **)
    void tio_conn_record(tio_conn *, unsigned)
    size_t tio_conn_keys(const tio_conn *, const uint8_t **)
    void tio_conn_clear_keys(tio_conn *)
    size_t tio_conn_trace(const tio_conn *, const uint8_t **)
    void tio_conn_clear_trace(tio_conn *)
    void tio_conn_break(tio_conn *, tio_fault_kind, tio_limit, int)

    ctypedef struct tio_reactor
    ctypedef struct tio_notice:
        uint32_t what
        uint64_t handle
        tio_conn *conn
        tio_gate *gate
        int fd
        int error
    tio_reactor *tio_reactor_new()
    void tio_reactor_free(tio_reactor *, int forked)
    int tio_reactor_fd(const tio_reactor *)
    int tio_reactor_poll(tio_reactor *)
    void tio_reactor_work(tio_reactor *)
    int tio_reactor_next_notice(tio_reactor *, tio_notice *)
    tio_conn *tio_reactor_conn(const tio_reactor *, uint64_t)
    int tio_reactor_has_notices(const tio_reactor *)
    int tio_reactor_owes_reports(const tio_reactor *, const tio_gate *)
    int tio_reactor_is_busy(const tio_reactor *)
    size_t tio_reactor_load(const tio_reactor *)
    size_t tio_reactor_owners(const tio_reactor *, void **)
    int tio_reactor_listen(tio_reactor *, tio_gate *, int)
    int tio_reactor_start(tio_reactor *, tio_gate *)
    int64_t tio_clock()
    void tio_threads_pause(tio_reactor *)
    void tio_threads_run(tio_reactor *)
    int tio_reactor_return(tio_reactor *, tio_conn *)
    void tio_reactor_unlisten(tio_reactor *, tio_gate *)
    int tio_reactor_add(tio_reactor *, tio_conn *, int)
    void tio_reactor_update(tio_reactor *, tio_conn *)
    void tio_reactor_resume(tio_reactor *, tio_conn *)
    void tio_reactor_drop(tio_reactor *, tio_conn *, int)
    void tio_reactor_discard(tio_conn *)
    void tio_reactor_end(tio_reactor *, tio_gate *)
    void tio_reactor_evict(tio_reactor *, tio_gate *)
