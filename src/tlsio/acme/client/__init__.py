"""ACME itself (RFC 8555, 8737, 8738, 9773): requests to an authority, and its answers."""
