"""Where accounts, certificates and challenges are kept: in files, in Redis, or in memory."""
