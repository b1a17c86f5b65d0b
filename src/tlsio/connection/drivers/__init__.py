"""Drivers, which move the bytes of a connection: by epoll, over a stream, or in memory."""
