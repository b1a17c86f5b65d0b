"""Certificates for many names, and what applications see of TLS."""
