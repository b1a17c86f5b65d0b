"""The options of contexts, servers and clients: checked once on entry, then frozen."""
