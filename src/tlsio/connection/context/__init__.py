"""Secure contexts: the certificates, trust and protocol settings that connections share."""
