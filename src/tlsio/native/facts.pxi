# What a connection has agreed on and what became of it: OpenSSL's and the engine's facts as Python
# values.

cdef tuple FAULT_KINDS = ("ssl", "alert", "verify", "hangup", "unanswered", "os", "limit", "timeout", "refused", "memory")
cdef tuple FAULT_LIMITS = ("", "handshake_bytes", "key_updates", "partial_record", "dh_size", "renegotiations", "renegotiation_off",
                           "certificate_requests")

cdef uint16_t WANT_RECORDS = TIO_WANT_KEYS | TIO_WANT_OFFER | TIO_WANT_TRACE

cdef tuple _KEY_KINDS = (None, "DH", "ECDH", "TLSGroup")

# Node's names (GetSharedSigalgs in its src/crypto/crypto_tls.cc); all others have OpenSSL's short
# name.
cdef dict _SIGNATURES = {
    EVP_PKEY_RSA: "RSA", EVP_PKEY_RSA_PSS: "RSA-PSS", EVP_PKEY_DSA: "DSA", EVP_PKEY_EC: "ECDSA",
    EVP_PKEY_ED25519: "Ed25519", EVP_PKEY_ED448: "Ed448",
}


cdef tuple key_info_of(tio_conn *c):
    """Return (kind, name or None, bits); None: no ephemeral key."""
    cdef tio_key_info info = tio_conn_key_info(c)
    if info.kind == TIO_KEY_NONE:
        return None
    return (_KEY_KINDS[info.kind], info.name.decode() if info.name != NULL else None, info.bits)


cdef list sigalgs_of(SSL *ssl):
    cdef int sign, digest, i
    found = []
    for i in range(SSL_get_shared_sigalgs(ssl, 0, NULL, NULL, NULL, NULL, NULL)):
        if SSL_get_shared_sigalgs(ssl, i, &sign, &digest, NULL, NULL, NULL) > 0:
            found.append(f"{_SIGNATURES.get(sign) or name_of(sign)}+{name_of(digest)}")
    return found


# A hello may have 32,000 entries of a kind; OpenSSL itself has about 160 suites and 60 algorithms, and
# browsers offer 20. As in model/faults.py.
cdef enum:
    _MAX_OFFERED = 64


cdef tuple offer_of(SSL *ssl):
    """Return what a client offers: failing must stay cheap. Suites are cut at `_MAX_OFFERED`; the
    other lists are left out if they are longer.
    """
    cdef CIPHER_STACK *ciphers = SSL_get_client_ciphers(ssl)
    cdef int groups[_MAX_OFFERED]
    cdef int i, count = SSL_get1_groups(ssl, NULL)
    cdef int signature_count, suite_count = min(sk_SSL_CIPHER_num(ciphers), _MAX_OFFERED) if ciphers != NULL else 0
    cdef unsigned char sign, digest
    suites = [SSL_CIPHER_get_name(sk_SSL_CIPHER_value(ciphers, i)).decode() for i in range(suite_count)]
    names, signatures = [], []
    if 0 < count <= _MAX_OFFERED:
        SSL_get1_groups(ssl, groups)
        names = [text_of(SSL_group_to_name(ssl, groups[i])) for i in range(count)]
    signature_count = SSL_get_sigalgs(ssl, 0, NULL, NULL, NULL, NULL, NULL)
    for i in range(signature_count if 0 < signature_count <= _MAX_OFFERED else 0):
        SSL_get_sigalgs(ssl, i, NULL, NULL, NULL, &sign, &digest)
        signatures.append(digest << 8 | sign)
    ERR_clear_error()
    return SSL_client_version(ssl), tuple(suites), tuple([name for name in names if name]), tuple(signatures)


cdef str name_of(int number):
    cdef const char *name = OBJ_nid2sn(number)
    return "UNDEF" if name == NULL else name.decode()


cdef bytes finished_of(SSL *ssl, bint peer):
    """Return the verify_data of a Finished message (EVP_MAX_MD_SIZE is 64), or None before there is
    one.
    """
    cdef unsigned char data[64]
    cdef size_t size = SSL_get_peer_finished(ssl, data, sizeof(data)) if peer else SSL_get_finished(ssl, data, sizeof(data))
    return (<const char *>data)[:size] if size else None


cdef bytes exported_of(SSL *ssl, Py_ssize_t length, bytes label, bytes context):
    cdef bytes secret, given = b"" if context is None else _sized("context", context, 0, _MAX_EXPORT)
    if ssl == NULL:
        raise UsageStateError("Keying material cannot be exported before the handshake", code="ERR_TLS_INVALID_STATE")
    if not 1 <= length <= _MAX_EXPORT:
        raise out_of_range("length", f"from 1 to {_MAX_EXPORT}", length)
    secret = PyBytes_FromStringAndSize(NULL, length)
    ERR_clear_error()
    if SSL_export_keying_material(ssl, <unsigned char *>PyBytes_AS_STRING(secret), <size_t>length, PyBytes_AS_STRING(label),
                                  <size_t>PyBytes_GET_SIZE(label), _start(given), <size_t>PyBytes_GET_SIZE(given),
                                  context is not None) == 1:
        return secret
    errors = _drain_errors()
    library, _, reason, _ = errors[0] if errors else (ERR_LIB_SSL, 0, "internal error", "")
    raise UsageValueError(f"Keying material cannot be exported: {reason}", code=_code_of(library, reason),
                          hint="TLS 1.3 exports at most 255 times the hash size; TLS 1.2 reserves the labels that it uses itself.")


cdef object _check_trace():
    if not TIO_TRACES:
        raise UsageStateError("This OpenSSL was built without SSL_trace", code="ERR_FEATURE_UNAVAILABLE_ON_PLATFORM")


@cython.no_gc_clear
cdef class Facts:
    """What can be read from a connection at any time, also after its end."""

    cdef tio_conn *c

    @property
    def is_server(self):
        return tio_conn_role(self.c) == TIO_SERVER

    @property
    def input_ended(self):
        return tio_conn_in(self.c) != TIO_IN_OPEN

    @property
    def truncated(self):
        return tio_conn_in(self.c) == TIO_IN_TRUNCATED

    @property
    def output_ended(self):
        return tio_conn_out(self.c) == TIO_OUT_ENDED

    @property
    def out_error(self):
        """errno of a failed send, or 0."""
        return tio_conn_send_error(self.c)

    @property
    def bytes_read(self):
        return tio_conn_counts(self.c).read

    @property
    def bytes_written(self):
        return tio_conn_counts(self.c).written

    @property
    def wire_bytes_read(self):
        return tio_conn_counts(self.c).wire_read

    @property
    def wire_bytes_written(self):
        return tio_conn_counts(self.c).wire_written

    @property
    def last_activity(self):
        """When plaintext was last read or written, on the loop's clock."""
        return tio_conn_last_activity(self.c) / 1e9

    @property
    def fileno(self):
        """The descriptor, or -1."""
        return tio_conn_fd(self.c)

    @property
    def server_name(self):
        cdef const char *name = tio_conn_server_name(self.c)
        return name.decode("ascii") if name != NULL else None

    @property
    def offered_protocols(self):
        """ALPN names of the hello, during ASK_HELLO."""
        cdef const uint8_t *offered
        cdef size_t at = 0, size, end = tio_conn_offered(self.c, &offered)
        names = []
        while at < end:
            size = offered[at]
            names.append(offered[at + 1:at + 1 + size])
            at += 1 + size
        return names

    @property
    def identities(self):
        """Server, during ASK_STATUS: (certificate, issuer or None) in DER; the client receives one
        of them.
        """
        cdef const tio_status *status = tio_conn_status(self.c)
        return identities_of(status) if status != NULL else ()

    @property
    def stapled(self):
        """Client, during ASK_STATUS: the server's OCSP response, or None."""
        cdef const uint8_t *data
        cdef size_t size = tio_status_get(self.c, &data)
        return (<const char *>data)[:size] if size else None

    @property
    def alpn_protocol(self):
        cdef const unsigned char *name = NULL
        cdef unsigned int size = 0
        if tio_conn_ssl(self.c) == NULL:
            return None
        SSL_get0_alpn_selected(tio_conn_ssl(self.c), &name, &size)
        return (<const char *>name)[:size] if size else None

    @property
    def npn_protocol(self):
        cdef const uint8_t *name = NULL
        cdef size_t size = tio_conn_npn(self.c, &name)
        return (<const char *>name)[:size] if size else None

    @property
    def protocol(self):
        return SSL_get_version(tio_conn_ssl(self.c)).decode() if tio_conn_ssl(self.c) != NULL else None

    @property
    def cipher(self):
        """(OpenSSL's name, the standard name, the first version that has it), or None."""
        cdef const SSL_CIPHER *cipher = SSL_get_current_cipher(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else NULL
        if cipher == NULL:
            return None
        return (SSL_CIPHER_get_name(cipher).decode(), SSL_CIPHER_standard_name(cipher).decode(),
                SSL_CIPHER_get_version(cipher).decode())

    @property
    def cipher_id(self):
        """The number of the cipher suite in IANA's registry, or None."""
        cdef const SSL_CIPHER *cipher = SSL_get_current_cipher(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else NULL
        return None if cipher == NULL else SSL_CIPHER_get_protocol_id(cipher)

    @property
    def session_reused(self):
        return tio_conn_ssl(self.c) != NULL and SSL_session_reused(tio_conn_ssl(self.c)) == 1

    @property
    def resumed(self):
        """Whether the verdict on the peer is that of an earlier connection.

        An external pre-shared key only looks like a resumption. And a server that requests a
        certificate later (TLS 1.3) verifies that one.
        """
        if tio_conn_role(self.c) == TIO_SERVER and tio_conn_verify(self.c) != NULL:
            return False
        return self.session_reused and not self.psk_used

    @property
    def chain_facts(self):
        """Client: what a session must record of the verified chain.

        Returns:
            The earliest notAfter in POSIX seconds, entries for `Lists.passes`, SHA-256 of each
                SPKI, leaf first.
        """
        return chain_facts_of(self.c)

    @property
    def psk_used(self):
        """Whether the peer authenticated by an external pre-shared key."""
        return tio_conn_psk_used(self.c) == 1

    @property
    def psk_identity(self):
        """The identity of that key, or None. UTF-8: the engine offers and accepts no other text."""
        cdef const char *identity = tio_conn_psk_identity(self.c)
        return (<bytes>identity).decode() if identity != NULL else None

    @property
    def asked_session(self):
        """Id of the session that the client wants to resume, during ASK_HELLO, or None."""
        cdef const uint8_t *name
        cdef size_t size = tio_conn_asked_session(self.c, &name)
        return (<const char *>name)[:size] if size else None

    @property
    def session(self):
        """DER of the current session, or None. Secret!"""
        cdef SSL_SESSION *session = SSL_get0_session(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else NULL
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
        cdef SSL_SESSION *session = SSL_get0_session(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else NULL
        cdef const unsigned char *ticket = NULL
        cdef size_t size = 0
        if session != NULL:
            SSL_SESSION_get0_ticket(session, &ticket, &size)
        return (<const char *>ticket)[:size] if size else None

    def uses(self, Context context not None):
        """Whether the connection is under this context: that of its server name, or the default."""
        return context.ptr == tio_conn_context(self.c)

    @property
    def asks_certificate(self):
        """Whether the peer must show a certificate; a client always requests one."""
        return tio_conn_ssl(self.c) != NULL and SSL_get_verify_mode(tio_conn_ssl(self.c)) & SSL_VERIFY_PEER != 0

    @property
    def peer_certificate(self):
        """DER of the peer's own certificate, or None."""
        return der_of(SSL_get0_peer_certificate(tio_conn_ssl(self.c))) if tio_conn_ssl(self.c) != NULL else None

    @property
    def peer_chain(self):
        """DER of all certificates that the peer sent, its own first. Only its own after a
        resumption.
        """
        if tio_conn_ssl(self.c) == NULL:
            return ()
        chain = ders_of(SSL_get_peer_cert_chain(tio_conn_ssl(self.c)))
        own = self.peer_certificate
        if own is not None and chain[:1] != (own,):     # on a server, or after a resumption
            chain = (own, *chain)
        return chain

    @property
    def verified_chain(self):
        """DER of the verified chain, leaf first; () if there is none."""
        cdef const tio_verify *verify = tio_conn_verify(self.c)
        if verify != NULL and verify.chain != NULL:
            return ders_of(verify.chain)
        return ders_of(SSL_get0_verified_chain(tio_conn_ssl(self.c))) if tio_conn_ssl(self.c) != NULL else ()

    @property
    def certificate(self):
        """DER of our own certificate, or None."""
        return der_of(SSL_get_certificate(tio_conn_ssl(self.c))) if tio_conn_ssl(self.c) != NULL else None

    @property
    def sent_intermediates(self):
        """How many certificates we send after our own."""
        cdef X509_STACK *chain = NULL
        if tio_conn_ssl(self.c) == NULL or not SSL_get0_chain_certs(tio_conn_ssl(self.c), &chain) or chain == NULL:
            return 0
        return sk_X509_num(chain)

    @property
    def client_offer(self):
        """Server: (version field of the hello, names of the suites, names of the groups, numbers of
        the signature algorithms), as far as OpenSSL has read them.
        """
        return offer_of(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else (0, (), (), ())

    @property
    def verify_errors(self):
        """(X509_V_ERR number, depth) in the order found."""
        cdef const tio_verify *verify = tio_conn_verify(self.c)
        if verify == NULL:
            result = self._resumed_result()
            return () if result in (X509_V_OK, X509_V_ERR_CERT_REJECTED) else ((result, 0),)
        return verify_errors_of(verify)

    @property
    def key_info(self):
        """(kind, name or None, bits) of the ephemeral key, or None."""
        return key_info_of(self.c)

    @property
    def shared_sigalgs(self):
        return sigalgs_of(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else []

    @property
    def peer_signature(self):
        """How the peer signed the handshake, in the form of `shared_sigalgs`; None: it did not."""
        cdef int digest = 0, sign = 0
        cdef SSL *ssl = tio_conn_ssl(self.c)
        if ssl == NULL or not SSL_get_peer_signature_type_nid(ssl, &sign):
            return None
        name = _SIGNATURES.get(sign) or name_of(sign)
        return f"{name}+{name_of(digest)}" if SSL_get_peer_signature_nid(ssl, &digest) and digest else name

    @property
    def requested_authorities(self):
        """The DER of the names that a server's request for a certificate contains, in its order."""
        cdef const X509_NAME_STACK *names = SSL_get0_peer_CA_list(tio_conn_ssl(self.c)) if tio_conn_ssl(self.c) != NULL else NULL
        cdef int i, count = sk_X509_NAME_num(names) if names != NULL else 0
        return tuple([_name_of(sk_X509_NAME_value(names, i)) for i in range(count)])

    @property
    def has_secure_renegotiation(self):
        """RFC 5746; true in TLS 1.3, which has no renegotiation."""
        cdef SSL *ssl = tio_conn_ssl(self.c)
        return ssl != NULL and (SSL_version(ssl) >= TLS1_3_VERSION or SSL_get_secure_renegotiation_support(ssl) == 1)

    @property
    def finished(self):
        """The verify_data of our Finished and of the peer's; None before they exist."""
        return (finished_of(tio_conn_ssl(self.c), False), finished_of(tio_conn_ssl(self.c), True)) if tio_conn_ssl(self.c) != NULL else (None, None)

    @property
    def has_extended_master_secret(self):
        """RFC 7627; always true in TLS 1.3."""
        return SSL_version(tio_conn_ssl(self.c)) >= TLS1_3_VERSION or SSL_get_extms_support(tio_conn_ssl(self.c)) == 1

    def export_keying_material(self, Py_ssize_t length, bytes label not None, bytes context=None):
        return exported_of(tio_conn_ssl(self.c), length, label, context)

    def set_max_send_fragment(self, long size):
        return tio_conn_set_max_fragment(self.c, size) == 0

    @property
    def accepts_unverified(self):
        return tio_conn_accepts_unverified(self.c)

    @property
    def pins_failed(self):
        cdef const tio_verify *verify = tio_conn_verify(self.c)
        if verify == NULL:
            return self._resumed_result() == X509_V_ERR_CERT_REJECTED
        return verify.pins_failed != 0

    cdef long _resumed_result(self):
        """The result of on_certificate when the session was made. It may be an error if
        verification was not required.
        """
        return SSL_get_verify_result(tio_conn_ssl(self.c)) if self.resumed else X509_V_OK

    @property
    def peer_address(self):
        return address_of(tio_conn_peer(self.c))

    @property
    def local_address(self):
        return address_of(tio_conn_local(self.c))


cdef list sessions_of(tio_conn *c):
    cdef const tio_session *made
    cdef size_t i, count = tio_conn_sessions(c, &made)
    return [(made[i].id[:made[i].id_size], (<const char *>made[i].der)[:made[i].size], made[i].lifetime) for i in range(count)]


cdef tuple verify_errors_of(const tio_verify *verify):
    return tuple([(verify.errors[i].error, verify.errors[i].depth) for i in range(verify.count)]) if verify != NULL else ()


cdef object fault_of(tio_conn *c, bint opened):
    cdef const tio_fault *f = tio_conn_fault(c)
    cdef const tio_fault_entry *first = NULL
    role = "server" if tio_conn_role(c) == TIO_SERVER else "client"
    if f == NULL:
        return Fault(kind="memory", role=role, opened=opened)
    if f.count:
        first = &f.entries[0]
    return Fault(
        kind=FAULT_KINDS[f.kind],
        role=role,
        opened=opened,
        library=text_of(ERR_lib_error_string(first.code)) if first != NULL else "",
        reason=text_of(ERR_reason_error_string(first.code)) if first != NULL else "",
        reason_code=ERR_GET_REASON(first.code) if first != NULL else 0,
        stack=tuple([entry_text(&f.entries[i]) for i in range(f.count)]),
        alert_sent=f.alert_sent,
        alert_received=f.alert_received,
        verify_errors=verify_errors_of(tio_conn_verify(c)),
        os_errno=f.os_error,
        first_bytes=f.first[:f.first_size],
        limit=FAULT_LIMITS[f.limit],
        certificate_requested=f.certificate_requested != 0,
        psk=f.psk != 0,
    )


cdef str text_of(const char *text):
    return text.decode("ascii", "replace") if text != NULL else ""


cdef str entry_text(const tio_fault_entry *entry):
    """Format as OpenSSL does: error:0A00010B:SSL routines:ssl3_get_record:wrong version
    number:data.
    """
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
    """Return an address in the socket module's format, "" for a Unix socket, None if unknown."""
    cdef char text[64]
    cdef const sockaddr_in *four = <const sockaddr_in *>address
    if address.sin6_family == AF_INET:
        inet_ntop(AF_INET, &four.sin_addr, text, sizeof(text))
        return (text.decode(), ntohs(four.sin_port))
    if address.sin6_family == AF_INET6:
        inet_ntop(AF_INET6, &address.sin6_addr, text, sizeof(text))
        return (text.decode(), ntohs(address.sin6_port), ntohl(address.sin6_flowinfo), address.sin6_scope_id)
    return "" if address.sin6_family == AF_UNIX else None
