"""TLSSocket: events, reading, writing, closing."""
