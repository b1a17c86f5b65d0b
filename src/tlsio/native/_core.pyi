"""The typed face of the native module."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context as ContextVars
from typing import Any, Final, Protocol, TypeAlias, final

from tlsio.model.faults import Fault
from tlsio.native.context_spec import ContextSpec, LabelledMaterial

MAX_PSK_IDENTITY: Final[int]  # bytes
MAX_PSK_KEY: Final[int]
MAX_SESSION_BYTES: Final[int]

# ASK_*: the questions that a connection asks its owner (tio_question in engine.h).
ASK_HELLO: Final[int]
ASK_VERIFY: Final[int]
ASK_CLIENT: Final[int]
ASK_STATUS: Final[int]
ASK_STORE: Final[int]
ASK_SIGN: Final[int]
ASK_JOB: Final[int]

# The handshakes of one thread that may wait for signatures made elsewhere.
KEY_LIMIT: Final[int]

def has_room_to_sign() -> bool:
    """Tell whether another handshake of this thread may wait for a signature made elsewhere."""

REHANDSHAKE_DROPPED: Final[int]
REHANDSHAKE_UNJUDGED: Final[int]

SESSIONS: Final[int]
"""For `set_wants`: report new sessions; a server also asks for the session to resume."""
STATEFUL: Final[int]
"""In addition: issue session ids instead of tickets that contain the session."""
STATEFUL_13: Final[int]
"""The same, only for TLS 1.3 clients."""

# (host, port), with flow and scope for IPv6; "" for a Unix socket, None if unknown.
Address: TypeAlias = tuple[str, int] | tuple[str, int, int, int] | str | None

# --- contexts (context.pxi, material.pxi) ---

@final
class Pfx:
    """An opened PKCS#12: a private key, its certificate, and further certificates.

    Raises:
        ConfigError: not PKCS#12, a wrong passphrase, too many iterations, an algorithm that OpenSSL
            no longer has, no key or no certificate.
    """

    def __init__(self, material: LabelledMaterial) -> None: ...
    @property
    def label(self) -> str: ...
    @property
    def authorities(self) -> tuple[LabelledMaterial, ...]:
        """The further certificates in DER. They are sent as the chain and, as in Node, trusted."""

def open_pfx(material: LabelledMaterial, work: Work, *, legacy: bool = False) -> tuple[bytes | None, tuple[bytes, ...]]:
    """Return the private key (PKCS#8 in DER, secret!) and the certificates of a PKCS#12.

    The certificate of the key comes first. A PKCS#12 without a key, or without certificates, is
    read too.

    Args:
        material: The PKCS#12.
        work: Counts its iterations.
        legacy: Also read RC2 and RC4, if there is OpenSSL's provider for them.

    Raises:
        ConfigError: not PKCS#12, a wrong passphrase, too many iterations, or an algorithm that
            OpenSSL does not have.
    """

@final
class Work:
    """Counts the iterations that decrypting one file needs, before any of them is done."""

    def __init__(self, label: str) -> None:
        """Begin to count.

        Args:
            label: Names the file in the error.
        """

    def add_iterations(self, count: int) -> None:
        """Count iterations.

        Raises:
            ConfigError: there are too many with those before (`ERR_TLS_TOO_MANY_ITERATIONS`).
        """

    def add_key(self, data: bytes) -> None:
        """Count those of a private key in DER; there are none unless it is encrypted PKCS#8.

        Raises:
            ConfigError: there are too many with those before (`ERR_TLS_TOO_MANY_ITERATIONS`).
        """

def has_legacy_algorithms() -> bool:
    """Return whether OpenSSL's legacy provider can be loaded."""

@final
class Roots:
    """Parsed roots and CRLs, shared by reference between contexts and never changed.

    Args:
        materials: Certificates to trust: PEM with at least one, or DER.
        crls: If there are any, every issuer in a chain must have one here: the whole chain is
            checked.
        base: Roots and CRLs to add to; it stays unchanged.

    Raises:
        ConfigError: a material cannot be read.
    """

    def __init__(
        self, materials: Iterable[LabelledMaterial] = (), *, crls: Iterable[LabelledMaterial] = (), base: Roots | None = None
    ) -> None: ...
    @property
    def lists_end(self) -> int:
        """When the first CRL expires, in POSIX seconds; 0: never."""
    @property
    def list_issuers(self) -> tuple[tuple[bytes, bool], ...]:
        """The issuer of each CRL (a Name in DER), and whether a trusted certificate signed it."""
    def __len__(self) -> int: ...
    @property
    def certificates(self) -> tuple[bytes, ...]:
        """DER in the order given, with OpenSSL's settings if it is a TRUSTED CERTIFICATE."""
    def find(self, subject: bytes) -> tuple[bytes, ...]:
        """Return the DER of the trusted certificates with this subject (a Name in DER)."""
    @property
    def digest(self) -> bytes:
        """SHA-256 of the certificates and CRLs, independent of order and encoding."""
    @property
    def subject_names(self) -> tuple[bytes, ...]:
        """DER of the subjects, without duplicates, in the order given."""

openssl_version: str
"""The name, version and date of the OpenSSL in use."""

def default_cert_file() -> str:
    """Return where this OpenSSL looks for the system's roots: one file."""

def default_cert_directory() -> str:
    """Return where this OpenSSL looks for the system's roots: directories, separated by colons."""

# --- Diffie-Hellman parameters (dh.pxi) ---

@final
class DhParameters:
    """The search for new parameters.

    Attributes:
        candidates: How many steps `generate` has made. Another thread may read it meanwhile.
    """

    @property
    def candidates(self) -> int: ...
    def generate(self, bits: int) -> bytes:
        """Return new parameters in PEM: a safe prime and the generator 2. Takes up to minutes.

        Raises:
            ConfigError: OpenSSL cannot generate them, or `cancel` was called.
        """

    def cancel(self) -> None:
        """End `generate`, which runs in another thread, soon."""

    @staticmethod
    def named(group: bytes) -> bytes:
        """Return the parameters of a group, such as `b"ffdhe2048"` (RFC 7919 appendix A), in PEM.

        Raises:
            ConfigError: OpenSSL does not know the group.
        """

# --- signatures and revocation (proofs.pxi) ---

def verify_signature(spki: bytes, algorithm: bytes, data: bytes, signature: bytes) -> bool:
    """Return whether a key has signed one element of DER.

    Args:
        spki: SubjectPublicKeyInfo.
        algorithm: AlgorithmIdentifier, with its parameters.
        data: What was signed, one element.
        signature: BIT STRING.
    """

def verify_chain(
    roots: Roots,
    chain: Sequence[bytes],
    *,
    at: int,
    of_server: bool,
    level: int,
    strict: bool = False,
    partial_chain: bool = False,
) -> tuple[tuple[bytes, ...], tuple[tuple[int, int], ...]]:
    """Verify a chain as a connection does, and return what OpenSSL found.

    Args:
        roots: What is trusted, and CRLs.
        chain: DER, the leaf first; of the others, the order does not matter.
        at: The instant of the verification, in POSIX seconds.
        of_server: The leaf is a server's; otherwise it is a client's.
        level: The security level.
        strict: Also check what RFC 5280 requires (X509_STRICT).
        partial_chain: The chain may end at a trusted certificate that is not a root.

    Returns:
        The chain that OpenSSL built, leaf first, and pairs of X509_V_ERR number and depth.

    Raises:
        ValueError: a certificate cannot be read, or the chain is empty.
    """

def has_valid_extensions(certificate: bytes) -> bool:
    """Return whether OpenSSL accepts all extensions of a certificate.

    It rejects those that are malformed, duplicate, or critical and unknown.
    """

def is_ocsp_response(data: bytes) -> bool:
    """Return whether this is one OCSPResponse (RFC 6960 §4.2.1), encoded as OpenSSL would.

    The content of a successful response is not examined.
    """

def check_issued(issuer: bytes, certificate: bytes) -> int:
    """Return 0 if `issuer` can have issued `certificate`, else an X509_V_ERR number."""

@final
class RevokedSerials:
    """The serial numbers of a CRL, in 8 bytes each plus a copy of their DER.

    Args:
        content: The content of revokedCertificates.

    Raises:
        ValueError: an entry is malformed, names an issuer of its own, or has an unknown critical
            extension.
    """

    def __init__(self, content: bytes) -> None: ...
    def __len__(self) -> int: ...
    def find(self, serial: bytes) -> bytes | None:
        """Return the revocation date (a Time in DER) of a serial number (an INTEGER in DER)."""

def compression_algorithms() -> tuple[str, ...]:
    """Return the algorithms with which this OpenSSL can compress certificates."""

def security_level(cipher_list: str) -> int:
    """Return the security level of a cipher list: its `@SECLEVEL`, or the library's default."""

def list_keys(chain: Sequence[bytes]) -> list[bytes]:
    """Return the key in `Lists` of each certificate of a verified chain except the last.

    Args:
        chain: DER, leaf first.
    """

@final
class Lists:
    """The CRLs that the engine can consult for sessions to be resumed. Any thread may change it.

    Args:
        required: A certificate without an available CRL does not pass.
        room: The most CRLs it holds; the least recently used is removed first.
    """

    def __init__(self, *, required: bool, room: int) -> None: ...
    def put(self, key: bytes, serials: RevokedSerials | None, until: int) -> None:
        """Publish a validated CRL or, with `serials` None, the fact that there is none.

        Args:
            key: 32 bytes, from `list_keys`.
            serials: What the CRL revokes.
            until: POSIX seconds; afterwards no certificate passes by this entry.
        """
    def until(self, key: bytes) -> int:
        """Return when a published entry expires, in POSIX seconds; 0: nothing was published."""
    def passes(self, entries: bytes, now: int) -> bool:
        """Return whether no certificate is revoked, and each one's CRL is known and fresh."""

def cipher_name(standard_name: str) -> str | None:
    """Return OpenSSL's name of a suite by IANA's; None if it has none."""

def cipher_names() -> tuple[str, ...]:
    """Return OpenSSL's names of all cipher suites."""

@final
class Context:
    """One SSL_CTX and its settings, for connections of either role and any thread; never changed.

    Raises:
        ConfigError: OpenSSL rejected a setting; `code` is Node's, `reason` and `openssl_errors` are
            OpenSSL's own.
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
        """Our certificates in DER, each with its issuer, or None if the issuer is unknown."""
    @property
    def dh_bits(self) -> int:
        """Size of the given Diffie-Hellman parameters; 0: none were given."""

# --- pre-shared keys (psk.pxi) ---

def run_in(context: ContextVars, call: Callable[..., object], *args: object) -> object:
    """Call in a connection's context variables, unless this code runs in them already."""

def in_psk_callback() -> bool:
    """Return whether this thread is inside an OpenSSL call that runs a `psk_callback`."""

# --- connections (connection.pxi) ---

class Owner(Protocol):
    """Receives a connection's events: always from the loop, never from inside an OpenSSL call."""

    def _asked(self, question: int) -> None:
        """Answer `question`, an ASK_*, at once or later; until then the handshake pauses."""
    def _opened(self) -> None: ...
    def _readable(self) -> None:
        """Read: called once for each `await_input`, when there is input or its end."""
    def _drained(self) -> None:
        """At most the high-water mark is waiting."""
    def _input_ended(self, truncated: bool) -> None: ...
    def _finished(self) -> None:
        """Both directions have ended."""
    def _keylogged(self, lines: bytes) -> None:
        """Take lines of the key log, each with its newline. Secret!"""
    def _traced(self, text: bytes) -> None: ...
    def _session_made(self, der: bytes, lifetime: int) -> None:
        """Take a session that may be resumed for `lifetime` seconds. Secret!

        Clients only, after `want_sessions`.
        """
    def _broken(self) -> None:
        """The connection broke; `fault()` has the reason."""
    def _find_key(self, given: bytes | None) -> tuple[bytes, bytes] | None:
        """Return identity and pre-shared key. This and `_key_failed` are called inside OpenSSL."""
    def _key_failed(self, error: BaseException) -> None:
        """Take the exception of `_find_key`; the handshake fails."""
    def _listener_returned(self, result: object) -> None:
        """Take the result of the flow, unless it is None or a bool."""
    def _listener_failed(self, error: BaseException) -> None:
        """Take the exception of the flow."""
    def _crashed(self, error: BaseException) -> None:
        """Take an exception of our own code during a report: the connection ends."""

class Driver(Protocol):
    """Transports a connection's ciphertext if no reactor does."""

    def wake(self) -> None:
        """There is ciphertext for `output`, or the stream must be shut down (`fin_due`)."""
    def set_deadline(self, when: float | None) -> None:
        """Call `expire` at that instant of CLOCK_MONOTONIC; None: cancel that."""
    def later(self, call: Callable[..., object], *args: object) -> None:
        """Call it when no OpenSSL call is running."""
    def schedule(self, connection: Connection) -> None:
        """Call `settle` in the loop's next pass."""

@final
class Connection:
    """One TLS connection: the engine's, and a queue of plaintext above it.

    Its ciphertext goes through a reactor (`attach`, or accepted by a gate) or through a driver. It
    belongs to one thread.
    """

    def __init__(self, context: Context, is_server: bool, driver: Driver | None = None) -> None: ...
    def bind(self, owner: Owner, context_vars: ContextVars | None, high_water: int) -> None:
        """Set the owner, which receives the events, and the context variables in which it does.

        The connection belongs to the calling thread and process. Without a context there is no
        loop, and any thread may use it.
        """
    def set_high_water(self, high_water: int) -> None:
        """Change the number of waiting bytes above which `write` returns False."""
    @property
    def inherited(self) -> bool:
        """Whether this process is a child that was forked after the connection was made."""
    def check_caller(self, in_child: bool = False) -> None:
        """Check that this is the owner's thread and process; read, write and end do so themselves.

        Args:
            in_child: Also allow a forked child.

        Raises:
            UsageStateError: it is another one.
        """
    def attach(self, reactor: Reactor, fd: int) -> None:
        """Use a connected descriptor. The connection owns it from now on, even if this raises.

        Raises:
            OSError: the kernel refused.
            UsageStateError: the reactor belongs to another process, or its loop is closed.
        """
    def set_server_name(self, name: str) -> None:
        """Set the name for SNI, an A-label."""
    def set_session(self, der: bytes) -> bool:
        """Offer a session for resumption. Return False if the bytes are not a session.

        If the server resumes it, ASK_VERIFY is asked without a certificate.
        """
    def want_sessions(self) -> None:
        """From now on pass the sessions that the server issues to `_session_made`."""
    def take_sessions(self) -> list[tuple[bytes, bytes, int]]:
        """Return id, DER and lifetime in seconds of each new session. Secret!"""
    def set_identity(self, context: Context) -> bool:
        """Use the certificates, keys and chains of `context`. Return False if it is too late.

        Raises:
            ConfigError: OpenSSL rejects one, or there is none.
        """
    def set_min_dh_size(self, bits: int) -> None:
        """Client: refuse smaller Diffie-Hellman groups."""
    def set_strict_chain(self) -> None:
        """Client: verify the server's chain with OpenSSL's checks of RFC 5280 (X509_STRICT)."""
    def record(self, keys: bool = False, offer: bool = False, trace: bool = False) -> None:
        """Record the key log (`_keylogged`), the hello (`offer`) or a trace (`_traced`).

        Raises:
            UsageStateError: this OpenSSL was built without SSL_trace.
        """
    @property
    def offer(self) -> bytes | None:
        """The client's hello, if it was recorded: handshake header and body."""
    def set_wants(
        self, hello: bool, alpn: bool, client: bool, status: bool, psk: bool, alpn_continue: bool, sessions: int = 0, nameless: bool = False
    ) -> None:
        """Set which questions a server asks."""
    def set_limits(self, handshake: float, partial_record: float, handshake_bytes: int = 0) -> None:
        """Set seconds for a repeated handshake and a complete record, and bytes for a handshake."""
    def request_status(self) -> None:
        """Request an OCSP response; ASK_STATUS is asked even if the server has none."""
    def use_psk(self) -> None:
        """Ask the owner for a pre-shared key."""
    def set_psk_hint(self, hint: bytes | None) -> None:
        """Set what a server sends before TLS 1.3 to help the client choose; at most 256 bytes."""
    def use_gate(self, gate: Gate) -> None:
        """Use the ticket keys and counters of a server."""
    def set_renegotiation(self, limit: int, window: float) -> None:
        """Limit how often the peer may renegotiate within `window` seconds; 0: never."""

    def refuse_renegotiation(self) -> None:
        """From now on a renegotiation by the peer ends the connection."""

    @property
    def awaits_rehandshake(self) -> bool:
        """Whether another handshake was requested and is not complete."""
    def rehandshake(self, verify: int | None, accept_unverified: bool) -> str | None:
        """Start another handshake. Return OpenSSL's reason if that is not possible, else None.

        `verify`: SSL_VERIFY_* bits; None leaves them unchanged.
        """

    def start(self) -> None:
        """Begin the handshake."""
    def later(self, call: Callable[..., object], *args: object) -> None:
        """Call it when the OpenSSL call that runs a `psk_callback` has returned."""

    # answers
    def answer_hello(self, context: Context | None = None, protocol: bytes | None = None) -> None: ...
    def answer_verify(self, error: int) -> None:
        """Answer with 0 to accept, or an X509_V_ERR number, which selects the alert."""
    def answer_session(self, der: bytes) -> bool:
        """Answer with the session found for `asked_session`, before `answer_hello`.

        Returns:
            False if the bytes are not a session.
        """
    def answer_store(self) -> None:
        """The new sessions are stored, or lost."""
    @property
    def signing(self) -> tuple[Any, str, bytes, int] | None:
        """The signature that is wanted, during ASK_SIGN.

        The key, the scheme's name of IANA, the message, and the size of the longest signature.
        """
    @property
    def signs_here(self) -> bool:
        """Whether this thread asked for the signature: an answer in another one breaks it."""
    def answer_sign(self, signature: bytes) -> bool:
        """Answer ASK_SIGN.

        Returns:
            False if it is not a signature of the message by this key: the question stays open.
        """
    def answer_job(self) -> None:
        """Answer ASK_JOB: another handshake of this thread no longer waits for its signature."""
    def answer_client(self) -> None:
        """Accept."""
    def answer_status(self, responses: Sequence[bytes | None] = ()) -> None:
        """Server: staple a response for each of `identities`. Client: accept the response."""
    def refuse(self, alert: int) -> None: ...
    def resume(self) -> None:
        """Continue after an answer that was given after `_asked` had returned."""

    # a driver's side
    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Process received ciphertext and all that follows from it."""
    def feed_eof(self) -> None: ...
    def feed_error(self, error: int) -> None:
        """Receiving failed; `error` is an errno. Earlier input is still read."""
    def send_failed(self, error: int) -> None:
        """Sending failed; `error` is an errno."""
    def output(self) -> bytes | None:
        """Return ciphertext to send. None: there is none, or `sent` is due for the previous one."""
    def sent(self) -> None:
        """The stream has accepted the result of `output`, which counted as unsent until now."""
    @property
    def fin_due(self) -> bool:
        """Whether all is sent and the stream must be shut down; then call `fin_sent`."""
    def fin_sent(self) -> None: ...
    @property
    def acknowledged(self) -> int:
        """Ciphertext that the peer's kernel or the stream has accepted."""
    def count_undelivered(self, unacknowledged: int | None = None) -> int:
        """Count the wire bytes with data that the peer has not acknowledged.

        `unacknowledged`: the bytes in the kernel's send buffer, for a connection over a stream.
        """
    def look_for_reset(self) -> None:
        """Report a reset that has lost data and that no read will notice."""
    def expire(self) -> None:
        """Handle a passed deadline: the handshake's, or the one given to the driver."""
    def settle(self) -> None:
        """Run a turn: continue reading, send gathered output, and report the results."""
    @property
    def held_input(self) -> int:
        """Ciphertext bytes that wait for a reader."""
    @property
    def needs_turn(self) -> bool:
        """Whether progress is possible that no new input will announce."""

    # plaintext
    def read(self, limit: int) -> bytes | None:
        """Return at most `limit` bytes. None: nothing now, check `input_ended`.

        Raises:
            UsageValueError: `limit` is less than 1.
        """
    def await_input(self) -> None: ...
    def cancel_await(self) -> None: ...
    def set_flow(self, flow: Callable[[bytes], object] | None) -> None:
        """Pass each chunk to `flow`; None stops."""
    @property
    def has_flow(self) -> bool: ...
    def write(self, data: bytes | bytearray | memoryview) -> bool:
        """Queue a copy. Return whether at most the high-water mark is waiting."""
    def await_drain(self) -> None: ...
    on_send_failure: Callable[[], object] | None
    """Called once when sending has failed; the peer's data may still be read."""
    def end(self) -> None:
        """Send what is queued, close_notify and FIN."""
    def close(self) -> None:
        """End, and discard further input."""
    def destroy(self, linger: bool = False) -> None:
        """Release the descriptor. `linger`: gathered output and FIN are still sent."""
    def release(self) -> None:
        """Forget the owner and the flow for good."""
    @property
    def holds_plaintext(self) -> bool:
        """Whether written data is not encrypted yet."""

    @property
    def writable_length(self) -> int:
        """Waiting bytes: plaintext in the queue and unsent ciphertext."""

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
        """The errno of a failed send, or 0."""
    @property
    def fileno(self) -> int:
        """The descriptor, or -1."""
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
        """When plaintext was last read or written, on the loop's clock."""
    @property
    def peer_address(self) -> Address: ...
    @property
    def local_address(self) -> Address: ...
    def fault(self) -> Fault:
        """Return why it broke."""

    # what was agreed on; readable after the end
    @property
    def server_name(self) -> str | None: ...
    @property
    def offered_protocols(self) -> list[bytes]:
        """ALPN names of the hello, during ASK_HELLO."""
    @property
    def identities(self) -> tuple[tuple[bytes, bytes | None], ...]:
        """Server, during ASK_STATUS: (certificate, issuer) in DER; the client gets one."""
    @property
    def stapled(self) -> bytes | None:
        """Client, during ASK_STATUS: the server's OCSP response."""
    @property
    def alpn_protocol(self) -> bytes | None: ...
    @property
    def npn_protocol(self) -> bytes | None: ...
    @property
    def protocol(self) -> str | None: ...
    @property
    def cipher(self) -> tuple[str, str, str] | None:
        """OpenSSL's name, the standard name, the first version that has it."""
    @property
    def cipher_id(self) -> int | None:
        """The cipher suite's number in IANA's registry."""
    @property
    def session_reused(self) -> bool: ...
    @property
    def resumed(self) -> bool:
        """Whether the verdict on the peer is that of an earlier connection."""
    @property
    def chain_facts(self) -> tuple[int, bytes, tuple[bytes, ...]]:
        """Client: what a session must record of the verified chain.

        The earliest notAfter (POSIX seconds), entries for `Lists`, SHA-256 of each SPKI, leaf
        first.
        """
    @property
    def asked_session(self) -> bytes | None:
        """Id of the session that the client wants to resume, during ASK_HELLO."""
    @property
    def session(self) -> bytes | None:
        """The current session in DER. Secret!"""
    @property
    def ticket(self) -> bytes | None:
        """The session's ticket."""
    @property
    def certificate(self) -> bytes | None:
        """Our own certificate in DER."""
    @property
    def psk_used(self) -> bool:
        """Whether the peer authenticated by an external pre-shared key, not by a certificate."""
    @property
    def psk_identity(self) -> str | None:
        """The identity of that key."""
    def uses(self, context: Context) -> bool:
        """Tell whether the connection is under this context.

        That is the one of its server name, or the default at the time of its handshake.
        """
    @property
    def asks_certificate(self) -> bool:
        """Whether the peer must show a certificate; a client always requests one."""

    @property
    def peer_certificate(self) -> bytes | None:
        """The peer's own certificate in DER."""
    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        """All certificates that the peer sent, in DER, its own first; only its own if resumed."""
    @property
    def verified_chain(self) -> tuple[bytes, ...]:
        """The verified chain in DER, leaf first; () if there is none."""
    @property
    def verify_errors(self) -> tuple[tuple[int, int], ...]:
        """X509_V_ERR number and depth, in the order found."""
    @property
    def pins_failed(self) -> bool: ...
    @property
    def accepts_unverified(self) -> bool:
        """Server: whether the latest handshake accepts a client with a bad certificate."""
    @property
    def key_info(self) -> tuple[str, str | None, int] | None:
        """Kind (DH, ECDH, TLSGroup), name and bits; None: no ephemeral key was exchanged."""
    @property
    def shared_sigalgs(self) -> list[str]: ...
    @property
    def peer_signature(self) -> str | None:
        """How the peer signed the handshake, such as "ECDSA+SHA256"; None: it did not."""
    @property
    def requested_authorities(self) -> tuple[bytes, ...]:
        """Client: the names (DER) of the authorities in the server's request for a certificate."""
    @property
    def has_secure_renegotiation(self) -> bool:
        """Whether the peer supports RFC 5746; always in TLS 1.3."""
    @property
    def sent_intermediates(self) -> int:
        """How many certificates we send after our own."""
    @property
    def client_offer(self) -> tuple[int, tuple[str, ...], tuple[str, ...], tuple[int, ...]]:
        """Server: version of the hello, suites, groups and signature algorithms, as far as read."""
    @property
    def finished(self) -> tuple[bytes | None, bytes | None]:
        """The verify_data of our Finished and of the peer's."""
    @property
    def has_extended_master_secret(self) -> bool:
        """Once open: the secret is bound to this handshake (RFC 7627; always in TLS 1.3)."""
    def export_keying_material(self, length: int, label: bytes, context: bytes | None = None) -> bytes:
        """Derive a secret, once the connection is open.

        Raises:
            UsageStateError: before the handshake.
            UsageValueError: OpenSSL rejects the label or the length, or `length` or `context` is
                above 65535 bytes.
        """
    def set_max_send_fragment(self, size: int) -> bool:
        """Limit the plaintext per record, 512 to 16384. Return whether OpenSSL accepts the size."""

# --- servers and loops (reactor.pxi) ---

@final
class Ring:
    """Session ticket keys, 48 bytes each: 16 name, 16 HMAC, 16 AES. Any thread may change it.

    The first key encrypts, all decrypt.
    """

    def __init__(self, keep: float = 0) -> None:
        """Make one random key.

        Args:
            keep: Seconds for which a replaced key still decrypts; 0: without limit.
        """
    def keep(self, seconds: float) -> None:
        """Set for how many seconds a key that is replaced from now on still decrypts."""
    def set(self, keys: Sequence[bytes]) -> None:
        """Replace all keys. Of more than 16, the first 16 are kept.

        Raises:
            UsageError: not a list, an empty one, or a key that is not 48 bytes long. The keys are
                unchanged.
        """
    def push(self, key: bytes) -> None:
        """Add a key in front; if there are more than 16, the oldest is removed.

        Raises:
            UsageError: the key is not 48 bytes long.
        """
    def first(self) -> bytes: ...

class HasContext(Protocol):
    """An owner of a native context."""

    native: Context

class FoundContext(Protocol):
    """What `_find` returns.

    Attributes:
        context: What serves the name; None: the default.
        lasts: Seconds for which the engine may serve the name so by itself; infinity: until
            `Gate.forget`; 0: it must ask each time.
    """

    @property
    def context(self) -> HasContext | None: ...
    @property
    def lasts(self) -> float: ...

class GateOwner(Protocol):
    """The server of a gate, which receives the gate's events."""

    def _find(self, name: str | None) -> FoundContext | None:
        """Return the context for a server name; None: the question needs a socket."""
    def _adopt(self, connection: Connection, context: Any) -> None:
        """Make a socket of a connection, with `connection.bind`.

        `context` is the one that `_find` has returned for it; None: there was none.
        """
    def _connected(self, address: Address) -> None: ...
    def _dropped(self, address: Address) -> None: ...
    def _logs_failure(self) -> bool: ...
    def _accept_failed(self, number: int) -> None: ...
    def _check_closed(self) -> None:
        """While the gate is `closing`: a connection without a socket has gone."""

class SyncSessionStore(Protocol):
    """A session store that answers synchronously: it is used before there is a socket."""

    def find(self, session_id: bytes, id_context: bytes) -> bytes | None: ...
    def keep(self, made: list[tuple[bytes, bytes, int]], id_context: bytes) -> None:
        """Store id, DER and lifetime in seconds of each new session."""
    def reject_last(self) -> None:
        """The last result of `find` was not a session."""

@final
class Gate:
    """One server's limits, counters and default context, shared by its listeners.

    Times are seconds, 0: none. Limits: None for none. `keep_alive`: seconds before the first probe,
    -1: off.
    """

    max_connections: int | None
    queues_beyond: bool
    closing: bool
    wants_failures: bool
    wants_socket: bool
    answers_challenges: bool
    store: SyncSessionStore | None

    def __init__(
        self,
        server: GateOwner,
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
        plain_answer: bytes | None = None,
        threads: int = 0,
    ) -> None: ...
    def forget(self) -> None:
        """Ask the server again about each server name. Any thread may call it."""
    def set_wants(
        self,
        hello: bool,
        alpn: bool,
        client: bool,
        status: bool,
        psk: bool,
        accepted: bool,
        dropped: bool,
        sessions: int = 0,
        nameless: bool = False,
        context: Context | None = None,
    ) -> None:
        """Set the questions for new connections, and their new default context. Any thread."""
    def record(self, keys: bool, offer: bool, trace: bool) -> None:
        """Set what new connections record, as `Connection.record` does."""
    def listen(self, reactor: Reactor, fd: int) -> None:
        """Accept on a listening descriptor. The gate owns it from now on, even if this raises.

        Raises:
            OSError: the kernel refused.
            UsageStateError: the reactor belongs to another process, or its loop is closed.
        """
    def start(self) -> None:
        """Start the handshake threads, if there are any: without them nothing is accepted.

        Raises:
            OSError: the system has no more threads.
        """
    def unlisten_all(self) -> None:
        """Stop accepting. The handshake threads end, and the loop continues their handshakes."""
    def evict(self) -> None:
        """End the connections that are not sockets yet."""
    @property
    def upgraded(self) -> int:
        """Open connections over streams; set by the server, and counted for `max_connections`."""
    @upgraded.setter
    def upgraded(self, value: int) -> None: ...
    @property
    def open_connections(self) -> int: ...
    @property
    def handshaking(self) -> int: ...
    @property
    def accepted(self) -> int: ...
    @property
    def dropped(self) -> int: ...
    @property
    def owes_reports(self) -> bool:
        """Whether there are refused connections or failed handshakes that are not reported yet."""
    @property
    def bytes_read(self) -> int:
        """Of closed connections."""
    @property
    def bytes_written(self) -> int:
        """Of closed connections."""
    @property
    def handshakes_full(self) -> int: ...
    @property
    def handshakes_resumed(self) -> int: ...
    @property
    def handshakes_failed(self) -> Mapping[str, int]:
        """The number of failed handshakes, by error code."""

has_reactor: bool
"""Whether this build has the native driver: on Linux, unless built with TLSIO_PORTABLE=1."""

@final
class Reactor:
    """The engine's reactor in one event loop. Belongs to the loop's thread.

    Raises:
        OSError: epoll is not available, or there are no descriptors left.
    """

    def __init__(self, loop: AbstractEventLoop) -> None: ...
    def close(self) -> None:
        """Remove the reader from the loop and close all descriptors."""
    @property
    def forked(self) -> bool:
        """Whether it belongs to the parent process."""
    @property
    def is_closed(self) -> bool: ...
    @property
    def load(self) -> int:
        """Number of descriptors: listeners, connections, and those that are being closed."""
