"""The TLS engine in C and its binding. Only this folder knows libssl."""
