"""Live connections: everything Node calls `tls`."""
