"""Secure contexts: what many connections share."""
