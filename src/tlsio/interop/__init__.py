"""Clients of other libraries over tlsio's TLS: a module for each; and an HTTP client of ours."""
