# What a server shares with its listeners: ticket keys, limits, counters and its default context.


cdef enum:
    MAX_THREADS = 256
    FEW_CHOSEN = 16


cdef class Ring:
    """Session ticket keys: the first encrypts, all decrypt. Any thread may change it."""

    cdef tio_ring *ring

    def __cinit__(self):
        self.ring = tio_ring_new()
        if self.ring == NULL:
            raise MemoryError("no random bytes for a session ticket key")

    def __init__(self, double keep=0):
        tio_ring_keep(self.ring, _nanoseconds("keep", keep))

    def __dealloc__(self):
        tio_ring_release(self.ring)

    def keep(self, double seconds):
        tio_ring_keep(self.ring, _nanoseconds("keep", seconds))

    def set(self, keys):
        """Replace all keys; each has 48 bytes: 16 name, 16 HMAC, 16 AES. If there are too many, the
        first ones are kept.
        """
        joined, count = _ticket_keys(keys)
        tio_ring_set(self.ring, joined, count)

    def push(self, key):
        tio_ring_push(self.ring, _sized("The ticket key", key, TIO_TICKET_KEY, TIO_TICKET_KEY))

    def first(self):
        cdef uint8_t key[48]
        tio_ring_first(self.ring, key)
        return (<const char *>key)[:TIO_TICKET_KEY]


@cython.no_gc_clear
cdef class Gate:
    """One server's limits, counters and default context, shared by its listeners.

    `store` has `find(id, id_context)`, `keep(sessions, id_context)` and `reject_last()`. Events are
    reported to the server by calls of `_find(name)`, `_adopt(connection, context)`, `_connected(address)`,
    `_dropped(address)`, `_accept_failed(errno)`, `_logs_failure()` and, while `closing`,
    `_check_closed()`. While the server listens, its reactor keeps the gate alive.
    """

    cdef tio_gate gate
    cdef Reactor reactor
    cdef bytes psk_hint, plain_answer
    cdef object server
    cdef dict failures                  # the numbers of a failure -> how often it occurred
    cdef dict failure_codes             # the numbers of a failure -> its code
    # Address of a native context -> its SecureContext, for those that `_find` chose: connections
    # that get their sockets later use them, or the engine remembers them.
    cdef dict chosen
    cdef Py_ssize_t many_chosen         # from this number on, look for those that are not used
    cdef uint64_t forgotten             # how often `forget` was called
    # there is a listener for failed handshakes, or a hook that needs the socket
    cdef public bint wants_failures
    cdef public bint wants_socket
    cdef public bint answers_challenges  # the context source answers ACME authorities, by a socket
    cdef public object store            # the session store, if it answers synchronously
    cdef public bint closing            # the server waits until its last connection has gone
    cdef readonly uint64_t handshakes_full, handshakes_resumed

    def __cinit__(self):
        tio_gate_init(&self.gate)

    def __init__(self, server, Context context not None, Ring ring not None, *, double handshake_timeout, max_connections,
                 max_handshakes, max_handshake_bytes, bint no_delay, int keep_alive, bint alpn_continue, int renegotiation_limit,
                 double renegotiation_window, bytes psk_hint=None, double partial_record_timeout=60.0, max_per_peer=None,
                 bytes plain_answer=None, int threads=0):
        self.server = server
        self.failures = {}
        self.failure_codes = {}
        self.chosen = {}
        self.many_chosen = FEW_CHOSEN
        self.gate.owner = <void *>self
        self.gate.policy.ask_psk = find_psk
        self.psk_hint = None if psk_hint is None else _text_up_to("The PSK identity hint", psk_hint, TIO_PSK_IDENTITY)
        self.gate.policy.psk_hint = PyBytes_AS_STRING(psk_hint) if psk_hint is not None else NULL
        self.plain_answer = plain_answer
        if plain_answer is not None:
            self.gate.policy.plain_answer = PyBytes_AS_STRING(plain_answer)
            self.gate.policy.plain_answer_size = <size_t>len(plain_answer)
        tio_ring_retain(ring.ring)
        self.gate.ring = ring.ring
        tio_context_retain(context.ptr)
        self.gate.context = context.ptr
        self.gate.policy.handshake_ns = _nanoseconds("handshake_timeout", handshake_timeout)
        self.gate.max_connections = max_connections or 0
        self.gate.max_handshakes = max_handshakes or 0
        self.gate.policy.max_handshake_bytes = max_handshake_bytes or 0
        self.gate.policy.partial_ns = _nanoseconds("partial_record_timeout", partial_record_timeout)
        self.gate.max_per_peer = max_per_peer or 0
        self.gate.threads = _checked_threads(threads)
        self.gate.no_delay = no_delay
        self.gate.keep_alive = keep_alive
        self.gate.policy.alpn_continue = alpn_continue
        self.gate.policy.renegotiation.limit = renegotiation_limit
        self.gate.policy.renegotiation.window_ns = _nanoseconds("renegotiation_window", renegotiation_window)

    def __dealloc__(self):
        if self.reactor is not None and self.reactor.r != NULL:
            tio_reactor_unlisten(self.reactor.r, &self.gate)
            tio_reactor_evict(self.reactor.r, &self.gate)
        tio_gate_free(&self.gate)

    def forget(self):
        """Ask the server again about each name. Any thread may call it."""
        self.forgotten += 1
        tio_gate_forget(&self.gate)
        self._drop_unused()

    def set_wants(self, bint hello, bint alpn, bint client, bint status, bint psk, bint accepted, bint dropped, uint16_t sessions=0,
                  bint nameless=False, Context context=None):
        """Set the questions for new connections, and their new default context. Any thread may call
        it.
        """
        cdef unsigned wants = (self.gate.wants & WANT_RECORDS | TIO_WANT_HELLO * hello | TIO_WANT_ALPN * alpn | TIO_WANT_CLIENT * client
                               | TIO_WANT_STATUS * status | TIO_WANT_PSK * psk | TIO_WANT_NAMELESS * nameless | sessions
                               | TIO_WANT_ACCEPTED * accepted
                               | TIO_WANT_DROPPED * dropped)
        if context is None:
            self.gate.wants = wants
        else:
            tio_gate_set_default(&self.gate, context.ptr, wants)

    def record(self, bint keys, bint offer, bint trace):
        """Set what new connections record."""
        if trace:
            _check_trace()
        self.gate.wants = (self.gate.wants & ~WANT_RECORDS | TIO_WANT_KEYS * keys | TIO_WANT_OFFER * offer | TIO_WANT_TRACE * trace)

    def listen(self, Reactor reactor not None, int fd):
        """Accept on this descriptor. The gate owns it from now on, even if this raises."""
        reactor._check_for(fd)
        if self.reactor is not None and self.reactor is not reactor and self.reactor.r != NULL:
            tio_reactor_evict(self.reactor.r, &self.gate)       # of a loop that may run after this gate is freed
        self.reactor = reactor
        if tio_reactor_listen(reactor.r, &self.gate, fd):
            raise OSError(errno, os.strerror(errno))
        reactor.gates.add(self)
        self.closing = False

    def start(self):
        """Start the handshake threads, if there are any. Raises `OSError` if the system refuses."""
        if not exiting and tio_reactor_start(self.reactor.r, &self.gate):
            raise OSError(errno, os.strerror(errno))

    def unlisten_all(self):
        if self.reactor is not None and self.reactor.r != NULL:
            if tio_in_psk_callback():
                self.reactor.later(self.unlisten_all)
                return
            tio_reactor_unlisten(self.reactor.r, &self.gate)
            self.reactor.gates.discard(self)
            self.reactor._run_if_busy()     # what the threads had not reported
            self.reactor._close_if_empty()

    def evict(self):
        """End the connections that are not sockets yet."""
        if self.reactor is not None and self.reactor.r != NULL:
            if tio_in_psk_callback():
                self.reactor.later(self._evict_late)
                return
            tio_reactor_end(self.reactor.r, &self.gate)
            self.reactor._close_if_empty()

    def _evict_late(self):
        self.evict()
        self._check_closed()

    cdef object _check_closed(self):
        if self.closing:
            self.server._check_closed()

    @property
    def max_connections(self):
        return self.gate.max_connections or None

    @max_connections.setter
    def max_connections(self, value):
        self.gate.max_connections = value or 0

    @property
    def queues_beyond(self):
        return self.gate.queues_beyond != 0

    @queues_beyond.setter
    def queues_beyond(self, bint value):
        self.gate.queues_beyond = value

    @property
    def upgraded(self):
        return self.gate.upgraded

    @upgraded.setter
    def upgraded(self, uint32_t value):
        self.gate.upgraded = value

    @property
    def open_connections(self):
        return self.gate.open

    @property
    def handshaking(self):
        return self.gate.handshaking

    @property
    def accepted(self):
        return self.gate.accepted

    @property
    def dropped(self):
        return self.gate.dropped

    @property
    def owes_reports(self):
        """Whether there are refused connections or failed handshakes that are not reported yet."""
        return self.reactor is not None and self.reactor.r != NULL and tio_reactor_owes_reports(self.reactor.r, &self.gate) != 0

    @property
    def bytes_read(self):
        """Of closed connections."""
        return self.gate.bytes_in

    @property
    def bytes_written(self):
        return self.gate.bytes_out

    @property
    def handshakes_failed(self):
        """The number of failed handshakes, by error code."""
        counts = {}
        # a copy, because another thread may be reading
        for numbers, count in dict(self.failures).items():
            code = self.failure_codes[numbers]
            counts[code] = counts.get(code, 0) + count
        return counts

    cdef object _count(self, tio_conn *c):
        """Count a failed handshake. Only the first one of a kind makes an error object, which
        bounds the cost of a flood.
        """
        cdef const tio_fault *fault = tio_conn_fault(c)
        cdef const tio_verify *found = tio_conn_verify(c)
        cdef unsigned long first = fault.entries[0].code if fault != NULL and fault.count else 0
        cdef int verify = found.errors[found.count - 1].error if found != NULL and found.count else 0
        cdef bint pins = found != NULL and found.pins_failed and (not verify or tio_conn_accepts_unverified(c))
        numbers = (fault.kind, first, verify, pins, fault.alert_received, fault.os_error) if fault != NULL else None
        if numbers not in self.failures:
            self.failure_codes[numbers] = "ERR_TLS_PIN_MISMATCH" if pins else error_from_fault(fault_of(c, False)).code
            self.failures[numbers] = 0
        self.failures[numbers] += 1

    cdef object _opened(self, tio_conn *c):
        if SSL_session_reused(tio_conn_ssl(c)) and not tio_conn_psk_used(c):
            self.handshakes_resumed += 1
        else:
            self.handshakes_full += 1

    cdef Connection _take(self, Reactor reactor, tio_notice *notice):
        """Handle a notice about a connection that is not a socket yet. A socket is made only if one
        is needed.
        """
        cdef tio_conn *c = notice.conn
        cdef bint failed = notice.what & TIO_NOTICE_FAILED != 0
        if notice.what & TIO_NOTICE_ACCEPTED:
            try:
                self.server._connected(address_of(tio_conn_peer(c)))
            except BaseException:
                if failed:
                    tio_reactor_discard(c)
                raise
            if not failed and is_gone(reactor, notice):
                return None             # a listener closed the server, or forked
        if failed:
            return self._failed(reactor, c)
        if notice.what & TIO_NOTICE_QUESTION and not self.wants_socket and self._answer(reactor, notice):
            if tio_reactor_return(reactor.r, c):
                return None
            tio_reactor_resume(reactor.r, c)
            if tio_conn_phase(c) == TIO_BROKEN:
                tio_reactor_drop(reactor.r, c, 1)
                return self._failed(reactor, c)
            if tio_conn_question(c) == TIO_NO_QUESTION and tio_conn_phase(c) != TIO_OPEN:
                return None
        if not notice.what & (TIO_NOTICE_QUESTION | TIO_NOTICE_OPENED) or is_gone(reactor, notice):
            return None
        return self._adopt(reactor, c)

    cdef Connection _failed(self, Reactor reactor, tio_conn *c):
        if self.wants_failures or self.server._logs_failure():
            return self._adopt(reactor, c)
        self._count(c)
        tio_reactor_discard(c)
        self._check_closed()
        return None

    cdef Connection _adopt(self, Reactor reactor, tio_conn *c):
        """Make the connection a socket of the server."""
        cdef Connection connection = Connection.wrap(reactor, self, c)
        if tio_conn_fd(c) < 0:
            connection._detached()
        self.server._adopt(connection, self.chosen.get(<size_t>tio_conn_context(c)))
        return connection

    cdef tio_context *_choose(self, object found) except NULL:
        """Return the native context of `found`, whose owner is kept as long as it is used."""
        cdef Context context = found.native
        if <size_t>context.ptr not in self.chosen:
            if len(self.chosen) >= self.many_chosen:
                self._drop_unused()
            self.chosen[<size_t>context.ptr] = found
        return context.ptr

    cdef object _drop_unused(self):
        cdef Context context
        for found in list(self.chosen.values()):
            context = found.native
            if not tio_context_is_shared(context.ptr):
                self.chosen.pop(<size_t>context.ptr, None)
        self.many_chosen = 2 * len(self.chosen) + FEW_CHOSEN

    cdef bint _answer(self, Reactor reactor, tio_notice *notice) except -1:
        """Answer what needs no socket: a context from the table or the source, a session from a
        synchronous store. The source's function may close the server or fork: then the connection is
        gone.
        """
        cdef tio_conn *c = notice.conn
        cdef tio_context *chosen = NULL
        cdef const char *name = tio_conn_server_name(c)
        cdef int wants = tio_conn_policy(c).wants
        cdef uint64_t forgotten = self.forgotten
        cdef object found = None
        if tio_conn_question(c) == TIO_ASK_HELLO:
            if self.answers_challenges and _is_challenge(c):
                return False
            if wants & TIO_WANT_HELLO and (name != NULL or wants & TIO_WANT_NAMELESS):
                found = self.server._find(name.decode("ascii") if name != NULL else None)
                if found is None or is_gone(reactor, notice):
                    return False
            context = None if found is None else found.context
            self._find_session(c, (<Context>context.native).ptr if context is not None else tio_conn_context(c))
            if is_gone(reactor, notice):
                return False
            # From here on no other thread runs before the connection uses the context: `forget` would
            # drop it as unused.
            if context is not None:
                chosen = self._choose(context)
            # What `_find` has read may have changed meanwhile, in another thread.
            if found is not None and found.lasts > 0 and forgotten == self.forgotten:
                tio_gate_remember(&self.gate, name, chosen, _lasting(found.lasts))
            tio_answer_hello(c, chosen, NULL, 0)
            return True
        if tio_conn_question(c) == TIO_ASK_STORE:
            self.store.keep(sessions_of(c), id_context_of(tio_conn_context(c)))
            tio_answer_store(c)
            return True
        return False

    cdef object _find_session(self, tio_conn *c, tio_context *context):
        cdef const uint8_t *wanted
        cdef size_t size = tio_conn_asked_session(c, &wanted)
        cdef bytes found = self.store.find((<const char *>wanted)[:size], id_context_of(context)) if size else None
        if found is not None and (not _is_session_size(found) or tio_answer_session(c, _start(found), <size_t>len(found))):
            self.store.reject_last()


cdef unsigned _checked_threads(int threads) except? 0:
    if not 0 <= threads <= MAX_THREADS:
        raise wrong_value("handshake_threads", f"must be from 0 to {MAX_THREADS}")
    return <unsigned>threads


cdef bint is_gone(Reactor reactor, tio_notice *notice) noexcept:
    """Whether user code has ended the connection of a notice."""
    return reactor.r == NULL or tio_reactor_conn(reactor.r, notice.handle) != notice.conn


cdef int64_t _lasting(double seconds):
    """Return nanoseconds; -1: without limit."""
    return <int64_t>(seconds * 1e9) if seconds <= _MAX_SECONDS else -1


cdef bint _is_challenge(tio_conn *c) noexcept:
    """Whether the hello offers the protocol of ACME alone (RFC 8737)."""
    cdef const uint8_t *offered
    cdef size_t size = tio_conn_offered(c, &offered)
    return size == 11 and memcmp(offered, b"\x0aacme-tls/1", 11) == 0


cdef bytes id_context_of(tio_context *context):
    return context.settings.id_context[:context.settings.id_context_size]
