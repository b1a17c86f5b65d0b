# The native driver: the engine's reactor inside an asyncio or uvloop event loop, and the gates of its servers.

cdef object _reactors = weakref.WeakSet()          # for fork only


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

    def set(self, keys):
        """Replace all keys, each of 48 bytes: 16 name, 16 HMAC, 16 AES. Of more than there is room for, the first ones."""
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

    `store` has `find(id, id_context)`, `keep(sessions, id_context)` and `spoilt()`. The server is told by calls of `_find(name)`, `_adopt(connection)`, `_connected(address)`, `_dropped(address)`,
    `_accept_failed(errno)` and, while `closing`, `_check_closed()`. While it listens its reactor keeps it alive.
    """

    cdef tio_gate gate
    cdef Reactor reactor
    cdef bytes psk_hint
    cdef object server
    cdef dict failures                  # what failed, as numbers -> how often
    cdef dict failure_codes             # the same numbers -> code
    cdef public bint wants_failures     # somebody listens to failed handshakes, or a hook needs the socket
    cdef public bint wants_socket
    cdef public object store            # where sessions are kept, if that answers at once
    cdef public bint closing            # somebody waits for the last connection to go
    cdef readonly uint64_t handshakes_full, handshakes_resumed

    def __cinit__(self):
        tio_gate_init(&self.gate)

    def __init__(self, server, Context context not None, Ring ring not None, *, double handshake_timeout, max_connections,
                 max_handshakes, max_handshake_bytes, bint no_delay, int keep_alive, bint alpn_continue, int renegotiation_limit,
                 double renegotiation_window, bytes psk_hint=None):
        self.server = server
        self.failures = {}
        self.failure_codes = {}
        self.gate.owner = <void *>self
        self.gate.ask_psk = find_psk
        self.psk_hint = None if psk_hint is None else _text_up_to("The hint", psk_hint, TIO_PSK_IDENTITY)
        self.gate.psk_hint = PyBytes_AS_STRING(psk_hint) if psk_hint is not None else NULL
        tio_ring_retain(ring.ring)
        self.gate.ring = ring.ring
        tio_context_retain(context.ptr)
        self.gate.context = context.ptr
        self.gate.handshake_ns = _nanoseconds("handshake_timeout", handshake_timeout)
        self.gate.max_connections = max_connections or 0
        self.gate.max_handshakes = max_handshakes or 0
        self.gate.max_handshake_bytes = max_handshake_bytes or 0
        self.gate.no_delay = no_delay
        self.gate.keep_alive = keep_alive
        self.gate.alpn_continue = alpn_continue
        self.gate.renegotiation.limit = renegotiation_limit
        self.gate.renegotiation.window_ns = _nanoseconds("renegotiation_window", renegotiation_window)

    def __dealloc__(self):
        if self.reactor is not None and self.reactor.r != NULL:
            tio_reactor_unlisten(self.reactor.r, &self.gate)
            tio_reactor_evict(self.reactor.r, &self.gate)
        tio_gate_free(&self.gate)

    def set_context(self, Context context not None):
        """For new connections. Any thread."""
        tio_gate_set_context(&self.gate, context.ptr)

    def set_wants(self, bint hello, bint alpn, bint client, bint status, bint psk, bint accepted, bint dropped, uint16_t sessions=0):
        self.gate.wants = (self.gate.wants & WANT_RECORDS | TIO_WANT_HELLO * hello | TIO_WANT_ALPN * alpn | TIO_WANT_CLIENT * client
                           | TIO_WANT_STATUS * status | TIO_WANT_PSK * psk | sessions | TIO_WANT_ACCEPTED * accepted
                           | TIO_WANT_DROPPED * dropped)

    def record(self, bint keys, bint offer, bint trace):
        """What new connections record."""
        if trace:
            _check_trace()
        self.gate.wants = (self.gate.wants & ~WANT_RECORDS | TIO_WANT_KEYS * keys | TIO_WANT_OFFER * offer | TIO_WANT_TRACE * trace)

    def listen(self, Reactor reactor not None, int fd):
        """Accept on this descriptor, which is ours from now on, also when this raises."""
        reactor._check_for(fd)
        self.reactor = reactor
        if tio_reactor_listen(reactor.r, &self.gate, fd):
            raise OSError(errno, os.strerror(errno))
        reactor.gates.add(self)
        self.closing = False

    def unlisten_all(self):
        if self.reactor is not None and self.reactor.r != NULL:
            if tio_asking():
                self.reactor.later(self.unlisten_all)
                return
            tio_reactor_unlisten(self.reactor.r, &self.gate)
            self.reactor.gates.discard(self)
            self.reactor._left()

    def evict(self):
        """End the connections that are not sockets yet."""
        if self.reactor is not None and self.reactor.r != NULL:
            if tio_asking():
                self.reactor.later(self._evict_late)
                return
            tio_reactor_evict(self.reactor.r, &self.gate)
            self.reactor._left()

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
    def bytes_read(self):
        """Of connections that are gone."""
        return self.gate.bytes_in

    @property
    def bytes_written(self):
        return self.gate.bytes_out

    @property
    def handshakes_failed(self):
        """How many handshakes failed, by error code."""
        counts = {}
        for numbers, count in dict(self.failures).items():      # a copy: this may be another thread
            code = self.failure_codes[numbers]
            counts[code] = counts.get(code, 0) + count
        return counts

    cdef object _count(self, tio_conn *c):
        """A flood of one failure makes an error object for the first of it only."""
        cdef unsigned long first = c.fault.entries[0].code if c.fault != NULL and c.fault.count else 0
        cdef int verify = c.verify.errors[c.verify.count - 1].error if c.verify != NULL and c.verify.count else 0
        cdef bint pins = c.verify != NULL and c.verify.pins_failed and not verify
        numbers = (c.fault.kind if c.fault != NULL else -1, first, verify, pins, c.alert_received,
                   c.fault.os_error if c.fault != NULL else 0)
        if numbers not in self.failures:
            self.failure_codes[numbers] = "ERR_TLS_PIN_MISMATCH" if pins else error_from_fault(fault_of(c, False)).code
            self.failures[numbers] = 0
        self.failures[numbers] += 1

    cdef object _opened(self, tio_conn *c):
        if SSL_session_reused(c.ssl) and not tio_conn_psk_used(c):
            self.handshakes_resumed += 1
        else:
            self.handshakes_full += 1

    cdef Connection _first(self, Reactor reactor, tio_notice *notice):
        """A connection's first notice. Only what a socket is needed for makes one."""
        if notice.what & TIO_NOTICE_ACCEPTED:
            self.server._connected(address_of(&notice.conn.peer))
            if notice.conn == NULL:     # a listener closed the server
                return None
        return self._next(reactor, notice.conn, notice.what)

    cdef Connection _next(self, Reactor reactor, tio_conn *c, uint32_t what):
        if what & TIO_NOTICE_FAILED and not self.wants_failures:
            self._count(c)
            tio_conn_free(c)
            self._check_closed()
            return None
        if what & TIO_NOTICE_QUESTION and not self.wants_socket and self._answer(c):
            tio_reactor_resume(reactor.r, c)
            if c.phase == TIO_BROKEN:
                tio_reactor_drop(reactor.r, c, 1)
                return self._next(reactor, c, TIO_NOTICE_FAILED)
            if c.question == TIO_NO_QUESTION and c.phase != TIO_OPEN:
                return None
        if not what & (TIO_NOTICE_QUESTION | TIO_NOTICE_OPENED | TIO_NOTICE_FAILED):
            return None
        return self._adopt(reactor, c)

    cdef Connection _adopt(self, Reactor reactor, tio_conn *c):
        """Make the connection a socket of the server."""
        cdef Connection connection = Connection.wrap(reactor, self, c)
        if c.reactor == NULL:
            connection._detached()
        self.server._adopt(connection)
        return connection

    cdef bint _answer(self, tio_conn *c) except -1:
        """What can be answered without a socket: a context from the table, sessions from a store that answers at once."""
        cdef Context context
        cdef tio_context *chosen = NULL
        if c.question == TIO_ASK_HELLO:
            if c.server_name != NULL and c.wants & TIO_WANT_HELLO:
                context = self.server._find(c.server_name.decode("ascii"))
                chosen = context.ptr if context is not None else NULL
            if c.sessions != NULL and c.sessions.asked_size:
                self._find_session(c, chosen if chosen != NULL else c.context)
            tio_answer_hello(c, chosen, NULL, 0)
            return True
        if c.question == TIO_ASK_STORE:
            self.store.keep(sessions_of(c), id_context_of(c.context))
            tio_answer_store(c)
            return True
        return False

    cdef object _find_session(self, tio_conn *c, tio_context *context):
        cdef bytes found = self.store.find(c.sessions.asked[:c.sessions.asked_size], id_context_of(context))
        if found is not None and (not _is_session_size(found) or tio_answer_session(c, _start(found), <size_t>len(found))):
            self.store.spoilt()


cdef bytes id_context_of(tio_context *context):
    return context.row.id_context[:context.row.id_context_size]


cdef class Reactor:
    """The engine's reactor in one event loop. Belongs to the loop's thread."""

    cdef tio_reactor *r
    cdef object loop                    # a weak reference: the loop holds us, not we the loop
    cdef list dirty                     # connections with something to send or to tell
    cdef list inputs                    # connections whose reader has come while bytes stood already
    cdef set gates                      # that listen: whoever listens lives
    cdef bint in_turn, scheduled, woke
    cdef readonly bint forked
    cdef object __weakref__

    def __cinit__(self):
        self.dirty = []
        self.inputs = []
        self.gates = set()

    def __init__(self, loop):
        self.r = tio_reactor_new()
        if self.r == NULL:
            raise OSError(errno, os.strerror(errno))
        self.loop = weakref.ref(loop)
        # In a context of its own: the loop would keep the variables of whatever connection happened to be the first.
        contextvars.Context().run(loop.add_reader, tio_reactor_fd(self.r), self._turn, _Farewell(self))
        _reactors.add(self)

    def __dealloc__(self):
        tio_reactor_free(self.r)

    def close(self):
        """Give the loop and the kernel back what we took."""
        cdef Connection connection
        if self.r == NULL:
            return
        loop = self.loop()
        if loop is not None and not loop.is_closed() and not self.forked:
            loop.remove_reader(tio_reactor_fd(self.r))
        connections = self._owners()
        tio_reactor_free(self.r)
        self.r = NULL
        self.gates.clear()
        for connection in connections:
            connection._detached()

    cdef list _owners(self):
        cdef size_t i, count = tio_reactor_load(self.r)
        cdef void **owners = <void **>malloc((count + 1) * sizeof(void *))
        if owners == NULL:
            raise MemoryError
        try:
            count = tio_reactor_owners(self.r, owners)
            return [<Connection>owners[i] for i in range(count)]
        finally:
            free(owners)

    @property
    def load(self):
        """Descriptors in our care: listeners, connections, and what is on its way out."""
        return tio_reactor_load(self.r) if self.r != NULL else 0

    @property
    def is_closed(self):
        return self.r == NULL

    cdef object _check(self):
        if self.forked:
            raise UsageStateError("This server or socket belongs to the parent process: fork before listen or connect")
        if self.r == NULL:
            raise UsageStateError("The event loop of this server or socket is closed")

    cdef object _check_for(self, int fd):
        """Check, or close the descriptor that was given away."""
        try:
            self._check()
        except UsageStateError:
            os.close(fd)
            raise

    cdef object _schedule(self, Connection connection):
        self.dirty.append(connection)
        if not self.in_turn and not self.scheduled:
            self._flush_soon()

    def later(self, call, *args):
        """In the loop's next pass."""
        self.loop().call_soon(call, *args)

    cdef object _flush_soon(self):
        self._check()
        self.scheduled = True
        self.loop().call_soon(self._flush)

    def _flush(self):
        """What was written since the last turn leaves, all of a connection in one send."""
        self.scheduled = False
        if self.r == NULL:
            return
        self._serve_inputs()
        self._serve_dirty()
        self._go_on()

    cdef object _go_on(self):
        """The end of a turn: come again for what is left, or leave the loop when there is nothing to look after."""
        if tio_reactor_has_ready(self.r):
            self.loop().call_soon(self._turn)
        elif tio_reactor_load(self.r) == 0 and not self.scheduled:
            self.close()

    cdef object _left(self):
        """Something was let go outside a turn; was it the last?"""
        if self.r == NULL or self.in_turn or self.scheduled or self.forked or tio_reactor_load(self.r):
            return
        loop = self.loop()
        if loop is None or loop.is_closed():
            self.close()
        else:
            self._flush_soon()

    cdef object _serve_inputs(self):
        cdef Connection connection
        inputs, self.inputs = self.inputs, []
        for connection in inputs:
            if connection.attached:
                self._deliver(connection, TIO_NOTICE_READABLE)

    cdef object _serve_dirty(self):
        cdef Connection connection
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            if connection.dirty:
                self._deliver(connection, 0)

    cdef object _deliver(self, Connection connection, uint32_t what):
        try:
            connection._handle(what)
        except BaseException as error:
            self._report("tlsio: a connection's news could not be told", error)
            connection._let_go(False)

    cdef object _report(self, str message, error):
        """What ends the program does so after this turn: others' news are lost with it, and their connections with those."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.loop().call_soon(_raise, error)
        else:
            self.loop().call_exception_handler({"message": message, "exception": error})

    def _turn(self, _farewell=None):
        cdef tio_notice *notices = NULL
        cdef size_t count, i
        if self.r == NULL:
            return
        if tio_reactor_poll(self.r):
            # A handshake costs 250 us and more; each release beside a busy thread up to 5 ms: worth it for handshakes only.
            with nogil:
                tio_reactor_work(self.r)
        else:
            tio_reactor_work(self.r)
        self.in_turn = True
        try:
            count = tio_reactor_notices(self.r, &notices)
            for i in range(count):
                self._dispatch(&notices[i])
                if self.r == NULL:
                    return
        finally:
            self.in_turn = False
        self._after_turn()

    cdef object _after_turn(self):
        if self.inputs:
            self._serve_inputs()
        if self.woke:                   # readers that were woken run first, then all they wrote leaves together
            self.woke = False
            if not self.scheduled:
                self._flush_soon()
        elif self.dirty and not self.scheduled:
            self._serve_dirty()
            if self.dirty:
                self._flush_soon()
        if not self.scheduled:
            self._go_on()

    cdef object _dispatch(self, tio_notice *notice):
        cdef Connection connection
        cdef Gate gate
        cdef tio_conn *c = notice.conn
        if c == NULL:
            if notice.what & (TIO_NOTICE_DROPPED | TIO_NOTICE_LISTENER):
                self._refused(notice)
            return
        if c.owner == NULL:
            gate = <Gate>c.gate.owner
            try:
                connection = gate._first(self, notice)
            except BaseException as error:
                self._report("tlsio: a new connection could not be told", error)
                c = notice.conn         # NULL when a listener closed the server before it raised
                if c != NULL and c.owner == NULL:
                    tio_conn_free(c)
                return
            if connection is None:
                return
        else:
            connection = <Connection>c.owner
        self._deliver(connection, notice.what)

    cdef object _refused(self, tio_notice *notice):
        cdef Gate gate = <Gate>notice.gate.owner if notice.gate != NULL else None
        if notice.what & TIO_NOTICE_LISTENER:
            if gate is not None:
                gate.server._accept_failed(notice.error)
            return
        with socket.socket(fileno=notice.fd) as refused:
            try:
                address = refused.getpeername()
            except OSError:
                address = None
        if gate is not None:
            gate.server._dropped(address)


def _raise(error):
    raise error


cdef class _Farewell:
    """Dies with the loop's reader. A loop that was closed comes no more: what it left open is closed now."""

    cdef Reactor reactor

    def __init__(self, Reactor reactor):
        self.reactor = reactor

    def __del__(self):
        loop = self.reactor.loop()
        if loop is None or loop.is_closed():
            self.reactor.close()


def _after_fork():
    """In the child: close our copies of the descriptors, and nothing else; the parent's registrations stay."""
    cdef Reactor reactor
    for reactor in list(_reactors):
        reactor.forked = True
        reactor.close()


os.register_at_fork(after_in_child=_after_fork)
