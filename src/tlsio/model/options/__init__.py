"""Every option of contexts, servers and clients: checked once at the door, then frozen."""
