"""Certificates as `tlsio acme` keeps them: plans in the storage, files of web servers, hooks."""
