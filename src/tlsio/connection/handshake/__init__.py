"""Handshakes: the questions of the engine, the user's hooks, and the verdict on the peer."""
