"""Fetching of OCSP responses and CRLs; the only package under `connection` that uses HTTP."""
