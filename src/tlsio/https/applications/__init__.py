"""What is served: ASGI and WSGI applications, folders of files."""
