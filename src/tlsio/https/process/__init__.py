"""The processes of a service: settings, workers, restart, signals, rights."""
