"""Clients: `connect`, which makes a TLSSocket to a host and port, or to a path."""
