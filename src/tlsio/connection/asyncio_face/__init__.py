"""asyncio's own shapes over TLS sockets: transports and protocols, streams, and servers of both."""
