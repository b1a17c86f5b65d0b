"""What moves the bytes of a connection: epoll, a stream, or memory."""
