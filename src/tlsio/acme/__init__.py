"""Certificates that are obtained, served and renewed by themselves (ACME, RFC 8555)."""
