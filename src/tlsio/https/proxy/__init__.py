"""Proxies: in front of a TCP or HTTP server, and behind one that speaks the PROXY protocol."""
