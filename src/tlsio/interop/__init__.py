"""Clients of other libraries over tlsio's TLS: one module for each library, which it imports."""
