"""What the server does around the application, for each request."""
