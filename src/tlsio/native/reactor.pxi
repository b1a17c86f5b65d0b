# The native driver: the engine's reactor inside an asyncio or uvloop event loop.

cdef extern from "Python.h":
    ctypedef struct PyThreadState:
        PyObject *context
    PyThreadState *PyThreadState_Get()

has_reactor = bool(TIO_HAS_REACTOR)

cdef object _reactors = weakref.WeakSet()          # for fork and exit only
cdef bint exiting = False
# The task that each loop runs. Before 3.12 `asyncio.current_task` is written in Python and would
# cost an echo a tenth of its time.
cdef dict _tasks = asyncio.tasks._current_tasks if sys.version_info < (3, 12) else None

cdef enum:
    # reported in one pass of the loop; the others wait for the next, so that they do not block it
    NOTICES = 256


cdef class Reactor:
    """The engine's reactor in one event loop. Belongs to the loop's thread."""

    cdef tio_reactor *r
    cdef object loop                    # weak, because the loop refers to the reactor
    cdef object dirty                   # connections with something to send or to report
    cdef object append_dirty, take_dirty    # its methods, which would be looked up for each echo
    cdef set gates                      # those that listen, which keeps them alive
    cdef bint in_turn, scheduled, woke
    cdef bint continues                 # `_continue` is scheduled
    cdef bint working                   # without the interpreter's lock: another thread may fork
    cdef readonly bint forked
    cdef object __weakref__

    def __cinit__(self):
        self.dirty = collections.deque()
        self.append_dirty = self.dirty.append
        self.take_dirty = self.dirty.popleft
        self.gates = set()

    def __init__(self, loop):
        self.r = tio_reactor_new()
        if self.r == NULL:
            raise OSError(errno, os.strerror(errno))
        self.loop = weakref.ref(loop)
        # In a context of its own: otherwise the loop would keep the variables of the first
        # connection.
        contextvars.Context().run(loop.add_reader, tio_reactor_fd(self.r), self._ready, _CloseWithLoop(self))
        _reactors.add(self)

    def __dealloc__(self):
        tio_reactor_free(self.r, self.forked)

    def close(self):
        """Remove the reader from the loop and close all descriptors."""
        cdef Connection connection
        if self.r == NULL:
            return
        loop = self.loop()
        if loop is not None and not loop.is_closed() and not self.forked:
            loop.remove_reader(tio_reactor_fd(self.r))
        connections = self._owners()
        tio_reactor_free(self.r, self.forked)
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
        """Number of descriptors: listeners, connections, and those that are being closed."""
        return tio_reactor_load(self.r) if self.r != NULL else 0

    @property
    def is_closed(self):
        return self.r == NULL

    cdef object _check_process(self):
        if self.forked:
            raise UsageStateError("This server or socket belongs to the parent process: fork before listen or connect")

    cdef object _check(self):
        self._check_process()
        if self.r == NULL:
            raise UsageStateError("The event loop of this server or socket is closed")

    cdef object _check_for(self, int fd):
        """Check, and close the descriptor if the check fails: the caller has passed it on."""
        try:
            self._check()
        except UsageStateError:
            os.close(fd)
            raise

    cdef object _schedule(self, Connection connection):
        self._check_process()
        # There are no descriptors left, but an error may have to be reported.
        if self.r == NULL:
            self._check_loop()
        if connection.dirty:
            return
        connection.dirty = True
        self.append_dirty(connection)
        # A turn serves what it has made dirty. But if a task runs within it, user code runs the
        # loop, and the turn may not end soon.
        if not self.scheduled and (not self.in_turn or self._runs_task()):
            self._flush_soon()

    cdef bint _runs_task(self):
        loop = self.loop()
        return (asyncio.current_task(loop) if _tasks is None else _tasks.get(loop)) is not None

    def later(self, call, *args):
        """Call it in the loop's next pass."""
        self._call_soon(call, args)

    cdef object _check_loop(self):
        loop = self.loop()
        if loop is None or loop.is_closed():
            raise UsageStateError("The event loop of this socket is closed")
        return loop

    cdef object _call_soon(self, call, args=()):
        self._check_loop().call_soon(call, *args)

    cdef object _flush_soon(self):
        self._call_soon(self._flush)
        self.scheduled = True

    def _flush(self):
        """Send what was written since the last turn, one send per connection."""
        self.scheduled = False
        self._serve_dirty()
        if self.r != NULL:
            self._finish_turn()

    cdef object _finish_turn(self):
        """Finish a turn: schedule another if work is left, or leave the loop if there are no
        descriptors.
        """
        if tio_reactor_is_busy(self.r):
            self._continue_soon()
        elif tio_reactor_load(self.r) == 0 and not self.scheduled and not self.dirty and not self.in_turn:
            self.close()

    cdef object _continue_soon(self):
        """Schedule a turn, once: turns are also begun by events, and if each scheduled its own
        successor, a pass of the loop would have ever more of them.
        """
        if not self.continues:
            self._call_soon(self._continue)
            self.continues = True

    def _continue(self):
        self.continues = False
        self._turn()

    cdef object _run_if_busy(self):
        """Schedule a turn if something has become ready outside of a turn."""
        if self.r != NULL and not self.in_turn and not self.scheduled and tio_reactor_is_busy(self.r):
            self._flush_soon()

    cdef object _close_if_empty(self):
        """Close the reactor if the last descriptor was released outside of a turn."""
        if self.r == NULL or self.in_turn or self.scheduled or self.forked or tio_reactor_load(self.r):
            return
        loop = self.loop()
        if loop is None or loop.is_closed():
            self.close()
        else:
            self._flush_soon()

    cdef object _serve_dirty(self):
        """Serve the connections that are dirty now. If user code runs the loop within this, the
        inner turn serves the rest.
        """
        cdef Connection connection
        cdef Py_ssize_t left = len(self.dirty)
        while left and self.dirty:
            left -= 1
            connection = self.take_dirty()
            if connection.dirty:
                self._deliver(connection, 0)

    cdef object _deliver(self, Connection connection, uint32_t what):
        """Report to one connection. An error in our code ends that one; the others continue."""
        try:
            connection._handle(what)
        except BaseException as error:
            owner = connection.owner
            connection._release_descriptor(False)
            if owner is None or isinstance(error, (KeyboardInterrupt, SystemExit)):
                self._report("tlsio: a connection's events could not be reported", error)
            if owner is not None:
                self._crash(owner, error)

    cdef object _crash(self, owner, error):
        try:
            owner._crashed(error)
        except BaseException as worse:
            self._report("tlsio: a connection could not be ended", worse)

    cdef object _report(self, str message, error):
        """Report an error. One that ends the program is raised after this turn, which would
        otherwise lose the events of other connections.
        """
        loop = self.loop()
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            loop.call_soon(_raise, error)
        else:
            loop.call_exception_handler({"message": message, "exception": error})

    def _ready(self, _close_with_loop):
        """Handle events of the kernel. User code may run the loop within this, and the loop then
        calls this again in the same context, which cannot be entered twice: so leave the context
        first.
        """
        cdef PyObject *entered = PyThreadState_Get().context
        if entered == NULL:
            self._turn()
            return
        context = <object>entered
        PyContext_Exit(context)
        try:
            self._turn()
        finally:
            PyContext_Enter(context)

    def _turn(self):
        """Work, then report. If user code runs the loop within this, the inner turn reports the
        rest.
        """
        cdef tio_notice notice
        cdef bint was_in_turn = self.in_turn
        cdef int count = 0
        if self.r == NULL or tio_in_psk_callback():
            return
        if not self._has_notices():
            if tio_reactor_poll(self.r):
                # A handshake costs 250 us or more; releasing the lock next to a busy thread up to 5
                # ms. So only handshakes are worth a release.
                self.working = True
                try:
                    with nogil:
                        tio_reactor_work(self.r)
                finally:
                    self.working = False
            else:
                tio_reactor_work(self.r)
        self.in_turn = True
        try:
            while self.r != NULL and count < NOTICES and tio_reactor_next_notice(self.r, &notice):
                count += 1
                self._dispatch(&notice)
        finally:
            self.in_turn = was_in_turn
        if self.r != NULL:
            self._after_turn()

    cdef bint _has_notices(self):
        """Whether there are notices left, by a turn that had too many or by the one that this one
        runs within.
        """
        return tio_reactor_has_notices(self.r) != 0

    cdef object _after_turn(self):
        if self.woke:             # woken readers run first, so that all they write is sent together
            self.woke = False
            if not self.scheduled:
                self._flush_soon()
        elif self.dirty and not self.scheduled:
            self._serve_dirty()
            if self.dirty and not self.scheduled:
                self._flush_soon()
        if not self.scheduled and self.r != NULL:
            self._finish_turn()

    cdef object _dispatch(self, tio_notice *notice):
        cdef Connection connection
        cdef Gate gate
        cdef tio_conn *c = notice.conn
        if c == NULL:
            try:
                self._handle_refused(notice)
            except BaseException as error:
                self._report("tlsio: a connection that was not accepted could not be reported", error)
            return
        if tio_conn_owner(c) == NULL:
            gate = <Gate>notice.gate.owner
            try:
                connection = gate._take(self, notice)
            except BaseException as error:
                self._report("tlsio: a new connection could not be reported", error)
                c = tio_reactor_conn(self.r, notice.handle) if self.r != NULL else NULL
                if c != NULL and tio_conn_owner(c) == NULL:
                    tio_reactor_discard(c)
                return
            if connection is None:
                return
        else:
            connection = <Connection>tio_conn_owner(c)
        self._deliver(connection, notice.what)

    cdef object _handle_refused(self, tio_notice *notice):
        """Handle a notice without a connection: a listener failed, or a limit refused a descriptor,
        which is closed here.
        """
        cdef Gate gate = <Gate>notice.gate.owner if notice.gate != NULL else None
        cdef int fd = notice.fd
        if notice.what & TIO_NOTICE_LISTENER:
            if gate is not None:
                gate.server._accept_failed(notice.error)
            return
        with socket.socket(fileno=fd) as refused:
            try:
                address = refused.getpeername()
            except OSError:
                address = None
        if gate is not None:
            gate.server._dropped(address)
            gate._check_closed()


def _raise(error):
    raise error


cdef class _CloseWithLoop:
    """Closes the reactor when the loop drops its reader. A closed loop makes no further calls, so
    this is the last chance.
    """

    cdef Reactor reactor

    def __init__(self, Reactor reactor):
        self.reactor = reactor

    def __del__(self):
        loop = self.reactor.loop()
        if loop is None or loop.is_closed():
            self.reactor.close()


def _before_fork():
    """End the handshake threads: a child has none, and gets the locks of libraries as they are at the
    fork.
    """
    cdef Reactor reactor
    for reactor in list(_reactors):
        if reactor.r != NULL and not reactor.forked:
            tio_threads_pause(reactor.r)


def _after_fork_in_parent():
    cdef Reactor reactor
    for reactor in list(_reactors):
        if reactor.r != NULL and not reactor.forked and not exiting:
            tio_threads_run(reactor.r)


def _before_exit():
    """End the handshake threads: when the process exits, OpenSSL frees what they share."""
    global exiting
    exiting = True
    _before_fork()


def _after_fork():
    """In a forked child, close our copies of the descriptors and nothing else; the parent's
    registrations stay.
    """
    global forks
    cdef Reactor reactor
    forks += 1
    for reactor in list(_reactors):
        reactor.forked = True
        # A connection may be in use, by OpenSSL around a `psk_callback` or in a thread that the
        # child does not have. Then nothing is touched: the descriptors stay open until the child
        # ends.
        if not tio_in_psk_callback() and not reactor.working:
            reactor.close()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)
atexit.register(_before_exit)
