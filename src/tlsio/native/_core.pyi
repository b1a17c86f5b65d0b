"""The typed face of the native module."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context as ContextVars
from typing import Final, Protocol, TypeAlias, final

from tlsio.model.faults import Fault
from tlsio.native.context_spec import ContextSpec, LabelledMaterial

# What a connection may ask its owner (engine.h, tio_question).
MAX_PSK_IDENTITY: Final[int]  # bytes
MAX_PSK_KEY: Final[int]
MAX_SESSION_BYTES: Final[int]
ASK_HELLO: Final[int]
ASK_VERIFY: Final[int]
ASK_CLIENT: Final[int]
ASK_STATUS: Final[int]
ASK_STORE: Final[int]

SESSIONS: Final[int]
"""A server's `set_wants`: ask for the sessions to resume, and tell those that are made."""
STATEFUL: Final[int]
"""And give out ids of sessions, no tickets that carry them."""
STATEFUL_13: Final[int]
"""The same, to clients of TLS 1.3 only."""

# (host, port), with flow and scope for IPv6; "" for a Unix socket, None when unknown.
Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | None

# --- contexts (context.pxi, material.pxi) ---

@final
class Pfx:
    """One opened PKCS#12: a private key, its certificate, and the certificates beside it.

    Raises:
        ConfigError: not PKCS#12, another passphrase, an algorithm that OpenSSL no longer has, no key or no certificate.
    """

    def __init__(self, piece: LabelledMaterial) -> None: ...
    @property
    def label(self) -> str: ...
    @property
    def authorities(self) -> tuple[LabelledMaterial, ...]:
        """The certificates beside the identity, DER each. They are sent as its chain and, as in Node, trusted."""

@final
class Roots:
    """Parsed trust: certificates and CRLs, shared by reference between contexts and never changed.

    Args:
        pieces: Certificates to trust: PEM with at least one, or DER.
        crls: With any, every issuer in a chain needs its own here: the whole chain is checked.
        base: What is trusted besides; it stays as it is.

    Raises:
        ConfigError: a piece that cannot be read.
    """

    def __init__(
        self, pieces: Iterable[LabelledMaterial] = (), *, crls: Iterable[LabelledMaterial] = (), base: Roots | None = None
    ) -> None: ...
    @property
    def lists_end(self) -> int:
        """When the first CRL has to be replaced, POSIX seconds; 0: never."""
    def __len__(self) -> int: ...
    @property
    def certificates(self) -> tuple[bytes, ...]:
        """DER of each, in the order given; OpenSSL's settings follow where a TRUSTED CERTIFICATE brought any."""
    def find(self, subject: bytes) -> tuple[bytes, ...]:
        """Return the DER of the trusted certificates with this subject (a Name in DER)."""
    @property
    def digest(self) -> bytes:
        """SHA-256, equal for the same certificates and CRLs in whatever order and encoding."""
    @property
    def subject_names(self) -> tuple[bytes, ...]:
        """DER of the subjects, without repetition, in the order given."""

openssl_version: str
"""The name, version and date of the OpenSSL that is in use."""

def default_cert_file() -> str:
    """Return where this OpenSSL looks for the system's roots: one file."""

def default_cert_directory() -> str:
    """Return where this OpenSSL looks for the system's roots: directories with a colon between."""

# --- signatures and revocation (proofs.pxi) ---

def verify_signature(spki: bytes, algorithm: bytes, data: bytes, signature: bytes) -> bool:
    """Tell whether a key has signed one element of DER.

    Args:
        spki: SubjectPublicKeyInfo.
        algorithm: AlgorithmIdentifier, with its parameters.
        data: What was signed, one element.
        signature: BIT STRING.
    """

def has_valid_extensions(certificate: bytes) -> bool:
    """Tell whether OpenSSL finds nothing malformed, doubled or critical and unknown among a certificate's extensions."""

def is_ocsp_response(data: bytes) -> bool:
    """Tell whether this is one OCSPResponse (RFC 6960 §4.2.1) in DER, which OpenSSL would write in the same bytes.

    What a successful one holds, the answer itself, is not looked at.
    """

def check_issued(issuer: bytes, certificate: bytes) -> int:
    """Return why OpenSSL does not take one certificate for the issuer of the other, as X509_V_ERR number; 0: it does."""

@final
class RevokedSerials:
    """The serial numbers of a revocation list, in 8 bytes each beside the DER, which is copied.

    Args:
        content: What revokedCertificates holds.

    Raises:
        ValueError: an entry is malformed, names an issuer of its own, or has a critical extension that is not known.
    """

    def __init__(self, content: bytes) -> None: ...
    def __len__(self) -> int: ...
    def find(self, serial: bytes) -> bytes | None:
        """Return the date of revocation (a Time in DER) of a serial number (an INTEGER in DER); None: it is not there."""

def compression_algorithms() -> tuple[str, ...]:
    """Return how this OpenSSL can compress certificates."""

def security_level(cipher_list: str) -> int:
    """Return the security level under a cipher list: its `@SECLEVEL`, or the library's default."""

def list_keys(chain: Sequence[bytes]) -> list[bytes]:
    """Return the key in `Lists` for each certificate of a verified chain but the last; DER, leaf first."""

@final
class Lists:
    """Revocation lists at hand, for sessions that are to be resumed. Any thread may change it.

    Args:
        required: A certificate of which no list is to be had does not pass.
        room: Lists it keeps; the least recently used leaves first.
    """

    def __init__(self, *, required: bool, room: int) -> None: ...
    def put(self, key: bytes, serials: RevokedSerials | None, until: int) -> None:
        """Publish a list that was found good, or, `serials` None, that there is none.

        Args:
            key: 32 bytes, of `list_keys`.
            serials: What the list revokes.
            until: POSIX seconds; afterwards no certificate passes by it.
        """
    def until(self, key: bytes) -> int:
        """Return until when what was published counts, POSIX seconds; 0: nothing was."""
    def passes(self, entries: bytes, now: int) -> bool:
        """Tell whether none of the certificates is in its list, and each list is known and fresh."""

def cipher_names() -> tuple[str, ...]:
    """Return OpenSSL's names of all cipher suites."""

@final
class Context:
    """One SSL_CTX and its row, for connections of either role and of any thread; never changed.

    Raises:
        ConfigError: OpenSSL refused something; the code is Node's, `reason` and `openssl_errors` are OpenSSL's own.
        UsageValueError: Diffie-Hellman parameters below 1024 bits.
    """

    def __init__(self, spec: ContextSpec) -> None: ...
    @property
    def min_version(self) -> int: ...
    @property
    def max_version(self) -> int: ...
    @property
    def session_id_context(self) -> bytes: ...
    @property
    def identities(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """Our certificates, DER, each with its issuer where that is in the chain or the trust."""
    @property
    def dh_bits(self) -> int:
        """Size of the Diffie-Hellman parameters that were given, 0 without."""

# --- pre-shared keys (psk.pxi) ---

def run_in(context: ContextVars, call: Callable[..., object], *args: object) -> object:
    """Call in a connection's context variables, unless this runs in them already."""

def asking() -> bool:
    """This thread is inside a call of OpenSSL that waits for somebody's `psk_callback`."""

# --- connections (connection.pxi) ---

class Owner(Protocol):
    """Who is told a connection's news: always from the loop, never from inside an OpenSSL call."""

    def _asked(self, question: int) -> None:
        """The handshake stands still until `question`, an ASK_*, is answered; at once or later."""
    def _opened(self) -> None: ...
    def _readable(self) -> None:
        """Once for each `await_input`: there is input, or its end."""
    def _drained(self) -> None:
        """At most the high-water mark waits again."""
    def _input_ended(self, truncated: bool) -> None: ...
    def _finished(self) -> None:
        """Both directions have ended."""
    def _keylogged(self, lines: bytes) -> None:
        """Take lines of the key log, each with its newline: secrets."""
    def _traced(self, text: bytes) -> None: ...
    def _session_made(self, der: bytes, lifetime: int) -> None:
        """Take a session that may be resumed for `lifetime` seconds: a secret. Clients, after `want_sessions`."""
    def _broken(self) -> None:
        """`fault()` tells why."""
    def _find_key(self, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Identity and pre-shared key. This, and what follows, is called from inside OpenSSL."""
    def _key_failed(self, error: BaseException) -> None:
        """What `_find_key` raised; the handshake fails."""
    def _take_result(self, result: object) -> None:
        """What the flow returned, where it is not None and no bool."""
    def _listener_failed(self, error: BaseException) -> None:
        """What the flow raised."""
    def _crashed(self, error: BaseException) -> None:
        """What our own code raised while news were delivered: the connection ends."""

class Driver(Protocol):
    """What carries a connection's ciphertext when no reactor does."""

    def wake(self) -> None:
        """There is ciphertext to take by `output`, or the end is due (`fin_due`)."""
    def set_deadline(self, when: float | None) -> None:
        """Call `expire` at that instant of CLOCK_MONOTONIC; None: not any more."""
    def later(self, call: Callable[..., object], *args: object) -> None:
        """Call it when no OpenSSL call is under way."""
    def schedule(self, connection: Connection) -> None:
        """Call `settle` in the loop's next turn."""

@final
class Connection:
    """One TLS connection: the engine's, and a queue of plaintext above it.

    Its ciphertext goes through a reactor (`attach`, or accepted by a gate) or through a driver. Of one thread.
    """

    def __init__(self, context: Context, is_server: bool, driver: Driver | None = None) -> None: ...
    def bind(self, owner: Owner, context_vars: ContextVars | None, high_water: int) -> None:
        """Name the owner, which is told the news, and the context it is told them in: the owner's thread and process are these.

        Without a context there is no loop, and the connection may be used anywhere.
        """
    @property
    def is_parents(self) -> bool:
        """It was made before a fork, and this is the child."""
    def check_caller(self, in_child: bool = False) -> None:
        """Check that this is the owner's thread and process; reading, writing and ending do so themselves.

        Args:
            in_child: It may be a child of the process as well.

        Raises:
            UsageStateError: it is not.
        """
    def attach(self, reactor: Reactor, fd: int) -> None:
        """Give it a connected descriptor, which is the connection's from now on, also when this raises.

        Raises:
            OSError: the kernel refused.
            UsageStateError: the reactor is another process's, or its loop is closed.
        """
    def set_server_name(self, name: str) -> None:
        """Set the name for SNI, an A-label."""
    def set_session(self, der: bytes) -> bool:
        """Resume a session, if the server will; whether that is one at all. Then ASK_VERIFY is asked without a certificate."""
    def want_sessions(self) -> None:
        """Hand the sessions that the server gives to `_session_made`, from now on."""
    def take_sessions(self) -> list[tuple[bytes, bytes, int]]:
        """Return id, DER and seconds of life of each session that was made and not fetched yet: secrets."""
    def set_identity(self, context: Context) -> bool:
        """Show the certificates of `context`, with their keys and chains. False: it is too late.

        Raises:
            ConfigError: OpenSSL refuses one, or there is none.
        """
    def set_min_dh_size(self, bits: int) -> None:
        """Have a client refuse smaller Diffie-Hellman groups."""
    def record(self, keys: bool = False, offer: bool = False, trace: bool = False) -> None:
        """From now on. Lines of the key log go to `_keylogged`, a trace to `_traced`; the hello is `offer`.

        Raises:
            UsageStateError: this OpenSSL cannot trace.
        """
    @property
    def offer(self) -> bytes | None:
        """The client's hello, where it was recorded: handshake header and body."""
    def set_wants(self, hello: bool, alpn: bool, client: bool, status: bool, psk: bool, alpn_continue: bool, sessions: int = 0) -> None:
        """Say which questions a server asks."""
    def set_timeouts(self, handshake: float, partial_record: float) -> None:
        """Seconds for another handshake, and for a record to be whole; 0: no limit."""
    def request_status(self) -> None:
        """Ask the server for an OCSP response; the question about it comes also when it has none."""
    def use_keys(self) -> None:
        """Use a pre-shared key, which the owner is asked for."""
    def set_psk_hint(self, hint: bytes | None) -> None:
        """What a server tells before TLS 1.3, to help the client to choose an identity; at most 256 bytes."""
    def use_ring(self, gate: Gate) -> None:
        """Take ticket keys and counters of a server."""
    def set_renegotiation(self, limit: int, window: float) -> None:
        """How often the peer may renegotiate within `window` seconds; 0: not at all."""

    def refuse_renegotiation(self) -> None:
        """A renegotiation by the peer ends the connection from now on."""

    @property
    def awaits_rehandshake(self) -> bool:
        """Whether another handshake was asked for and is not done."""
    def rehandshake(self, verify: int | None, soft: bool) -> str | None:
        """Ask for another handshake. `verify`: SSL_VERIFY_* bits, None as it is. OpenSSL's reason when it cannot be."""

    def start(self) -> None:
        """Begin the handshake."""
    def later(self, call: Callable[..., object], *args: object) -> None:
        """Do it when the call of OpenSSL is over that a `psk_callback` runs in."""

    # answers
    def answer_hello(self, context: Context | None = None, protocol: bytes | None = None) -> None: ...
    def answer_verify(self, error: int) -> None:
        """0 accepts; an X509_V_ERR number refuses with the alert that fits it."""
    def answer_session(self, der: bytes) -> bool:
        """Give what was found for `asked_session`, before `answer_hello`; whether that is a session at all."""
    def answer_store(self) -> None:
        """What was made is stored, or lost."""
    def answer_client(self) -> None:
        """Accept."""
    def answer_status(self, responses: Sequence[bytes | None] = ()) -> None:
        """Server: staple these, one or None for each of `identities`. Client: accept what was stapled."""
    def refuse(self, alert: int) -> None: ...
    def resume(self) -> None:
        """Go on after an answer that came later than the question's own call."""

    # a driver's side
    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Take ciphertext, and do all that follows from it."""
    def feed_eof(self) -> None: ...
    def feed_error(self, error: int) -> None:
        """Tell that receiving failed; `error` is an errno. What came before is still read."""
    def unsent(self, error: int) -> None:
        """Tell that sending failed; `error` is an errno."""
    def output(self) -> bytes | None:
        """Take the ciphertext that may leave now; None: there is none, or `sent` is still due for what was taken before."""
    def sent(self) -> None:
        """Tell that the stream has taken what `output` gave. Until then it counts as unsent."""
    @property
    def fin_due(self) -> bool:
        """All has been sent: the stream's writing side may be ended; then `fin_sent` is due."""
    def fin_sent(self) -> None: ...
    @property
    def acknowledged(self) -> int:
        """Ciphertext bytes that the peer's kernel has acknowledged, or that the stream has taken: grows while a slow reader reads."""
    def count_undelivered(self, held: int | None = None) -> int:
        """Bytes of data, encrypted, that the peer has not acknowledged. `held`: what the kernel has, where a stream stands between."""
    def look_for_reset(self) -> None:
        """Report a reset that has cost data and that no read will find."""
    def expire(self) -> None:
        """End a handshake that takes too long."""
    def settle(self) -> None:
        """Take a turn: go on reading, bring out what has gathered, and tell what has become of the connection."""
    @property
    def held_input(self) -> int:
        """Ciphertext bytes that wait for a reader."""
    @property
    def needs_turn(self) -> bool:
        """There are bytes to go on with that no new input will announce."""

    # plaintext
    def read(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes; None: nothing now, look at `input_ended`.

        Raises:
            UsageValueError: `limit` is less than 1.
        """
    def await_input(self) -> None: ...
    def cancel_await(self) -> None: ...
    def set_flow(self, flow: Callable[[bytes], object] | None) -> None:
        """Hand each chunk to `flow`; None stops."""
    @property
    def has_flow(self) -> bool: ...
    def write(self, data: bytes | bytearray | memoryview) -> bool:
        """Queue a copy; whether at most the high-water mark waits now."""
    def await_drain(self) -> None: ...
    def end(self) -> None:
        """Send what is queued, close_notify, FIN."""
    def close(self) -> None:
        """End, and throw away what still comes."""
    def destroy(self, linger: bool = False) -> None:
        """Let the descriptor go. `linger`: what has gathered, and FIN, still leave."""
    def release(self) -> None:
        """Stop the flow for good."""
    @property
    def holds_plaintext(self) -> bool:
        """Something was written that is not encrypted yet."""

    @property
    def writable_length(self) -> int:
        """Bytes that wait: plaintext in the queue and ciphertext not yet sent."""

    # state
    @property
    def owner(self) -> Owner | None: ...
    @property
    def is_server(self) -> bool: ...
    @property
    def input_ended(self) -> bool: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def output_ended(self) -> bool: ...
    @property
    def out_error(self) -> int:
        """Number of the system error of a send that failed, or 0."""
    @property
    def fileno(self) -> int:
        """The descriptor, -1 when there is none (any more)."""
    @property
    def bytes_read(self) -> int: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def wire_bytes_read(self) -> int: ...
    @property
    def wire_bytes_written(self) -> int: ...
    @property
    def last_activity(self) -> float:
        """When plaintext last moved, on the loop's clock."""
    @property
    def peer_address(self) -> Address: ...
    @property
    def local_address(self) -> Address: ...
    def fault(self) -> Fault:
        """Return why it broke."""

    # what was agreed; readable after the end
    @property
    def server_name(self) -> str | None: ...
    @property
    def offered_protocols(self) -> list[bytes]:
        """ALPN names of the hello, while they are asked about."""
    @property
    def identities(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """Server, while OCSP responses are asked for: certificate and issuer, DER; the client is shown one of them."""
    @property
    def stapled(self) -> bytes | None:
        """Client, while it is asked about it: the server's OCSP response."""
    @property
    def alpn_protocol(self) -> bytes | None: ...
    @property
    def npn_protocol(self) -> bytes | None: ...
    @property
    def protocol(self) -> str | None: ...
    @property
    def cipher(self) -> tuple[str, str, str] | None:
        """OpenSSL's name, the standard's name, the first version that has it."""
    @property
    def session_reused(self) -> bool: ...
    @property
    def resumed(self) -> bool:
        """The verdict on the peer is the one of an earlier connection."""
    @property
    def memory(self) -> tuple[int, bytes, tuple[bytes, ...]]:
        """Client: the first notAfter of the verified chain (POSIX seconds), entries for `Lists`, SHA-256 of each SPKI, leaf first."""
    @property
    def asked_session(self) -> bytes | None:
        """Id of the session that the client wants to resume, while the hello is asked about."""
    @property
    def session(self) -> bytes | None:
        """The session as it is now, DER: a secret."""
    @property
    def ticket(self) -> bytes | None:
        """The session's ticket."""
    @property
    def certificate(self) -> bytes | None:
        """Our own certificate, DER."""
    @property
    def psk_used(self) -> bool:
        """An external pre-shared key, not a certificate, has shown who the peer is."""
    @property
    def asks_certificate(self) -> bool:
        """The peer is asked for its certificate: always, by a client."""

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's own certificate, DER."""
    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        """All certificates the peer sent, DER, its own first; when resumed only that one."""
    @property
    def verified_chain(self) -> tuple[bytes, ...]:
        """The chain as it was verified, DER, leaf first; () when there is none."""
    @property
    def verify_errors(self) -> tuple[tuple[int, int], ...]:
        """X509_V_ERR number and depth, in the order found."""
    @property
    def pins_failed(self) -> bool: ...
    @property
    def key_info(self) -> tuple[str, str | None, int] | None:
        """Kind (DH, ECDH, TLSGroup), name, bits; None: no ephemeral key was exchanged."""
    @property
    def shared_sigalgs(self) -> list[str]: ...
    @property
    def finished(self) -> tuple[bytes | None, bytes | None]:
        """Our Finished message and the peer's."""
    @property
    def has_extended_master_secret(self) -> bool:
        """Once it is open: the secret belongs to this handshake alone (RFC 7627; always so in TLS 1.3)."""
    def export_keying_material(self, length: int, label: bytes, context: bytes | None = None) -> bytes:
        """Derive a secret, once it is open.

        Raises:
            UsageStateError: before the handshake.
            UsageValueError: OpenSSL refuses the label or the length, or `length` or `context` is above 65535 bytes.
        """
    def set_max_send_fragment(self, size: int) -> bool:
        """Whether it was taken: 512 to 16384."""

# --- servers and loops (reactor.pxi) ---

@final
class Ring:
    """Session ticket keys, 48 bytes each: 16 name, 16 HMAC, 16 AES. The first encrypts, all decrypt. For any thread."""

    def __init__(self, keep: float = 0) -> None:
        """Make one random key. `keep`: seconds for which a key still decrypts behind one that was pushed; 0: for ever."""
    def set(self, keys: Sequence[bytes]) -> None:
        """Replace all keys. Of more than 16, the first 16 are kept.

        Raises:
            UsageError: no list, an empty one, or a key that is not 48 bytes long. The keys stay as they are.
        """
    def push(self, key: bytes) -> None:
        """Put a key in front; the oldest beyond 16 is forgotten.

        Raises:
            UsageError: the key is not 48 bytes long.
        """
    def first(self) -> bytes: ...

class GateKeeper(Protocol):
    """The server that a gate tells its news."""

    def _find(self, name: str) -> Context | None:
        """Return the context of a name; None: the default."""
    def _adopt(self, connection: Connection) -> None:
        """Make a socket of a connection, by `connection.bind`."""
    def _connected(self, address: Address) -> None: ...
    def _dropped(self, address: Address) -> None: ...
    def _accept_failed(self, number: int) -> None: ...
    def _check_closed(self) -> None:
        """While the gate is `closing`: a connection has gone that was no socket."""

class SyncSessionStore(Protocol):
    """Where sessions are kept, if that answers at once: it is asked before there is a socket."""

    def find(self, session_id: bytes, id_context: bytes) -> bytes | None: ...
    def keep(self, made: list[tuple[bytes, bytes, int]], id_context: bytes) -> None:
        """Take id, DER and seconds of life of each new session."""
    def reject_last(self) -> None:
        """What `find` gave last was no session."""

@final
class Gate:
    """One server's limits, counters and default context, shared by its listeners.

    Times in seconds, 0 for none; limits None for none; `keep_alive` in seconds before the first probe, -1 for off.
    """

    max_connections: int | None
    queues_beyond: bool
    closing: bool
    wants_failures: bool
    wants_socket: bool
    store: SyncSessionStore | None

    def __init__(
        self,
        server: GateKeeper,
        context: Context,
        ring: Ring,
        *,
        handshake_timeout: float,
        max_connections: int | None,
        max_handshakes: int | None,
        max_handshake_bytes: int | None,
        no_delay: bool,
        keep_alive: int,
        alpn_continue: bool,
        renegotiation_limit: int,
        renegotiation_window: float,
        psk_hint: bytes | None = None,
        partial_record_timeout: float = 60.0,
        max_per_peer: int | None = None,
    ) -> None: ...
    def set_context(self, context: Context) -> None:
        """Exchange the default context, for new connections. Any thread."""
    def set_wants(
        self, hello: bool, alpn: bool, client: bool, status: bool, psk: bool, accepted: bool, dropped: bool, sessions: int = 0
    ) -> None: ...
    def record(self, keys: bool, offer: bool, trace: bool) -> None:
        """What new connections record, as `Connection.record`."""
    def listen(self, reactor: Reactor, fd: int) -> None:
        """Accept on a listening descriptor, which is the gate's from now on, also when this raises.

        Raises:
            OSError: the kernel refused.
            UsageStateError: the reactor is another process's, or its loop is closed.
        """
    def unlisten_all(self) -> None: ...
    def evict(self) -> None:
        """End the connections that are not sockets yet."""
    @property
    def open_connections(self) -> int: ...
    @property
    def handshaking(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def bytes_read(self) -> int:
        """Of connections that are gone."""
    @property
    def bytes_written(self) -> int:
        """Of connections that are gone."""
    @property
    def handshakes_full(self) -> int: ...
    @property
    def handshakes_resumed(self) -> int: ...
    @property
    def handshakes_failed(self) -> Mapping[str, int]:
        """How many handshakes failed, by error code."""

has_reactor: bool
"""Whether this build has the native driver: on Linux, unless it was built with TLSIO_PORTABLE=1."""

@final
class Reactor:
    """The engine's reactor in one event loop. Belongs to the loop's thread.

    Raises:
        OSError: no epoll descriptor to be had.
    """

    def __init__(self, loop: AbstractEventLoop) -> None: ...
    def close(self) -> None:
        """Give the loop and the kernel back what was taken."""
    @property
    def forked(self) -> bool:
        """It belongs to the parent process."""
    @property
    def is_closed(self) -> bool: ...
    @property
    def load(self) -> int:
        """Descriptors in its care: listeners, connections, and what is on its way out."""
