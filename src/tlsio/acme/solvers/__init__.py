"""What proves to an authority that a name is ours: http-01, tls-alpn-01 and dns-01."""
