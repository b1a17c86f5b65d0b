# One TLS connection: the engine's tio_conn, its driver, and the events that reach the socket.
#
# tio_conn_next() alone determines what must be done, on a descriptor and on a stream; `_turn` does
# it and reports the results. It reports by calling methods of the socket (`owner`): `_asked`, `_opened`,
# `_readable`, `_drained`, `_input_ended`, `_finished`, `_broken`, `_rehandshake_done` and
# `_listener_failed`. Only `_turn` calls them, never code inside an engine call.
#
# Most of these methods run user code, which may close, destroy or fork, or run the loop again. So
# no value read before such a call is used after it, and `_turn` may be entered while it is already
# running.

from cpython.contextvars cimport PyContext_Enter, PyContext_Exit

ASK_HELLO = TIO_ASK_HELLO
ASK_VERIFY = TIO_ASK_VERIFY
ASK_CLIENT = TIO_ASK_CLIENT
ASK_STATUS = TIO_ASK_STATUS
ASK_STORE = TIO_ASK_STORE
ASK_SIGN = TIO_ASK_SIGN
ASK_JOB = TIO_ASK_JOB
REHANDSHAKE_DROPPED = TIO_REHANDSHAKE_DROPPED
REHANDSHAKE_UNJUDGED = TIO_REHANDSHAKE_UNJUDGED

SESSIONS = TIO_WANT_SESSIONS
STATEFUL = TIO_STATEFUL
STATEFUL_13 = TIO_STATEFUL_13


@cython.no_gc_clear
cdef class Connection(Plaintext):
    cdef Reactor reactor                # native driver, while attached; None on a memory wire
    cdef Gate gate
    cdef object driver                  # portable driver, or None
    cdef public object on_send_failure  # called once when sending has failed, or None
    cdef object context_vars
    cdef size_t taken    # ciphertext that the driver has copied and the stream has not accepted yet
    cdef bint silent                    # destroyed: nothing is sent any more
    cdef bint attached, dirty, reported_open, reported_end, reported_broken, reported_finished
    cdef int64_t deadline               # as last given to the driver
    cdef uint8_t asked_question         # the question that the owner has not answered yet
    cdef bytes psk_hint                 # keeps the engine's pointer valid
    cdef object __weakref__

    def __cinit__(self):
        self.high_water = 65536

    def __init__(self, Context context, bint is_server, object driver=None):
        self.c = tio_conn_new(context.ptr, TIO_SERVER if is_server else TIO_CLIENT)
        if self.c == NULL:
            raise MemoryError
        tio_conn_set_owner(self.c, <void *>self)
        tio_conn_policy(self.c).ask_psk = find_psk
        self.driver = driver

    def __dealloc__(self):
        tio_reactor_discard(self.c)
        _release_dead_keys()

    @staticmethod
    cdef Connection wrap(Reactor reactor, Gate gate, tio_conn *c):
        cdef Connection self = Connection.__new__(Connection)
        self.c = c
        self.gate = gate
        self._attached_to(reactor)
        return self

    cdef void _attached_to(self, Reactor reactor):
        # A reference held by the reactor: an open connection stays alive, and is never collected
        # while another thread works on it.
        tio_conn_set_owner(self.c, <void *>self)
        self.reactor = reactor
        self.attached = True
        Py_INCREF(self)

    cdef void _detached(self):
        if self.attached:
            self.attached = False
            Py_DECREF(self)

    # ---- set-up

    def bind(self, owner, context_vars, Py_ssize_t high_water):
        self.owner = owner
        self.context_vars = context_vars
        self.thread = PyThread_get_thread_ident() if context_vars is not None else 0
        self.forks_before = forks
        self.high_water = high_water

    def set_high_water(self, Py_ssize_t high_water):
        self.high_water = high_water

    def attach(self, Reactor reactor not None, int fd):
        reactor._check_for(fd)
        if tio_reactor_add(reactor.r, self.c, fd):
            raise OSError(errno, os.strerror(errno))
        self._attached_to(reactor)

    def set_server_name(self, str name not None):
        if not name.isascii():
            raise wrong_value("The server name", "must be ASCII: write other names as an A-label (xn--...)")
        if tio_conn_set_server_name(self.c, _text_up_to("The server name", name.encode(), _MAX_NAME)):
            raise MemoryError

    def set_identity(self, Context context not None):
        """Use the certificates of `context`. Returns False if the handshake has passed the point where
        they can be set.
        """
        if tio_conn_phase(self.c) != TIO_IDLE and tio_conn_question(self.c) != TIO_ASK_HELLO:
            return False
        ERR_clear_error()
        if tio_conn_set_identity(self.c, context.ptr):
            raise _unusable("Cannot use the certificates of that context")
        return True

    def set_min_dh_size(self, int bits):
        tio_conn_policy(self.c).min_dh_bits = bits

    def set_strict_chain(self):
        tio_conn_policy(self.c).strict_chain = True

    def set_session(self, bytes der not None):
        """Offer a session for resumption. False: the bytes are not a session."""
        return _is_session_size(der) and tio_conn_set_session(self.c, _start(der), <size_t>len(der)) == 0

    def want_sessions(self):
        """From now on pass the sessions that the server issues to `_session_made`."""
        tio_conn_policy(self.c).wants |= TIO_WANT_SESSIONS

    def set_wants(self, bint hello, bint alpn, bint client, bint status, bint psk, bint alpn_continue, uint16_t sessions=0,
                  bint nameless=False):
        cdef tio_policy *policy = tio_conn_policy(self.c)
        policy.wants = (policy.wants & WANT_RECORDS | TIO_WANT_HELLO * hello | TIO_WANT_ALPN * alpn | TIO_WANT_CLIENT * client
                        | TIO_WANT_STATUS * status | TIO_WANT_PSK * psk | TIO_WANT_NAMELESS * nameless | sessions)
        policy.alpn_continue = alpn_continue

    def set_limits(self, double handshake, double partial_record, uint64_t handshake_bytes=0):
        """Set the seconds for a repeated handshake and for a record to be complete, and the bytes
        that the first handshake may receive; 0: no limit.
        """
        cdef tio_policy *policy = tio_conn_policy(self.c)
        policy.max_handshake_bytes = handshake_bytes
        policy.handshake_ns = _nanoseconds("handshake_timeout", handshake)
        policy.partial_ns = _nanoseconds("partial_record_timeout", partial_record)

    def request_status(self):
        """Client: request an OCSP response."""
        tio_conn_policy(self.c).wants |= TIO_WANT_STATUS

    def use_psk(self):
        """Client: ask the owner for a pre-shared key."""
        tio_conn_policy(self.c).wants |= TIO_WANT_PSK

    def set_psk_hint(self, bytes hint):
        self.psk_hint = None if hint is None else _text_up_to("The PSK identity hint", hint, TIO_PSK_IDENTITY)
        tio_conn_policy(self.c).psk_hint = PyBytes_AS_STRING(hint) if hint is not None else NULL

    def set_renegotiation(self, uint32_t limit, double window):
        """Limit how often the peer may renegotiate within `window` seconds; 0: never."""
        cdef tio_policy *policy = tio_conn_policy(self.c)
        policy.renegotiation.limit = limit
        policy.renegotiation.window_ns = _nanoseconds("The window of renegotiations", window)

    def refuse_renegotiation(self):
        """From now on a renegotiation by the peer ends the connection."""
        tio_conn_refuse_renegotiation(self.c)

    def use_gate(self, Gate gate not None):
        """Use the ticket keys and counters of a server."""
        self.gate = gate
        tio_conn_set_gate(self.c, &gate.gate)

    def rehandshake(self, verify, bint accept_unverified):
        """Start another handshake. Returns OpenSSL's reason if that is not possible, else None.

        `verify`: SSL_VERIFY_* bits; None leaves them unchanged.
        """
        cdef unsigned long code = 0
        if tio_in_psk_callback():
            return "not now"
        self._encrypt_small()           # what was written before is sent before
        if tio_conn_rehandshake(self.c, -1 if verify is None else verify, accept_unverified, &code):
            return text_of(ERR_reason_error_string(code)) or "not now"
        self._schedule()
        return None

    @property
    def awaits_rehandshake(self):
        """Whether another handshake was requested and is not complete."""
        return bool(tio_conn_awaits_rehandshake(self.c))

    def record(self, bint keys=False, bint offer=False, bint trace=False):
        """From now on record lines of the key log (passed to `_keylogged`), the hello (see
        `offer`), or a trace (passed to `_traced`).
        """
        if trace:
            _check_trace()
        tio_conn_record(self.c, TIO_WANT_KEYS * keys | TIO_WANT_OFFER * offer | TIO_WANT_TRACE * trace)

    @property
    def offer(self):
        """The client's hello, if it was recorded."""
        cdef const tio_records *records = tio_conn_records(self.c)
        return (<const char *>records.offer)[:records.offer_size] if records != NULL and records.offer != NULL else None

    def start(self):
        self._resume()

    # ---- a turn

    cdef object _handle(self, uint32_t what):
        """Handle a notice of the reactor."""
        if what & TIO_NOTICE_FAILED:
            self._detached()
        self._turn(what & TIO_NOTICE_QUESTION != 0)

    cdef object _turn(self, bint asked=False):
        """Do all that is due and report the results, in the connection's own context variables."""
        context = self.context_vars
        cdef bint entered = enter(context)
        try:
            if asked:
                self._ask()
            self._report_open()
            if self.reported_open and tio_conn_next(self.c) & TIO_NEXT_TURN:
                self._process_input()
            self._settle()
        finally:
            if entered:
                PyContext_Exit(context)

    cdef object _ask(self):
        """Ask the owner the open question, once. Returns True if it was answered at once and the
        connection has continued.
        """
        cdef uint8_t question = tio_conn_question(self.c)
        cdef bint answered = False
        if tio_conn_has_news(self.c):
            self._report_news()
        while question != TIO_NO_QUESTION and question != self.asked_question and self.owner is not None:
            self.asked_question = question
            self.owner._asked(question)
            if tio_conn_question(self.c) == question:
                return answered         # the owner answers later, and then calls `resume`
            self.asked_question = TIO_NO_QUESTION
            answered = True
            self._step()
            question = tio_conn_question(self.c)
        return answered

    cdef object _report_news(self):
        cdef const uint8_t *data
        cdef size_t size = tio_conn_keys(self.c, &data)
        if size:
            lines = (<const char *>data)[:size]
            tio_conn_clear_keys(self.c)
            if self.owner is not None:
                self.owner._keylogged(lines)
        size = tio_conn_trace(self.c, &data)
        if size:
            text = (<const char *>data)[:size]
            tio_conn_clear_trace(self.c)
            if self.owner is not None:
                self.owner._traced(text)
        if self.reported_open and tio_conn_role(self.c) == TIO_CLIENT:
            for _, der, lifetime in self.take_sessions():
                if self.owner is not None:
                    self.owner._session_made(der, lifetime)

    cdef object _report_news_from_read(self):
        context = self.context_vars
        cdef bint entered = enter(context)
        try:
            self._report_news()
        finally:
            if entered:
                PyContext_Exit(context)

    def take_sessions(self):
        """Return (id, DER, lifetime in seconds) of each new session that was not fetched yet.
        The DER is secret.
        """
        taken = sessions_of(self.c)
        tio_conn_clear_sessions(self.c)
        return taken

    cdef object _report_open(self):
        if tio_conn_has_news(self.c):
            self._report_news()
        if not self.reported_open and tio_conn_phase(self.c) == TIO_OPEN:
            self.reported_open = True
            if self.gate is not None:
                self.gate._opened(self.c)
            self.owner._opened()
            if tio_conn_has_news(self.c):       # TLS 1.2 makes its sessions during the handshake
                self._report_news()

    cdef void _step(self):
        if self.attached:
            tio_reactor_resume(self.reactor.r, self.c)
            return
        tio_conn_step(self.c)
        while tio_conn_phase(self.c) == TIO_HANDSHAKING and tio_conn_next(self.c) & TIO_NEXT_TURN:
            tio_conn_step(self.c)       # process the rest of the input, which no event announces

    cdef object _resume(self):
        """Continue after an answer or a start from outside a turn."""
        if tio_in_psk_callback():
            self.later(self.resume)
            return
        self.asked_question = TIO_NO_QUESTION
        self._step()
        self._turn(True)
        if self.attached:
            # No event announces input that was received together with the question's.
            self.reactor._run_if_busy()
        elif self.driver is not None:
            self._schedule()        # the driver's part of a turn: there may be room for input again

    cdef object _process_input(self):
        """Make progress on the input: pump it into the flow, wake the waiting reader, or only
        process it up to the next record of data.
        """
        if self.pumping:
            # A listener is still processing its chunk and runs the loop, so the next chunk must not
            # be read.
            tio_conn_want(self.c, 0, -1)
            if not self.attached:
                self._step()
        elif self.flow is not None and not self.closing:
            self._pump_in()
        elif self.waiting:
            self._wake_reader()
        elif not self.attached:
            self._step()                # if attached, the reactor has done that

    cdef object _wake_reader(self):
        self.waiting = False
        self.pulled = 0
        # Otherwise the reactor would process the input itself, before the reader runs.
        tio_conn_want(self.c, TIO_NOTIFIED if self.attached else self.flow is not None, -1)
        if self.reactor is not None:
            self.reactor.woke = True
        self.owner._readable()

    cdef object _settle(self):
        """Send gathered output, then report."""
        cdef int done
        self.dirty = False
        self.pushed = 0
        if tio_conn_has_news(self.c):
            self._report_news()
        self._move_out()
        # A question of another handshake may be answered at once, which releases the output it held
        # back.
        while self.reported_open and tio_conn_question(self.c) != TIO_NO_QUESTION and self._ask():
            self._move_out()
        if tio_conn_has_news(self.c):           # the trace of what has just been encrypted
            self._report_news()
        if self.reported_open and self.owner is not None:
            done = tio_conn_rehandshake_done(self.c)
            if done:
                self.owner._rehandshake_done(done)
        self._report()

    cdef object _move_out(self):
        """Move data from the queue into the engine, and from there to the sender. If sending fails,
        read on: the peer may have sent an alert that explains it.
        """
        if tio_conn_phase(self.c) == TIO_OPEN:
            self._pump_out()
        if tio_conn_phase(self.c) != TIO_BROKEN:
            if self.attached:
                tio_reactor_update(self.reactor.r, self.c)
            else:
                tio_conn_turn(self.c)
                if self.driver is not None:
                    self._send()
        if tio_conn_send_error(self.c) and tio_conn_next(self.c) & TIO_NEXT_TURN:
            self._step()

    cdef object _report(self):
        cdef unsigned next
        if tio_conn_phase(self.c) == TIO_BROKEN:
            self._release_descriptor(True)
            if self.driver is not None:
                self._send()
            if not self.reported_broken and self.owner is not None:
                self.reported_broken = True
                self.owner._broken()
            return
        next = tio_conn_next(self.c)
        if next & TIO_NEXT_END and not self.reported_end:
            self.reported_end = True
            self.owner._input_ended(tio_conn_in(self.c) == TIO_IN_TRUNCATED)
        if next & TIO_NEXT_END and tio_conn_out(self.c) == TIO_OUT_ENDED and not self.reported_finished:
            self.reported_finished = True
            self.owner._finished()
            return
        if self.wants_drain and (self._waiting_bytes() <= self.high_water or tio_conn_send_error(self.c)):
            self.wants_drain = False
            self.owner._drained()
        if self.on_send_failure is not None and tio_conn_send_error(self.c):
            on_send_failure, self.on_send_failure = self.on_send_failure, None
            on_send_failure()
        if self.driver is not None:
            self._update_driver()

    cdef object _update_driver(self):
        """Pass on what a reactor would find itself: deadlines, and progress that no event
        announces.
        """
        cdef int64_t deadline = tio_conn_deadline(self.c)
        if deadline != self.deadline:
            self.deadline = deadline
            self.driver.set_deadline(deadline / 1e9 if deadline else None)
        if tio_conn_next(self.c) & TIO_NEXT_TURN:
            self._schedule()

    cdef void _release_descriptor(self, bint wait):
        if self.attached:
            tio_reactor_drop(self.reactor.r, self.c, wait)
            self.reactor._close_if_empty()
            self._detached()

    def later(self, call, *args):
        """Call it when the OpenSSL call that runs some connection's `psk_callback` has returned."""
        if self.driver is not None:
            self.driver.later(call, *args)
        elif self.reactor is not None:
            self.reactor.later(call, *args)

    cdef object _schedule(self):
        if self.driver is not None:
            if not self.dirty:
                self.dirty = True
                self.driver.schedule(self)
        elif self.reactor is not None:
            self.reactor._schedule(self)

    cdef bint _can_push(self):
        return self.attached and not tio_in_psk_callback()

    # ---- the portable driver's side

    def settle(self):
        """Run a turn after a write, after sending, or for a new reader."""
        self._turn()

    def feed(self, const uint8_t[::1] data not None):
        """Process received ciphertext and all that follows from it."""
        if data.shape[0] and tio_conn_feed(self.c, &data[0], data.shape[0]):
            raise MemoryError
        self._fed()

    def feed_eof(self):
        tio_conn_feed_eof(self.c)
        self._hung_up(0)
        self._fed()

    def feed_error(self, int error):
        tio_conn_feed_error(self.c, error)
        self._hung_up(error)
        self._fed()

    cdef void _hung_up(self, int error):
        """A peer that has gone during a handshake's question cannot receive the answer, unless it
        has sent its Finished.
        """
        cdef bint asked = tio_conn_phase(self.c) == TIO_HANDSHAKING and tio_conn_question(self.c) != TIO_NO_QUESTION
        if asked and (error or not tio_conn_peer_finished(self.c)):
            tio_conn_break(self.c, TIO_FAULT_OS if error else TIO_FAULT_HANGUP, TIO_NO_LIMIT, error)

    cdef object _fed(self):
        cdef tio_phase phase = tio_conn_phase(self.c)
        try:
            if phase == TIO_IDLE or phase == TIO_HANDSHAKING:
                self._step()
            self._turn(phase == TIO_IDLE or phase == TIO_HANDSHAKING)
        finally:
            tio_conn_turn(self.c)       # copies what is left of `data`, which the caller may reuse

    def send_failed(self, int error):
        tio_conn_send_failed(self.c, error)
        self._turn()

    def expire(self):
        """Handle a passed deadline: the handshake's, or the one given to the driver."""
        self.deadline = 0            # so that _update_driver sets it again if the timer fired early
        tio_conn_expire(self.c)
        self._turn()

    cdef object _send(self):
        cdef const uint8_t *data
        if tio_conn_next(self.c) & TIO_NEXT_FIN or (not self.taken and tio_conn_output(self.c, &data)):
            self.driver.wake()

    def output(self):
        """Return ciphertext to send, or None. It counts as unsent until `sent` is called;
        until then, further calls return None.
        """
        cdef const uint8_t *data
        if self.taken or self.silent or tio_conn_send_error(self.c):
            return None
        self.taken = tio_conn_output(self.c, &data)
        tio_conn_output_copied(self.c, self.taken)
        return PyBytes_FromStringAndSize(<const char *>data, self.taken) if self.taken else None

    def sent(self):
        """The stream has accepted the result of `output`."""
        cdef size_t size = self.taken
        self.taken = 0
        tio_conn_sent(self.c, size)

    @property
    def fin_due(self):
        """Whether all is sent and the stream's writing side must be shut down."""
        return tio_conn_next(self.c) & TIO_NEXT_FIN != 0 and not self.silent

    def fin_sent(self):
        tio_conn_fin_sent(self.c)

    def count_undelivered(self, unacknowledged=None):
        """Count the wire bytes with data that the peer has not acknowledged.

        `unacknowledged`: the bytes in the kernel's send buffer, for a connection over a stream.
        """
        return tio_conn_undelivered(self.c, tio_conn_unacknowledged(self.c) if unacknowledged is None else unacknowledged)

    def look_for_reset(self):
        """Report a reset that has lost data and that no read will notice."""
        tio_conn_look_for_reset(self.c)
        if tio_conn_send_error(self.c):
            self._schedule()

    @property
    def acknowledged(self):
        """Ciphertext that the peer has acknowledged, or that the stream has accepted: it grows
        while a slow reader reads.
        """
        return <int64_t>tio_conn_counts(self.c).wire_written - <int64_t>tio_conn_unacknowledged(self.c)

    @property
    def held_input(self):
        """Ciphertext bytes that wait for a reader: the driver pauses its stream if there are many.
        """
        return tio_conn_held(self.c)

    @property
    def needs_turn(self):
        """Whether progress is possible that no new input will announce."""
        return self.reported_open and tio_conn_next(self.c) & TIO_NEXT_TURN != 0

    # ---- answers

    def answer_hello(self, Context context=None, bytes protocol=None):
        if protocol is not None:
            _sized("The protocol", protocol, 1, 255)
        tio_answer_hello(self.c, context.ptr if context is not None else NULL,
                         <const uint8_t *>PyBytes_AS_STRING(protocol) if protocol is not None else NULL,
                         PyBytes_GET_SIZE(protocol) if protocol is not None else 0)

    def answer_verify(self, int error):
        tio_answer_verify(self.c, error)

    def answer_session(self, bytes der not None):
        """Answer with the session found for `asked_session`, before `answer_hello`. False: the
        bytes are not a session.
        """
        return _is_session_size(der) and tio_answer_session(self.c, _start(der), <size_t>len(der)) == 0

    def answer_store(self):
        tio_answer_store(self.c)

    @property
    def signing(self):
        """(key, scheme, message, size of the longest signature), during ASK_SIGN."""
        cdef const tio_signing *wanted = tio_conn_signing(self.c)
        if wanted == NULL:
            return None
        return (_signers.get(wanted.key), wanted.scheme.decode("ascii"), (<const char *>wanted.message)[:wanted.message_size],
                wanted.longest)

    @property
    def signs_here(self):
        """Whether this thread asked for the signature: in another one, any answer breaks the
        connection.
        """
        return tio_conn_signs_here(self.c) != 0

    def answer_sign(self, bytes signature not None):
        """False: it is not a signature of the message by this key, and the question stays open."""
        return tio_answer_sign(self.c, _start(signature), <size_t>len(signature)) == 0

    def answer_job(self):
        tio_answer_job(self.c)

    def answer_client(self):
        tio_answer_client(self.c)

    def answer_status(self, responses=()):
        """Server: staple these responses, one or None for each of `identities`. Client: accept the
        response.
        """
        cdef bytes response
        for index, response in enumerate(responses):
            if response is not None:
                _sized("An OCSP response", response, 1, _MAX_STATUS)
            if response is not None and tio_status_set(self.c, index, response, PyBytes_GET_SIZE(response)):
                raise MemoryError
        tio_answer_status(self.c)

    def refuse(self, uint8_t alert):
        tio_refuse(self.c, alert)

    def resume(self):
        """Continue after an answer that was given after `_asked` had returned."""
        self._resume()

    # ---- the end

    def destroy(self, bint linger=False):
        """Release the descriptor or the driver at once. `linger`: gathered output and FIN are still
        sent.
        """
        if tio_in_psk_callback():
            self.later(self._destroy_late, linger)
            return
        if linger:
            self._encrypt_small()
        if self.driver is not None:
            if linger:
                self._send()
            else:
                self.silent = True
        self._release_descriptor(linger)
        tio_conn_abandon(self.c)
        self.driver = None
        self._drop_queue()

    def _destroy_late(self, bint linger):
        self.destroy(linger)
        if self.gate is not None:
            self.gate._check_closed()

    def release(self):
        """Drop the reference to the owner, which is closed: nothing more is reported, and no
        reference cycle is left.
        """
        self.flow = self.owner = self.context_vars = self.on_send_failure = None
        self.waiting = self.wants_drain = False
        tio_conn_want(self.c, 0, 0)
        self.reported_open = self.reported_end = self.reported_broken = self.reported_finished = True

    def fault(self):
        """Return what broke the connection, as a `model.faults.Fault`; None if nothing did."""
        return fault_of(self.c, self.reported_open) if tio_conn_phase(self.c) == TIO_BROKEN else None


cdef bint enter(context) except -1:
    """Enter a connection's context variables. False: there are none, or this code runs in them
    already.
    """
    if context is None:
        return False
    try:
        PyContext_Enter(context)
    except RuntimeError:
        return False
    return True


def run_in(context, call, *args):
    """Call in a connection's context variables, unless this code runs in them already (in a
    listener that runs the loop).
    """
    cdef bint entered = enter(context)
    try:
        return call(*args)
    finally:
        if entered:
            PyContext_Exit(context)
