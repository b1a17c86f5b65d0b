"""Floor 2: what is remembered.

Stores of sessions, sources of ticket keys, sessions of clients. No TLS, no sockets and no OpenSSL; clocks and randomness are arguments
of the constructors.
"""
