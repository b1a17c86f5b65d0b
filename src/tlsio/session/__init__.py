"""Floor 2: the memory of past connections.

Session stores, sources of ticket keys, and clients' sessions. No TLS and no OpenSSL; clocks and
randomness are arguments of the constructors.
"""
