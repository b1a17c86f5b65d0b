"""Where OCSP responses and revocation lists come from. The only place here that speaks HTTP."""
