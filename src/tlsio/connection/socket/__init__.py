"""The socket that the application has: events, reading, writing, ending."""
