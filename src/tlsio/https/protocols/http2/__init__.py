"""HTTP/2 for ASGI applications, on the h2 library."""
