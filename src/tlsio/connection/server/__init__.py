"""Servers: listening, accepting, ticket keys, statistics."""
