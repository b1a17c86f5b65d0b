# Plaintext in and out: the queue above the engine, single reads, and the flow into a `data`
# listener.
#
# Every object that holds plaintext is sized by what a read has returned, after it has returned. A
# question may open inside any read, and then the plaintext that was reported as pending before is
# not available.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from libc.string cimport memcpy

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize_ "PyBytes_FromStringAndSize"(const char *, Py_ssize_t)
    char *PyBytes_AS_STRING_ "PyBytes_AS_STRING"(PyObject *)
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1
    unsigned long PyThread_get_thread_ident()

# number of forks this process is the child of; older connections belong to a parent
cdef unsigned forks

cdef enum:
    # plaintext sent in a turn by a run of writes, before other connections get their turn
    PUSH_BUDGET = 1048576
    # the same for plaintext that is read
    PULL_BUDGET = 1048576
    CHUNK_COST = 4096           # what a chunk costs beside its bytes: small ones take as long as this many
    GATHERED = 4096             # small writes are joined up to this size: more than most heads
    BIG_READ = 8192             # after a chunk of this size, the next read needs no small buffer
    # nanoseconds after which a turn delivers no more to a listener that takes its time: as long as the
    # budget lasts for one that does nothing
    PULL_NS = 1000000


@cython.no_gc_clear
cdef class Plaintext(Facts):
    """The part of a connection that the socket reads and writes."""

    cdef readonly object owner
    cdef object flow                    # called with each chunk of plaintext, or None
    cdef object queue                   # bytes objects that the engine has not accepted yet
    cdef bytes small                    # or the small writes of this turn, joined
    # bytes of either not accepted yet; accepted bytes of the queue's first object
    cdef Py_ssize_t queued, head
    cdef Py_ssize_t high_water, last_size, pushed, pulled
    cdef bint waiting, ending, closing, pumping, wants_drain
    cdef unsigned long thread           # the loop's, 0 if there is no loop
    cdef unsigned forks_before

    cdef int _check_caller(self) except -1:
        """Reject calls from other threads and processes before they have an effect. Usually this
        costs two comparisons.
        """
        if self.thread and self.thread != PyThread_get_thread_ident():
            self._check_thread()
        if self.thread and self.forks_before != forks:
            raise UsageStateError(
                "This socket belongs to the parent process", code="ERR_TLS_FORKED",
                hint="Fork before connect and listen, or connect in the child.",
            )
        return 0

    cdef int _check_thread(self) except -1:
        """Allow another thread if the loop is not running: the thread that runs it next may be a
        different one.
        """
        loop = self.owner._loop if self.owner is not None else None
        if loop is not None and asyncio._get_running_loop() is not loop and loop.is_running():
            raise UsageStateError(
                "This socket belongs to another thread, in which its event loop runs", code="ERR_TLS_WRONG_THREAD",
                hint="Call it there: loop.call_soon_threadsafe(sock.write, data).",
            )
        self.thread = PyThread_get_thread_ident()
        return 0

    @property
    def inherited(self):
        """Whether this process is a child that was forked after the connection was made."""
        return self.thread != 0 and self.forks_before != forks

    def check_caller(self, bint in_child=False):
        if not in_child or self.forks_before == forks:
            self._check_caller()

    cdef object _schedule(self):
        """Schedule a turn of this connection. `Connection` implements it."""
        raise NotImplementedError

    cdef object _report_news_from_read(self):
        """Report new sessions, in the connection's own context variables."""
        raise NotImplementedError

    cdef bint _can_push(self):
        """Whether output can be sent at once: on a descriptor, but not on a stream."""
        return False

    # ---- in

    cdef bytes _take(self, Py_ssize_t limit):
        cdef char room[TIO_RECORD]
        cdef size_t n
        if self.last_size >= BIG_READ and limit >= TIO_RECORD:
            return self._take_big()
        n = tio_conn_take(self.c, room, limit if limit < TIO_RECORD else TIO_RECORD)
        self.last_size = n
        return PyBytes_FromStringAndSize(room, n) if n else None

    cdef bytes _take_big(self):
        """Read into the object that the user gets, and shorten it if necessary: after a full record
        another is likely.
        """
        cdef PyObject *chunk = PyBytes_FromStringAndSize_(NULL, TIO_RECORD)
        cdef size_t n
        if chunk == NULL:
            raise MemoryError
        n = tio_conn_take(self.c, PyBytes_AS_STRING_(chunk), TIO_RECORD)
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
        """Read up to `limit` bytes. None: nothing now."""
        cdef bytes chunk
        self._check_caller()
        if limit < 1:
            raise out_of_range("limit", "1 or more", limit)
        self._stop_waiting()
        if self.closing or tio_in_psk_callback():
            # while closing, input is discarded; inside a psk_callback nothing can be read
            return None
        if not tio_conn_next(self.c) & (TIO_NEXT_READABLE | TIO_NEXT_TURN):
            return None
        if self.pulled >= PULL_BUDGET and self._must_pause():
            return None
        chunk = self._take(limit)
        if chunk is not None:
            self.pulled += PyBytes_GET_SIZE(chunk) + CHUNK_COST
        if chunk is not None and tio_conn_has_news(self.c):
            # Tickets that preceded the data: the next connection can already resume when the caller
            # has the data.
            self._report_news_from_read()
        if tio_conn_next(self.c) & ~<unsigned>(TIO_NEXT_INPUT | TIO_NEXT_READABLE) or tio_conn_phase(self.c) == TIO_BROKEN \
                or tio_conn_has_news(self.c) or (chunk is None and tio_conn_deadline(self.c)):
            # There is something to report or to answer, or a deadline to set.
            self._schedule()
        return chunk

    cdef bint _must_pause(self):
        """Whether the reader, whose budget is spent, must wait for the loop's next pass. One that always
        finds data, from a fast peer, would never let the loop run. What came before an end is not held
        back: the end follows it at once.
        """
        if not self.thread or tio_conn_phase(self.c) != TIO_OPEN or tio_conn_in(self.c) != TIO_IN_OPEN:
            return False
        self.pulled = 0
        return True

    def await_input(self):
        """Call `_readable` when there may be something to read."""
        self._check_caller()
        self.waiting = True
        tio_conn_want(self.c, 1, -1)
        if tio_conn_next(self.c) & (TIO_NEXT_TURN | TIO_NEXT_END) or tio_conn_phase(self.c) == TIO_BROKEN:
            self._schedule()

    def cancel_await(self):
        """Take back `await_input`: input is processed without a reader again."""
        self._stop_waiting()
        if tio_conn_fd(self.c) >= 0 and tio_conn_next(self.c) & TIO_NEXT_TURN and not self.inherited:
            self._schedule()

    cdef void _stop_waiting(self):
        self.waiting = False
        tio_conn_want(self.c, self.flow is not None, -1)

    def set_flow(self, flow):
        """Pass each chunk of plaintext to `flow`. None stops, also in a forked child."""
        if flow is not None:
            self._check_caller()
        self.flow = flow
        tio_conn_want(self.c, flow is not None or self.waiting, -1)
        if flow is not None and not self.pumping and tio_conn_next(self.c) & TIO_NEXT_TURN:
            self._schedule()

    @property
    def has_flow(self):
        return self.flow is not None

    cdef object _pump_in(self):
        """Deliver plaintext, up to this turn's budget and time. The rest of what was received at once is
        delivered beyond the budget, so that little has to be stored; on a memory wire the budget is
        strict.
        """
        cdef Py_ssize_t budget = PULL_BUDGET
        cdef int64_t now, begun = 0
        cdef bytes chunk
        owner = self.owner              # a listener may clear self.owner and then raise
        self.pumping = True
        try:
            while self.flow is not None and (budget > 0 or (budget > -TIO_SCRATCH and tio_conn_fd(self.c) >= 0 and tio_conn_held(self.c))):
                chunk = self._take(TIO_RECORD)
                if chunk is None:
                    break
                budget -= PyBytes_GET_SIZE(chunk) + CHUNK_COST
                try:
                    result = self.flow(chunk)
                    if result is not None and result is not True and result is not False:
                        owner._listener_returned(result)      # an awaitable, such as a coroutine
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:
                    owner._listener_failed(error)
                if not tio_conn_next(self.c) & TIO_NEXT_TURN:
                    break               # all that has come was read: another read would find nothing
                now = tio_clock()
                begun = begun or now
                if now - begun > PULL_NS:
                    break
        finally:
            self.pumping = False
            tio_conn_want(self.c, self.flow is not None or self.waiting, -1)

    # ---- out

    def write(self, data):
        """Queue plaintext. Returns whether at most the high-water mark is waiting."""
        cdef bytes chunk
        cdef Py_ssize_t size, done = 0
        self._check_caller()
        if type(data) is bytes:
            chunk = data
        else:
            chunk = memoryview(data).tobytes()
        size = PyBytes_GET_SIZE(chunk)
        if self._gather(chunk, size):
            done = size
        elif self.queued == 0 and not tio_in_psk_callback():
            done = tio_conn_write(self.c, PyBytes_AS_STRING(chunk), size)
        if done < size and not tio_conn_send_error(self.c):
            self._enqueue(chunk, done)
        self._schedule()
        if self._waiting_bytes() > self.high_water and self.pushed < PUSH_BUDGET and self._can_push():
            self._push_out()
        if self._waiting_bytes() > self.high_water:
            self.wants_drain = True
            return False
        return tio_conn_send_error(self.c) == 0

    cdef bint _gather(self, bytes chunk, Py_ssize_t size):
        """Hold a small write until the end of the turn, so that those of one turn, such as the head and
        the body of a response, become one record. Returns whether the chunk is held.
        """
        if self.small is not None:
            if size <= GATHERED - self.queued:
                self.small += chunk
                self.queued += size
                return True
            self._encrypt_small()
        if self.queued or size > GATHERED or not self._can_push() or tio_conn_phase(self.c) != TIO_OPEN or tio_conn_send_error(self.c):
            return False
        self.small = chunk
        self.queued = size
        return True

    cdef object _encrypt_small(self):
        """Pass the held writes to the engine; what it does not accept is queued."""
        cdef bytes chunk = self.small
        cdef Py_ssize_t done = 0
        if chunk is None:
            return
        self.small = None
        self.queued = 0
        if not tio_in_psk_callback():
            done = tio_conn_write(self.c, PyBytes_AS_STRING(chunk), PyBytes_GET_SIZE(chunk))
        if done < PyBytes_GET_SIZE(chunk) and not tio_conn_send_error(self.c):
            self._enqueue(chunk, done)

    def await_drain(self):
        """Call `_drained` when at most the high-water mark is waiting. If sending has failed, call it
        in the loop's next pass, unless what the peer has sent explains the failure.
        """
        self._check_caller()
        self.wants_drain = True
        if tio_conn_send_error(self.c):
            self._schedule()

    cdef void _push_out(self):
        """Send during a long run of writes, before too much gathers."""
        cdef uint64_t before = tio_conn_counts(self.c).wire_written
        while tio_conn_flush(self.c) == 1 and self.queued and self._pump_out():
            pass
        self.pushed += tio_conn_counts(self.c).wire_written - before

    cdef object _enqueue(self, bytes chunk, Py_ssize_t done):
        if self.queue is None:
            self.queue = collections.deque()
        if self.queued == 0:
            self.head = done
        self.queue.append(chunk)
        self.queued += PyBytes_GET_SIZE(chunk) - done
        tio_conn_want(self.c, -1, 1)

    cdef Py_ssize_t _pump_out(self):
        """Move the queue into the engine as far as it accepts data; then end, if that is due."""
        cdef bytes chunk
        cdef Py_ssize_t size, done, total = 0
        if self.small is not None:
            total = self.queued
            self._encrypt_small()
            total -= self.queued
        if tio_conn_send_error(self.c):
            self._drop_queue()
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
            self._drop_queue()
            if self.closing:
                tio_conn_close(self.c)
            elif self.ending:
                tio_conn_end(self.c)
        return total

    cdef void _drop_queue(self):
        self.queue = self.small = None
        self.queued = 0
        tio_conn_want(self.c, -1, 0)

    def end(self):
        self._check_caller()
        self.ending = True
        self._schedule()

    def close(self):
        """End, and discard further input."""
        self._check_caller()
        self.closing = True
        self._stop_waiting()
        self._schedule()

    @property
    def holds_plaintext(self):
        """Whether written data is not encrypted yet."""
        return self.queued > 0

    cdef Py_ssize_t _waiting_bytes(self):
        return self.queued + <Py_ssize_t>tio_conn_unsent(self.c)

    @property
    def writable_length(self):
        """Waiting bytes: plaintext in the queue and unsent ciphertext."""
        return self._waiting_bytes()
