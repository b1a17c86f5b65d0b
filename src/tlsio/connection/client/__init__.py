"""Clients: from a host and a port, or a path, to a TLSSocket."""
