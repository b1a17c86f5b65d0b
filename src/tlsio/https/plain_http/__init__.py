"""Plain HTTP next to HTTPS: redirects, ACME's challenges, metrics."""
