# One TLS connection: the engine's tio_conn, the queue of plaintext above it, and the way its news reach the socket.
#
# The socket (`owner`) is told by calls of `_asked`, `_opened`, `_readable`, `_drained`, `_input_ended`, `_broken` and
# `_listener_failed`.  They come from one place, `_handle`/`_settle`, never from inside an engine call.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.contextvars cimport PyContext_Enter, PyContext_Exit
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from libc.string cimport memcpy

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize_ "PyBytes_FromStringAndSize"(const char *, Py_ssize_t)
    char *PyBytes_AS_STRING_ "PyBytes_AS_STRING"(PyObject *)
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1
    int PyCoro_CheckExact(object)

cdef int PUSH_BUDGET = 1048576          # plaintext a run of writes sends in a turn, then the others have theirs
cdef int BIG_READ = 8192                # from here on the next chunk is read without the small buffer
cdef int FIRST_READ = 2048              # most messages are smaller: one copy, and an object of just the right size
cdef int FLOW_BUDGET = 262144           # plaintext one connection gets in a turn, then the others have theirs

ASK_HELLO = TIO_ASK_HELLO
ASK_VERIFY = TIO_ASK_VERIFY
ASK_CLIENT = TIO_ASK_CLIENT
ASK_STATUS = TIO_ASK_STATUS
ASK_STORE = TIO_ASK_STORE

SESSIONS = TIO_WANT_SESSIONS
STATEFUL = TIO_STATEFUL
STATEFUL_13 = TIO_STATEFUL_13

cdef tuple FAULT_KINDS = ("ssl", "alert", "verify", "hangup", "os", "limit", "timeout", "refused", "memory")
cdef tuple FAULT_LIMITS = ("", "handshake_bytes", "key_updates", "partial_record", "dh_size", "renegotiations", "renegotiation_off")


@cython.no_gc_clear
cdef class Connection:
    cdef tio_conn *c
    cdef Reactor reactor                # native driver, while attached; None over memory
    cdef Gate gate
    cdef object driver                  # portable driver, or None
    cdef readonly object owner
    cdef object context_vars
    cdef object flow                    # called with each chunk of plaintext, or None
    cdef object queue                   # bytes objects not yet taken by the engine
    cdef Py_ssize_t queued, head        # bytes in the queue not yet taken; how much of its first is
    cdef Py_ssize_t high_water, last_size, pushed
    cdef bint attached, dirty, waiting, ending, closing, pumping, told_open, told_end, told_broken, told_done, told_unsent, wants_drain
    cdef uint8_t told_question          # the one the owner is thinking about
    cdef bytes psk_hint                 # what the engine's points to
    cdef object __weakref__

    def __cinit__(self):
        self.high_water = 65536

    def __init__(self, Context context, bint is_server, object driver=None):
        self.c = tio_conn_new(context.ptr, TIO_SERVER if is_server else TIO_CLIENT)
        if self.c == NULL:
            raise MemoryError
        self.c.owner = <void *>self
        self.c.ask_psk = find_psk
        self.driver = driver

    def __dealloc__(self):
        tio_conn_free(self.c)

    @staticmethod
    cdef Connection wrap(Reactor reactor, Gate gate, tio_conn *c):
        cdef Connection self = Connection.__new__(Connection)
        self.c = c
        self.gate = gate
        self._attached_to(reactor)
        return self

    cdef void _attached_to(self, Reactor reactor):
        # The reactor's reference: what is open stays alive, and is never collected while another thread works on it.
        self.c.owner = <void *>self
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
        self.high_water = high_water

    def attach(self, Reactor reactor, int fd):
        reactor._check()
        if tio_reactor_add(reactor.r, self.c, fd):
            raise OSError(errno, os.strerror(errno))
        self._attached_to(reactor)

    def set_server_name(self, str name not None):
        if tio_conn_set_server_name(self.c, name.encode("ascii")):
            raise MemoryError

    def set_identity(self, Context context not None):
        """Show the certificates of `context`; False: it is too late."""
        if self.c.phase != TIO_IDLE and self.c.question != TIO_ASK_HELLO:
            return False
        ERR_clear_error()
        if tio_conn_set_identity(self.c, context.ptr):
            raise _refused("Cannot show the certificate of that context")
        return True

    def set_min_dh_size(self, int bits):
        self.c.min_dh_bits = bits

    def set_session(self, bytes der not None):
        """Resume it, if the server will; whether that is a session at all."""
        return tio_conn_set_session(self.c, _start(der), <size_t>len(der)) == 0

    def want_sessions(self):
        """Hand those that the server gives to `_sessions_made`, from now on."""
        self.c.wants |= TIO_WANT_SESSIONS

    def set_wants(self, bint hello, bint alpn, bint client, bint status, bint psk, bint alpn_continue, uint16_t sessions=0):
        self.c.wants = (self.c.wants & WANT_RECORDS | TIO_WANT_HELLO * hello | TIO_WANT_ALPN * alpn | TIO_WANT_CLIENT * client
                        | TIO_WANT_STATUS * status | TIO_WANT_PSK * psk | sessions)
        self.c.alpn_continue = alpn_continue

    def request_status(self):
        """Client: ask for an OCSP response."""
        self.c.wants |= TIO_WANT_STATUS

    def use_keys(self):
        """Client: ask the owner for a pre-shared key."""
        self.c.wants |= TIO_WANT_PSK

    def set_psk_hint(self, bytes hint):
        self.psk_hint = hint
        self.c.psk_hint = PyBytes_AS_STRING(hint) if hint is not None else NULL

    def set_renegotiation(self, uint32_t limit, double window):
        """How often the peer may renegotiate within `window` seconds; 0: not at all."""
        self.c.renegotiation.limit = limit
        self.c.renegotiation.window_ns = <int64_t>(window * 1e9)

    def refuse_renegotiation(self):
        """A renegotiation by the peer ends the connection from now on."""
        tio_conn_refuse_renegotiation(self.c)

    def reshake(self, verify, bint soft):
        """Ask for another handshake. `verify`: SSL_VERIFY_* bits, None as it is. OpenSSL's reason when it cannot be, else None."""
        cdef unsigned long code = 0
        if tio_asking():
            return "not now"
        if tio_conn_reshake(self.c, -1 if verify is None else verify, soft, &code):
            return text_of(ERR_reason_error_string(code)) or "not now"
        self._schedule()
        return None

    def record(self, bint keys=False, bint offer=False, bint trace=False):
        """From now on. Lines of the key log go to `_keylogged`, a trace to `_traced`; the hello is `offer`."""
        if trace:
            _check_trace()
        tio_conn_record(self.c, TIO_WANT_KEYS * keys | TIO_WANT_OFFER * offer | TIO_WANT_TRACE * trace)

    @property
    def offer(self):
        """The client's hello, where it was recorded."""
        cdef tio_records *records = self.c.records
        return (<const char *>records.offer)[:records.offer_size] if records != NULL and records.offer != NULL else None

    def start(self):
        self._resume()

    # ---- news

    cdef object _handle(self, uint32_t what):
        context = self.context_vars
        if context is not None:
            PyContext_Enter(context)
        try:
            if what & TIO_NOTICE_FAILED:
                self._detached()
            else:
                if what & TIO_NOTICE_QUESTION:
                    self._ask()
                self._tell_open()
                if what & TIO_NOTICE_READABLE:
                    self._input()
            self._settle()
        finally:
            if context is not None:
                PyContext_Exit(context)

    cdef object _ask(self):
        """Put the question that is open to the owner, once."""
        cdef uint8_t question = self.c.question
        if self.c.recorded:
            self._tell_records()
        while question != TIO_NO_QUESTION and question != self.told_question and self.owner is not None:
            self.told_question = question
            self.owner._asked(question)
            if self.c.question == question:
                return                  # the answer comes later
            self.told_question = TIO_NO_QUESTION
            self._step()
            question = self.c.question

    cdef object _tell_records(self):
        cdef const uint8_t *data
        cdef size_t size = tio_conn_keys(self.c, &data)
        if size:
            lines = (<const char *>data)[:size]
            tio_conn_keys_told(self.c)
            if self.owner is not None:
                self.owner._keylogged(lines)
        size = tio_conn_trace(self.c, &data)
        if size:
            text = (<const char *>data)[:size]
            tio_conn_trace_told(self.c)
            if self.owner is not None:
                self.owner._traced(text)
        if self.told_open and self.c.sessions != NULL and self.c.role == TIO_CLIENT:
            made = self.take_sessions()
            if self.owner is not None:
                for _, der, lifetime in made:
                    self.owner._session_made(der, lifetime)

    def take_sessions(self):
        """(id, DER, seconds it may live) of each session that was made and not fetched yet: secrets."""
        taken = sessions_of(self.c)
        tio_conn_sessions_told(self.c)
        return taken

    cdef object _tell_open(self):
        if self.c.recorded:
            self._tell_records()
        if not self.told_open and self.c.phase == TIO_OPEN:
            self.told_open = True
            if self.gate is not None:
                self.gate._opened(self.c)
            self.owner._opened()
            if self.c.recorded:         # sessions of TLS 1.2 were made in the handshake
                self._tell_records()

    cdef void _step(self):
        if self.reactor is not None and self.attached:
            tio_reactor_resume(self.reactor.r, self.c)
            return
        tio_conn_step(self.c)
        while self.c.wire.tired and self.c.phase == TIO_HANDSHAKING and self.c.question == TIO_NO_QUESTION:
            tio_conn_step(self.c)       # nothing will announce what is left

    cdef object _resume(self):
        """Go on after an answer or a start from outside a turn."""
        if tio_asking():
            self.later(self.resume)
            return
        self.told_question = TIO_NO_QUESTION
        if self.driver is not None:
            self._fed()
            self._schedule()            # and the driver's own part of a turn: there may be room for input again
            return
        self._step()
        self._ask()
        self._tell_open()
        self._settle()
        if self.attached and tio_reactor_has_ready(self.reactor.r):
            self._schedule()            # what was received behind the question is of no news to the kernel

    cdef object _input(self):
        if self.flow is not None and not self.closing:
            self._pump_in()
        elif self.waiting:
            self.waiting = False
            if self.reactor is not None:
                self.reactor.woke = True
            self.owner._readable()
        else:
            self._step()

    cdef object _pump_in(self):
        cdef Py_ssize_t budget = FLOW_BUDGET
        cdef bytes chunk
        owner = self.owner              # a listener may close it, and raise all the same
        if self.pumping:
            return
        self.pumping = True
        try:
            while self.flow is not None:
                chunk = self._read(FLOW_BUDGET)
                if chunk is None:
                    break
                budget -= PyBytes_GET_SIZE(chunk)
                if budget <= 0:         # what was received is still read, so that nothing has to be put aside
                    self.c.wire.dry = True
                try:
                    result = self.flow(chunk)
                    if PyCoro_CheckExact(result):
                        owner._await_listener(result)
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:
                    owner._listener_failed(error)
        finally:
            self.pumping = False

    cdef object _settle(self):
        """Bring out what has gathered, then tell what has become of the connection."""
        cdef Py_ssize_t moved = 0
        self.dirty = False
        self.pushed = 0
        if self.c.recorded:
            self._tell_records()
        if self.c.phase == TIO_OPEN:
            moved = self._pump_out()
        if self.c.phase != TIO_BROKEN:
            self._carry()
        if moved and self.queued and self.attached and self.c.wire.out_end == self.c.wire.out_start:
            self._schedule()            # there is more, and the kernel, which took all there was, will tell nothing
        if self.told_open and (self.c.question != TIO_NO_QUESTION or self.c.reshaken):
            self._tell_reshaken()
        if self.c.phase == TIO_BROKEN:
            self._let_go(True)
            if self.driver is not None:
                self._send()
            if not self.told_broken:
                self.told_broken = True
                self.owner._broken()
            return
        if self.c.input != TIO_IN_OPEN and not self.told_end:
            self.told_end = True
            self.owner._input_ended(self.c.input == TIO_IN_TRUNCATED)
        if self.c.output == TIO_OUT_ENDED and self.c.input != TIO_IN_OPEN and not self.told_done:
            self.told_done = True
            self.owner._finished()
            return
        if self.wants_drain and (self.writable_length <= self.high_water or self.c.wire.out_error):
            self.wants_drain = False
            self.owner._drained()

    cdef object _tell_reshaken(self):
        """Another handshake is done: who came is asked about, then it is told."""
        self._ask()
        if self.c.reshaken and self.c.question == TIO_NO_QUESTION and self.c.phase == TIO_OPEN and self.owner is not None:
            self.c.reshaken = False
            self._carry()
            self.owner._reshaken()

    cdef object _carry(self):
        """Give what has gathered to whoever sends. When that fails, the peer may have said why: look before it is told."""
        if self.attached:
            tio_reactor_update(self.reactor.r, self.c)
        elif self.driver is not None:
            self._send()
            tio_conn_settle(self.c)
        if self.c.wire.out_error and not self.told_unsent:
            self.told_unsent = True
            self._step()

    cdef object _send_all(self):
        cdef const uint8_t *data
        cdef size_t size = tio_conn_output(self.c, &data)
        if size:
            chunk = PyBytes_FromStringAndSize(<const char *>data, size)
            tio_conn_sent(self.c, size)
            self.driver.send(chunk)

    cdef object _send(self):
        if not self.driver.blocked:
            self._send_all()
        if tio_conn_wants_fin(self.c):
            tio_conn_fin_sent(self.c)
            self.driver.send_eof()

    cdef void _let_go(self, bint wait):
        if self.attached:
            tio_reactor_drop(self.reactor.r, self.c, wait)
            self.reactor._left()
            self._detached()

    def later(self, call, *args):
        """Do it when the call of OpenSSL is over that somebody's `psk_callback` runs in."""
        if self.driver is not None:
            self.driver.later(call, *args)
        elif self.attached:
            self.reactor.later(call, *args)

    cdef object _schedule(self):
        if self.dirty:
            return
        self.dirty = True
        if self.driver is not None:
            self.driver.schedule(self)
        elif self.reactor is not None:
            self.reactor._schedule(self)

    def settle(self):
        """For the portable driver: a turn, when something was written or sent, or a reader has come."""
        if self.told_open and self.c.phase != TIO_BROKEN and (not self.waiting or self._has_input()):
            self._input()
        self._settle()

    cdef bint _has_input(self):
        """There is something for a reader, or its end."""
        return (self.c.wire.in_size > 0 or self.c.standing or tio_conn_pending(self.c) > 0 or self.c.input != TIO_IN_OPEN
                or self.c.wire.eof or self.c.wire.error)

    # ---- the portable driver's side

    def feed(self, const uint8_t[::1] data not None):
        """Take ciphertext, and do all that follows from it."""
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
        """Nobody is there any more to hear the answer of a handshake's question."""
        if self.c.phase == TIO_HANDSHAKING and self.c.question != TIO_NO_QUESTION:
            tio_conn_break(self.c, TIO_FAULT_OS if error else TIO_FAULT_HANGUP, TIO_NO_LIMIT, error)

    def unsent(self, int error):
        tio_conn_unsent(self.c, error)
        self._settle()

    def expire(self):
        """The handshake's time is over."""
        if self.c.phase == TIO_IDLE or self.c.phase == TIO_HANDSHAKING:
            tio_conn_break(self.c, TIO_FAULT_TIMEOUT, TIO_NO_LIMIT, 0)
            self._settle()

    cdef object _fed(self):
        cdef bint handshake = self.c.phase == TIO_IDLE or self.c.phase == TIO_HANDSHAKING
        try:
            if handshake:
                self._step()
                self._ask()
                self._tell_open()
            if self.told_open and self.c.phase != TIO_BROKEN:
                self._input()
        finally:
            tio_conn_settle(self.c)
        self._settle()

    @property
    def held_input(self):
        """Ciphertext bytes that wait for somebody to read: the driver stops its stream when they are many."""
        return self.c.wire.in_size

    @property
    def needs_turn(self):
        """There are bytes to go on with that no new input will announce."""
        return ((self.c.phase == TIO_OPEN or self.c.phase == TIO_CLOSING) and self.c.input == TIO_IN_OPEN
                and self.c.question == TIO_NO_QUESTION and (self.c.wire.in_size > 0 or tio_conn_pending(self.c) > 0)
                and (self.flow is not None or not self.c.standing))

    # ---- answers

    def answer_hello(self, Context context=None, bytes protocol=None):
        tio_answer_hello(self.c, context.ptr if context is not None else NULL,
                         <const uint8_t *>PyBytes_AS_STRING(protocol) if protocol is not None else NULL,
                         PyBytes_GET_SIZE(protocol) if protocol is not None else 0)

    def answer_verify(self, int error):
        tio_answer_verify(self.c, error)

    def answer_session(self, bytes der not None):
        """What was found for `asked_session`; whether that is a session at all. Before `answer_hello`."""
        return tio_answer_session(self.c, _start(der), <size_t>len(der)) == 0

    def answer_store(self):
        tio_answer_store(self.c)

    def answer_client(self):
        tio_answer_client(self.c)

    def answer_status(self, responses=()):
        """Server: staple these, one or None for each of `identities`. Client: the response is accepted."""
        cdef bytes response
        for index, response in enumerate(responses):
            if response is not None and tio_status_set(self.c, index, response, PyBytes_GET_SIZE(response)):
                raise MemoryError
        tio_answer_status(self.c)

    def refuse(self, int alert):
        tio_refuse(self.c, alert)

    def resume(self):
        """Go on after an answer that came later than the question's own call."""
        self._resume()

    # ---- plaintext in

    cdef bytes _read(self, Py_ssize_t limit):
        if self.last_size >= BIG_READ and limit >= TIO_RECORD:
            return self._read_big()
        cdef char first[2048]
        cdef size_t n, more
        cdef bytes chunk
        n = tio_conn_read(self.c, first, limit if limit < FIRST_READ else FIRST_READ)
        if n == 0:
            return None
        more = tio_conn_pending(self.c)
        if more > limit - n:
            more = limit - n
        chunk = PyBytes_FromStringAndSize(NULL, n + more)
        memcpy(PyBytes_AS_STRING(chunk), first, n)
        if more:
            tio_conn_read(self.c, PyBytes_AS_STRING(chunk) + n, more)
        self.last_size = n + more
        return chunk

    cdef bytes _read_big(self):
        """After a full record another is likely: straight into the object that the user gets."""
        cdef PyObject *chunk = PyBytes_FromStringAndSize_(NULL, TIO_RECORD)
        cdef size_t n
        if chunk == NULL:
            raise MemoryError
        n = tio_conn_read(self.c, PyBytes_AS_STRING_(chunk), TIO_RECORD)
        self.last_size = n
        if n == 0:
            Py_XDECREF(chunk)
            return None
        if n < TIO_RECORD:
            _PyBytes_Resize(&chunk, n)
            if chunk == NULL:
                raise MemoryError
        result = <bytes>chunk
        Py_XDECREF(chunk)
        return result

    def read(self, Py_ssize_t limit):
        """Up to `limit` bytes, or None: nothing now."""
        cdef bytes chunk
        if self.closing or tio_asking():
            return None                 # what still comes is thrown away; or it cannot be had now
        if self.c.wire.dry and not self.c.wire.in_size and not self.c.standing and self.c.input == TIO_IN_OPEN \
                and tio_conn_pending(self.c) == 0:
            return None
        chunk = self._read(limit)
        if self.c.wire.borrowed:
            tio_conn_settle(self.c)
        if self.c.parked or self.c.phase == TIO_BROKEN or self.c.wire.in_size or self.c.input != TIO_IN_OPEN or self.c.wire.eof \
                or self.c.wire.out_end > self.c.wire.out_start or self.c.question != TIO_NO_QUESTION or self.c.reshaken:
            self._schedule()            # it has become something else, or has something to answer (KeyUpdate, renegotiation)
        return chunk

    def await_input(self):
        """Call `_readable` when there may be something to read."""
        self.waiting = True
        self.c.flowing = True
        if self.c.parked or self._has_input():
            self._schedule_input()

    def cancel_await(self):
        self.waiting = False
        self.c.flowing = self.flow is not None

    def set_flow(self, flow):
        """Hand each chunk of plaintext to `flow`; None stops."""
        self.flow = flow
        self.c.flowing = flow is not None or self.waiting
        if flow is not None and not self.pumping and self.c.phase == TIO_OPEN:
            self._schedule_input()

    @property
    def has_flow(self):
        return self.flow is not None

    cdef object _schedule_input(self):
        if self.reactor is not None and self.attached:
            self.reactor.inputs.append(self)
        self._schedule()

    # ---- plaintext out

    def write(self, data):
        """Queue plaintext; whether less than the high-water mark waits now."""
        cdef bytes chunk
        cdef Py_ssize_t size, done = 0
        if type(data) is bytes:
            chunk = data
        else:
            chunk = memoryview(data).tobytes()
        size = PyBytes_GET_SIZE(chunk)
        if self.queued == 0 and self.c.phase == TIO_OPEN and not tio_asking():
            done = tio_conn_write(self.c, PyBytes_AS_STRING(chunk), size)
        if done < size and not self.c.wire.out_error:
            self._enqueue(chunk, done)
        if not self.dirty:
            self._schedule()
        if self.writable_length > self.high_water and self.attached and self.pushed < PUSH_BUDGET and not tio_asking():
            self._push_out()
        if self.writable_length > self.high_water:
            self.wants_drain = True
            return False
        return not self.c.wire.out_error

    def await_drain(self):
        """Call `_drained` when at most the high-water mark waits."""
        self.wants_drain = True

    cdef void _push_out(self):
        """A long run of writes: send what has gathered before it becomes too much."""
        cdef uint64_t before = self.c.wire.bytes_out
        while tio_conn_flush(self.c) == 1 and self.queued and self._pump_out():
            pass
        self.pushed += self.c.wire.bytes_out - before

    cdef object _enqueue(self, bytes chunk, Py_ssize_t done):
        if self.queue is None:
            self.queue = collections.deque()
        if self.queued == 0:
            self.head = done
        self.queue.append(chunk)
        self.queued += PyBytes_GET_SIZE(chunk) - done

    cdef Py_ssize_t _pump_out(self):
        """Move the queue into the engine as far as it takes it; then the end, if that is due."""
        cdef bytes chunk
        cdef Py_ssize_t size, done, total = 0
        if self.c.wire.out_error:
            self.queue = None
            self.queued = 0
        while self.queued:
            chunk = self.queue[0]
            size = PyBytes_GET_SIZE(chunk) - self.head
            done = tio_conn_write(self.c, PyBytes_AS_STRING(chunk) + self.head, size)
            total += done
            self.queued -= done
            if done < size:
                self.head += done
                break
            self.queue.popleft()
            self.head = 0
        if not self.queued:
            self.queue = None
            if self.closing:
                tio_conn_close(self.c)
            elif self.ending:
                tio_conn_end(self.c)
        return total

    def end(self):
        self.ending = True
        self._schedule()

    def close(self):
        """End, and throw away what still comes."""
        self.closing = True
        self._schedule()

    def destroy(self, bint linger=False):
        """Let the descriptor or the driver go at once. `linger`: what has gathered, and FIN, still leave."""
        if tio_asking():
            self.later(self._destroy_late, linger)
            return
        if linger and self.attached:
            tio_conn_flush(self.c)
        elif linger and self.driver is not None:
            self._send_all()
        self._let_go(linger)
        self.driver = None
        self.queue = None
        self.queued = 0

    def _destroy_late(self, bint linger):
        self.destroy(linger)
        if self.gate is not None:
            self.gate._check_closed()

    def release(self):
        """Forget the owner, who is closed for good: no news any more, and no cycle to be collected."""
        self.flow = self.owner = self.context_vars = None
        self.c.flowing = self.waiting = self.wants_drain = False
        self.told_open = self.told_end = self.told_broken = self.told_done = True

    @property
    def holds_plaintext(self):
        """Something was written that is not encrypted yet."""
        return self.queued > 0

    @property
    def writable_length(self):
        """Bytes that wait: plaintext in the queue and ciphertext not yet sent."""
        return self.queued + <Py_ssize_t>(self.c.wire.out_end - self.c.wire.out_start)

    # ---- facts

    @property
    def is_server(self):
        return self.c.role == TIO_SERVER

    @property
    def input_ended(self):
        return self.c.input != TIO_IN_OPEN

    @property
    def truncated(self):
        return self.c.input == TIO_IN_TRUNCATED

    @property
    def output_ended(self):
        return self.c.output == TIO_OUT_ENDED

    @property
    def out_error(self):
        """errno of a send that failed, or 0."""
        return self.c.wire.out_error

    @property
    def bytes_read(self):
        return self.c.bytes_read

    @property
    def bytes_written(self):
        return self.c.bytes_written

    @property
    def wire_bytes_read(self):
        return self.c.wire.bytes_in

    @property
    def wire_bytes_written(self):
        return self.c.wire.bytes_out

    @property
    def last_activity(self):
        """When plaintext last moved, on the loop's clock."""
        return self.c.last_activity / 1e9

    @property
    def fileno(self):
        """The descriptor, -1 when there is none (any more)."""
        return self.c.wire.fd

    def use_ring(self, Gate gate not None):
        """Ticket keys are those of a server."""
        self.gate = gate
        self.c.gate = &gate.gate

    @property
    def server_name(self):
        return self.c.server_name.decode("ascii") if self.c.server_name != NULL else None

    @property
    def offered_protocols(self):
        """ALPN names of the hello, while they are asked about."""
        cdef size_t at = 0, size
        names = []
        while at < self.c.offered_size:
            size = self.c.offered[at]
            names.append(self.c.offered[at + 1:at + 1 + size])
            at += 1 + size
        return names

    @property
    def identities(self):
        """Server, while responses are asked for: (certificate, issuer or None) in DER; the client is shown one of them."""
        return identities_of(self.c.status) if self.c.status != NULL else ()

    @property
    def stapled(self):
        """Client, while it is asked about it: the server's OCSP response, or None."""
        cdef const uint8_t *data
        cdef size_t size = tio_status_get(self.c, &data)
        return (<const char *>data)[:size] if size else None

    @property
    def alpn_protocol(self):
        cdef const unsigned char *name = NULL
        cdef unsigned int size = 0
        if self.c.ssl == NULL:
            return None
        SSL_get0_alpn_selected(self.c.ssl, &name, &size)
        return (<const char *>name)[:size] if size else None

    @property
    def npn_protocol(self):
        cdef const uint8_t *name = NULL
        cdef size_t size = tio_conn_npn(self.c, &name)
        return (<const char *>name)[:size] if size else None

    @property
    def protocol(self):
        return SSL_get_version(self.c.ssl).decode() if self.c.ssl != NULL else None

    @property
    def cipher(self):
        """(OpenSSL's name, the standard's name, first version that has it), or None."""
        cdef const SSL_CIPHER *cipher = SSL_get_current_cipher(self.c.ssl) if self.c.ssl != NULL else NULL
        if cipher == NULL:
            return None
        return (SSL_CIPHER_get_name(cipher).decode(), SSL_CIPHER_standard_name(cipher).decode(),
                SSL_CIPHER_get_version(cipher).decode())

    @property
    def session_reused(self):
        return self.c.ssl != NULL and SSL_session_reused(self.c.ssl) == 1

    @property
    def resumed(self):
        """The verdict on the peer is the one of an earlier connection.

        An external pre-shared key only looks like that. And a server that asks later (TLS 1.3) verifies what it is shown then.
        """
        if self.c.role == TIO_SERVER and self.c.verify != NULL:
            return False
        return self.session_reused and not self.psk_used

    @property
    def memory(self):
        """Client: what a session has to remember of the chain that was verified.

        Returns:
            POSIX seconds of the first notAfter, entries for `Lists.passes`, SHA-256 of each SPKI, leaf first.
        """
        return memory_of(self.c)

    @property
    def psk_used(self):
        """An external pre-shared key has shown who the peer is."""
        return tio_conn_psk_used(self.c) == 1

    @property
    def asked_session(self):
        """Id of the session that the client wants to resume, while the hello is asked about; None: it names none."""
        cdef tio_sessions *sessions = self.c.sessions
        return sessions.asked[:sessions.asked_size] if sessions != NULL and sessions.asked_size else None

    @property
    def session(self):
        """DER of the session as it is now, or None: a secret."""
        cdef SSL_SESSION *session = SSL_get0_session(self.c.ssl) if self.c.ssl != NULL else NULL
        cdef unsigned char *der = NULL
        cdef int size = i2d_SSL_SESSION(session, &der) if session != NULL else 0
        if size <= 0:
            return None
        try:
            return (<const char *>der)[:size]
        finally:
            OPENSSL_free(der)

    @property
    def ticket(self):
        """The session's ticket, or None."""
        cdef SSL_SESSION *session = SSL_get0_session(self.c.ssl) if self.c.ssl != NULL else NULL
        cdef const unsigned char *ticket = NULL
        cdef size_t size = 0
        if session != NULL:
            SSL_SESSION_get0_ticket(session, &ticket, &size)
        return (<const char *>ticket)[:size] if size else None

    @property
    def asks_certificate(self):
        """The peer is asked for its certificate: always, by a client."""
        return self.c.ssl != NULL and SSL_get_verify_mode(self.c.ssl) & SSL_VERIFY_PEER != 0

    @property
    def peer_certificate(self):
        """DER of the peer's own certificate, or None."""
        return der_of(SSL_get0_peer_certificate(self.c.ssl)) if self.c.ssl != NULL else None

    @property
    def peer_chain(self):
        """DER of all certificates the peer sent, its own first. Empty when resumed."""
        if self.c.ssl == NULL:
            return ()
        chain = ders_of(SSL_get_peer_cert_chain(self.c.ssl))
        own = self.peer_certificate
        if own is not None and chain[:1] != (own,):     # a server's peer, or who has resumed
            chain = (own, *chain)
        return chain

    @property
    def verified_chain(self):
        """DER of the chain as it was verified, leaf first; () when there is none."""
        if self.c.verify != NULL and self.c.verify.chain != NULL:
            return ders_of(self.c.verify.chain)
        return ders_of(SSL_get0_verified_chain(self.c.ssl)) if self.c.ssl != NULL else ()

    @property
    def certificate(self):
        """DER of our own certificate, or None."""
        return der_of(SSL_get_certificate(self.c.ssl)) if self.c.ssl != NULL else None

    @property
    def verify_errors(self):
        """(X509_V_ERR number, depth) in the order found."""
        if self.c.verify == NULL:
            result = self._resumed_result()
            return () if result in (X509_V_OK, X509_V_ERR_CERT_REJECTED) else ((result, 0),)
        return tuple([(self.c.verify.errors[i].error, self.c.verify.errors[i].depth) for i in range(self.c.verify.count)])

    @property
    def key_info(self):
        """(kind, name or None, bits) of the ephemeral key, or None."""
        return key_info_of(self.c)

    @property
    def shared_sigalgs(self):
        return sigalgs_of(self.c.ssl) if self.c.ssl != NULL else []

    @property
    def finished(self):
        """(ours, the peer's): bytes, or None."""
        return (finished_of(self.c.ssl, False), finished_of(self.c.ssl, True)) if self.c.ssl != NULL else (None, None)

    @property
    def has_extended_master_secret(self):
        """RFC 7627, or TLS 1.3, which has it always."""
        return SSL_version(self.c.ssl) >= TLS1_3_VERSION or SSL_get_extms_support(self.c.ssl) == 1

    def export_keying_material(self, Py_ssize_t length, bytes label not None, bytes context=None):
        return exported_of(self.c.ssl, length, label, context)

    def set_max_send_fragment(self, long size):
        return tio_conn_set_max_fragment(self.c, size) == 0

    @property
    def pins_failed(self):
        if self.c.verify == NULL:
            return self._resumed_result() == X509_V_ERR_CERT_REJECTED
        return self.c.verify.pins_failed != 0

    cdef long _resumed_result(self):
        """What on_certificate found when the session was made; it passed only where nothing is insisted on."""
        return SSL_get_verify_result(self.c.ssl) if self.resumed else X509_V_OK

    @property
    def peer_address(self):
        return address_of(&self.c.peer)

    @property
    def local_address(self):
        return address_of(&self.c.local)

    def fault(self):
        """What broke the connection, as a `model.values.Fault`; None while nothing did."""
        return fault_of(self.c, self.told_open) if self.c.phase == TIO_BROKEN else None


cdef list sessions_of(tio_conn *c):
    cdef const tio_session *made
    cdef size_t i, count = tio_conn_sessions(c, &made)
    return [(made[i].id[:made[i].id_size], (<const char *>made[i].der)[:made[i].size], made[i].lifetime) for i in range(count)]


cdef object fault_of(tio_conn *c, bint opened):
    cdef tio_fault *f = c.fault
    cdef tio_fault_entry *first = NULL
    if f == NULL:
        return Fault(kind="memory", role="server" if c.role == TIO_SERVER else "client", opened=opened)
    if f.count:
        first = &f.entries[0]
    return Fault(
        kind=FAULT_KINDS[f.kind],
        role="server" if c.role == TIO_SERVER else "client",
        opened=opened,
        library=text_of(ERR_lib_error_string(first.code)) if first != NULL else "",
        reason=text_of(ERR_reason_error_string(first.code)) if first != NULL else "",
        reason_code=ERR_GET_REASON(first.code) if first != NULL else 0,
        stack=tuple([entry_text(&f.entries[i]) for i in range(f.count)]),
        alert_sent=c.alert_sent,
        alert_received=c.alert_received,
        verify_errors=tuple([(c.verify.errors[i].error, c.verify.errors[i].depth) for i in range(c.verify.count)])
        if c.verify != NULL else (),
        os_errno=f.os_error,
        first_bytes=c.first[:c.first_size],
        limit=FAULT_LIMITS[f.limit],
        certificate_requested=c.certificate_requested != 0,
        psk=c.psk != NULL,
    )


cdef str text_of(const char *text):
    return text.decode("ascii", "replace") if text != NULL else ""


cdef str entry_text(tio_fault_entry *entry):
    """As OpenSSL prints it: error:0A00010B:SSL routines:ssl3_get_record:wrong version number:data."""
    line = f"error:{entry.code:08X}:{text_of(ERR_lib_error_string(entry.code))}:{text_of(entry.function)}:"
    line += text_of(ERR_reason_error_string(entry.code))
    return f"{line}:{text_of(entry.data)}" if entry.data[0] else line


cdef bytes der_of(const X509 *certificate):
    cdef unsigned char *der = NULL
    cdef int size
    if certificate == NULL:
        return None
    size = i2d_X509(certificate, &der)
    if size < 0:
        ERR_clear_error()
        return None
    try:
        return (<const char *>der)[:size]
    finally:
        OPENSSL_free(der)


cdef tuple identities_of(const tio_status *status):
    return tuple([(der_of(status.of[i].cert), der_of(status.of[i].issuer)) for i in range(status.count)])


cdef tuple ders_of(const X509_STACK *chain):
    if chain == NULL:
        return ()
    return tuple([der_of(sk_X509_value(chain, i)) for i in range(sk_X509_num(chain))])


cdef object address_of(const sockaddr_in6 *address):
    """(host, port) as the socket module has it, "" for a Unix socket, None when unknown."""
    cdef char text[64]
    cdef const sockaddr_in *four = <const sockaddr_in *>address
    if address.sin6_family == AF_INET:
        inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text))
        return (text.decode(), ntohs(four.sin_port))
    if address.sin6_family == AF_INET6:
        inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text))
        return (text.decode(), ntohs(address.sin6_port), ntohl(address.sin6_flowinfo), address.sin6_scope_id)
    return "" if address.sin6_family == AF_UNIX else None
