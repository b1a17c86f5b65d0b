# Plaintext in and out: the queue above the engine, single reads, and the flow into a `data` listener.
#
# Every object that holds plaintext is made of what a read has returned, after it has returned it: a question may open inside
# any read, and what was said to be pending before is then not there.

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_XDECREF, PyObject
from libc.string cimport memcpy

cdef extern from "Python.h":
    PyObject *PyBytes_FromStringAndSize_ "PyBytes_FromStringAndSize"(const char *, Py_ssize_t)
    char *PyBytes_AS_STRING_ "PyBytes_AS_STRING"(PyObject *)
    int _PyBytes_Resize(PyObject **, Py_ssize_t) except -1
    unsigned long PyThread_get_thread_ident()

cdef unsigned forks             # how often this process is the child of a fork, which has connections that are its parent's

cdef enum:
    PUSH_BUDGET = 1048576       # plaintext that a run of writes sends in a turn; then the other connections have their turn
    BIG_READ = 8192             # after a chunk of that size the next one is read without the small buffer
    FLOW_BUDGET = 262144        # plaintext one connection gets in a turn; then the other connections have their turn


@cython.no_gc_clear
cdef class Plaintext(Facts):
    """The half of a connection that the socket reads and writes."""

    cdef readonly object owner
    cdef object flow                    # called with each chunk of plaintext, or None
    cdef object queue                   # bytes objects not yet taken by the engine
    cdef Py_ssize_t queued, head        # bytes in the queue not yet taken; how much of its first is
    cdef Py_ssize_t high_water, last_size, pushed
    cdef bint waiting, ending, closing, pumping, wants_drain
    cdef unsigned long thread           # the loop's, 0 where there is no loop
    cdef unsigned forks_before

    cdef int _check_caller(self) except -1:
        """Refuse calls from other threads and other processes, before anything has happened: mostly two comparisons."""
        if self.thread and self.thread != PyThread_get_thread_ident():
            self._check_thread()
        if self.thread and self.forks_before != forks:
            raise UsageStateError(
                "This socket belongs to the parent process", code="ERR_TLS_FORKED",
                hint="Fork before connect and listen, or connect in the child.",
            )
        return 0

    cdef int _check_thread(self) except -1:
        """A loop that is not running may be run by another thread next time: only one that runs elsewhere is in the way."""
        loop = self.owner._loop if self.owner is not None else None
        if loop is not None and asyncio._get_running_loop() is not loop and loop.is_running():
            raise UsageStateError(
                "This socket belongs to another thread, in which its event loop runs", code="ERR_TLS_WRONG_THREAD",
                hint="Call it there: loop.call_soon_threadsafe(sock.write, data).",
            )
        self.thread = PyThread_get_thread_ident()
        return 0

    @property
    def is_parents(self):
        """It was made before a fork, and this is the child."""
        return self.thread != 0 and self.forks_before != forks

    def check_caller(self, bint in_child=False):
        if not in_child or self.forks_before == forks:
            self._check_caller()

    cdef object _schedule(self):
        """A turn of this connection is due. The driver's part is in the class below."""
        raise NotImplementedError

    cdef bint _can_push(self):
        """A descriptor takes what has gathered at once; a stream takes it in its own time."""
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
        """After a full record another is likely: straight into the object that the user gets, which is cut to what was read."""
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
        """Up to `limit` bytes, or None: nothing now."""
        cdef bytes chunk
        self._check_caller()
        if limit < 1:
            raise out_of_range("limit", "1 or more", limit)
        if self.closing or tio_in_psk_callback():
            return None                 # what still comes is thrown away; or it cannot be had now
        if not tio_conn_next(self.c) & (TIO_NEXT_READABLE | TIO_NEXT_TURN):
            return None
        chunk = self._take(limit)
        if tio_conn_next(self.c) & ~<unsigned>(TIO_NEXT_INPUT | TIO_NEXT_READABLE) or tio_conn_phase(self.c) == TIO_BROKEN \
                or tio_conn_has_news(self.c) or (chunk is None and tio_conn_deadline(self.c)):
            self._schedule()            # it has become something else, has something to answer or to report, or a clock to be set
        return chunk

    def await_input(self):
        """Call `_readable` when there may be something to read."""
        self._check_caller()
        self.waiting = True
        tio_conn_want(self.c, 1, -1)
        if tio_conn_next(self.c) & (TIO_NEXT_TURN | TIO_NEXT_END) or tio_conn_phase(self.c) == TIO_BROKEN:
            self._schedule()

    def cancel_await(self):
        self.waiting = False
        tio_conn_want(self.c, self.flow is not None, -1)

    def set_flow(self, flow):
        """Hand each chunk of plaintext to `flow`; None stops, in a child of the process too."""
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
        """Give out what is there, as far as this turn's budget goes. What was received already is given out as well, so that
        nothing has to be put aside; over memory that may be any amount."""
        cdef Py_ssize_t budget = FLOW_BUDGET
        cdef bytes chunk
        owner = self.owner              # a listener may close it, and raise all the same
        self.pumping = True
        try:
            while self.flow is not None and (budget > 0 or (tio_conn_fd(self.c) >= 0 and tio_conn_held(self.c))):
                chunk = self._take(FLOW_BUDGET)
                if chunk is None:
                    break
                budget -= PyBytes_GET_SIZE(chunk)
                try:
                    result = self.flow(chunk)
                    if result is not None and result is not True and result is not False:
                        owner._take_result(result)      # a coroutine, or whatever can be awaited
                except (KeyboardInterrupt, SystemExit):
                    raise
                except BaseException as error:
                    owner._listener_failed(error)
        finally:
            self.pumping = False
            tio_conn_want(self.c, self.flow is not None or self.waiting, -1)

    # ---- out

    def write(self, data):
        """Queue plaintext; whether less than the high-water mark waits now."""
        cdef bytes chunk
        cdef Py_ssize_t size, done = 0
        self._check_caller()
        if type(data) is bytes:
            chunk = data
        else:
            chunk = memoryview(data).tobytes()
        size = PyBytes_GET_SIZE(chunk)
        if self.queued == 0 and not tio_in_psk_callback():
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

    def await_drain(self):
        """Call `_drained` when at most the high-water mark waits."""
        self._check_caller()
        self.wants_drain = True

    cdef void _push_out(self):
        """A long run of writes: send what has gathered before it becomes too much."""
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
        """Move the queue into the engine as far as it takes it; then the end, if that is due."""
        cdef bytes chunk
        cdef Py_ssize_t size, done, total = 0
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
        self.queue = None
        self.queued = 0
        tio_conn_want(self.c, -1, 0)

    def end(self):
        self._check_caller()
        self.ending = True
        self._schedule()

    def close(self):
        """End, and throw away what still comes."""
        self._check_caller()
        self.closing = True
        self._schedule()

    @property
    def holds_plaintext(self):
        """Something was written that is not encrypted yet."""
        return self.queued > 0

    cdef Py_ssize_t _waiting_bytes(self):
        return self.queued + <Py_ssize_t>tio_conn_unsent(self.c)

    @property
    def writable_length(self):
        """Bytes that wait: plaintext in the queue and ciphertext not yet sent."""
        return self._waiting_bytes()
