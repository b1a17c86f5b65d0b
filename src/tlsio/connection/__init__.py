"""Live connections: everything in Node's `tls` module."""
